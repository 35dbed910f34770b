//! What can go wrong in Lua code, as the host reports it.

use std::fmt;

use mlua::{Error, ExternalResult};
use thiserror::Error as ThisError;

/// Kinds of failures. Recognised by what happened, never by a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The code does not compile.
    Syntax,
    /// The code raised an error.
    Runtime,
    /// A value has no form on the other side.
    Convert,
    /// The wall time is over.
    Timeout,
    /// Too many instructions.
    Instructions,
    /// Too much memory.
    Memory,
    /// The run was cancelled.
    Cancelled,
    /// The host failed to answer a question about one of its objects.
    Host,
}

/// A failure of Lua code. Prints as its message.
#[derive(Debug, Clone)]
pub struct LuaError {
    /// What happened.
    pub kind: ErrorKind,
    /// The text, mostly `[string "chunk"]:line: message`; without a traceback.
    pub message: String,
    /// The line of the user's code, from 1, where it is known.
    pub line: Option<usize>,
    /// Lua's traceback, if there is one.
    pub traceback: Option<String>,
}

impl LuaError {
    pub(super) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        LuaError { kind, line: line_of(&message), message, traceback: None }
    }

    /// The limits, a cancellation: the code was stopped, it did not fail.
    pub fn is_stop(&self) -> bool {
        matches!(self.kind, ErrorKind::Timeout | ErrorKind::Instructions | ErrorKind::Cancelled)
    }
}

impl fmt::Display for LuaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for LuaError {}

/// The line of a message that begins with a position: `[string "name"]:7: ...`.
fn line_of(message: &str) -> Option<usize> {
    let message = message.strip_prefix(LOADING).unwrap_or(message);
    let place = message.strip_prefix("[string \"")?;
    let (_, rest) = place.split_once("\"]:")?;
    rest.split(':').next()?.parse().ok()
}

const LOADING: &str = "error loading code: ";

/// An error raised by a function of ours inside of Lua.
#[derive(Debug, Clone, ThisError)]
#[error("{message}")]
pub(super) struct Raised {
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

/// Raises an error of ours in Lua.
pub(super) fn raise<T>(kind: ErrorKind, message: impl Into<String>) -> mlua::Result<T> {
    Err(Raised { kind, message: message.into() }).into_lua_err()
}

/// An error of mlua's as ours.
pub(super) fn from_lua(error: &Error) -> LuaError {
    match error {
        Error::SyntaxError { message, .. } => {
            let text = format!("{LOADING}{}", without_traceback(message));
            LuaError::new(ErrorKind::Syntax, text)
        }
        Error::MemoryError(_) => LuaError::new(ErrorKind::Memory, "not enough memory"),
        Error::CallbackError { traceback, cause } => {
            let mut error = from_lua(cause);
            error.traceback = error.traceback.or_else(|| Some(traceback.clone()));
            error
        }
        Error::ExternalError(inner) => match inner.downcast_ref::<Raised>() {
            Some(raised) => LuaError::new(raised.kind, raised.message.clone()),
            None => LuaError::new(ErrorKind::Runtime, inner.to_string()),
        },
        Error::RuntimeError(message) => {
            let mut error = LuaError::new(ErrorKind::Runtime, without_traceback(message));
            error.traceback = message.split_once(TRACEBACK).map(|(_, tail)| tail.to_owned());
            error
        }
        Error::WithContext { cause, .. } => from_lua(cause),
        Error::BadArgument { cause, .. } => from_lua(cause),
        other => LuaError::new(ErrorKind::Runtime, other.to_string()),
    }
}

const TRACEBACK: &str = "\nstack traceback:\n";

fn without_traceback(message: &str) -> &str {
    message.split_once(TRACEBACK).map_or(message, |(head, _)| head)
}

/// Why bytes are no text, in the words of Python's decoder.
pub(super) fn not_utf8(bytes: &[u8], error: std::str::Utf8Error) -> String {
    let start = error.valid_up_to();
    let first = bytes.get(start).copied().unwrap_or_default();
    let (end, reason) = match error.error_len() {
        None => (bytes.len(), "unexpected end of data"),
        Some(length) if matches!(first, 0x80..=0xC1 | 0xF5..) => (start + length, "invalid start byte"),
        Some(length) => (start + length, "invalid continuation byte"),
    };
    if end - start == 1 {
        format!("'utf-8' codec can't decode byte 0x{first:02x} in position {start}: {reason}")
    } else {
        format!("'utf-8' codec can't decode bytes in position {start}-{}: {reason}", end - 1)
    }
}
