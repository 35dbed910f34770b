//! YAML text in the form in which PyYAML dumps a document (`cli/CL-29`): block style, keys in their order.

use tea_engine::value::{Key, Value, float_repr, text};
use tea_engine::yaml::{Limits, load};

/// Where long scalars are folded.
const WIDTH: usize = 80;

/// How long the text of a key may be before it is written after a `?`.
const MAX_KEY: usize = 128;

/// A document as YAML text, with a newline at its end.
pub(crate) fn document(value: &Value) -> String {
    let mut emitter = Emitter { out: String::new(), column: 0 };
    let indent =
        if matches!(value, Value::Map(_) | Value::List(_) | Value::Tuple(_) | Value::Set(_)) { 0 } else { 2 };
    emitter.node(value, indent);
    if emitter.column > 0 {
        emitter.newline(0);
    }
    emitter.out
}

struct Emitter {
    out: String,
    /// In characters, from 0.
    column: usize,
}

/// Which ways of writing a text keep it as it is.
struct Analysis {
    plain: bool,
    single: bool,
    multiline: bool,
}

impl Emitter {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        self.column += text.chars().count();
    }

    /// A line break, then the blanks before the next text.
    fn newline(&mut self, indent: usize) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', indent));
        self.column = indent;
    }

    /// A value whose entries begin at `indent`.
    fn node(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Map(map) if map.is_empty() => self.put("{}"),
            Value::List(items) | Value::Tuple(items) if items.is_empty() => self.put("[]"),
            Value::Map(map) => self.map(map.iter(), indent),
            Value::List(items) | Value::Tuple(items) => self.list(items, indent),
            Value::Set(items) if items.is_empty() => self.put("!!set {}"),
            Value::Set(items) => {
                self.put("!!set");
                self.newline(indent);
                self.map(items.iter().map(|key| (key, &Value::Null)), indent);
            }
            Value::Bytes(bytes) => {
                self.put("!!binary |");
                let text = base64(bytes);
                for start in (0..text.len()).step_by(76) {
                    self.newline(indent);
                    let line = text.get(start..(start + 76).min(text.len())).unwrap_or_default();
                    self.put(line);
                }
            }
            scalar => self.scalar(scalar, indent, false),
        }
    }

    fn map<'m>(&mut self, entries: impl Iterator<Item = (&'m Key, &'m Value)>, indent: usize) {
        for (index, (key, value)) in entries.enumerate() {
            if index > 0 {
                self.newline(indent);
            }
            let before = self.out.len();
            let column = self.column;
            let is_scalar =
                !matches!(key.value(), Value::Tuple(_) | Value::List(_) | Value::Map(_) | Value::Set(_));
            if is_scalar {
                self.scalar(key.value(), indent, true);
            }
            let written = self.out.get(before..).map_or(0, |text| text.chars().count());
            if !is_scalar || written >= MAX_KEY {
                self.out.truncate(before);
                self.column = column;
                self.put("? ");
                self.node(key.value(), indent + 2);
                self.newline(indent);
            }
            self.put(":");
            match value {
                Value::Map(map) if !map.is_empty() => {
                    self.newline(indent + 2);
                    self.node(value, indent + 2);
                }
                Value::List(items) | Value::Tuple(items) if !items.is_empty() => {
                    self.newline(indent);
                    self.node(value, indent);
                }
                _ => {
                    self.put(" ");
                    self.node(value, indent + 2);
                }
            }
        }
    }

    fn list(&mut self, items: &[Value], indent: usize) {
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                self.newline(indent);
            }
            self.put("- ");
            self.node(item, indent + 2);
        }
    }

    /// A scalar whose continuation lines begin at `indent`; as a key it stays on one line.
    fn scalar(&mut self, value: &Value, indent: usize, key: bool) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(true) => self.put("true"),
            Value::Bool(false) => self.put("false"),
            Value::Float(float) => self.put(&yaml_float(*float)),
            Value::Str(text) => self.text(text, indent, key),
            Value::DateTime(time) => self.put(&time.format(' ')),
            other => self.put(&text(other)),
        }
    }

    fn text(&mut self, text: &str, indent: usize, key: bool) {
        let analysis = analyse(text);
        if analysis.plain && !(key && analysis.multiline) && is_text(text) {
            self.plain(text, indent, !key);
        } else if analysis.single && !(key && analysis.multiline) {
            self.single(text, indent, !key);
        } else {
            self.double(text, indent, !key);
        }
    }

    fn plain(&mut self, text: &str, indent: usize, fold: bool) {
        for (word, blanks) in words(text) {
            self.put(word);
            if blanks == 1 && fold && self.column > WIDTH {
                self.newline(indent);
            } else {
                self.put(&" ".repeat(blanks));
            }
        }
    }

    fn single(&mut self, text: &str, indent: usize, fold: bool) {
        self.put("'");
        let mut rest = text;
        let mut begun = false;
        while !rest.is_empty() {
            let blanks = rest.len() - rest.trim_start_matches(' ').len();
            let breaks = rest.len() - rest.trim_start_matches('\n').len();
            let taken = if blanks > 0 {
                let inside = begun && blanks < rest.len();
                if blanks == 1 && fold && inside && self.column > WIDTH {
                    self.newline(indent);
                } else {
                    self.put(&" ".repeat(blanks));
                }
                blanks
            } else if breaks > 0 {
                // One line break alone would read as a blank.
                self.out.extend(std::iter::repeat_n('\n', breaks));
                self.newline(indent);
                breaks
            } else {
                let end = rest.find([' ', '\n']).unwrap_or(rest.len());
                let word = rest.get(..end).unwrap_or_default().replace('\'', "''");
                self.put(&word);
                end
            };
            begun = true;
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.put("'");
    }

    fn double(&mut self, text: &str, indent: usize, fold: bool) {
        self.put("\"");
        let characters: Vec<char> = text.chars().collect();
        let part = |from: usize, to: usize| characters.get(from..to).unwrap_or_default();
        // What is not written yet begins here.
        let mut start = 0;
        for (end, character) in characters.iter().enumerate() {
            let plain = matches!(character, ' '..='~') && !matches!(character, '"' | '\\');
            if !plain {
                self.put(&part(start, end).iter().collect::<String>());
                self.put(&escape(*character));
                start = end + 1;
            }
            let breakable = *character == ' ' || start >= end;
            let inside = end > 0 && end + 1 < characters.len();
            if fold && inside && breakable && self.column + end > WIDTH + start {
                self.put(&part(start, end).iter().collect::<String>());
                start = start.max(end);
                self.put("\\");
                self.newline(indent);
                // A blank at the beginning of a line would be lost.
                if characters.get(start) == Some(&' ') {
                    self.put("\\");
                }
            }
        }
        self.put(&part(start, characters.len()).iter().collect::<String>());
        self.put("\"");
    }
}

