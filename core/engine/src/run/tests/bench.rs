//! A host for the tests: functions by number, and a driver that prints what happens, one line per event.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use crate::graph::{Action, Edge, Graph, Rule};
use crate::run::{
    Answer, Cursor, Event, Failure, Item, Live, Method, Options, RaiseError, Response, Scope, Start,
    StepError,
};
use crate::state::State;
use crate::value::{Key, Map, Value};

/// A function of the host: from the state to an answer.
type Function = Box<dyn Fn(&Map) -> Answer>;

pub(super) struct Bench {
    pub(super) graph: Arc<Graph>,
    functions: Vec<Function>,
    pub(super) raises: bool,
    /// Names of the nodes whose functions were called, in order.
    pub(super) calls: Mutex<Vec<String>>,
}

pub(super) fn failure(text: &str) -> Answer {
    Answer::Failed(Failure { class: "ValueError".into(), text: text.into(), ..Failure::default() })
}

pub(super) fn respond(status: i64) -> Answer {
    let (body, headers) = (Value::Null, Value::map(Map::new()));
    Answer::Respond(Response { status: status.into(), body, headers })
}

impl Bench {
    pub(super) fn new() -> Self {
        Bench { graph: Arc::new(Graph::new()), functions: Vec::new(), raises: false, calls: Mutex::default() }
    }

    pub(super) fn function(&mut self, function: impl Fn(&Map) -> Answer + 'static) -> u32 {
        self.functions.push(Box::new(function));
        u32::try_from(self.functions.len() - 1).unwrap()
    }

    /// A node with a function.
    pub(super) fn node(&mut self, name: &str, function: impl Fn(&Map) -> Answer + 'static) -> &mut Self {
        let reference = self.function(function);
        self.graph.add_node(name, Action::Call { reference }).unwrap();
        self
    }

    /// A node that puts its name under the key `key`.
    pub(super) fn mark(&mut self, name: &'static str, key: &'static str) -> &mut Self {
        self.node(name, move |_| Answer::Result(crate::map! { key => name }))
    }

