//! What `on_error` and `settings.error_handling` say (`EH-1` to `EH-12`).

use std::sync::Arc;

use super::problem::{Checked, Problem, Within};
use crate::value::{Map, Value, text};

/// What happens when a node fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// The failure is the run's.
    Raise,
    /// The error goes into the state and the run goes on.
    Graceful,
    /// The node is tried again, then as `Graceful`.
    Retry,
}

/// The settings of a node, global ones filled in.
#[derive(Debug, Clone)]
pub(super) struct Policy {
    pub(super) mode: Mode,
    /// 0 to 100.
    pub(super) max_retries: u32,
    /// Seconds, 0 to 300.
    pub(super) retry_delay: f64,
    /// 1 to 10.
    pub(super) backoff_multiplier: f64,
    /// Classes of errors that are tried again; `None` for the usual ones.
    pub(super) retryable_errors: Option<Vec<String>>,
    pub(super) capture_traceback: bool,
    pub(super) clear_on_success: bool,
    pub(super) fallback: Option<Arc<str>>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            mode: Mode::Raise,
            max_retries: 3,
            retry_delay: 1.0,
            backoff_multiplier: 2.0,
            retryable_errors: None,
            capture_traceback: false,
            clear_on_success: true,
            fallback: None,
        }
    }
}

fn invalid(model: &str, key: &str, problem: impl Into<String>) -> Box<Problem> {
    // The shape of pydantic's text: what it is about, the field, what is wrong.
    Problem::of("ValidationError", format!("1 validation error for {model}\n{key}\n  {}", problem.into()))
        .under(key)
}

/// A number within bounds; a text that is a number counts as one (`EH-10`).
fn number(model: &str, key: &str, value: &Value, least: f64, most: f64, whole: bool) -> Checked<f64> {
    let found = match value {
        Value::Int(number) => Some(*number as f64),
        Value::Float(number) => Some(*number),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Str(text) => text.trim().parse().ok(),
        _ => None,
    };
    let kind = if whole { "a whole number" } else { "a number" };
    match found {
        Some(found) if found >= least && found <= most && !(whole && found.fract() != 0.0) => Ok(found),
        _ => Err(invalid(
            model,
            key,
            format!("Input should be {kind} from {least} to {most}, got {}", crate::value::repr(value)),
        )),
    }
}

fn flag(model: &str, key: &str, value: &Value) -> Checked<bool> {
    let word = text(value).to_lowercase();
    match value {
        Value::Bool(flag) => Ok(*flag),
        Value::Int(_) | Value::Str(_) if matches!(word.as_str(), "1" | "true" | "yes" | "on") => Ok(true),
        Value::Int(_) | Value::Str(_) if matches!(word.as_str(), "0" | "false" | "no" | "off") => Ok(false),
        other => Err(invalid(
            model,
            key,
            format!("Input should be true or false, got {}", crate::value::repr(other)),
        )),
    }
}

/// The class that a short name of an error stands for (`EH-5`).
fn class_of(name: &str) -> String {
    match name.to_lowercase().as_str() {
        "timeout" => "TimeoutError".to_owned(),
        "connection_error" => "ConnectionError".to_owned(),
        "rate_limit" => "RateLimitError".to_owned(),
        "service_unavailable" => "ServiceUnavailableError".to_owned(),
        "http_error" => "HTTPError".to_owned(),
        _ => name.to_owned(),
    }
}

impl Policy {
    /// The global settings.
    pub(super) fn global(section: &Map) -> Checked<Policy> {
        let mut policy = Policy::default();
        policy.read(section, "ErrorHandlingSettings")?;
        if let Some(value) = section.get("clear_on_success").filter(|value| **value != Value::Null) {
            policy.clear_on_success = flag("ErrorHandlingSettings", "clear_on_success", value)?;
        }
        Ok(policy)
    }

    /// The settings of a node: its own over these (`EH-11`, `EH-20`).
    pub(super) fn of_node(&self, own: &Value) -> Checked<Policy> {
        match own {
            Value::Null => Ok(self.clone()),
            Value::Map(section) => {
                let mut policy = Policy { fallback: None, ..self.clone() };
                policy.read(section, "NodeErrorSettings")?;
                Ok(policy)
            }
            other => Err(Problem::of(
                "TypeError",
                format!("on_error is a map of mode, max_retries, ..., not {}", other.type_name()),
            )),
        }
    }