/// The words of a text, each with the number of blanks behind it.
fn words(text: &str) -> Vec<(&str, usize)> {
    let mut words = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(' ').unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let blanks = tail.len() - tail.trim_start_matches(' ').len();
        words.push((word, blanks));
        rest = tail.get(blanks..).unwrap_or_default();
    }
    words
}

fn escape(character: char) -> String {
    let short = match character {
        '\0' => Some('0'),
        '\x07' => Some('a'),
        '\x08' => Some('b'),
        '\t' => Some('t'),
        '\n' => Some('n'),
        '\x0b' => Some('v'),
        '\x0c' => Some('f'),
        '\r' => Some('r'),
        '\x1b' => Some('e'),
        '"' => Some('"'),
        '\\' => Some('\\'),
        '\u{85}' => Some('N'),
        '\u{a0}' => Some('_'),
        '\u{2028}' => Some('L'),
        '\u{2029}' => Some('P'),
        _ => None,
    };
    match (short, u32::from(character)) {
        (Some(short), _) => format!("\\{short}"),
        (None, code @ ..=0xff) => format!("\\x{code:02X}"),
        (None, code @ ..=0xffff) => format!("\\u{code:04X}"),
        (None, code) => format!("\\U{code:08X}"),
    }
}

/// The text without quotes is read as a text, and not as a number, a date, ...
fn is_text(text: &str) -> bool {
    text != "="
        && text != "<<"
        && load(text.as_bytes(), &Limits::default()).is_ok_and(|value| value.as_str() == Some(text))
}

