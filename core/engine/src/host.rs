//! What the engine asks of its host: quick questions about values and states that live on the host's side.
//!
//! Everything that may run user code for long (nodes, conditions, actions) is no question but an item of the
//! step machine (`run`), which the host pulls and answers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::value::{Map, Value};

/// Objects of the host that the engine no longer refers to. The host drains the queue on a thread of its own
/// choice, so that no object of the host is ever destroyed on a thread of the library.
#[derive(Debug, Default)]
pub struct References {
    released: Mutex<VecDeque<u64>>,
    waiting: AtomicBool,
}

impl References {
    /// Takes the ids whose last reference is gone since the last call.
    pub fn drain(&self) -> Vec<u64> {
        let mut released = self.released.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiting.store(false, Ordering::Release);
        released.drain(..).collect()
    }

    /// Whether [`References::drain`] has something to take. Cheap.
    pub fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::Acquire)
    }
}

#[derive(Debug)]
struct Counted {
    id: u64,
    references: Option<Arc<References>>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        if let Some(references) = &self.references {
            let mut released = references.released.lock().unwrap_or_else(PoisonError::into_inner);
            released.push_back(self.id);
            references.waiting.store(true, Ordering::Release);
        }
    }
}

/// A counted reference to an object of the host. Equal references name the same id.
#[derive(Debug, Clone)]
pub struct HostRef(Arc<Counted>);

impl HostRef {
    /// Takes over one reference that the host handed out under `id`.
    pub fn new(id: u64, references: &Arc<References>) -> Self {
        HostRef(Arc::new(Counted { id, references: Some(Arc::clone(references)) }))
    }

    /// Refers to an object that the host keeps alive by itself; nothing is counted.
    pub fn lent(id: u64) -> Self {
        HostRef(Arc::new(Counted { id, references: None }))
    }

    /// The host's id of the object; never 0.
    pub fn id(&self) -> u64 {
        self.0.id
    }
}

impl PartialEq for HostRef {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

/// The host failed to answer a question.
#[derive(Debug, Clone, Error)]
#[error("{message}")]
pub struct HostError {
    /// The host's own words.
    pub message: String,
}

/// One step of a path into a value.
#[derive(Debug, Clone, PartialEq)]
pub enum PathStep {
    /// The entry of a map, or what the host's language takes for it (Python: item, then attribute).
    Key(Arc<str>),
    /// An element; negative numbers count from the end.
    Index(i64),
}

/// What a path led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolved {
    /// The value.
    Found(Value),
    /// There is nothing under step number `depth` (from 0).
    Missing {
        /// Index of the first step that led nowhere.
        depth: usize,
    },
}

/// How [`Host::get`] looks a key up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// Only as an item (`object[key]`).
    Item,
    /// Only as an attribute (`object.key`).
    Attribute,
    /// As an attribute, then as an item (Jinja2's `object.key`).
    AttributeThenItem,
    /// As an item, then as an attribute (Jinja2's `object["key"]`).
    ItemThenAttribute,
}

/// Questions about one object, [`Host::query`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Query {
    /// Number of elements: an integer, or an error.
    Length,
    /// Its truth: a boolean.
    Truth,
    /// Its text.
    Str,
    /// Its representation.
    Repr,
    /// Comparison with the argument: -1, 0, 1, or an error where the two have no order.
    Compare,
    /// Equality with the argument: a boolean.
    Equal,
    /// Whether the argument is in it: a boolean, or an error.
    Contains,
    /// The name of its type.
    TypeName,
    /// The representation of the list of its keys.
    KeysRepr,
}

/// How deep [`Host::copy`] copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyDepth {
    /// The top level only.
    Shallow,
    /// Everything, so that no change in one copy shows in the other.
    Deep,
}

/// Levels of log records, numbered as Python's `logging`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details of each step.
    Debug = 10,
    /// Progress.
    Info = 20,
    /// Something is likely wrong.
    Warning = 30,
    /// A node failed.
    Error = 40,
}

/// When an interrupt stops a run, relative to its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the node's function.
    Before,
    /// After its result is part of the state.
    After,
}

/// A host with objects. Hosts without them (C, Go, Node, the command line) use [`NoHost`].
///
/// The methods are called on the thread that pulls the run, never while a lock of the engine is held.
/// `object`s are ids that the host handed out; the host answers an unknown one with an error.
pub trait Host: Send + Sync {
    /// Follows each path from `root`; one answer for each path.
    fn resolve(&self, root: u64, paths: &[&[PathStep]]) -> Result<Vec<Resolved>, HostError>;
    /// The value under a key; `None` if there is none.
    fn get(&self, object: u64, key: &Value, how: Lookup) -> Result<Option<Value>, HostError>;
    /// What iteration over the object yields: keys of a map, elements of anything else.
    fn keys(&self, object: u64) -> Result<Vec<Value>, HostError>;
    /// One question; `argument` for those that compare.
    fn query(&self, object: u64, what: Query, argument: Option<&Value>) -> Result<Value, HostError>;
    /// Calls a method.
    fn call(&self, object: u64, method: &str, arguments: &[Value]) -> Result<Value, HostError>;
    /// The object as a value throughout; objects without a value form stay references.
    fn export(&self, object: u64) -> Result<Value, HostError>;
    /// The value as an object of the host.
    fn import(&self, value: &Value) -> Result<HostRef, HostError>;
    /// Merges the entries into a state (top level).
    fn apply(&self, state: u64, delta: &Map) -> Result<(), HostError>;
    /// A copy, as a new object.
    fn copy(&self, object: u64, depth: CopyDepth) -> Result<HostRef, HostError>;
    /// Whether an interrupt is set on the node; `run` is the id that the host gave at its start.
    fn stops(&self, run: u64, node: u32, when: When) -> Result<bool, HostError>;
    /// One log record.
    fn log(&self, level: LogLevel, target: &str, text: &str);
    /// Where references of this host are counted.
    fn references(&self) -> &Arc<References>;
}
