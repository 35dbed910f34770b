//! Actions for tests: run as the only node of a real graph.

use std::fmt;
use std::sync::Arc;

use super::{ActionCall, Alone, Registry, Surroundings};
use crate::graph::{Action, CompileOptions, Graph};
use crate::run::{
    Answer, Cursor, Event, Item, Live, Method, Options, Program, Request, Running, Start, Task,
};
use crate::state::State;
use crate::value::{Map, Value};

struct Node {
    name: Arc<str>,
    arguments: Arc<Map>,
    registry: Arc<Registry>,
    surroundings: Arc<dyn Surroundings>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Program for Node {
    fn start(&self, task: Task) -> Running {
        let call = ActionCall {
            name: Arc::clone(&self.name),
            arguments: Arc::clone(&self.arguments),
            task,
            surroundings: Arc::clone(&self.surroundings),
        };
        let action = self.registry.run(call).expect("the action is registered");
        Box::pin(async move { Ok(crate::map! { "out" => action.await? }) })
    }
}

/// How a run of an action ended.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    Value(Value),
    /// Class and text.
    Failed(String),
    /// Status, body, headers.
    Responded(Value, Value, Value),
}

/// Runs an action on a state.
pub(super) fn run_on(name: &str, arguments: Value, state: Map, surroundings: Arc<dyn Surroundings>) -> End {
    let registry = Arc::new(Registry::core());
    let arguments = Arc::new(arguments.as_map().expect("arguments are a map").clone());
    let node = Node { name: name.into(), arguments, registry, surroundings };
    let graph = Graph::new();
    graph.add_node("act", Action::Program(Arc::new(node))).unwrap();
    graph.set_entry_point("act").unwrap();
    graph.set_finish_point("act").unwrap();
    graph.compile(CompileOptions::default()).unwrap();
    let config = Arc::new(crate::map! { "c" => 1 }.as_map().unwrap().clone());
    let options = Options { method: Method::Invoke, start: Start::Fresh, run: 0, config };
    let mut cursor = Cursor::new(Arc::new(graph), None, State::core(Arc::new(state)), options);
    let mut answer = Answer::Start { announce: false };
    loop {
        answer = match cursor.step(answer, Live::default()).unwrap() {
            Item::Request { request: Request::Sleep(duration), .. } => {
                std::thread::sleep(duration);
                Answer::Done
            }
            Item::Error(error) => {
                let failure = error.failure.unwrap();
                return End::Failed(format!("{}: {}", failure.class, failure.text));
            }
            Item::Event(Event::HttpResponse { response, .. }) => {
                return End::Responded(response.status, response.body, response.headers);
            }
            Item::Event(_) => {
                let State::Core(cell) = cursor.state() else { unreachable!() };
                return End::Value(cell.map().get("out").cloned().unwrap_or_default());
            }
            Item::Pause => Answer::Done,
            other => panic!("unexpected: {other:?}"),
        };
    }
}

/// Surroundings whose actions are the engine's own.
pub(super) fn alone() -> Alone {
    Alone { registry: Arc::new(Registry::core()), ..Alone::default() }
}

/// The value of an action.
pub(super) fn run(name: &str, arguments: Value) -> Value {
    match run_on(name, arguments, Map::new(), Arc::new(alone())) {
        End::Value(value) => value,
        other => panic!("{name}: {other:?}"),
    }
}

/// Class and text of an action's failure.
pub(super) fn failed(name: &str, arguments: Value) -> String {
    match run_on(name, arguments, Map::new(), Arc::new(alone())) {
        End::Failed(text) => text,
        other => panic!("{name}: {other:?}"),
    }
}
