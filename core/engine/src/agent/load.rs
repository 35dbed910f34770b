//! From a document to an agent (yaml.md 4).

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::context::{Context, Roots};
use super::edge::EdgeNote;
use super::keys;
use super::node::NodePlan;
use super::output::OutputSchema;
use super::policy::{Mode, Policy, global_policy};
use super::problem::{Checked, Problem, Severity};
use super::program::{Node, NodeProgram, Shared};
use super::settings;
use super::source::Source;
use super::{Agent, LoadOptions};
use crate::checkpoint::Store;
use crate::graph::{Action, CompileOptions, Graph, Library};
use crate::host::{PathStep, When};
use crate::run::Program;
use crate::schema::extraction::guiding_prompt;
use crate::template::TemplateError;
use crate::value::{Map, Value, text};

/// Compiles one document. Problems are collected; the first one is what loading fails with.
pub(super) struct Loader<'a> {
    pub(super) options: &'a Arc<LoadOptions>,
    source: &'a Source,
    /// The way from the root to what is being compiled.
    at: Vec<PathStep>,
    pub(super) problems: Vec<Problem>,
    pub(super) policy: Policy,
    /// `settings.error_handling.apply_to_all` (`yaml/Q-11`).
    pub(super) apply_to_all: bool,
    /// `settings.strict_edges` (`yaml/Q-8`).
    pub(super) strict_edges: bool,
    /// Conditions on edges to the end that are not looked at.
    pub(super) ignored_finish: usize,
    used: indexmap::IndexSet<Arc<str>>,
    /// How many agents are around this one.
    pub(super) level: u32,
    /// Only to find problems: nothing is made on the disk.
    pub(super) dry: bool,
}

/// A node of the finished graph, for [`Agent::info`].
#[derive(Debug, Clone)]
pub(super) struct NodeNote {
    pub(super) name: Arc<str>,
    pub(super) program: Option<usize>,
    pub(super) fan_in: bool,
    pub(super) interrupt: Option<When>,
}

/// What is known of an agent besides its graph.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) nodes: Vec<NodeNote>,
    pub(super) edges: Vec<EdgeNote>,
    pub(super) interrupt_before: Vec<String>,
    pub(super) interrupt_after: Vec<String>,
    pub(super) uses: Vec<Arc<str>>,
    pub(super) shell_providers: Map,
    pub(super) warnings: Vec<Problem>,
}

impl<'a> Loader<'a> {
    pub(super) fn new(options: &'a Arc<LoadOptions>, source: &'a Source) -> Self {
        Loader {
            options,
            source,
            at: Vec::new(),
            problems: Vec::new(),
            policy: Policy::default(),
            apply_to_all: false,
            strict_edges: false,
            ignored_finish: 0,
            used: indexmap::IndexSet::new(),
            level: 0,
            dry: false,
        }
    }

    /// Goes on under a key; a problem that comes back lies there.
    pub(super) fn key<T>(&mut self, key: &str, body: impl FnOnce(&mut Self) -> Checked<T>) -> Checked<T> {
        self.at.push(PathStep::Key(key.into()));
        let result = body(self);
        self.at.pop();
        result.map_err(|problem| problem.under(key))
    }

    /// Goes on in an element of a list.
    pub(super) fn element<T>(
        &mut self,
        index: usize,
        body: impl FnOnce(&mut Self) -> Checked<T>,
    ) -> Checked<T> {
        self.at.push(PathStep::Index(i64::try_from(index).unwrap_or(i64::MAX)));
        let result = body(self);
        self.at.pop();
        result.map_err(|problem| problem.item(index))
    }

    /// Goes on in a node, from the root.
    pub(super) fn at_node<T>(&mut self, index: usize, body: impl FnOnce(&mut Self) -> T) -> T
    where
        T: AtNode,
    {
        let before = std::mem::replace(
            &mut self.at,
            vec![PathStep::Key("nodes".into()), PathStep::Index(i64::try_from(index).unwrap_or(i64::MAX))],
        );
        let result = body(self);
        self.at = before;
        result.in_node(index)
    }

