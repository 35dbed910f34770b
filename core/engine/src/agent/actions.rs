//! Where the engine's own actions come from.

use std::fmt;
use std::sync::Arc;

use super::context::Context;
use crate::run::{Running, Task};
use crate::value::Map;

/// The actions that the engine runs itself.
pub trait CoreActions: Send + Sync + fmt::Debug {
    /// Begins an action; `None` if there is none of that name. Nothing happens before the first poll.
    fn start(&self, name: &str, task: &Task, arguments: Arc<Map>, context: &Arc<Context>) -> Option<Running>;

    /// Names of the action's parameters that it gets as they are written, for they hold templates of their own
    /// (`yaml/Q-15`).
    fn raw_parameters(&self, name: &str) -> &[String] {
        let _ = name;
        &[]
    }
}

/// No actions at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoActions;

impl CoreActions for NoActions {
    fn start(&self, _: &str, _: &Task, _: Arc<Map>, _: &Arc<Context>) -> Option<Running> {
        None
    }
}
