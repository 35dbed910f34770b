//! JSON Schema, draft 7, with the messages of the Python package `jsonschema`.

use std::borrow::Cow;
use std::collections::HashMap;

use num_bigint::BigInt;
use num_traits::{ToPrimitive, Zero};

use super::pattern::Pattern;
use crate::actions::order::compare;
use crate::value::{Key, Map, Value, repr, text};

/// How deep a check may go: schemas can refer to themselves.
const MAX_DEPTH: usize = 300;

/// One place where data do not fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Violation {
    /// Keys and indices that lead to the value.
    pub path: Vec<Value>,
    /// What is wrong.
    pub message: String,
}

impl Violation {
    /// The path joined with dots; empty for the whole.
    pub fn dotted_path(&self) -> String {
        self.path.iter().map(text).collect::<Vec<_>>().join(".")
    }
}

/// All violations, in the order of the schema's keywords. The error: the schema is no schema.
pub fn validate(data: &Value, schema: &Value) -> Result<Vec<Violation>, String> {
    check(schema, META_7).and_then(|violations| match violations.first() {
        None => Ok(()),
        Some(violation) if violation.path.is_empty() => Err(violation.message.clone()),
        Some(violation) => Err(format!("{} (at {})", violation.message, violation.dotted_path())),
    })?;
    run(data, schema)
}

/// What is wrong with a schema by the rules of draft 2020-12.
pub fn check_2020(schema: &Value) -> Result<Vec<Violation>, String> {
    check(schema, META_2020)
}

fn check(schema: &Value, meta: &str) -> Result<Vec<Violation>, String> {
    let keywords = Value::from_json(META.as_bytes()).map_err(|error| error.message)?;
    let items = Value::from_json(meta.as_bytes()).map_err(|error| error.message)?;
    let mut meta = keywords.as_map().cloned().unwrap_or_default();
    if let Some(Value::Map(properties)) = meta.get_mut("properties") {
        std::sync::Arc::make_mut(properties).insert("items".into(), items);
    }
    run(schema, &Value::map(meta))
}

/// What a schema may look like. `items` differs between the drafts and is added by [`check`].
const META: &str = r##"{
  "type": ["object", "boolean"],
  "definitions": {
    "count": {"type": "integer", "minimum": 0},
    "list": {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
    "map": {"type": "object", "additionalProperties": {"$ref": "#"}},
    "names": {"type": "array", "items": {"type": "string"}, "uniqueItems": true},
    "type": {"enum": ["array", "boolean", "integer", "null", "number", "object", "string"]}
  },
  "properties": {
    "$id": {"type": "string"}, "$schema": {"type": "string"}, "$ref": {"type": "string"},
    "$comment": {"type": "string"}, "title": {"type": "string"}, "description": {"type": "string"},
    "readOnly": {"type": "boolean"}, "examples": {"type": "array"},
    "multipleOf": {"type": "number", "exclusiveMinimum": 0},
    "maximum": {"type": "number"}, "exclusiveMaximum": {"type": "number"},
    "minimum": {"type": "number"}, "exclusiveMinimum": {"type": "number"},
    "maxLength": {"$ref": "#/definitions/count"}, "minLength": {"$ref": "#/definitions/count"},
    "pattern": {"type": "string"}, "format": {"type": "string"},
    "maxItems": {"$ref": "#/definitions/count"}, "minItems": {"$ref": "#/definitions/count"},
    "uniqueItems": {"type": "boolean"}, "contains": {"$ref": "#"}, "additionalItems": {"$ref": "#"},
    "maxProperties": {"$ref": "#/definitions/count"}, "minProperties": {"$ref": "#/definitions/count"},
    "required": {"$ref": "#/definitions/names"}, "additionalProperties": {"$ref": "#"},
    "definitions": {"$ref": "#/definitions/map"}, "$defs": {"$ref": "#/definitions/map"},
    "properties": {"$ref": "#/definitions/map"}, "patternProperties": {"$ref": "#/definitions/map"},
    "dependencies": {"type": "object",
      "additionalProperties": {"anyOf": [{"$ref": "#"}, {"$ref": "#/definitions/names"}]}},
    "propertyNames": {"$ref": "#"}, "enum": {"type": "array"},
    "type": {"anyOf": [{"$ref": "#/definitions/type"},
      {"type": "array", "items": {"$ref": "#/definitions/type"}, "minItems": 1, "uniqueItems": true}]},
    "if": {"$ref": "#"}, "then": {"$ref": "#"}, "else": {"$ref": "#"}, "not": {"$ref": "#"},
    "allOf": {"$ref": "#/definitions/list"}, "anyOf": {"$ref": "#/definitions/list"},
    "oneOf": {"$ref": "#/definitions/list"}
  }
}"##;

