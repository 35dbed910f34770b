//! Runs over JSON states: the engine's ready-made driver behind the ABI.

use std::sync::Arc;

use tea_core::graph::NodeId;
use tea_core::run::{
    Answer, Beginning, Cursor, DriveError, Driver, Failure, Handler, Method, ResumeError, Scope,
};
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
pub struct tea_run(Exclusive<Driver<Functions>>);

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
        let beginning = match options.get("checkpoint") {
            None | Some(Value::Null) if options.get("input") == Some(&Value::Null) => {
                // SG-29: a run that was meant to be resumed must not silently start afresh.
                return Err(Failed::new(TEA_ERR_ARGUMENT, "a checkpoint is required when the input is null"));
            }
            None | Some(Value::Null) => Beginning::fresh(input, config),
            Some(Value::Str(id)) => Beginning::load(&graph.graph, id, &input, &config)?,
            Some(_) => return Err(Failed::new(TEA_ERR_ARGUMENT, "option 'checkpoint' is a path or an id")),
        };
        let driver = Driver::new(Arc::clone(&graph.graph), method, beginning, Functions { graph });
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
        match driver.next_event()? {
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
        let (input, config) = (map(&options, "input")?, map(&options, "config")?);
        let mut driver = Driver::scoped(Arc::clone(&graph.graph), scope, input, config, Functions { graph });
        while driver.next_event()?.is_some() {}
        tea_buffer::put(state, driver.state().value().to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// What the driver asks, answered by the functions that the host registered.
struct Functions {
    graph: Arc<GraphShared>,
}

impl Handler for Functions {
    type Error = Failed;

    fn call(&mut self, cursor: &Cursor, node: NodeId, reference: u32) -> Result<Answer, Failed> {
        let function = self.graph.function(reference).ok_or(DriveError::NoFunction(reference))?;
        let node = cursor.topology().name(node);
        Ok(answer_of(function.call(cursor, node, &self.graph, Arc::default())?))
    }

    fn action(
        &mut self,
        cursor: &Cursor,
        node: NodeId,
        name: &str,
        arguments: Arc<Map>,
    ) -> Result<Answer, Failed> {
        let Some(function) = self.graph.engine.action(name) else { return Ok(Answer::Core) };
        let node = cursor.topology().name(node);
        Ok(answer_of(function.call(cursor, node, &self.graph, arguments)?))
    }
}

fn answer_of(answer: CallAnswer) -> Answer {
    match answer {
        CallAnswer::Value(value) => Answer::Result(value),
        CallAnswer::Failed(failure) => Answer::Failed(failure),
        CallAnswer::Respond(response) => Answer::Respond(response),
    }
}

impl From<DriveError> for Failed {
    fn from(error: DriveError) -> Self {
        let status = match &error {
            DriveError::Raised(_) | DriveError::LostBranch => TEA_ERR_RUN,
            DriveError::UnknownNode(_) => TEA_ERR_NODE,
            DriveError::NoFunction(_) => TEA_ERR_UNKNOWN_ID,
            DriveError::Unchanged(Failure { class, text, .. }) => {
                return Failed { status: TEA_ERR_HOST, class: class.clone(), message: text.clone() };
            }
            DriveError::Step(error) => return error.clone().into(),
        };
        Failed::new(status, error.to_string())
    }
}

impl From<ResumeError> for Failed {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::Checkpoint(error) => error.into(),
            error @ ResumeError::UnknownNode(_) => Failed::new(TEA_ERR_CORRUPT, error.to_string()),
        }
    }
}
