//! The ready-made driver: runs a graph over JSON states and calls the host's functions itself.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use tea_core::checkpoint::{Checkpoint, Store};
use tea_core::graph::NodeId;
use tea_core::run::{
    Answer, Cursor, Event, Failure, Item, Live, Method, Options, RaiseError, Request, RunError, Scope, Start,
};
use tea_core::state::State;
use tea_core::value::{Map, Value};

use crate::call::CallAnswer;
use crate::error::{Failed, tea_error};
use crate::graph::{GraphShared, options, tea_graph};
use crate::guard::{Exclusive, guarded, handle, output};
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// A run over a state that lives in the engine. Functions of the host are called on the thread that asks for the
/// next event.
///
///     tea_run_new ─▶ tea_run_next until TEA_DONE ─▶ tea_run_free (at any time: abandons the run)
#[allow(non_camel_case_types)]
pub struct tea_run(Exclusive<Driver>);

struct Driver {
    graph: Arc<GraphShared>,
    cursor: Cursor,
    /// Branches that were launched and wait for their turn. They run on the caller's thread, one after the
    /// other, when the main flow waits for them.
    branches: VecDeque<Cursor>,
    started: bool,
    /// An error has ended the run.
    failed: bool,
}

/// Starts a run; nothing happens before the first tea_run_next. `options` is a JSON map:
/// `method` ("invoke", the default: only what ends the run is an event; "stream": each node is one, too),
/// `input` (a map, the state to begin with, or the update of a resumed run; default empty; null says that there
/// is none, and needs a checkpoint), `config` (a map), `checkpoint` (path or id from which to resume).
///
/// # Safety
/// `graph` is a live graph, `options` valid text, `out` writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_run_new(
    graph: *const tea_graph,
    options: tea_str,
    out: *mut *mut tea_run,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = Arc::clone(&handle(graph, "graph")?.0);
        let options = self::options(options, &["method", "input", "config", "checkpoint"])?;
        let method = match options.get("method") {
            None | Some(Value::Null) => Method::Invoke,
            Some(Value::Str(method)) if **method == *"invoke" => Method::Invoke,
            Some(Value::Str(method)) if **method == *"stream" => Method::Stream,
            Some(_) => {
                return Err(Failed::new(TEA_ERR_ARGUMENT, "option 'method' is \"invoke\" or \"stream\""));
            }
        };
        let (input, config) = (map(&options, "input")?, map(&options, "config")?);
        let (start, state, config) = match options.get("checkpoint") {
            None | Some(Value::Null) if options.get("input") == Some(&Value::Null) => {
                // SG-29: a run that was meant to be resumed must not silently start afresh.
                return Err(Failed::new(TEA_ERR_ARGUMENT, "a checkpoint is required when the input is null"));
            }
            None | Some(Value::Null) => (Start::Fresh, input, config),
            Some(Value::Str(id)) => resume(&graph, id, &input, &config)?,
            Some(_) => return Err(Failed::new(TEA_ERR_ARGUMENT, "option 'checkpoint' is a path or an id")),
        };
        let options = Options { method, start, run: 0, config };
        let cursor = Cursor::new(Arc::clone(&graph.graph), None, State::core(state), options);
        let driver = Driver { graph, cursor, branches: VecDeque::new(), started: false, failed: false };
        output(out, "run", || Ok(tea_run(Exclusive::new(driver))))?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

fn map(options: &Map, key: &str) -> Result<Arc<Map>, Failed> {
    match options.get(key) {
        None | Some(Value::Null) => Ok(Arc::default()),
        Some(Value::Map(map)) => Ok(Arc::clone(map)),
        Some(other) => {
            let message = format!("option '{key}': a map is expected, not {}", other.type_name());
            Err(Failed::new(TEA_ERR_ARGUMENT, message))
        }
    }
}

type Beginning = (Start, Arc<Map>, Arc<Map>);

