//! `memory.store`, `memory.retrieve`, `memory.summarize`: what an agent remembers between its runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ActionCall, Registry, nested};
use crate::run::Stop;
use crate::schema::number::as_float;
use crate::value::{Map, Value, repr, text};

/// Values by namespace and key. Lost with the agent.
#[derive(Debug, Default)]
pub struct Memory {
    namespaces: Mutex<HashMap<String, HashMap<String, Remembered>>>,
}

#[derive(Debug, Clone)]
struct Remembered {
    value: Value,
    since: Instant,
    /// How long it lasts; `None` for ever. Zero: it is never found.
    lasts: Option<Duration>,
}

impl Memory {
    /// Stores a value, or replaces it, for so many seconds (`None`: for ever).
    pub fn store(&self, namespace: &str, key: &str, value: Value, seconds: Option<f64>) {
        // What is too long for a duration lasts for ever.
        let lasts = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds.max(0.0)).ok());
        let entry = Remembered { value, since: Instant::now(), lasts };
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        namespaces.entry(namespace.to_owned()).or_default().insert(key.to_owned(), entry);
    }

    /// The value, unless there is none or its time is over.
    pub fn retrieve(&self, namespace: &str, key: &str) -> Option<Value> {
        let mut namespaces = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        let entries = namespaces.get_mut(namespace)?;
        let entry = entries.get(key)?;
        let over = entry.lasts.is_some_and(|lasts| lasts.is_zero() || entry.since.elapsed() > lasts);
        if over {
            entries.remove(key);
            return None;
        }
        Some(entry.value.clone())
    }
}

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("memory.store", store);
    registry.add_direct("memory.retrieve", retrieve);
    registry.add("memory.summarize", |call: ActionCall| -> crate::run::Running { Box::pin(summarize(call)) });
    for operation in ["store", "retrieve", "summarize"] {
        registry.alias(&format!("memory.{operation}"), &format!("actions.memory_{operation}"));
    }
}

fn namespace(call: &ActionCall) -> String {
    call.get("namespace").map_or_else(|| "default".to_owned(), text)
}

/// `actions/ME-1`, `actions/ME-4`.
fn store(call: &ActionCall) -> Result<Value, Stop> {
    let (key, value) = (call.required("key")?, call.required("value")?);
    if matches!(key, Value::Null) {
        return Ok(crate::map! { "stored" => false, "key" => Value::Null, "error" => "Key is required" });
    }
    let key = text(key);
    let seconds = match call.get("ttl") {
        None | Some(Value::Null) => None,
        Some(ttl) => match as_float(ttl).filter(|ttl| !ttl.is_nan()) {
            Some(seconds) => Some(seconds),
            None => {
                let error = format!("ttl is a number of seconds, not {}", ttl.type_name());
                return Ok(crate::map! { "stored" => false, "key" => key, "error" => error });
            }
        },
    };
    let namespace = namespace(call);
    call.surroundings.memory().store(&namespace, &key, value.clone(), seconds);
    Ok(crate::map! { "stored" => true, "key" => key, "namespace" => namespace })
}

/// `actions/ME-2`.
fn retrieve(call: &ActionCall) -> Result<Value, Stop> {
    let key = call.required("key")?;
    let default = call.get("default").cloned().unwrap_or_default();
    if matches!(key, Value::Null) {
        return Ok(crate::map! {
            "value" => default, "found" => false, "key" => Value::Null, "error" => "Key is required"
        });
    }
    let key = text(key);
    let found = call.surroundings.memory().retrieve(&namespace(call), &key);
    Ok(match found.filter(|value| !matches!(value, Value::Null)) {
        Some(value) => crate::map! { "value" => value, "found" => true, "key" => key },
        None => crate::map! { "value" => default, "found" => false, "key" => key },
    })
}

