//! Tests of the agent compiler. Agents run here over core-resident states, with a host made of closures.

mod code;
mod edges;
mod errors;
mod live;
mod merge;
mod nodes;
mod problems;

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Agent, AgentError, LoadOptions};
use crate::actions::Registry;
use crate::run::{Answer, Cursor, Event, Failure, Item, Live, Method, Options, RaiseError, Request, Start};
use crate::state::State;
use crate::value::{Map, Value};

/// A registry with the few actions that the tests need.
fn registry() -> Registry {
    let mut registry = Registry::new();
    registry.add_direct("echo", |call| Ok(Value::Map(Arc::clone(&call.arguments))));
    registry.add_direct("value", |call| Ok(call.get("of").cloned().unwrap_or_default()));
    registry.add_direct("fail", |call| {
        let class = call.get("class").and_then(Value::as_str).unwrap_or("ValueError");
        Err(crate::actions::failure(class, "failed on purpose"))
    });
    registry
}

fn options() -> LoadOptions {
    LoadOptions { actions: Arc::new(registry()), ..LoadOptions::default() }
}

fn load(text: &str) -> Agent {
    match Agent::load_text(text, None, &options()) {
        Ok(agent) => agent,
        Err(error) => panic!("{}", error.detail()),
    }
}

fn refused(text: &str) -> AgentError {
    match Agent::load_text(text, None, &options()) {
        Ok(_) => panic!("the agent should have been refused"),
        Err(error) => error,
    }
}

fn input(json: &str) -> Map {
    match Value::from_json(json.as_bytes()) {
        Ok(Value::Map(map)) => Map::clone(&map),
        other => panic!("no map: {other:?}"),
    }
}

/// How a run ended.
#[derive(Debug, PartialEq)]
enum End {
    State(Value),
    Error(String, Value),
    Raised(String, String),
}

/// A run by `invoke`: `host` answers the requests, given the state that each is about.
fn run_with(agent: &Agent, state: &str, mut host: impl FnMut(&Request, &Value) -> Answer) -> End {
    let state = State::core(Arc::new(input(state)));
    let options = Options { method: Method::Invoke, start: Start::Fresh, run: 0, config: Arc::default() };
    let mut cursor = Cursor::new(Arc::clone(agent.graph()), None, state, options);
    let mut branches = VecDeque::new();
    let mut answer = Answer::Start { announce: false };
    loop {
        answer = match cursor.step(answer, Live::default()).unwrap() {
            Item::Event(Event::Final { .. }) => return End::State(cursor.state().value()),
            Item::Error(error) => return End::Error(error.text, cursor.state().value()),
            Item::Raise(RaiseError::Unchanged(failure)) => return End::Raised(failure.class, failure.text),
            Item::Request { request, .. } => host(&request, &cursor.state().value()),
            Item::Launch { .. } => {
                branches.push_back(cursor.branch(None).unwrap());
                Answer::Done
            }
            Item::Wait => {
                drive(branches.pop_front().unwrap(), &mut host);
                Answer::Done
            }
            Item::Done => panic!("the run ended without a final event"),
            _ => Answer::Done,
        };
    }
}

fn drive(mut branch: Cursor, host: &mut impl FnMut(&Request, &Value) -> Answer) {
    let mut answer = Answer::Start { announce: false };
    loop {
        answer = match branch.step(answer, Live::default()).unwrap() {
            Item::Done => return,
            Item::Event(event) => Answer::Kept(branch.event_value(&event)),
            Item::Outcome(outcome) => Answer::Kept(branch.outcome_value(&outcome)),
            Item::Request { request, .. } => host(&request, &branch.state().value()),
            _ => Answer::Done,
        };
    }
}

/// A run with a host that has no actions of its own and does not wait.
fn run(agent: &Agent, state: &str) -> End {
    run_with(agent, state, |request, _| match request {
        Request::Action { .. } => Answer::Core,
        Request::Sleep(_) => Answer::Done,
        Request::Code { .. } => {
            Answer::Failed(Failure { text: "no code here".to_owned(), ..Failure::default() })
        }
    })
}

/// The final state of a run, as JSON.
fn state_of(agent: &Agent, state: &str) -> String {
    match run(agent, state) {
        End::State(state) => state.to_json(),
        other => panic!("{other:?}"),
    }
}

fn error_of(agent: &Agent, state: &str) -> String {
    match run(agent, state) {
        End::Error(text, _) => text,
        other => panic!("{other:?}"),
    }
}