/// Loads a checkpoint and puts the given state and configuration over the stored ones (`CP-25`).
fn resume(graph: &GraphShared, id: &str, update: &Map, given: &Map) -> Result<Beginning, Failed> {
    let checkpoint = match &graph.graph.settings().store {
        Store::Memory(store) => store.load(id)?,
        _ => Checkpoint::load(Path::new(id))?,
    };
    let Some(node) = graph.graph.topology().find(&checkpoint.node) else {
        let message = format!("Checkpoint node '{}' does not exist in the graph.", checkpoint.node);
        return Err(Failed::new(TEA_ERR_CORRUPT, message));
    };
    let over = |mut stored: Map, given: &Map| {
        stored.extend(given.iter().map(|(key, value)| (key.clone(), value.clone())));
        Arc::new(stored)
    };
    let start = Start::Resume { node, interrupt: checkpoint.interrupt };
    Ok((start, over(checkpoint.state, update), over(checkpoint.config, given)))
}

/// Runs on until there is an event and hands it out as JSON: TEA_OK with an event, TEA_DONE without one at the
/// end. An error ends the run.
///
/// # Safety
/// `run` is a live run, `event` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_run_next(
    run: *mut tea_run,
    event: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let mut driver = unsafe { handle(run, "run") }?.0.get()?;
        tea_buffer::check(event)?;
        match driver.advance()? {
            Some(value) => {
                // SAFETY: the caller's promise.
                unsafe { tea_buffer::put(event, value.to_json()) }?;
                Ok(TEA_OK)
            }
            None => Ok(TEA_DONE),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Frees a run, which abandons it. NULL is fine.
///
/// # Safety
/// `run` is NULL or a run that was not freed and that no thread is using.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_run_free(run: *mut tea_run) {
    if !run.is_null() {
        // SAFETY: made by `tea_run_new`, and the caller gives it up.
        drop(unsafe { Box::from_raw(run) });
    }
}

