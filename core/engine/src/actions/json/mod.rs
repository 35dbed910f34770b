//! `json.parse`, `json.transform`, `json.stringify`.

mod functions;
mod jmespath;
mod jsonpath;
mod read;
mod write;

pub use jmespath::search;
pub use read::{Fault, loads, without_comments};
pub use write::{Style, dumps};

use super::{ActionCall, Registry, failure, refused};
use crate::run::Stop;
use crate::value::Value;

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("json.parse", parse);
    registry.add_direct("json.transform", transform);
    registry.add_direct("json.stringify", stringify);
    for (name, alias) in [
        ("json.parse", "json_parse"),
        ("json.transform", "json_transform"),
        ("json.stringify", "json_stringify"),
    ] {
        registry.alias(name, alias);
    }
}

/// `actions/JS-1` to `actions/JS-4`.
fn parse(call: &ActionCall) -> Result<Value, Stop> {
    let decoded;
    let text: &str = match call.required("text")? {
        Value::Null => return Ok(refused("Input text is None", "parse")),
        Value::Str(text) => text,
        Value::Bytes(bytes) => match decode(bytes) {
            Some(text) => {
                decoded = text;
                &decoded
            }
            None => {
                return Err(failure(
                    "UnicodeDecodeError",
                    "the bytes are no text in UTF-8, UTF-16 or UTF-32",
                ));
            }
        },
        other => {
            let given = other.type_name();
            return Err(failure(
                "TypeError",
                format!("the JSON object must be str, bytes or bytearray, not {given}"),
            ));
        }
    };
    let parsed = match loads(text) {
        Err(fault) if !call.flag("strict", true) => match call.get("default") {
            None | Some(Value::Null) => loads(&without_comments(text)).map_err(|_| fault),
            Some(default) => Ok(default.clone()),
        },
        parsed => parsed,
    };
    Ok(match parsed {
        Ok(data) => crate::map! { "data" => data, "success" => true },
        Err(fault) => {
            let place = |number: usize| Value::int(number);
            crate::map! {
                "success" => false,
                "error" => format!("JSON parse error: {}", fault.message),
                "error_type" => "parse",
                "position" => crate::map! { "line" => place(fault.line), "column" => place(fault.column) },
            }
        }
    })
}

/// Bytes of JSON as text: UTF-8, UTF-16 or UTF-32, told apart by their marks or zeros.
fn decode(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], little: bool| {
        let units = bytes.chunks(2).map(|pair| match pair {
            [a, b] if little => Some(u16::from_le_bytes([*a, *b])),
            [a, b] => Some(u16::from_be_bytes([*a, *b])),
            _ => None,
        });
        String::from_utf16(&units.collect::<Option<Vec<_>>>()?).ok()
    };
    let wider = |bytes: &[u8], little: bool| {
        let characters = bytes.chunks(4).map(|four| {
            let four: [u8; 4] = four.try_into().ok()?;
            char::from_u32(if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) })
        });
        characters.collect::<Option<String>>()
    };
    match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => wider(rest, true),
        [0, 0, 0xfe, 0xff, rest @ ..] => wider(rest, false),
        [0xff, 0xfe, rest @ ..] => wide(rest, true),
        [0xfe, 0xff, rest @ ..] => wide(rest, false),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        [0, 0, ..] if bytes.len() >= 4 => wider(bytes, false),
        [0, ..] if bytes.len() >= 2 => wide(bytes, false),
        [_, 0, 0, 0, ..] => wider(bytes, true),
        [_, 0, ..] => wide(bytes, true),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    }
}

/// `actions/JS-10` to `actions/JS-12`.
fn transform(call: &ActionCall) -> Result<Value, Stop> {
    let data = call.required("data")?;
    let expression = call.required("expression")?;
    let refuse = |error: String| Ok(refused(error, "transform"));
    if matches!(data, Value::Null) {
        return refuse("Input data is None".to_owned());
    }
    if !expression.is_truthy() {
        return refuse("Expression is required".to_owned());
    }
    let engine = call.get("engine").or_else(|| call.get("engine_type"));
    let engine = engine.map_or_else(|| "jmespath".to_owned(), crate::value::text);
    let Some(path) = expression.as_str() else {
        return refuse(format!("Transform error: the expression is {}, not a text", expression.type_name()));
    };
    let (found, kind) = match engine.as_str() {
        "jmespath" => (search(path, data), "JMESPath"),
        "jsonpath" => (jsonpath::find(path, data).map(unwrap_single), "JSONPath"),
        other => return refuse(format!("Unknown engine: {other}. Use 'jmespath' or 'jsonpath'")),
    };
    Ok(match found {
        Ok(result) => crate::map! { "result" => result, "expression" => path, "success" => true },
        Err(error) => crate::map! {
            "success" => false,
            "error" => format!("{kind} error: {error}"),
            "error_type" => "transform",
            "expression" => path,
        },
    })
}

fn unwrap_single(mut matches: Vec<Value>) -> Value {
    match matches.pop() {
        Some(only) if matches.is_empty() => only,
        last => {
            matches.extend(last);
            Value::list(matches)
        }
    }
}