    /// Keeps a problem of the root, if there is one.
    pub(super) fn report<T>(&mut self, result: Checked<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problem) => {
                self.keep(*problem);
                None
            }
        }
    }

    fn keep(&mut self, mut problem: Problem) {
        problem.place.file = self.source.file.clone();
        problem.place.locate(self.source.document.as_ref());
        self.problems.push(problem);
    }

    /// Keeps a warning about what is being compiled.
    pub(super) fn warn(&mut self, problem: impl Into<Problem>) {
        let mut problem = problem.into();
        problem.severity = Severity::Warning;
        let mut path = self.at.clone();
        path.append(&mut problem.place.path);
        problem.place.path = path;
        self.keep(problem);
    }

    /// Keeps templates that are no templates as warnings: they fail when they are used.
    pub(super) fn broken(&mut self, errors: &[TemplateError], key: &str) {
        for error in errors {
            self.warn(Problem::warning(error.detail()).under(key));
        }
    }

    /// Warns about keys that look like misspelt ones.
    pub(super) fn spelling(&mut self, map: &Map, known: &[&str]) {
        for key in map.keys().filter_map(|key| key.as_str()) {
            if known.contains(&key) {
                continue;
            }
            if let Some(guess) =
                keys::similar(key, known.iter().copied()).filter(|guess| !map.contains_key(*guess))
            {
                let problem = Problem::warning(format!("The key '{key}' is not known and has no effect"));
                self.warn(problem.hint(format!("did you mean '{guess}'?")).under(key));
            }
        }
    }

    /// As [`Loader::spelling`], for a section.
    pub(super) fn known_keys(&mut self, section: &Value, key: &str, known: &[&str]) {
        if let Value::Map(map) = section {
            let _ = self.key(key, |loader| {
                loader.spelling(map, known);
                Ok(())
            });
        }
    }

    pub(super) fn uses(&mut self, action: &Arc<str>) {
        self.used.insert(Arc::clone(action));
    }

    pub(super) fn raw_parameters(&self, action: &str) -> Vec<String> {
        let of_host = self.options.raw_parameters.get(action).cloned();
        of_host.unwrap_or_else(|| {
            // Whether the host or the engine will run the action is known only then.
            let own =
                if self.options.host_actions { &[] } else { self.options.actions.raw_parameters(action) };
            own.iter().map(|name| (*name).to_owned()).collect()
        })
    }

    pub(super) fn shared_options(&self) -> Arc<LoadOptions> {
        Arc::clone(self.options)
    }

    /// A path in the agent, against the directory of its file.
    pub(super) fn relative(&self, path: &str) -> PathBuf {
        match &self.source.base_dir {
            Some(base) => base.join(path),
            None => PathBuf::from(path),
        }
    }

    /// Compiles the document. `None` if it has errors.
    pub(super) fn agent(&mut self) -> Option<Agent> {
        let config = match &self.source.value {
            Value::Map(config) => Arc::clone(config),
            other => {
                let kind = other.type_name();
                let problem = format!("an agent is a map of name, nodes, ..., not {kind}");
                self.report::<()>(Err(Problem::of("AttributeError", problem)));
                return None;
            }
        };
        self.spelling(&config, keys::AGENT);
        self.imports(&config);
        let empty = Map::new();
        let settings = settings::section(&config, "settings", &empty);
        let settings = self.report(settings).unwrap_or(&empty);
        let mut roots = self.roots(&config, settings);
        let shell = settings::shell_providers(settings, &roots);
        let shell_providers = self.report(shell).unwrap_or_default();
        self.extraction(&config);
        let output = config.get("output_schema").filter(|schema| schema.is_truthy());
        let output = match output {
            Some(schema) => {
                let schema = OutputSchema::compile(schema);
                self.report(schema)
            }
            None => None,
        };
        let input = self.input_schema(&config);
        let prompt = guiding_prompt(&config)
            .map_err(|error| Problem::of(error.class, error.message).under("extraction_schema"));
        if let (Some(Some(prompt)), Value::Map(variables)) = (self.report(prompt), &mut roots.variables) {
            Arc::make_mut(variables).insert("extraction_prompt".into(), prompt.into());
        }
        let policy = global_policy(settings);
        self.policy = self.report(policy).unwrap_or_default();
        self.error_settings(settings);
        self.streams(&config, settings);
        self.strict_edges = settings.get("strict_edges").is_some_and(Value::is_truthy);
        let strict = self
            .options
            .strict_templates
            .unwrap_or_else(|| settings.get("strict_templates").is_some_and(Value::is_truthy));
        let run = settings::section(&config, "config", &empty);
        let run = self.report(run).unwrap_or(&empty);
        self.known_keys(&Value::map(run.clone()), "config", keys::CONFIG);

        let context =
            Arc::new(Context::new(Arc::clone(&config), self.source.base_dir.as_deref(), strict, roots));
        let graph = Arc::new(Graph::new());
        let sessions = self.sessions(settings).map(Arc::new);
        let shared = Arc::new_cyclic(|own| Shared {
            context: Arc::clone(&context),
            actions: Arc::clone(&self.options.actions),
            host_actions: self.options.host_actions,
            languages: self.options.languages.clone(),
            lua_timeout: self.options.lua_timeout,
            long_term: self.options.long_term.clone(),
            limiters: Arc::default(),
            memory: Arc::default(),
            sessions: sessions.clone(),
            print: self.options.print.clone(),
            graph: OnceLock::from(Arc::downgrade(&graph)),
            own: own.clone(),
        });
        let mut library = Library::default();
        let mut notes = Notes { shell_providers, ..Notes::default() };
        let nodes = self.list(&config, "nodes");
        let edges = self.list(&config, "edges");
        let plans = self.nodes(&graph, &nodes, &shared, &mut library, &mut notes);
        let listed: Vec<_> = plans.iter().map(|(.., plan)| Arc::clone(&plan.name)).collect();
        let exits = self.navigation(&graph, &plans, &edges, &listed);
        if self.ignored_finish > 0 {
            let count = self.ignored_finish;
            let problem = format!(
                "{count} edge(s) to __end__ have a condition that is not looked at; settings.strict_edges: true \
                 makes it count"
            );
            self.warn(Problem::warning(problem).under("edges"));
        }
        notes.edges = exits.connect(&graph, &context, &mut library.conditions);
        let raise = run.get("raise_exceptions").is_some_and(Value::is_truthy);
        graph.configure(|settings| settings.raise_exceptions = raise);
        let compiled = self.compile(&graph, run, &mut notes, &context);
        self.report(compiled);
        graph.set_library(library);
        notes.uses = std::mem::take(&mut self.used).into_iter().collect();
        let (warnings, errors): (Vec<_>, Vec<_>) =
            self.problems.iter().cloned().partition(|problem| problem.severity == Severity::Warning);
        notes.warnings = warnings;
        errors.is_empty().then(|| Agent::new(graph, context, notes, input, output, sessions))
    }

    fn roots(&mut self, config: &Map, settings: &Map) -> Roots {
        let mut roots = Roots::default();
        // yaml/Q-3: a section that is null is empty.
        let map = |key: &str, default: &Option<Value>| match (default, config.get(key)) {
            (Some(given), _) => given.clone(),
            (None, None | Some(Value::Null)) => Value::map(Map::new()),
            (None, Some(value)) => value.clone(),
        };
        roots.variables = map("variables", &self.options.variables);
        roots.data = map("data", &self.options.data);
        for (key, value) in [("variables", &roots.variables), ("data", &roots.data)] {
            if !matches!(value, Value::Map(_) | Value::Host(_)) {
                let problem = format!("'{key}' is a map, not {}", value.type_name());
                self.report::<()>(Err(Problem::of("TypeError", problem).under(key)));
            }
        }
        let llm = settings::llm_settings(settings, &roots);
        roots.llm_settings = Value::map(self.report(llm).unwrap_or_default());
        match (&self.options.secrets, settings::secrets(settings)) {
            (Some(given), None | Some(Err(_))) => roots.secrets = given.clone(),
            (_, Some(Ok(secrets))) => roots.secrets = Value::map(secrets),
            (None, Some(Err(text))) => {
                let problem =
                    Problem::warning(format!("Failed to configure secrets backend from YAML: {text}"));
                self.warn(problem.under("secrets").under("settings"));
            }
            (None, None) => {}
        }
        roots
    }

    fn error_settings(&mut self, settings: &Map) {
        let Some(section) = settings.get("error_handling").and_then(Value::as_map) else { return };
        self.apply_to_all =
            section.get("apply_to_all").is_some_and(Value::is_truthy) && self.policy.mode != Mode::Raise;
        if !self.apply_to_all && self.policy.mode != Mode::Raise {
            let problem = "settings.error_handling applies only to nodes with on_error; apply_to_all: true makes it \
                           apply to all";
            self.warn(Problem::warning(problem).under("error_handling").under("settings"));
        }
    }

    fn list(&mut self, config: &Map, key: &str) -> Arc<Vec<Value>> {
        match config.get(key) {
            None | Some(Value::Null) => Arc::default(),
            Some(Value::List(items)) => Arc::clone(items),
            Some(other) => {
                let problem = format!("'{key}' is a list, not {}", other.type_name());
                self.report::<()>(Err(Problem::of("TypeError", problem).under(key)));
                Arc::default()
            }
        }
    }

    /// Adds all nodes in their order (`LD-9`).
    fn nodes<'n>(
        &mut self,
        graph: &Graph,
        nodes: &'n [Value],
        shared: &Arc<Shared>,
        library: &mut Library,
        notes: &mut Notes,
    ) -> Vec<(usize, &'n Map, NodePlan)> {
        let mut plans = Vec::with_capacity(nodes.len());
        for (index, node) in nodes.iter().enumerate() {
            let named = self.at_node(index, |loader| loader.node_name(node));
            let (Some(name), Value::Map(map)) = (self.report(named), node) else { continue };
            let plan = self.at_node(index, |loader| loader.node(map, &name));
            // A node with a problem stays as an empty one, so that its name is known to the checks behind it.
            let mut plan = self.report(plan).unwrap_or_else(|| NodePlan::empty(&name));
            let program = plan.kind.take().map(|kind| {
                let guard = plan.guard.clone();
                Arc::new(NodeProgram(Arc::new(Node { kind, guard, shared: Arc::clone(shared) })))
            });
            let action = match &program {
                Some(program) => Action::Program(Arc::<NodeProgram>::clone(program)),
                None => Action::None,
            };
            if let Err(error) = graph.add_node(&name, action) {
                let problem: Box<Problem> = error.into();
                self.report::<()>(Err(problem.under("name").item(index).under("nodes")));
                continue;
            }
            let number = program.map(|program| {
                library.programs.push(program as Arc<dyn Program>);
                library.programs.len() - 1
            });
            match plan.interrupt {
                Some(When::Before) => notes.interrupt_before.push(name.to_string()),
                Some(When::After) => notes.interrupt_after.push(name.to_string()),
                None => {}
            }
            notes.nodes.push(NodeNote {
                name,
                program: number,
                fan_in: plan.fan_in,
                interrupt: plan.interrupt,
            });
            plans.push((index, &**map, plan));
        }
        plans
    }

    /// Interrupts and where checkpoints go (`CK-1`, `CK-2`).
    fn compile(&mut self, graph: &Graph, run: &Map, notes: &mut Notes, context: &Context) -> Checked<()> {
        for (key, names) in [
            ("interrupt_before", &mut notes.interrupt_before),
            ("interrupt_after", &mut notes.interrupt_after),
        ] {
            match run.get(key) {
                None | Some(Value::Null) => {}
                Some(Value::List(given)) => names.extend(given.iter().map(text)),
                Some(Value::Str(name)) => names.push(name.to_string()),
                Some(other) => {
                    let problem = format!("'{key}' is a list of nodes, not {}", other.type_name());
                    return Err(Problem::of("TypeError", problem).under(key).under("config"));
                }
            }
        }
        let interrupts = !(notes.interrupt_before.is_empty() && notes.interrupt_after.is_empty());
        let directory = run.get("checkpoint_dir").filter(|directory| directory.is_truthy()).map(text);
        let mut store = self.options.store.clone();
        if store.is_none()
            && let Some(directory) = &directory
        {
            store = Store::Directory(self.relative_to_work(directory));
        }
        if store.is_none() && interrupts && self.dry {
            store = Store::Host;
        }
        if store.is_none() && interrupts {
            let made = tempfile::Builder::new().prefix("tea_checkpoint_").tempdir();
            let made = made.map_err(|error| {
                Problem::of("OSError", format!("cannot make a directory for checkpoints: {error}"))
            })?;
            store = Store::Directory(made.keep());
        }
        let shown = match (&directory, &store) {
            (Some(directory), _) => directory.clone(),
            (None, Store::Directory(path)) => path.display().to_string(),
            (None, _) => String::new(),
        };
        context.change(|roots| roots.checkpoint = crate::map! { "dir" => shown, "last" => "" });
        let options = CompileOptions {
            interrupt_before: notes.interrupt_before.clone(),
            interrupt_after: notes.interrupt_after.clone(),
            store,
            step_limit: None,
        };
        graph.compile(options).map_err(|error| Box::<Problem>::from(error).under("config"))
    }

    /// Checkpoint directories count from the working directory, as in the reference.
    fn relative_to_work(&self, path: &str) -> PathBuf {
        PathBuf::from(path)
    }
}

/// Results of work in a node.
pub(super) trait AtNode {
    fn in_node(self, index: usize) -> Self;
}

impl AtNode for () {
    fn in_node(self, _: usize) {}
}

impl<T> AtNode for Checked<T> {
    fn in_node(self, index: usize) -> Self {
        self.map_err(|problem| problem.item(index).under("nodes"))
    }
}
