//! `while_loop` nodes.

use std::sync::Arc;

use super::steps::lost;
use super::{Exec, Shared};
use crate::agent::condition::Truth;
use crate::run::{Failure, Stop, Task};
use crate::value::Value;

/// A loop: its body runs while the condition holds, over a working copy of the state (`WL-5`).
#[derive(Debug)]
pub(in crate::agent) struct Loop {
    pub(in crate::agent) name: Arc<str>,
    pub(in crate::agent) condition: Truth,
    /// 1 to 1000.
    pub(in crate::agent) limit: u32,
    /// Entries with something to do, and their names.
    pub(in crate::agent) body: Vec<(String, Exec)>,
}

impl Loop {
    pub(super) async fn run(&self, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
        let working = task.over(task.scene.state.shallow().map_err(lost)?);
        for round in 0..self.limit {
            if !self.condition.holds(&shared.context, &working.scene)? {
                break;
            }
            for (name, entry) in &self.body {
                let result = entry.run(&working, shared).await;
                if let Value::Map(update) = result.map_err(|stop| self.failed(name, round, stop))? {
                    working.scene.state.merge(Value::Map(update)).map_err(lost)?;
                }
            }
        }
        Ok(Value::Map(working.scene.state.entries().map_err(lost)?))
    }

    /// `WL-6`: names the loop, the entry and the round.
    fn failed(&self, body: &str, round: u32, stop: Stop) -> Stop {
        match stop {
            Stop::Failed(failure) if !failure.fatal => Stop::Failed(Failure {
                text: format!(
                    "Error in while_loop '{}' body node '{body}' at iteration {round}: {}",
                    self.name, failure.text
                ),
                class: "RuntimeError".to_owned(),
                // The host raises a new error with this one's text; it has no object for it.
                ..Failure::default()
            }),
            other => other,
        }
    }
}
