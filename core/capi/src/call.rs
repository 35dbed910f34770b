//! Calls of the host's functions: nodes, conditions and actions share one signature.

use std::ffi::c_void;
use std::sync::Arc;

use tea_core::run::{Cursor, Failure, Response};
use tea_core::value::{Map, Value};

use crate::error::{Failed, tea_error};
use crate::graph::{GraphShared, tea_graph};
use crate::guard::{Upcall, guarded, handle};
use crate::host::Foreign;
use crate::status::tea_status::{self, *};
use crate::text::{tea_buffer, tea_str};

/// One call of a function of the host. Only valid within the call, on its thread.
///
///     read:    tea_call_state, tea_call_get, tea_call_config, tea_call_arguments, tea_call_node, tea_call_graph
///     answer:  tea_call_return (once; without it the result is null), tea_call_fail, tea_call_respond
#[allow(non_camel_case_types)]
pub struct tea_call {
    pub(crate) state: Value,
    pub(crate) config: Value,
    pub(crate) arguments: Value,
    pub(crate) node: String,
    pub(crate) graph: tea_graph,
    pub(crate) answer: CallAnswer,
}

/// What a function said.
pub(crate) enum CallAnswer {
    Value(Value),
    Failed(Failure),
    Respond(Response),
}

/// A function of the host: node, condition or action. It reads from `call` and answers through it. It returns
/// TEA_OK, or a status below 0 if it failed; say why by tea_call_fail.
#[allow(non_camel_case_types)]
pub type tea_function = Option<unsafe extern "C" fn(user_data: *mut c_void, call: *mut tea_call) -> i32>;

/// A registered function with its data.
pub(crate) struct Function {
    function: unsafe extern "C" fn(*mut c_void, *mut tea_call) -> i32,
    foreign: Foreign,
}

impl Function {
    pub(crate) fn new(function: tea_function, foreign: Foreign) -> Result<Arc<Self>, Failed> {
        match function {
            Some(function) => Ok(Arc::new(Function { function, foreign })),
            None => Err(Failed::new(TEA_ERR_NULL, "the function is NULL")),
        }
    }

    /// Calls the function for the node on which a cursor stands.
    pub(crate) fn call(
        &self,
        cursor: &Cursor,
        node: &str,
        graph: &Arc<GraphShared>,
        arguments: Arc<Map>,
    ) -> Result<CallAnswer, Failed> {
        let mut call = tea_call {
            state: cursor.state().value(),
            config: Value::Map(Arc::clone(cursor.config())),
            arguments: Value::Map(arguments),
            node: node.to_owned(),
            graph: tea_graph(Arc::clone(graph)),
            answer: CallAnswer::Value(Value::Null),
        };
        let _upcall = Upcall::begin()?;
        // SAFETY: registered by the host together with the data; `call` lives through the call.
        let status = unsafe { (self.function)(self.foreign.data, &raw mut call) };
        Ok(match call.answer {
            CallAnswer::Value(_) if status < 0 => CallAnswer::Failed(Failure {
                class: "RuntimeError".to_owned(),
                text: format!("the function of node '{node}' failed with status {status}"),
                ..Failure::default()
            }),
            answer => answer,
        })
    }
}

/// Borrows a call for writing.
///
/// # Safety
/// `call` is NULL or the call that the running function was given.
unsafe fn writable<'a>(call: *mut tea_call) -> Result<&'a mut tea_call, Failed> {
    // SAFETY: the caller's promise.
    unsafe { call.as_mut() }.ok_or_else(|| Failed::new(TEA_ERR_NULL, "call is NULL"))
}

