//! A value together with the places it was read from.

use super::Style;
use super::error::Mark;
use crate::host::PathStep;
use crate::value::{Key, Value};

/// Where one value was read. The entries of the children of a list or a mapping lie side by side, in the
/// order of the value.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Entry {
    pub(super) key: Mark,
    pub(super) mark: Mark,
    pub(super) style: Style,
    /// Index of the first child's entry.
    pub(super) children: u32,
}

/// A document: its value, and line and column of everything in it.
#[derive(Debug, Clone)]
pub struct Document {
    value: Value,
    entries: Vec<Entry>,
}

impl Document {
    pub(super) fn new(value: Value, entries: Vec<Entry>) -> Self {
        Document { value, entries }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The value without the positions.
    pub fn into_value(self) -> Value {
        self.value
    }

    /// The document's root.
    pub fn root(&self) -> Located<'_> {
        Located { document: self, value: &self.value, entry: 0 }
    }

    /// Follows a path as far as the document has it: where it ended, and after how many steps.
    pub fn locate(&self, path: &[PathStep]) -> (Located<'_>, usize) {
        let mut here = self.root();
        for (count, step) in path.iter().enumerate() {
            let next = match step {
                PathStep::Key(key) => here.get(key),
                PathStep::Index(index) => usize::try_from(*index).ok().and_then(|index| here.index(index)),
            };
            match next {
                Some(next) => here = next,
                None => return (here, count),
            }
        }
        (here, path.len())
    }
}

/// A value in a [`Document`].
#[derive(Debug, Clone, Copy)]
pub struct Located<'a> {
    document: &'a Document,
    value: &'a Value,
    entry: usize,
}

impl<'a> Located<'a> {
    fn entry(&self) -> Entry {
        self.document.entries.get(self.entry).copied().unwrap_or_default()
    }

    fn child(&self, value: &'a Value, index: usize) -> Located<'a> {
        let first = usize::try_from(self.entry().children).unwrap_or(usize::MAX);
        Located { document: self.document, value, entry: first.saturating_add(index) }
    }

    /// The value.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// Where the value begins: its tag or anchor, or the `|` of a block scalar, if it has one. For an alias,
    /// and for what a merge key brought in, the place where the value is written out.
    pub fn mark(&self) -> Mark {
        self.entry().mark
    }

    /// Where the key of this value begins; `None` for elements of lists and for the root.
    pub fn key_mark(&self) -> Option<Mark> {
        let mark = self.entry().key;
        (mark.line > 0).then_some(mark)
    }

    /// How the value is written. The text of a literal or folded scalar begins on the line after [`Self::mark`].
    pub fn style(&self) -> Style {
        self.entry().style
    }

    /// The value under a text key of a mapping.
    pub fn get(&self, key: &str) -> Option<Located<'a>> {
        let (index, _, value) = self.value.as_map()?.get_full(key)?;
        Some(self.child(value, index))
    }

    /// An element of a list.
    pub fn index(&self, index: usize) -> Option<Located<'a>> {
        Some(self.child(self.value.as_list()?.get(index)?, index))
    }

    /// The elements of a list; nothing for other values.
    pub fn items(self) -> impl Iterator<Item = Located<'a>> {
        let items = self.value.as_list().unwrap_or_default();
        items.iter().enumerate().map(move |(index, value)| self.child(value, index))
    }

    /// The entries of a mapping; nothing for other values.
    pub fn entries(self) -> impl Iterator<Item = (&'a Key, Located<'a>)> {
        let map = self.value.as_map();
        map.into_iter()
            .flatten()
            .enumerate()
            .map(move |(index, (key, value))| (key, self.child(value, index)))
    }
}
