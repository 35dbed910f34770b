//! Answers that do not fit are refused and change nothing: the right one still does.

use super::bench::{Bench, empty, is_wrong};
use crate::host::{
    CopyDepth, Host, HostError, HostRef, LogLevel, Lookup, PathStep, Query, References, Resolved, When,
};
use crate::run::{Answer, Cursor, Event, Item, Live, Method, Options, Start, StepError};
use crate::value::{Map, Value};

use std::sync::Arc;

const START: Answer = Answer::Start { announce: false };

fn all() -> Vec<Answer> {
    vec![
        START,
        Answer::Done,
        Answer::Result(Value::Null),
        Answer::Target(None),
        Answer::Choice(Value::Null),
        Answer::Failed(Default::default()),
        super::bench::respond(200),
        Answer::Stored(None),
        Answer::Kept(Value::Null),
        Answer::Core,
        Answer::Ran(1),
        Answer::RanTo { target: None, times: 1 },
        Answer::FailedAfter(0, Default::default()),
    ]
}

fn name(answer: &Answer) -> &'static str {
    match answer {
        Answer::Start { .. } => "START",
        Answer::Done => "DONE",
        Answer::Result(_) => "RESULT",
        Answer::Target(_) => "TARGET",
        Answer::Choice(_) => "CHOICE",
        Answer::Failed(_) => "FAILED",
        Answer::Respond(_) => "RESPOND",
        Answer::Stored(_) => "STORED",
        Answer::Kept(_) => "KEPT",
        Answer::Core => "CORE",
        Answer::Ran(_) | Answer::RanTo { .. } => "RAN",
        Answer::FailedAfter(..) => "FAILED AFTER",
        Answer::RespondAfter(..) => "RESPOND AFTER",
    }
}

