//! The section `settings`, as far as the engine reads it.

use std::sync::Arc;

use super::context::{Roots, View};
use super::problem::{Checked, Problem, Within};
use crate::template::{Jinja, TemplateEngine};
use crate::value::{Map, Value};

/// Keys of `settings.llm` that calls of language models get (`AC-20`).
const LLM_KEYS: &[&str] = &[
    "provider",
    "temperature",
    "api_base",
    "timeout",
    "max_retries",
    "backend",
    "n_gpu_layers",
    "n_ctx",
    "n_threads",
    "model_path",
    "chat_format",
];

/// The section, empty where there is none.
pub(super) fn section<'a>(config: &'a Map, key: &str, empty: &'a Map) -> Checked<&'a Map> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(empty),
        Some(Value::Map(map)) => Ok(map),
        Some(other) => {
            Err(Problem::of("AttributeError", format!("'{key}' is a map, not {}", other.type_name()))
                .under(key))
        }
    }
}

/// What `settings.llm` gives to calls of language models (`ST-1` to `ST-3`). Texts are rendered now, over an
/// empty state.
pub(super) fn llm_settings(settings: &Map, roots: &Roots) -> Checked<Map> {
    let Some(Value::Map(llm)) = settings.get("llm") else { return Ok(Map::new()) };
    let mut out = Map::new();
    let view = View::bare(roots);
    let rendered = |key: &str, value: &Value| -> Checked<Value> {
        let Value::Str(text) = value else { return Ok(value.clone()) };
        let render = || {
            let template = Jinja.compile(text)?;
            Jinja.render(&template, &view.load_scope())
        };
        render().map_err(Box::<Problem>::from).under(key).under("llm").under("settings")
    };
    let model = llm.get_key_value("deployment").or_else(|| llm.get_key_value("model"));
    if let Some((key, model)) = model {
        let key = key.as_str().unwrap_or("model");
        out.insert("model".into(), rendered(key, model)?);
    }
    for key in LLM_KEYS {
        if let Some(value) = llm.get(*key) {
            out.insert((*key).into(), rendered(key, value)?);
        }
    }
    Ok(out)
}

/// Programs on the command line that answer as language models (`ST-4`), their texts rendered.
pub(super) fn shell_providers(settings: &Map, roots: &Roots) -> Checked<Map> {
    let providers = settings.get("llm").and_then(Value::as_map).and_then(|llm| llm.get("shell_providers"));
    let Some(Value::Map(providers)) = providers else { return Ok(Map::new()) };
    let view = View::bare(roots);
    let render = |value: &Value| -> Checked<Value> {
        let Value::Str(text) = value else { return Ok(value.clone()) };
        let template = Jinja.compile(text)?;
        Ok(Jinja.render(&template, &view.load_scope())?)
    };
    let mut out = Map::new();
    for (name, provider) in providers.iter() {
        let Value::Map(provider) = provider else { continue };
        let mut entries = Map::new();
        for (key, value) in provider.iter() {
            let value = match value {
                Value::List(items) => items.iter().map(render).collect::<Checked<Vec<_>>>().map(Value::list),
                Value::Map(map) => map
                    .iter()
                    .map(|(key, value)| Ok((key.clone(), render(value)?)))
                    .collect::<Checked<Map>>()
                    .map(Value::map),
                other => render(other),
            };
            let key_text = crate::value::text(key.value());
            let value = value.under(&key_text).under("shell_providers").under("llm").under("settings")?;
            entries.insert(key.clone(), value);
        }
        out.insert(name.clone(), Value::map(entries));
    }
    Ok(out)
}

/// A value with `${NAME}` and `${NAME:-default}` in its texts replaced from the environment (`ST-20`).
pub(super) fn expand_env(value: &Value) -> Value {
    match value {
        Value::Str(text) if text.contains("${") => Value::from(expand_text(text)),
        Value::List(items) => Value::list(items.iter().map(expand_env).collect()),
        Value::Map(map) => {
            Value::map(map.iter().map(|(key, value)| (key.clone(), expand_env(value))).collect::<Map>())
        }
        other => other.clone(),
    }
}

fn expand_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let end = after.find('}').unwrap_or(after.len());
        let (inside, behind) = after.split_at(end);
        let (name, default) = match inside.split_once(':') {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        // `${NAME:x}` without the dash, an empty name and a missing brace are ordinary text.
        let default = match default {
            None => Some(""),
            Some(default) => default.strip_prefix('-'),
        };
        match (default, behind.strip_prefix('}')) {
            (Some(default), Some(behind)) if !name.is_empty() => {
                match std::env::var(name) {
                    Ok(value) => out.push_str(&value),
                    Err(_) => out.push_str(default),
                }
                rest = behind;
            }
            _ => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// What `settings.secrets` names, if the engine can read it: the backend `env` (`SE-1`, `SE-2`). The other
/// backends are the host's. `Err` is the text of a warning.
pub(super) fn secrets(settings: &Map) -> Option<Result<Map, String>> {
    let section = settings.get("secrets").filter(|section| section.is_truthy())?;
    let Value::Map(section) = expand_env(section) else {
        return Some(Err(format!("settings.secrets is a map, not {}", section.type_name())));
    };
    let backend = section.get("backend").map_or_else(|| "env".to_owned(), crate::value::text).to_lowercase();
    match backend.as_str() {
        "env" => {
            let own = section.get("env").and_then(Value::as_map);
            let prefix = match own {
                Some(own) => own.get("prefix"),
                None => section.get("prefix"),
            };
            let prefix = prefix.map(crate::value::text).unwrap_or_default();
            Some(Ok(environment(&prefix)))
        }
        "aws" | "azure" | "gcp" => None,
        _ => {
            let given = section.get("backend").map(crate::value::text).unwrap_or_default();
            Some(Err(format!(
                "Unknown secrets backend type: '{given}'. Available backends: env, aws, azure, gcp"
            )))
        }
    }
}

/// The variables of the environment that begin with a prefix, without it (`SE-11`).
fn environment(prefix: &str) -> Map {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter_map(|(name, value)| Some((Arc::from(name.strip_prefix(prefix)?), Value::from(value))))
        .map(|(name, value): (Arc<str>, Value)| (name.into(), value))
        .collect()
}
