//! The same over a state that lives with the host.

use std::sync::{Mutex, PoisonError};

use super::*;
use crate::host::{
    CopyDepth, Host, HostError, HostRef, LogLevel, Lookup, PathStep, Query, References, Resolved, When,
};
use crate::value::Key;

/// Maps under numbers, and the log.
#[derive(Default)]
struct Objects {
    maps: Mutex<Vec<Map>>,
    log: Mutex<Vec<String>>,
    references: Arc<References>,
}

impl Objects {
    fn with<T>(&self, id: u64, body: impl FnOnce(&mut Map) -> T) -> T {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        body(&mut maps[usize::try_from(id).unwrap() - 1])
    }

    fn add(&self, map: Map) -> HostRef {
        let mut maps = self.maps.lock().unwrap_or_else(PoisonError::into_inner);
        maps.push(map);
        HostRef::lent(maps.len() as u64)
    }
}

fn unused<T>(question: &str) -> Result<T, HostError> {
    Err(HostError { message: format!("{question} is not asked here") })
}

impl Host for Objects {
    fn resolve(&self, root: u64, paths: &[&[PathStep]]) -> Result<Vec<Resolved>, HostError> {
        let follow = |path: &&[PathStep]| {
            let mut here = Value::map(self.with(root, |map| map.clone()));
            for (depth, step) in path.iter().enumerate() {
                let next = match step {
                    PathStep::Key(key) => here.as_map().and_then(|map| map.get(&**key)).cloned(),
                    PathStep::Index(index) => usize::try_from(*index)
                        .ok()
                        .and_then(|index| here.as_list().and_then(|list| list.get(index)).cloned()),
                };
                match next {
                    Some(next) => here = next,
                    None => return Resolved::Missing { depth },
                }
            }
            Resolved::Found(here)
        };
        Ok(paths.iter().map(follow).collect())
    }
    fn get(&self, object: u64, key: &Value, _: Lookup) -> Result<Option<Value>, HostError> {
        Ok(self.with(object, |map| map.get(key).cloned()))
    }
    fn keys(&self, object: u64) -> Result<Vec<Value>, HostError> {
        Ok(self.with(object, |map| map.keys().map(|key| key.value().clone()).collect()))
    }
    fn query(&self, _: u64, what: Query, _: Option<&Value>) -> Result<Value, HostError> {
        match what {
            Query::TypeName => Ok(Value::from("dict")),
            _ => unused("query"),
        }
    }
    fn call(&self, object: u64, method: &str, arguments: &[Value]) -> Result<Value, HostError> {
        match (method, arguments) {
            ("pop", [key, default]) => {
                Ok(self.with(object, |map| map.shift_remove(key)).unwrap_or_else(|| default.clone()))
            }
            _ => unused(method),
        }
    }
    fn export(&self, object: u64) -> Result<Value, HostError> {
        Ok(Value::map(self.with(object, |map| map.clone())))
    }
    fn import(&self, _: &Value) -> Result<HostRef, HostError> {
        unused("import")
    }
    fn apply(&self, state: u64, delta: &Map) -> Result<(), HostError> {
        self.with(state, |map| map.extend(delta.iter().map(|(key, value)| (key.clone(), value.clone()))));
        Ok(())
    }
    fn copy(&self, object: u64, _: CopyDepth) -> Result<HostRef, HostError> {
        let map = self.with(object, |map| map.clone());
        Ok(self.add(map))
    }
    fn stops(&self, _: u64, _: u32, _: When) -> Result<bool, HostError> {
        Ok(false)
    }
    fn log(&self, level: LogLevel, target: &str, text: &str) {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(format!("{level:?} {target}: {text}"));
    }
    fn references(&self) -> &Arc<References> {
        &self.references
    }
}

