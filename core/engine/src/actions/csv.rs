//! `csv.parse`, `csv.stringify`.

use super::files::{self, FileError};
use super::{ActionCall, Registry, refused};
use crate::run::Stop;
use crate::value::{Key, Map, Value, repr, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("csv.parse", parse);
    registry.add_direct("csv.stringify", stringify);
    registry.alias("csv.parse", "csv_parse");
    registry.alias("csv.stringify", "csv_stringify");
}

/// The delimiter: one character.
fn delimiter(call: &ActionCall) -> Result<char, String> {
    let given = call.get("delimiter");
    let text = match given {
        None => return Ok(','),
        Some(Value::Str(text)) => text,
        Some(other) => return Err(format!("\"delimiter\" must be string, not {}", other.type_name())),
    };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(only), None) if !matches!(only, '\n' | '\r' | '"') => Ok(only),
        _ => Err("\"delimiter\" must be a 1-character string".to_owned()),
    }
}

/// `actions/CS-1` to `actions/CS-4`.
fn parse(call: &ActionCall) -> Result<Value, Stop> {
    let given = |name| call.get(name).filter(|value| !matches!(value, Value::Null));
    let read;
    let source: &str = match (given("text"), given("path")) {
        (None, None) => return Ok(refused("Either 'text' or 'path' must be provided", "parse")),
        (Some(_), Some(_)) => {
            return Ok(refused("Only one of 'text' or 'path' should be provided, not both", "parse"));
        }
        (Some(Value::Str(text)), None) => text,
        (Some(other), None) => {
            let given = other.type_name();
            let error = format!("Unexpected error: initial_value must be str or None, not {given}");
            return Ok(refused(error, "parse"));
        }
        (None, Some(path)) => match files::read_text(&text(path)) {
            Ok(content) => {
                read = content;
                &read
            }
            Err(FileError::NotFound(_)) => {
                return Ok(refused(format!("File not found: {}", text(path)), "io"));
            }
            Err(error) => return Ok(refused(format!("IO error reading file: {error}"), "io")),
        },
    };
    let delimiter = match delimiter(call) {
        Ok(delimiter) => delimiter,
        Err(error) => return Ok(refused(format!("Unexpected error: {error}"), "parse")),
    };
    let rows = rows(source, delimiter);
    let texts = |row: Vec<String>| Value::list(row.into_iter().map(Value::from).collect());
    if !call.flag("has_header", true) {
        let count = Value::int(rows.len());
        let data = Value::list(rows.into_iter().map(texts).collect());
        return Ok(crate::map! {
            "data" => data, "headers" => Value::Null, "row_count" => count, "success" => true
        });
    }
    let mut rows = rows.into_iter();
    let headers = rows.next();
    let mut data = Vec::new();
    for row in rows {
        let mut fields = row.into_iter();
        let mut map = Map::new();
        for header in headers.iter().flatten() {
            map.insert(header.as_str().into(), fields.next().map_or(Value::Null, Value::from));
        }
        data.push(Value::map(map));
    }
    let count = Value::int(data.len());
    Ok(crate::map! {
        "data" => data,
        "headers" => headers.map_or(Value::Null, texts),
        "row_count" => count,
        "success" => true,
    })
}

/// The fields of each line. Written here rather than taken from the crate `csv`, which skips blank lines; Python's
/// reader, and so the contract, counts them.
fn rows(text: &str, delimiter: char) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut row: Vec<String> = Vec::new();
    let mut field = String::new();
    // Whether the field is inside quotes; whether it began with one; whether anything of the row was read.
    let (mut quoted, mut fresh, mut begun) = (false, true, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        if quoted {
            if character != '"' {
                field.push(character);
            } else if characters.next_if_eq(&'"').is_some() {
                field.push('"');
            } else {
                quoted = false;
            }
            continue;
        }
        match character {
            '\r' | '\n' => {
                if character == '\r' {
                    characters.next_if_eq(&'\n');
                }
                if begun {
                    row.push(std::mem::take(&mut field));
                }
                rows.push(std::mem::take(&mut row));
                (fresh, begun) = (true, false);
                continue;
            }
            '"' if fresh => quoted = true,
            other if other == delimiter => {
                row.push(std::mem::take(&mut field));
                (fresh, begun) = (true, true);
                continue;
            }
            other => field.push(other),
        }
        (fresh, begun) = (false, true);
    }
    if begun {
        row.push(field);
        rows.push(row);
    }
    rows
}

