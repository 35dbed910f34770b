//! JSON of values: the form in which states, updates and events cross the C ABI.
//!
//! `serde_json` is not used for values, because integers of any size need its feature
//! `arbitrary_precision`, which changes what every other crate in the build sees. Reading is by `jiter`.
//!
//! What JSON lacks travels as a map with the one key `$tea`:
//! `["host", 7]`, `["int", "123..."]` (accepted; integers are written plainly), `["f64", "nan"]`,
//! `["date", ISO]`, `["datetime", ISO]`, `["bytes", BASE64]`, `["set", [..]]`, `["tuple", [..]]`,
//! `["map", [[key, value], ..]]`, and `["esc", {..}]` for a map that really has the lone key `$tea`.

use std::sync::Arc;

use jiter::{Jiter, JsonErrorType, NumberAny, NumberInt, Peek};
use thiserror::Error;

use super::{Date, DateTime, Key, Map, Value, float_repr, put};
use crate::host::{HostRef, References};

/// How deep lists and maps may be nested in JSON text.
pub const MAX_DEPTH: usize = 500;

const TAG: &str = "$tea";

/// Text that is not the JSON of a value.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("{message}")]
pub struct JsonError {
    /// What is wrong, with line and column.
    pub message: String,
}

impl JsonError {
    fn new(message: impl Into<String>) -> Self {
        JsonError { message: message.into() }
    }
}

impl Value {
    /// Reads JSON text. Host references are refused: use [`Value::from_json_with`] where there is a host.
    pub fn from_json(json: &[u8]) -> Result<Value, JsonError> {
        Reader { json, references: None }.document()
    }

    /// Reads JSON text in which `{"$tea": ["host", id]}` stands for an object of the host. The reference is
    /// counted: the host is told when the last clone is gone.
    pub fn from_json_with(json: &[u8], references: &Arc<References>) -> Result<Value, JsonError> {
        Reader { json, references: Some(references) }.document()
    }

    /// Writes JSON text without blanks. Floats keep their point, integers their digits.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out);
        out
    }

    /// Appends the JSON text to `out`.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Value::Int(number) => put(out, format_args!("{number}")),
            Value::BigInt(number) => put(out, format_args!("{number}")),
            Value::Float(float) if float.is_finite() => out.push_str(&float_repr(*float)),
            Value::Float(float) => {
                tagged(out, "f64", |out| put(out, format_args!("\"{}\"", float_repr(*float))));
            }
            Value::Str(text) => write_text(out, text),
            Value::List(items) => write_list(out, items),
            Value::Map(map) => write_map(out, map),
            Value::Tuple(items) => tagged(out, "tuple", |out| write_list(out, items)),
            Value::Set(items) => tagged(out, "set", |out| {
                out.push('[');
                separated(out, items.iter(), |out, key| key.value().write_json(out));
                out.push(']');
            }),
            Value::Bytes(bytes) => tagged(out, "bytes", |out| {
                out.push('"');
                out.push_str(&base64(bytes));
                out.push('"');
            }),
            Value::Date(date) => tagged(out, "date", |out| put(out, format_args!("\"{date}\""))),
            Value::DateTime(time) => tagged(out, "datetime", |out| put(out, format_args!("\"{time}\""))),
            Value::Host(object) => tagged(out, "host", |out| put(out, format_args!("{}", object.id()))),
        }
    }
}

fn tagged(out: &mut String, tag: &str, body: impl FnOnce(&mut String)) {
    put(out, format_args!("{{\"{TAG}\":[\"{tag}\","));
    body(out);
    out.push_str("]}");
}

fn separated<T>(out: &mut String, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut String, T)) {
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        write(out, item);
    }
}

fn write_list(out: &mut String, items: &[Value]) {
    out.push('[');
    separated(out, items.iter(), |out, item| item.write_json(out));
    out.push(']');
}

