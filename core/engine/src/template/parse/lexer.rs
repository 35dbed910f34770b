//! Tokens of a template, produced on demand so that a large template never exists as a list of tokens.

use num_bigint::BigInt;

use super::SyntaxError;
use crate::value::{Value, int_from_big};

/// One token; `'s` is the source.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'s> {
    /// Literal text between constructs, after whitespace control. `raw` parts included.
    Data(&'s str),
    VariableBegin,
    VariableEnd,
    BlockBegin,
    BlockEnd,
    Name(&'s str),
    Str(String),
    /// An integer or a float.
    Number(Value),
    Op(&'static str),
    End,
}

impl Token<'_> {
    /// The token in words of an error text.
    pub(super) fn describe(&self) -> String {
        match self {
            Token::Data(_) => "template data / text".to_owned(),
            Token::VariableBegin => "begin of print statement".to_owned(),
            Token::VariableEnd => "end of print statement".to_owned(),
            Token::BlockBegin => "begin of statement block".to_owned(),
            Token::BlockEnd => "end of statement block".to_owned(),
            Token::Name(name) => (*name).to_owned(),
            Token::Str(_) => "string".to_owned(),
            Token::Number(Value::Float(_)) => "float".to_owned(),
            Token::Number(_) => "integer".to_owned(),
            Token::Op(op) => (*op).to_owned(),
            Token::End => "end of template".to_owned(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Text,
    Variable,
    Block,
    /// One expression without delimiters.
    Expression,
}

/// The reader of one source. Line ends must be normalised to `\n` before.
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
    mode: Mode,
    /// Closing brackets that are due, innermost last.
    closing: Vec<u8>,
    /// A token that follows the one just given, with its position.
    pending: Option<(Token<'s>, usize)>,
}

const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<",
    "=", ".", ":", "|", ",", ";",
];

impl<'s> Lexer<'s> {
    pub(super) fn new(source: &'s str, expression: bool) -> Self {
        let mode = if expression { Mode::Expression } else { Mode::Text };
        Lexer { source, at: 0, mode, closing: Vec::new(), pending: None }
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { message: message.into(), at: self.at })
    }

    /// The next token and the byte offset at which it begins.
    pub(super) fn next(&mut self) -> Result<(Token<'s>, usize), SyntaxError> {
        if let Some(pending) = self.pending.take() {
            return Ok(pending);
        }
        if self.mode == Mode::Text { self.text() } else { self.code() }
    }

    /// Literal text up to the next construct; comments and raw sections are consumed here.
    fn text(&mut self) -> Result<(Token<'s>, usize), SyntaxError> {
        loop {
            let start = self.at;
            let rest = self.rest();
            if rest.is_empty() {
                return Ok((Token::End, start));
            }
            let Some((offset, kind)) = find_construct(rest) else {
                self.at = self.source.len();
                return Ok((Token::Data(rest), start));
            };
            let (mut data, construct) = rest.split_at(offset);
            let sign = construct.as_bytes().get(2).copied();
            if sign == Some(b'-') {
                data = data.trim_end();
            }
            let signed = usize::from(matches!(sign, Some(b'-' | b'+')));
            let begin = self.at + offset;
            self.at = begin + 2 + signed;
            let token = match kind {
                b'#' => {
                    let Some(end) = self.rest().find("#}") else {
                        return self.fail("Missing end of comment tag");
                    };
                    let strip = end > 0 && self.rest().as_bytes().get(end - 1) == Some(&b'-');
                    self.at += end + 2;
                    self.skip_blanks(strip);
                    None
                }
                b'{' => {
                    self.mode = Mode::Variable;
                    Some(Token::VariableBegin)
                }
                _ => match self.raw()? {
                    Some((raw, at)) => {
                        if data.is_empty() {
                            return Ok((Token::Data(raw), at));
                        }
                        self.pending = Some((Token::Data(raw), at));
                        None
                    }
                    None => {
                        self.mode = Mode::Block;
                        Some(Token::BlockBegin)
                    }
                },
            };
            if data.is_empty() {
                match token {
                    Some(token) => return Ok((token, begin)),
                    None => continue,
                }
            }
            if let Some(token) = token {
                self.pending = Some((token, begin));
            }
            return Ok((Token::Data(data), start));
        }
    }

    /// The content of a raw section, if the block tag that has just begun is `raw`.
    fn raw(&mut self) -> Result<Option<(&'s str, usize)>, SyntaxError> {
        let Some(after) = self.rest().trim_start().strip_prefix("raw") else { return Ok(None) };
        let after = after.trim_start();
        let (after, strip) = match (after.strip_prefix("-%}"), after.strip_prefix("%}")) {
            (Some(after), _) => (after.trim_start(), true),
            (None, Some(after)) => (after, false),
            (None, None) => return Ok(None),
        };
        let _ = strip;
        self.at = self.source.len() - after.len();
        let start = self.at;
        let mut search = 0;
        while let Some(offset) = self.rest().get(search..).and_then(|rest| rest.find("{%")) {
            let tag = search + offset;
            let inner = self.rest().get(tag + 2..).unwrap_or_default();
            let left = inner.starts_with('-');
            let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start();
            if let Some(inner) = inner.strip_prefix("endraw") {
                let inner = inner.trim_start();
                let end =
                    match (inner.strip_prefix("-%}"), inner.strip_prefix("+%}"), inner.strip_prefix("%}")) {
                        (Some(rest), ..) => Some(rest.trim_start()),
                        (_, Some(rest), _) | (_, _, Some(rest)) => Some(rest),
                        _ => None,
                    };
                if let Some(end) = end {
                    let raw = self.rest().get(..tag).unwrap_or_default();
                    self.at = self.source.len() - end.len();
                    return Ok(Some((if left { raw.trim_end() } else { raw }, start)));
                }
            }
            search = tag + 2;
        }
        self.fail("Missing end of raw directive")
    }

    fn skip_blanks(&mut self, strip: bool) {
        if strip {
            self.at = self.source.len() - self.rest().trim_start().len();
        }
    }

    fn code(&mut self) -> Result<(Token<'s>, usize), SyntaxError> {
        self.skip_blanks(true);
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return Ok((Token::End, start)) };
        if self.closing.is_empty()
            && let Some(token) = self.end_of_construct()
        {
            return Ok((token, start));
        }
        if first.is_ascii_digit() {
            return Ok((Token::Number(self.number()?), start));
        }
        if first.is_alphanumeric() || first == '_' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or_default();
            if first.is_numeric() {
                return self.fail("Invalid character in identifier");
            }
            self.at += end;
            return Ok((Token::Name(name), start));
        }
        if first == '\'' || first == '"' {
            return Ok((Token::Str(self.string(first)?), start));
        }
        let Some(op) = OPERATORS.iter().find(|op| rest.starts_with(**op)) else {
            return self
                .fail(format!("unexpected char {} at {start}", crate::value::str_repr(&first.to_string())));
        };
        match *op {
            "(" => self.closing.push(b')'),
            "[" => self.closing.push(b']'),
            "{" => self.closing.push(b'}'),
            ")" | "]" | "}" => match self.closing.pop() {
                None => return self.fail(format!("unexpected '{op}'")),
                Some(due) if op.as_bytes() != [due] => {
                    return self.fail(format!("unexpected '{op}', expected '{}'", char::from(due)));
                }
                Some(_) => {}
            },
            _ => {}
        }
        self.at += op.len();
        Ok((Token::Op(op), start))
    }

    fn end_of_construct(&mut self) -> Option<Token<'s>> {
        let (end, token) = match self.mode {
            Mode::Variable => ("}}", Token::VariableEnd),
            Mode::Block => ("%}", Token::BlockEnd),
            Mode::Text | Mode::Expression => return None,
        };
        let rest = self.rest();
        let stripped = rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(end));
        let kept =
            self.mode == Mode::Block && rest.strip_prefix('+').is_some_and(|rest| rest.starts_with(end));
        if !(stripped || kept || rest.starts_with(end)) {
            return None;
        }
        self.at += end.len() + usize::from(stripped || kept);
        self.skip_blanks(stripped);
        self.mode = Mode::Text;
        Some(token)
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let rest = self.rest().as_bytes();
        // A float does not begin right after a dot: `x.0.5` is two element numbers.
        let after_dot = self.at > 0 && self.source.as_bytes().get(self.at - 1) == Some(&b'.');
        if !after_dot {
            let whole = digits(rest, 0, |byte| byte.is_ascii_digit());
            let mut end = whole;
            if rest.get(end) == Some(&b'.') {
                let fraction = digits(rest, end + 1, |byte| byte.is_ascii_digit());
                if fraction > end + 1 {
                    end = fraction;
                }
            }
            if matches!(rest.get(end), Some(b'e' | b'E')) {
                let sign = usize::from(matches!(rest.get(end + 1), Some(b'+' | b'-')));
                let exponent = digits(rest, end + 1 + sign, |byte| byte.is_ascii_digit());
                if exponent > end + 1 + sign {
                    end = exponent;
                }
            }
            if end > whole {
                let text = self.take(end);
                return match text.parse() {
                    Ok(float) => Ok(Value::Float(float)),
                    Err(_) => self.fail(format!("invalid number {text}")),
                };
            }
        }
        let radix = match (rest.first(), rest.get(1)) {
            (Some(b'0'), Some(b'x' | b'X')) => 16,
            (Some(b'0'), Some(b'o' | b'O')) => 8,
            (Some(b'0'), Some(b'b' | b'B')) => 2,
            _ => 10,
        };
        if radix != 10 {
            let valid = |byte: u8| char::from(byte).is_digit(radix);
            let skip = usize::from(rest.get(2) == Some(&b'_'));
            let end = digits(rest, 2 + skip, valid);
            if end > 2 + skip {
                let text = self.take(end);
                let number = BigInt::parse_bytes(text.get(2..).unwrap_or_default().as_bytes(), radix);
                return number.map_or_else(|| self.fail("invalid number"), |number| Ok(int_from_big(number)));
            }
        }
        let zeros = rest.first() == Some(&b'0');
        let end = digits(rest, 0, |byte| if zeros { byte == b'0' } else { byte.is_ascii_digit() });
        if end > 4300 {
            return self.fail("Exceeds the limit (4300 digits) for integer string conversion");
        }
        let text = self.take(end);
        match text.parse::<BigInt>() {
            Ok(number) => Ok(int_from_big(number)),
            Err(_) => self.fail(format!("invalid number {text}")),
        }
    }

    /// Consumes up to `end` and gives the text without `_`.
    fn take(&mut self, end: usize) -> String {
        let text = self.rest().get(..end).unwrap_or_default().replace('_', "");
        self.at += end;
        text
    }

    fn string(&mut self, quote: char) -> Result<String, SyntaxError> {
        let body = self.rest().get(1..).unwrap_or_default();
        let mut escaped = false;
        let mut plain = true;
        for (offset, character) in body.char_indices() {
            if escaped {
                escaped = false;
            } else if character == '\\' {
                escaped = true;
                plain = false;
            } else if character == quote {
                let text = body.get(..offset).unwrap_or_default();
                let text = if plain { text.to_owned() } else { self.unescape(text)? };
                self.at += offset + 2;
                return Ok(text);
            }
        }
        self.fail(format!("unexpected char {} at {}", crate::value::str_repr(&quote.to_string()), self.at))
    }

    /// Backslash escapes as in Python's text literals; unknown ones stay as they are.
    fn unescape(&self, text: &str) -> Result<String, SyntaxError> {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            out.push_str(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
            let Some(letter) = rest.chars().next() else { break };
            rest = rest.get(letter.len_utf8()..).unwrap_or_default();
            let simple = match letter {
                '\n' => continue,
                '\\' | '\'' | '"' => letter,
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                '0'..='7' => {
                    let mut code = letter.to_digit(8).unwrap_or(0);
                    for _ in 0..2 {
                        let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(8)) else { break };
                        code = code * 8 + digit;
                        rest = rest.get(1..).unwrap_or_default();
                    }
                    char::from_u32(code).unwrap_or('\u{fffd}')
                }
                'x' | 'u' | 'U' => {
                    let (width, form) = match letter {
                        'x' => (2, "truncated \\xXX escape"),
                        'u' => (4, "truncated \\uXXXX escape"),
                        _ => (8, "truncated \\UXXXXXXXX escape"),
                    };
                    let digits = rest.get(..width).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                    let Some(code) = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()) else {
                        return self.fail(form);
                    };
                    rest = rest.get(width..).unwrap_or_default();
                    match char::from_u32(code) {
                        Some(character) => character,
                        // Half of a surrogate pair has no place in a text of Unicode characters.
                        None if code < 0x11_0000 => '\u{fffd}',
                        None => return self.fail("illegal Unicode character"),
                    }
                }
                other => {
                    out.push('\\');
                    other
                }
            };
            out.push(simple);
        }
        out.push_str(rest);
        Ok(out)
    }
}

/// The end of a run of digits with single `_` between them, from `start`.
fn digits(bytes: &[u8], start: usize, valid: impl Fn(u8) -> bool) -> usize {
    let mut end = start;
    loop {
        match bytes.get(end) {
            Some(byte) if valid(*byte) => end += 1,
            Some(b'_') if end > start && bytes.get(end + 1).is_some_and(|byte| valid(*byte)) => end += 2,
            _ => return end,
        }
    }
}

/// Offset and second byte of the first `{{`, `{%` or `{#`.
fn find_construct(text: &str) -> Option<(usize, u8)> {
    let bytes = text.as_bytes();
    let mut from = 0;
    while let Some(offset) = bytes.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'{')) {
        let at = from + offset;
        match bytes.get(at + 1) {
            Some(kind @ (b'{' | b'%' | b'#')) => return Some((at, *kind)),
            _ => from = at + 1,
        }
    }
    None
}