/// `actions/CS-10` to `actions/CS-12`.
fn stringify(call: &ActionCall) -> Result<Value, Stop> {
    let items = match call.required("data")? {
        Value::Null => return Ok(refused("Input data is None", "serialize")),
        Value::List(items) => items,
        _ => return Ok(refused("Data must be a list", "serialize")),
    };
    let failed = |error: String| Ok(refused(format!("CSV serialization error: {error}"), "serialize"));
    let mut out = String::new();
    if !items.is_empty() {
        let delimiter = match delimiter(call) {
            Ok(delimiter) => delimiter,
            Err(error) => return failed(error),
        };
        let headers = match call.get("headers") {
            None | Some(Value::Null) => None,
            Some(Value::List(headers) | Value::Tuple(headers)) if headers.is_empty() => None,
            Some(Value::List(headers) | Value::Tuple(headers)) => Some(headers.to_vec()),
            Some(other) => return failed(format!("the headers are {}, not a list", other.type_name())),
        };
        let written = match items.first() {
            Some(Value::Map(first)) => {
                let headers =
                    headers.unwrap_or_else(|| first.keys().map(|key| key.value().clone()).collect());
                write_maps(&mut out, items, &headers, delimiter)
            }
            _ => write_rows(&mut out, items, headers.as_deref(), delimiter),
        };
        if let Err(error) = written {
            return failed(error);
        }
    }
    Ok(crate::map! { "text" => out, "row_count" => Value::int(items.len()), "success" => true })
}

fn write_maps(out: &mut String, items: &[Value], headers: &[Value], delimiter: char) -> Result<(), String> {
    write_row(out, headers, delimiter)?;
    for item in items {
        let Value::Map(map) = item else {
            return Err(format!("'{}' object has no attribute 'keys'", item.type_name()));
        };
        let extra: Vec<String> =
            map.keys().map(Key::value).filter(|key| !headers.contains(key)).map(repr).collect();
        if !extra.is_empty() {
            return Err(format!("dict contains fields not in fieldnames: {}", extra.join(", ")));
        }
        let fields: Vec<Value> =
            headers.iter().map(|header| map.get(header).cloned().unwrap_or(Value::from(""))).collect();
        write_row(out, &fields, delimiter)?;
    }
    Ok(())
}

fn write_rows(
    out: &mut String,
    items: &[Value],
    headers: Option<&[Value]>,
    delimiter: char,
) -> Result<(), String> {
    if let Some(headers) = headers {
        write_row(out, headers, delimiter)?;
    }
    for item in items {
        match item {
            Value::List(fields) | Value::Tuple(fields) => write_row(out, fields, delimiter)?,
            // A text is a sequence of characters, a map one of its keys.
            Value::Str(text) => {
                let fields: Vec<Value> = text.chars().map(|c| Value::from(c.to_string())).collect();
                write_row(out, &fields, delimiter)?;
            }
            Value::Map(map) => {
                let fields: Vec<Value> = map.keys().map(|key| key.value().clone()).collect();
                write_row(out, &fields, delimiter)?;
            }
            other => return Err(format!("iterable expected, not {}", other.type_name())),
        }
    }
    Ok(())
}

