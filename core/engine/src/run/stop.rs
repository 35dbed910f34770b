//! Stopping at an interrupt: the checkpoint, and the event that names it.

use std::time::{SystemTime, UNIX_EPOCH};

use super::cursor::Phase;
use super::{Cursor, Event, Item, StepError};
use crate::checkpoint::{Checkpoint, CheckpointError, Store, write_file};
use crate::host::{LogLevel, Query, When};
use crate::state::State;
use crate::value::{Map, Value};

impl Cursor {
    pub(super) fn store(&mut self, when: When) -> Result<Option<Item>, StepError> {
        if self.host.is_some() {
            self.phase = Phase::AwaitStore { when };
            return Ok(Some(Item::Store { node: self.node, when }));
        }
        let checkpoint = self.store_here(when)?;
        Ok(Some(self.interrupted(when, checkpoint)))
    }

    /// Stores a core-resident state in the graph's own store.
    pub(super) fn store_here(&self, when: When) -> Result<Option<String>, StepError> {
        let settings = self.graph.settings();
        let checkpoint = self.checkpoint(Some(when))?;
        Ok(match &settings.store {
            Store::None => None,
            Store::Host => return Err(StepError::Checkpoint(no_host_store())),
            Store::Memory(store) => {
                let id = store.save(checkpoint);
                self.record(LogLevel::Info, format_args!("Checkpoint saved to memory: '{id}'"));
                Some(id)
            }
            Store::Directory(directory) => {
                let json = checkpoint.to_json(|value| value.type_name().to_owned())?;
                let path = write_file(directory, &checkpoint.node, &json)?.display().to_string();
                let node = &checkpoint.node;
                self.record(LogLevel::Info, format_args!("Checkpoint saved to '{path}' at node '{node}'"));
                Some(path)
            }
        })
    }

    /// The run as it stands, as a checkpoint. A host-resident state is exported.
    pub fn checkpoint(&self, interrupt: Option<When>) -> Result<Checkpoint, StepError> {
        let state = match &self.state {
            State::Core(state) => Map::clone(&state.map()),
            State::Host { object, host } => match host.export(object.id())? {
                Value::Map(map) => Map::clone(&map),
                _ => Map::new(),
            },
        };
        Ok(Checkpoint {
            node: self.name(self.node).to_owned(),
            interrupt,
            state,
            config: Map::clone(&self.config),
            timestamp: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64()),
        })
    }

    pub(super) fn interrupted(&mut self, when: When, checkpoint: Option<String>) -> Item {
        self.phase = Phase::End;
        Item::Event(Event::Interrupt { node: self.node, when, checkpoint })
    }

    /// Names the type of an object that cannot be stored.
    pub fn type_name(&self, value: &Value) -> String {
        match (value, &self.state) {
            (Value::Host(object), State::Host { host, .. }) => host
                .query(object.id(), Query::TypeName, None)
                .map_or_else(|error| error.message, |name| crate::value::text(&name)),
            (value, _) => value.type_name().to_owned(),
        }
    }
}

fn no_host_store() -> CheckpointError {
    CheckpointError::Unwritable {
        path: String::new(),
        reason: "the graph's checkpoints go to the host, but the run has none".to_owned(),
    }
}