    /// Nodes that append their name to the text under `t`.
    pub(super) fn trail(&mut self, names: &[&'static str]) -> &mut Self {
        for &name in names {
            self.node(name, move |state| {
                let before = state.get("t").and_then(Value::as_str).unwrap_or_default();
                Answer::Result(crate::map! { "t" => format!("{before}{name}") })
            });
        }
        self
    }

    pub(super) fn plain(&mut self, name: &str) -> &mut Self {
        self.graph.add_node(name, Action::None).unwrap();
        self
    }

    pub(super) fn edge(&mut self, from: &str, to: &str) -> &mut Self {
        self.graph.add_edge(from, to).unwrap();
        self
    }

    /// A chain from start to end, over nodes that are there.
    pub(super) fn chain(&mut self, names: &[&str]) -> &mut Self {
        let all: Vec<&str> = ["__start__"].iter().chain(names).chain(&["__end__"]).copied().collect();
        for pair in all.windows(2) {
            self.edge(pair[0], pair[1]);
        }
        self
    }

    pub(super) fn fork(&mut self, from: &str, to: &str, join: &str) -> &mut Self {
        self.graph.add_parallel_edge(from, to, join, Value::Null).unwrap();
        self
    }

    /// Conditional edges; the condition answers for itself.
    pub(super) fn route(
        &mut self,
        from: &str,
        condition: impl Fn(&Map) -> Answer + 'static,
        targets: &[(Value, &str)],
    ) -> &mut Self {
        let reference = self.function(condition);
        let pair = |(value, name): &(Value, &str)| (Key::new(value.clone()).unwrap(), (*name).to_owned());
        self.graph.add_conditional_edges(from, reference, targets.iter().map(pair).collect()).unwrap();
        self
    }

    /// A parallel edge that does not say where it joins.
    pub(super) fn broken_fork(&mut self, from: &str, to: &str) -> &mut Self {
        self.graph.edit(|topology| {
            let (from, target) = (topology.find(from).unwrap(), topology.find(to).unwrap());
            let parallel = Some(crate::graph::Parallel { join: None, config: Value::Null });
            topology.connect(from, Edge { target, rule: Rule::Always, parallel });
        });
        self
    }

    pub(super) fn interrupts(&mut self, before: &[&str], after: &[&str]) -> &mut Self {
        let topology = self.graph.topology();
        let ids = |names: &[&str]| names.iter().map(|name| topology.find(name).unwrap()).collect();
        let (before, after) = (ids(before), ids(after));
        self.graph.configure(|settings| {
            settings.interrupt_before = before;
            settings.interrupt_after = after;
        });
        self
    }

    pub(super) fn live(&self) -> Live {
        let settings = self.graph.settings();
        let stops = !(settings.interrupt_before.is_empty() && settings.interrupt_after.is_empty());
        Live { stops, raises: self.raises, ..Live::default() }
    }

    pub(super) fn cursor(&self, method: Method, start: Start, state: Value) -> Cursor {
        let options = Options { method, start, run: 0, config: Arc::default() };
        Cursor::new(Arc::clone(&self.graph), None, core(state), options)
    }

    pub(super) fn function_of(&self, reference: u32) -> &dyn Fn(&Map) -> Answer {
        &*self.functions[reference as usize]
    }

    /// Calls a function for an item.
    pub(super) fn call(&self, cursor: &Cursor, reference: u32) -> Answer {
        let Value::Map(state) = cursor.state().value() else { panic!("a core-resident state is a map") };
        self.functions[reference as usize](&state)
    }

    /// The answer to an item that only needs a function or nothing.
    fn answer(&self, cursor: &Cursor, item: &Item) -> Answer {
        match item {
            Item::Call { node, reference } => {
                let name = cursor.topology().name(*node).to_owned();
                self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                self.call(cursor, *reference)
            }
            Item::Condition { reference, .. } => match self.call(cursor, *reference) {
                Answer::Result(value) => Answer::Choice(value),
                other => other,
            },
            _ => Answer::Done,
        }
    }

    /// Runs a branch to its end, as an executor would.
    pub(super) fn run_branch(&self, mut branch: Cursor) {
        let mut answer = Answer::Start { announce: false };
        loop {
            let item = branch.step(answer, self.live()).unwrap();
            answer = match &item {
                Item::Done => return,
                Item::Event(event) => Answer::Kept(branch.event_value(event)),
                Item::Outcome(outcome) if outcome.plain => Answer::Kept(outcome.state.clone()),
                Item::Outcome(outcome) => {
                    let error = outcome.error.as_ref().map_or("", |error| error.text.as_str());
                    let name = branch.topology().name(outcome.branch);
                    Answer::Kept(crate::map! { "b" => name, "e" => error, "s" => outcome.state.clone() })
                }
                other => self.answer(&branch, other),
            };
        }
    }

    /// Drives a cursor to its end; branches run in the order of their launch, when the main flow waits.
    pub(super) fn drive(&self, cursor: &mut Cursor) -> Vec<String> {
        let mut lines = Vec::new();
        let mut branches = VecDeque::new();
        let mut answer = Answer::Start { announce: false };
        loop {
            let item = match cursor.step(answer, self.live()) {
                Ok(item) => item,
                Err(error) => {
                    lines.push(format!("refused: {error}"));
                    return lines;
                }
            };
            match &item {
                Item::Done => return lines,
                Item::Event(event) => lines.push(print(cursor, event)),
                Item::Error(error) => {
                    let (node, state) = (cursor.topology().name(error.node), cursor.state().value());
                    let state = error.state.clone().unwrap_or(state).to_json();
                    let said = if self.raises { &error.raised } else { &error.text };
                    lines.push(format!("error {node}: {said} {state}"));
                }
                Item::Raise(RaiseError::Unchanged(failure)) => lines.push(format!("raise {}", failure.text)),
                Item::Raise(RaiseError::UnknownNode(node)) => {
                    lines.push(format!("unknown {}", cursor.topology().name(*node)));
                }
                Item::Launch { .. } => branches.push_back(cursor.branch(None).unwrap()),
                Item::Wait => self.run_branch(branches.pop_front().expect("a branch to wait for")),
                _ => {}
            }
            answer = self.answer(cursor, &item);
        }
    }

    pub(super) fn run(&self, method: Method, state: Value) -> Vec<String> {
        self.drive(&mut self.cursor(method, Start::Fresh, state))
    }

    pub(super) fn invoke(&self, state: Value) -> Vec<String> {
        self.run(Method::Invoke, state)
    }

    pub(super) fn stream(&self, state: Value) -> Vec<String> {
        self.run(Method::Stream, state)
    }

    /// Names of the nodes called since the last time.
    pub(super) fn called(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn scoped(&self, entry: &str, exit: &str, state: Value) -> (Vec<String>, Value) {
        let topology = self.graph.topology();
        let scope = Scope { entry: topology.find(entry).unwrap(), exit: topology.find(exit).unwrap() };
        let mut cursor = Cursor::scoped(Arc::clone(&self.graph), None, core(state), scope);
        let lines = self.drive(&mut cursor);
        let state = cursor.state().value();
        (lines, state)
    }
}

pub(super) fn core(state: Value) -> State {
    match state {
        Value::Map(map) => State::core(map),
        other => panic!("a state is a map, not {}", other.type_name()),
    }
}

/// An event in a line: type, node, what else there is, the state.
pub(super) fn print(cursor: &Cursor, event: &Event) -> String {
    let value = cursor.event_value(event);
    let Value::Map(map) = &value else { panic!("an event is a map") };
    let mut line = String::new();
    for (key, value) in map.iter() {
        let key = key.as_str().unwrap_or_default();
        let text = value.as_str().map_or_else(|| value.to_json(), ToOwned::to_owned);
        match key {
            "type" => line.push_str(&text),
            "node" => line.push_str(&format!(" {text}")),
            "state" => line.push_str(&format!(" {text}")),
            _ => line.push_str(&format!(" {key}={text}")),
        }
    }
    line
}

pub(super) fn is_wrong(result: Result<Item, StepError>) -> bool {
    matches!(result, Err(StepError::WrongAnswer { .. }))
}

pub(super) fn empty() -> Value {
    Value::map(Map::new())
}
