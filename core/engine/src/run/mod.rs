//! Runs: a step machine that the host pulls.
//!
//! A [`Cursor`] is one flow of control: the main flow of a run, one of its branches, or a scoped run. The host
//! calls [`Cursor::step`] with the [`Answer`] to the previous [`Item`] and gets the next one: a function to
//! call, an event to deliver, a checkpoint to store, the end. Nothing happens between two steps, so a run can
//! be lazy, abandoned, and run inside another one; the engine never holds a lock or a frame while the host's
//! code runs.
//!
//! ```text
//!          Enter ──before-interrupt──▶ Store ─▶ event, end
//!            │
//!          Call ─▶ CALL ─▶ merge ─▶ event (stream)
//!            │
//!          Ran ──after-interrupt───▶ Store ─▶ event, end
//!            │
//!          Leave ─▶ LAUNCH each parallel edge
//!            │
//!          Route ─▶ condition CALLs ─▶ Enter          no normal edge: Join ─▶ WAIT ─▶ Enter
//! ```
//!
//! - `cursor`: the machine up to a node's result;
//! - `calls`: several calls in one step;
//! - `stop`: interrupts and their checkpoints;
//! - `route`: leaving a node;
//! - `branch`: launching branches and joining them;
//! - `program`: nodes whose work the engine does itself;
//! - `driver`: the ready-made driver over states that live in the engine;
//! - `event`: the events as values;
//! - `record`: the log records.

mod branch;
mod calls;
mod cursor;
mod driver;
mod event;
mod program;
mod record;
mod route;
mod stop;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;

pub use branch::Mailbox;
pub(crate) use branch::state_of_result;
pub use cursor::{Cursor, Options, Scope, Start};
pub use driver::{Beginning, DriveError, Driver, Handler, ResumeError};
pub use event::Event;
pub use program::{Choose, Program, Request, Running, Scene, Slots, Stop, Task};
pub use record::Observer;

use crate::checkpoint::CheckpointError;
use crate::graph::NodeId;
use crate::host::{HostError, When};
use crate::value::Value;

/// Which events a run yields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Only what ends it.
    Invoke,
    /// One for each executed node, too.
    Stream,
}

/// What the host has to do next.
#[derive(Debug)]
pub enum Item {
    /// Call the function of a node; answer [`Answer::Done`], [`Answer::Result`], [`Answer::Failed`] or
    /// [`Answer::Respond`].
    Call {
        /// The node.
        node: NodeId,
        /// The host's number for the function.
        reference: u32,
    },
    /// Call the functions of several nodes, each of which leads to the next one unconditionally; only for a host
    /// that asks for it ([`Cursor::allow_runs`]). Answer how many were called: [`Answer::Ran`] if all went well, or
    /// if something in [`Live`] changed meanwhile; [`Answer::FailedAfter`] or [`Answer::RespondAfter`] for the next
    /// one. Records and interrupts are off while this is asked.
    Calls(Arc<Calls>),
    /// A program of the engine asks the host; see [`Request`] for the answers.
    Request {
        /// The node that is running.
        node: NodeId,
        /// What it asks.
        request: Request,
    },
    /// Evaluate a condition; answer [`Answer::Target`] or, for an edge whose map the engine holds,
    /// [`Answer::Choice`].
    Condition {
        /// The node that is left.
        node: NodeId,
        /// The host's number for the condition.
        reference: u32,
    },
    /// Deliver an event; answer [`Answer::Done`]. In a branch: keep the event and answer [`Answer::Kept`].
    Event(Event),
    /// Store a checkpoint; answer [`Answer::Stored`].
    Store {
        /// The node at which the run would go on.
        node: NodeId,
        /// Which interrupt fired.
        when: When,
    },
    /// Start a branch: make its cursor by [`Cursor::branch`], see that it is driven, answer
    /// [`Answer::Done`]. A host that cannot copy its state raises its own error instead.
    Launch {
        /// The branch's first node, which is also its name.
        node: NodeId,
        /// The node that launches it.
        from: NodeId,
    },
    /// Nothing to do but to look for signals: many nodes without functions went by. Answer [`Answer::Done`].
    Pause,
    /// Nothing to do until a branch reports: wait (see [`Cursor::mailbox`]), then answer [`Answer::Done`].
    Wait,
    /// The run failed. With `raise_exceptions` the host raises `raised`, caused by `failure`'s object; without
    /// it, it delivers [`Event::Error`]. Either way the run is over.
    Error(RunError),
    /// The run cannot go on, whatever `raise_exceptions` is.
    Raise(RaiseError),
    /// A branch has ended: keep its result, answer [`Answer::Kept`].
    Outcome(Outcome),
    /// The end; further steps give the same.
    Done,
}

