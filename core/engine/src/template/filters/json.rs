//! Filters about JSON.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::Filter;
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, Obj, R, Val, failure, type_error, value_error};
use crate::value::{Value, float_repr};

/// How JSON is written.
struct Style {
    sorted: bool,
    html_safe: bool,
    /// What one level is indented by.
    indent: Option<String>,
}

impl Renderer<'_> {
    pub(super) fn json_filter(&mut self, filter: Filter, value: Val, args: Args) -> R<Val> {
        match filter {
            Filter::Tojson => {
                let [indent] = args.bind("tojson", ["indent"], 0)?;
                let indent = match indent {
                    Some(value) if !value.is_null() => Some(match value.text() {
                        Some(text) => text.to_owned(),
                        None => {
                            let width = usize::try_from(self.integer(Some(value), 0)?).unwrap_or(0);
                            self.produce(width)?;
                            " ".repeat(width)
                        }
                    }),
                    _ => None,
                };
                let style = Style { sorted: true, html_safe: true, indent };
                self.dump(&value, &style).map(|text| Val::Safe(text.into()))
            }
            Filter::Json => {
                let [] = args.bind("json", [], 0)?;
                let style = Style { sorted: false, html_safe: false, indent: None };
                self.dump(&value, &style).map(Val::str)
            }
            Filter::Sha256 => {
                let [] = args.bind("sha256", [], 0)?;
                let digest = match &value {
                    Val::V(Value::Bytes(bytes)) => Sha256::digest(bytes),
                    value => Sha256::digest(self.str(value)?.as_bytes()),
                };
                let mut text = String::with_capacity(64);
                for byte in digest {
                    let _ = write!(text, "{byte:02x}");
                }
                Ok(Val::str(text))
            }
            _ => {
                let [] = args.bind("fromjson", [], 0)?;
                from_json(value)
            }
        }
    }

    fn dump(&mut self, value: &Val, style: &Style) -> R<String> {
        let mut out = String::new();
        // A host's object crosses once, whole.
        let exported;
        let value = match value.host() {
            Some(object) => {
                let Some(host) = self.scope.host else { return type_error("the scope has no host") };
                exported =
                    Val::V(host.export(object.id()).or_else(crate::template::eval::hosted::host_failure)?);
                &exported
            }
            None => value,
        };
        self.dump_value(&mut out, value, style, 0)?;
        self.produce(out.len())?;
        Ok(out)
    }

    fn dump_value(&mut self, out: &mut String, value: &Val, style: &Style, depth: usize) -> R<()> {
        if depth > 200 {
            return failure(
                "RecursionError",
                "maximum recursion depth exceeded while encoding a JSON object",
            );
        }
        match value {
            Val::V(Value::Null) => out.push_str("null"),
            Val::V(Value::Bool(flag)) => out.push_str(if *flag { "true" } else { "false" }),
            Val::V(Value::Int(_) | Value::BigInt(_)) => self.write_str(out, value)?,
            Val::V(Value::Float(float)) => out.push_str(&json_float(*float)),
            Val::V(Value::Str(text)) | Val::Safe(text) => write_text(out, text, style.html_safe),
            Val::V(Value::List(_) | Value::Tuple(_)) | Val::List(_) | Val::Tuple(_) => {
                let items = self.iterate(value)?;
                self.dump_sequence(out, ['[', ']'], items.len(), style, depth, |this, out, index| {
                    items.get(index).map_or(Ok(()), |item| this.dump_value(out, item, style, depth + 1))
                })?;
            }
            Val::V(Value::Map(_)) | Val::Dict(_) => {
                let mut entries = self.entries(value)?.unwrap_or_default();
                if style.sorted {
                    let keys: Vec<Val> = entries.iter().map(|(key, _)| key.clone()).collect();
                    let order = self.sorted_indices(&keys, false)?;
                    entries = order.iter().filter_map(|index| entries.get(*index).cloned()).collect();
                }
                let mut written = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    written.push((self.json_key(&key)?, value));
                }
                self.dump_sequence(out, ['{', '}'], written.len(), style, depth, |this, out, index| {
                    let Some((key, value)) = written.get(index) else { return Ok(()) };
                    write_text(out, key, style.html_safe);
                    out.push_str(": ");
                    this.dump_value(out, value, style, depth + 1)
                })?;
            }
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let Some(host) = self.scope.host else { return type_error("the scope has no host") };
                let inner = host.export(object.id()).or_else(crate::template::eval::hosted::host_failure)?;
                if matches!(inner, Value::Host(_)) {
                    return self.not_serializable(value);
                }
                self.dump_value(out, &Val::V(inner), style, depth + 1)?;
            }
            Val::Obj(object) if matches!(**object, Obj::Namespace(_)) => return self.not_serializable(value),
            _ => return self.not_serializable(value),
        }
        Ok(())
    }

    fn not_serializable<T>(&self, value: &Val) -> R<T> {
        type_error(format!("Object of type {} is not JSON serializable", self.type_name(value)))
    }

    fn dump_sequence(
        &mut self,
        out: &mut String,
        [open, close]: [char; 2],
        length: usize,
        style: &Style,
        depth: usize,
        mut item: impl FnMut(&mut Self, &mut String, usize) -> R<()>,
    ) -> R<()> {
        out.push(open);
        let newline = |out: &mut String, depth: usize| {
            if let Some(indent) = &style.indent {
                out.push('\n');
                out.push_str(&indent.repeat(depth));
            }
        };
        for index in 0..length {
            if index > 0 {
                out.push_str(if style.indent.is_some() { "," } else { ", " });
            }
            newline(out, depth + 1);
            item(self, out, index)?;
        }
        if length > 0 {
            newline(out, depth);
        }
        out.push(close);
        Ok(())
    }

    fn json_key(&mut self, key: &Val) -> R<String> {
        Ok(match key {
            Val::V(Value::Str(text)) | Val::Safe(text) => text.to_string(),
            Val::V(Value::Bool(flag)) => flag.to_string(),
            Val::V(Value::Null) => "null".to_owned(),
            Val::V(Value::Float(float)) => json_float(*float),
            Val::V(Value::Int(_) | Value::BigInt(_)) => self.str(key)?,
            other => {
                return type_error(format!(
                    "keys must be str, int, float, bool or None, not {}",
                    self.type_name(other)
                ));
            }
        })
    }
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

