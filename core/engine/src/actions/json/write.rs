//! JSON as Python's `json.dumps` writes it, byte for byte.

use std::fmt::Write;

use crate::actions::order;
use crate::host::{Host, Query};
use crate::value::{Map, Value, float_repr, repr, text};

/// How deep lists and maps may be nested.
const MAX_DEPTH: usize = 900;

/// How JSON is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Style {
    /// What one level is indented by; `None`: all on one line.
    pub indent: Option<String>,
    /// Entries of maps in the order of their keys.
    pub sort_keys: bool,
    /// No blanks after commas and colons.
    pub compact: bool,
}

/// Writes a value as JSON. What has no JSON form is written as its Python text. The error is Python's own text.
pub fn dumps(value: &Value, style: &Style, host: Option<&dyn Host>) -> Result<String, String> {
    let mut writer = Writer { out: String::new(), style, host };
    writer.value(value, 0)?;
    Ok(writer.out)
}

struct Writer<'w> {
    out: String,
    style: &'w Style,
    host: Option<&'w dyn Host>,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value, depth: usize) -> Result<(), String> {
        if depth > MAX_DEPTH {
            return Err("maximum recursion depth exceeded while encoding a JSON object".to_owned());
        }
        match value {
            Value::Null => self.out.push_str("null"),
            Value::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(_) | Value::BigInt(_) => self.out.push_str(&repr(value)),
            Value::Float(float) => self.out.push_str(&json_float(*float)),
            Value::Str(text) => write_text(&mut self.out, text),
            Value::List(items) | Value::Tuple(items) => {
                self.out.push('[');
                for (index, item) in items.iter().enumerate() {
                    self.separate(index, depth + 1);
                    self.value(item, depth + 1)?;
                }
                self.close(items.len(), depth, ']');
            }
            Value::Map(map) => self.map(map, depth)?,
            Value::Host(object) => {
                let shown = self.host.map(|host| host.query(object.id(), Query::Str, None));
                let shown = match shown {
                    Some(Ok(shown)) => text(&shown),
                    Some(Err(error)) => return Err(error.message),
                    None => text(value),
                };
                write_text(&mut self.out, &shown);
            }
            Value::Set(_) | Value::Bytes(_) | Value::Date(_) | Value::DateTime(_) => {
                write_text(&mut self.out, &text(value));
            }
        }
        Ok(())
    }

    fn map(&mut self, map: &Map, depth: usize) -> Result<(), String> {
        let mut entries: Vec<(&Value, &Value)> =
            map.iter().map(|(key, value)| (key.value(), value)).collect();
        if self.style.sort_keys {
            let kind = |key: &Value| match key {
                Value::Str(_) => Some(0),
                Value::Bool(_) | Value::Int(_) | Value::BigInt(_) | Value::Float(_) => Some(1),
                _ => None,
            };
            let apart = entries.windows(2).find_map(|pair| match pair {
                [(a, _), (b, _)] if kind(a) != kind(b) || kind(a).is_none() => Some((b, a)),
                _ => None,
            });
            if let Some((b, a)) = apart {
                let (b, a) = (b.type_name(), a.type_name());
                return Err(format!("'<' not supported between instances of '{b}' and '{a}'"));
            }
            entries.sort_by(|(a, _), (b, _)| order::total(a, b));
        }
        self.out.push('{');
        let count = entries.len();
        for (index, (key, value)) in entries.into_iter().enumerate() {
            self.separate(index, depth + 1);
            write_text(&mut self.out, &key_text(key)?);
            self.out.push_str(if self.style.compact { ":" } else { ": " });
            self.value(value, depth + 1)?;
        }
        self.close(count, depth, '}');
        Ok(())
    }

    fn separate(&mut self, index: usize, depth: usize) {
        match &self.style.indent {
            Some(indent) => {
                self.out.push_str(if index > 0 { ",\n" } else { "\n" });
                (0..depth).for_each(|_| self.out.push_str(indent));
            }
            None if index > 0 => self.out.push_str(if self.style.compact { "," } else { ", " }),
            None => {}
        }
    }

    fn close(&mut self, count: usize, depth: usize, bracket: char) {
        if let (Some(indent), true) = (&self.style.indent, count > 0) {
            self.out.push('\n');
            (0..depth).for_each(|_| self.out.push_str(indent));
        }
        self.out.push(bracket);
    }
}

fn key_text(key: &Value) -> Result<String, String> {
    Ok(match key {
        Value::Str(text) => text.to_string(),
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(_) | Value::BigInt(_) => repr(key),
        Value::Float(float) => json_float(*float),
        other => {
            return Err(format!("keys must be str, int, float, bool or None, not {}", other.type_name()));
        }
    })
}

fn json_float(float: f64) -> String {
    if float.is_nan() {
        "NaN".to_owned()
    } else if float.is_infinite() {
        if float > 0.0 { "Infinity" } else { "-Infinity" }.to_owned()
    } else {
        float_repr(float)
    }
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            ' '..='~' => out.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    // Writing to a String cannot fail.
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Date, Key};

    fn compact(value: Value) -> String {
        dumps(&value, &Style::default(), None).unwrap()
    }

    /// actions/JS-20: separators, escapes, numbers, keys; expected texts are Python's output.
    #[test]
    fn one_line() {
        let mut map = Map::new();
        map.insert(Key::new(Value::Int(1)).unwrap(), Value::from("é🙂\u{7f}/\u{1}\u{8}\n"));
        map.insert(Key::new(Value::Bool(false)).unwrap(), Value::Float(1e16));
        map.insert(Key::new(Value::Null).unwrap(), Value::Float(1e-7));
        map.insert(Key::new(Value::Float(1.5)).unwrap(), Value::Float(f64::NAN));
        assert_eq!(
            compact(Value::map(map)),
            r#"{"1": "\u00e9\ud83d\ude42\u007f/\u0001\b\n", "false": 1e+16, "null": 1e-07, "1.5": NaN}"#
        );
        let date = Value::Date(Date::new(2024, 1, 2).unwrap());
        assert_eq!(compact(vec![date, Value::Bytes((*b"x").into())].into()), r#"["2024-01-02", "b'x'"]"#);
    }

    /// actions/JS-20: indentation, order of keys
    #[test]
    fn indented_and_sorted() {
        let value = crate::map! { "b" => vec![Value::Int(1), Value::list(vec![])], "a" => crate::map! {} };
        let style = Style { indent: Some("  ".to_owned()), sort_keys: true, compact: false };
        assert_eq!(
            dumps(&value, &style, None).unwrap(),
            "{\n  \"a\": {},\n  \"b\": [\n    1,\n    []\n  ]\n}"
        );
    }

    /// actions/JS-21
    #[test]
    fn what_python_refuses() {
        let mut map = Map::new();
        map.insert(Key::new(Value::Tuple(vec![].into())).unwrap(), Value::Null);
        let error = dumps(&Value::map(map), &Style::default(), None).unwrap_err();
        assert_eq!(error, "keys must be str, int, float, bool or None, not tuple");
        let mut map = Map::new();
        map.insert("a".into(), Value::Null);
        map.insert(Key::new(Value::Int(1)).unwrap(), Value::Null);
        let style = Style { sort_keys: true, ..Style::default() };
        let error = dumps(&Value::map(map), &style, None).unwrap_err();
        assert_eq!(error, "'<' not supported between instances of 'int' and 'str'");
    }
}
