//! Agents: YAML files compiled to graphs.
//!
//! An [`Agent`] is compiled once. Templates, conditions and Lua code are parsed when it is loaded; running it
//! parses nothing. What is wrong with a file is a [`Problem`] with file, line, column and the path in the
//! document; [`validate`] finds all of them.
//!
//! In reading order:
//! - `source`: file, text or value, overlays merged (`merge`);
//! - `load`: the document as a whole, `settings` its settings, `policy` what `on_error` says;
//! - `node`: what each node does; `program`: how it does it; `params`: its parameters;
//! - `edge`: where a run goes next; `condition`: what decides that;
//! - `context`: what templates see;
//! - `output`: the output of a run; `problem`: what is wrong with an agent.

mod checks;
mod condition;
mod context;
mod edge;
mod info;
mod keys;
mod load;
mod merge;
mod node;
mod output;
mod parallel;
mod params;
mod policy;
mod problem;
mod program;
mod settings;
mod source;
mod subgraph;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub use context::{Context, Roots};
pub use merge::{DELETE_MARKER, MergeError, deep_merge, merge_all, merge_arrays_by_key};
pub use problem::{AgentError, Place, Problem, Severity};

use crate::actions::{KeyValueStore, Registry, Sessions};
use crate::checkpoint::Store;
use crate::graph::Graph;
use crate::host::{Host, LogLevel};
use crate::schema::input::{Detail, InputSchema};
use crate::state::State;
use crate::value::{Map, Value};
use load::{Loader, Notes};
use output::OutputSchema;
use source::Source;

/// Where the lines go that actions (`notify`) and Lua code (`print`) print.
pub type Print = Arc<dyn Fn(&str) -> std::io::Result<()> + Send + Sync>;

/// How an agent is loaded. The defaults are those of a host without languages of its own.
#[derive(Clone)]
pub struct LoadOptions {
    /// The actions that the engine runs itself; default [`Registry::core`].
    pub actions: Arc<Registry>,
    /// The long-term store of actions (`cache.*`).
    pub long_term: Option<Arc<dyn KeyValueStore>>,
    /// Where the lines go that are printed; `None`: those of actions to the standard output, those of Lua code to
    /// the standard error.
    pub print: Option<Print>,
    /// The host has actions: it is asked first for every one. Default true.
    pub host_actions: bool,
    /// Languages of code that the host runs, as in `python`; `python-expression` for expressions of Python.
    pub languages: Vec<Arc<str>>,
    /// Maps that are merged over the agent, the last one on top.
    pub overlays: Vec<Value>,
    /// Code without `language` may be Lua: it is if it looks like it.
    pub lua_enabled: bool,
    /// Wall time of each piece of Lua code, in seconds; default 30.
    pub lua_timeout: f64,
    /// A failure in a single expression is an error (`yaml/Q-1`); `None`: as `settings.strict_templates` says.
    pub strict_templates: Option<bool>,
    /// The root `variables` instead of the section of that name: a map, or an object of the host.
    pub variables: Option<Value>,
    /// The root `data` instead of the section of that name.
    pub data: Option<Value>,
    /// The root `secrets`, unless the agent names a backend that the engine reads itself.
    pub secrets: Option<Value>,
    /// Parameters that actions of the host get as they are written, by action.
    pub raw_parameters: HashMap<String, Vec<String>>,
    /// Where checkpoints go, instead of the directory that the agent names.
    pub store: Store,
}

impl Default for LoadOptions {
    fn default() -> Self {
        LoadOptions {
            actions: Arc::new(Registry::core()),
            long_term: None,
            print: None,
            host_actions: true,
            languages: Vec::new(),
            overlays: Vec::new(),
            lua_enabled: false,
            lua_timeout: 30.0,
            strict_templates: None,
            variables: None,
            data: None,
            secrets: None,
            raw_parameters: HashMap::new(),
            store: Store::None,
        }
    }
}

impl std::fmt::Debug for LoadOptions {
    /// Without the values of roots, which may be secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoadOptions")
            .field("host_actions", &self.host_actions)
            .field("languages", &self.languages)
            .finish_non_exhaustive()
    }
}

/// A compiled agent.
#[derive(Debug)]
pub struct Agent {
    graph: Arc<Graph>,
    context: Arc<Context>,
    notes: Notes,
    input: Option<InputSchema>,
    output: Option<OutputSchema>,
    sessions: Option<Arc<Sessions>>,
}

