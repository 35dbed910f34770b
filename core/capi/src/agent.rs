//! Agents described in YAML, and the template language by itself.

use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tea_core::host::{Host, LogLevel};
use tea_core::template::{
    Condition, Dialect, Jinja, Root, Scope, Template, TemplateEngine, TemplateError,
};
use tea_core::value::{Map, Value};

use crate::engine::{Shared, tea_engine};
use crate::error::{Failed, tea_error};
use crate::graph::flag;
use crate::guard::{guarded, handle};
use crate::host::TableHost;
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// What was compiled so far. A host that makes up texts endlessly must not fill the memory.
#[derive(Default)]
pub(crate) struct Compiled {
    templates: Mutex<HashMap<String, Arc<Template>>>,
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
        let known = ["roots", "strict", "text", "env"];
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
        Ok(Given { roots, strict: flag(&given, "strict")?, text: flag(&given, "text")?, env })
    }

    fn scope<'a>(&'a self, host: Option<&'a Arc<TableHost>>) -> Scope<'a> {
        let mut scope = Scope::new().strict(self.strict);
        if self.env {
            scope.set("env", Root::Env);
        }
        for (name, value) in self.roots.iter() {
            let Some(name) = name.as_str() else { continue };
            let root = match value {
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
/// expression). Compiled templates are kept.
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
        let template =
            compiled(&engine.compiled.templates, source.to_owned(), |source| Jinja.compile(source))?;
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
        let condition = compiled(&engine.compiled.conditions, key, |(_, source)| {
            Condition::compile(source, dialect)
        })?;
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
    let before = GIVEN.with(|given| given.replace(value));
    drop(before);
    Ok(())
}
