//! Checkpoints: the state of a run at an interrupt, in a form that any host can resume from.
//!
//! One JSON document (`docs/checkpoint-format.md`); `store` puts it into memory or into files.

mod store;

use thiserror::Error;

pub use store::{MemoryStore, Store, encode_node_name, write_file};

use crate::host::When;
use crate::value::{Map, Value};

/// The version that [`Checkpoint::to_json`] writes.
pub const VERSION: &str = "2.0";

/// A run's state at an interrupt.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// The node at which the run goes on: the one whose interrupt fired.
    pub node: String,
    /// Whether the interrupt fired before or after the node ran; `None` in records that do not say it.
    pub interrupt: Option<When>,
    /// The state.
    pub state: Map,
    /// The configuration of the run.
    pub config: Map,
    /// Seconds since 1970.
    pub timestamp: f64,
}

/// A checkpoint that cannot be written or read.
#[derive(Debug, Clone, Error, PartialEq)]
pub enum CheckpointError {
    /// The file or the memory store has no such checkpoint.
    #[error("Checkpoint file not found: '{0}'")]
    NotFound(String),
    /// The memory store has no such checkpoint.
    #[error("Checkpoint not found: {0}")]
    UnknownId(String),
    /// The operating system refused to read.
    #[error("Failed to read checkpoint file '{path}': {reason}")]
    Unreadable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The operating system refused to write.
    #[error("Failed to save checkpoint to '{path}': {reason}")]
    Unwritable {
        /// The file.
        path: String,
        /// The system's words.
        reason: String,
    },
    /// The file holds something else, or a part of a checkpoint.
    #[error("Corrupt or incompatible checkpoint file '{path}': {reason}")]
    Corrupt {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The state holds an object without a JSON form.
    #[error("cannot store {path}: {type_name} has no JSON form")]
    NotStorable {
        /// Path of the value, such as `state.docs[3].handle`.
        path: String,
        /// The type of the value in the host.
        type_name: String,
    },
}

impl Checkpoint {
    /// The JSON document. `type_name` names the type of a host object, for the error. Host objects cannot be
    /// stored: the error says where the first one is.
    pub fn to_json(&self, type_name: impl Fn(&Value) -> String) -> Result<String, CheckpointError> {
        for (root, map) in [("state", &self.state), ("config", &self.config)] {
            if let Some((path, value)) = map.iter().find_map(|(key, value)| {
                host_object(value).map(|(path, value)| (step(root, key.value()) + &path, value))
            }) {
                return Err(CheckpointError::NotStorable { path, type_name: type_name(&value) });
            }
        }
        let mut document = Map::new();
        document.insert("version".into(), VERSION.into());
        document.insert("node".into(), self.node.as_str().into());
        if let Some(when) = self.interrupt {
            let when = if when == When::Before { "before" } else { "after" };
            document.insert("interrupt".into(), when.into());
        }
        document.insert("state".into(), Value::map(self.state.clone()));
        document.insert("config".into(), Value::map(self.config.clone()));
        document.insert("timestamp".into(), Value::Float(self.timestamp));
        Ok(Value::map(document).to_json())
    }

    /// Reads the JSON document; `path` is for errors.
    pub fn from_json(json: &[u8], path: &str) -> Result<Self, CheckpointError> {
        let corrupt = |reason: String| CheckpointError::Corrupt { path: path.to_owned(), reason };
        let document = Value::from_json(json).map_err(|error| corrupt(error.message))?;
        Checkpoint::from_value(&document, path)
    }

