//! Deep merge of configurations (yaml.md 12).

use indexmap::IndexMap;
use thiserror::Error;

use crate::value::{Key, Map, Value};

/// In an element of a list that is merged by key: true removes the element it matches.
pub const DELETE_MARKER: &str = "__delete__";

/// Two values that cannot be merged.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
#[error("unhashable type: '{kind}'")]
pub struct MergeError {
    /// Type of the value that was to be a key.
    pub kind: &'static str,
}

/// The keys by which the elements of a list are matched: the last part of the list's path decides (`DM-4`).
fn list_keys(path: &str) -> Option<&'static [&'static str]> {
    match path.rsplit('.').next() {
        Some("nodes") => Some(&["name"]),
        Some("edges") => Some(&["from", "to"]),
        Some("goto") => Some(&["to"]),
        _ => None,
    }
}

/// An overlay over a base: maps are merged, lists of nodes, edges and goto rules by their keys, everything else is
/// replaced; null in the overlay overrides.
pub fn deep_merge(base: &Value, overlay: &Value) -> Result<Value, MergeError> {
    merge_at(base, overlay, "")
}

/// Merges from left to right; null is skipped, nothing at all gives an empty map (`DM-9`).
pub fn merge_all(values: &[Value]) -> Result<Value, MergeError> {
    let mut values = values.iter().filter(|value| **value != Value::Null);
    let Some(first) = values.next() else { return Ok(Value::map(Map::new())) };
    values.try_fold(first.clone(), |merged, next| deep_merge(&merged, next))
}

/// Merges two lists of maps, whose elements match if they agree in all `keys` (`DM-5`).
pub fn merge_arrays_by_key(
    base: &[Value],
    overlay: &[Value],
    keys: &[&str],
    path: &str,
) -> Result<Vec<Value>, MergeError> {
    let key_of = |element: &Map| -> Result<Option<Vec<Key>>, MergeError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            match element.get(*key) {
                None => return Ok(None),
                Some(value) => {
                    let kind = value.type_name();
                    found.push(Key::new(value.clone()).map_err(|_| MergeError { kind })?);
                }
            }
        }
        Ok(Some(found))
    };
    let mut merged: Vec<Value> = base.to_vec();
    let mut places: IndexMap<Vec<Key>, usize> = IndexMap::new();
    for (place, element) in merged.iter().enumerate() {
        if let Value::Map(map) = element
            && let Some(key) = key_of(map)?
        {
            places.insert(key, place);
        }
    }
    let mut removed = vec![false; merged.len()];
    for element in overlay {
        let key = match element {
            Value::Map(map) => key_of(map)?,
            _ => None,
        };
        let known = key.as_ref().and_then(|key| places.get(key).copied());
        let deletes = element.as_map().and_then(|map| map.get(DELETE_MARKER)).is_some_and(Value::is_truthy);
        if deletes {
            if let Some(mark) = known.and_then(|place| removed.get_mut(place)) {
                *mark = true;
            }
            continue;
        }
        match known.and_then(|place| merged.get_mut(place)) {
            Some(slot) => *slot = merge_at(slot, element, path)?,
            None => {
                if let Some(key) = key {
                    places.insert(key, merged.len());
                }
                merged.push(element.clone());
                removed.push(false);
            }
        }
    }
    let kept = merged.into_iter().zip(removed).filter(|(_, removed)| !removed);
    Ok(kept.map(|(element, _)| element).collect())
}

fn merge_at(base: &Value, overlay: &Value, path: &str) -> Result<Value, MergeError> {
    match (base, overlay) {
        (Value::Map(base), Value::Map(overlay)) => {
            let mut merged = Map::clone(base);
            for (key, value) in overlay.iter() {
                // DM-6: at the level of maps the marker only marks.
                if key.as_str() == Some(DELETE_MARKER) {
                    continue;
                }
                let name = crate::value::text(key.value());
                let below = if path.is_empty() { name } else { format!("{path}.{name}") };
                let value = match merged.get(key) {
                    Some(known) => merge_at(known, value, &below)?,
                    None => value.clone(),
                };
                merged.insert(key.clone(), value);
            }
            merged.shift_remove(DELETE_MARKER);
            Ok(Value::map(merged))
        }
        (Value::List(base), Value::List(overlay)) => match list_keys(path) {
            Some(keys) if !path.is_empty() => {
                Ok(Value::list(merge_arrays_by_key(base, overlay, keys, path)?))
            }
            _ => Ok(Value::List(std::sync::Arc::clone(overlay))),
        },
        _ => Ok(overlay.clone()),
    }
}