fn write_text(out: &mut String, text: &str, html_safe: bool) {
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
            '<' | '>' | '&' | '\'' if html_safe => {
                let _ = write!(out, "\\u{:04x}", character as u32);
            }
            ' '..='~' => out.push(character),
            other => {
                let mut units = [0; 2];
                for unit in other.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
        }
    }
    out.push('"');
}

fn from_json(value: Val) -> R<Val> {
    let decoded;
    let text: &str = match &value {
        Val::V(Value::Str(text)) | Val::Safe(text) => text,
        Val::V(Value::Bytes(bytes)) => {
            decoded = decode(bytes)?;
            &decoded
        }
        _ => return Ok(value),
    };
    Ok(match crate::template::filters::json::parse(text) {
        Some(parsed) => Val::V(parsed),
        None => value,
    })
}

/// JSON as Python reads it: `NaN` and `Infinity` are numbers, and no map means anything special.
fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { text, at: 0 };
    let value = reader.value(0)?;
    reader.blanks();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
}

impl Reader<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn skip(&mut self, word: &str) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        if depth > crate::value::MAX_DEPTH {
            return None;
        }
        self.blanks();
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ] {
            if self.skip(word) {
                return Some(value);
            }
        }
        if self.skip("[") {
            let mut items = Vec::new();
            self.blanks();
            if self.skip("]") {
                return Some(Value::list(items));
            }
            loop {
                items.push(self.value(depth + 1)?);
                self.blanks();
                if self.skip("]") {
                    return Some(Value::list(items));
                }
                if !self.skip(",") {
                    return None;
                }
            }
        }
        if self.skip("{") {
            let mut map = crate::value::Map::new();
            self.blanks();
            if self.skip("}") {
                return Some(Value::map(map));
            }
            loop {
                self.blanks();
                let key = self.string()?;
                self.blanks();
                if !self.skip(":") {
                    return None;
                }
                let value = self.value(depth + 1)?;
                map.insert(key.into(), value);
                self.blanks();
                if self.skip("}") {
                    return Some(Value::map(map));
                }
                if !self.skip(",") {
                    return None;
                }
            }
        }
        if self.rest().starts_with('"') {
            return self.string().map(Value::from);
        }
        self.number()
    }

    fn string(&mut self) -> Option<String> {
        if !self.skip("\"") {
            return None;
        }
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(['"', '\\'])?;
            let plain = rest.get(..end)?;
            if plain.bytes().any(|byte| byte < 0x20) {
                return None;
            }
            out.push_str(plain);
            self.at += end;
            if self.skip("\"") {
                return Some(out);
            }
            self.at += 1;
            let letter = self.rest().chars().next()?;
            self.at += letter.len_utf8();
            out.push(match letter {
                '"' | '\\' | '/' => letter,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.unicode()?,
                _ => return None,
            });
        }
    }

    fn hex(&mut self) -> Option<u32> {
        let digits =
            self.rest().get(..4).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let code = u32::from_str_radix(digits, 16).ok()?;
        self.at += 4;
        Some(code)
    }

    fn unicode(&mut self) -> Option<char> {
        let first = self.hex()?;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with("\\u") {
            let before = self.at;
            self.at += 2;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                return char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00));
            }
            self.at = before;
        }
        // Half of a pair has no place in a text of Unicode characters.
        Some(char::from_u32(first).unwrap_or('\u{fffd}'))
    }

    fn number(&mut self) -> Option<Value> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(sign);
        if whole == 0 {
            return None;
        }
        let mut end = sign + if bytes.get(sign) == Some(&b'0') { 1 } else { whole };
        let mut float = false;
        if bytes.get(end) == Some(&b'.') && digits(end + 1) > 0 {
            end += 1 + digits(end + 1);
            float = true;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(end + 1 + sign);
            if exponent > 0 {
                end += 1 + sign + exponent;
                float = true;
            }
        }
        let text = rest.get(..end)?;
        let value = if float {
            Value::Float(text.parse().ok()?)
        } else {
            if end > 4300 {
                return None;
            }
            Value::int(text.parse::<num_bigint::BigInt>().ok()?)
        };
        self.at += end;
        Some(value)
    }
}