    /// Checks the document as a value; `path` is for errors.
    pub fn from_value(document: &Value, path: &str) -> Result<Self, CheckpointError> {
        let corrupt = |reason: String| CheckpointError::Corrupt { path: path.to_owned(), reason };
        let Value::Map(document) = document else {
            return Err(corrupt(format!("a map is expected, not {}", document.type_name())));
        };
        let field =
            |name: &str| document.get(name).ok_or_else(|| corrupt(format!("the key \"{name}\" is missing")));
        let map = |name: &str| match field(name)? {
            Value::Map(map) => Ok(Map::clone(map)),
            other => Err(corrupt(format!("\"{name}\" is {} instead of a map", other.type_name()))),
        };
        match field("version")? {
            Value::Str(version) if version.split('.').next() == VERSION.split('.').next() => {}
            other => {
                let version = crate::value::text(other);
                return Err(corrupt(format!("version {version} is not supported, {VERSION} is expected")));
            }
        }
        let node = match field("node")? {
            Value::Str(node) => node.to_string(),
            other => return Err(corrupt(format!("\"node\" is {} instead of a text", other.type_name()))),
        };
        let interrupt = match document.get("interrupt") {
            None | Some(Value::Null) => None,
            Some(Value::Str(when)) if **when == *"before" => Some(When::Before),
            Some(Value::Str(when)) if **when == *"after" => Some(When::After),
            Some(_) => return Err(corrupt("\"interrupt\" is neither \"before\" nor \"after\"".to_owned())),
        };
        let timestamp = match field("timestamp")? {
            Value::Float(seconds) => *seconds,
            Value::Int(seconds) => *seconds as f64,
            other => {
                return Err(corrupt(format!("\"timestamp\" is {} instead of a number", other.type_name())));
            }
        };
        Ok(Checkpoint { node, interrupt, state: map("state")?, config: map("config")?, timestamp })
    }
}

/// The first host object in a value, with the path to it.
fn host_object(value: &Value) -> Option<(String, Value)> {
    let in_list = |items: &[Value]| {
        items.iter().enumerate().find_map(|(index, item)| {
            host_object(item).map(|(path, found)| (format!("[{index}]{path}"), found))
        })
    };
    match value {
        Value::Host(_) => Some((String::new(), value.clone())),
        Value::List(items) | Value::Tuple(items) => in_list(items),
        Value::Map(map) => map.iter().find_map(|(key, item)| {
            host_object(item).map(|(path, found)| (step("", key.value()) + &path, found))
        }),
        _ => None,
    }
}

/// `.name` for a key that reads as a name, `['other key']` for the rest.
fn step(before: &str, key: &Value) -> String {
    match key.as_str() {
        Some(name) if is_name(name) => format!("{before}.{name}"),
        _ => format!("{before}[{}]", crate::value::repr(key)),
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.chars().all(|c| c == '_' || c.is_alphanumeric())
        && !text.starts_with(|c: char| c.is_numeric())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::host::{HostRef, References};

    fn checkpoint(state: Map) -> Checkpoint {
        let node = "a".to_owned();
        Checkpoint { node, interrupt: Some(When::After), state, config: Map::new(), timestamp: 1.5 }
    }

    /// CP-56
    #[test]
    fn the_document_reads_back() {
        let mut state = Map::new();
        state.insert("n".into(), Value::Int(1));
        let json = checkpoint(state.clone()).to_json(|_| String::new()).unwrap();
        assert_eq!(
            json,
            r#"{"version":"2.0","node":"a","interrupt":"after","state":{"n":1},"config":{},"timestamp":1.5}"#
        );
        assert_eq!(Checkpoint::from_json(json.as_bytes(), "x").unwrap(), checkpoint(state));
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let object = Value::Host(HostRef::new(7, &Arc::new(References::default())));
        let mut state = Map::new();
        state.insert("docs".into(), vec![Value::Null, crate::map! { "a file" => object }].into());
        let error = checkpoint(state).to_json(|_| "_io.TextIOWrapper".to_owned()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot store state.docs[1]['a file']: _io.TextIOWrapper has no JSON form"
        );
    }

    #[test]
    fn foreign_and_cut_documents_are_refused() {
        for (json, part) in [
            ("[1]", "a map is expected, not list"),
            ("{}", "the key \"version\" is missing"),
            (r#"{"version":"3.0"}"#, "version 3.0 is not supported"),
            (r#"{"version":"2.0","node":1,"state":{},"config":{},"timestamp":1}"#, "\"node\" is int"),
            (r#"{"version":"2.0","node":"a","state":[],"config":{},"timestamp":1}"#, "\"state\" is list"),
            (r#"{"version":"2.0","node":"a","sta"#, "line 1 column"),
        ] {
            let error = Checkpoint::from_json(json.as_bytes(), "f.json").unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("'f.json'"), "{json}: {error}");
        }
    }
}