/// Runs the agent over a live state; the host's actions change the state that they are called with.
fn run_live(agent: &Agent, state: &str) -> (Map, Vec<String>) {
    let objects = Arc::new(Objects::default());
    let object = objects.add(input(state));
    let host: Arc<dyn Host> = Arc::<Objects>::clone(&objects);
    let state = State::Host { object: object.clone(), host: Arc::clone(&host) };
    let options = Options { method: Method::Invoke, start: Start::Fresh, run: 0, config: Arc::default() };
    let mut cursor = Cursor::new(Arc::clone(agent.graph()), Some(host), state, options);
    let mut answer = Answer::Start { announce: false };
    loop {
        answer = match cursor.step(answer, Live::default()).unwrap() {
            Item::Event(Event::Final { .. }) => break,
            Item::Error(error) => panic!("{}", error.text),
            Item::Request { request: Request::Action { name, .. }, .. } if *name == *"touch" => {
                let Value::Host(state) = cursor.state().value() else { panic!("no live state") };
                let seen = objects.with(state.id(), |map| {
                    map.insert(Key::from("touched"), Value::Bool(true));
                    map.get("n").cloned().unwrap_or_default()
                });
                Answer::Result(crate::map! { "seen" => seen, "of_its_own" => cursor.lent_state().is_some() })
            }
            Item::Request { .. } => Answer::Core,
            _ => Answer::Done,
        };
    }
    let log = objects.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
    (objects.with(object.id(), |map| map.clone()), log)
}

#[test]
fn programs_work_over_a_live_state() {
    // AC-2, AC-5, SP-1, WL-5, LU-8
    let agent = load(
        r#"
nodes:
  - {name: a, uses: value, with: {of: "{{ state.x + 1 }}"}, output: n}
  - {name: b, uses: touch}
  - {name: c, language: lua, run: "return {doubled = state.n * 2}"}
  - name: l
    type: while_loop
    condition: "state.n < 5"
    max_iterations: 9
    body: [{uses: value, with: {of: "{{ state.n + 1 }}"}, output: n}]
    goto: [{if: state.n == 5, to: done}]
  - {name: never, uses: fail}
  - {name: done}
"#,
    );
    let (state, _) = run_live(&agent, r#"{"x": 1}"#);
    assert_eq!(
        Value::map(state).to_json(),
        r#"{"x":1,"n":5,"touched":true,"seen":2,"of_its_own":false,"doubled":4}"#
    );
}

#[test]
fn steps_hand_the_host_their_own_state() {
    // SP-1, SP-2
    let agent = load("nodes: [{name: s, steps: [{uses: value, with: {of: 7}, output: n}, {uses: touch}]}]");
    let (state, _) = run_live(&agent, "{}");
    assert_eq!(Value::map(state).to_json(), r#"{"n":7,"touched":true,"seen":7,"of_its_own":true}"#);
}

#[test]
fn errors_in_a_live_state_are_cleared() {
    // EH-21, yaml/Q-12
    let agent = load("nodes: [{name: a, uses: echo, with: {n: 1}, on_error: {mode: graceful}}]");
    let (state, _) = run_live(&agent, r#"{"__error__": {"type": "E"}}"#);
    assert_eq!(Value::map(state).to_json(), r#"{"n":1}"#);
}

#[test]
fn a_template_that_gives_its_own_text_is_logged_once() {
    // yaml/Q-1, templates/GC-3
    let agent = load(
        r#"
nodes:
  - name: a
    uses: value
    with: {of: "{{ 1 // state.zero }}"}
    output: r
    goto: [{if: state.i.j.k, to: b}, {to: again}]
  - {name: again, steps: [{uses: value, with: {of: "{{ 1 // state.zero }}"}, output: q}], goto: b}
  - {name: b}
"#,
    );
    let (state, log) = run_live(&agent, r#"{"zero": 0}"#);
    assert_eq!(state.get("r"), Some(&Value::from("{{ 1 // state.zero }}")));
    let warnings: Vec<_> =
        log.iter().filter(|line| line.starts_with("Warning the_edge_agent.yaml_")).collect();
    let [first, rule, second] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert!(first.contains("Node 'a', parameter 'of'") && first.contains("strict_templates"), "{first}");
    assert!(rule.contains("yaml_edges: Failed to evaluate goto condition 'state.i.j.k'"), "{rule}");
    assert!(rule.ends_with("Returning False."), "{rule}");
    assert!(second.contains("Node 'again'"), "{second}");
}

#[test]
fn strict_templates_make_it_an_error() {
    // yaml/Q-1
    let agent = load(
        "settings: {strict_templates: true}\nnodes: [{name: a, uses: value, with: {of: \"{{ 1 // state.zero }}\"}}]",
    );
    assert!(error_of(&agent, r#"{"zero": 0}"#).contains("division"));
}
