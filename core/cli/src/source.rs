//! What commands read: agents, overlays, input, secrets.

use std::io::Read;
use std::path::{Path, PathBuf};

use tea_engine::actions::json::{Fault, loads};
use tea_engine::agent::{Agent, AgentError, LoadOptions, merge_all};
use tea_engine::value::{Map, Value};
use tea_engine::yaml::{Limits, load};

use crate::failure::{Failure, Snippet};

/// Reads a file as text; a text in another encoding than UTF-8 is an error.
fn read_text(path: &Path, what: &str) -> Result<String, Failure> {
    let unreadable = |error: std::io::Error| {
        Failure::new(format!("Error: cannot read {what} {}: {error}", path.display()))
    };
    String::from_utf8(std::fs::read(path).map_err(unreadable)?)
        .map_err(|_| Failure::new(format!("Error: {what} {} is not UTF-8 text", path.display())))
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|suffix| suffix.eq_ignore_ascii_case("yaml") || suffix.eq_ignore_ascii_case("yml"))
}

/// The values of `--input` (`cli/CL-12`, `cli/CL-13`): JSON, `@FILE`, or `-` for JSON on the standard input.
pub(crate) fn input(given: Option<&str>) -> Result<Map, Failure> {
    let Some(given) = given else { return Ok(Map::new()) };
    match given.strip_prefix('@') {
        _ if given == "-" || given == "@-" => {
            let mut text = Vec::new();
            std::io::stdin()
                .read_to_end(&mut text)
                .map_err(|error| Failure::new(format!("Error: cannot read the standard input: {error}")))?;
            let text = String::from_utf8(text)
                .map_err(|_| Failure::new("Error: the standard input is not UTF-8 text"))?;
            let value = loads(&text).map_err(|fault| {
                Failure::new(format!("Error: Invalid JSON in standard input: {fault}"))
                    .at(Snippet::of_json("<stdin>", &text, &fault))
            })?;
            mapping(value, "Input must be a JSON object")
        }
        Some(path) => {
            let file = Path::new(path);
            if !file.exists() {
                return Err(Failure::new(format!("Error: Input file not found: {path}")));
            }
            let value = if is_yaml(file) {
                yaml(file).map_err(|error| match error {
                    Unreadable::Yaml(error) => {
                        Failure::new(format!("Error: Invalid YAML in input file: {error}"))
                            .at(Snippet::of_yaml(path, &error))
                    }
                    Unreadable::Io(error) => unreadable(file, &error),
                })?
            } else {
                let text = read_text(file, "input file")?;
                loads(&text).map_err(|fault| {
                    Failure::new(format!("Error: Invalid JSON in input file: {fault}"))
                        .at(Snippet::of_json(path, &text, &fault))
                })?
            };
            mapping(value, "Input must be a mapping/object")
        }
        None => {
            let value = loads(given).map_err(|fault| {
                Failure::new(format!("Error: Invalid JSON in --input: {fault}"))
                    .at(Snippet::of_json("--input", given, &fault))
            })?;
            mapping(value, "Input must be a JSON object")
        }
    }
}

fn mapping(value: Value, what: &str) -> Result<Map, Failure> {
    match value {
        Value::Map(map) => Ok(Map::clone(&map)),
        other => Err(Failure::new(format!("Error: {what}, got {}", other.type_name()))),
    }
}

/// The secrets of `--secrets`, then those of the environment (`cli/CL-15`, `cli/CL-16`). Errors show no text of
/// theirs.
pub(crate) fn secrets(given: Option<&str>, prefix: Option<&str>) -> Result<Map, Failure> {
    let mut secrets = Map::new();
    if let Some(given) = given.filter(|given| !given.is_empty()) {
        let invalid =
            |place: &str, fault: &Fault| Failure::new(format!("Error: Invalid JSON in {place}: {fault}"));
        let value = match given.strip_prefix('@') {
            Some(path) => {
                let file = Path::new(path);
                if !file.exists() {
                    return Err(Failure::new(format!("Error: Secrets file not found: {path}")));
                }
                loads(&read_text(file, "secrets file")?).map_err(|fault| invalid("secrets file", &fault))?
            }
            None => loads(given).map_err(|fault| invalid("--secrets", &fault))?,
        };
        secrets = mapping(value, "Secrets must be a JSON object")?;
    }
    if let Some(prefix) = prefix.filter(|prefix| !prefix.is_empty()) {
        for (name, value) in environment(prefix) {
            secrets.insert(name.to_lowercase().as_str().into(), value.into());
        }
    }
    Ok(secrets)
}

