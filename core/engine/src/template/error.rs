//! What can go wrong with a template.

use std::borrow::Cow;
use std::fmt;

/// Which of the two kinds of errors it is; they are handled differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateErrorKind {
    /// The text is no template: syntax, unknown filters and tests, tags.
    Syntax,
    /// A value that does not exist is used, an unknown filter is reached, a filter refuses an argument, or
    /// something would have to be loaded.
    Template,
    /// An ordinary failure of an operation, named as Python's exception class (`TypeError`,
    /// `ZeroDivisionError`, ...). A limit that was reached is one too (`RuntimeError`, `RecursionError`).
    Failure(Cow<'static, str>),
}

/// Why a template could not be compiled or rendered. Values of the root `secrets` never show in its texts.
#[derive(Debug, Clone)]
pub struct TemplateError {
    pub(super) kind: TemplateErrorKind,
    pub(super) reason: String,
    /// The single expression, without braces.
    pub(super) expression: Option<String>,
    /// The construct in a longer text, as written, shortened.
    pub(super) snippet: Option<String>,
    pub(super) line: u32,
    pub(super) column: u32,
}

impl TemplateError {
    /// An ordinary failure without a place.
    pub(super) fn failure(reason: String) -> Self {
        TemplateError {
            kind: TemplateErrorKind::Failure(Cow::Borrowed("RuntimeError")),
            reason,
            expression: None,
            snippet: None,
            line: 1,
            column: 1,
        }
    }

    /// The kind.
    pub fn kind(&self) -> &TemplateErrorKind {
        &self.kind
    }

    /// Python's class of the exception that the reference raises: `ValueError` for template errors.
    pub fn class(&self) -> &str {
        match &self.kind {
            TemplateErrorKind::Failure(class) => class,
            TemplateErrorKind::Syntax | TemplateErrorKind::Template => "ValueError",
        }
    }

    /// Whether this is an ordinary failure: in a single expression it gives the text of the template.
    pub fn is_failure(&self) -> bool {
        matches!(self.kind, TemplateErrorKind::Failure(_))
    }

    /// What is wrong, without the prefix that `Display` puts before it.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// The expression or construct at fault, as written, if known.
    pub fn expression(&self) -> Option<&str> {
        self.expression.as_deref().or(self.snippet.as_deref())
    }

    /// Line of the expression in the source, from 1.
    pub fn line(&self) -> u32 {
        self.line
    }

    /// Column of the expression in the source, in characters from 1.
    pub fn column(&self) -> u32 {
        self.column
    }

    /// The message with the place: what a user should read.
    pub fn detail(&self) -> String {
        match (&self.expression, &self.snippet) {
            (None, Some(snippet)) => {
                format!("{self} (line {}, column {}: `{snippet}`)", self.line, self.column)
            }
            (None, None) => format!("{self} (line {}, column {})", self.line, self.column),
            (Some(_), _) if !self.is_failure() => self.to_string(),
            (Some(expression), _) => format!("{self} (in `{{{{ {expression} }}}}`)"),
        }
    }
}

/// The message as the reference gives it.
impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &self.expression) {
            (TemplateErrorKind::Failure(_), _) => f.write_str(&self.reason),
            (_, Some(expression)) => {
                write!(f, "Template error in expression '{{{{ {expression} }}}}': {}", self.reason)
            }
            (_, None) => write!(f, "Template error: {}", self.reason),
        }
    }
}

impl std::error::Error for TemplateError {}

/// Line and column of a byte offset, both from 1.
pub(super) fn position(source: &str, at: usize) -> (u32, u32) {
    let before = source.get(..at.min(source.len())).unwrap_or(source);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}
