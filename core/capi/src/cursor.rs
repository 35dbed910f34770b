//! The step machine, pulled by a host with live objects (`core/engine/src/run`).

use std::sync::Arc;
use std::time::Duration;

use tea_core::graph::{Action, Graph, NodeId};
use tea_core::host::{HostRef, When};
use tea_core::run::{Answer, Cursor, Event, Failure, Item, Live, Method, Options, Response, Scope, Start};
use tea_core::state::State;
use tea_core::value::Value;

use crate::error::{Failed, tea_error};
use crate::graph::{GraphShared, known, tea_graph};
use crate::guard::{Exclusive, guarded, handle, output};
use crate::host::TableHost;
use crate::item::{
    calls_number, details, kept, kind_of, number, tea_answer_kind, tea_flag, tea_item, tea_item_kind,
    tea_mode,
};
use crate::status::tea_status::{self, *};
use crate::text::tea_str;

/// One flow of a run: the main flow, a branch, or a scoped run.
///
///     tea_cursor_new ─▶ tea_cursor_step until TEA_ITEM_DONE ─▶ tea_cursor_free (at any time: abandons the run)
#[allow(non_camel_case_types)]
pub struct tea_cursor(Exclusive<Pulled>);

struct Pulled {
    cursor: Cursor,
    host: Arc<TableHost>,
    graph: Arc<GraphShared>,
    failure: Failure,
    note: String,
    result: Value,
    /// The last item asked for several calls.
    calls: bool,
    /// JSON text of the last item.
    json: String,
    /// Keeps the texts of the last item, and the references that it carries.
    last: Option<Item>,
}

fn make(
    graph: &tea_graph,
    object: u64,
    make: impl FnOnce(Arc<TableHost>, State) -> Cursor,
) -> Result<tea_cursor, Failed> {
    let Some(host) = graph.0.engine.table_host() else {
        let message = "a cursor needs a host with live objects (tea_engine_set_host); use tea_run_new";
        return Err(Failed::new(TEA_ERR_ARGUMENT, message));
    };
    let cursor = make(Arc::clone(&host), lent_state(object, &host)?);
    Ok(tea_cursor(Exclusive::new(Pulled::new(cursor, host, &graph.0))))
}

/// A state that the host keeps alive.
pub(crate) fn lent_state(object: u64, host: &Arc<TableHost>) -> Result<State, Failed> {
    if object == 0 {
        return Err(Failed::new(TEA_ERR_UNKNOWN_ID, "0 is not the id of an object"));
    }
    Ok(State::Host { object: HostRef::lent(object), host: host.clone() })
}

/// Starts a run over a live state: nothing happens before the first step. `mode` combines
/// tea_mode's. `state` is the id of the state, which the host keeps alive as long as the cursor. `run` is handed
/// back to `stops`. `node` is -1 for a fresh run, else the number of the checkpoint's node; `interrupt` says
/// which one made the checkpoint: 1 before the node, 2 after it, 0 unknown.
///
/// # Safety
/// `graph` is a live graph, `out` writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_new(
    graph: *const tea_graph,
    mode: u32,
    state: u64,
    run: u64,
    node: i64,
    interrupt: u32,
    out: *mut *mut tea_cursor,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let graph = unsafe { handle(graph, "graph") }?;
        let start = match NodeId::try_from(node) {
            Ok(node) => {
                known(&graph.0.graph.topology(), node)?;
                let interrupt = match interrupt {
                    1 => Some(When::Before),
                    2 => Some(When::After),
                    _ => None,
                };
                Start::Resume { node, interrupt }
            }
            Err(_) => Start::Fresh,
        };
        let stream = mode & tea_mode::TEA_MODE_STREAM as u32 != 0;
        let method = if stream { Method::Stream } else { Method::Invoke };
        let make = || {
            make(graph, state, |host, state| {
                let options = Options { method, start, run, config: Arc::default() };
                let mut cursor = Cursor::new(Arc::clone(&graph.0.graph), Some(host), state, options);
                if mode & tea_mode::TEA_MODE_RUNS as u32 != 0 {
                    cursor.allow_runs();
                }
                cursor
            })
        };
        // SAFETY: the caller's promise.
        unsafe { output(out, "cursor", make) }?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Starts a scoped run over a live state: from node `entry` until before node `exit`, without events. Refused