const META_7: &str = r##"{"anyOf": [{"$ref": "#"}, {"$ref": "#/definitions/list"}]}"##;
const META_2020: &str = r##"{"$ref": "#"}"##;

fn run(data: &Value, schema: &Value) -> Result<Vec<Violation>, String> {
    let mut checker = Checker { root: schema, patterns: HashMap::new(), path: Vec::new(), found: Vec::new() };
    checker.descend(data, schema, 0)?;
    Ok(checker.found)
}

struct Checker<'s> {
    root: &'s Value,
    patterns: HashMap<String, Pattern>,
    path: Vec<Value>,
    found: Vec<Violation>,
}

type Checked = Result<(), String>;

impl<'s> Checker<'s> {
    fn report(&mut self, message: String) {
        self.found.push(Violation { path: self.path.clone(), message });
    }

    fn descend(&mut self, data: &Value, schema: &'s Value, depth: usize) -> Checked {
        if depth > MAX_DEPTH {
            return Err(format!("the schema leads deeper than {MAX_DEPTH} levels"));
        }
        let schema = match schema {
            Value::Bool(true) => return Ok(()),
            Value::Bool(false) => {
                self.report(format!("False schema does not allow {}", repr(data)));
                return Ok(());
            }
            Value::Map(schema) => schema,
            other => return Err(format!("a schema is a map or a truth value, not {}", other.type_name())),
        };
        // Draft 7 ignores what stands beside a reference.
        if let Some(reference) = schema.get("$ref").filter(|reference| !matches!(reference, Value::Null)) {
            let target = self.resolve(reference)?;
            return self.descend(data, target, depth + 1);
        }
        for (keyword, value) in schema.iter() {
            if let Some(keyword) = keyword.as_str() {
                self.keyword(keyword, value, data, schema, depth + 1)?;
            }
        }
        Ok(())
    }

    fn below(&mut self, step: Value, data: &Value, schema: &'s Value, depth: usize) -> Checked {
        self.path.push(step);
        let result = self.descend(data, schema, depth);
        self.path.pop();
        result
    }

    /// Whether data fit a schema, without a report.
    fn fits(&mut self, data: &Value, schema: &'s Value, depth: usize) -> Result<bool, String> {
        let known = self.found.len();
        self.descend(data, schema, depth)?;
        let fits = self.found.len() == known;
        self.found.truncate(known);
        Ok(fits)
    }

