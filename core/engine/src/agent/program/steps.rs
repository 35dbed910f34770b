//! Several pieces of work in one node.

use std::sync::Arc;

use super::{Exec, Shared, failed};
use crate::host::HostError;
use crate::run::{Stop, Task};
use crate::value::Value;

/// Runs the entries in order over a working copy of the state; the result is the copy as a whole (`SP-1`,
/// `SP-2`).
pub(super) async fn run(entries: &[Exec], task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
    let working = task.over(task.scene.state.shallow().map_err(lost)?);
    for entry in entries {
        if let Value::Map(update) = entry.run(&working, shared).await? {
            working.scene.state.merge(Value::Map(update)).map_err(lost)?;
        }
    }
    Ok(Value::Map(working.scene.state.entries().map_err(lost)?))
}

/// A question about the state that the host could not answer.
pub(super) fn lost(error: HostError) -> Stop {
    failed("RuntimeError", error.message)
}
