//! JSON as Python's `json.loads` reads it, with its messages and positions.

use std::borrow::Cow;

use num_bigint::BigInt;

use crate::value::{MAX_DEPTH, Map, Value};

/// Most digits of an integer, as Python limits them.
const MAX_DIGITS: usize = 4300;

/// Text that is no JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong, in Python's words.
    pub message: Cow<'static, str>,
    /// From 1.
    pub line: usize,
    /// In characters, from 1.
    pub column: usize,
    /// Offset in characters, from 0.
    pub position: usize,
}

impl std::fmt::Display for Fault {
    /// As Python prints a `JSONDecodeError`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: line {} column {} (char {})", self.message, self.line, self.column, self.position)
    }
}

/// Reads JSON text. `NaN` and `Infinity` are numbers, the last of equal keys wins, integers have any size.
pub fn loads(text: &str) -> Result<Value, Fault> {
    if text.starts_with('\u{feff}') {
        return Err(fault(text, 0, "Unexpected UTF-8 BOM (decode using utf-8-sig)"));
    }
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    let value = reader.value(0).map_err(|(at, message)| fault(text, at, message))?;
    reader.blanks();
    if reader.at < text.len() {
        return Err(fault(text, reader.at, "Extra data"));
    }
    Ok(value)
}

/// The text without comments (`//` to the end of the line, `/* */`) and without commas before a closing bracket.
/// Texts in quotes stay as they are (`actions/Q-26`).
pub fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = if first == '"' {
            let end = string_end(rest);
            out.push_str(rest.get(..end).unwrap_or(rest));
            end
        } else if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            if matches!(first, '}' | ']') {
                let kept = out.trim_end_matches([' ', '\t', '\n', '\r']);
                if let Some(kept) = kept.strip_suffix(',') {
                    let blanks = out.get(kept.len() + 1..).unwrap_or_default().to_owned();
                    out.truncate(kept.len());
                    out.push_str(&blanks);
                }
            }
            out.push(first);
            first.len_utf8()
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    out
}

/// Where the quoted text at the beginning ends.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn fault(text: &str, at: usize, message: impl Into<Cow<'static, str>>) -> Fault {
    let before = text.get(..at).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    Fault {
        message: message.into(),
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or_default().chars().count() + 1,
        position: before.chars().count(),
    }
}

