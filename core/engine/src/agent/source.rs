//! Where an agent comes from: a file, a text, or a value; and the overlays put over it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::merge::deep_merge;
use super::problem::AgentError;
use crate::value::{Map, Value};
use crate::yaml::{Document, Limits, load_document};

/// A document before it is compiled.
pub(super) struct Source {
    /// The file, as the caller named it.
    pub(super) file: Option<Arc<str>>,
    /// The directory against which relative paths count.
    pub(super) base_dir: Option<PathBuf>,
    /// The value, overlays merged.
    pub(super) value: Value,
    /// The document as read, for the places of problems. Without it under overlays: they move what is in lists.
    pub(super) document: Option<Document>,
}

impl Source {
    pub(super) fn read(path: &Path, overlays: &[Value]) -> Result<Source, AgentError> {
        let name = path.display().to_string();
        let text = std::fs::read(path).map_err(|error| AgentError::unreadable(&name, &error))?;
        Source::parse(&text, Some(path), None, overlays)
    }

    pub(super) fn parse(
        text: &[u8],
        path: Option<&Path>,
        base_dir: Option<&Path>,
        overlays: &[Value],
    ) -> Result<Source, AgentError> {
        let file: Option<Arc<str>> = path.map(|path| path.display().to_string().into());
        let document = load_document(text, &Limits::default())
            .map_err(|error| AgentError::yaml(&error, file.as_ref()))?;
        let own = || {
            let path = std::path::absolute(path?).ok()?;
            Some(path.parent()?.to_owned())
        };
        let base_dir = base_dir.map(Path::to_owned).or_else(own);
        let value = merged(document.value().clone(), overlays);
        let document = overlays.is_empty().then_some(document);
        Ok(Source { file, base_dir, value, document })
    }

    pub(super) fn given(value: Value, base_dir: Option<&Path>, overlays: &[Value]) -> Source {
        let value = merged(value, overlays);
        Source { file: None, base_dir: base_dir.map(Path::to_owned), value, document: None }
    }
}

/// The value with the overlays over it; an overlay that is null is none (`DM-9`).
fn merged(value: Value, overlays: &[Value]) -> Value {
    overlays.iter().filter(|overlay| **overlay != Value::Null).fold(value, |merged, overlay| {
        let base = match merged {
            Value::Null => Value::map(Map::new()),
            other => other,
        };
        // Overlays hold no lists as keys of nodes or edges unless someone means it; then the last one wins.
        deep_merge(&base, overlay).unwrap_or(base)
    })
}
