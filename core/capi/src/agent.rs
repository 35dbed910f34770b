//! Agents described in YAML, and the template language by itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tea_core::actions::Registry;
use tea_core::agent::{Agent, AgentError, LoadOptions};
use tea_core::checkpoint::Store;
use tea_core::host::{Host, LogLevel};
use tea_core::run::Scene;
use tea_core::template::{Condition, Dialect, Jinja, Root, Scope, Template, TemplateEngine, TemplateError};
use tea_core::value::{Map, Value};

use crate::cursor::lent_state;
use crate::engine::{Shared, tea_engine};
use crate::error::{Failed, tea_error};
use crate::graph::{expected, flag, names, tea_graph};
use crate::guard::{guarded, handle, output};
use crate::host::TableHost;
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// What was compiled so far. A host that makes up texts endlessly must not fill the memory.
#[derive(Default)]
pub(crate) struct Compiled {
    /// By whether they give a text in any case.
    templates: Mutex<HashMap<(bool, String), Arc<Template>>>,
    conditions: Mutex<HashMap<(bool, String), Arc<Condition>>>,
}

const MOST_COMPILED: usize = 4096;

fn compiled<K: std::hash::Hash + Eq, T>(
    cache: &Mutex<HashMap<K, Arc<T>>>,
    key: K,
    compile: impl FnOnce(&K) -> Result<T, TemplateError>,
) -> Result<Arc<T>, TemplateError> {
    let found = cache.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
    if let Some(found) = found {
        return Ok(found);
    }
    let made = Arc::new(compile(&key)?);
    let mut cache = cache.lock().unwrap_or_else(PoisonError::into_inner);
    if cache.len() >= MOST_COMPILED {
        cache.clear();
    }
    cache.insert(key, Arc::clone(&made));
    Ok(made)
}

impl From<TemplateError> for Failed {
    fn from(error: TemplateError) -> Self {
        let mut failed = Failed::new(TEA_ERR_TEMPLATE, error.to_string());
        error.class().clone_into(&mut failed.class);
        failed
    }
}

/// What a scope given as JSON says.
struct Given {
    roots: Arc<Map>,
    strict: bool,
    text: bool,
    env: bool,
    plain: bool,
}

impl Given {
    /// # Safety
    /// `json` is valid text.
    unsafe fn read(json: tea_str, engine: &Shared) -> Result<Self, Failed> {
        // SAFETY: the caller's promise.
        let json = unsafe { json.bytes("scope") }?;
        let given = if json.is_empty() {
            Arc::default()
        } else {
            match Value::from_json_with(json, &engine.references)? {
                Value::Map(map) => map,
                _ => return Err(Failed::new(TEA_ERR_JSON, "a scope is a JSON map")),
            }
        };
        let known = ["roots", "strict", "text", "env", "plain"];
        if let Some(key) = given.keys().find(|key| key.as_str().is_none_or(|key| !known.contains(&key))) {
            let key = tea_core::value::text(key.value());
            let message = format!("unknown key '{key}' of a scope; known are {}", known.join(", "));
            return Err(Failed::new(TEA_ERR_ARGUMENT, message));
        }
        let roots = match given.get("roots") {
            None | Some(Value::Null) => Arc::default(),
            Some(Value::Map(map)) => Arc::clone(map),
            Some(_) => return Err(Failed::new(TEA_ERR_ARGUMENT, "the roots of a scope are a map")),
        };
        let env = !given.contains_key("env") || flag(&given, "env")?;
        let (strict, text) = (flag(&given, "strict")?, flag(&given, "text")?);
        Ok(Given { roots, strict, text, env, plain: flag(&given, "plain")? })
    }

    fn scope<'a>(&'a self, host: Option<&'a Arc<TableHost>>) -> Scope<'a> {
        let mut scope = Scope::new().strict(self.strict);
        if self.env {
            scope.set("env", Root::Env);
        }
        for (name, value) in self.roots.iter() {
            let Some(name) = name.as_str() else { continue };
            let root = match value {
                plain if self.plain => Root::Plain(plain),
                Value::Map(map) => Root::Map(map),
                Value::Host(object) => Root::Host(object),
                other => Root::Value(other),
            };
            scope.set(name, root);
        }
        match host {
            Some(host) => scope.host(&**host),
            None => scope,
        }
    }
}

/// Gives references back to the host on the way out, whatever the outcome.
struct Releasing<'a>(Option<&'a Arc<TableHost>>);

