//! `pprint`: Python's `pprint.pformat` at its width of 80.

use crate::template::eval::Renderer;
use crate::template::eval::val::{R, Val};
use crate::value::Value;

const WIDTH: usize = 80;

impl Renderer<'_> {
    pub(super) fn pretty(&mut self, value: &Val) -> R<String> {
        let mut out = String::new();
        self.pretty_at(&mut out, value, 0, 0, 0)?;
        self.produce(out.len())?;
        Ok(out)
    }

    /// `repr` with the keys of maps in order.
    fn sorted_repr(&mut self, value: &Val, depth: usize) -> R<String> {
        if depth > 200 {
            return crate::template::eval::val::failure("RecursionError", "maximum recursion depth exceeded");
        }
        if matches!(value, Val::Dict(_) | Val::V(Value::Map(_))) {
            let mut parts = Vec::new();
            for (key, value) in self.sorted_entries(value)? {
                let key = self.repr(&key)?;
                parts.push(format!("{key}: {}", self.sorted_repr(&value, depth + 1)?));
            }
            return Ok(format!("{{{}}}", parts.join(", ")));
        }
        let Some(kind) = self.sequence_kind(value)? else { return self.repr(value) };
        let mut parts = Vec::new();
        for item in self.iterate(value)? {
            parts.push(self.sorted_repr(&item, depth + 1)?);
        }
        let joined = parts.join(", ");
        Ok(match (kind, parts.len()) {
            ("list", _) => format!("[{joined}]"),
            (_, 1) => format!("({joined},)"),
            _ => format!("({joined})"),
        })
    }

    fn sorted_entries(&mut self, value: &Val) -> R<Vec<(Val, Val)>> {
        let entries = self.entries(value)?.unwrap_or_default();
        let keys: Vec<Val> = entries.iter().map(|(key, _)| key.clone()).collect();
        // Keys without an order are ordered by the name of their type.
        let order = match self.sorted_indices(&keys, false) {
            Ok(order) => order,
            Err(_) => {
                let mut named = Vec::new();
                for key in &keys {
                    named.push(Val::str(format!("{} {}", self.type_name(key), self.repr(key)?)));
                }
                self.sorted_indices(&named, false)?
            }
        };
        Ok(order.iter().filter_map(|index| entries.get(*index).cloned()).collect())
    }

    fn pretty_at(
        &mut self,
        out: &mut String,
        value: &Val,
        indent: usize,
        allowance: usize,
        depth: usize,
    ) -> R<()> {
        let line = self.sorted_repr(value, depth)?;
        let room = WIDTH.saturating_sub(indent + allowance);
        if line.chars().count() <= room {
            out.push_str(&line);
            return Ok(());
        }
        if matches!(value, Val::Dict(_) | Val::V(Value::Map(_))) {
            out.push('{');
            let entries = self.sorted_entries(value)?;
            let last = entries.len().saturating_sub(1);
            for (index, (key, value)) in entries.iter().enumerate() {
                let key = self.repr(key)?;
                out.push_str(&key);
                out.push_str(": ");
                let inner = indent + key.chars().count() + 3;
                self.pretty_at(out, value, inner, if index == last { allowance + 1 } else { 1 }, depth + 1)?;
                if index < last {
                    out.push_str(",\n");
                    out.push_str(&" ".repeat(indent + 1));
                }
            }
            out.push('}');
            return Ok(());
        }
        if let Some(kind) = self.sequence_kind(value)? {
            let items = self.iterate(value)?;
            let (open, close) = match (kind, items.len()) {
                ("list", _) => ("[", "]"),
                (_, 1) => ("(", ",)"),
                _ => ("(", ")"),
            };
            out.push_str(open);
            let last = items.len().saturating_sub(1);
            for (index, item) in items.iter().enumerate() {
                let after = if index == last { allowance + close.len() } else { 1 };
                self.pretty_at(out, item, indent + 1, after, depth + 1)?;
                if index < last {
                    out.push_str(",\n");
                    out.push_str(&" ".repeat(indent + 1));
                }
            }
            out.push_str(close);
            return Ok(());
        }
        if let Some(text) = value.text().map(str::to_owned) {
            out.push_str(&pretty_text(&text, indent, allowance, depth));
            return Ok(());
        }
        out.push_str(&line);
        Ok(())
    }
}

/// A long text as adjacent literals, one a line.
fn pretty_text(text: &str, indent: usize, allowance: usize, depth: usize) -> String {
    let (indent, allowance) = if depth == 0 { (indent + 1, allowance + 1) } else { (indent, allowance) };
    let lines = crate::template::methods::text::split_lines(text, true);
    let mut chunks: Vec<String> = Vec::new();
    let last = lines.len().saturating_sub(1);
    for (index, line) in lines.iter().enumerate() {
        let whole = crate::value::str_repr(line);
        let mut width = WIDTH.saturating_sub(indent);
        if index == last {
            width = width.saturating_sub(allowance);
        }
        if whole.chars().count() <= width {
            chunks.push(whole);
            continue;
        }
        let parts = words(line);
        let mut current = String::new();
        let last_part = parts.len().saturating_sub(1);
        for (at, part) in parts.iter().enumerate() {
            let mut room = WIDTH.saturating_sub(indent);
            if at == last_part && index == last {
                room = room.saturating_sub(allowance);
            }
            let candidate = [current.as_str(), part].concat();
            if crate::value::str_repr(&candidate).chars().count() > room {
                if !current.is_empty() {
                    chunks.push(crate::value::str_repr(&current));
                }
                current = (*part).to_owned();
            } else {
                current = candidate;
            }
        }
        if !current.is_empty() {
            chunks.push(crate::value::str_repr(&current));
        }
    }
    match chunks.as_slice() {
        [single] => single.clone(),
        _ => {
            let joined = chunks.join(&format!("\n{}", " ".repeat(indent)));
            if depth == 0 { format!("({joined})") } else { joined }
        }
    }
}

/// Words with the blanks after them.
fn words(line: &str) -> Vec<&str> {
    let mut out = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let word = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let tail = rest.get(word..).unwrap_or_default();
        let end = word + tail.find(|c: char| !c.is_whitespace()).unwrap_or(tail.len());
        let (part, after) = rest.split_at(end);
        out.push(part);
        rest = after;
    }
    out
}