/// Runs from node `entry` until before node `exit`, without events, interrupts or checkpoints, and hands out the
/// state. `options` is a JSON map of `entry`, `exit`, `input`, `config`. A failing node: with
/// `raise_exceptions` TEA_ERR_RUN, else the state has the key `_scoped_error`.
///
/// # Safety
/// `graph` is a live graph, `options` valid text, `state` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_graph_run_scoped(
    graph: *const tea_graph,
    options: tea_str,
    state: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let graph = Arc::clone(&handle(graph, "graph")?.0);
        tea_buffer::check(state)?;
        let options = self::options(options, &["entry", "exit", "input", "config"])?;
        let end = |key: &str| match options.get(key) {
            // A name that is not in the graph gets a number, so that the check can name it.
            Some(Value::Str(name)) => Ok(graph.graph.edit(|topology| topology.intern(name, name))),
            _ => Err(Failed::new(TEA_ERR_ARGUMENT, format!("option '{key}' is the name of a node"))),
        };
        let scope = Scope { entry: end("entry")?, exit: end("exit")? };
        graph.graph.topology().check_scope(scope.entry, scope.exit)?;
        let input = State::core(map(&options, "input")?);
        let mut cursor = Cursor::scoped(Arc::clone(&graph.graph), None, input, scope);
        cursor.configure(map(&options, "config")?);
        let mut driver = Driver { graph, cursor, branches: VecDeque::new(), started: false, failed: false };
        while driver.next()?.is_some() {}
        tea_buffer::put(state, driver.cursor.state().value().to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

impl Driver {
    fn live(&self) -> Live {
        let settings = self.graph.graph.settings();
        Live {
            stops: !(settings.interrupt_before.is_empty() && settings.interrupt_after.is_empty()),
            raises: settings.raise_exceptions,
            values: settings.log_state_values,
            info: false,
            debug: false,
        }
    }

    /// The next event; `None` at the end, and after an error.
    fn advance(&mut self) -> Result<Option<Value>, Failed> {
        if self.failed {
            return Ok(None);
        }
        let result = self.next();
        self.failed = result.is_err();
        result
    }

    fn next(&mut self) -> Result<Option<Value>, Failed> {
        let mut answer = if self.started { Answer::Done } else { Answer::Start { announce: false } };
        self.started = true;
        loop {
            let item = self.cursor.step(answer, self.live())?;
            answer = match item {
                Item::Done => return Ok(None),
                Item::Event(event) => return Ok(Some(self.cursor.event_value(&event))),
                Item::Error(error) => return self.fail(error),
                Item::Raise(error) => return Err(self.raise(error)),
                Item::Wait => {
                    self.run_branch()?;
                    Answer::Done
                }
                Item::Launch { .. } => {
                    let branch = self.cursor.branch(None)?;
                    self.branches.push_back(branch);
                    Answer::Done
                }
                Item::Call { node, reference } => call(&self.graph, &self.cursor, node, reference)?,
                Item::Condition { node, reference } => {
                    match call(&self.graph, &self.cursor, node, reference)? {
                        Answer::Result(value) => Answer::Choice(value),
                        other => other,
                    }
                }
                Item::Request { node, request } => request_of(&self.graph, &self.cursor, node, request)?,
                Item::Store { .. } | Item::Outcome(_) | Item::Pause | Item::Calls(_) => Answer::Done,
            };
        }
    }

    /// Runs the next branch in line to its end.
    fn run_branch(&mut self) -> Result<(), Failed> {
        let Some(mut branch) = self.branches.pop_front() else {
            return Err(Failed::new(TEA_ERR_RUN, "the run waits for a branch that is not running"));
        };
        let mut answer = Answer::Start { announce: false };
        loop {
            answer = match branch.step(answer, self.live())? {
                Item::Done => return Ok(()),
                Item::Event(event) => Answer::Kept(branch.event_value(&event)),
                Item::Outcome(outcome) => Answer::Kept(branch.outcome_value(&outcome)),
                Item::Call { node, reference } => call(&self.graph, &branch, node, reference)?,
                Item::Condition { node, reference } => match call(&self.graph, &branch, node, reference)? {
                    Answer::Result(value) => Answer::Choice(value),
                    other => other,
                },
                Item::Request { node, request } => request_of(&self.graph, &branch, node, request)?,
                _ => Answer::Done,
            };
        }
    }

    /// An error of the run, by the policy of the graph.
    fn fail(&mut self, error: RunError) -> Result<Option<Value>, Failed> {
        let RunError { node, text, raised, state, .. } = error;
        if self.graph.graph.settings().raise_exceptions {
            return Err(Failed::new(TEA_ERR_RUN, raised));
        }
        if self.cursor.is_scoped() {
            self.cursor.note_scoped_error(node, &text)?;
            return Ok(None);
        }
        // The result of a failed branch carries its state.
        let state = state.and_then(|result| match &result {
            Value::Map(map) => map.get("state").filter(|state| state.is_truthy()).cloned(),
            _ => None,
        });
        Ok(Some(self.cursor.event_value(&Event::Error { node, text, state })))
    }

    fn raise(&self, error: RaiseError) -> Failed {
        match error {
            RaiseError::UnknownNode(node) => {
                let name = self.cursor.topology().name(node).to_owned();
                Failed::new(TEA_ERR_NODE, format!("Node '{name}' not found in the graph"))
            }
            RaiseError::Unchanged(Failure { class, text, .. }) => {
                Failed { status: TEA_ERR_HOST, class, message: text }
            }
        }
    }
}

/// Answers a request of the engine's own work: actions that the host registered, and sleeping. Other actions are
/// the engine's; there is no language of code but the engine's own.
fn request_of(
    graph: &Arc<GraphShared>,
    cursor: &Cursor,
    node: NodeId,
    request: Request,
) -> Result<Answer, Failed> {
    let node = cursor.topology().name(node);
    match request {
        Request::Action { name, arguments } => match graph.engine.action(&name) {
            Some(function) => Ok(answer_of(function.call(cursor, node, graph, arguments)?)),
            None => Ok(Answer::Core),
        },
        Request::Code { language, .. } => Ok(Answer::Failed(Failure {
            class: "RuntimeError".to_owned(),
            text: format!("node '{node}' has code in {language}, which this host does not run"),
            ..Failure::default()
        })),
        Request::Sleep(duration) => {
            std::thread::sleep(duration);
            Ok(Answer::Done)
        }
    }
}

fn answer_of(answer: CallAnswer) -> Answer {
    match answer {
        CallAnswer::Value(value) => Answer::Result(value),
        CallAnswer::Failed(failure) => Answer::Failed(failure),
        CallAnswer::Respond(response) => Answer::Respond(response),
    }
}

/// Calls a function of the host for a node of a flow.
fn call(graph: &Arc<GraphShared>, cursor: &Cursor, node: NodeId, reference: u32) -> Result<Answer, Failed> {
    let Some(function) = graph.function(reference) else {
        return Err(Failed::new(TEA_ERR_UNKNOWN_ID, format!("{reference} is not the number of a function")));
    };
    let node = cursor.topology().name(node);
    Ok(answer_of(function.call(cursor, node, graph, Arc::default())?))
}