type Read<T> = Result<T, (usize, &'static str)>;

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

    fn value(&mut self, depth: usize) -> Read<Value> {
        if depth > MAX_DEPTH {
            return Err((self.at, "the text is nested too deep"));
        }
        match self.rest().bytes().next() {
            Some(b'"') => return self.string().map(Value::from),
            Some(b'[') => return self.list(depth),
            Some(b'{') => return self.map(depth),
            _ => {}
        }
        for (word, value) in [
            ("null", Value::Null),
            ("true", Value::Bool(true)),
            ("false", Value::Bool(false)),
            ("NaN", Value::Float(f64::NAN)),
            ("Infinity", Value::Float(f64::INFINITY)),
            ("-Infinity", Value::Float(f64::NEG_INFINITY)),
        ] {
            if self.skip(word) {
                return Ok(value);
            }
        }
        self.number()
    }

    fn list(&mut self, depth: usize) -> Read<Value> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.skip("]") {
            return Ok(Value::list(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blanks();
            if self.skip("]") {
                return Ok(Value::list(items));
            }
            if !self.skip(",") {
                return Err((self.at, "Expecting ',' delimiter"));
            }
            self.blanks();
        }
    }

    fn map(&mut self, depth: usize) -> Read<Value> {
        self.at += 1;
        let mut map = Map::new();
        self.blanks();
        if self.skip("}") {
            return Ok(Value::map(map));
        }
        loop {
            if !self.rest().starts_with('"') {
                return Err((self.at, "Expecting property name enclosed in double quotes"));
            }
            let key = self.string()?;
            self.blanks();
            if !self.skip(":") {
                return Err((self.at, "Expecting ':' delimiter"));
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            map.insert(key.into(), value);
            self.blanks();
            if self.skip("}") {
                return Ok(Value::map(map));
            }
            if !self.skip(",") {
                return Err((self.at, "Expecting ',' delimiter"));
            }
            self.blanks();
        }
    }

    /// Reads the text whose opening quote is next.
    fn string(&mut self) -> Read<String> {
        let begin = self.at;
        let unterminated = (begin, "Unterminated string starting at");
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = self.rest();
            let end = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').ok_or(unterminated)?;
            out.push_str(rest.get(..end).unwrap_or_default());
            self.at += end;
            if self.skip("\"") {
                return Ok(out);
            }
            if !self.skip("\\") {
                return Err((self.at, "Invalid control character at"));
            }
            let letter = self.rest().chars().next().ok_or(unterminated)?;
            let decoded = match letter {
                '"' | '\\' | '/' => letter,
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'u' => self.unicode()?,
                _ => return Err((self.at - 1, "Invalid \\escape")),
            };
            if letter != 'u' {
                self.at += 1;
            }
            out.push(decoded);
        }
    }

    /// Reads `uXXXX`, and the second half of a pair.
    fn unicode(&mut self) -> Read<char> {
        let bad = (self.at, "Invalid \\uXXXX escape");
        let hex = |rest: &str| {
            let digits = rest.get(1..5).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
            digits.and_then(|digits| u32::from_str_radix(digits, 16).ok())
        };
        let first = hex(self.rest()).ok_or(bad)?;
        self.at += 5;
        if (0xd800..0xdc00).contains(&first)
            && let Some(second) =
                self.rest().strip_prefix('\\').filter(|rest| rest.starts_with('u')).and_then(hex)
            && (0xdc00..0xe000).contains(&second)
        {
            self.at += 6;
            return Ok(char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
                .unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        // Half of a pair has no place in a text of Unicode characters.
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn number(&mut self) -> Read<Value> {
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let digits = |from: usize| bytes.iter().skip(from).take_while(|byte| byte.is_ascii_digit()).count();
        let sign = usize::from(bytes.first() == Some(&b'-'));
        let whole = digits(sign);
        if whole == 0 {
            return Err((self.at, "Expecting value"));
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
        let text = rest.get(..end).unwrap_or_default();
        let value = if float {
            text.parse().ok().map(Value::Float)
        } else if end - sign > MAX_DIGITS {
            return Err((self.at, "the integer has too many digits"));
        } else {
            text.parse::<BigInt>().ok().map(Value::int)
        };
        let value = value.ok_or((self.at, "Expecting value"))?;
        self.at += end;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// actions/JS-2: messages and positions of CPython 3.11
    #[test]
    fn faults() {
        for (text, message, line, column) in [
            ("", "Expecting value", 1, 1),
            ("nope", "Expecting value", 1, 1),
            ("[1, 2,]", "Expecting value", 1, 7),
            ("[1 2]", "Expecting ',' delimiter", 1, 4),
            ("[", "Expecting value", 1, 2),
            ("{\"a\": 1,\n \"b\": }", "Expecting value", 2, 7),
            ("{\"a\" 1}", "Expecting ':' delimiter", 1, 6),
            ("{a: 1}", "Expecting property name enclosed in double quotes", 1, 2),
            ("{\"a\": 1,}", "Expecting property name enclosed in double quotes", 1, 9),
            ("{\"a\": 1", "Expecting ',' delimiter", 1, 8),
            ("1 2", "Extra data", 1, 3),
            ("01", "Extra data", 1, 2),
            ("\"é", "Unterminated string starting at", 1, 1),
            ("[\"a\nb\"]", "Invalid control character at", 1, 4),
            ("\"\\x\"", "Invalid \\escape", 1, 2),
            ("\"a\\u12g4\"", "Invalid \\uXXXX escape", 1, 4),
        ] {
            let fault = loads(text).unwrap_err();
            assert_eq!((&*fault.message, fault.line, fault.column), (message, line, column), "{text}");
        }
        assert_eq!(
            loads("[1 2]").unwrap_err().to_string(),
            "Expecting ',' delimiter: line 1 column 4 (char 3)"
        );
    }

    /// actions/JS-4
    #[test]
    fn values() {
        let big = "123456789012345678901234567890";
        assert_eq!(loads(big).unwrap(), Value::int(big.parse::<BigInt>().unwrap()));
        assert!(matches!(loads("[NaN]").unwrap().as_list(), Some([Value::Float(nan)]) if nan.is_nan()));
        assert_eq!(loads("-Infinity").unwrap(), Value::Float(f64::NEG_INFINITY));
        assert_eq!(loads(r#"{"a": 1, "b": 2, "a": 3}"#).unwrap(), crate::map! { "a" => 3, "b" => 2 });
        assert!(matches!(loads("1.0").unwrap(), Value::Float(_)));
        assert_eq!(loads(r#""\ud83d\ude42\u00e9""#).unwrap(), Value::from("🙂é"));
        assert_eq!(loads(r#""\ud83dx""#).unwrap(), Value::from("\u{fffd}x"));
        assert!(loads(&"[".repeat(100_000)).is_err());
    }

    /// actions/JS-3, actions/Q-26
    #[test]
    fn comments_go_and_texts_stay() {
        let text = "{\"u\": \"http://x, ]\\\"//\", // end\n \"l\": [1, /* c */ 2, ],\n}";
        let value = loads(&without_comments(text)).unwrap();
        let list = Value::list(vec![Value::Int(1), Value::Int(2)]);
        assert_eq!(value, crate::map! { "u" => "http://x, ]\"//", "l" => list });
        assert!(loads(&without_comments("{\"a\": \"x")).is_err());
    }
}
