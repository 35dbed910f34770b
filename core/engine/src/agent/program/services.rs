//! What the actions of an agent may ask of it.

use std::io::Write;
use std::sync::{Arc, OnceLock, Weak};

use super::action::call;
use crate::actions::{KeyValueStore, Limiters, Memory, NodeWork, Registry, Sessions, Surroundings};
use crate::agent::Print;
use crate::agent::context::Context;
use crate::agent::params::Params;
use crate::graph::{Action, Graph};
use crate::run::{Running, Stop, Task};
use crate::template::{TemplateError, without_secrets};
use crate::value::{Map, Value};

/// What all programs of an agent work with.
pub(in crate::agent) struct Shared {
    pub(in crate::agent) context: Arc<Context>,
    pub(in crate::agent) actions: Arc<Registry>,
    /// Actions are asked of the host first.
    pub(in crate::agent) host_actions: bool,
    /// Languages of code that the host runs.
    pub(in crate::agent) languages: Vec<Arc<str>>,
    /// Wall time of each piece of Lua code, in seconds.
    pub(in crate::agent) lua_timeout: f64,
    pub(in crate::agent) long_term: Option<Arc<dyn KeyValueStore>>,
    pub(in crate::agent) limiters: Arc<Limiters>,
    pub(in crate::agent) memory: Arc<Memory>,
    pub(in crate::agent) sessions: Option<Arc<Sessions>>,
    pub(in crate::agent) print: Option<Print>,
    /// Not owned: the graph owns the programs.
    pub(in crate::agent) graph: OnceLock<Weak<Graph>>,
    /// Itself, for work that outlives a call.
    pub(in crate::agent) own: Weak<Shared>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    /// The text of an error without values of the agent's secrets (`yaml/Q-18`).
    pub(in crate::agent) fn without_secrets(&self, text: String) -> String {
        let roots = self.context.roots();
        match &roots.secrets {
            Value::Map(secrets) if !secrets.is_empty() => without_secrets(text, &roots.secrets),
            _ => text,
        }
    }

    fn graph(&self) -> Option<Arc<Graph>> {
        self.graph.get()?.upgrade()
    }
}

impl Surroundings for Shared {
    fn limiters(&self) -> Arc<Limiters> {
        Arc::clone(&self.limiters)
    }

    fn sessions(&self) -> Option<Arc<Sessions>> {
        self.sessions.clone()
    }

    fn memory(&self) -> Arc<Memory> {
        Arc::clone(&self.memory)
    }

    fn store(&self) -> Option<Arc<dyn KeyValueStore>> {
        self.long_term.clone()
    }

    fn action(&self, task: &Task, name: &str, arguments: Arc<Map>) -> Option<Running> {
        // Only the host knows which actions it has; it is asked when the work begins.
        if !self.host_actions && !self.actions.contains(name) {
            return None;
        }
        let (shared, task, name) = (self.own.upgrade()?, task.clone(), Arc::<str>::from(name));
        Some(Box::pin(async move { call(&name, arguments, &task, &shared).await }))
    }

    fn node(&self, task: &Task, name: &str) -> NodeWork {
        let Some(graph) = self.graph() else { return NodeWork::NoGraph };
        let topology = graph.topology();
        match topology.find(name).and_then(|id| topology.get(id)) {
            None => NodeWork::NoNode,
            Some(node) => match &node.action {
                Action::Program(program) => NodeWork::Work(program.start(task.clone())),
                // A function that the host put into the graph is called by the run only.
                Action::None | Action::Call { .. } => NodeWork::NoWork,
            },
        }
    }

    fn has_node(&self, name: &str) -> Option<bool> {
        Some(self.graph()?.topology().find(name).is_some())
    }

    fn section(&self, name: &str) -> Option<Value> {
        match name {
            "llm_settings" => Some(self.context.roots().llm_settings.clone()),
            "secrets" => Some(self.context.roots().secrets.clone()),
            name => self.context.config.get(name).cloned(),
        }
    }

    fn render(&self, task: &Task, value: &Value) -> Result<Value, Stop> {
        // With actions of the host, parameters are rendered before it is known whose action it is.
        if self.host_actions {
            return Ok(value.clone());
        }
        let Value::Map(map) = value else { return Ok(value.clone()) };
        // What is no template was reported when the agent was loaded, or fails now.
        let mut broken = |_: &TemplateError| {};
        let params = Params::compile(map, &[], &mut broken);
        Ok(Value::Map(params.render(&self.context, &task.scene)?))
    }

    fn print(&self, line: &str) -> std::io::Result<()> {
        match &self.print {
            Some(print) => print(line),
            None => {
                let mut out = std::io::stdout().lock();
                writeln!(out, "{line}")?;
                out.flush()
            }
        }
    }

    fn saved(&self, path: &str) {
        self.context.change(|roots| {
            if let Value::Map(checkpoint) = &mut roots.checkpoint {
                Arc::make_mut(checkpoint).insert("last".into(), path.into());
            }
        });
    }

    fn agent_name(&self) -> Arc<str> {
        self.context.name.clone().unwrap_or_else(|| "unknown_agent".into())
    }
}
