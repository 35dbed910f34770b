//! YAML 1.1 as PyYAML's safe loader reads it.
//!
//! In reading order: `text` (bytes to characters), `scanner` with `scalars` and `tags` (to tokens),
//! `compose` (to nodes) with `resolve` (types of plain scalars), `construct` with `scalar_values` and
//! `timestamp` (to values). Why there is a reader of our own: `docs/decisions/0002-yaml-parser.md`.

mod compose;
mod construct;
mod document;
mod error;
mod resolve;
mod scalar_values;
mod scalars;
mod scanner;
mod tags;
mod text;
mod timestamp;

pub use document::{Document, Located};
pub use error::{Mark, YamlError, YamlErrorKind};

use crate::value::Value;
use construct::Constructor;
use document::Entry;

/// How much a text may ask for. The defaults admit everything that PyYAML reads and that is no attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Length of the text in bytes; default 64 MiB.
    pub bytes: usize,
    /// Levels of lists and mappings, aliases followed; default 500 (PyYAML gives up before).
    pub depth: usize,
    /// How many values aliases and merge keys may repeat in any text; default 1,000,000.
    pub repeats: u64,
    /// How many more they may repeat for each byte of the text; default 10.
    pub repeats_per_byte: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { bytes: 64 << 20, depth: 500, repeats: 1_000_000, repeats_per_byte: 10 }
    }
}

impl Limits {
    fn repeats_for(&self, length: usize) -> u64 {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        self.repeats.saturating_add(self.repeats_per_byte.saturating_mul(length))
    }
}

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// A scalar without quotes.
    #[default]
    Plain,
    /// A scalar in `'...'`.
    SingleQuoted,
    /// A scalar in `"..."`.
    DoubleQuoted,
    /// A block scalar after `|`.
    Literal,
    /// A block scalar after `>`.
    Folded,
    /// A list or mapping by indentation.
    Block,
    /// A list in `[...]` or a mapping in `{...}`.
    Flow,
}

/// Reads a text with one document, in UTF-8, or UTF-16 with a byte order mark. An empty text is `Null`.
///
/// Aliases and merge keys share what they refer to: containers and texts behind one anchor are one `Arc`.
/// A structure that contains itself is an error, for a [`Value`] cannot.
pub fn load(text: &[u8], limits: &Limits) -> Result<Value, YamlError> {
    read(text, limits, false).map(|(value, _)| value).map_err(|error| *error)
}

/// As [`load`], and keeps the places of all keys and values.
pub fn load_document(text: &[u8], limits: &Limits) -> Result<Document, YamlError> {
    read(text, limits, true).map(|(value, entries)| Document::new(value, entries)).map_err(|error| *error)
}

fn read(bytes: &[u8], limits: &Limits, positions: bool) -> error::Result<(Value, Vec<Entry>)> {
    if bytes.len() > limits.bytes {
        let problem = format!("the text has {} bytes; at most {} are read", bytes.len(), limits.bytes);
        return error::fail(YamlErrorKind::Limit, Mark::default(), problem);
    }
    let text = text::decode(bytes)?;
    let mut nodes = compose::compose(&text, limits)?;
    Constructor::new(&mut nodes, limits, text.len(), positions).document()
}
