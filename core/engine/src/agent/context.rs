//! What all programs of an agent share: the roots that its templates see, and its settings.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use crate::host::LogLevel;
use crate::run::{Scene, Slots};
use crate::state::State;
use crate::template::{Root, Scope, TemplateError};
use crate::value::{Map, Value};

/// The roots of templates besides the state. Each is a map, or a live object of the host.
#[derive(Debug, Clone)]
pub struct Roots {
    /// `variables`.
    pub variables: Value,
    /// `secrets`. Their values show in no log record and no error.
    pub secrets: Value,
    /// `data`.
    pub data: Value,
    /// `checkpoint`: a map of `dir` and `last`, empty texts where there is none (`CK-3`).
    pub checkpoint: Value,
    /// What calls of language models get besides their own parameters (`ST-5`).
    pub llm_settings: Value,
}

impl Default for Roots {
    fn default() -> Self {
        let empty = || Value::map(Map::new());
        Roots {
            variables: empty(),
            secrets: empty(),
            data: empty(),
            checkpoint: crate::map! { "dir" => "", "last" => "" },
            llm_settings: empty(),
        }
    }
}

/// Shared by all programs of an agent. A host may replace a root at any time; what runs then sees it at its next
/// template.
#[derive(Debug)]
pub struct Context {
    roots: RwLock<Arc<Roots>>,
    /// A failure in a single expression is an error instead of the text of the template (`yaml/Q-1`).
    pub strict_templates: bool,
    /// The agent as it was loaded: all sections, overlays merged.
    pub config: Arc<Map>,
    /// The directory of the agent's file, against which relative paths count.
    pub base_dir: Option<PathBuf>,
    /// The name of the agent, if it has one.
    pub name: Option<Arc<str>>,
}

impl Context {
    pub(super) fn new(
        config: Arc<Map>,
        base_dir: Option<&Path>,
        strict_templates: bool,
        roots: Roots,
    ) -> Self {
        let name = config.get("name").and_then(Value::as_str).map(Arc::from);
        Context {
            roots: RwLock::new(Arc::new(roots)),
            strict_templates,
            config,
            base_dir: base_dir.map(Path::to_owned),
            name,
        }
    }

    /// The roots as they are now.
    pub fn roots(&self) -> Arc<Roots> {
        Arc::clone(&self.roots.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the roots, for everything that is evaluated from now on.
    pub fn change(&self, change: impl FnOnce(&mut Roots)) {
        change(Arc::make_mut(&mut self.roots.write().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Replaces one root by its name. False if there is no root of that name.
    pub fn set(&self, name: &str, value: Value) -> bool {
        let mut known = true;
        self.change(|roots| match name {
            "variables" => roots.variables = value,
            "secrets" => roots.secrets = value,
            "data" => roots.data = value,
            "checkpoint" => roots.checkpoint = value,
            "llm_settings" => roots.llm_settings = value,
            _ => known = false,
        });
        known
    }

    /// The section of `settings` with that name.
    pub fn setting(&self, name: &str) -> Option<&Value> {
        self.config.get("settings")?.as_map()?.get(name)
    }

    /// What the templates of a scene see.
    pub(super) fn view(&self, scene: &Scene) -> View {
        let state = match &scene.state {
            State::Core(cell) => Value::Map(cell.map()),
            State::Host { object, .. } => Value::Host(object.clone()),
        };
        View { roots: self.roots(), state }
    }
}

/// The values behind one scope.
pub(super) struct View {
    pub(super) roots: Arc<Roots>,
    pub(super) state: Value,
}

fn root(value: &Value) -> Root<'_> {
    match value {
        Value::Map(map) => Root::Map(map),
        Value::Host(object) => Root::Host(object),
        other => Root::Value(other),
    }
}

impl View {
    /// The scope of parameters, outputs, code and edge conditions (templates.md 18).
    pub(super) fn scope<'a>(&'a self, context: &Context, scene: &'a Scene) -> Scope<'a> {
        let mut scope = Scope::new()
            .with("state", root(&self.state))
            .with("variables", root(&self.roots.variables))
            .with("secrets", root(&self.roots.secrets))
            .with("data", root(&self.roots.data))
            .with("env", Root::Env)
            .with("checkpoint", root(&self.roots.checkpoint))
            .strict(context.strict_templates);
        if let Some(host) = &scene.host {
            scope = scope.host(&**host);
        }
        scope
    }

    /// The scope of goto rules (`GC-4`). `update` is what the node returned (`yaml/Q-7`).
    pub(super) fn goto_scope<'a>(&'a self, scene: &'a Scene, empty: &'a Map) -> Scope<'a> {
        let result = match &scene.update {
            Value::Null => Root::Map(empty),
            update => root(update),
        };
        let mut scope = Scope::new()
            .with("state", root(&self.state))
            .with("result", result)
            .with("variables", root(&self.roots.variables))
            .with("secrets", root(&self.roots.secrets))
            .with("env", Root::Env);
        if let Some(host) = &scene.host {
            scope = scope.host(&**host);
        }
        scope
    }

    /// The scope of what is rendered at load, where there is no state yet (`ST-2`).
    pub(super) fn load_scope(&self) -> Scope<'_> {
        Scope::new()
            .with("state", root(&self.state))
            .with("variables", root(&self.roots.variables))
            .with("secrets", root(&self.roots.secrets))
            .with("data", root(&self.roots.data))
            .with("env", Root::Env)
            .with("checkpoint", root(&self.roots.checkpoint))
    }

    /// A view without a state, for loading.
    pub(super) fn bare(roots: &Roots) -> View {
        View { roots: Arc::new(roots.clone()), state: Value::map(Map::new()) }
    }

    /// Carries over what templates changed in place.
    pub(super) fn keep_changes(scope: &Scope<'_>, context: &Context, scene: &Scene) {
        for (name, value) in scope.take_changed() {
            match (name.as_str(), value) {
                ("state", Value::Map(map)) => scene.state.replace(map),
                (name, value) => {
                    context.set(name, value);
                }
            }
        }
    }
}

/// The warnings that a flow has already given.
#[derive(Debug, Default)]
struct Warned(std::sync::Mutex<std::collections::HashSet<String>>);

/// Warns that an expression gave its own text because it failed: once for each expression and flow
/// (`yaml/Q-1`).
pub(super) fn warn_once(slots: &Slots, scene: &Scene, what: &str, error: &TemplateError) {
    if !scene.is_observed() {
        return;
    }
    let text = format!(
        "Node '{}', {what}: {}. The text of the template is used as its value; settings.strict_templates: true \
         makes this an error.",
        scene.node,
        error.detail()
    );
    let warned = slots.get(Warned::default);
    if warned.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text.clone()) {
        scene.log(LogLevel::Warning, "the_edge_agent.yaml_engine", &text);
    }
}
