//! Text to tokens. Tokens, their order and the errors follow the scanner of PyYAML 6 (MIT licence,
//! (c) 2017-2021 Ingy döt Net, 2006-2016 Kirill Simonov), from which this is ported; see
//! `docs/decisions/0002-yaml-parser.md`. How scalars are read is in `scalars`, tags and directives in `tags`.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::Style;
use super::error::{Mark, Result, YamlErrorKind, fail, fail_in};

/// A simple key ("key: value" without "?") lies on one line and has at most this many characters.
const SIMPLE_KEY_LENGTH: usize = 1024;

#[derive(Debug)]
pub(super) struct Token<'a> {
    pub(super) mark: Mark,
    pub(super) kind: TokenKind<'a>,
}

#[derive(Debug)]
pub(super) enum TokenKind<'a> {
    StreamEnd,
    Directive(Directive<'a>),
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowMappingStart,
    FlowSequenceEnd,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'a str),
    Anchor(&'a str),
    /// Handle (`!`, `!!`, `!name!`; none for `!<uri>` and the lone `!`) and suffix.
    Tag(Option<&'a str>, Cow<'a, str>),
    Scalar(Cow<'a, str>, Style),
}

#[derive(Debug)]
pub(super) enum Directive<'a> {
    /// `%YAML`: whether the major version is 1.
    Yaml(bool),
    /// `%TAG`: handle and prefix.
    Tag(&'a str, Cow<'a, str>),
    /// Any other; ignored.
    Unknown,
}

impl TokenKind<'_> {
    /// The token in words, for errors.
    pub(super) fn name(&self) -> &'static str {
        match self {
            TokenKind::StreamEnd => "the end of the text",
            TokenKind::Directive(_) => "a directive (%)",
            TokenKind::DocumentStart => "the start of a document (---)",
            TokenKind::DocumentEnd => "the end of a document (...)",
            TokenKind::BlockSequenceStart => "a list (-)",
            TokenKind::BlockMappingStart => "a mapping",
            TokenKind::BlockEnd => "the end of a block",
            TokenKind::FlowSequenceStart => "'['",
            TokenKind::FlowMappingStart => "'{'",
            TokenKind::FlowSequenceEnd => "']'",
            TokenKind::FlowMappingEnd => "'}'",
            TokenKind::BlockEntry => "'-'",
            TokenKind::FlowEntry => "','",
            TokenKind::Key => "a key",
            TokenKind::Value => "':'",
            TokenKind::Alias(_) => "an alias (*)",
            TokenKind::Anchor(_) => "an anchor (&)",
            TokenKind::Tag(..) => "a tag (!)",
            TokenKind::Scalar(..) => "a scalar",
        }
    }
}

/// A place where a key without "?" may have begun.
struct SimpleKey {
    level: usize,
    /// Number of the token that would be the key, counted from the start of the text.
    token: usize,
    /// The key begins at the indentation of a block mapping: without ":" it is an error.
    required: bool,
    index: usize,
    line: u32,
    column: i32,
    mark: Mark,
}

pub(super) struct Scanner<'a> {
    pub(super) text: &'a str,
    bytes: &'a [u8],
    /// Position in bytes.
    pub(super) pos: usize,
    /// Position in characters.
    index: usize,
    /// From 0.
    line: u32,
    /// From 0; signed, because the indentation of "no block at all" is -1.
    pub(super) column: i32,
    pub(super) flow_level: usize,
    tokens: VecDeque<Token<'a>>,
    taken: usize,
    pub(super) indent: i32,
    indents: Vec<i32>,
    pub(super) allow_simple_key: bool,
    /// At most one for each flow level, in order of levels, hence of positions.
    simple_keys: VecDeque<SimpleKey>,
    done: bool,
    /// U+FEFF takes no column, which costs a look at each character where there is one.
    has_marks: bool,
}