impl Drop for Releasing<'_> {
    fn drop(&mut self) {
        if let Some(host) = self.0
            && host.has_released()
        {
            host.release();
        }
    }
}

/// Renders a template and hands out the result as JSON: the value of a template that is a single expression, the
/// text of any other. References to objects of the host in the result stay valid until the next call of this kind on
/// the same thread. `scope` is a JSON map:
/// `roots` (map of the names that the template sees; a map or an object of the host among them answers null for a
/// missing key), `env` (true: the name `env` is the environment of the process), `strict` (false: an ordinary
/// failure in a single expression gives the text of the template), `text` (false; true: the text also of a single
/// expression), `plain` (false; true: roots are plain maps, whose missing keys are undefined). Compiled templates are
/// kept.
///
/// Errors: TEA_ERR_TEMPLATE, with the class of the exception that the reference raises.
///
/// # Safety
/// `engine` is a live engine, the texts are valid, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_template_render(
    engine: *const tea_engine,
    template: tea_str,
    scope: tea_str,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        tea_buffer::check(out)?;
        let engine = &handle(engine, "engine")?.0;
        let source = template.text("template")?;
        let host = engine.table_host();
        let _releasing = Releasing(host.as_ref());
        let given = Given::read(scope, engine)?;
        let template = compiled(
            &engine.compiled.templates,
            (given.text, source.to_owned()),
            |(text, source)| match text {
                true => Jinja.compile_text(source),
                false => Jinja.compile(source),
            },
        )?;
        let warn = |error: &TemplateError| warn(host.as_ref(), source, error);
        let scope = given.scope(host.as_ref()).warn(&warn);
        let value = if given.text {
            Value::from(Jinja.render_text(&template, &scope)?)
        } else {
            Jinja.render(&template, &scope)?
        };
        give(out, value)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Evaluates a condition: 1 if it is true, 0 if not, or a status below 0. `dialect` 0: of
/// edges and loops, where the truth of the value decides and a bare name is a key of `state`; 1: of goto rules, where
/// the text of the result decides and an error is false. `scope` as for tea_template_render.
///
/// # Safety
/// `engine` is a live engine, the texts are valid, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_condition_eval(
    engine: *const tea_engine,
    condition: tea_str,
    dialect: u32,
    scope: tea_str,
    err: *mut *mut tea_error,
) -> i64 {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let engine = &handle(engine, "engine")?.0;
        let source = condition.text("condition")?;
        let dialect = match dialect {
            0 => Dialect::Edge,
            1 => Dialect::Goto,
            other => return Err(Failed::new(TEA_ERR_ARGUMENT, format!("dialect is 0 or 1, not {other}"))),
        };
        let host = engine.table_host();
        let _releasing = Releasing(host.as_ref());
        let given = Given::read(scope, engine)?;
        let key = (dialect == Dialect::Goto, source.to_owned());
        let condition =
            compiled(&engine.compiled.conditions, key, |(_, source)| Condition::compile(source, dialect))?;
        let warn = |error: &TemplateError| match dialect {
            Dialect::Edge => warn(host.as_ref(), source, error),
            Dialect::Goto => log(
                host.as_ref(),
                "the_edge_agent.yaml_edges",
                &format!("Failed to evaluate goto condition '{source}': {error}. Returning False."),
            ),
        };
        let scope = given.scope(host.as_ref()).warn(&warn);
        Ok(i64::from(condition.evaluate(&scope)?))
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

impl From<AgentError> for Failed {
    fn from(error: AgentError) -> Self {
        let mut failed = Failed::new(TEA_ERR_AGENT, error.to_string());
        failed.class = error.class;
        failed
    }
}

const LOAD_OPTIONS: [&str; 13] = [
    "text",
    "json",
    "base_dir",
    "host_actions",
    "languages",
    "overlays",
    "lua_enabled",
    "lua_timeout",
    "strict_templates",
    "secrets",
    "raw_parameters",
    "checkpointer",
    "detail",
];

fn text_option<'a>(options: &'a Map, key: &str) -> Result<Option<&'a str>, Failed> {
    match options.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Str(text)) => Ok(Some(text)),
        Some(other) => Err(expected(key, "a text", other)),
    }
}

