//! A ready-made driver: runs a graph over a state that lives in the engine, for hosts that want events and nothing
//! else. The C ABI's `tea_run`, the command line and the conformance adapter are thin layers over it.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;

use super::{
    Answer, Cursor, Event, Failure, Item, Live, Method, Observer, Options, RaiseError, Request, RunError,
    Scope, Start, StepError,
};
use crate::checkpoint::{Checkpoint, CheckpointError, Store};
use crate::graph::{Graph, NodeId};
use crate::host::LogLevel;
use crate::state::State;
use crate::value::{Map, Value};

/// What a host answers while a [`Driver`] runs a graph for it. The defaults are those of a host without functions,
/// actions and languages of its own. `cursor` is the flow that asks, the main one or a branch; what it says of the
/// state is the state that the question is about.
///
/// An error ends the run at once; a function that failed is no error but [`Answer::Failed`].
pub trait Handler {
    /// The host's errors.
    type Error: From<DriveError>;

    /// Calls the function of a node. Answer [`Answer::Result`], [`Answer::Failed`] or [`Answer::Respond`].
    fn call(&mut self, cursor: &Cursor, node: NodeId, reference: u32) -> Result<Answer, Self::Error> {
        let _ = (cursor, node);
        Err(DriveError::NoFunction(reference).into())
    }

    /// Evaluates a condition; `node` is left. Answer [`Answer::Result`] with its value, or [`Answer::Failed`].
    fn condition(&mut self, cursor: &Cursor, node: NodeId, reference: u32) -> Result<Answer, Self::Error> {
        self.call(cursor, node, reference)
    }

    /// Runs an action of the host; [`Answer::Core`] if it has none of that name.
    fn action(
        &mut self,
        cursor: &Cursor,
        node: NodeId,
        name: &str,
        arguments: Arc<Map>,
    ) -> Result<Answer, Self::Error> {
        let _ = (cursor, node, name, arguments);
        Ok(Answer::Core)
    }

    /// Runs a block of code in a language of the host.
    fn code(
        &mut self,
        cursor: &Cursor,
        node: NodeId,
        language: &str,
        source: &str,
        names: Arc<Map>,
    ) -> Result<Answer, Self::Error> {
        let _ = (source, names);
        let node = cursor.topology().name(node);
        Ok(Answer::Failed(Failure {
            class: "RuntimeError".to_owned(),
            text: format!("node '{node}' has code in {language}, which this host does not run"),
            ..Failure::default()
        }))
    }

    /// Lets time pass.
    fn sleep(&mut self, duration: Duration) {
        std::thread::sleep(duration);
    }

    /// Who reads the log records and the progress of the run.
    fn observer(&self) -> Option<Arc<dyn Observer>> {
        None
    }

    /// The least level of log records that are wanted; warnings and errors always come.
    fn level(&self) -> LogLevel {
        LogLevel::Warning
    }
}

/// Why a driven run ended with an error instead of an event.
#[derive(Debug, Clone, Error)]
pub enum DriveError {
    /// The run failed, and its graph has `raise_exceptions`.
    #[error("{}", .0.raised)]
    Raised(RunError),
    /// The run stands on a name that is not in the graph.
    #[error("Node '{0}' not found in the graph")]
    UnknownNode(String),
    /// A condition failed, or a branch with what is no ordinary error.
    #[error("{}", .0.text)]
    Unchanged(Failure),
    /// A node or a condition has a number that is not the host's.
    #[error("{0} is not the number of a function")]
    NoFunction(u32),
    /// The run waits for a branch that is not running.
    #[error("the run waits for a branch that is not running")]
    LostBranch,
    /// The machine refused an answer, or a checkpoint could not be written.
    #[error(transparent)]
    Step(#[from] StepError),
}

impl DriveError {
    /// Python's class of the exception that says the same.
    pub fn class(&self) -> &str {
        match self {
            DriveError::Unchanged(failure) => &failure.class,
            DriveError::UnknownNode(_) => "KeyError",
            _ => "RuntimeError",
        }
    }
}

/// Why a run cannot be resumed.
#[derive(Debug, Clone, Error, PartialEq)]
pub enum ResumeError {
    /// There is no such checkpoint, or it cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// It is a checkpoint of another graph.
    #[error("Checkpoint node '{0}' does not exist in the graph.")]
    UnknownNode(String),
}

/// Where and with what a run begins.
#[derive(Debug, Clone)]
pub struct Beginning {
    /// The place.
    pub start: Start,
    /// The state.
    pub state: Arc<Map>,
    /// The configuration.
    pub config: Arc<Map>,
}

impl Beginning {
    /// At `__start__`.
    pub fn fresh(state: Arc<Map>, config: Arc<Map>) -> Self {
        Beginning { start: Start::Fresh, state, config }
    }