/// Functions to be called one after the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// The nodes, at least one.
    pub nodes: Vec<NodeId>,
    /// The host's number for the condition of the last one's first edge: if all went well, evaluate it, too, and
    /// answer [`Answer::RanTo`]. There is one, or there are several nodes.
    pub condition: Option<u32>,
    /// When the condition leads back to the first node, the host may do it all again at once.
    pub repeat: bool,
    /// The structure of the graph for which this holds ([`Cursor::generation`]).
    pub generation: u64,
}

/// A run that failed by its own fault.
#[derive(Debug, Clone)]
pub struct RunError {
    /// The node to blame.
    pub node: NodeId,
    /// Text of the `error` event.
    pub text: String,
    /// Text of the raised error.
    pub raised: String,
    /// What the host reported, if it was its function that failed.
    pub failure: Option<Failure>,
    /// State of the `error` event where it is not the run's own (a failed branch).
    pub state: Option<Value>,
}

/// What is raised unchanged.
#[derive(Debug, Clone)]
pub enum RaiseError {
    /// The run stands on a name that is not in the graph.
    UnknownNode(NodeId),
    /// A condition failed, or a branch with what is no ordinary error (Python: not an `Exception`): the host
    /// raises its object unchanged.
    Unchanged(Failure),
}

/// A failure of a host function, as the host describes it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// The host's number for the error object; 0 if it has none.
    pub reference: u64,
    /// Class of the error.
    pub class: String,
    /// Text of the error.
    pub text: String,
    /// Not an ordinary error: ends everything at once.
    pub fatal: bool,
}

/// How a branch ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The branch's first node.
    pub branch: NodeId,
    /// `None`: it reached its join, or the end of the graph.
    pub error: Option<BranchError>,
    /// The branch's state: as reached, or as it began where an error was raised.
    pub state: Value,
    /// Time since the launch.
    pub milliseconds: f64,
    /// The join hands on the plain state instead of a result with all these fields.
    pub plain: bool,
}

/// Why a branch failed.
#[derive(Debug, Clone)]
pub struct BranchError {
    /// Text of the error.
    pub text: String,
    /// Class of the error.
    pub class: String,
    /// The host's object, if there is one.
    pub failure: Option<Failure>,
    /// The state is the one the branch began with, not the one it reached.
    pub at_start: bool,
}

/// What the host answers to an item.
#[derive(Debug)]
pub enum Answer {
    /// Begin. With `announce` only the start records are written (a host that cannot open its executor).
    Start {
        /// Write the start records, then end.
        announce: bool,
    },
    /// Done; the host has merged a node's result into its state itself.
    Done,
    /// What a node's function returned.
    Result(Value),
    /// Where the condition leads; `None` for nowhere. See [`Cursor::show_choice`].
    Target(Option<NodeId>),
    /// The value of a condition whose map the engine holds.
    Choice(Value),
    /// The action is the engine's own: it runs it.
    Core,
    /// So many functions of [`Item::Calls`] were called, at least one; their events were delivered.
    Ran(usize),
    /// All functions of [`Item::Calls`] were called, and its condition leads to `target`; `None` for nowhere.
    RanTo {
        /// Where the condition leads.
        target: Option<NodeId>,
        /// How often all of it was done; more than once only for [`Calls::repeat`].
        times: u64,
    },
    /// So many functions of [`Item::Calls`] were called, then the next one failed.
    FailedAfter(usize, Failure),
    /// So many functions of [`Item::Calls`] were called, then the next one answered for the whole run.
    RespondAfter(usize, Response),
    /// The function failed.
    Failed(Failure),
    /// The function answers for the whole run; `status` is for the record.
    Respond(Response),
    /// The checkpoint's id or path; `None` if there is none.
    Stored(Option<String>),
    /// The object that the host keeps for an event or an outcome of a branch.
    Kept(Value),
}

/// An answer for the whole run (`http_response` event).
#[derive(Debug, Clone, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: Value,
    /// Any value.
    pub body: Value,
    /// A map.
    pub headers: Value,
}

/// What the host's attributes say at the moment of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    /// Some interrupt is set: ask about each node.
    pub stops: bool,
    /// Records of level INFO are wanted.
    pub info: bool,
    /// Records of level DEBUG are wanted.
    pub debug: bool,
    /// Records may show state contents.
    pub values: bool,
    /// Errors are raised.
    pub raises: bool,
}

/// Misuse of a cursor, or a host that failed to answer a question.
#[derive(Debug, Clone, Error)]
pub enum StepError {
    /// The answer does not fit the item before it.
    #[error("the answer {answer} does not fit: {expected} is expected")]
    WrongAnswer {
        /// What was answered.
        answer: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
    /// A question about the state failed.
    #[error(transparent)]
    Host(#[from] HostError),
    /// The engine could not store a checkpoint.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}
