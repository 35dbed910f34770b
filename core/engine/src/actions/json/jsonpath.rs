//! JSONPath in the dialect of the Python package `jsonpath-ng`: `$`, `@`, `.name`, `..name`, `*`, `['a', 'b']`, `[0]`,
//! `[1:3]`, `[*]`, unions by `|`; a leading `$.` may be left out.

use super::jmespath::slice;
use crate::value::{MAX_DEPTH, Value};

/// All matches of `path` in `data`, in document order. The error is a text for people.
pub(super) fn find(path: &str, data: &Value) -> Result<Vec<Value>, String> {
    let mut parser = Parser { path, at: 0 };
    let mut found = Vec::new();
    loop {
        let steps = parser.steps()?;
        let mut matches = vec![data.clone()];
        for step in &steps {
            let mut next = Vec::new();
            for value in &matches {
                step.apply(value, &mut next);
            }
            matches = next;
        }
        found.append(&mut matches);
        if !parser.skip("|") {
            break;
        }
    }
    if parser.at < path.len() {
        return Err(parser.unexpected());
    }
    Ok(found)
}

enum Selector {
    /// Entries of a map.
    Names(Vec<String>),
    /// All entries of a map.
    Entries,
    /// One element; negative numbers count from the end.
    Index(i64),
    /// Elements from, to (exclusive), by.
    Slice(Option<i64>, Option<i64>, i64),
}

struct Step {
    /// At any depth.
    deep: bool,
    selector: Selector,
}

impl Step {
    fn apply(&self, value: &Value, found: &mut Vec<Value>) {
        self.selector.apply(value, found);
        if self.deep {
            self.descend(value, found, 0);
        }
    }

    fn descend(&self, value: &Value, found: &mut Vec<Value>, depth: usize) {
        if depth > MAX_DEPTH {
            return;
        }
        let mut visit = |child: &Value| {
            // A slice takes a single value for a list of one: only containers are looked into.
            if matches!(child, Value::List(_) | Value::Map(_)) {
                self.selector.apply(child, found);
                self.descend(child, found, depth + 1);
            }
        };
        match value {
            Value::List(items) => items.iter().for_each(&mut visit),
            Value::Map(map) => map.values().for_each(&mut visit),
            _ => {}
        }
    }
}

impl Selector {
    fn apply(&self, value: &Value, found: &mut Vec<Value>) {
        match (self, value) {
            (Selector::Names(names), Value::Map(map)) => {
                found.extend(names.iter().filter_map(|name| map.get(name.as_str()).cloned()));
            }
            (Selector::Entries, Value::Map(map)) => found.extend(map.values().cloned()),
            (Selector::Index(index), Value::List(items)) => {
                let at = if *index < 0 {
                    items.len().checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX))
                } else {
                    usize::try_from(*index).ok()
                };
                found.extend(at.and_then(|at| items.get(at)).cloned());
            }
            (Selector::Slice(start, stop, step), Value::List(items)) => {
                found.extend(slice(items, *start, *stop, *step));
            }
            (Selector::Slice(..), Value::Null) => {}
            (Selector::Slice(start, stop, step), other) => {
                found.extend(slice(std::slice::from_ref(other), *start, *stop, *step));
            }
            _ => {}
        }
    }
}

struct Parser<'p> {
    path: &'p str,
    at: usize,
}

