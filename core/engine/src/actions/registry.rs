//! The registry: names and the actions behind them.

use std::fmt;
use std::sync::Arc;

use indexmap::IndexMap;

use super::{ActionCall, failure};
use crate::host::{Host, HostError};
use crate::run::{Running, Stop};
use crate::value::{Map, Value};

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
        let mut registry = Registry::new();
        super::json::register(&mut registry);
        super::csv::register(&mut registry);
        super::data::register(&mut registry);
        super::files::register(&mut registry);
        super::files::storage::register(&mut registry);
        super::basic::register(&mut registry);
        super::checkpoint::register(&mut registry);
        super::cache::register(&mut registry);
        super::memory::register(&mut registry);
        super::ratelimit::register(&mut registry);
        super::retry::register(&mut registry);
        super::validate::register(&mut registry);
        super::extraction::register(&mut registry);
        super::markdown::register(&mut registry);
        super::secrets::register(&mut registry);
        super::session::register(&mut registry);
        super::schema_merge::register(&mut registry);
        super::errors::register(&mut registry);
        registry
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

    /// Names of the parameters that an action gets as they are written: it renders them itself, perhaps more than
    /// once (`actions/Q-29`).
    pub fn raw_parameters(&self, name: &str) -> &[&str] {
        match name {
            "retry.loop" | "actions.retry_loop" => &["validate_args"],
            _ => &[],
        }
    }

    /// Runs the action that the call names; `None` if there is none. Objects of the host among the arguments become
    /// values where they have a value form.
    pub fn run(&self, mut call: ActionCall) -> Option<Running> {
        let action = self.actions.get(&*call.name)?;
        if let Some(host) = &call.task.scene.host
            && call.arguments.values().any(holds_host_object)
        {
            match exported_map(&call.arguments, &**host) {
                Ok(arguments) => call.arguments = Arc::new(arguments),
                Err(error) => {
                    let stop = failure("RuntimeError", error.message);
                    return Some(Box::pin(std::future::ready(Err(stop))));
                }
            }
        }
        Some(action.run(call))
    }
}

fn holds_host_object(value: &Value) -> bool {
    match value {
        Value::Host(_) => true,
        Value::List(items) | Value::Tuple(items) => items.iter().any(holds_host_object),
        Value::Map(map) => map.values().any(holds_host_object),
        _ => false,
    }
}

fn exported_map(map: &Map, host: &dyn Host) -> Result<Map, HostError> {
    map.iter().map(|(key, value)| Ok((key.clone(), exported(value, host)?))).collect()
}

fn exported(value: &Value, host: &dyn Host) -> Result<Value, HostError> {
    let items =
        |items: &[Value]| items.iter().map(|item| exported(item, host)).collect::<Result<Vec<_>, _>>();
    Ok(match value {
        Value::Host(object) => host.export(object.id())?,
        Value::List(list) => Value::list(items(list)?),
        Value::Tuple(tuple) => Value::Tuple(Arc::new(items(tuple)?)),
        Value::Map(map) => Value::map(exported_map(map, host)?),
        other => other.clone(),
    })
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