fn write_row(out: &mut String, fields: &[Value], delimiter: char) -> Result<(), String> {
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            out.push(delimiter);
        }
        let shown = if matches!(field, Value::Null) { String::new() } else { text(field) };
        let quoted = shown.contains([delimiter, '"', '\r', '\n']);
        if quoted || (shown.is_empty() && fields.len() == 1) {
            out.push('"');
            out.push_str(&shown.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(&shown);
        }
    }
    out.push_str("\r\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::json::{Style, dumps};
    use super::super::testing::run;
    use super::*;

    fn json(value: &Value) -> String {
        dumps(value, &Style { compact: true, ..Style::default() }, None).unwrap()
    }

    fn parsed(text: &str, header: bool) -> String {
        let result = run("csv.parse", crate::map! { "text" => text, "has_header" => header });
        let map = result.as_map().unwrap();
        assert_eq!(map["success"], Value::Bool(true));
        format!("{} {} {}", json(&map["data"]), json(&map["headers"]), json(&map["row_count"]))
    }

    /// actions/CS-2, actions/CS-3: what Python's `csv.DictReader` gives, blank lines kept
    #[test]
    fn with_header() {
        for (text, result) in [
            ("a,b\n1,x\r\n2,y\r", r#"[{"a":"1","b":"x"},{"a":"2","b":"y"}] ["a","b"] 2"#),
            (
                "a,b\n1\n1,2,3\n\n",
                r#"[{"a":"1","b":null},{"a":"1","b":"2"},{"a":null,"b":null}] ["a","b"] 3"#,
            ),
            ("a,a\n1,2", r#"[{"a":"2"}] ["a","a"] 1"#),
            ("a", r#"[] ["a"] 0"#),
            ("", "[] null 0"),
            ("\na,b\n1,2", "[{},{}] [] 2"),
            ("\n", "[] [] 0"),
        ] {
            assert_eq!(parsed(text, true), result, "{text:?}");
        }
    }

    /// actions/CS-2, actions/CS-4
    #[test]
    fn without_header() {
        for (text, result) in [
            ("a, b\n\n1,\"x\"\"y\nz\"", r#"[["a"," b"],[],["1","x\"y\nz"]] null 3"#),
            ("a\"b,\"c\"d,\"\"", r#"[["a\"b","cd",""]] null 1"#),
            (",", r#"[["",""]] null 1"#),
            ("\"\"", r#"[[""]] null 1"#),
        ] {
            assert_eq!(parsed(text, false), result, "{text:?}");
        }
    }

    /// actions/CS-1, actions/Q-41
    #[test]
    fn sources() {
        let error = |arguments: Value| json(&run("csv.parse", arguments));
        assert!(error(crate::map! {}).contains("Either 'text' or 'path' must be provided"));
        assert!(error(crate::map! { "text" => "", "path" => "x" }).contains("not both"));
        assert!(
            error(crate::map! { "path" => "/no/such.csv" })
                .contains(r#""File not found: /no/such.csv","error_type":"io""#)
        );
        assert!(error(crate::map! { "text" => "a", "delimiter" => "ab" }).contains("Unexpected error: "));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        std::fs::write(&path, "a;b\n1;2").unwrap();
        let uri = format!("file://{}", path.display());
        let result = run("csv.parse", crate::map! { "path" => uri, "delimiter" => ";" });
        assert_eq!(json(&result.as_map().unwrap()["data"]), r#"[{"a":"1","b":"2"}]"#);
    }

    /// actions/CS-10, actions/CS-11, actions/CS-12: what Python's `csv.writer` gives
    #[test]
    fn writing() {
        let one = |value: Value| Value::list(vec![value]);
        let row = |fields: Vec<Value>| Value::list(fields);
        let write = |arguments: Value| {
            let result = run("csv.stringify", arguments);
            let map = result.as_map().unwrap();
            map.get("text").or_else(|| map.get("error")).map(text).unwrap()
        };
        let mixed =
            row(vec![Value::Bool(true), Value::Float(1.5), Value::Null, "a\"b,c".into(), one(1.into())]);
        assert_eq!(write(crate::map! { "data" => one(mixed) }), "True,1.5,,\"a\"\"b,c\",[1]\r\n");
        assert_eq!(write(crate::map! { "data" => one(row(vec!["".into()])) }), "\"\"\r\n");
        let map = crate::map! { "a" => 1, "b" => 2 };
        assert_eq!(write(crate::map! { "data" => one(map.clone()) }), "a,b\r\n1,2\r\n");
        let headers = row(vec!["b".into(), "c".into(), "a".into()]);
        assert_eq!(
            write(crate::map! { "data" => one(map), "headers" => headers.clone() }),
            "b,c,a\r\n2,,1\r\n"
        );
        let extra = crate::map! { "data" => one(crate::map! { "z" => 1 }), "headers" => headers.clone() };
        assert_eq!(write(extra), "CSV serialization error: dict contains fields not in fieldnames: 'z'");
        assert_eq!(write(crate::map! { "data" => row(vec![]), "headers" => headers }), "");
        assert_eq!(write(crate::map! { "data" => "x" }), "Data must be a list");
        assert_eq!(write(crate::map! { "data" => Value::Null }), "Input data is None");
    }
}
