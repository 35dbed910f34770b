//! `validate.extraction`, `validate.generate_prompt`.

use std::io::Write;
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::files::storage::hex;
use super::json::{Style, dumps};
use super::{ActionCall, Registry, clock, failure, nested};
use crate::run::{Failure, Stop};
use crate::schema::extraction::{ExtractionSchema, rules};
use crate::schema::input::SchemaError;
use crate::template::{Jinja, Root, Scope, TemplateEngine};
use crate::value::{Map, Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry
        .add("validate.extraction", |call: ActionCall| -> crate::run::Running { Box::pin(extraction(call)) });
    registry.add_direct("validate.generate_prompt", generate_prompt);
    registry.alias("validate.extraction", "actions.validate_extraction");
    registry.alias("validate.generate_prompt", "actions.validate_generate_prompt");
}

fn raised(error: SchemaError) -> Stop {
    failure(error.class, error.message)
}

/// An argument, or else the agent's section (`actions/VX-11`).
fn configured(call: &ActionCall, argument: &str, section: &str) -> Value {
    let given = call.get(argument).filter(|value| value.is_truthy()).cloned();
    given.or_else(|| call.surroundings.section(section)).unwrap_or_default()
}

fn schema(call: &ActionCall) -> Result<Option<ExtractionSchema>, Stop> {
    match configured(call, "schema", "extraction_schema") {
        schema if schema.is_truthy() => ExtractionSchema::from_value(&schema).map(Some).map_err(raised),
        _ => Ok(None),
    }
}

/// `actions/VX-13`.
fn generate_prompt(call: &ActionCall) -> Result<Value, Stop> {
    let Some(schema) = schema(call)? else { return Ok(crate::map! { "extraction_prompt" => "" }) };
    let rules = rules(&configured(call, "constraints", "validation_constraints")).map_err(raised)?;
    Ok(crate::map! { "extraction_prompt" => schema.prompt(&rules, call.flag("confidence_tracking", false)) })
}

/// `actions/VX-10`, `actions/VX-11`.
async fn extraction(call: ActionCall) -> Result<Value, Stop> {
    let state = call.state()?;
    let from_state = |key: &str| state.as_map().and_then(|state| state.get(key)).cloned().unwrap_or_default();
    let given = |name: &str, key: &str| match call.get(name) {
        None | Some(Value::Null) => from_state(key),
        Some(value) => value.clone(),
    };
    let (entities, relationships) = (given("entities", "entities"), given("relationships", "relationships"));
    let source = given("source_text", "text");
    let items = |value: &Value| match value {
        Value::Null => Ok(Vec::new()),
        other => match other.as_list() {
            Some(items) => Ok(items.to_vec()),
            None => {
                let kind = other.type_name();
                Err(failure("TypeError", format!("entities and relationships are lists, not {kind}")))
            }
        },
    };
    let work = Work {
        call: &call,
        state: &state,
        source: &source,
        entities: items(&entities)?,
        relationships: items(&relationships)?,
    };
    let (stage, errors) = work.errors().await?;
    if !errors.is_empty() {
        let attempt = crate::map! { "entities" => entities, "relationships" => relationships };
        work.log(stage, &errors, attempt)?;
    }
    let (seconds, microseconds) = clock::now();
    Ok(crate::map! {
        "valid" => errors.is_empty(),
        "errors" => errors,
        "validated_at" => clock::iso(seconds, microseconds),
    })
}

struct Work<'w> {
    call: &'w ActionCall,
    state: &'w Value,
    source: &'w Value,
    entities: Vec<Value>,
    relationships: Vec<Value>,
}