/// Tries every answer but those that fit; the error names the answer.
fn refuse_all_but(cursor: &mut Cursor, fitting: &[&str]) {
    for answer in all() {
        let name = name(&answer);
        if !fitting.contains(&name) {
            match cursor.step(answer, Live::default()) {
                Err(StepError::WrongAnswer { answer, .. }) => {
                    assert!(name.starts_with(answer), "{name}: {answer}")
                }
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}

fn step(cursor: &mut Cursor, answer: Answer) -> Item {
    cursor.step(answer, Live::default()).unwrap()
}

#[test]
fn of_the_main_flow() {
    let mut bench = Bench::new();
    bench.trail(&["a", "b"]).edge("__start__", "a").fork("a", "b", "b").edge("b", "__end__");
    bench.route("a", |_| Answer::Done, &[(Value::Null, "b")]);
    let mut cursor = bench.cursor(Method::Invoke, Start::Fresh, empty());
    refuse_all_but(&mut cursor, &["START"]);
    assert!(matches!(cursor.branch(None), Err(StepError::WrongAnswer { .. })));
    assert!(matches!(step(&mut cursor, START), Item::Call { .. }));
    refuse_all_but(&mut cursor, &["DONE", "RESULT", "FAILED", "RESPOND"]);
    assert!(matches!(step(&mut cursor, Answer::Done), Item::Launch { .. }));
    refuse_all_but(&mut cursor, &["DONE"]);
    let branch = cursor.branch(None).unwrap();
    // `route` made the edge to b conditional; it is still a parallel one, so nothing is left to choose from.
    assert!(matches!(step(&mut cursor, Answer::Done), Item::Wait));
    bench.run_branch(branch);
    assert!(matches!(step(&mut cursor, Answer::Done), Item::Call { .. }));
}

#[test]
fn to_a_condition() {
    let mut bench = Bench::new();
    bench.trail(&["a"]).route("__start__", |_| Answer::Done, &[(Value::Int(1), "a")]).edge("a", "__end__");
    let mut cursor = bench.cursor(Method::Invoke, Start::Fresh, empty());
    assert!(matches!(step(&mut cursor, START), Item::Condition { .. }));
    refuse_all_but(&mut cursor, &["TARGET", "CHOICE", "FAILED"]);
    assert!(matches!(step(&mut cursor, Answer::Choice(Value::Int(1))), Item::Call { .. }));
}

#[test]
fn to_a_condition_that_the_host_evaluates() {
    let bench = Bench::new();
    bench.graph.edit(|topology| {
        let rule = crate::graph::Rule::Host { reference: 3 };
        topology.connect(0, crate::graph::Edge { target: 1, rule, parallel: None });
    });
    let mut cursor = bench.cursor(Method::Invoke, Start::Fresh, empty());
    assert!(matches!(step(&mut cursor, START), Item::Condition { reference: 3, .. }));
    refuse_all_but(&mut cursor, &["TARGET", "FAILED"]);
    assert!(matches!(step(&mut cursor, Answer::Target(Some(1))), Item::Event(Event::Final { .. })));
}

/// A wrong answer must not turn a failed branch into a good one, nor end its flow.
#[test]
fn of_a_branch() {
    let mut bench = Bench::new();
    bench.plain("s").trail(&["a", "b", "j"]).edge("__start__", "s").fork("s", "a", "j");
    bench.edge("a", "b").edge("b", "j").edge("j", "__end__");
    let mut cursor = bench.cursor(Method::Stream, Start::Fresh, empty());
    step(&mut cursor, START);
    let mut branch = cursor.branch(None).unwrap();
    step(&mut branch, START);
    assert!(matches!(step(&mut branch, Answer::Done), Item::Event(Event::ParallelState { .. })));
    refuse_all_but(&mut branch, &["KEPT"]);
    assert!(matches!(step(&mut branch, Answer::Kept(Value::Null)), Item::Call { .. }));
    let failed = step(&mut branch, super::bench::failure("no"));
    assert!(matches!(failed, Item::Event(Event::ParallelError { .. })));
    refuse_all_but(&mut branch, &["KEPT"]);
    match step(&mut branch, Answer::Kept(Value::Null)) {
        Item::Outcome(outcome) => assert_eq!(outcome.error.unwrap().text, "no"),
        other => panic!("{other:?}"),
    }
    refuse_all_but(&mut branch, &["KEPT"]);
    assert!(matches!(step(&mut branch, Answer::Kept("result".into())), Item::Done));
    step(&mut cursor, Answer::Done);
    let mut texts = Vec::new();
    loop {
        match step(&mut cursor, Answer::Done) {
            Item::Call { .. } => break,
            item => texts.push(format!("{item:?}")),
        }
    }
    assert_eq!(cursor.state().value().to_json(), r#"{"parallel_results":[]}"#);
    assert_eq!(texts.len(), 1, "the second event of the branch: {texts:?}");
}

/// A host that answers nothing but that every interrupt is set.
struct Stopping(Arc<References>);

fn unused<T>() -> Result<T, HostError> {
    Err(HostError { message: "unused".to_owned() })
}

impl Host for Stopping {
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
    fn export(&self, _: u64) -> Result<Value, HostError> {
        unused()
    }
    fn import(&self, _: &Value) -> Result<HostRef, HostError> {
        unused()
    }
    fn apply(&self, _: u64, _: &Map) -> Result<(), HostError> {
        unused()
    }
    fn copy(&self, _: u64, _: CopyDepth) -> Result<HostRef, HostError> {
        unused()
    }
    fn stops(&self, run: u64, _: u32, when: When) -> Result<bool, HostError> {
        assert_eq!(run, 8);
        Ok(when == When::Before)
    }
    fn log(&self, _: LogLevel, _: &str, _: &str) {}
    fn references(&self) -> &Arc<References> {
        &self.0
    }
}

/// CP-14: the host stores, and says where.
#[test]
fn to_a_store() {
    let bench = Bench::new();
    let options = Options { method: Method::Stream, start: Start::Fresh, run: 8, config: Arc::default() };
    let host: Arc<dyn Host> = Arc::new(Stopping(Arc::default()));
    let mut cursor = Cursor::new(Arc::clone(&bench.graph), Some(host), super::bench::core(empty()), options);
    let live = Live { stops: true, ..Live::default() };
    assert!(matches!(cursor.step(START, live), Ok(Item::Store { node: 0, when: When::Before })));
    assert!(is_wrong(cursor.step(Answer::Done, live)));
    assert!(is_wrong(cursor.step(Answer::Kept(Value::Null), live)));
    match cursor.step(Answer::Stored(Some("id".to_owned())), live) {
        Ok(Item::Event(event)) => assert_eq!(
            cursor.event_value(&event).to_json(),
            r#"{"type":"interrupt_before","node":"__start__","state":{},"checkpoint_path":"id"}"#
        ),
        other => panic!("{other:?}"),
    }
    assert!(matches!(cursor.step(Answer::Done, live), Ok(Item::Done)));
}

/// A start that only announces the run ends it.
#[test]
fn announce() {
    let mut bench = Bench::new();
    bench.trail(&["a"]).chain(&["a"]);
    let mut cursor = bench.cursor(Method::Invoke, Start::Fresh, empty());
    assert!(matches!(step(&mut cursor, Answer::Start { announce: true }), Item::Done));
    assert!(cursor.is_over());
}