    /// At a checkpoint of the graph's memory store by id, or else of a file by path (`CP-25`).
    pub fn load(graph: &Graph, id: &str, update: &Map, config: &Map) -> Result<Self, ResumeError> {
        let checkpoint = match &graph.settings().store {
            Store::Memory(store) => store.load(id)?,
            _ => Checkpoint::load(Path::new(id))?,
        };
        Beginning::resume(graph, checkpoint, update, config)
    }

    /// At a checkpoint; `update` and `config` go over what it stored.
    pub fn resume(
        graph: &Graph,
        checkpoint: Checkpoint,
        update: &Map,
        config: &Map,
    ) -> Result<Self, ResumeError> {
        let Some(node) = graph.topology().find(&checkpoint.node) else {
            return Err(ResumeError::UnknownNode(checkpoint.node));
        };
        let over = |mut stored: Map, given: &Map| {
            stored.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
            Arc::new(stored)
        };
        Ok(Beginning {
            start: Start::Resume { node, interrupt: checkpoint.interrupt },
            state: over(checkpoint.state, update),
            config: over(checkpoint.config, config),
        })
    }
}

/// A run over a core-resident state that calls its host by itself.
///
/// ```text
/// Driver::new ─▶ next_event until None or an error ─▶ drop (at any time: abandons the run)
/// ```
pub struct Driver<H> {
    handler: H,
    cursor: Cursor,
    /// Branches that were launched and wait for their turn. They run on the caller's thread, one after the
    /// other, when the main flow waits for them.
    branches: VecDeque<Cursor>,
    started: bool,
    /// An error has ended the run.
    failed: bool,
}

impl<H: Handler> Driver<H> {
    /// A run of the graph. Nothing happens before the first event is asked for.
    pub fn new(graph: Arc<Graph>, method: Method, beginning: Beginning, handler: H) -> Self {
        let Beginning { start, state, config } = beginning;
        let options = Options { method, start, run: 0, config };
        Driver::over(Cursor::new(graph, None, State::core(state), options), handler)
    }

    /// A scoped run, which has no events: ask once for the next one, then look at the state. Check the scope
    /// first ([`Topology::check_scope`](crate::graph::Topology::check_scope)).
    pub fn scoped(graph: Arc<Graph>, scope: Scope, state: Arc<Map>, config: Arc<Map>, handler: H) -> Self {
        let mut cursor = Cursor::scoped(graph, None, State::core(state), scope);
        cursor.configure(config);
        Driver::over(cursor, handler)
    }

    fn over(mut cursor: Cursor, handler: H) -> Self {
        if let Some(observer) = handler.observer() {
            cursor.observe(observer);
        }
        Driver { handler, cursor, branches: VecDeque::new(), started: false, failed: false }
    }

    /// The main flow.
    pub fn cursor(&self) -> &Cursor {
        &self.cursor
    }

    /// The state of the main flow as it is now.
    pub fn state(&self) -> &State {
        self.cursor.state()
    }

    /// The host's part.
    pub fn handler(&mut self) -> &mut H {
        &mut self.handler
    }

    /// Runs on to the next event and hands it out as a map; `None` at the end, and after an error.
    pub fn next_event(&mut self) -> Result<Option<Value>, H::Error> {
        if self.failed {
            return Ok(None);
        }
        let result = self.advance();
        self.failed = result.is_err();
        result
    }

