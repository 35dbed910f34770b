//! Items and answers of the step machine, as numbers and structs.

use std::sync::Arc;

use tea_core::graph::NodeId;
use tea_core::host::When;
use tea_core::run::{Event, Item, Outcome, RaiseError, Request};
use tea_core::value::Value;

use crate::text::tea_str;

/// Kind of the answer to an item: the low 8 bits of the `answer` of tea_cursor_step. Bits 8 to 15 are
/// tea_flag's, the payload begins at bit 16.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_answer_kind {
    /// Begin (first step). Payload 1: write the records of the start, then end.
    TEA_ANSWER_START = 0,
    /// Done. To a call: the host has merged the result into its state.
    TEA_ANSWER_DONE = 1,
    /// The condition leads to the node whose number plus one is the payload; 0: nowhere.
    TEA_ANSWER_TARGET = 2,
    /// The function failed, as told by tea_cursor_fail.
    TEA_ANSWER_FAILED = 3,
    /// The function answers for the whole run; its status was told by tea_cursor_note.
    TEA_ANSWER_RESPOND = 4,
    /// The checkpoint is stored; the host keeps its path.
    TEA_ANSWER_STORED = 5,
    /// The host keeps an event or a result under the reference in the payload.
    TEA_ANSWER_KEPT = 6,
    /// The result was told by tea_cursor_result.
    TEA_ANSWER_RESULT = 7,
    /// The action is the engine's own.
    TEA_ANSWER_CORE = 8,
    /// As many functions of TEA_ITEM_CALLS were called as the payload says.
    TEA_ANSWER_RAN = 9,
    /// All functions of TEA_ITEM_CALLS were called, and the condition leads to the node whose number plus one is in
    /// the low 25 bits of the payload; 0: nowhere. Above it: how often it was all done again before, see there.
    TEA_ANSWER_RAN_TO = 10,
}

/// What the host's attributes say at the moment of an answer.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_flag {
    /// Some interrupt is set: `stops` is asked about each node.
    TEA_FLAG_STOPS = 1,
    /// Records of level INFO are wanted.
    TEA_FLAG_INFO = 2,
    /// Records of level DEBUG are wanted.
    TEA_FLAG_DEBUG = 4,
    /// Records may show state contents.
    TEA_FLAG_VALUES = 8,
    /// Errors are raised.
    TEA_FLAG_RAISES = 16,
}

/// How a run is driven.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_mode {
    /// Each executed node gives an event (`stream`); without it only what ends the run does (`invoke`).
    TEA_MODE_STREAM = 1,
    /// The host takes TEA_ITEM_CALLS.
    TEA_MODE_RUNS = 2,
}

