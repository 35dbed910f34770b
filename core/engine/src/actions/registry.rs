//! The registry: names and the actions behind them.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use super::ActionCall;
use crate::run::{Running, Stop};
use crate::value::Value;

/// An action of the engine. Any `Fn(ActionCall) -> Running` is one.
pub trait CoreAction: Send + Sync {
    /// Begins the work. Nothing happens before the first poll.
    fn run(&self, call: ActionCall) -> Running;
}

impl<F: Fn(ActionCall) -> Running + Send + Sync> CoreAction for F {
    fn run(&self, call: ActionCall) -> Running {
        self(call)
    }
}

/// An action that neither waits nor asks the host.
struct Direct(fn(&ActionCall) -> Result<Value, Stop>);

impl CoreAction for Direct {
    fn run(&self, call: ActionCall) -> Running {
        let action = self.0;
        Box::pin(async move { action(&call) })
    }
}

/// Actions by name. Clones share the actions, not the table.
#[derive(Clone, Default)]
pub struct Registry {
    actions: IndexMap<Arc<str>, Arc<dyn CoreAction>>,
}

impl Registry {
    /// A registry without actions.
    pub fn new() -> Self {
        Registry::default()
    }

    /// All actions that the engine does itself.
    pub fn core() -> Self {
        Registry::new()
    }

    /// Adds an action, or replaces the one of that name.
    pub fn add(&mut self, name: &str, action: impl CoreAction + 'static) {
        self.actions.insert(name.into(), Arc::new(action));
    }

    /// Adds an action that neither waits nor asks the host.
    pub fn add_direct(&mut self, name: &str, action: fn(&ActionCall) -> Result<Value, Stop>) {
        self.add(name, Direct(action));
    }

    /// Gives an action a second name; nothing happens if there is none of the first.
    pub fn alias(&mut self, name: &str, alias: &str) {
        if let Some(action) = self.actions.get(name).cloned() {
            self.actions.insert(alias.into(), action);
        }
    }

    /// Whether there is an action of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.actions.contains_key(name)
    }

    /// The names, in the order in which they were added.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.actions.keys().map(AsRef::as_ref)
    }

    /// Runs the action that the call names; `None` if there is none.
    pub fn run(&self, call: ActionCall) -> Option<Running> {
        self.actions.get(&*call.name).map(|action| action.run(call))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
