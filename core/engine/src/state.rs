//! Where a run's state lives: with the engine, or with the host.
//!
//! Everything above asks a [`State`] and does not care which of the two it is.

use std::sync::{Arc, Mutex, PoisonError};

use crate::host::{CopyDepth, Host, HostError, HostRef, Lookup, Query};
use crate::value::{Key, Map, Value, repr};

/// The state of a flow. Clones are the same state; a state of its own is made by [`State::fork`].
#[derive(Clone)]
pub enum State {
    /// Core-resident: values of the engine.
    Core(Cell),
    /// Host-resident: a live object of the host, which the engine reads and changes through the host.
    Host {
        /// The object.
        object: HostRef,
        /// Whom to ask.
        host: Arc<dyn Host>,
    },
}

/// A core-resident state. A copy of the map is a reference count; a writer copies what is shared.
#[derive(Clone)]
pub struct Cell(Arc<Mutex<Arc<Map>>>);

impl Cell {
    /// The map as it is now.
    pub fn map(&self) -> Arc<Map> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn replace(&self, map: Arc<Map>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = map;
    }

    fn remove(&self, key: &str) -> Option<Value> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.contains_key(key).then(|| Arc::make_mut(&mut map).shift_remove(key)).flatten()
    }

    fn merge(&self, delta: &Map) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let map = Arc::make_mut(&mut map);
        map.extend(delta.iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

impl State {
    /// A core-resident state.
    pub fn core(map: Arc<Map>) -> Self {
        State::Core(Cell(Arc::new(Mutex::new(map))))
    }

    /// Merges what a node returned: a map's entries replace those of the state, anything else becomes
    /// `result` (`SG-37`, `SG-38`).
    pub fn merge(&self, result: Value) -> Result<(), HostError> {
        let delta = match result {
            Value::Map(map) => map,
            other => {
                let mut map = Map::with_capacity(1);
                map.insert("result".into(), other);
                Arc::new(map)
            }
        };
        match self {
            State::Core(state) => {
                state.merge(&delta);
                Ok(())
            }
            State::Host { object, host } => host.apply(object.id(), &delta),
        }
    }

    /// The state as a value: a map, or a reference to the host's object.
    pub fn value(&self) -> Value {
        match self {
            State::Core(state) => Value::Map(state.map()),
            State::Host { object, .. } => Value::Host(object.clone()),
        }
    }

    /// The state of a branch: nothing that one flow changes shows in the other.
    pub fn fork(&self) -> Result<State, HostError> {
        Ok(match self {
            State::Core(state) => State::core(state.map()),
            State::Host { object, host } => {
                State::Host { object: host.copy(object.id(), CopyDepth::Deep)?, host: Arc::clone(host) }
            }
        })
    }

    /// A copy of the top level, for work whose changes count only once it is done: what is nested in a live
    /// state stays shared.
    pub fn shallow(&self) -> Result<State, HostError> {
        Ok(match self {
            State::Core(state) => State::core(state.map()),
            State::Host { object, host } => {
                State::Host { object: host.copy(object.id(), CopyDepth::Shallow)?, host: Arc::clone(host) }
            }
        })
    }

    /// The top level as a map: of a live state, its values as the host hands them out (containers may be
    /// references to live objects).
    pub fn entries(&self) -> Result<Arc<Map>, HostError> {
        match self {
            State::Core(state) => Ok(state.map()),
            State::Host { object, host } => {
                let mut map = Map::new();
                for key in host.keys(object.id())? {
                    let value = host.get(object.id(), &key, Lookup::Item)?;
                    if let (Ok(key), Some(value)) = (Key::new(key), value) {
                        map.insert(key, value);
                    }
                }
                Ok(Arc::new(map))
            }
        }
    }

    /// The value under a text key.
    pub fn get(&self, key: &str) -> Result<Option<Value>, HostError> {
        match self {
            State::Core(state) => Ok(state.map().get(key).cloned()),
            State::Host { object, host } => host.get(object.id(), &Value::from(key), Lookup::Item),
        }
    }

    /// Removes a key and hands out what was under it.
    pub fn remove(&self, key: &str) -> Result<Option<Value>, HostError> {
        match self {
            State::Core(state) => Ok(state.remove(key)),
            State::Host { object, host } => {
                let value = host.get(object.id(), &Value::from(key), Lookup::Item)?;
                if value.is_some() {
                    host.call(object.id(), "pop", &[Value::from(key), Value::Null])?;
                }
                Ok(value)
            }
        }
    }

    /// Replaces a core-resident state as a whole. A live state is changed by its host only.
    pub fn replace(&self, map: Arc<Map>) {
        if let State::Core(state) = self {
            state.replace(map);
        }
    }

    /// The text of the state, for records.
    pub fn repr(&self) -> Result<String, HostError> {
        match self {
            State::Core(state) => Ok(repr(&Value::Map(state.map()))),
            State::Host { object, host } => ask(host, object, Query::Repr),
        }
    }

    /// The text of the list of its keys, for records.
    pub fn keys_repr(&self) -> Result<String, HostError> {
        match self {
            State::Core(state) => {
                Ok(repr(&Value::list(state.map().keys().map(|key| key.value().clone()).collect())))
            }
            State::Host { object, host } => ask(host, object, Query::KeysRepr),
        }
    }
}

fn ask(host: &Arc<dyn Host>, object: &HostRef, what: Query) -> Result<String, HostError> {
    Ok(crate::value::text(&host.query(object.id(), what, None)?))
}