impl Work<'_> {
    /// The errors of the first stage that has any, and its name.
    async fn errors(&self) -> Result<(&'static str, Vec<Value>), Stop> {
        if let Some(schema) = schema(self.call)? {
            let errors = schema.violations(&self.entities, &self.relationships).map_err(raised)?;
            if !errors.is_empty() {
                return Ok(("schema", errors));
            }
        }
        let rules = rules(&configured(self.call, "constraints", "validation_constraints")).map_err(raised)?;
        if !rules.trim().is_empty() {
            let message = "validation_constraints need Prolog, which this host does not have";
            return Ok(("prolog", vec![crate::map! { "type" => "prolog_error", "message" => message }]));
        }
        let probes = configured(self.call, "probes", "semantic_probes");
        let mut errors = Vec::new();
        for probe in probes.as_list().unwrap_or_default() {
            let Value::Map(probe) = probe else {
                return Err(failure("ValueError", "a semantic probe is a map with for_each and probe"));
            };
            if self.probe(probe, &mut errors).await? {
                break;
            }
        }
        Ok(("probe", errors))
    }

    /// Asks one probe of all its items (`actions/VX-3` to `actions/VX-7`). True: no further probe is asked.
    async fn probe(&self, probe: &Map, errors: &mut Vec<Value>) -> Result<bool, Stop> {
        let part = |name: &str| probe.get(name).cloned().unwrap_or_default();
        let items = match part("for_each").as_str() {
            Some("entity") => &self.entities,
            Some("relationship") => &self.relationships,
            _ => {
                let message = format!("Invalid for_each value: {}", text(&part("for_each")));
                errors.push(crate::map! { "type" => "invalid_probe_config", "message" => message });
                return Ok(false);
            }
        };
        let template = text(&part("probe"));
        let stops = probe.get("on_fail").is_none_or(|on_fail| on_fail.as_str() == Some("reject"));
        for item in items {
            let Value::Map(fields) = item else { continue };
            if part("where").is_truthy() && !self.wanted(fields, &text(&part("where"))) {
                continue;
            }
            let error = match self.question(fields, &template) {
                Err(error) => crate::map! {
                    "type" => "probe_render_error",
                    "message" => format!("Error rendering probe template: {error}"),
                    "probe" => template.as_str(),
                    "item" => item.clone(),
                },
                Ok(question) => match self.ask(&question).await? {
                    Ok(response) if is_affirmative(&response) => continue,
                    Ok(response) => crate::map! {
                        "type" => "semantic_probe_failed",
                        "probe" => template.as_str(),
                        "question" => question.as_str(),
                        "response" => response,
                        "item" => item.clone(),
                        "message" => format!("LLM probe failed: {question}"),
                    },
                    Err(message) => crate::map! {
                        "type" => "probe_execution_error",
                        "message" => message,
                        "probe" => template.as_str(),
                        "question" => question.as_str(),
                        "item" => item.clone(),
                    },
                },
            };
            errors.push(error);
            if stops {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Names are the item's fields.
    fn scope<'s>(&'s self, fields: &'s Map) -> Scope<'s> {
        let mut scope = Scope::new().strict(true);
        for (key, value) in fields {
            if let Some(name) = key.as_str() {
                scope.set(name, Root::Value(value));
            }
        }
        scope
    }

    /// Whether an item fits a probe's `where` (`actions/VX-4`, `yaml/EX-14`); what fails does not fit.
    fn wanted(&self, fields: &Map, condition: &str) -> bool {
        let Ok(template) = Jinja.compile(&format!("{{{{ {condition} }}}}")) else { return false };
        Jinja.render(&template, &self.scope(fields)).is_ok_and(|value| value.is_truthy())
    }

    fn question(&self, fields: &Map, template: &str) -> Result<String, String> {
        let template = Jinja.compile(template).map_err(|error| error.to_string())?;
        let scope =
            self.scope(fields).with("state", Root::Value(self.state)).with("text", Root::Value(self.source));
        Jinja.render_text(&template, &scope).map_err(|error| error.to_string())
    }

    /// The model's answer, empty if it gives none (`actions/VX-12`); an answer that is no text is an error.
    async fn ask(&self, question: &str) -> Result<Result<String, String>, Stop> {
        let settings = self.call.surroundings.section("llm_settings").unwrap_or_default();
        let setting = |in_state: &str, key: &str, default: &str| {
            let state = self.state.as_map().and_then(|state| state.get(in_state));
            let found = state.or_else(|| settings.as_map().and_then(|settings| settings.get(key)));
            found.filter(|value| value.is_truthy()).map_or_else(|| default.to_owned(), text)
        };
        let provider = setting("llm_provider", "provider", "ollama");
        let model = setting("llm_model", "model", "gemma3:4b");
        let model = match provider.as_str() {
            "auto" => model,
            "ollama" | "azure" | "openai" | "anthropic" => format!("{provider}/{model}"),
            _ if model.contains('/') => model,
            _ => format!("{provider}/{model}"),
        };
        let message = |role: &str, content: &str| crate::map! { "role" => role, "content" => content };
        let system = "You are a fact-checker. Answer with ONLY 'yes' or 'no'.";
        let messages = vec![message("system", system), message("user", question)];
        let arguments = crate::map! { "model" => model, "messages" => messages, "max_tokens" => 10 };
        let arguments = Arc::new(arguments.as_map().cloned().unwrap_or_default());
        let reply = match nested::run(self.call, &self.call.task, "llm.call", arguments).await {
            Some(Ok(reply)) => reply,
            Some(Err(Stop::Failed(Failure { fatal: false, .. }) | Stop::Respond(_))) | None => {
                Value::from("")
            }
            Some(Err(stop)) => return Err(stop),
        };
        let answer = match &reply {
            Value::Map(map) => {
                map.get("response").or_else(|| map.get("content")).unwrap_or(&Value::Str("".into())).clone()
            }
            other => other.clone(),
        };
        Ok(match answer {
            Value::Str(answer) => Ok(answer.to_string()),
            other => Err(format!("the answer is {}, not a text", other.type_name())),
        })
    }

    /// Appends a line to the log of failures, if there is one (`actions/VX-8`).
    fn log(&self, stage: &str, errors: &[Value], attempt: Value) -> Result<(), Stop> {
        let Value::Map(logging) = configured(self.call, "logging", "validation_logging") else {
            return Ok(());
        };
        let flag = |key: &str, default: bool| logging.get(key).map_or(default, Value::is_truthy);
        if !flag("enabled", false) || !flag("log_failures", true) {
            return Ok(());
        }
        let json = |value: &Value, style: &Style| {
            dumps(value, style, self.call.task.scene.host.as_deref())
                .map_err(|error| failure("TypeError", error))
        };
        let data = if self.source.is_truthy() { self.source } else { self.state };
        let sorted = Style { sort_keys: true, ..Style::default() };
        let hash: String = hex(&Sha256::digest(json(data, &sorted)?)).chars().take(16).collect();
        let (seconds, microseconds) = clock::now();
        let agent = self.call.get("agent_name").map_or_else(|| "unknown".to_owned(), text);
        let line = crate::map! {
            "timestamp" => clock::iso(seconds, microseconds),
            "agent_name" => agent,
            "input_hash" => hash,
            "failure_type" => stage,
            "context" => crate::map! { "errors" => errors.to_vec() },
            "extraction_attempt" => attempt,
        };
        let path = logging.get("log_path").map_or_else(|| "./validation_failures.jsonl".to_owned(), text);
        append(&with_environment(&path), &json(&line, &Style::default())?)
            .map_err(|error| failure("OSError", format!("the failure cannot be logged to '{path}': {error}")))
    }
}

fn append(path: &str, line: &str) -> std::io::Result<()> {
    let path = std::path::Path::new(path);
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)?;
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path)?;
    // One write, so that lines of several threads do not mix.
    file.write_all(format!("{line}\n").as_bytes())
}