fn write_map(out: &mut String, map: &Map) {
    if map.keys().any(|key| key.as_str().is_none()) {
        return tagged(out, "map", |out| {
            out.push('[');
            separated(out, map.iter(), |out, (key, value)| {
                out.push('[');
                key.value().write_json(out);
                out.push(',');
                value.write_json(out);
                out.push(']');
            });
            out.push(']');
        });
    }
    let escaped = map.len() == 1 && map.contains_key(TAG);
    if escaped {
        put(out, format_args!("{{\"{TAG}\":[\"esc\","));
    }
    out.push('{');
    separated(out, map.iter(), |out, (key, value)| {
        write_text(out, key.as_str().unwrap_or_default());
        out.push(':');
        value.write_json(out);
    });
    out.push('}');
    if escaped {
        out.push_str("]}");
    }
}

/// Appends a text as a JSON string; everything beyond ASCII controls stays as it is.
pub(crate) fn write_text(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            byte => put(out, format_args!("\\u{byte:04x}")),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
            << (8 * (3 - u32::try_from(chunk.len()).unwrap_or(3)));
        for place in 0..4_usize {
            if place <= chunk.len() {
                let index = (word >> (18 - 6 * place)) & 63;
                out.push(char::from(ALPHABET[index as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let body = text.trim_end_matches('=');
    let mut out = Vec::with_capacity(body.len() * 3 / 4);
    let (mut word, mut bits) = (0_u32, 0);
    for byte in body.bytes() {
        let index = ALPHABET.iter().position(|letter| *letter == byte)?;
        word = word << 6 | u32::try_from(index).ok()?;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            out.push(u8::try_from(word >> bits & 0xff).ok()?);
        }
    }
    Some(out)
}

struct Reader<'j> {
    json: &'j [u8],
    references: Option<&'j Arc<References>>,
}

impl Reader<'_> {
    fn document(&self) -> Result<Value, JsonError> {
        let mut jiter = Jiter::new(self.json).with_allow_inf_nan();
        let peek = jiter.peek().map_err(|error| self.error(&jiter, &error))?;
        let value = self.value(&mut jiter, peek, 0, true)?;
        jiter.finish().map_err(|error| self.error(&jiter, &error))?;
        Ok(value)
    }

    fn error(&self, jiter: &Jiter<'_>, error: &jiter::JiterError) -> JsonError {
        let position = error.get_position(jiter);
        let text = match &error.error_type {
            jiter::JiterErrorType::JsonError(JsonErrorType::EofWhileParsingValue) => {
                "the text ends where a value is expected".to_owned()
            }
            other => other.to_string(),
        };
        JsonError::new(format!("invalid JSON: {text} at line {} column {}", position.line, position.column))
    }

    /// `tags`: a map with the lone key `$tea` has its meaning.
    fn value(&self, jiter: &mut Jiter<'_>, peek: Peek, depth: usize, tags: bool) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH {
            return Err(JsonError::new(format!("invalid JSON: nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(match peek {
            Peek::Null => {
                jiter.known_null().map_err(|error| self.error(jiter, &error))?;
                Value::Null
            }
            Peek::True | Peek::False => {
                Value::Bool(jiter.known_bool(peek).map_err(|error| self.error(jiter, &error))?)
            }
            Peek::String => {
                let text = jiter.known_str().map(Arc::<str>::from);
                Value::Str(text.map_err(|error| self.error(jiter, &error))?)
            }
            Peek::Array => self.list(jiter, depth, false)?,
            Peek::Object => {
                let mut map = Map::new();
                let mut next = jiter
                    .known_object()
                    .map(|key| key.map(Key::from))
                    .map_err(|error| self.error(jiter, &error))?;
                while let Some(key) = next {
                    let peek = jiter.peek().map_err(|error| self.error(jiter, &error))?;
                    let value = if tags && peek == Peek::Array && key.as_str() == Some(TAG) {
                        self.list(jiter, depth + 1, true)?
                    } else {
                        self.value(jiter, peek, depth + 1, true)?
                    };
                    map.insert(key, value);
                    next = jiter
                        .next_key()
                        .map(|key| key.map(Key::from))
                        .map_err(|error| self.error(jiter, &error))?;
                }
                if tags { self.untag(map)? } else { Value::map(map) }
            }
            _ => match jiter.known_number(peek).map_err(|error| self.error(jiter, &error))? {
                NumberAny::Int(NumberInt::Int(number)) => Value::Int(number),
                NumberAny::Int(NumberInt::BigInt(number)) => super::int_from_big(number),
                NumberAny::Float(float) => Value::Float(float),
            },
        })
    }

    /// `tag`: the list is the content of `$tea`, so that a map after `"esc"` is taken as it stands.
    fn list(&self, jiter: &mut Jiter<'_>, depth: usize, tag: bool) -> Result<Value, JsonError> {
        let mut items = Vec::new();
        let mut next = jiter.known_array().map_err(|error| self.error(jiter, &error))?;
        while let Some(peek) = next {
            let escaped = tag && items.len() == 1 && items[0] == Value::from("esc");
            items.push(self.value(jiter, peek, depth + 1, !escaped)?);
            next = jiter.array_step().map_err(|error| self.error(jiter, &error))?;
        }
        Ok(Value::list(items))
    }

    fn untag(&self, map: Map) -> Result<Value, JsonError> {
        let (tag, body) = match map.get(TAG) {
            Some(Value::List(parts)) if map.len() == 1 => match parts.as_slice() {
                [Value::Str(tag), body] => (tag.as_ref(), body),
                _ => return Err(bad_tag("a list of a tag and its content is expected")),
            },
            Some(_) if map.len() == 1 => return Err(bad_tag("a list of a tag and its content is expected")),
            _ => return Ok(Value::map(map)),
        };
        let text = body.as_str();
        Ok(match tag {
            "esc" => match body {
                Value::Map(_) => body.clone(),
                _ => return Err(bad_tag("\"esc\" takes a map")),
            },
            "host" => match (body, self.references) {
                (Value::Int(id), Some(references)) if *id > 0 => {
                    Value::Host(HostRef::new(id.unsigned_abs(), references))
                }
                (_, None) => return Err(bad_tag("references to host objects cannot be used here")),
                _ => return Err(bad_tag("\"host\" takes a positive integer")),
            },
            "int" => match text.and_then(|text| text.parse().ok()) {
                Some(number) => super::int_from_big(number),
                None => return Err(bad_tag("\"int\" takes decimal digits as text")),
            },
            "f64" => Value::Float(match text {
                Some("nan") => f64::NAN,
                Some("inf") => f64::INFINITY,
                Some("-inf") => f64::NEG_INFINITY,
                _ => return Err(bad_tag("\"f64\" takes nan, inf or -inf as text")),
            }),
            "date" => match text.and_then(Date::parse) {
                Some(date) => Value::Date(date),
                None => return Err(bad_tag("\"date\" takes YYYY-MM-DD as text")),
            },
            "datetime" => match text.and_then(DateTime::parse) {
                Some(time) => Value::DateTime(time),
                None => return Err(bad_tag("\"datetime\" takes an ISO 8601 time as text")),
            },
            "bytes" => match text.and_then(unbase64) {
                Some(bytes) => Value::Bytes(bytes.into()),
                None => return Err(bad_tag("\"bytes\" takes base64 as text")),
            },
            "tuple" => match body {
                Value::List(items) => Value::Tuple(items.clone()),
                _ => return Err(bad_tag("\"tuple\" takes a list")),
            },
            "set" => match body {
                Value::List(items) => {
                    let keys: Result<_, _> = items.iter().map(|item| Key::new(item.clone())).collect();
                    let keys = keys.map_err(|_| bad_tag("\"set\" holds a list or a map"))?;
                    Value::Set(Arc::new(keys))
                }
                _ => return Err(bad_tag("\"set\" takes a list")),
            },
            "map" => Value::map(pairs(body).ok_or_else(|| bad_tag("\"map\" takes a list of pairs"))?),
            other => return Err(bad_tag(&format!("unknown tag \"{other}\""))),
        })
    }
}

fn pairs(body: &Value) -> Option<Map> {
    let Value::List(items) = body else { return None };
    let mut map = Map::with_capacity(items.len());
    for item in items.iter() {
        let [key, value] = item.as_list()? else { return None };
        map.insert(Key::new(key.clone()).ok()?, value.clone());
    }
    Some(map)
}

fn bad_tag(text: &str) -> JsonError {
    JsonError::new(format!("invalid value: in a map with the key \"{TAG}\", {text}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(json: &str) -> Value {
        Value::from_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_keep_kind_and_digits() {
        let json = "[1,1.0,-0.0,123456789012345678901234567890,1e+16,0.1]";
        assert_eq!(read(json).to_json(), json);
        assert!(matches!(read("9223372036854775807"), Value::Int(i64::MAX)));
        assert!(matches!(read("9223372036854775808"), Value::BigInt(_)));
    }

    #[test]
    fn maps_keep_order_and_the_last_duplicate() {
        assert_eq!(read(r#"{"b":1,"a":2,"b":3}"#).to_json(), r#"{"b":3,"a":2}"#);
    }

    #[test]
    fn values_without_a_json_form_are_tagged() {
        let mut map = Map::new();
        map.insert(Key::new(Value::Int(1)).unwrap(), Value::Float(f64::NAN));
        let value = Value::list(vec![
            Value::map(map),
            Value::Tuple(vec![Value::Null].into()),
            Value::Bytes(b"\x00\xff\x10ab".as_slice().into()),
            Value::Date(Date::parse("2024-02-29").unwrap()),
            Value::DateTime(DateTime::parse("2024-02-29T01:02:03.000004+05:30").unwrap()),
            Value::Set(Arc::new([Key::from("x")].into_iter().collect())),
        ]);
        let json = value.to_json();
        assert_eq!(
            json,
            concat!(
                r#"[{"$tea":["map",[[1,{"$tea":["f64","nan"]}]]]},{"$tea":["tuple",[null]]},"#,
                r#"{"$tea":["bytes","AP8QYWI="]},{"$tea":["date","2024-02-29"]},"#,
                r#"{"$tea":["datetime","2024-02-29T01:02:03.000004+05:30"]},{"$tea":["set",["x"]]}]"#
            )
        );
        assert_eq!(read(&json).to_json(), json);
    }

    #[test]
    fn a_users_own_tag_survives() {
        for json in [r#"{"$tea":["esc",{"$tea":["host",7]}]}"#, r#"{"$tea":["esc",{"$tea":5}]}"#] {
            let value = read(json);
            assert!(value.as_map().unwrap().contains_key("$tea"));
            assert_eq!(value.to_json(), json);
        }
        assert_eq!(read(r#"{"$tea":5,"x":1}"#).to_json(), r#"{"$tea":5,"x":1}"#);
    }

    #[test]
    fn bad_text_says_where() {
        for (json, part) in [
            ("{\"a\": [1,\n }", "line 2 column 2"),
            ("", "line 1 column 0"),
            ("[1] x", "line 1 column 5"),
            (r#"{"$tea":["host",7]}"#, "cannot be used here"),
            (r#"{"$tea":["what",7]}"#, "unknown tag"),
            (r#"{"$tea":["date","2024-02-30"]}"#, "YYYY-MM-DD"),
        ] {
            let error = Value::from_json(json.as_bytes()).unwrap_err();
            assert!(error.message.contains(part), "{json}: {error}");
        }
        let deep = "[".repeat(100_000);
        assert!(Value::from_json(deep.as_bytes()).unwrap_err().message.contains("nested deeper"));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            any::<[i64; 3]>().prop_map(|n| Value::int(
                n.into_iter().map(num_bigint::BigInt::from).product::<num_bigint::BigInt>()
            )),
            any::<f64>().prop_filter("NaN is not equal to itself", |f| !f.is_nan()).prop_map(Value::Float),
            any::<String>().prop_map(Value::from),
            any::<Vec<u8>>().prop_map(|bytes| Value::Bytes(bytes.into())),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let key = prop_oneof![
                any::<String>().prop_map(Value::from),
                any::<i64>().prop_map(Value::Int),
                Just(Value::from(TAG))
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::list),
                prop::collection::vec(inner.clone(), 0..6).prop_map(|items| Value::Tuple(items.into())),
                prop::collection::vec((key, inner), 0..6).prop_map(|pairs| Value::map(
                    pairs.into_iter().map(|(key, value)| (Key::new(key).unwrap(), value)).collect()
                )),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(value in values()) {
            let back = Value::from_json(value.to_json().as_bytes()).unwrap();
            prop_assert_eq!(back.to_json(), value.to_json());
            prop_assert_eq!(back, value);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Value::from_json(&bytes);
        }
    }
}