/// with TEA_ERR_BUILD if an end is not in the graph, both are the same, or no path joins them.
///
/// # Safety
/// `graph` is a live graph, `out` writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_new_scoped(
    graph: *const tea_graph,
    state: u64,
    entry: u32,
    exit: u32,
    out: *mut *mut tea_cursor,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let graph = unsafe { handle(graph, "graph") }?;
        graph.0.graph.topology().check_scope(entry, exit)?;
        let make = || {
            make(graph, state, |host, state| {
                let scope = Scope { entry, exit };
                Cursor::scoped(Arc::clone(&graph.0.graph), Some(host), state, scope)
            })
        };
        // SAFETY: the caller's promise.
        unsafe { output(out, "cursor", make) }?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Starts one program of an agent by itself, over a live state: as if it were the function of the only node, which has
/// this name and the number 2. The run gives no events but the one that ends it.
///
/// # Safety
/// `graph` is a live graph made by tea_agent_load, `name` valid text, `out` writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_new_program(
    graph: *const tea_graph,
    program: u32,
    name: tea_str,
    state: u64,
    out: *mut *mut tea_cursor,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let (graph, name) = unsafe { (handle(graph, "graph")?, name.text("name")?) };
        let library = graph.0.graph.library();
        let Some(program) = library.programs.get(program as usize) else {
            return Err(Failed::new(TEA_ERR_UNKNOWN_ID, format!("{program} is not the number of a program")));
        };
        let only = Arc::new(Graph::new());
        only.add_node(name, Action::Program(Arc::clone(program)))?;
        only.set_entry_point(name)?;
        only.set_finish_point(name)?;
        let handle = tea_graph::made(Arc::clone(&only), Arc::clone(&graph.0.engine), graph.0.context.clone());
        let make = || {
            make(&handle, state, |host, state| {
                let options = Options {
                    method: Method::Invoke,
                    start: Start::Fresh,
                    run: state_id(&state),
                    config: Arc::default(),
                };
                Cursor::new(only, Some(host), state, options)
            })
        };
        // SAFETY: the caller's promise.
        unsafe { output(out, "cursor", make) }?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

fn state_id(state: &State) -> u64 {
    kept(Some(&state.value()))
}

/// Makes the cursor of the branch that a TEA_ITEM_LAUNCH asked for. `state` is the id of the branch's own copy
/// of the state. Any thread may drive it; freeing it before its end counts as a failure of the branch.
///
/// # Safety
/// `cursor` is a live cursor, `out` writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_branch(
    cursor: *mut tea_cursor,
    state: u64,
    out: *mut *mut tea_cursor,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let mut pulled = unsafe { handle(cursor, "cursor") }?.0.get()?;
        let host = Arc::clone(&pulled.host);
        let state = lent_state(state, &host)?;
        let make = || {
            let branch = pulled.cursor.branch(Some(state))?;
            Ok(tea_cursor(Exclusive::new(Pulled::new(branch, host, &pulled.graph))))
        };
        // SAFETY: the caller's promise.
        unsafe { output(out, "branch", make) }?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Frees a cursor, which abandons its run; `release` may be called. NULL is fine.
///
/// # Safety
/// `cursor` is NULL or a cursor that was not freed and that no thread is using.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_free(cursor: *mut tea_cursor) {
    let body = || {
        if !cursor.is_null() {
            // SAFETY: made by this file, and the caller gives it up.
            let cursor = unsafe { Box::from_raw(cursor) };
            let host = cursor.0.get().ok().map(|pulled| Arc::clone(&pulled.host));
            drop(cursor);
            // What the run still held goes back now: there may be no further step of any run.
            if let Some(host) = host {
                host.release();
            }
        }
        Ok(TEA_OK)
    };
    // SAFETY: no error object is asked for.
    let _: tea_status = unsafe { guarded(std::ptr::null_mut(), body) };
}