/// Kind of an item: the low 8 bits of what tea_cursor_step returns. The first three are complete in that
/// number, whose upper bits are the reference or node number given here; for the others see tea_item.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types)]
pub enum tea_item_kind {
    /// The end.
    TEA_ITEM_DONE = 0,
    /// Call a node's function: upper bits are the node. Answer DONE, FAILED or RESPOND.
    TEA_ITEM_CALL = 1,
    /// Evaluate a condition: upper bits are its reference. Answer TARGET, or FAILED in a branch.
    TEA_ITEM_CONDITION = 2,
    /// Deliver the `state` event of the node in the upper bits. Answer DONE; in a branch KEPT.
    TEA_ITEM_STATE = 3,
    /// Store a checkpoint: `node`, `flag` 1 for after the node. Answer STORED.
    TEA_ITEM_STORE = 4,
    /// The run stopped at an interrupt: `node`, `flag` 1 for after it.
    TEA_ITEM_INTERRUPT = 5,
    /// The run failed: `node`, `text` of the event, `raised`, `reference` of the cause, `json` its class, `result`
    /// of a branch.
    TEA_ITEM_ERROR = 6,
    /// A function answered for the whole run: `node`; if it was the engine's own, `json` is a map of `status`,
    /// `body` and `headers`.
    TEA_ITEM_RESPONSE = 7,
    /// The run reached the end; `flag` 1: the event has the key `output`.
    TEA_ITEM_FINAL = 8,
    /// Start a branch at `node`, launched by the node `other`: tea_cursor_branch, then DONE.
    TEA_ITEM_LAUNCH = 9,
    /// Nothing to do until a branch reports: tea_cursor_wait, then DONE.
    TEA_ITEM_WAIT = 10,
    /// Deliver what is kept under `reference` for a branch's event.
    TEA_ITEM_KEPT = 11,
    /// A branch failed (`stream`): `node` is the branch, `text`; `flag` 1: with the state it began with.
    /// Answer KEPT.
    TEA_ITEM_BRANCH_ERROR = 12,
    /// A branch ended: `node`, `text` and `raised` (class) if it failed, `flag` bit 0: with the state it began
    /// with, bit 1: the join wants the plain state. Answer KEPT.
    TEA_ITEM_OUTCOME = 13,
    /// Raise what is kept under `reference`, unchanged; if it is 0, an error with this `text`, whose class is in
    /// `json`.
    TEA_ITEM_RAISE = 14,
    /// The run stands on `node`, which is not in the graph.
    TEA_ITEM_UNKNOWN_NODE = 15,
    /// Nothing to do but to look for signals. Answer DONE.
    TEA_ITEM_PAUSE = 16,
    /// The engine's own work on `node` asks the host. `flag` 0: run the action named `text` with the arguments
    /// `json`; answer RESULT, FAILED, RESPOND, or CORE if the action is the engine's own. `flag` 1: run the code
    /// `raised` in the language `text`, with the further names `json`; answer RESULT, FAILED or RESPOND. `flag` 2:
    /// let `milliseconds` pass; answer DONE. `result` is the state that the action or the code sees if that is not
    /// the run's own, as in the steps of a node, else 0.
    TEA_ITEM_REQUEST = 17,
    /// Call the functions of several nodes, one after the other; tea_cursor_nodes tells which. The upper bits stand
    /// for this list of nodes: the same number means the same nodes again. Deliver a `state` event after each (`stream`). When the structure, an
    /// interrupt or the log level changes meanwhile, stop after the present one. Answer RAN with the number of those
    /// called; or FAILED or RESPOND, with the number of those called before as payload. If there is a condition behind
    /// the last node and nothing changed, evaluate it and answer RAN_TO with the target; where tea_cursor_nodes allows
    /// it, and still nothing changed, a host may do it all again at once if the target is the first node.
    TEA_ITEM_CALLS = 18,
}

/// Details of an item. Texts are valid until the next step of the cursor.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct tea_item {
    /// Number of a node.
    pub node: u32,
    /// Number of another node.
    pub other: u32,
    /// See the kind.
    pub flag: u32,
    /// An object of the host, or 0.
    pub reference: u64,
    /// The kept result of a branch, or 0.
    pub result: u64,
    /// Time since the launch of a branch.
    pub milliseconds: f64,
    /// See the kind.
    pub text: tea_str,
    /// See the kind.
    pub raised: tea_str,
    /// See the kind.
    pub json: tea_str,
}

/// Kind, first node (24 bits), how many (10 bits), description of the graph (21 bits).
pub(crate) fn calls_number(nodes: &[NodeId], generation: u64) -> i64 {
    let first = i64::from(nodes.first().copied().unwrap_or_default());
    let (count, generation) = (nodes.len() as i64 & 0x3ff, (generation & 0x1f_ffff).cast_signed());
    tea_item_kind::TEA_ITEM_CALLS as i64 | first << 8 | count << 32 | generation << 42
}

pub(crate) fn number(kind: tea_item_kind, number: u32) -> i64 {
    kind as i64 | i64::from(number) << 8
}

pub(crate) fn kind_of(item: &Item) -> tea_item_kind {
    use tea_item_kind::*;
    match item {
        Item::Done => TEA_ITEM_DONE,
        Item::Call { .. } => TEA_ITEM_CALL,
        Item::Condition { .. } => TEA_ITEM_CONDITION,
        Item::Event(Event::State { .. } | Event::ParallelState { .. }) => TEA_ITEM_STATE,
        Item::Event(Event::Interrupt { .. }) => TEA_ITEM_INTERRUPT,
        Item::Event(Event::Error { .. }) | Item::Error(_) => TEA_ITEM_ERROR,
        Item::Event(Event::HttpResponse { .. }) => TEA_ITEM_RESPONSE,
        Item::Event(Event::Final { .. }) => TEA_ITEM_FINAL,
        Item::Event(Event::Kept(_)) => TEA_ITEM_KEPT,
        Item::Event(Event::ParallelError { .. }) => TEA_ITEM_BRANCH_ERROR,
        Item::Store { .. } => TEA_ITEM_STORE,
        Item::Launch { .. } => TEA_ITEM_LAUNCH,
        Item::Wait => TEA_ITEM_WAIT,
        Item::Pause => TEA_ITEM_PAUSE,
        Item::Calls(_) => TEA_ITEM_CALLS,
        Item::Request { .. } => TEA_ITEM_REQUEST,
        Item::Outcome(_) => TEA_ITEM_OUTCOME,
        Item::Raise(RaiseError::Unchanged(_)) => TEA_ITEM_RAISE,
        Item::Raise(RaiseError::UnknownNode(_)) => TEA_ITEM_UNKNOWN_NODE,
    }
}

