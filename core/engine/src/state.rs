//! Where a run's state lives: with the engine, or with the host.
//!
//! Everything above asks a [`State`] and does not care which of the two it is.

use std::sync::Arc;

use crate::host::{CopyDepth, Host, HostError, HostRef, Query};
use crate::value::{Map, Value, repr};

/// The state of a flow.
pub enum State {
    /// Core-resident: values of the engine. A copy is a reference count; a writer copies what is shared.
    Core(Arc<Map>),
    /// Host-resident: a live object of the host, which the engine reads and changes through the host.
    Host {
        /// The object.
        object: HostRef,
        /// Whom to ask.
        host: Arc<dyn Host>,
    },
}

impl State {
    /// Merges what a node returned: a map's entries replace those of the state, anything else becomes
    /// `result` (`SG-37`, `SG-38`).
    pub fn merge(&mut self, result: Value) -> Result<(), HostError> {
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
                let state = Arc::make_mut(state);
                for (key, value) in delta.iter() {
                    state.insert(key.clone(), value.clone());
                }
                Ok(())
            }
            State::Host { object, host } => host.apply(object.id(), &delta),
        }
    }

    /// The state as a value: a map, or a reference to the host's object.
    pub fn value(&self) -> Value {
        match self {
            State::Core(state) => Value::Map(Arc::clone(state)),
            State::Host { object, .. } => Value::Host(object.clone()),
        }
    }

    /// The state of a branch: nothing that one flow changes shows in the other.
    pub fn fork(&self) -> Result<State, HostError> {
        Ok(match self {
            State::Core(state) => State::Core(Arc::clone(state)),
            State::Host { object, host } => {
                State::Host { object: host.copy(object.id(), CopyDepth::Deep)?, host: Arc::clone(host) }
            }
        })
    }

    /// The text of the state, for records.
    pub fn repr(&self) -> Result<String, HostError> {
        match self {
            State::Core(state) => Ok(repr(&Value::Map(Arc::clone(state)))),
            State::Host { object, host } => ask(host, object, Query::Repr),
        }
    }

    /// The text of the list of its keys, for records.
    pub fn keys_repr(&self) -> Result<String, HostError> {
        match self {
            State::Core(state) => {
                Ok(repr(&Value::list(state.keys().map(|key| key.value().clone()).collect())))
            }
            State::Host { object, host } => ask(host, object, Query::KeysRepr),
        }
    }
}

fn ask(host: &Arc<dyn Host>, object: &HostRef, what: Query) -> Result<String, HostError> {
    Ok(crate::value::text(&host.query(object.id(), what, None)?))
}