/// `actions/ME-5` to `actions/ME-8`.
async fn summarize(call: ActionCall) -> Result<Value, Stop> {
    let key = call.required("messages_key")?.clone();
    let refused = |error: String| Ok(crate::map! { "error" => error, "success" => false });
    let state = call.state()?;
    let found = state.as_map().and_then(|state| state.get(&key)).cloned().unwrap_or_default();
    let messages = match &found {
        Value::Null => return refused(format!("Messages key '{}' not found in state", text(&key))),
        Value::List(messages) => messages,
        _ => return refused(format!("Messages at '{}' must be a list", text(&key))),
    };
    let summary = |summary: &str, tokens: usize| {
        Ok(crate::map! {
            "summary" => summary,
            "original_count" => Value::int(messages.len()),
            "token_estimate" => Value::int(tokens),
            "success" => true,
        })
    };
    if messages.is_empty() {
        return summary("", 0);
    }
    let conversation = messages.iter().map(line).collect::<Vec<_>>().join("\n");
    let tokens = conversation.chars().count() / 4;
    let most = call.get("max_tokens").cloned().unwrap_or(Value::Int(1000));
    let model = call.get("model").filter(|model| model.is_truthy()).cloned();
    let request = request(&conversation, &most, model.unwrap_or_else(|| "gpt-3.5-turbo".into()));
    let missing = "llm.call action not available. Ensure OpenAI is configured.";
    // Looked for only where it is needed: a short conversation needs no model.
    if as_float(&most).is_none_or(|most| tokens as f64 <= most) {
        return summary(&conversation, tokens);
    }
    let Some(work) = call.surroundings.action(&call.task, "llm.call", Arc::new(request)) else {
        return refused(missing.to_owned());
    };
    let reply = match work.await {
        Ok(reply) => reply,
        Err(stop) => {
            let error = nested::error_text(stop)?;
            if error == "Unknown action: llm.call" {
                return refused(missing.to_owned());
            }
            return refused(format!("LLM summarization failed: {error}"));
        }
    };
    match &reply {
        Value::Map(map) if map.get("error").is_some_and(Value::is_truthy) => Ok(reply.clone()),
        Value::Map(map) => match map.get("content") {
            None => summary("", 0),
            Some(Value::Str(content)) => summary(content, content.chars().count() / 4),
            Some(other) => {
                refused(format!("LLM summarization failed: the content is {}, not text", other.type_name()))
            }
        },
        other => refused(format!("LLM summarization failed: the reply is {}, not a map", other.type_name())),
    }
}

/// A message as a line of the conversation.
fn line(message: &Value) -> String {
    match message {
        Value::Map(map) => {
            let role = map.get("role").map_or_else(|| "user".to_owned(), text);
            let content = map.get("content").map_or_else(|| repr(message), text);
            format!("{role}: {content}")
        }
        other => text(other),
    }
}

