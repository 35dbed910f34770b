//! Key-value stores that actions keep results in (`actions/CA-21`).

use std::sync::{Mutex, PoisonError};

use indexmap::IndexMap;

use crate::value::{Map, Value};

/// What a store holds under a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The value.
    pub value: Value,
    /// What is known about it.
    pub metadata: Map,
}

/// A store failed; the text says how.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct StoreError(pub String);

/// A key-value store with searchable metadata. Calls may block.
pub trait KeyValueStore: Send + Sync {
    /// Stores a value, or replaces it.
    fn store(&self, key: &str, entry: Entry) -> Result<(), StoreError>;
    /// The value under a key.
    fn retrieve(&self, key: &str) -> Result<Option<Entry>, StoreError>;
    /// Removes a key; false if there was none.
    fn delete(&self, key: &str) -> Result<bool, StoreError>;
    /// At most `limit` entries whose metadata has all these values.
    fn search(&self, metadata: &Map, limit: usize) -> Result<Vec<(String, Entry)>, StoreError>;
}

/// A store in memory; lost with the process.
#[derive(Debug, Default)]
pub struct MemoryKeyValueStore {
    entries: Mutex<IndexMap<String, Entry>>,
}

impl KeyValueStore for MemoryKeyValueStore {
    fn store(&self, key: &str, entry: Entry) -> Result<(), StoreError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert(key.to_owned(), entry);
        Ok(())
    }

    fn retrieve(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Ok(self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn delete(&self, key: &str) -> Result<bool, StoreError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(entries.shift_remove(key).is_some())
    }

    fn search(&self, metadata: &Map, limit: usize) -> Result<Vec<(String, Entry)>, StoreError> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted =
            |entry: &Entry| metadata.iter().all(|(key, value)| entry.metadata.get(key) == Some(value));
        Ok(entries
            .iter()
            .filter(|(_, entry)| wanted(entry))
            .take(limit)
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect())
    }
}
