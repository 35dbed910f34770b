//! `error.*`: what a node can ask about the error that an earlier node left in the state (`__error__`).

use super::{ActionCall, Registry};
use crate::run::Stop;
use crate::value::{Map, Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("error.is_retryable", |call| {
        Ok(part(call, "is_retryable")?.unwrap_or(Value::Bool(false)))
    });
    registry.add_direct("error.clear", |_| Ok(crate::map! { "__error__" => Value::Null }));
    registry.add_direct("error.get", |call| Ok(error(call)?.map_or(Value::Null, Value::map)));
    registry
        .add_direct("error.has", |call| Ok(Value::Bool(error(call)?.is_some_and(|error| !error.is_empty()))));
    registry.add_direct("error.type", |call| Ok(part(call, "type")?.unwrap_or_default()));
    registry.add_direct("error.retry", retry);
    registry.add_direct("error.respond", respond);
    for action in ["is_retryable", "clear", "get", "has", "type", "retry", "respond"] {
        registry.alias(&format!("error.{action}"), &format!("actions.error_{action}"));
    }
}

/// The error in the state.
fn error(call: &ActionCall) -> Result<Option<Map>, Stop> {
    let state = call.state()?;
    Ok(state.as_map().and_then(|state| state.get("__error__")).and_then(Value::as_map).cloned())
}

fn part(call: &ActionCall, name: &str) -> Result<Option<Value>, Stop> {
    Ok(error(call)?.and_then(|error| error.get(name).cloned()))
}

/// `actions/EH-36`. What failed is known inside an error handler of the host only.
fn retry(call: &ActionCall) -> Result<Value, Stop> {
    let refused = |reason: String| Ok(crate::map! { "__retry_error__" => reason });
    let Some(error) = error(call)?.filter(|error| !error.is_empty()) else {
        return refused("No error to retry".to_owned());
    };
    if !error.get("is_retryable").is_some_and(Value::is_truthy) {
        let kind = error.get("type").map(text).unwrap_or_default();
        return refused(format!("Error type {kind} is not retryable"));
    }
    refused(
        "No retry context available. error.retry requires the action to be executed within an error handler \
         with retry tracking."
            .to_owned(),
    )
}

/// `actions/EH-37`, with the built-in responses of `actions/EH-16`.
fn respond(call: &ActionCall) -> Result<Value, Stop> {
    let (mut status, body) = match error(call)?.filter(|error| !error.is_empty()) {
        None => (200, Map::new().into()),
        Some(error) => response(&error),
    };
    if let Some(Value::Int(given)) = call.get("status") {
        status = *given;
    }
    let response = crate::map! { "status" => status, "body" => body, "headers" => Map::new() };
    Ok(crate::map! { "__http_response__" => response })
}

fn response(error: &Map) -> (i64, Value) {
    let of = |name: &str| error.get(name).map(text).unwrap_or_default();
    let body = |name: &str, message: String| crate::map! { "error" => name, "message" => message };
    match of("type").as_str() {
        "ValidationError" => {
            let details = error.get("details").map_or_else(|| "None".to_owned(), text);
            let name = "validation_error";
            (422, crate::map! { "error" => name, "message" => of("message"), "details" => details })
        }
        "AuthenticationError" | "AuthorizationError" => {
            (401, body("unauthorized", "Authentication required".to_owned()))
        }
        "NotFoundError" => (404, body("not_found", of("message"))),
        "RateLimitError" | "TooManyRequests" => {
            let after = error.get("details").and_then(Value::as_map).and_then(|map| map.get("retry_after"));
            let after = after.filter(|after| after.is_truthy()).map_or_else(|| "60".to_owned(), text);
            let name = "rate_limited";
            (429, crate::map! { "error" => name, "message" => "Too many requests", "retry_after" => after })
        }
        "TimeoutError" | "Timeout" => (504, body("timeout", of("message"))),
        "ServiceUnavailableError" | "ServiceUnavailable" => {
            (503, body("service_unavailable", "Service temporarily unavailable".to_owned()))
        }
        // Never the real message: it may say too much.
        _ => (500, body("internal_error", "An unexpected error occurred".to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::json::loads;
    use super::super::testing::{End, alone, run_on};
    use super::*;

    fn ask(name: &str, error: &str) -> Value {
        let state = loads(error).unwrap().as_map().unwrap().clone();
        match run_on(name, crate::map! {}, state, Arc::new(alone())) {
            End::Value(value) => value,
            other => panic!("{other:?}"),
        }
    }

    const SLOW: &str = r#"{"__error__": {"type": "Timeout", "message": "slow", "is_retryable": true}}"#;

    /// actions/EH-31 to actions/EH-36
    #[test]
    fn questions() {
        for (name, error, answer) in [
            ("error.has", SLOW, "true"),
            ("error.has", r#"{"__error__": {}}"#, "false"),
            ("error.has", r#"{"__error__": null}"#, "false"),
            ("error.has", "{}", "false"),
            ("error.is_retryable", SLOW, "true"),
            ("error.is_retryable", "{}", "false"),
            ("error.type", SLOW, "\"Timeout\""),
            ("error.type", "{}", "null"),
            ("error.get", "{}", "null"),
            ("error.clear", SLOW, r#"{"__error__": null}"#),
            ("error.retry", "{}", r#"{"__retry_error__": "No error to retry"}"#),
            (
                "error.retry",
                r#"{"__error__": {"type": "X", "is_retryable": false}}"#,
                r#"{"__retry_error__": "Error type X is not retryable"}"#,
            ),
        ] {
            assert_eq!(ask(name, error), loads(answer).unwrap(), "{name} {error}");
        }
        assert_eq!(text(&ask("error.get", SLOW).as_map().unwrap()["message"]), "slow");
        assert!(text(&ask("error.retry", SLOW)).contains("No retry context available."));
    }

    /// actions/EH-16, actions/EH-37
    #[test]
    fn responses() {
        for (error, status, body) in [
            ("{}", 200, "{}"),
            (SLOW, 504, r#"{"error": "timeout", "message": "slow"}"#),
            (
                r#"{"__error__": {"type": "RateLimitError", "details": {"retry_after": 7}}}"#,
                429,
                r#"{"error": "rate_limited", "message": "Too many requests", "retry_after": "7"}"#,
            ),
            (
                r#"{"__error__": {"type": "KeyError", "message": "secret"}}"#,
                500,
                r#"{"error": "internal_error", "message": "An unexpected error occurred"}"#,
            ),
        ] {
            let answer = ask("error.respond", error);
            let response = answer.as_map().unwrap()["__http_response__"].as_map().unwrap().clone();
            assert_eq!(response["status"], Value::Int(status), "{error}");
            assert_eq!(response["body"], loads(body).unwrap(), "{error}");
        }
    }
}