/// `${NAME}` and `${NAME:-default}` replaced from the environment; names are upper-case.
fn with_environment(given: &str) -> String {
    let mut out = String::new();
    let mut rest = given;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inner, tail)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        let (name, default) = inner.split_once(":-").unwrap_or((inner, ""));
        let named = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if named {
            out.push_str(&std::env::var(name).unwrap_or_else(|_| default.to_owned()));
            rest = tail;
        } else {
            out.push_str("${");
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// Whether an answer says yes: its words decide, the negative ones first (`actions/VX-6`).
fn is_affirmative(answer: &str) -> bool {
    let lower = answer.to_lowercase();
    let words: Vec<&str> =
        lower.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let negative = words.iter().any(|word| matches!(*word, "no" | "false" | "incorrect" | "negative"))
        || words.windows(2).any(|pair| matches!(pair, ["not", "true" | "correct"]));
    let positive = ["yes", "true", "correct", "affirmative", "indeed"];
    !negative && words.iter().any(|word| positive.contains(word))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::json::loads;
    use super::super::testing::{End, alone, run, run_on};
    use super::super::{Alone, Surroundings};
    use super::*;

    /// Surroundings whose model gives these answers in turn, and notes what it was asked.
    fn model(answers: &'static [&'static str]) -> (Arc<dyn Surroundings>, Arc<Mutex<Vec<String>>>) {
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let notes = Arc::clone(&asked);
        let mut registry = Registry::core();
        registry.add("llm.call", move |call: ActionCall| -> crate::run::Running {
            let mut notes = notes.lock().unwrap();
            let reply = loads(answers.get(notes.len()).unwrap_or(&"{}")).unwrap();
            let question =
                call.get("messages").unwrap().as_list().unwrap()[1].as_map().unwrap()["content"].clone();
            notes.push(format!("{}: {}", text(call.get("model").unwrap()), text(&question)));
            Box::pin(async move { Ok(reply) })
        });
        (Arc::new(Alone { registry: Arc::new(registry), ..alone() }), asked)
    }

    fn kinds(result: &Value) -> Vec<String> {
        let errors = result.as_map().unwrap()["errors"].clone();
        errors.as_list().unwrap().iter().map(|error| text(&error.as_map().unwrap()["type"])).collect()
    }

    fn check(surroundings: &Arc<dyn Surroundings>, arguments: &str, state: &str) -> Value {
        let state = loads(state).unwrap().as_map().unwrap().clone();
        match run_on("validate.extraction", loads(arguments).unwrap(), state, Arc::clone(surroundings)) {
            End::Value(value) => value,
            other => panic!("{other:?}"),
        }
    }

    /// actions/VX-10, actions/VX-11: stages in turn, data from the state
    #[test]
    fn stages() {
        let (agent, asked) = model(&[]);
        let schema = r#""schema": {"entities": {"required_fields": ["name"]}}"#;
        let probes = r#""probes": [{"for_each": "entity", "probe": "?"}]"#;
        let state = r#"{"entities": [{"x": 1}]}"#;
        let bad = check(&agent, &format!("{{{schema}, {probes}}}"), state);
        assert_eq!(kinds(&bad), ["missing_required_field"]);
        assert!(asked.lock().unwrap().is_empty(), "no later stage runs");
        let rules = check(&agent, r#"{"constraints": {"rules": "a :- b."}}"#, state);
        assert_eq!(kinds(&rules), ["prolog_error"]);
        let good = check(&agent, &format!("{{{schema}, \"entities\": [{{\"name\": \"A\"}}]}}"), state);
        assert_eq!(good.as_map().unwrap()["valid"], Value::Bool(true));
        assert!(text(&good.as_map().unwrap()["validated_at"]).ends_with("+00:00"));
    }

    /// actions/VX-3 to actions/VX-7, actions/VX-12
    #[test]
    fn probes() {
        let entities = r#"{"entities": [{"type": "a", "n": 1}, {"type": "b", "n": 2}, {"type": "b", "n": 3}], "llm_provider": "openai", "llm_model": "m", "text": "T"}"#;
        let probe = |more: &str| {
            format!(
                r#"{{"probes": [{{"for_each": "entity", "probe": "Is {{{{ n }}}} in {{{{ text }}}}?"{more}}}]}}"#
            )
        };
        let (agent, asked) = model(&[r#"{"content": "Yes."}"#, r#"{"content": "no"}"#]);
        let done = check(&agent, &probe(r#", "where": "type == 'b'""#), entities);
        assert_eq!(kinds(&done), ["semantic_probe_failed"]);
        assert_eq!(*asked.lock().unwrap(), ["openai/m: Is 2 in T?", "openai/m: Is 3 in T?"]);
        let (agent, asked) = model(&["{}", r#"{"content": null}"#]);
        let done = check(&agent, &probe(r#", "on_fail": "warn""#), entities);
        assert_eq!(kinds(&done), ["semantic_probe_failed", "probe_execution_error", "semantic_probe_failed"]);
        assert_eq!(asked.lock().unwrap().len(), 3);
        let wrong = check(&agent, r#"{"probes": [{"for_each": "x", "probe": "?"}]}"#, entities);
        assert_eq!(kinds(&wrong), ["invalid_probe_config"]);
        let broken =
            check(&agent, r#"{"probes": [{"for_each": "entity", "probe": "{{ 1 / 0 }}"}]}"#, entities);
        assert_eq!(kinds(&broken), ["probe_render_error"]);
    }

    /// actions/VX-6, actions/Q-31
    #[test]
    fn answers() {
        for (answer, yes) in [
            ("Yes", true),
            ("I know, yes", true),
            ("Yes, no doubt", false),
            ("that is not  true", false),
            ("indeed!", true),
            ("unknown", false),
            ("", false),
        ] {
            assert_eq!(is_affirmative(answer), yes, "{answer}");
        }
    }

    /// actions/VX-8
    #[test]
    fn failures_are_logged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/log.jsonl");
        let logging = format!(r#""logging": {{"enabled": true, "log_path": "{}"}}"#, path.display());
        let arguments = format!(
            r#"{{"schema": {{"entities": {{"required_fields": ["n"]}}}}, "entities": [{{}}], "agent_name": "a", {logging}}}"#
        );
        run("validate.extraction", loads(&arguments).unwrap());
        run("validate.extraction", loads(&arguments).unwrap());
        let lines = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = lines.lines().map(|line| loads(line).unwrap()).collect();
        assert_eq!(lines.len(), 2);
        let line = lines[0].as_map().unwrap();
        assert_eq!((&line["failure_type"], &line["agent_name"]), (&"schema".into(), &"a".into()));
        // The first digits of the SHA-256 of `{}`.
        assert_eq!(line["input_hash"], "44136fa355b3678a".into());
        assert_eq!(
            line["extraction_attempt"],
            loads(r#"{"entities": [{}], "relationships": null}"#).unwrap()
        );
        assert_eq!(with_environment("a${NO_SUCH_NAME:-b}/${lower}${"), "ab/${lower}${");
    }

    /// actions/VX-13
    #[test]
    fn prompts() {
        let none = run("validate.generate_prompt", crate::map! {});
        assert_eq!(none, crate::map! { "extraction_prompt" => "" });
        let some = run(
            "validate.generate_prompt",
            loads(r#"{"schema": {"entities": {"required_fields": ["n"]}}, "constraints": {"rules": "% r"}}"#)
                .unwrap(),
        );
        assert!(text(&some.as_map().unwrap()["extraction_prompt"]).contains("CONSTRAINTS TO SATISFY:\n- r"));
    }
}
