//! One call of an action: its arguments, and what it may ask for.

use std::sync::Arc;

use super::{KeyValueStore, Limiters, Memory, Registry, Sessions};
use crate::run::{Failure, Running, Stop, Task};
use crate::value::{Map, Value};

/// What an action may ask of the agent that runs it.
///
/// Each default is right for an agent that has nothing of the kind.
pub trait Surroundings: Send + Sync {
    /// The agent's rate limiters.
    fn limiters(&self) -> Arc<Limiters>;

    /// What the agent remembers (`memory.*`).
    fn memory(&self) -> Arc<Memory>;

    /// The agent's long-term store (`cache.*`).
    fn store(&self) -> Option<Arc<dyn KeyValueStore>> {
        None
    }

    /// The agent's sessions, if it has any (`session.*`).
    fn sessions(&self) -> Option<Arc<Sessions>> {
        None
    }

    /// Calls another action by name, as a node would: the host first, if it declares actions, then the registry.
    /// `None` if there is no such action.
    fn action(&self, task: &Task, name: &str, arguments: Arc<Map>) -> Option<Running> {
        let _ = (task, name, arguments);
        None
    }

    /// A top-level section of the agent as it stands; `llm_settings` is what calls of language models get besides
    /// their own parameters, `secrets` what templates see under that name.
    fn section(&self, name: &str) -> Option<Value> {
        let _ = name;
        None
    }

    /// Renders the templates in a value on `task.scene.state`; for parameters that an action gets raw
    /// ([`Registry::raw_parameters`]).
    fn render(&self, task: &Task, value: &Value) -> Result<Value, Stop> {
        let _ = task;
        Ok(value.clone())
    }

    /// Starts the work of a node of the graph on `task.scene.state` (`retry.loop`).
    fn node(&self, task: &Task, name: &str) -> NodeWork {
        let _ = (task, name);
        NodeWork::NoGraph
    }

    /// Whether the graph has a node of this name; `None` without a graph (`checkpoint.save`).
    fn has_node(&self, name: &str) -> Option<bool> {
        let _ = name;
        None
    }

    /// A checkpoint was saved there: it becomes `{{ checkpoint.last }}`.
    fn saved(&self, path: &str) {
        let _ = path;
    }

    /// Writes a line to the standard output (`notify`).
    fn print(&self, line: &str) -> std::io::Result<()> {
        use std::io::Write;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// The agent's name, for cache keys.
    fn agent_name(&self) -> Arc<str> {
        "unknown_agent".into()
    }
}

/// What [`Surroundings::node`] found.
pub enum NodeWork {
    /// There is no graph.
    NoGraph,
    /// The graph has no such node.
    NoNode,
    /// The node does nothing.
    NoWork,
    /// The node's work, to be awaited.
    Work(Running),
}

/// Surroundings without an agent: for actions that are called directly. Other actions come from the registry.
#[derive(Clone, Default)]
pub struct Alone {
    /// The actions that actions can call.
    pub registry: Arc<Registry>,
    /// The rate limiters.
    pub limiters: Arc<Limiters>,
    /// What is remembered.
    pub memory: Arc<Memory>,
    /// The long-term store.
    pub store: Option<Arc<dyn KeyValueStore>>,
    /// The sessions.
    pub sessions: Option<Arc<Sessions>>,
}

impl Surroundings for Alone {
    fn limiters(&self) -> Arc<Limiters> {
        Arc::clone(&self.limiters)
    }

    fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    fn store(&self) -> Option<Arc<dyn KeyValueStore>> {
        self.store.clone()
    }

    fn sessions(&self) -> Option<Arc<Sessions>> {
        self.sessions.clone()
    }

    fn action(&self, task: &Task, name: &str, arguments: Arc<Map>) -> Option<Running> {
        let surroundings: Arc<dyn Surroundings> = Arc::new(self.clone());
        self.registry.run(ActionCall { name: name.into(), arguments, task: task.clone(), surroundings })
    }
}

/// One call of an action. Cheap to clone.
#[derive(Clone)]
pub struct ActionCall {
    /// The name under which it was called.
    pub name: Arc<str>,
    /// Arguments by name, rendered.
    pub arguments: Arc<Map>,
    /// The node that calls, with its state; asks the host.
    pub task: Task,
    /// The agent.
    pub surroundings: Arc<dyn Surroundings>,
}

impl ActionCall {
    /// An argument; `None` if it was not given. A given null is a value.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.arguments.get(name)
    }

    /// An argument that must be given; null counts as given (`actions/AC-15`).
    pub fn required(&self, name: &str) -> Result<&Value, Stop> {
        self.get(name).ok_or_else(|| failure("TypeError", format!("missing required parameter '{name}'")))
    }

    /// An argument, or the default if it was not given.
    pub fn or<'a>(&'a self, name: &str, default: &'a Value) -> &'a Value {
        self.get(name).unwrap_or(default)
    }

    /// The state of the flow as a value; a live object of the host is exported.
    pub fn state(&self) -> Result<Value, Stop> {
        self.exported(self.task.scene.state.value())
    }

    /// The value, or what the live object of the host holds.
    pub fn exported(&self, value: Value) -> Result<Value, Stop> {
        match (value, &self.task.scene.host) {
            (Value::Host(object), Some(host)) => {
                host.export(object.id()).map_err(|error| failure("RuntimeError", error.message))
            }
            (value, _) => Ok(value),
        }
    }

    /// The truth of an argument, or the default if it was not given.
    pub fn flag(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, Value::is_truthy)
    }
}

/// An error of an action: class as in Python, and text.
pub fn failure(class: &str, text: impl Into<String>) -> Stop {
    Stop::Failed(Failure { reference: 0, class: class.to_owned(), text: text.into(), fatal: false })
}