/// `actions/JS-20`, `actions/JS-21`.
fn stringify(call: &ActionCall) -> Result<Value, Stop> {
    let data = call.required("data")?;
    let indent = match call.get("indent") {
        None | Some(Value::Null) => None,
        Some(Value::Str(indent)) => Some(indent.to_string()),
        Some(Value::Int(width)) => Some(" ".repeat(usize::try_from(*width).unwrap_or(0).min(1000))),
        Some(Value::Bool(flag)) => Some(" ".repeat(usize::from(*flag))),
        Some(other) => {
            let error =
                format!("JSON serialization error: the indent is {}, not a number", other.type_name());
            return Ok(refused(error, "serialize"));
        }
    };
    let style = Style { indent, sort_keys: call.flag("sort_keys", false), compact: false };
    Ok(match dumps(data, &style, call.task.scene.host.as_deref()) {
        Ok(text) => crate::map! { "text" => text, "success" => true },
        Err(error) => refused(format!("JSON serialization error: {error}"), "serialize"),
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{failed, run};
    use super::*;

    fn error_of(value: &Value) -> String {
        value.as_map().and_then(|map| map.get("error")).map(crate::value::text).unwrap_or_default()
    }

    /// actions/JS-1, actions/JS-2, actions/JS-3, actions/AC-15
    #[test]
    fn parsing() {
        let done = |data: Value| crate::map! { "data" => data, "success" => true };
        assert_eq!(
            run("json.parse", crate::map! { "text" => "[1]" }),
            done(Value::list(vec![Value::Int(1)]))
        );
        let utf16: Value = Value::Bytes([b'[', 0, b'2', 0, b']', 0].into());
        assert_eq!(
            run("json_parse", crate::map! { "text" => utf16 }),
            done(Value::list(vec![Value::Int(2)]))
        );
        assert_eq!(
            run("json.parse", crate::map! { "text" => "{\n]" }),
            crate::map! {
                "success" => false,
                "error" => "JSON parse error: Expecting property name enclosed in double quotes",
                "error_type" => "parse",
                "position" => crate::map! { "line" => 2, "column" => 1 },
            }
        );
        let lenient = crate::map! { "text" => "{\"u\": \"http://x\",} // c", "strict" => false };
        assert_eq!(run("json.parse", lenient), done(crate::map! { "u" => "http://x" }));
        let default = crate::map! { "text" => "[1,]", "strict" => false, "default" => 7 };
        assert_eq!(run("json.parse", default), done(Value::Int(7)));
        let strict = crate::map! { "text" => "x", "default" => 7 };
        assert_eq!(error_of(&run("json.parse", strict)), "JSON parse error: Expecting value");
        assert_eq!(error_of(&run("json.parse", crate::map! { "text" => Value::Null })), "Input text is None");
        assert_eq!(failed("json.parse", crate::map! {}), "TypeError: missing required parameter 'text'");
        assert_eq!(
            failed("json.parse", crate::map! { "text" => 1 }),
            "TypeError: the JSON object must be str, bytes or bytearray, not int"
        );
    }

    /// actions/JS-10, actions/JS-11, actions/JS-12
    #[test]
    fn transforming() {
        let data = crate::map! { "a" => vec![Value::Int(1), Value::Int(2)] };
        let find = |expression: &str, engine: &str| {
            run(
                "json.transform",
                crate::map! { "data" => data.clone(), "expression" => expression, "engine" => engine },
            )
        };
        let done = |expression: &str, result: Value| {
            crate::map! { "result" => result, "expression" => expression, "success" => true }
        };
        assert_eq!(find("a[0]", "jmespath"), done("a[0]", Value::Int(1)));
        assert_eq!(find("b.c", "jmespath"), done("b.c", Value::Null));
        assert_eq!(find("$.a[1]", "jsonpath"), done("$.a[1]", Value::Int(2)));
        assert_eq!(find("$.b", "jsonpath"), done("$.b", Value::list(vec![])));
        assert_eq!(find("$.a[*]", "jsonpath"), done("$.a[*]", data.as_map().unwrap()["a"].clone()));
        assert!(error_of(&find("a[", "jmespath")).starts_with("JMESPath error: "));
        assert!(error_of(&find("$.[", "jsonpath")).starts_with("JSONPath error: "));
        assert_eq!(error_of(&find("a", "xpath")), "Unknown engine: xpath. Use 'jmespath' or 'jsonpath'");
        assert_eq!(error_of(&find("", "jmespath")), "Expression is required");
        let none = crate::map! { "data" => Value::Null, "expression" => "a" };
        assert_eq!(error_of(&run("json.transform", none)), "Input data is None");
    }

    /// actions/JS-20, actions/JS-21
    #[test]
    fn stringifying() {
        let data = crate::map! { "b" => 1, "a" => Value::Null };
        let text = |arguments: Value| run("json.stringify", arguments).as_map().unwrap()["text"].clone();
        assert_eq!(text(crate::map! { "data" => data.clone() }), Value::from("{\"b\": 1, \"a\": null}"));
        let arguments = crate::map! { "data" => data, "indent" => 1, "sort_keys" => true };
        assert_eq!(text(arguments), Value::from("{\n \"a\": null,\n \"b\": 1\n}"));
        assert_eq!(text(crate::map! { "data" => Value::Null }), Value::from("null"));
    }
}
