//! How the scanner reads tags and directives.

use std::borrow::Cow;

use super::error::{Mark, Result};
use super::scanner::{Directive, Scanner, name_byte};

const IN_TAG: &str = "in a tag";
const IN_DIRECTIVE: &str = "in a directive";

impl<'a> Scanner<'a> {
    pub(super) fn scan_tag(&mut self) -> Result<(Option<&'a str>, Cow<'a, str>)> {
        let context = (IN_TAG, self.mark());
        let (handle, suffix) = if self.byte(1) == b'<' {
            self.advance(2);
            let uri = self.scan_uri(context)?;
            if self.byte(0) != b'>' {
                let found = self.found(0);
                return self.fail_in(context, format!("expected '>' after the tag, found {found}"));
            }
            self.advance(1);
            (None, uri)
        } else if self.is_blank_or_end(1) {
            self.advance(1);
            (None, Cow::Borrowed("!"))
        } else {
            let mut length = 1;
            while !self.is_space_or_end(length) && self.byte(length) != b'!' {
                length += 1;
            }
            let handle = if self.byte(length) == b'!' {
                self.scan_handle(context)?
            } else {
                let handle = self.prefix(1);
                self.advance(1);
                handle
            };
            (Some(handle), self.scan_uri(context)?)
        };
        if !self.is_space_or_end(0) {
            let found = self.found(0);
            return self.fail_in(context, format!("expected a space after the tag, found {found}"));
        }
        Ok((handle, suffix))
    }

    /// `!`, `!!` or `!name!`.
    fn scan_handle(&mut self, context: (&'static str, Mark)) -> Result<&'a str> {
        if self.byte(0) != b'!' {
            let found = self.found(0);
            return self.fail_in(context, format!("expected '!', found {found}"));
        }
        let mut length = 1;
        if self.byte(1) != b' ' {
            while name_byte(self.byte(length)) {
                length += 1;
            }
            if self.byte(length) != b'!' {
                self.advance(length);
                let found = self.found(0);
                return self
                    .fail_in(context, format!("expected '!' at the end of the handle, found {found}"));
            }
            length += 1;
        }
        let handle = self.prefix(length);
        self.advance(length);
        Ok(handle)
    }

    fn scan_uri(&mut self, context: (&'static str, Mark)) -> Result<Cow<'a, str>> {
        let begin = self.pos;
        let mut decoded: Option<String> = None;
        loop {
            let mut length = 0;
            while uri_byte(self.byte(length)) {
                length += 1;
            }
            if let Some(text) = &mut decoded {
                text.push_str(self.prefix(length));
            }
            self.advance(length);
            if self.byte(0) != b'%' {
                break;
            }
            let so_far = self.text.get(begin..self.pos).unwrap_or_default();
            let text = decoded.get_or_insert_with(|| so_far.to_owned());
            let escaped = self.scan_uri_escapes(context)?;
            text.push_str(&escaped);
        }
        if self.pos == begin {
            let found = self.found(0);
            return self.fail_in(context, format!("expected the name of a tag, found {found}"));
        }
        Ok(match decoded {
            Some(text) => Cow::Owned(text),
            None => Cow::Borrowed(self.text.get(begin..self.pos).unwrap_or_default()),
        })
    }

    fn scan_uri_escapes(&mut self, context: (&'static str, Mark)) -> Result<String> {
        let mut bytes = Vec::new();
        while self.byte(0) == b'%' {
            self.advance(1);
            match u8::from_str_radix(self.prefix(2), 16) {
                Ok(byte) if self.byte(0).is_ascii_hexdigit() => bytes.push(byte),
                _ => return self.fail_in(context, "expected two hexadecimal digits after '%'"),
            }
            self.advance(2);
        }
        String::from_utf8(bytes).or_else(|_| self.fail_in(context, "the '%' escapes are no UTF-8 text"))
    }

    pub(super) fn scan_directive(&mut self) -> Result<Directive<'a>> {
        let context = (IN_DIRECTIVE, self.mark());
        self.advance(1);
        let mut length = 0;
        while name_byte(self.byte(length)) {
            length += 1;
        }
        let name = self.prefix(length);
        self.advance(length);
        if length == 0 || !self.is_space_or_end(0) {
            let found = self.found(0);
            return self.fail_in(context, format!("expected a name of letters and digits, found {found}"));
        }
        let directive = match name {
            "YAML" => {
                self.skip_spaces();
                let major = self.scan_version(context)?;
                if self.byte(0) != b'.' {
                    let found = self.found(0);
                    return self.fail_in(context, format!("expected a version such as 1.1, found {found}"));
                }
                self.advance(1);
                self.scan_version(context)?;
                self.expect_space(context)?;
                Directive::Yaml(major.trim_start_matches('0') == "1")
            }
            "TAG" => {
                self.skip_spaces();
                let handle = self.scan_handle(context)?;
                if self.byte(0) != b' ' {
                    let found = self.found(0);
                    return self
                        .fail_in(context, format!("expected a space after the handle, found {found}"));
                }
                self.skip_spaces();
                let prefix = self.scan_uri(context)?;
                self.expect_space(context)?;
                Directive::Tag(handle, prefix)
            }
            _ => {
                self.advance(self.line_length());
                Directive::Unknown
            }
        };
        self.skip_spaces();
        self.skip_comment();
        if !self.is_break_or_end(0) {
            let found = self.found(0);
            return self
                .fail_in(context, format!("expected a comment or the end of the line, found {found}"));
        }
        self.line_break();
        Ok(directive)
    }

    fn expect_space(&self, context: (&'static str, Mark)) -> Result<()> {
        if self.is_space_or_end(0) {
            return Ok(());
        }
        self.fail_in(context, format!("expected a space or the end of the line, found {}", self.found(0)))
    }

    fn scan_version(&mut self, context: (&'static str, Mark)) -> Result<&'a str> {
        let mut length = 0;
        while self.byte(length).is_ascii_digit() {
            length += 1;
        }
        if length == 0 {
            let found = self.found(0);
            return self.fail_in(context, format!("expected a digit, found {found}"));
        }
        let number = self.prefix(length);
        self.advance(length);
        Ok(number)
    }
}

/// What the name of a tag may hold besides `%` escapes.
fn uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-;/?:@&=+$,_.!~*'()[]".contains(&byte)
}