fn request(conversation: &str, most: &Value, model: Value) -> Map {
    let task = format!(
        "Summarize the following conversation in approximately {} tokens or less. Preserve key information, \
         decisions, and context needed for continuation.",
        text(most)
    );
    let message = |role: &str, content: &str| crate::map! { "role" => role, "content" => content };
    let messages = vec![message("system", &task), message("user", conversation)];
    let request = crate::map! { "model" => model, "messages" => messages, "temperature" => 0.3 };
    request.as_map().cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::json::loads;
    use super::super::testing::{End, alone, run_on};
    use super::super::{Alone, Surroundings};
    use super::*;
    use crate::actions::failure;

    fn call(agent: &Arc<dyn Surroundings>, name: &str, arguments: &str, state: &str) -> Value {
        let state = loads(state).unwrap().as_map().unwrap().clone();
        match run_on(name, loads(arguments).unwrap(), state, Arc::clone(agent)) {
            End::Value(value) => value,
            other => panic!("{other:?}"),
        }
    }

    /// actions/ME-1 to actions/ME-4
    #[test]
    fn stored_and_retrieved() {
        let agent: Arc<dyn Surroundings> = Arc::new(alone());
        for (name, arguments, wanted) in [
            ("store", r#"{"key": 1, "value": 0}"#, r#"{"stored": true, "key": "1", "namespace": "default"}"#),
            ("retrieve", r#"{"key": "1", "default": 7}"#, r#"{"value": 0, "found": true, "key": "1"}"#),
            (
                "retrieve",
                r#"{"key": "1", "namespace": "n", "default": 7}"#,
                r#"{"value": 7, "found": false, "key": "1"}"#,
            ),
            (
                "store",
                r#"{"key": "1", "value": null}"#,
                r#"{"stored": true, "key": "1", "namespace": "default"}"#,
            ),
            ("retrieve", r#"{"key": "1"}"#, r#"{"value": null, "found": false, "key": "1"}"#),
            (
                "store",
                r#"{"key": "t", "value": 1, "ttl": 0}"#,
                r#"{"stored": true, "key": "t", "namespace": "default"}"#,
            ),
            ("retrieve", r#"{"key": "t"}"#, r#"{"value": null, "found": false, "key": "t"}"#),
            (
                "store",
                r#"{"key": "t", "value": 1, "ttl": 1e300}"#,
                r#"{"stored": true, "key": "t", "namespace": "default"}"#,
            ),
            ("retrieve", r#"{"key": "t"}"#, r#"{"value": 1, "found": true, "key": "t"}"#),
            (
                "store",
                r#"{"key": null, "value": 1}"#,
                r#"{"stored": false, "key": null, "error": "Key is required"}"#,
            ),
            (
                "store",
                r#"{"key": "t", "value": 1, "ttl": "x"}"#,
                r#"{"stored": false, "key": "t", "error": "ttl is a number of seconds, not str"}"#,
            ),
        ] {
            let done = call(&agent, &format!("memory.{name}"), arguments, "{}");
            assert_eq!(done, loads(wanted).unwrap(), "{name} {arguments}");
        }
    }

    fn with_model(reply: Result<&'static str, &'static str>) -> Arc<dyn Surroundings> {
        let mut registry = Registry::core();
        registry.add("llm.call", move |call: ActionCall| -> crate::run::Running {
            Box::pin(async move {
                assert_eq!(call.get("model"), Some(&"gpt-3.5-turbo".into()));
                let messages = call.get("messages").unwrap().as_list().unwrap();
                assert!(text(&messages[0]).contains("approximately 2 tokens"));
                reply.map(|reply| loads(reply).unwrap()).map_err(|error| failure("ValueError", error))
            })
        });
        Arc::new(Alone { registry: Arc::new(registry), ..alone() })
    }

    /// actions/ME-5, actions/ME-6
    #[test]
    fn short_conversations() {
        let agent = with_model(Err("not asked"));
        let state = r#"{"m": [{"role": "a", "content": "hi"}, {"content": 1}, {"x": 1}, "plain"], "e": [], "t": "x"}"#;
        for (key, wanted) in [
            (
                "m",
                r#"{"summary": "a: hi\nuser: 1\nuser: {'x': 1}\nplain", "original_count": 4, "token_estimate": 8, "success": true}"#,
            ),
            ("e", r#"{"summary": "", "original_count": 0, "token_estimate": 0, "success": true}"#),
            ("no", r#"{"error": "Messages key 'no' not found in state", "success": false}"#),
            ("t", r#"{"error": "Messages at 't' must be a list", "success": false}"#),
        ] {
            let done = call(&agent, "memory.summarize", &format!(r#"{{"messages_key": "{key}"}}"#), state);
            assert_eq!(done, loads(wanted).unwrap(), "{key}");
        }
    }

    /// actions/ME-5, actions/ME-7, actions/ME-8
    #[test]
    fn long_conversations() {
        for (reply, wanted) in [
            (
                Ok(r#"{"content": "short one"}"#),
                r#"{"summary": "short one", "original_count": 1, "token_estimate": 2, "success": true}"#,
            ),
            (
                Ok(r#"{"error": "no key", "success": false, "x": 1}"#),
                r#"{"error": "no key", "success": false, "x": 1}"#,
            ),
            (Err("broken"), r#"{"error": "LLM summarization failed: broken", "success": false}"#),
        ] {
            let agent = with_model(reply);
            let done = call(
                &agent,
                "memory.summarize",
                r#"{"messages_key": "m", "max_tokens": 2}"#,
                r#"{"m": ["0123456789abc"]}"#,
            );
            assert_eq!(done, loads(wanted).unwrap());
        }
        let agent: Arc<dyn Surroundings> = Arc::new(alone());
        if !Registry::core().contains("llm.call") {
            let arguments = r#"{"messages_key": "m", "max_tokens": 0}"#;
            let done = call(&agent, "memory.summarize", arguments, r#"{"m": ["0123456789"]}"#);
            assert!(text(&done).contains("llm.call action not available"));
        }
    }
}
