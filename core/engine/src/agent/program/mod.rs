//! The work of nodes, as programs of the run.
//!
//! - [`Exec`]: one piece of work: code, an action, steps;
//! - `action`, `code`, `steps`, `looped`: how each kind runs;
//! - `guard`: what happens when it fails (`on_error`).

mod action;
mod code;
mod guard;
mod looped;
mod services;
mod steps;

use std::pin::Pin;
use std::sync::Arc;

pub(super) use action::ActionCall;
pub(super) use code::{Code, Expression, Language};
pub(super) use guard::{Guard, now_z};
pub(super) use looped::Loop;
pub(super) use services::Shared;

use super::parallel::Fan;
use crate::run::{Failure, Program, Running, Stop, Task};
use crate::value::Value;

/// A piece of work as it runs.
pub(super) type Work<'a> = Pin<Box<dyn Future<Output = Result<Value, Stop>> + Send + 'a>>;

/// One piece of work: the first of these that a node, a step or an entry of a loop has (`ND-11`).
#[derive(Debug)]
pub(super) enum Exec {
    /// Code in some language.
    Code(Code),
    /// An expression whose value is stored.
    Expression(Expression),
    /// A call of an action.
    Action(ActionCall),
    /// Several pieces of work, each of which sees what the ones before it did.
    Steps(Vec<Exec>),
}

impl Exec {
    /// Does the work over the state of the task's scene.
    pub(super) fn run<'a>(&'a self, task: &'a Task, shared: &'a Arc<Shared>) -> Work<'a> {
        match self {
            Exec::Code(code) => Box::pin(code.run(task, shared)),
            Exec::Expression(expression) => Box::pin(expression.run(task, shared)),
            Exec::Action(action) => Box::pin(action.run(task, shared)),
            Exec::Steps(entries) => Box::pin(steps::run(entries, task, shared)),
        }
    }
}

/// What a node does.
#[derive(Debug)]
pub(super) enum Kind {
    /// One piece of work.
    Once(Exec),
    /// A loop.
    Loop(Loop),
    /// The same work for each of several items.
    Fan(Fan),
}

/// The work of a node with what surrounds it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) guard: Option<Guard>,
    pub(super) shared: Arc<Shared>,
}

impl Node {
    pub(super) fn attempt<'a>(&'a self, task: &'a Task) -> Work<'a> {
        match &self.kind {
            Kind::Once(exec) => exec.run(task, &self.shared),
            Kind::Loop(looped) => Box::pin(looped.run(task, &self.shared)),
            Kind::Fan(fan) => Box::pin(fan.run(task, &self.shared)),
        }
    }
}

/// A node's work as the graph holds it.
#[derive(Debug, Clone)]
pub(super) struct NodeProgram(pub(super) Arc<Node>);

impl Program for NodeProgram {
    fn start(&self, task: Task) -> Running {
        let node = Arc::clone(&self.0);
        Box::pin(async move {
            let result = match &node.guard {
                None => node.attempt(&task).await,
                Some(guard) => guard.run(&node, &task).await,
            };
            result.map_err(|stop| match stop {
                Stop::Failed(failure) => {
                    let text = node.shared.without_secrets(failure.text);
                    Stop::Failed(Failure { text, ..failure })
                }
                other => other,
            })
        })
    }
}

/// A failure of class `ValueError`.
pub(super) fn value_error(text: impl Into<String>) -> Stop {
    failed("ValueError", text)
}

pub(super) fn failed(class: &str, text: impl Into<String>) -> Stop {
    Stop::Failed(Failure { class: class.to_owned(), text: text.into(), ..Failure::default() })
}