/// Bytes of JSON as text: UTF-8, UTF-16 or UTF-32, told apart by their marks or zeros.
fn decode(bytes: &[u8]) -> R<String> {
    let wrong = || value_error("the bytes are no text in UTF-8, UTF-16 or UTF-32");
    let units = |little: bool, bytes: &[u8]| -> Option<String> {
        let units = bytes.chunks(2).map(|pair| match pair {
            [a, b] if little => Some(u16::from_le_bytes([*a, *b])),
            [a, b] => Some(u16::from_be_bytes([*a, *b])),
            _ => None,
        });
        String::from_utf16(&units.collect::<Option<Vec<u16>>>()?).ok()
    };
    let wide = |little: bool, bytes: &[u8]| -> Option<String> {
        bytes
            .chunks(4)
            .map(|word| match word {
                [a, b, c, d] if little => char::from_u32(u32::from_le_bytes([*a, *b, *c, *d])),
                [a, b, c, d] => char::from_u32(u32::from_be_bytes([*a, *b, *c, *d])),
                _ => None,
            })
            .collect()
    };
    let text = match bytes {
        [0xff, 0xfe, 0, 0, rest @ ..] => wide(true, rest),
        [0, 0, 0xfe, 0xff, rest @ ..] => wide(false, rest),
        [0xff, 0xfe, rest @ ..] => units(true, rest),
        [0xfe, 0xff, rest @ ..] => units(false, rest),
        [0, 0, 0, _, ..] => wide(false, bytes),
        [_, 0, 0, 0, ..] => wide(true, bytes),
        [0, _, ..] => units(false, bytes),
        [_, 0, ..] => units(true, bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes.to_vec()).ok(),
    };
    text.map_or_else(wrong, Ok)
}