    fn resolve(&self, reference: &Value) -> Result<&'s Value, String> {
        let Some(pointer) = reference.as_str().and_then(|text| text.strip_prefix('#')) else {
            return Err(format!("Unresolvable: {}", text(reference)));
        };
        let mut target = self.root;
        for step in pointer.split('/').skip(1) {
            let step = percent_decoded(step).replace("~1", "/").replace("~0", "~");
            let next = match target {
                Value::Map(map) => map.get(step.as_str()),
                Value::List(items) => step.parse::<usize>().ok().and_then(|index| items.get(index)),
                _ => None,
            };
            target =
                next.ok_or_else(|| format!("Unresolvable JSON pointer: {}", repr(&pointer[1..].into())))?;
        }
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(format!("Unresolvable: {}", text(reference)));
        }
        Ok(target)
    }

    fn found_in(&mut self, pattern: &str, subject: &str) -> Result<bool, String> {
        if !self.patterns.contains_key(pattern) {
            let compiled = Pattern::compile(pattern)
                .map_err(|error| format!("the pattern {pattern} is wrong: {error}"))?;
            self.patterns.insert(pattern.to_owned(), compiled);
        }
        match self.patterns.get(pattern) {
            Some(compiled) => {
                compiled.search(subject).map_err(|error| format!("the pattern {pattern}: {error}"))
            }
            None => Ok(false),
        }
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &'s Value,
        data: &Value,
        schema: &'s Map,
        depth: usize,
    ) -> Checked {
        match keyword {
            "type" => {
                let names = match value {
                    Value::List(names) => Cow::Borrowed(names.as_slice()),
                    other => Cow::Owned(vec![other.clone()]),
                };
                for name in names.iter() {
                    if is_type(data, name.as_str().unwrap_or_default()) {
                        return Ok(());
                    }
                }
                let names: Vec<String> = names.iter().map(repr).collect();
                self.report(format!("{} is not of type {}", repr(data), names.join(", ")));
            }
            "enum" if !value.as_list().unwrap_or_default().iter().any(|known| equal(known, data)) => {
                self.report(format!("{} is not one of {}", repr(data), repr(value)));
            }
            "const" if !equal(data, value) => {
                self.report(format!("{} was expected", repr(value)));
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                self.number(keyword, value, data);
            }
            "minLength" | "maxLength" | "minItems" | "maxItems" | "minProperties" | "maxProperties" => {
                self.size(keyword, value, data);
            }
            "pattern" => {
                if let (Value::Str(subject), Value::Str(pattern)) = (data, value)
                    && !self.found_in(pattern, subject)?
                {
                    self.report(format!("{} does not match {}", repr(data), repr(value)));
                }
            }
            "properties"
            | "patternProperties"
            | "additionalProperties"
            | "propertyNames"
            | "required"
            | "dependencies" => {
                if let Value::Map(data) = data {
                    return self.object(keyword, value, data, schema, depth);
                }
            }
            "items" | "additionalItems" | "contains" | "uniqueItems" => {
                if let Value::List(items) = data {
                    return self.array(keyword, value, items, data, schema, depth);
                }
            }
            "allOf" => {
                for part in value.as_list().unwrap_or_default() {
                    self.descend(data, part, depth)?;
                }
            }
            "anyOf" => {
                for part in value.as_list().unwrap_or_default() {
                    if self.fits(data, part, depth)? {
                        return Ok(());
                    }
                }
                self.report(format!("{} is not valid under any of the given schemas", repr(data)));
            }
            "oneOf" => return self.one_of(value, data, depth),
            "not" if self.fits(data, value, depth)? => {
                self.report(format!("{} should not be valid under {}", repr(data), repr(value)));
            }
            "if" => {
                let branch = if self.fits(data, value, depth)? { "then" } else { "else" };
                if let Some(branch) = schema.get(branch) {
                    self.descend(data, branch, depth)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn one_of(&mut self, value: &'s Value, data: &Value, depth: usize) -> Checked {
        let mut fitting = Vec::new();
        for part in value.as_list().unwrap_or_default() {
            if self.fits(data, part, depth)? {
                fitting.push(part);
            }
        }
        match fitting.split_first() {
            None => self.report(format!("{} is not valid under any of the given schemas", repr(data))),
            Some((_, [])) => {}
            Some((first, more)) => {
                let shown: Vec<String> = more.iter().chain([first]).map(|part| repr(part)).collect();
                self.report(format!("{} is valid under each of {}", repr(data), shown.join(", ")));
            }
        }
        Ok(())
    }

    fn number(&mut self, keyword: &str, limit: &Value, data: &Value) {
        if !is_type(data, "number") {
            return;
        }
        let (shown, given) = (repr(limit), repr(data));
        let order = compare(data, limit);
        let message = match keyword {
            "minimum" if order.is_some_and(|order| order.is_lt()) => {
                format!("{given} is less than the minimum of {shown}")
            }
            "maximum" if order.is_some_and(|order| order.is_gt()) => {
                format!("{given} is greater than the maximum of {shown}")
            }
            "exclusiveMinimum" if order.is_some_and(|order| order.is_le()) => {
                format!("{given} is less than or equal to the minimum of {shown}")
            }
            "exclusiveMaximum" if order.is_some_and(|order| order.is_ge()) => {
                format!("{given} is greater than or equal to the maximum of {shown}")
            }
            "multipleOf" if !is_multiple(data, limit) => format!("{given} is not a multiple of {shown}"),
            _ => return,
        };
        self.report(message);
    }

    fn size(&mut self, keyword: &str, limit: &Value, data: &Value) {
        let size = match data {
            Value::Str(text) if keyword.ends_with("Length") => text.chars().count(),
            Value::List(items) if keyword.ends_with("Items") => items.len(),
            Value::Map(map) if keyword.ends_with("Properties") => map.len(),
            _ => return,
        };
        let order = compare(&Value::int(size), limit);
        let properties = keyword.ends_with("Properties");
        let problem = if keyword.starts_with("min") && order.is_some_and(|order| order.is_lt()) {
            match *limit == Value::Int(1) {
                true => "should be non-empty",
                false if properties => "does not have enough properties",
                false => "is too short",
            }
        } else if keyword.starts_with("max") && order.is_some_and(|order| order.is_gt()) {
            match *limit == Value::Int(0) {
                true => "is expected to be empty",
                false if properties => "has too many properties",
                false => "is too long",
            }
        } else {
            return;
        };
        self.report(format!("{} {problem}", repr(data)));
    }

    fn object(
        &mut self,
        keyword: &str,
        value: &'s Value,
        data: &Map,
        schema: &'s Map,
        depth: usize,
    ) -> Checked {
        match (keyword, value) {
            ("properties", Value::Map(properties)) => {
                for (name, part) in properties.iter() {
                    if let Some(item) = data.get(name) {
                        self.below(name.value().clone(), item, part, depth)?;
                    }
                }
            }
            ("patternProperties", Value::Map(patterns)) => {
                for (pattern, part) in patterns.iter() {
                    for (name, item) in data {
                        let (Some(pattern), Some(subject)) = (pattern.as_str(), name.as_str()) else {
                            continue;
                        };
                        if self.found_in(pattern, subject)? {
                            self.below(name.value().clone(), item, part, depth)?;
                        }
                    }
                }
            }
            ("propertyNames", _) => {
                for name in data.keys() {
                    self.descend(name.value(), value, depth)?;
                }
            }
            ("required", Value::List(names)) => {
                for name in names.iter() {
                    if !data.contains_key(name) {
                        self.report(format!("{} is a required property", repr(name)));
                    }
                }
            }
            ("dependencies", Value::Map(dependencies)) => {
                for (name, dependency) in dependencies.iter().filter(|(name, _)| data.contains_key(*name)) {
                    let Value::List(needed) = dependency else {
                        self.descend(&Value::map(data.clone()), dependency, depth)?;
                        continue;
                    };
                    for needed in needed.iter().filter(|needed| !data.contains_key(*needed)) {
                        self.report(format!("{} is a dependency of {}", repr(needed), repr(name.value())));
                    }
                }
            }
            ("additionalProperties", _) => return self.additional_properties(value, data, schema, depth),
            _ => {}
        }
        Ok(())
    }

    fn additional_properties(
        &mut self,
        value: &'s Value,
        data: &Map,
        schema: &'s Map,
        depth: usize,
    ) -> Checked {
        let properties = schema.get("properties").and_then(Value::as_map);
        let patterns = schema.get("patternProperties").and_then(Value::as_map);
        let mut extras: Vec<&Key> = Vec::new();
        'names: for name in data.keys().filter(|name| properties.is_none_or(|map| !map.contains_key(*name))) {
            for pattern in patterns.iter().flat_map(|patterns| patterns.keys()) {
                if let (Some(pattern), Some(subject)) = (pattern.as_str(), name.as_str())
                    && self.found_in(pattern, subject)?
                {
                    continue 'names;
                }
            }
            extras.push(name);
        }
        if let Value::Map(_) = value {
            for name in extras {
                if let Some(item) = data.get(name) {
                    self.below(name.value().clone(), item, value, depth)?;
                }
            }
        } else if !value.is_truthy() && !extras.is_empty() {
            extras.sort_by_key(|name| text(name.value()));
            let shown: Vec<String> = extras.iter().map(|name| repr(name.value())).collect();
            match patterns {
                Some(patterns) => {
                    let verb = if shown.len() == 1 { "does" } else { "do" };
                    let mut patterns: Vec<String> = patterns.keys().map(|key| repr(key.value())).collect();
                    patterns.sort();
                    self.report(format!(
                        "{} {verb} not match any of the regexes: {}",
                        shown.join(", "),
                        patterns.join(", ")
                    ));
                }
                None => self
                    .report(format!("Additional properties are not allowed ({} unexpected)", listed(&shown))),
            }
        }
        Ok(())
    }

    fn array(
        &mut self,
        keyword: &str,
        value: &'s Value,
        items: &[Value],
        data: &Value,
        schema: &'s Map,
        depth: usize,
    ) -> Checked {
        match (keyword, value) {
            ("items", Value::List(parts)) => {
                for (index, (item, part)) in items.iter().zip(parts.iter()).enumerate() {
                    self.below(Value::int(index), item, part, depth)?;
                }
            }
            ("items", _) => {
                for (index, item) in items.iter().enumerate() {
                    self.below(Value::int(index), item, value, depth)?;
                }
            }
            ("additionalItems", _) => {
                let Some(Value::List(parts)) = schema.get("items") else { return Ok(()) };
                let rest = items.get(parts.len()..).unwrap_or_default();
                if let Value::Map(_) = value {
                    for (index, item) in rest.iter().enumerate() {
                        self.below(Value::int(parts.len() + index), item, value, depth)?;
                    }
                } else if !value.is_truthy() && !rest.is_empty() {
                    let shown: Vec<String> = rest.iter().map(repr).collect();
                    self.report(format!("Additional items are not allowed ({} unexpected)", listed(&shown)));
                }
            }
            ("contains", _) => {
                for item in items {
                    if self.fits(item, value, depth)? {
                        return Ok(());
                    }
                }
                self.report(format!("None of {} are valid under the given schema", repr(data)));
            }
            ("uniqueItems", _) if value.is_truthy() => {
                let repeated = items
                    .iter()
                    .enumerate()
                    .any(|(index, item)| items.iter().take(index).any(|known| equal(known, item)));
                if repeated {
                    self.report(format!("{} has non-unique elements", repr(data)));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// `'a' was`, or `'a', 'b' were`.
fn listed(shown: &[String]) -> String {
    format!("{} {}", shown.join(", "), if shown.len() == 1 { "was" } else { "were" })
}

fn is_type(value: &Value, name: &str) -> bool {
    match (name, value) {
        ("integer", Value::Int(_) | Value::BigInt(_)) => true,
        ("integer", Value::Float(float)) => float.is_finite() && float.fract() == 0.0,
        ("number", Value::Int(_) | Value::BigInt(_) | Value::Float(_)) => true,
        ("string", Value::Str(_)) | ("boolean", Value::Bool(_)) | ("null", Value::Null) => true,
        ("array", Value::List(_)) | ("object", Value::Map(_)) => true,
        _ => false,
    }
}

/// Equality at every depth, but a boolean is no number.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a) | Value::Tuple(a), Value::List(b) | Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        (Value::Map(a), Value::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => matches!(a, Value::Bool(_)) == matches!(b, Value::Bool(_)) && a == b,
    }
}

fn is_multiple(number: &Value, of: &Value) -> bool {
    let big = |value: &Value| match value {
        Value::Int(number) => Some(BigInt::from(*number)),
        Value::BigInt(number) => Some(BigInt::clone(number)),
        _ => None,
    };
    if let (Some(number), Some(of)) = (big(number), big(of)) {
        return !of.is_zero() && (number % of).is_zero();
    }
    let float = |value: &Value| match value {
        Value::Float(float) => Some(*float),
        other => big(other).and_then(|number| number.to_f64()),
    };
    match (float(number), float(of)) {
        (Some(number), Some(of)) => (number / of).fract() == 0.0,
        _ => false,
    }
}

fn percent_decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(code) if *first == b'%' => {
                out.push(code);
                rest = after.get(2..).unwrap_or_default();
            }
            _ => {
                out.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

#[cfg(test)]
mod tests;