impl Parser<'_> {
    fn rest(&self) -> &str {
        self.path.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at = self.path.len() - self.rest().trim_start().len();
    }

    fn skip(&mut self, word: &str) -> bool {
        self.blanks();
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn unexpected(&self) -> String {
        match self.rest().chars().next() {
            Some(character) => {
                let column = self.path.get(..self.at).unwrap_or_default().chars().count() + 1;
                format!("unexpected '{character}' at column {column} of {}", self.path)
            }
            None => format!("the path ends too early: {}", self.path),
        }
    }

    /// The steps up to `|` or the end.
    fn steps(&mut self) -> Result<Vec<Step>, String> {
        let mut steps = Vec::new();
        let rooted = self.skip("$") || self.skip("@");
        if !rooted {
            self.blanks();
            let deep = self.skip("..");
            let selector = self.selector()?;
            steps.push(Step { deep, selector });
        }
        loop {
            self.blanks();
            if self.rest().is_empty() || self.rest().starts_with('|') {
                return Ok(steps);
            }
            let deep = self.skip("..");
            if !deep && !self.skip(".") && !self.rest().starts_with('[') {
                return Err(self.unexpected());
            }
            let selector = self.selector()?;
            steps.push(Step { deep, selector });
        }
    }

    fn selector(&mut self) -> Result<Selector, String> {
        if self.skip("[") {
            return self.bracket();
        }
        if self.skip("*") {
            return Ok(Selector::Entries);
        }
        Ok(Selector::Names(vec![self.name()?]))
    }

    fn bracket(&mut self) -> Result<Selector, String> {
        let selector = if self.skip("*") {
            Selector::Slice(None, None, 1)
        } else {
            self.blanks();
            let starts_number = self.rest().starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == ':');
            if starts_number { self.numbers()? } else { self.names()? }
        };
        if self.skip("]") { Ok(selector) } else { Err(self.unexpected()) }
    }

    fn names(&mut self) -> Result<Selector, String> {
        let mut names = vec![self.name()?];
        while self.skip(",") {
            names.push(self.name()?);
        }
        Ok(Selector::Names(names))
    }

    fn numbers(&mut self) -> Result<Selector, String> {
        let start = self.number()?;
        if !self.skip(":") {
            return start.map(Selector::Index).ok_or_else(|| self.unexpected());
        }
        let stop = self.number()?;
        let step = if self.skip(":") { self.number()? } else { None };
        match step {
            Some(0) => Err(format!("the step of a slice cannot be 0: {}", self.path)),
            step => Ok(Selector::Slice(start, stop, step.unwrap_or(1))),
        }
    }

    fn number(&mut self) -> Result<Option<i64>, String> {
        self.blanks();
        let rest = self.rest();
        let sign = usize::from(rest.starts_with('-'));
        let digits = rest.bytes().skip(sign).take_while(u8::is_ascii_digit).count();
        if digits == 0 && sign == 0 {
            return Ok(None);
        }
        let number = rest.get(..sign + digits).and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| self.unexpected())?;
        self.at += sign + digits;
        Ok(Some(number))
    }

    fn name(&mut self) -> Result<String, String> {
        self.blanks();
        let rest = self.rest();
        if let Some(quote) = rest.chars().next().filter(|first| matches!(first, '\'' | '"')) {
            let mut name = String::new();
            let mut escaped = false;
            for (at, character) in rest.char_indices().skip(1) {
                if !escaped && character == quote {
                    self.at += at + 1;
                    return Ok(name);
                }
                escaped = !escaped && character == '\\';
                if !escaped {
                    name.push(character);
                }
            }
            return Err(format!("the quote at the end is not closed: {}", self.path));
        }
        let length =
            rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '@'))).unwrap_or(rest.len());
        match rest.get(..length) {
            Some(name) if length > 0 => {
                let name = name.to_owned();
                self.at += length;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::loads;
    use super::*;

    fn found(path: &str) -> String {
        let data = r#"{"s": {"b": [{"t": "x", "p": 1}, {"t": "y", "p": 2}], "o-k": {"p": 3}}, "n": null}"#;
        let values = find(path, &loads(data).unwrap()).unwrap_or_else(|error| panic!("{path}: {error}"));
        super::super::write::dumps(&Value::list(values), &Default::default(), None).unwrap()
    }

    /// actions/JS-12
    #[test]
    fn matches() {
        for (path, result) in [
            ("$.s.b[0].t", r#"["x"]"#),
            ("s.b[-1].t", r#"["y"]"#),
            ("$.s.b[*].t", r#"["x", "y"]"#),
            ("$..p", "[1, 2, 3]"),
            ("$.s['o-k'].p", "[3]"),
            ("$.s.o-k.*", "[3]"),
            ("$.s.b[1:].p", "[2]"),
            ("$.s.b[0]['p', 't']", r#"[1, "x"]"#),
            ("$.s.b[5] | $.s.b[0].p", "[1]"),
            ("$.nope", "[]"),
            ("$.n", "[null]"),
            ("n[*]", "[]"),
        ] {
            assert_eq!(found(path), result, "{path}");
        }
    }

    /// actions/JS-11
    #[test]
    fn errors() {
        for path in ["", "$.", "$.a[", "$.a[1", "$[?(@.a)]", "a b", "$.a[::0]", "$['a"] {
            assert!(find(path, &Value::Null).is_err(), "{path}");
        }
    }
}