fn load_options(options: &Map, engine: &Shared) -> Result<LoadOptions, Failed> {
    let default = LoadOptions::default();
    let overlays = match options.get("overlays") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::List(items)) => items.to_vec(),
        Some(other) => return Err(expected("overlays", "a list of maps", other)),
    };
    let lua_timeout = match options.get("lua_timeout") {
        None | Some(Value::Null) => default.lua_timeout,
        Some(Value::Int(seconds)) => *seconds as f64,
        Some(Value::Float(seconds)) => *seconds,
        Some(other) => return Err(expected("lua_timeout", "a number of seconds", other)),
    };
    let mut raw_parameters = HashMap::new();
    match options.get("raw_parameters") {
        None | Some(Value::Null) => {}
        Some(Value::Map(actions)) => {
            for key in actions.keys() {
                let name = tea_core::value::text(key.value());
                raw_parameters.insert(name.clone(), names(actions, &name)?);
            }
        }
        Some(other) => return Err(expected("raw_parameters", "a map of lists of names", other)),
    }
    Ok(LoadOptions {
        host_actions: flag(options, "host_actions")?,
        languages: names(options, "languages")?.into_iter().map(Arc::from).collect(),
        overlays,
        lua_enabled: flag(options, "lua_enabled")?,
        lua_timeout,
        strict_templates: match options.get("strict_templates") {
            None | Some(Value::Null) => None,
            Some(_) => Some(flag(options, "strict_templates")?),
        },
        secrets: options.get("secrets").filter(|secrets| **secrets != Value::Null).cloned(),
        raw_parameters,
        store: match text_option(options, "checkpointer")? {
            None => Store::None,
            Some("memory") => Store::Memory(Arc::clone(&engine.memory)),
            Some(_) => {
                return Err(Failed::new(
                    TEA_ERR_ARGUMENT,
                    "option 'checkpointer': \"memory\" or null is expected",
                ));
            }
        },
        ..default
    })
}

/// Loads an agent. `source` is the path of a YAML file; with the option `text` the YAML text itself; with `json` the
/// document as JSON (objects of the host in it are handed over). `options` is a JSON map or empty: `text`, `json`
/// (false), `base_dir` (null: against which relative paths count), `host_actions` (false: TEA_ITEM_REQUEST asks the
/// host for every action first), `languages` (list of the languages of code that the host runs: "python",
/// "python-expression"), `overlays` (list of maps, merged over the agent), `lua_enabled` (false: code without
/// `language` may be Lua), `lua_timeout` (30, in seconds), `strict_templates` (null: as the agent says), `secrets` (a
/// map, or null), `raw_parameters` (map: parameters that actions of the host get as they are written),
/// `checkpointer` ("memory", or null: a directory if the agent has interrupts), `detail` (false; true: the message of
/// an error names file, line, column and the path in the document).
///
/// The graph is an ordinary one, ready to run. `info` (may be NULL) receives a JSON map that describes the agent:
/// `name`, `nodes` (`name`, number of the `program` or null, `fan_in`, `interrupt`), `edges` (`from`, `to`, number of
/// the `condition` or null, `fan_in`), `interrupt_before`, `interrupt_after`, `config` (the whole document),
/// `warnings`, and more. A program or condition with number n is -2 - n in tea_graph_describe.
///
/// Errors: TEA_ERR_AGENT with the class that the reference raises.
///
/// # Safety
/// `engine` is a live engine, the texts are valid, `out` writable, `info` NULL or a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_agent_load(
    engine: *const tea_engine,
    source: tea_str,
    options: tea_str,
    out: *mut *mut tea_graph,
    info: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let engine = Arc::clone(&handle(engine, "engine")?.0);
        let source = source.text("source")?;
        let given = crate::graph::options(options, &LOAD_OPTIONS)?;
        let load = load_options(&given, &engine)?;
        let base_dir = text_option(&given, "base_dir")?.map(Path::new);
        let loaded = if flag(&given, "json")? {
            let value = Value::from_json_with(source.as_bytes(), &engine.references)?;
            Agent::load_value(value, base_dir, &load)
        } else if flag(&given, "text")? {
            Agent::load_text(source, base_dir, &load)
        } else {
            Agent::load_file(source, &load)
        };
        let agent = match loaded {
            Ok(agent) => agent,
            Err(error) => {
                let detail = flag(&given, "detail")?.then(|| error.detail());
                let mut failed = Failed::from(error);
                if let Some(detail) = detail {
                    failed.message = detail;
                }
                return Err(failed);
            }
        };
        output(out, "graph", || {
            if !info.is_null() {
                give(info, agent.info())?;
            }
            Ok(tea_graph::made(Arc::clone(agent.graph()), engine, Some(Arc::clone(agent.context()))))
        })?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Replaces roots of what the templates of an agent see, also while it runs: a JSON map with any of `variables`,