fn analyse(text: &str) -> Analysis {
    let characters: Vec<char> = text.chars().collect();
    let is_break = |c: char| matches!(c, '\n' | '\u{85}' | '\u{2028}' | '\u{2029}');
    let is_gap = |c: Option<&char>| c.is_none_or(|c| matches!(c, '\0' | ' ' | '\t' | '\r') || is_break(*c));
    let mut indicators = text.starts_with("---") || text.starts_with("...");
    let (mut breaks, mut special, mut space_break, mut break_space) = (false, false, false, false);
    let mut before: Option<char> = None;
    for (index, character) in characters.iter().enumerate() {
        let gap_behind = is_gap(characters.get(index + 1));
        indicators |= match character {
            '#' => before.is_none_or(|c| is_gap(Some(&c))),
            ':' => gap_behind,
            ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`' => {
                index == 0
            }
            '?' | '-' => index == 0 && gap_behind,
            _ => false,
        };
        breaks |= is_break(*character);
        special |= !matches!(character, '\n' | ' '..='~');
        space_break |= *character == '\n' && before == Some(' ');
        break_space |= *character == ' ' && before == Some('\n');
        before = Some(*character);
    }
    let edge = |c: Option<&char>| c.is_some_and(|c| *c == ' ' || is_break(*c));
    let edges = edge(characters.first()) || edge(characters.last());
    let broken = special || space_break;
    Analysis {
        plain: !(indicators || breaks || edges || broken || break_space),
        single: !(broken || break_space),
        multiline: breaks,
    }
}

/// A float as PyYAML writes it: `.inf`, and a point before every exponent.
fn yaml_float(float: f64) -> String {
    if float.is_nan() {
        return ".nan".to_owned();
    }
    if float.is_infinite() {
        return if float > 0.0 { ".inf" } else { "-.inf" }.to_owned();
    }
    let text = float_repr(float);
    if text.contains('.') { text } else { text.replacen('e', ".0e", 1) }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS.get((bits >> (18 - 6 * place)) as usize & 63).copied().unwrap_or(b'=');
            out.push(if place <= chunk.len() { char::from(letter) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use tea_engine::value::Map;

    use super::*;

    fn read(text: &str) -> Value {
        load(text.as_bytes(), &Limits::default()).unwrap()
    }

    /// cli/CL-29: what PyYAML 6 prints for the same document.
    #[test]
    fn documents_print_as_in_pyyaml() {
        let text = "name: demo\nnodes:\n- name: a\n  with:\n    text: '{{ state.x }}'\n    n: 1.0e+20\n    'off': 'no'\n    e: ''\n- []\n- {}\n- - 1\n  - null\n";
        assert_eq!(document(&read(text)), text);
        assert_eq!(document(&read("run: \"a = 1\\n  b\"")), "run: \"a = 1\\n  b\"\n");
        assert_eq!(document(&read("run: \"a\\nb\\n\"")), "run: 'a\n\n  b\n\n  '\n");
        assert_eq!(document(&read("k: \"é: \\t\"")), "k: \"\\xE9: \\t\"\n");
        assert_eq!(document(&Value::Null), "null\n");
    }

    #[test]
    fn whatever_is_printed_reads_back() {
        let long = "word ".repeat(60);
        let texts = [
            "",
            " ",
            "a",
            "a b",
            " a",
            "a ",
            "- a",
            "a: b",
            "a #b",
            "#a",
            "null",
            "1",
            "1_000",
            "0o7",
            "12:30",
            "2020-01-01",
            "yes",
            "~",
            "<<",
            "=",
            "---",
            "a\nb",
            "a\n b",
            "a \nb",
            "\n",
            "a\n\n\nb",
            "\ta",
            "é",
            "\u{1f600}",
            "'q'",
            "\"q\"",
            "it's",
            "{{ x }}",
            "[x",
            "a,b",
            "?",
            "? a",
            "-",
            "-a",
            "%",
            "@a",
            "`",
            "!t",
            "&a",
            "*a",
            "|",
            ">",
            long.as_str(),
            long.trim(),
            "\u{85}x",
            "\u{2028}",
            "a\r\nb",
            "\0",
        ];
        for text in texts {
            let list = Value::list(vec![Value::from(text), Value::from(text)]);
            assert_eq!(read(&document(&list)), list, "{text:?}\n{}", document(&list));
            let mut map = Map::new();
            map.insert(text.into(), Value::from(text));
            let map = Value::map(map);
            assert_eq!(read(&document(&map)), map, "{text:?}\n{}", document(&map));
        }
        for text in [
            "[1.5, .inf, -.inf, 1e300, -7, 123456789012345678901234567890]",
            "2020-01-01 10:00:00",
            "!!binary aGVsbG8=",
        ] {
            let value = read(text);
            assert_eq!(read(&document(&value)), value, "{}", document(&value));
        }
    }
}