/// Tells why the function of the present call failed, before TEA_ANSWER_FAILED. `reference` is the host's own
/// number for its error object, handed back when the object is to be raised (0: none); `fatal` is 1 for what is
/// no ordinary error and must end the run unchanged.
///
/// # Safety
/// `cursor` is a live cursor, the texts are valid, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_fail(
    cursor: *mut tea_cursor,
    reference: u64,
    error_class: tea_str,
    message: tea_str,
    fatal: u32,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let mut pulled = handle(cursor, "cursor")?.0.get()?;
        pulled.failure = Failure {
            reference,
            class: error_class.text("error_class")?.to_owned(),
            text: message.text("message")?.to_owned(),
            fatal: fatal != 0,
        };
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// A text that goes with the next answer: the value of a condition for the record of its edge (only needed with
/// TEA_FLAG_DEBUG), or the status of a response.
///
/// # Safety
/// `cursor` is a live cursor, `text` valid, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_note(
    cursor: *mut tea_cursor,
    text: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let mut pulled = handle(cursor, "cursor")?.0.get()?;
        pulled.note = text.text("text")?.to_owned();
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Copies the nodes of the last TEA_ITEM_CALLS into an array of the caller, at most `n`; behind them, if there is a
/// condition, -1 minus its reference, and then 1 if all may be done again when it leads to the first node, else 0.
/// Returns how many numbers there are.
///
/// # Safety
/// `cursor` is a live cursor, `nodes` points to room for `n` numbers, `err` is NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_nodes(
    cursor: *mut tea_cursor,
    nodes: *mut i64,
    n: usize,
    err: *mut *mut tea_error,
) -> i64 {
    let body = || {
        // SAFETY: the caller's promise.
        let pulled = unsafe { handle(cursor, "cursor") }?.0.get()?;
        let Some(Item::Calls(calls)) = &pulled.last else {
            return Err(Failed::new(TEA_ERR_ANSWER, "the last item asked for no calls"));
        };
        if nodes.is_null() {
            return Err(Failed::new(TEA_ERR_NULL, "nodes is NULL"));
        }
        let asked = calls.nodes.iter().map(|node| i64::from(*node));
        let condition = calls.condition.map(|reference| -1 - i64::from(reference));
        let repeat = condition.map(|_| i64::from(calls.repeat));
        let asked: Vec<i64> = asked.chain(condition).chain(repeat).collect();
        // SAFETY: not NULL, with room for `n` numbers by the caller's promise; `asked` is memory of its own.
        unsafe { std::ptr::copy_nonoverlapping(asked.as_ptr(), nodes, asked.len().min(n)) };
        Ok(asked.len() as i64)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The result that goes with TEA_ANSWER_RESULT, as JSON; references to objects of the host are handed over.
///
/// # Safety
/// `cursor` is a live cursor, `json` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_result(
    cursor: *mut tea_cursor,
    json: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let mut pulled = handle(cursor, "cursor")?.0.get()?;
        pulled.result = Value::from_json_with(json.bytes("json")?, &pulled.graph.engine.references)?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Waits until a branch has reported, at most `milliseconds`: TEA_OK if there is something, TEA_PENDING if not.
/// Holds nothing: other threads may work on the branches.
///
/// # Safety
/// `cursor` is a live cursor, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_wait(
    cursor: *mut tea_cursor,
    milliseconds: u32,
    err: *mut *mut tea_error,
) -> tea_status {
    let body = || {
        // SAFETY: the caller's promise.
        let pulled = unsafe { handle(cursor, "cursor") }?.0.get()?;
        let mailbox = pulled.cursor.mailbox().cloned();
        drop(pulled);
        let ready = mailbox.is_none_or(|mailbox| mailbox.wait(Duration::from_millis(milliseconds.into())));
        Ok(if ready { TEA_OK } else { TEA_PENDING })
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Answers the item before and advances to the next one. Returns a tea_item_kind in the low 8 bits with a
/// number above it, or a status below 0. `item` is filled for the kinds that say so; it may be NULL, and then
/// its details are lost.
///
/// # Safety
/// `cursor` is a live cursor, `item` NULL or writable, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_cursor_step(
    cursor: *mut tea_cursor,
    answer: i64,
    item: *mut tea_item,
    err: *mut *mut tea_error,
) -> i64 {
    let body = || {
        // SAFETY: the caller's promise.
        let mut pulled = unsafe { handle(cursor, "cursor") }?.0.get()?;
        let pulled = &mut *pulled;
        pulled.last = None;
        if pulled.host.has_released() {
            pulled.host.release();
        }
        let flags = (answer >> 8) & 0xff;
        let live = Live {
            stops: flags & tea_flag::TEA_FLAG_STOPS as i64 != 0,
            info: flags & tea_flag::TEA_FLAG_INFO as i64 != 0,
            debug: flags & tea_flag::TEA_FLAG_DEBUG as i64 != 0,
            values: flags & tea_flag::TEA_FLAG_VALUES as i64 != 0,
            raises: flags & tea_flag::TEA_FLAG_RAISES as i64 != 0,
        };
        let answer = pulled.answer(answer & 0xff, answer >> 16)?;
        let next = pulled.cursor.step(answer, live)?;
        let (kind, number) = match &next {
            Item::Call { node, .. } => return Ok(number(tea_item_kind::TEA_ITEM_CALL, *node)),
            Item::Condition { reference, .. } => {
                return Ok(number(tea_item_kind::TEA_ITEM_CONDITION, *reference));
            }
            Item::Event(Event::State { node }) => return Ok(number(tea_item_kind::TEA_ITEM_STATE, *node)),
            Item::Done => return Ok(number(tea_item_kind::TEA_ITEM_DONE, 0)),
            Item::Calls(calls) => {
                let number = calls_number(&calls.nodes, calls.generation);
                pulled.last = Some(next);
                pulled.calls = true;
                return Ok(number);
            }
            // A branch's event is told from the main flow's by the flow that delivers it.
            Item::Event(Event::ParallelState { node, .. }) => (tea_item_kind::TEA_ITEM_STATE, *node),
            other => (kind_of(other), 0),
        };
        let next = pulled.last.insert(next);
        if !item.is_null() {
            let mut details = details(next, &mut pulled.json);
            if let (Item::Request { .. }, Some(state)) = (&*next, pulled.cursor.lent_state()) {
                details.result = kept(Some(&state.value()));
            }
            // SAFETY: not NULL, and writable by the caller's promise. The texts belong to `last`.
            unsafe { item.write(details) };
        }
        Ok(self::number(kind, number))
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

impl Pulled {
    fn new(cursor: Cursor, host: Arc<TableHost>, graph: &Arc<GraphShared>) -> Self {
        Pulled {
            cursor,
            host,
            graph: Arc::clone(graph),
            failure: Failure::default(),
            note: String::new(),
            result: Value::Null,
            calls: false,
            json: String::new(),
            last: None,
        }
    }

    /// The target of a condition as an answer gives it.
    fn target(&self, payload: i64) -> Result<Option<NodeId>, Failed> {
        match u32::try_from(payload) {
            Ok(0) => Ok(None),
            Ok(node) => {
                // Most are known to the cursor; a new one is known to the graph only.
                if node as usize > self.cursor.topology().capacity() {
                    known(&self.graph.graph.topology(), node - 1)?;
                }
                Ok(Some(node - 1))
            }
            Err(_) => {
                let message = format!("{payload} is not the number of a node");
                Err(Failed::new(TEA_ERR_UNKNOWN_ID, message))
            }
        }
    }

    fn answer(&mut self, kind: i64, payload: i64) -> Result<Answer, Failed> {
        use tea_answer_kind::*;
        let after = usize::try_from(payload).unwrap_or(usize::MAX);
        let calls = std::mem::take(&mut self.calls);
        Ok(match kind {
            kind if kind == TEA_ANSWER_DONE as i64 => Answer::Done,
            kind if kind == TEA_ANSWER_TARGET as i64 => {
                if !self.note.is_empty() {
                    self.cursor.show_choice(std::mem::take(&mut self.note));
                }
                Answer::Target(self.target(payload)?)
            }
            kind if kind == TEA_ANSWER_START as i64 => Answer::Start { announce: payload == 1 },
            kind if kind == TEA_ANSWER_RAN_TO as i64 => {
                let times = u64::try_from(payload >> 25).unwrap_or_default() + 1;
                Answer::RanTo { target: self.target(payload & 0x1ff_ffff)?, times }
            }
            kind if kind == TEA_ANSWER_RAN as i64 => Answer::Ran(after),
            kind if kind == TEA_ANSWER_FAILED as i64 && calls => {
                Answer::FailedAfter(after, std::mem::take(&mut self.failure))
            }
            kind if kind == TEA_ANSWER_FAILED as i64 => Answer::Failed(std::mem::take(&mut self.failure)),
            kind if kind == TEA_ANSWER_RESPOND as i64 => {
                let response = Response {
                    status: std::mem::take(&mut self.note).into(),
                    body: Value::Null,
                    headers: Value::Null,
                };
                if calls { Answer::RespondAfter(after, response) } else { Answer::Respond(response) }
            }
            kind if kind == TEA_ANSWER_RESULT as i64 => Answer::Result(std::mem::take(&mut self.result)),
            kind if kind == TEA_ANSWER_CORE as i64 => Answer::Core,
            kind if kind == TEA_ANSWER_STORED as i64 => Answer::Stored(None),
            kind if kind == TEA_ANSWER_KEPT as i64 => match u64::try_from(payload) {
                Ok(id) if id > 0 => {
                    Answer::Kept(Value::Host(HostRef::new(id, &self.graph.engine.references)))
                }
                _ => return Err(Failed::new(TEA_ERR_UNKNOWN_ID, "0 is not the id of an object")),
            },
            kind => return Err(Failed::new(TEA_ERR_ARGUMENT, format!("{kind} is no kind of answer"))),
        })
    }
}
