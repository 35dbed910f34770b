//! What is wrong with a YAML text, and where.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

/// A place in a text. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Mark {
    /// The line, from 1; 0 if the place is not known.
    pub line: u32,
    /// The column, from 1; 0 if the place is not known.
    pub column: u32,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// The stage that refused the text. The names are those of PyYAML's exceptions without `Error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum YamlErrorKind {
    /// The bytes are no text, or hold characters that YAML forbids.
    Reader,
    /// The text cannot be split into tokens.
    Scanner,
    /// The tokens are in an order that makes no document.
    Parser,
    /// Anchors, aliases or the number of documents are wrong.
    Composer,
    /// A node cannot be made into a value of its type.
    Constructor,
    /// A limit of [`Limits`](super::Limits) is exceeded.
    Limit,
}

/// Why a YAML text was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub struct YamlError {
    /// The stage that refused it.
    pub kind: YamlErrorKind,
    /// The file, if the caller named one.
    pub file: Option<Arc<str>>,
    /// Where the problem is.
    pub mark: Mark,
    /// What is wrong and what would be right; a clause without a full stop.
    pub problem: String,
    /// What was being read ("in a flow sequence"), and where that began.
    pub context: Option<(&'static str, Mark)>,
}

impl YamlError {
    /// The same error, naming the file.
    #[must_use]
    pub fn in_file(mut self, file: impl Into<Arc<str>>) -> Self {
        self.file = Some(file.into());
        self
    }
}

impl fmt::Display for YamlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}: ")?;
        }
        if self.mark.line > 0 {
            write!(f, "{}: ", self.mark)?;
        }
        f.write_str(&self.problem)?;
        match self.context {
            Some((what, begin)) if begin.line > 0 && begin != self.mark => {
                write!(f, " ({what} that begins at {begin})")
            }
            Some((what, _)) => write!(f, " ({what})"),
            None => Ok(()),
        }
    }
}

/// Errors travel boxed inside the reader, to keep the frames of its recursion small.
pub(super) type Result<T> = std::result::Result<T, Box<YamlError>>;

pub(super) fn fail<T>(kind: YamlErrorKind, mark: Mark, problem: impl Into<String>) -> Result<T> {
    Err(Box::new(YamlError { kind, file: None, mark, problem: problem.into(), context: None }))
}

pub(super) fn fail_in<T>(
    kind: YamlErrorKind,
    context: (&'static str, Mark),
    mark: Mark,
    problem: impl Into<String>,
) -> Result<T> {
    Err(Box::new(YamlError { kind, file: None, mark, problem: problem.into(), context: Some(context) }))
}