pub(super) fn name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut scanner = Scanner {
            text,
            bytes: text.as_bytes(),
            pos: 0,
            index: 0,
            line: 0,
            column: 0,
            flow_level: 0,
            tokens: VecDeque::new(),
            taken: 0,
            indent: -1,
            indents: Vec::new(),
            allow_simple_key: true,
            simple_keys: VecDeque::new(),
            done: false,
            has_marks: false,
        };
        if text.starts_with('\u{FEFF}') {
            scanner.pos = '\u{FEFF}'.len_utf8();
            scanner.index = 1;
        }
        scanner.has_marks = scanner.rest(0).contains('\u{FEFF}');
        scanner
    }

    /// The next token, without taking it. After the end of the text it stays there.
    pub(super) fn peek(&mut self) -> Result<&Token<'a>> {
        while self.needs_more()? {
            self.fetch()?;
        }
        match self.tokens.front() {
            Some(token) => Ok(token),
            None => fail(YamlErrorKind::Parser, self.mark(), "the text ended too early"),
        }
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Token<'a>> {
        self.peek()?;
        self.taken += 1;
        match self.tokens.pop_front() {
            Some(token) => Ok(token),
            None => fail(YamlErrorKind::Parser, self.mark(), "the text ended too early"),
        }
    }

    // Characters: positions are in bytes, 0 stands for the end (NUL itself is refused before) ----------------

    pub(super) fn mark(&self) -> Mark {
        Mark { line: self.line + 1, column: u32::try_from(self.column).unwrap_or_default() + 1 }
    }

    pub(super) fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.pos + ahead).copied().unwrap_or(0)
    }

    /// The text from `ahead` bytes after the position.
    pub(super) fn rest(&self, ahead: usize) -> &'a str {
        self.text.get(self.pos + ahead..).unwrap_or_default()
    }

    /// The `length` bytes at the position.
    pub(super) fn prefix(&self, length: usize) -> &'a str {
        self.text.get(self.pos..self.pos + length).unwrap_or_default()
    }

    /// Length in bytes of the line break at the position, 0 if there is none; `\r\n` counts as its first half.
    fn break_length(&self, ahead: usize) -> usize {
        match self.byte(ahead) {
            b'\n' | b'\r' => 1,
            0xC2 if self.byte(ahead + 1) == 0x85 => 2,
            0xE2 if self.byte(ahead + 1) == 0x80 && matches!(self.byte(ahead + 2), 0xA8 | 0xA9) => 3,
            _ => 0,
        }
    }

    pub(super) fn is_break(&self, ahead: usize) -> bool {
        self.break_length(ahead) > 0
    }

    /// A line break or the end.
    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.byte(ahead) == 0 || self.is_break(ahead)
    }

    /// A space, a line break or the end, but no tab.
    pub(super) fn is_space_or_end(&self, ahead: usize) -> bool {
        self.byte(ahead) == b' ' || self.is_break_or_end(ahead)
    }

    /// A space, a tab, a line break or the end.
    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t') || self.is_break_or_end(ahead)
    }

    /// Moves over `length` bytes of text without line breaks.
    pub(super) fn advance(&mut self, length: usize) {
        let passed = self.bytes.get(self.pos..self.pos + length).unwrap_or_default();
        let characters = passed.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
        let marks = if self.has_marks { self.prefix(length).matches('\u{FEFF}').count() } else { 0 };
        self.pos += passed.len();
        self.index += characters;
        self.column =
            self.column.saturating_add_unsigned(u32::try_from(characters - marks).unwrap_or(u32::MAX));
    }

    /// Moves over spaces.
    pub(super) fn skip_spaces(&mut self) {
        let mut length = 0;
        while self.byte(length) == b' ' {
            length += 1;
        }
        self.advance(length);
    }

    /// Bytes up to the next line break or the end.
    pub(super) fn line_length(&self) -> usize {
        let mut length = 0;
        while !self.is_break_or_end(length) {
            length += 1;
        }
        length
    }

    /// Moves over a comment, if one begins here.
    pub(super) fn skip_comment(&mut self) {
        if self.byte(0) == b'#' {
            self.advance(self.line_length());
        }
    }

    /// Takes a line break: `\n` for all but U+2028 and U+2029, which stay; empty if there is none.
    pub(super) fn line_break(&mut self) -> &'a str {
        let length = self.break_length(0);
        let (taken, characters, text) = match self.byte(0) {
            _ if length == 0 => return "",
            b'\r' if self.byte(1) == b'\n' => (2, 2, "\n"),
            0xE2 => (length, 1, self.prefix(length)),
            _ => (length, 1, "\n"),
        };
        self.pos += taken;
        self.index += characters;
        self.line += 1;
        self.column = 0;
        text
    }

    /// Whether `---` or `...` stands here, followed by a blank.
    pub(super) fn is_document_indicator(&self) -> bool {
        matches!(self.prefix(3), "---" | "...") && self.is_blank_or_end(3)
    }

    /// The character at the position, for errors.
    pub(super) fn found(&self, ahead: usize) -> String {
        match self.rest(ahead).chars().next() {
            Some(character) => format!("{character:?}"),
            None => "the end of the text".into(),
        }
    }

    pub(super) fn fail_in<T>(&self, context: (&'static str, Mark), problem: impl Into<String>) -> Result<T> {
        fail_in(YamlErrorKind::Scanner, context, self.mark(), problem)
    }

    fn fail<T>(&self, problem: impl Into<String>) -> Result<T> {
        fail(YamlErrorKind::Scanner, self.mark(), problem)
    }

    // Simple keys and indentation -----------------------------------------------------------------------------

    fn needs_more(&mut self) -> Result<bool> {
        if self.done {
            return Ok(false);
        }
        if self.tokens.is_empty() {
            return Ok(true);
        }
        self.drop_stale_keys()?;
        // The next token may turn out to be a key, before which tokens would have to be inserted.
        Ok(self.simple_keys.front().is_some_and(|key| key.token == self.taken))
    }

    fn drop_stale_keys(&mut self) -> Result<()> {
        while let Some(key) = self.simple_keys.front() {
            if key.line == self.line && self.index - key.index <= SIMPLE_KEY_LENGTH {
                break;
            }
            if key.required {
                return self.missing_colon(key.mark);
            }
            self.simple_keys.pop_front();
        }
        Ok(())
    }

    fn missing_colon<T>(&self, begin: Mark) -> Result<T> {
        self.fail_in(("in a mapping key", begin), "expected ':' after the key, on the same line")
    }

    fn save_simple_key(&mut self) -> Result<()> {
        if self.allow_simple_key {
            self.remove_simple_key()?;
            self.simple_keys.push_back(SimpleKey {
                level: self.flow_level,
                token: self.taken + self.tokens.len(),
                required: self.flow_level == 0 && self.indent == self.column,
                index: self.index,
                line: self.line,
                column: self.column,
                mark: self.mark(),
            });
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<()> {
        match self.pop_simple_key() {
            Some(key) if key.required => self.missing_colon(key.mark),
            _ => Ok(()),
        }
    }

    /// Takes the possible key of the current flow level.
    fn pop_simple_key(&mut self) -> Option<SimpleKey> {
        let here = self.simple_keys.back().is_some_and(|key| key.level == self.flow_level);
        if here { self.simple_keys.pop_back() } else { None }
    }

    fn unwind_indent(&mut self, column: i32) {
        while self.flow_level == 0 && self.indent > column {
            self.indent = self.indents.pop().unwrap_or(-1);
            self.push(TokenKind::BlockEnd);
        }
    }

    fn add_indent(&mut self, column: i32) -> bool {
        let deeper = self.indent < column;
        if deeper {
            self.indents.push(self.indent);
            self.indent = column;
        }
        deeper
    }

    fn push(&mut self, kind: TokenKind<'a>) {
        let mark = self.mark();
        self.tokens.push_back(Token { mark, kind });
    }

    /// Adds a token for `length` characters at the position.
    fn push_over(&mut self, kind: TokenKind<'a>, length: usize) {
        self.push(kind);
        self.advance(length);
    }

    // Tokens --------------------------------------------------------------------------------------------------

    fn fetch(&mut self) -> Result<()> {
        self.skip_to_next_token();
        self.drop_stale_keys()?;
        self.unwind_indent(self.column);
        let begin = self.mark();
        let block = self.flow_level == 0;
        match self.byte(0) {
            0 => self.fetch_stream_end(),
            b'%' if self.column == 0 => {
                self.leave_block()?;
                let directive = self.scan_directive()?;
                self.tokens.push_back(Token { mark: begin, kind: TokenKind::Directive(directive) });
                Ok(())
            }
            b'-' | b'.' if self.column == 0 && self.is_document_indicator() => {
                let start = self.byte(0) == b'-';
                self.leave_block()?;
                self.push_over(if start { TokenKind::DocumentStart } else { TokenKind::DocumentEnd }, 3);
                Ok(())
            }
            b'[' => self.fetch_flow_start(TokenKind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(TokenKind::FlowMappingStart),
            b']' => self.fetch_flow_end(TokenKind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(TokenKind::FlowMappingEnd),
            b',' => {
                self.allow_simple_key = true;
                self.remove_simple_key()?;
                self.push_over(TokenKind::FlowEntry, 1);
                Ok(())
            }
            b'-' if self.is_blank_or_end(1) => self.fetch_block_entry(),
            b'?' if !block || self.is_blank_or_end(1) => self.fetch_key(),
            b':' if !block || self.is_blank_or_end(1) => self.fetch_value(),
            indicator @ (b'*' | b'&') => {
                self.save_simple_key()?;
                self.allow_simple_key = false;
                let name = self.scan_anchor()?;
                let kind = if indicator == b'*' { TokenKind::Alias(name) } else { TokenKind::Anchor(name) };
                self.tokens.push_back(Token { mark: begin, kind });
                Ok(())
            }
            b'!' => {
                self.save_simple_key()?;
                self.allow_simple_key = false;
                let (handle, suffix) = self.scan_tag()?;
                self.tokens.push_back(Token { mark: begin, kind: TokenKind::Tag(handle, suffix) });
                Ok(())
            }
            style @ (b'|' | b'>') if block => {
                self.allow_simple_key = true;
                self.remove_simple_key()?;
                let style = if style == b'|' { Style::Literal } else { Style::Folded };
                let text = self.scan_block_scalar(style)?;
                self.tokens.push_back(Token { mark: begin, kind: TokenKind::Scalar(text, style) });
                Ok(())
            }
            quote @ (b'\'' | b'"') => {
                self.save_simple_key()?;
                self.allow_simple_key = false;
                let style = if quote == b'"' { Style::DoubleQuoted } else { Style::SingleQuoted };
                let text = self.scan_quoted(style)?;
                self.tokens.push_back(Token { mark: begin, kind: TokenKind::Scalar(text, style) });
                Ok(())
            }
            _ if self.is_plain_start() => {
                self.save_simple_key()?;
                self.allow_simple_key = false;
                let text = self.scan_plain();
                self.tokens.push_back(Token { mark: begin, kind: TokenKind::Scalar(text, Style::Plain) });
                Ok(())
            }
            b'\t' => self.fail("a tab cannot stand before or after a token: use spaces"),
            character => {
                let found = self.found(0);
                let hint = match character {
                    b'%' | b'@' | b'`' => ": quote the text that begins with it",
                    b'|' | b'>' => " inside '[...]' or '{...}': quote the text that begins with it",
                    _ => "",
                };
                self.fail(format!("no token can begin with {found}{hint}"))
            }
        }
    }

    fn skip_to_next_token(&mut self) {
        loop {
            self.skip_spaces();
            self.skip_comment();
            if self.line_break().is_empty() {
                return;
            }
            if self.flow_level == 0 {
                self.allow_simple_key = true;
            }
        }
    }

    /// Directives and document indicators end all blocks.
    fn leave_block(&mut self) -> Result<()> {
        self.unwind_indent(-1);
        self.remove_simple_key()?;
        self.allow_simple_key = false;
        Ok(())
    }

    fn fetch_stream_end(&mut self) -> Result<()> {
        self.leave_block()?;
        self.simple_keys.clear();
        self.push(TokenKind::StreamEnd);
        self.done = true;
        Ok(())
    }

    fn fetch_flow_start(&mut self, kind: TokenKind<'a>) -> Result<()> {
        self.save_simple_key()?;
        self.flow_level += 1;
        self.allow_simple_key = true;
        self.push_over(kind, 1);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: TokenKind<'a>) -> Result<()> {
        self.remove_simple_key()?;
        let Some(level) = self.flow_level.checked_sub(1) else {
            return self.fail(format!("{} without the bracket that it closes", kind.name()));
        };
        self.flow_level = level;
        self.allow_simple_key = false;
        self.push_over(kind, 1);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<()> {
        if self.flow_level == 0 {
            if !self.allow_simple_key {
                return self.fail("a list entry ('-') cannot begin here: put it on a line of its own");
            }
            if self.add_indent(self.column) {
                self.push(TokenKind::BlockSequenceStart);
            }
        }
        self.allow_simple_key = true;
        self.remove_simple_key()?;
        self.push_over(TokenKind::BlockEntry, 1);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<()> {
        if self.flow_level == 0 {
            if !self.allow_simple_key {
                return self.fail("a mapping key ('?') cannot begin here: put it on a line of its own");
            }
            if self.add_indent(self.column) {
                self.push(TokenKind::BlockMappingStart);
            }
        }
        self.allow_simple_key = self.flow_level == 0;
        self.remove_simple_key()?;
        self.push_over(TokenKind::Key, 1);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<()> {
        if let Some(key) = self.pop_simple_key() {
            let at = key.token.saturating_sub(self.taken);
            self.tokens.insert(at, Token { mark: key.mark, kind: TokenKind::Key });
            if self.flow_level == 0 && self.add_indent(key.column) {
                self.tokens.insert(at, Token { mark: key.mark, kind: TokenKind::BlockMappingStart });
            }
            self.allow_simple_key = false;
        } else {
            if self.flow_level == 0 {
                if !self.allow_simple_key {
                    return self.fail(
                        "a mapping value (': ') cannot begin here: quote the text if the colon belongs to it",
                    );
                }
                if self.add_indent(self.column) {
                    self.push(TokenKind::BlockMappingStart);
                }
            }
            self.allow_simple_key = self.flow_level == 0;
            self.remove_simple_key()?;
        }
        self.push_over(TokenKind::Value, 1);
        Ok(())
    }

    fn is_plain_start(&self) -> bool {
        match self.byte(0) {
            b'-' => !self.is_blank_or_end(1),
            b'?' | b':' => self.flow_level == 0 && !self.is_blank_or_end(1),
            b',' | b'[' | b']' | b'{' | b'}' | b'#' | b'&' | b'*' | b'!' | b'|' | b'>' | b'\'' | b'"'
            | b'%' | b'@' | b'`' => false,
            _ => !self.is_blank_or_end(0),
        }
    }

    fn scan_anchor(&mut self) -> Result<&'a str> {
        let context = (if self.byte(0) == b'*' { "in an alias" } else { "in an anchor" }, self.mark());
        self.advance(1);
        let mut length = 0;
        while name_byte(self.byte(length)) {
            length += 1;
        }
        let name = self.prefix(length);
        self.advance(length);
        let ends = matches!(self.byte(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if length == 0 || !(ends || self.is_blank_or_end(0)) {
            let found = self.found(0);
            return self
                .fail_in(context, format!("expected a name of letters, digits, '-' and '_', found {found}"));
        }
        Ok(name)
    }
}
