//! Where a run's state lives: with the engine, or with the host.
//!
//! Everything above asks a [`State`] and does not care which of the two it is.

use std::sync::{Arc, Mutex, PoisonError};

use crate::host::{CopyDepth, Host, HostError, HostRef, Query};
use crate::value::{Map, Value, repr};

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