    fn advance(&mut self) -> Result<Option<Value>, H::Error> {
        let mut answer = if self.started { Answer::Done } else { Answer::Start { announce: false } };
        self.started = true;
        loop {
            let live = self.live();
            let item = self.cursor.step(answer, live).map_err(DriveError::Step)?;
            answer = match item {
                Item::Done => return Ok(None),
                Item::Event(event) => return Ok(Some(self.cursor.event_value(&event))),
                Item::Error(error) => return self.fail(error),
                Item::Raise(error) => return Err(self.raise(error).into()),
                Item::Wait => {
                    self.run_branch()?;
                    Answer::Done
                }
                Item::Launch { .. } => {
                    let branch = self.cursor.branch(None).map_err(DriveError::Step)?;
                    self.branches.push_back(branch);
                    Answer::Done
                }
                item => answer_to(&mut self.handler, &self.cursor, item)?,
            };
        }
    }

    fn live(&self) -> Live {
        let settings = self.cursor.graph().settings();
        let level = self.handler.level();
        Live {
            stops: !(settings.interrupt_before.is_empty() && settings.interrupt_after.is_empty()),
            raises: settings.raise_exceptions,
            values: settings.log_state_values,
            info: level <= LogLevel::Info,
            debug: level <= LogLevel::Debug,
        }
    }

    /// Runs the next branch in line to its end.
    fn run_branch(&mut self) -> Result<(), H::Error> {
        let mut branch = self.branches.pop_front().ok_or(DriveError::LostBranch)?;
        let mut answer = Answer::Start { announce: false };
        loop {
            let live = self.live();
            answer = match branch.step(answer, live).map_err(DriveError::Step)? {
                Item::Done => return Ok(()),
                Item::Event(event) => Answer::Kept(branch.event_value(&event)),
                Item::Outcome(outcome) => Answer::Kept(branch.outcome_value(&outcome)),
                item => answer_to(&mut self.handler, &branch, item)?,
            };
        }
    }

    /// An error of the run, by the policy of the graph.
    fn fail(&mut self, error: RunError) -> Result<Option<Value>, H::Error> {
        if self.cursor.graph().settings().raise_exceptions {
            return Err(DriveError::Raised(error).into());
        }
        let RunError { node, text, state, .. } = error;
        if self.cursor.is_scoped() {
            self.cursor.note_scoped_error(node, &text).map_err(DriveError::Step)?;
            return Ok(None);
        }
        // The result of a failed branch carries its state.
        let state = state.and_then(|result| match &result {
            Value::Map(map) => map.get("state").filter(|state| state.is_truthy()).cloned(),
            _ => None,
        });
        Ok(Some(self.cursor.event_value(&Event::Error { node, text, state })))
    }

    fn raise(&self, error: RaiseError) -> DriveError {
        match error {
            RaiseError::UnknownNode(node) => {
                DriveError::UnknownNode(self.cursor.topology().name(node).to_owned())
            }
            RaiseError::Unchanged(failure) => DriveError::Unchanged(failure),
        }
    }
}

/// The host's answer to an item of a flow that is no matter of the driver.
fn answer_to<H: Handler>(handler: &mut H, cursor: &Cursor, item: Item) -> Result<Answer, H::Error> {
    Ok(match item {
        Item::Call { node, reference } => handler.call(cursor, node, reference)?,
        Item::Condition { node, reference } => match handler.condition(cursor, node, reference)? {
            Answer::Result(value) => Answer::Choice(value),
            other => other,
        },
        Item::Request { node, request } => match request {
            Request::Action { name, arguments } => handler.action(cursor, node, &name, arguments)?,
            Request::Code { language, source, names } => {
                handler.code(cursor, node, &language, &source, names)?
            }
            Request::Sleep(duration) => {
                handler.sleep(duration);
                Answer::Done
            }
        },
        _ => Answer::Done,
    })
}