    fn read(&mut self, section: &Map, model: &str) -> Checked<()> {
        let given = |key: &str| section.get(key).filter(|value| **value != Value::Null);
        if let Some(value) = given("mode") {
            self.mode = match value.as_str() {
                Some("raise") => Mode::Raise,
                Some("graceful") => Mode::Graceful,
                Some("retry") => Mode::Retry,
                _ => {
                    let shown = crate::value::repr(value);
                    let problem = format!("Input should be 'raise', 'graceful' or 'retry', got {shown}");
                    return Err(invalid(model, "mode", problem));
                }
            };
        }
        if let Some(value) = given("max_retries") {
            self.max_retries = number(model, "max_retries", value, 0.0, 100.0, true)? as u32;
        }
        if let Some(value) = given("retry_delay") {
            self.retry_delay = number(model, "retry_delay", value, 0.0, 300.0, false)?;
        }
        if let Some(value) = given("backoff_multiplier") {
            self.backoff_multiplier = number(model, "backoff_multiplier", value, 1.0, 10.0, false)?;
        }
        if let Some(value) = given("retryable_errors") {
            let names = value.as_list().and_then(|names| {
                names.iter().map(|name| name.as_str().map(class_of)).collect::<Option<Vec<_>>>()
            });
            let names = names.ok_or_else(|| {
                invalid(model, "retryable_errors", "Input should be a list of names of errors")
            })?;
            self.retryable_errors = Some(names);
        }
        if let Some(value) = given("capture_traceback") {
            self.capture_traceback = flag(model, "capture_traceback", value)?;
        }
        if let Some(value) = given("fallback") {
            let name = value.as_str();
            let name =
                name.ok_or_else(|| invalid(model, "fallback", "Input should be the name of a node"))?;
            self.fallback = Some(name.into());
        }
        Ok(())
    }

    /// Whether a failed node is tried again: by the class of the error only (`EH-33`).
    pub(super) fn retries(&self, class: &str) -> bool {
        match &self.retryable_errors {
            Some(names) => names.iter().any(|name| name == class),
            None => RETRYABLE.contains(&class),
        }
    }
}

const RETRYABLE: &[&str] = &[
    "TimeoutError",
    "ConnectionError",
    "ConnectionResetError",
    "ConnectionRefusedError",
    "BrokenPipeError",
    "RateLimitError",
    "ServiceUnavailableError",
    "HTTPError",
    "Timeout",
    "ReadTimeout",
    "ConnectTimeout",
    "RequestException",
    "TransientError",
    "TemporaryError",
    "RetryableError",
    "TooManyRequests",
    "ServiceUnavailable",
    "BadGateway",
    "GatewayTimeout",
];

const NOT_RETRYABLE: &[&str] = &[
    "ValidationError",
    "AuthenticationError",
    "AuthorizationError",
    "NotFoundError",
    "PermissionDeniedError",
    "InvalidRequestError",
    "BadRequest",
    "Unauthorized",
    "Forbidden",
    "NotFound",
    "MethodNotAllowed",
    "Conflict",
    "Gone",
    "UnprocessableEntity",
    "ValueError",
    "TypeError",
    "KeyError",
    "AttributeError",
    "SyntaxError",
];

/// Whether an error is one that may go away (`EH-30`), by its class and its text.
pub(super) fn is_retryable(class: &str, text: &str) -> bool {
    if RETRYABLE.contains(&class) {
        return true;
    }
    if NOT_RETRYABLE.contains(&class) {
        return false;
    }
    let text = text.to_lowercase();
    ["rate limit", "too many requests", "retry after"].iter().any(|sign| text.contains(sign))
}

/// Reads `settings.error_handling`.
pub(super) fn global_policy(settings: &Map) -> Checked<Policy> {
    match settings.get("error_handling") {
        Some(Value::Map(section)) => Policy::global(section).under("error_handling").under("settings"),
        Some(other) if other.is_truthy() => Err(Problem::of(
            "TypeError",
            format!("settings.error_handling is a map, not {}", other.type_name()),
        )
        .under("error_handling")
        .under("settings")),
        _ => Ok(Policy::default()),
    }
}