pub(crate) fn kept(value: Option<&Value>) -> u64 {
    match value {
        Some(Value::Host(object)) => object.id(),
        _ => 0,
    }
}

/// The details of an item. Its texts borrow from it.
pub(crate) fn details(item: &Item, json: &mut String) -> tea_item {
    let mut details = tea_item {
        node: 0,
        other: 0,
        flag: 0,
        reference: 0,
        result: 0,
        milliseconds: 0.0,
        text: tea_str::EMPTY,
        raised: tea_str::EMPTY,
        json: tea_str::EMPTY,
    };
    match item {
        Item::Store { node, when } | Item::Event(Event::Interrupt { node, when, .. }) => {
            details.node = *node;
            details.flag = u32::from(*when == When::After);
        }
        Item::Launch { node, from } => (details.node, details.other) = (*node, *from),
        Item::Error(error) => {
            details.node = error.node;
            details.text = tea_str::of(&error.text);
            details.raised = tea_str::of(&error.raised);
            details.reference = error.failure.as_ref().map_or(0, |failure| failure.reference);
            details.result = kept(error.state.as_ref());
            details.json =
                error.failure.as_ref().map_or(tea_str::EMPTY, |failure| tea_str::of(&failure.class));
        }
        Item::Raise(RaiseError::Unchanged(failure)) => {
            details.reference = failure.reference;
            details.text = tea_str::of(&failure.text);
            details.json = tea_str::of(&failure.class);
        }
        Item::Raise(RaiseError::UnknownNode(node)) => details.node = *node,
        Item::Outcome(Outcome { branch, error, milliseconds, plain, .. }) => {
            details.node = *branch;
            details.milliseconds = *milliseconds;
            details.flag = u32::from(*plain) << 1;
            if let Some(error) = error {
                details.text = tea_str::of(&error.text);
                details.raised = tea_str::of(&error.class);
                details.flag |= u32::from(error.at_start);
                details.reference = error.failure.as_ref().map_or(0, |failure| failure.reference);
            }
        }
        Item::Event(event) => match event {
            Event::State { node } => details.node = *node,
            Event::HttpResponse { node, response } => {
                details.node = *node;
                // What the host answered itself it still has.
                if let Value::Map(headers) = &response.headers {
                    let whole = tea_core::map! {
                        "status" => response.status.clone(),
                        "body" => response.body.clone(),
                        "headers" => Value::Map(Arc::clone(headers)),
                    };
                    *json = whole.to_json();
                    details.json = tea_str::of(json);
                }
            }
            Event::Error { node, text, .. } => {
                details.node = *node;
                details.text = tea_str::of(text);
            }
            Event::ParallelState { branch, node } => (details.node, details.other) = (*node, *branch),
            Event::ParallelError { branch, text, at_start } => {
                details.node = *branch;
                details.text = tea_str::of(text);
                details.flag = u32::from(*at_start);
            }
            Event::Kept(value) => details.reference = kept(Some(value)),
            Event::Final { output } => details.flag = u32::from(*output),
            Event::Interrupt { .. } => {}
        },
        Item::Request { node, request } => {
            details.node = *node;
            match request {
                Request::Action { name, arguments } => {
                    details.text = tea_str::of(name);
                    *json = Value::Map(Arc::clone(arguments)).to_json();
                }
                Request::Code { language, source, names } => {
                    details.flag = 1;
                    (details.text, details.raised) = (tea_str::of(language), tea_str::of(source));
                    *json = Value::Map(Arc::clone(names)).to_json();
                }
                Request::Sleep(duration) => {
                    details.flag = 2;
                    details.milliseconds = duration.as_secs_f64() * 1000.0;
                    json.clear();
                }
            }
            details.json = tea_str::of(json);
        }
        Item::Call { .. }
        | Item::Calls(_)
        | Item::Condition { .. }
        | Item::Wait
        | Item::Pause
        | Item::Done => {}
    }
    details
}
