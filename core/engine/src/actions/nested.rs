//! Actions that run other actions: `cache.wrap`, `ratelimit.wrap`, `retry.loop`.

use std::sync::Arc;

use super::{ActionCall, failure};
use crate::run::{Failure, Stop, Task};
use crate::value::{Map, Value, text};

/// Runs another action. `None`: there is none of that name.
pub(super) async fn run(
    call: &ActionCall,
    task: &Task,
    name: &str,
    arguments: Arc<Map>,
) -> Option<Result<Value, Stop>> {
    let result = call.surroundings.action(task, name, arguments)?.await;
    match &result {
        // A host that has actions of its own tells only now that it has not this one.
        Err(Stop::Failed(failed)) if failed.text == format!("Unknown action: {name}") => None,
        _ => Some(result),
    }
}

/// The text of what an action was stopped by; what is no ordinary error stops the caller, too.
pub(super) fn error_text(stop: Stop) -> Result<String, Stop> {
    match stop {
        Stop::Failed(Failure { fatal: true, .. }) => Err(stop),
        Stop::Failed(failure) => Ok(failure.text),
        // Inside another action an answer for the run is an error like any other (`actions/HR-3`).
        Stop::Respond(response) => Ok(format!("HTTP {}", text(&response.status))),
    }
}

/// The arguments of a wrapped action.
pub(super) fn arguments(call: &ActionCall) -> Result<Arc<Map>, Stop> {
    match call.required("args")? {
        Value::Map(arguments) => Ok(Arc::clone(arguments)),
        other => {
            let given = other.type_name();
            Err(failure("TypeError", format!("{}: args is a map of arguments, not {given}", call.name)))
        }
    }
}

/// The `success` of a wrapped action's result (`actions/CA-22`).
pub(super) fn success(result: &Value) -> Value {
    result.as_map().and_then(|map| map.get("success")).cloned().unwrap_or(Value::Bool(true))
}