/// The whole state as JSON.
///
/// # Safety
/// `call` is the call at hand, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_state(
    call: *const tea_call,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        tea_buffer::put(out, handle(call, "call")?.state.to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The value under a top-level key of the state as JSON. Without such a key: TEA_ERR_UNKNOWN_ID.
///
/// # Safety
/// `call` is the call at hand, `key` valid text, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_get(
    call: *const tea_call,
    key: tea_str,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (call, key) = (handle(call, "call")?, key.text("key")?);
        match call.state.as_map().and_then(|state| state.get(key)) {
            Some(value) => {
                tea_buffer::put(out, value.to_json())?;
                Ok(TEA_OK)
            }
            None => Err(Failed::new(TEA_ERR_UNKNOWN_ID, format!("the state has no key '{key}'"))),
        }
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The configuration of the run as JSON.
///
/// # Safety
/// `call` is the call at hand, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_config(
    call: *const tea_call,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        tea_buffer::put(out, handle(call, "call")?.config.to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The arguments of an action as a JSON map; empty for a node and a condition.
///
/// # Safety
/// `call` is the call at hand, `out` a buffer, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_arguments(
    call: *const tea_call,
    out: *mut tea_buffer,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        tea_buffer::put(out, handle(call, "call")?.arguments.to_json())?;
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The name of the node; for a condition the node that is left. Valid within the call.
///
/// # Safety
/// `call` is NULL or the call at hand.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_node(call: *const tea_call) -> tea_str {
    // SAFETY: the caller's promise.
    unsafe { call.as_ref() }.map_or(tea_str::EMPTY, |call| tea_str::of(&call.node))
}

/// The graph that is running, which may be changed. Borrowed: valid within the call, not to be freed.
///
/// # Safety
/// `call` is NULL or the call at hand.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_graph(call: *const tea_call) -> *const tea_graph {
    // SAFETY: the caller's promise.
    unsafe { call.as_ref() }.map_or(std::ptr::null(), |call| &raw const call.graph)
}

/// The result of the function, as JSON. Of a node: a map is merged into the state, anything else becomes its
/// key `result`. Of a condition: the value that chooses the edge.
///
/// # Safety
/// `call` is the call at hand, `json` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_return(
    call: *mut tea_call,
    json: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (call, json) = (writable(call)?, json.bytes("json")?);
        call.answer = CallAnswer::Value(Value::from_json(json)?);
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// The function failed; `error_class` names the kind of the error, as in `ValueError`, and may be empty.
///
/// # Safety
/// `call` is the call at hand, the texts valid, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_fail(
    call: *mut tea_call,
    error_class: tea_str,
    message: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (call, class) = (writable(call)?, error_class.text("error_class")?);
        let class = if class.is_empty() { "RuntimeError" } else { class };
        call.answer = CallAnswer::Failed(Failure {
            class: class.to_owned(),
            text: message.text("message")?.to_owned(),
            ..Failure::default()
        });
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}

/// Answers for the whole run, which ends with an `http_response` event: a JSON map with `status` (default
/// 200), `body` (default null) and `headers` (default empty).
///
/// # Safety
/// `call` is the call at hand, `json` valid text, `err` NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn tea_call_respond(
    call: *mut tea_call,
    json: tea_str,
    err: *mut *mut tea_error,
) -> tea_status {
    // SAFETY: the caller's promise.
    let body = || unsafe {
        let (call, json) = (writable(call)?, json.bytes("json")?);
        let Value::Map(map) = Value::from_json(json)? else {
            return Err(Failed::new(TEA_ERR_JSON, "an answer is a map of status, body and headers"));
        };
        let given = |key: &str, default: Value| map.get(key).cloned().unwrap_or(default);
        let mut headers = match given("headers", Value::Null) {
            Value::Map(headers) => tea_core::value::Map::clone(&headers),
            _ => tea_core::value::Map::new(),
        };
        // SG-66: a content type is added unless there is one, in whatever letters.
        if !headers.keys().any(|key| key.as_str().is_some_and(|key| key.eq_ignore_ascii_case("content-type")))
        {
            headers.insert("Content-Type".into(), given("content_type", "application/json".into()));
        }
        call.answer = CallAnswer::Respond(Response {
            status: given("status", Value::Int(200)),
            body: given("body", Value::Null),
            headers: Value::map(headers),
        });
        Ok(TEA_OK)
    };
    // SAFETY: the caller's promise.
    unsafe { guarded(err, body) }
}
