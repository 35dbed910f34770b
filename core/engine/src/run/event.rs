//! Events: what a run tells its caller.

use super::{Cursor, Method, Response};
use crate::graph::NodeId;
use crate::host::When;
use crate::value::{Map, Value};

/// One event. Hosts with a live state build their own object from it; [`Cursor::event_value`] builds the map.
#[derive(Debug, Clone)]
pub enum Event {
    /// A node has run (`stream`).
    State {
        /// The node.
        node: NodeId,
    },
    /// The run stopped at an interrupt.
    Interrupt {
        /// The node.
        node: NodeId,
        /// Before or after it.
        when: When,
        /// Id or path of the checkpoint.
        checkpoint: Option<String>,
    },
    /// The run failed.
    Error {
        /// The node to blame.
        node: NodeId,
        /// The text.
        text: String,
        /// The state, where it is not the run's own.
        state: Option<Value>,
    },
    /// A function answered for the whole run.
    HttpResponse {
        /// The node.
        node: NodeId,
        /// The answer.
        response: Response,
    },
    /// A branch's node has run (`stream`).
    ParallelState {
        /// The branch's first node.
        branch: NodeId,
        /// The node.
        node: NodeId,
    },
    /// A branch failed (`stream`).
    ParallelError {
        /// The branch's first node, also given as the node.
        branch: NodeId,
        /// The text.
        text: String,
        /// The state is the one the branch began with.
        at_start: bool,
    },
    /// An event that a branch left for the main flow: what the host kept, or the map.
    Kept(Value),
    /// The run reached the end.
    Final {
        /// The event has the key `output`.
        output: bool,
    },
}

impl Cursor {
    /// The event as a map, keys in the order of the contract; `state` is the state as it is now.
    pub fn event_value(&self, event: &Event) -> Value {
        let name = |id: NodeId| Value::from(self.topology().name(id));
        let own = || self.state().value();
        let pairs: Vec<(&str, Value)> = match event {
            Event::Kept(value) => return value.clone(),
            Event::State { node } => {
                vec![("type", "state".into()), ("node", name(*node)), ("state", own())]
            }
            Event::Interrupt { node, when, checkpoint } => {
                let kind = match (self.method(), when) {
                    (Method::Invoke, _) => "interrupt",
                    (Method::Stream, When::Before) => "interrupt_before",
                    (Method::Stream, When::After) => "interrupt_after",
                };
                let path = checkpoint.as_deref().map_or(Value::Null, Value::from);
                vec![
                    ("type", kind.into()),
                    ("node", name(*node)),
                    ("state", own()),
                    ("checkpoint_path", path),
                ]
            }
            Event::Error { node, text, state } => vec![
                ("type", "error".into()),
                ("node", name(*node)),
                ("error", text.as_str().into()),
                ("state", state.clone().unwrap_or_else(own)),
            ],
            Event::HttpResponse { node, response } => vec![
                ("type", "http_response".into()),
                ("node", name(*node)),
                ("status", response.status.clone()),
                ("body", response.body.clone()),
                ("headers", response.headers.clone()),
                ("state", own()),
            ],
            Event::ParallelState { branch, node } => vec![
                ("type", "parallel_state".into()),
                ("branch", name(*branch)),
                ("node", name(*node)),
                ("state", own()),
            ],
            Event::ParallelError { branch, text, at_start } => vec![
                ("type", "parallel_error".into()),
                ("branch", name(*branch)),
                ("node", name(*branch)),
                ("error", text.as_str().into()),
                ("state", if *at_start { self.initial_state() } else { own() }),
            ],
            Event::Final { output } => {
                let mut pairs = vec![("type", "final".into()), ("state", own())];
                if *output {
                    pairs.push(("output", Value::Null));
                }
                pairs
            }
        };
        Value::map(pairs.into_iter().map(|(key, value)| (key.into(), value)).collect::<Map>())
    }
}
