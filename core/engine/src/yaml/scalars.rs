//! How the scanner reads the text of scalars: plain, quoted and block style.

use std::borrow::Cow;

use super::Style;
use super::error::{Mark, Result};
use super::scanner::Scanner;

const IN_BLOCK: &str = "in a block scalar";
const IN_QUOTED: &str = "in a quoted scalar";

impl<'a> Scanner<'a> {
    // Plain ---------------------------------------------------------------------------------------------------

    /// Reads a plain scalar; also says through `allow_simple_key` whether it ended at the start of a line.
    pub(super) fn scan_plain(&mut self) -> Cow<'a, str> {
        let (begin, mut end) = (self.pos, self.pos);
        let flow = self.flow_level > 0;
        let indent = self.indent + 1;
        // Text on one line is a slice of the input; only folded lines are put together.
        let mut folded: Option<String> = None;
        let mut gap: Cow<'a, str> = Cow::Borrowed("");
        while self.byte(0) != b'#' {
            let length = self.plain_run(flow);
            if length == 0 {
                break;
            }
            self.allow_simple_key = false;
            if let Some(text) = &mut folded {
                text.push_str(&gap);
                text.push_str(self.prefix(length));
            }
            self.advance(length);
            end = self.pos;
            let blanks = self.pos;
            self.skip_spaces();
            if self.is_break(0) {
                match self.fold_plain() {
                    Some(text) => gap = text,
                    None => break,
                }
                folded.get_or_insert_with(|| self.text.get(begin..end).unwrap_or_default().to_owned());
            } else {
                gap = Cow::Borrowed(self.text.get(blanks..self.pos).unwrap_or_default());
            }
            if gap.is_empty() || self.byte(0) == b'#' || (!flow && self.column < indent) {
                break;
            }
        }
        match folded {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(self.text.get(begin..end).unwrap_or_default()),
        }
    }

    /// Bytes of a plain scalar up to a blank or an indicator.
    fn plain_run(&self, flow: bool) -> usize {
        let mut length = 0;
        loop {
            let ends = match self.byte(length) {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => false,
                b':' => {
                    self.is_blank_or_end(length + 1)
                        || (flow && matches!(self.byte(length + 1), b',' | b'[' | b']' | b'{' | b'}'))
                }
                b',' | b'?' | b'[' | b']' | b'{' | b'}' => flow,
                _ => self.is_blank_or_end(length),
            };
            if ends {
                return length;
            }
            length += 1;
        }
    }

    /// Line breaks within a plain scalar, folded; none before the start or the end of a document.
    fn fold_plain(&mut self) -> Option<Cow<'a, str>> {
        let first = self.line_break();
        self.allow_simple_key = true;
        if self.is_document_indicator() {
            return None;
        }
        let mut breaks = String::new();
        while self.byte(0) == b' ' || self.is_break(0) {
            if self.byte(0) == b' ' {
                self.skip_spaces();
                continue;
            }
            breaks.push_str(self.line_break());
            if self.is_document_indicator() {
                return None;
            }
        }
        Some(fold(first, breaks))
    }

    // Quoted --------------------------------------------------------------------------------------------------

    pub(super) fn scan_quoted(&mut self, style: Style) -> Result<Cow<'a, str>> {
        let context = (IN_QUOTED, self.mark());
        let double = style == Style::DoubleQuoted;
        let quote = self.byte(0);
        self.advance(1);
        if let Some(length) = self.simple_quoted(quote, double) {
            let text = self.prefix(length);
            self.advance(length + 1);
            return Ok(Cow::Borrowed(text));
        }
        let mut text = String::new();
        self.scan_quoted_run(double, context, &mut text)?;
        while self.byte(0) != quote {
            self.scan_quoted_blanks(context, &mut text)?;
            self.scan_quoted_run(double, context, &mut text)?;
        }
        self.advance(1);
        Ok(Cow::Owned(text))
    }

    /// Bytes up to the closing quote, if the scalar is a slice of one line.
    fn simple_quoted(&self, quote: u8, double: bool) -> Option<usize> {
        let mut length = 0;
        loop {
            match self.byte(length) {
                byte if byte == quote => break,
                b'\\' if double => return None,
                byte if byte.is_ascii_graphic() || byte == b' ' => {}
                _ if self.is_break_or_end(length) => return None,
                _ => {}
            }
            length += 1;
        }
        (double || self.byte(length + 1) != quote).then_some(length)
    }

    fn scan_quoted_run(
        &mut self,
        double: bool,
        context: (&'static str, Mark),
        text: &mut String,
    ) -> Result<()> {
        loop {
            let mut length = 0;
            while !matches!(self.byte(length), b'\'' | b'"' | b'\\') && !self.is_blank_or_end(length) {
                length += 1;
            }
            text.push_str(self.prefix(length));
            self.advance(length);
            match self.byte(0) {
                b'\'' if !double && self.byte(1) == b'\'' => {
                    text.push('\'');
                    self.advance(2);
                }
                other @ (b'\'' | b'"' | b'\\') if (other == b'\'') == double => {
                    text.push(char::from(other));
                    self.advance(1);
                }
                b'\\' if double => self.scan_escape(context, text)?,
                _ => return Ok(()),
            }
        }
    }

    fn scan_escape(&mut self, context: (&'static str, Mark), text: &mut String) -> Result<()> {
        self.advance(1);
        let character = match self.byte(0) {
            b'0' => '\0',
            b'a' => '\x07',
            b'b' => '\x08',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\x0B',
            b'f' => '\x0C',
            b'r' => '\r',
            b'e' => '\x1B',
            b' ' => ' ',
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'N' => '\u{85}',
            b'_' => '\u{A0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            b'x' => return self.scan_code(2, context, text),
            b'u' => return self.scan_code(4, context, text),
            b'U' => return self.scan_code(8, context, text),
            _ if self.is_break(0) => {
                self.line_break();
                return self.scan_quoted_breaks(context, text);
            }
            _ => {
                let found = self.found(0);
                return self.fail_in(
                    context,
                    format!("unknown escape: a backslash before {found}; use single quotes, or write \\\\"),
                );
            }
        };
        text.push(character);
        self.advance(1);
        Ok(())
    }

    /// `\xHH`, `\uHHHH`, `\UHHHHHHHH`. JSON writes characters beyond 16 bits as two `\u`.
    fn scan_code(&mut self, digits: usize, context: (&'static str, Mark), text: &mut String) -> Result<()> {
        self.advance(1);
        let code = self.hex(digits, context)?;
        let mut character = char::from_u32(code);
        if matches!(code, 0xD800..0xDC00) && self.prefix(2) == "\\u" {
            self.advance(2);
            let low = self.hex(4, context)?;
            if let 0xDC00..0xE000 = low {
                character = char::from_u32(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00));
            }
        }
        match character {
            Some(character) => text.push(character),
            None => return self.fail_in(context, format!("the escape {code:#x} is no Unicode character")),
        }
        Ok(())
    }

    fn hex(&mut self, digits: usize, context: (&'static str, Mark)) -> Result<u32> {
        if let Some(wrong) = (0..digits).find(|at| !self.byte(*at).is_ascii_hexdigit()) {
            let found = self.found(wrong);
            return self.fail_in(
                context,
                format!("expected {digits} hexadecimal digits after the escape, found {found}"),
            );
        }
        let code = u32::from_str_radix(self.prefix(digits), 16).unwrap_or(u32::MAX);
        self.advance(digits);
        Ok(code)
    }

    fn scan_quoted_blanks(&mut self, context: (&'static str, Mark), text: &mut String) -> Result<()> {
        let mut length = 0;
        while matches!(self.byte(length), b' ' | b'\t') {
            length += 1;
        }
        let blanks = self.prefix(length);
        self.advance(length);
        if self.byte(0) == 0 {
            return self.fail_in(context, "the text ends before the closing quote");
        }
        if self.is_break(0) {
            let first = self.line_break();
            let mut breaks = String::new();
            self.scan_quoted_breaks(context, &mut breaks)?;
            text.push_str(&fold(first, breaks));
        } else {
            text.push_str(blanks);
        }
        Ok(())
    }

    fn scan_quoted_breaks(&mut self, context: (&'static str, Mark), text: &mut String) -> Result<()> {
        loop {
            if self.is_document_indicator() {
                return self.fail_in(context, format!("{} before the closing quote", self.prefix(3)));
            }
            while matches!(self.byte(0), b' ' | b'\t') {
                self.advance(1);
            }
            if !self.is_break(0) {
                return Ok(());
            }
            text.push_str(self.line_break());
        }
    }

    // Block ---------------------------------------------------------------------------------------------------

    pub(super) fn scan_block_scalar(&mut self, style: Style) -> Result<Cow<'a, str>> {
        let context = (IN_BLOCK, self.mark());
        self.advance(1);
        let (chomping, increment) = self.scan_block_header(context)?;
        let least = (self.indent + 1).max(1);
        let mut breaks = String::new();
        let indent = match increment {
            Some(increment) => {
                let indent = least + increment - 1;
                self.scan_block_breaks(indent, &mut breaks);
                indent
            }
            None => self.scan_block_indentation(&mut breaks).max(least),
        };
        let mut text = String::new();
        let mut last = "";
        while self.column == indent && self.byte(0) != 0 {
            text.push_str(&breaks);
            let leading = !matches!(self.byte(0), b' ' | b'\t');
            let length = self.line_length();
            text.push_str(self.prefix(length));
            self.advance(length);
            last = self.line_break();
            breaks.clear();
            self.scan_block_breaks(indent, &mut breaks);
            if self.column != indent || self.byte(0) == 0 {
                break;
            }
            if style == Style::Folded && last == "\n" && leading && !matches!(self.byte(0), b' ' | b'\t') {
                if breaks.is_empty() {
                    text.push(' ');
                }
            } else {
                text.push_str(last);
            }
        }
        if chomping != Chomping::Strip {
            text.push_str(last);
        }
        if chomping == Chomping::Keep {
            text.push_str(&breaks);
        }
        Ok(Cow::Owned(text))
    }

    /// Chomping and indentation indicators in either order, then nothing but a comment.
    fn scan_block_header(&mut self, context: (&'static str, Mark)) -> Result<(Chomping, Option<i32>)> {
        let mut chomping = self.scan_chomping();
        let increment = match self.byte(0) {
            b'0' => return self.fail_in(context, "the indentation indicator must be 1 to 9, found 0"),
            digit @ b'1'..=b'9' => {
                self.advance(1);
                chomping = chomping.or_else(|| self.scan_chomping());
                Some(i32::from(digit - b'0'))
            }
            _ => None,
        };
        if !self.is_space_or_end(0) {
            let found = self.found(0);
            return self.fail_in(
                context,
                format!("expected '+', '-', or a digit after the indicator, found {found}"),
            );
        }
        self.skip_spaces();
        self.skip_comment();
        if !self.is_break_or_end(0) {
            let found = self.found(0);
            return self
                .fail_in(context, format!("expected a comment or the end of the line, found {found}"));
        }
        self.line_break();
        Ok((chomping.unwrap_or(Chomping::Clip), increment))
    }

    fn scan_chomping(&mut self) -> Option<Chomping> {
        let chomping = match self.byte(0) {
            b'+' => Chomping::Keep,
            b'-' => Chomping::Strip,
            _ => return None,
        };
        self.advance(1);
        Some(chomping)
    }

    /// Moves to the first line with text; the widest indentation on the way.
    fn scan_block_indentation(&mut self, breaks: &mut String) -> i32 {
        let mut widest = 0;
        loop {
            if self.byte(0) == b' ' {
                self.skip_spaces();
                widest = widest.max(self.column);
            } else if self.is_break(0) {
                breaks.push_str(self.line_break());
            } else {
                return widest;
            }
        }
    }

    fn scan_block_breaks(&mut self, indent: i32, breaks: &mut String) {
        loop {
            while self.column < indent && self.byte(0) == b' ' {
                self.advance(1);
            }
            if !self.is_break(0) {
                return;
            }
            breaks.push_str(self.line_break());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Chomping {
    /// One line break at the end stays.
    Clip,
    Strip,
    Keep,
}

/// One line break becomes a space; of several, the first is dropped. U+2028 and U+2029 are kept.
fn fold<'a>(first: &'a str, breaks: String) -> Cow<'a, str> {
    if first != "\n" {
        return Cow::Owned(format!("{first}{breaks}"));
    }
    if breaks.is_empty() { Cow::Borrowed(" ") } else { Cow::Owned(breaks) }
}