/// The variables of the environment with a prefix, without it. Those with the prefix alone, and those that are no
/// text, are left out.
fn environment(prefix: &str) -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter_map(move |(name, value)| Some((name.strip_prefix(prefix)?.to_owned(), value)))
        .filter(|(name, _)| !name.is_empty())
}

/// The secrets of `--secrets-backend` (`cli/CL-32`).
pub(crate) fn backend(name: &str, options: Option<&str>) -> Result<Map, Failure> {
    let failed = |error: String| Failure::new(format!("Error: Failed to configure secrets backend: {error}"));
    let options = match options.filter(|options| !options.is_empty()) {
        None => Map::new(),
        Some(options) => {
            let value = loads(options).map_err(|fault| {
                Failure::new(format!("Error: Invalid JSON in --secrets-backend-opts: {fault}"))
            })?;
            mapping(value, "The options of the secrets backend must be a JSON object")?
        }
    };
    match name.to_lowercase().as_str() {
        "env" => {
            let prefix = options.get("prefix").map(tea_engine::value::text).unwrap_or_default();
            Ok(environment(&prefix).map(|(name, value)| (name.as_str().into(), value.into())).collect())
        }
        "aws" | "azure" | "gcp" | "vault" => {
            Err(failed(format!("the backend '{name}' is not available yet in this command; available: env")))
        }
        _ => Err(failed(format!("Unknown secrets backend type: '{name}'. Available backends: env"))),
    }
}

/// Why a file is no value.
pub(crate) enum Unreadable {
    /// The system refused.
    Io(std::io::Error),
    /// It is no YAML.
    Yaml(tea_engine::yaml::YamlError),
}

/// Reads a file as YAML.
pub(crate) fn yaml(path: &Path) -> Result<Value, Unreadable> {
    let text = std::fs::read(path).map_err(Unreadable::Io)?;
    load(&text, &Limits::default()).map_err(Unreadable::Yaml)
}

/// The system refused to read a file.
pub(crate) fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(format!("Error: cannot read {}: {error}", path.display()))
}

/// Reads the overlays (`cli/CL-28`).
pub(crate) fn overlays(paths: &[PathBuf]) -> Result<Vec<Value>, Failure> {
    let mut overlays = Vec::with_capacity(paths.len());
    for path in paths {
        let shown = path.display().to_string();
        if !path.exists() {
            let shown = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            return Err(Failure::new(format!("Error: Overlay file not found: {}", shown.display())));
        }
        match yaml(path) {
            Ok(Value::Null) => overlays.push(Value::map(Map::new())),
            Ok(overlay @ Value::Map(_)) => overlays.push(overlay),
            Ok(other) => {
                let kind = other.type_name();
                let text = format!("Error: Overlay YAML must be a mapping, got {kind} in {shown}");
                return Err(Failure::new(text));
            }
            Err(Unreadable::Io(error)) => return Err(unreadable(path, &error)),
            Err(Unreadable::Yaml(error)) => {
                let text = format!("Error: Invalid YAML in overlay file {shown}: {error}");
                return Err(Failure::new(text).at(Snippet::of_yaml(&shown, &error)));
            }
        }
    }
    Ok(overlays)
}

/// The base with the overlays over it, in order.
pub(crate) fn merged(file: &Path, overlays: &[Value]) -> Result<Value, Failure> {
    let shown = file.display();
    let base = match yaml(file) {
        Ok(base @ Value::Map(_)) => base,
        Ok(other) => {
            let kind = other.type_name();
            return Err(Failure::new(format!("Error: Base YAML must be a mapping, got {kind}")));
        }
        Err(Unreadable::Io(error)) => return Err(unreadable(file, &error)),
        Err(Unreadable::Yaml(error)) => {
            let text = format!("Error: Invalid YAML in base file {shown}: {error}");
            return Err(Failure::new(text).at(Snippet::of_yaml(&shown.to_string(), &error)));
        }
    };
    let values: Vec<Value> = std::iter::once(base).chain(overlays.iter().cloned()).collect();
    merge_all(&values).map_err(|error| Failure::new(format!("Error: cannot merge the overlays: {error}")))
}

/// Loads an agent; the failure shows the place of its first problem (`cli/CL-24` step 10).
pub(crate) fn agent(file: &Path, options: &LoadOptions) -> Result<Agent, Failure> {
    Agent::load_file(file, options).map_err(|error| load_failure(&error))
}

fn load_failure(error: &AgentError) -> Failure {
    let failure = Failure::new(format!("Error loading workflow: {error}"));
    let snippet = Snippet::of_problem(&error.problem);
    if snippet.is_none() && !error.problem.hint.is_empty() {
        return Failure::new(format!("{}\n = {}", failure.text, error.problem.hint));
    }
    failure.at(snippet)
}