impl Agent {
    /// Reads a file.
    pub fn load_file(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Agent, AgentError> {
        let source = Source::read(path.as_ref(), &options.overlays)?;
        Agent::compile(&source, &Arc::new(options.clone()))
    }

    /// Reads a text. Relative paths in it count from `base_dir`, or else from the working directory.
    pub fn load_text(
        text: &str,
        base_dir: Option<&Path>,
        options: &LoadOptions,
    ) -> Result<Agent, AgentError> {
        let source = Source::parse(text.as_bytes(), None, base_dir, &options.overlays)?;
        Agent::compile(&source, &Arc::new(options.clone()))
    }

    /// Takes a value that was read elsewhere.
    pub fn load_value(
        value: Value,
        base_dir: Option<&Path>,
        options: &LoadOptions,
    ) -> Result<Agent, AgentError> {
        Agent::compile(&Source::given(value, base_dir, &options.overlays), &Arc::new(options.clone()))
    }

    /// An agent inside another one; `level` counts those around it.
    fn load_inner(
        text: &[u8],
        path: &Path,
        options: &Arc<LoadOptions>,
        level: u32,
    ) -> Result<Agent, AgentError> {
        let source = Source::parse(text, Some(path), None, &options.overlays)?;
        let mut loader = Loader::new(options, &source);
        loader.level = level;
        Agent::finish(loader)
    }

    fn compile(source: &Source, options: &Arc<LoadOptions>) -> Result<Agent, AgentError> {
        Agent::finish(Loader::new(options, source))
    }

    fn finish(mut loader: Loader<'_>) -> Result<Agent, AgentError> {
        match loader.agent() {
            Some(agent) => Ok(agent),
            None => {
                let first = loader.problems.into_iter().find(|problem| problem.severity == Severity::Error);
                Err(first.unwrap_or_else(|| *Problem::new("the agent could not be loaded")).into())
            }
        }
    }

    fn new(
        graph: Arc<Graph>,
        context: Arc<Context>,
        notes: Notes,
        input: Option<InputSchema>,
        output: Option<OutputSchema>,
        sessions: Option<Arc<Sessions>>,
    ) -> Self {
        Agent { graph, context, notes, input, output, sessions }
    }

    /// The graph, ready to run; all programs and conditions are in its library.
    pub fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// What the programs of the agent share.
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// What is odd about the agent, though it loads.
    pub fn warnings(&self) -> &[Problem] {
        &self.notes.warnings
    }

    /// Whether the input of a run is checked ([`Agent::check_input`]).
    pub fn has_input_schema(&self) -> bool {
        self.input.is_some()
    }

    /// The state that a run begins with, from its input: what `input_schema` names, converted and with defaults; the
    /// input as it is without such a section. The error lists all that is wrong with the input (`IV-3`, `IV-9`).
    pub fn check_input(&self, input: &Map) -> Result<Map, Vec<Detail>> {
        match &self.input {
            Some(schema) => schema.validate(input),
            None => Ok(input.clone()),
        }
    }

    /// The section `input_schema`, if there is one: what the input of a run must be like.
    pub fn input_schema(&self) -> Option<&InputSchema> {
        self.input.as_ref()
    }

    /// The sessions of the agent, if `settings.session` gives it any: a run begins with [`Sessions::begin`] of its
    /// input, and ends, where it reaches its end, with [`Sessions::end`] of its state (`actions/SS-17`).
    pub fn sessions(&self) -> Option<&Arc<Sessions>> {
        self.sessions.as_ref()
    }

    /// Whether runs have an output ([`Agent::output`]).
    pub fn has_output(&self) -> bool {
        self.output.is_some()
    }

    /// The output of a run that ended with this state; null without `output_schema` (`OT-7`).
    pub fn output(&self, state: &State) -> Value {
        let Some(schema) = &self.output else { return Value::Null };
        let host: Option<&dyn Host> = match state {
            State::Core(_) => None,
            State::Host { host, .. } => Some(&**host),
        };
        let mut warn = |text: String| {
            if let Some(host) = host {
                host.log(LogLevel::Warning, "the_edge_agent.transformation", &text);
            }
        };
        schema.output(&state.value(), host, self.context.strict_templates, &mut warn)
    }

    /// No document at all, or an empty one.
    fn is_empty(&self) -> bool {
        self.context.config.is_empty()
    }
}

/// Everything that is wrong with the agent in a file, in the order in which loading would find it.
pub fn validate(path: impl AsRef<Path>, options: &LoadOptions) -> Vec<Problem> {
    match Source::read(path.as_ref(), &options.overlays) {
        Ok(source) => check(&source, options),
        Err(error) => vec![*error.problem],
    }
}

/// As [`validate`], for a text.
pub fn validate_text(text: &str, base_dir: Option<&Path>, options: &LoadOptions) -> Vec<Problem> {
    match Source::parse(text.as_bytes(), None, base_dir, &options.overlays) {
        Ok(source) => check(&source, options),
        Err(error) => vec![*error.problem],
    }
}

fn check(source: &Source, options: &LoadOptions) -> Vec<Problem> {
    let options = Arc::new(options.clone());
    let mut loader = Loader::new(&options, source);
    loader.dry = true;
    loader.agent();
    loader.problems
}
