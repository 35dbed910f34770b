//! The same plans with states that live with the host, and with several calls in one step: nothing may change.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use super::bench::{Bench, print};
use crate::graph::{Graph, NodeId, Rule};
use crate::host::{
    CopyDepth, Host, HostError, HostRef, LogLevel, Lookup, PathStep, Query, References, Resolved, When,
};
use crate::run::{Answer, Calls, Cursor, Failure, Item, Method, Options, RaiseError, Start};
use crate::state::State;
use crate::value::{Key, Map, Value};

/// Objects under numbers.
struct Objects {
    maps: Mutex<Vec<Map>>,
    graph: Arc<Graph>,
    references: Arc<References>,
}

impl Objects {
    fn with<T>(&self, id: u64, change: impl FnOnce(&mut Map) -> T) -> T {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut maps[usize::try_from(id).unwrap() - 1])
    }
    fn add(&self, map: Map) -> u64 {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.push(map);
        maps.len() as u64
    }
}

fn unused<T>() -> Result<T, HostError> {
    Err(HostError { message: "unused".to_owned() })
}

impl Host for Objects {
    fn resolve(&self, _: u64, _: &[&[PathStep]]) -> Result<Vec<Resolved>, HostError> {
        unused()
    }
    fn get(&self, _: u64, _: &Value, _: Lookup) -> Result<Option<Value>, HostError> {
        unused()
    }
    fn keys(&self, _: u64) -> Result<Vec<Value>, HostError> {
        unused()
    }
    fn query(&self, _: u64, _: Query, _: Option<&Value>) -> Result<Value, HostError> {
        unused()
    }
    fn call(&self, _: u64, _: &str, _: &[Value]) -> Result<Value, HostError> {
        unused()
    }
    fn export(&self, object: u64) -> Result<Value, HostError> {
        Ok(Value::map(self.with(object, |map| map.clone())))
    }
    fn import(&self, _: &Value) -> Result<HostRef, HostError> {
        unused()
    }
    fn apply(&self, state: u64, delta: &Map) -> Result<(), HostError> {
        self.with(state, |map| map.extend(delta.iter().map(|(key, value)| (key.clone(), value.clone()))));
        Ok(())
    }
    fn copy(&self, object: u64, _: CopyDepth) -> Result<HostRef, HostError> {
        let map = self.with(object, |map| map.clone());
        Ok(HostRef::lent(self.add(map)))
    }
    fn stops(&self, _: u64, node: u32, when: When) -> Result<bool, HostError> {
        Ok(self.graph.stops(node, when))
    }
    fn log(&self, _: LogLevel, _: &str, _: &str) {}
    fn references(&self) -> &Arc<References> {
        &self.references
    }
}

/// A host that holds states and conditions.
pub(super) struct LiveBench<'b> {
    bench: &'b Bench,
    objects: Arc<Objects>,
    /// The maps of conditions, which the engine does not know.
    targets: HashMap<u32, Arc<indexmap::IndexMap<Key, NodeId>>>,
    /// How many functions were called in runs of several.
    pub(super) in_runs: usize,
}

impl<'b> LiveBench<'b> {
    pub(super) fn new(bench: &'b Bench) -> Self {
        let graph = Arc::clone(&bench.graph);
        let mut targets = HashMap::new();
        graph.edit(|topology| {
            for node in topology.order().to_vec() {
                for edge in topology.edges(node).to_vec() {
                    if let Rule::Map { reference, targets: map } = &edge.rule {
                        targets.insert(*reference, Arc::clone(map));
                        let rule = Rule::Host { reference: *reference };
                        topology.connect(node, crate::graph::Edge { rule, ..edge });
                    }
                }
            }
        });
        let objects = Objects { maps: Mutex::default(), graph, references: Arc::default() };
        LiveBench { bench, objects: Arc::new(objects), targets, in_runs: 0 }
    }

    fn id(cursor: &Cursor) -> u64 {
        match cursor.state().value() {
            Value::Host(object) => object.id(),
            other => panic!("a state of the host is no {}", other.type_name()),
        }
    }

    fn state(&self, id: u64) -> Map {
        self.objects.with(id, |map| map.clone())
    }

    fn lent(&self, id: u64) -> State {
        State::Host { object: HostRef::lent(id), host: Arc::clone(&self.objects) as Arc<dyn Host> }
    }

    /// Calls a function and merges what it returns.
    fn call(&self, cursor: &Cursor, reference: u32) -> Result<(), Failure> {
        let id = Self::id(cursor);
        match self.bench.function_of(reference)(&self.state(id)) {
            Answer::Result(Value::Map(delta)) => self.objects.apply(id, &delta).unwrap(),
            Answer::Result(other) => {
                self.objects.with(id, |map| map.insert("result".into(), other)).map_or((), drop)
            }
            Answer::Failed(failure) => return Err(failure),
            other => panic!("{other:?}"),
        }
        Ok(())
    }

    fn choose(&self, cursor: &Cursor, reference: u32) -> Result<Option<NodeId>, Failure> {
        match self.bench.function_of(reference)(&self.state(Self::id(cursor))) {
            Answer::Result(value) => Ok(self.targets[&reference].get(&Key::new(value).unwrap()).copied()),
            Answer::Failed(failure) => Err(failure),
            other => panic!("{other:?}"),
        }
    }