/// `secrets`, `data`, `checkpoint` (map of `dir` and `last`), `llm_settings`. A root is a map, or an object of the host,
/// which is then read each time it is used.
///
/// # Safety
/// `graph` is a live graph made by tea_agent_load, `roots` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_agent_context(
    graph: *const tea_graph,
    roots: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = &handle(graph, "graph")?.0;
        let Some(context) = &graph.context else {
            return Err(Failed::new(TEA_ERR_ARGUMENT, "the graph is no agent's (tea_agent_load)"));
        };
        let Value::Map(roots) = Value::from_json_with(roots.bytes("roots")?, &graph.engine.references)?
        else {
            return Err(Failed::new(TEA_ERR_JSON, "the roots are a JSON map"));
        };
        for (key, value) in roots.iter() {
            let name = tea_core::value::text(key.value());
            if !matches!(value, Value::Map(_) | Value::Host(_)) {
                return Err(expected(&name, "a map or an object of the host", value));
            }
            if !context.set(&name, value.clone()) {
                return Err(Failed::new(TEA_ERR_ARGUMENT, format!("there is no root '{name}'")));
            }
        }
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Evaluates a condition of an agent by its number, over a live state that the host keeps alive: 1 or 0, or a status
/// below 0.
///
/// # Safety
/// `graph` is a live graph made by tea_agent_load, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_agent_choose(
    graph: *const tea_graph,
    condition: u32,
    state: u64,
    err: *mut *mut tea_error,
) -> i64 {
    let body = || {
        // SAFETY: the caller's promise.
        let graph = &unsafe { handle(graph, "graph") }?.0;
        let library = graph.graph.library();
        let Some(condition) = library.conditions.get(condition as usize) else {
            let message = format!("{condition} is not the number of a condition");
            return Err(Failed::new(TEA_ERR_UNKNOWN_ID, message));
        };
        let Some(host) = graph.engine.table_host() else {
            return Err(Failed::new(TEA_ERR_ARGUMENT, "a live state needs a host (tea_engine_set_host)"));
        };
        let _releasing = Releasing(Some(&host));
        let scene = Scene {
            node: "".into(),
            state: lent_state(state, &host)?,
            config: Arc::default(),
            host: Some(host.clone()),
            update: Value::Null,
            slots: Arc::default(),
            observer: None,
        };
        let value = condition.choose(&scene).map_err(|failure| {
            let mut failed = Failed::new(TEA_ERR_TEMPLATE, failure.text);
            failed.class = failure.class;
            failed
        })?;
        Ok(i64::from(value.is_truthy()))
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The actions that the engine does itself, as a JSON map: names, and the parameters that each gets as they are
/// written (see `raw_parameters` of tea_agent_load).
///
/// # Safety
/// `engine` is a live engine, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_engine_actions(
    engine: *const tea_engine,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        handle(engine, "engine")?;
        let registry = Registry::core();
        let mut actions = Map::new();
        for name in registry.names() {
            let raw = registry.raw_parameters(name).iter().map(|name| Value::from(*name)).collect();
            actions.insert(name.into(), Value::list(raw));
        }
        tea_buffer::put(out, Value::map(actions).to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

fn log(host: Option<&Arc<TableHost>>, target: &str, text: &str) {
    if let Some(host) = host {
        host.log(LogLevel::Warning, target, text);
    }
}

fn warn(host: Option<&Arc<TableHost>>, source: &str, error: &TemplateError) {
    let text = format!(
        "'{}': {}. The text of the template is used as its value; settings.strict_templates: true makes this an \
         error.",
        source.trim(),
        error.detail()
    );
    log(host, "the_edge_agent.yaml_engine", &text);
}

thread_local! {
    /// The last value that this thread was given: keeps the references in it, which the caller has yet to look up.
    static GIVEN: RefCell<Value> = const { RefCell::new(Value::Null) };
}

/// Hands a value to the host as JSON. References in it stay valid until the next call of the thread.
///
/// # Safety
/// `out` is a buffer.
unsafe fn give(out: *mut tea_buffer, value: Value) -> Result<(), Failed> {
    // SAFETY: the caller's promise.
    unsafe { tea_buffer::put(out, value.to_json()) }?;
    if matches!(value, Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_)) {
        return Ok(());
    }
    let before = GIVEN.with(|given| given.replace(value));
    drop(before);
    Ok(())
}