    fn answer(&self, cursor: &Cursor, item: &Item) -> Answer {
        match item {
            Item::Call { reference, .. } => {
                self.call(cursor, *reference).map_or_else(Answer::Failed, |()| Answer::Done)
            }
            Item::Condition { reference, .. } => {
                self.choose(cursor, *reference).map_or_else(Answer::Failed, Answer::Target)
            }
            Item::Store { .. } => Answer::Stored(None),
            _ => Answer::Done,
        }
    }

    /// A line with the state's reference replaced by the state.
    fn shown(&self, line: &str, id: u64) -> String {
        line.replace(&format!(r#"{{"$tea":["host",{id}]}}"#), &Value::map(self.state(id)).to_json())
    }

    fn run_branch(&self, mut branch: Cursor) {
        let id = Self::id(&branch);
        let initial = self.state(id);
        let mut answer = Answer::Start { announce: false };
        loop {
            let item = branch.step(answer, self.bench.live()).unwrap();
            answer = match &item {
                Item::Done => return,
                // What is kept is what the map of the event is now.
                Item::Event(event) => {
                    let json = self.shown(&branch.event_value(event).to_json(), id);
                    Answer::Kept(Value::from_json(json.as_bytes()).unwrap())
                }
                Item::Outcome(outcome) => {
                    let at_start = outcome.error.as_ref().is_some_and(|error| error.at_start);
                    let state = Value::map(if at_start { initial.clone() } else { self.state(id) });
                    let error = outcome.error.as_ref().map_or("", |error| error.text.as_str());
                    let name = branch.topology().name(outcome.branch);
                    Answer::Kept(match outcome.plain {
                        true => state,
                        false => crate::map! { "b" => name, "e" => error, "s" => state },
                    })
                }
                other => self.answer(&branch, other),
            };
        }
    }

    /// Calls the functions of a run, and its condition, some times over where that is allowed; the lines of its events.
    fn calls(&mut self, cursor: &Cursor, calls: &Calls, lines: &mut Vec<String>) -> Answer {
        for times in 1.. {
            for (count, node) in calls.nodes.iter().enumerate() {
                let reference = match cursor.topology().get(*node).map(|node| node.action.clone()) {
                    Some(crate::graph::Action::Call { reference }) => reference,
                    other => panic!("{other:?} cannot be called"),
                };
                if let Err(failure) = self.call(cursor, reference) {
                    return Answer::FailedAfter(count, failure);
                }
                self.in_runs += 1;
                if cursor.method() == Method::Stream {
                    let state = Value::map(self.state(Self::id(cursor))).to_json();
                    lines.push(format!("state {} {state}", cursor.topology().name(*node)));
                }
            }
            // A condition that fails is asked again, by an item of its own.
            match calls.condition.map(|reference| self.choose(cursor, reference)) {
                Some(Ok(target)) if calls.repeat && target == calls.nodes.first().copied() && times < 3 => {}
                Some(Ok(target)) => return Answer::RanTo { target, times },
                _ => return Answer::Ran(calls.nodes.len()),
            }
        }
        unreachable!("the loop ends by itself")
    }

    pub(super) fn run(&mut self, method: Method, start: Start, state: Value, runs: bool) -> Vec<String> {
        let Value::Map(state) = state else { panic!("a state is a map") };
        let id = self.objects.add(Map::clone(&state));
        let options = Options { method, start, run: 0, config: Arc::default() };
        let host = Some(Arc::clone(&self.objects) as Arc<dyn Host>);
        let mut cursor = Cursor::new(Arc::clone(&self.bench.graph), host, self.lent(id), options);
        if runs {
            cursor.allow_runs();
        }
        let (mut lines, mut branches) = (Vec::new(), VecDeque::new());
        let mut answer = Answer::Start { announce: false };
        loop {
            let item = cursor.step(answer, self.bench.live()).unwrap();
            answer = match &item {
                Item::Done => return lines,
                Item::Calls(calls) => self.calls(&cursor, calls, &mut lines),
                Item::Event(event) => {
                    lines.push(self.shown(&print(&cursor, event), id));
                    Answer::Done
                }
                Item::Error(error) => {
                    let node = cursor.topology().name(error.node);
                    let state = error.state.clone().unwrap_or_else(|| Value::map(self.state(id))).to_json();
                    let said = if self.bench.raises { &error.raised } else { &error.text };
                    lines.push(format!("error {node}: {said} {state}"));
                    Answer::Done
                }
                Item::Raise(RaiseError::Unchanged(failure)) => {
                    lines.push(format!("raise {}", failure.text));
                    Answer::Done
                }
                Item::Launch { .. } => {
                    let copy = self.objects.add(self.state(id));
                    branches.push_back(cursor.branch(Some(self.lent(copy))).unwrap());
                    Answer::Done
                }
                Item::Wait => {
                    self.run_branch(branches.pop_front().expect("a branch to wait for"));
                    Answer::Done
                }
                other => self.answer(&cursor, other),
            };
        }
    }
}
