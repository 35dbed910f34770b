//! Fan-out, joins, and what becomes of branches that nobody joins.

use std::time::Duration;

use super::bench::{Bench, empty, failure};
use crate::run::{Answer, Failure, Item, Live, Method, Start};
use crate::value::Value;

/// s starts branches at a and b, which join at j.
fn fork() -> Bench {
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "b", "j"]).edge("__start__", "s").fork("s", "a", "j").fork("s", "b", "j");
    bench.edge("a", "j").edge("b", "j").edge("j", "__end__");
    bench
}

fn step(cursor: &mut crate::run::Cursor, answer: Answer) -> Item {
    cursor.step(answer, Live::default()).unwrap()
}

const START: Answer = Answer::Start { announce: false };

/// SG-56, SG-108: results in the order of launch (`invoke`), states in the order of completion (`stream`).
#[test]
fn a_join() {
    let bench = fork();
    assert_eq!(
        bench.invoke(empty()),
        [concat!(
            r#"final {"t":"sj","parallel_results":[{"b":"a","e":"","s":{"t":"sa"}},"#,
            r#"{"b":"b","e":"","s":{"t":"sb"}}]} output=null"#
        )]
    );
    let results = r#""parallel_results":[{"t":"sa"},{"t":"sb"}]"#;
    assert_eq!(
        bench.stream(empty()),
        [
            r#"state s {"t":"s"}"#.to_owned(),
            r#"parallel_state branch=a a {"t":"sa"}"#.to_owned(),
            r#"parallel_state branch=b b {"t":"sb"}"#.to_owned(),
            format!(r#"state j {{"t":"sj",{results}}}"#),
            format!(r#"final {{"t":"sj",{results}}}"#),
        ]
    );
}

/// SG-108: completion order is what counts in `stream`, launch order in `invoke`.
#[test]
fn the_order_of_completion() {
    for (method, expected) in [(Method::Invoke, ["a", "b"]), (Method::Stream, ["b", "a"])] {
        let bench = fork();
        let mut cursor = bench.cursor(method, Start::Fresh, empty());
        let mut branches = Vec::new();
        let mut launched = 0;
        let mut answer = START;
        loop {
            let item = step(&mut cursor, answer);
            answer = match item {
                Item::Call { reference, .. } if launched < 2 => bench.call(&cursor, reference),
                Item::Launch { .. } => {
                    launched += 1;
                    branches.push(cursor.branch(None).unwrap());
                    Answer::Done
                }
                Item::Wait => {
                    bench.run_branch(branches.pop().unwrap());
                    Answer::Done
                }
                Item::Call { .. } => break,
                _ => Answer::Done,
            };
        }
        let Value::Map(state) = cursor.state().value() else { panic!() };
        let results = state.get("parallel_results").unwrap().to_json();
        let places = expected.map(|name| results.find(&format!("\"s{name}\"")).unwrap());
        assert!(places[0] < places[1], "{method:?}: {results}");
    }
}

/// SG-55 step 6: nothing is launched if one parallel edge does not say where it joins.
#[test]
fn a_parallel_edge_without_join() {
    let mut bench = Bench::new();
    bench.plain("s").trail(&["a", "b", "j"]).edge("__start__", "s").fork("s", "a", "j").broken_fork("s", "b");
    let text = "Parallel edge from 's' to 'b' must have 'fan_in_node' specified";
    assert_eq!(bench.invoke(empty()), [format!("error s: {text} {{}}")]);
    assert!(bench.called().is_empty());
}

/// SG-55 step 8: with normal edges, branches that are pending are not looked at; SG-57: at the end they are waited for,
/// and what they say is dropped.
#[test]
fn branches_that_nobody_joins() {
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "m", "j"]).edge("__start__", "s").fork("s", "a", "j").edge("s", "m");
    bench.edge("a", "j").edge("m", "__end__");
    let expected = [r#"state s {"t":"s"}"#, r#"state m {"t":"sm"}"#, r#"final {"t":"sm"}"#];
    assert_eq!(bench.stream(empty()), expected);
    assert_eq!(bench.called(), ["s", "m", "a"]);
}

/// SG-56: the join that was registered first; SG-43: routing at the join.
#[test]
fn two_joins() {
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "b", "j", "k"]).edge("__start__", "s").fork("s", "a", "k").fork("s", "b", "j");
    bench.edge("a", "k").edge("b", "j").edge("j", "__end__");
    let lines = bench.stream(empty());
    // k has no edge and j is pending still.
    assert!(lines.contains(&r#"state k {"t":"sk","parallel_results":[{"t":"sa"}]}"#.to_owned()), "{lines:?}");
    assert!(
        lines.contains(&r#"state j {"t":"skj","parallel_results":[{"t":"sb"}]}"#.to_owned()),
        "{lines:?}"
    );
    assert!(lines.last().unwrap().starts_with("final "));
}

/// SG-108: interrupts at the join, its function's failure, a dead end there.
#[test]
fn what_follows_a_join() {
    let mut bench = fork();
    bench.interrupts(&["j"], &[]);
    let lines = bench.stream(empty());
    assert!(
        lines.last().unwrap().starts_with(r#"interrupt_before j {"t":"s","parallel_results":["#),
        "{lines:?}"
    );
    bench.interrupts(&[], &["j"]);
    let lines = bench.stream(empty());
    assert!(lines[3].starts_with("state j ") && lines[4].starts_with("interrupt_after j "), "{lines:?}");
    let mut bench = Bench::new();
    bench
        .trail(&["s", "a"])
        .node("j", |_| failure("no"))
        .edge("__start__", "s")
        .fork("s", "a", "j")
        .edge("a", "j");
    let line = |bench: &Bench| bench.invoke(empty()).pop().unwrap();
    assert!(line(&bench).starts_with("error j: no {"));
    bench.raises = true;
    assert!(line(&bench).starts_with("error j: Error in node 'j': no {"));
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "j"]).edge("__start__", "s").fork("s", "a", "j").edge("a", "j");
    assert!(line(&bench).starts_with("error j: No valid next node found from node 'j' {"));
}

/// Q17: a join at the end is the end.
#[test]
fn the_end_as_join() {
    let mut bench = Bench::new();
    bench.trail(&["s", "a"]).edge("__start__", "s").fork("s", "a", "__end__").edge("a", "__end__");
    bench.interrupts(&["__end__"], &["__end__"]);
    let expected = r#"final {"t":"s","parallel_results":[{"t":"sa"}]}"#;
    assert_eq!(bench.stream(empty()).last().unwrap(), expected);
    assert!(bench.invoke(empty())[0].starts_with("final "));
}

/// PAR-33, PAR-34, PAR-57: a branch without a way on, or on a name that is not there.
#[test]
fn branches_without_a_way_on() {
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "j"]).edge("__start__", "s").fork("s", "a", "j").edge("j", "__end__");
    let text = "No valid next node found from node 'a' in parallel flow";
    assert_eq!(
        bench.invoke(empty()),
        [format!(r#"error a: {text} {{"b":"a","e":"{text}","s":{{"t":"sa"}}}}"#)]
    );
    assert!(
        bench.stream(empty()).contains(
            &r#"parallel_error branch=a a error=No valid next node from 'a' {"t":"sa"}"#.to_owned()
        )
    );
    bench.graph.edit(|topology| {
        let (a, target) = (topology.find("a").unwrap(), topology.intern("ghost", "ghost"));
        topology.connect(a, crate::graph::Edge { target, rule: crate::graph::Rule::Always, parallel: None });
    });
    // The text of a KeyError, with its quotes; the state is the one that the branch began with.
    let text = "\"Node 'ghost' not found in the graph\"";
    let lines = bench.invoke(empty());
    assert!(lines[0].starts_with(&format!("error a: {text} {{")), "{lines:?}");
    assert!(lines[0].ends_with(r#""s":{"t":"s"}}"#), "{lines:?}");
}

/// PAR-34: with `raise_exceptions`, in `invoke` only: the text of the raised error, the state of the beginning.
#[test]
fn branches_that_raise() {
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "j"]).node("b", |_| failure("no")).edge("__start__", "s").fork("s", "a", "j");
    bench.edge("a", "b").edge("b", "j").edge("j", "__end__");
    bench.raises = true;
    let lines = bench.invoke(empty());
    assert!(lines[0].starts_with("error a: Error in node 'a': Error in node 'b': no {"), "{lines:?}");
    assert!(lines[0].ends_with(r#""s":{"t":"s"}}"#), "{lines:?}");
    let lines = bench.stream(empty());
    assert!(lines.contains(&r#"parallel_error branch=a a error=no {"t":"sa"}"#.to_owned()), "{lines:?}");
    assert!(lines.last().unwrap().starts_with("final "), "{lines:?}");
}

/// A branch that is dropped before its end fails, and does not keep the join waiting.
#[test]
fn an_abandoned_branch() {
    for steps in 0..2 {
        let bench = fork();
        let mut cursor = bench.cursor(Method::Invoke, Start::Fresh, empty());
        step(&mut cursor, START);
        assert!(matches!(step(&mut cursor, Answer::Done), Item::Launch { .. }));
        let mut a = cursor.branch(None).unwrap();
        assert!(matches!(step(&mut cursor, Answer::Done), Item::Launch { .. }));
        let b = cursor.branch(None).unwrap();
        assert!(matches!(step(&mut cursor, Answer::Done), Item::Wait));
        for _ in 0..steps {
            step(&mut a, START);
        }
        let mailbox = cursor.mailbox().unwrap();
        assert!(!mailbox.wait(Duration::ZERO));
        drop(a);
        assert!(mailbox.wait(Duration::ZERO));
        assert!(matches!(step(&mut cursor, Answer::Done), Item::Wait));
        bench.run_branch(b);
        match step(&mut cursor, Answer::Done) {
            Item::Error(error) => assert_eq!(error.text, "the branch was abandoned before its end"),
            other => panic!("{other:?}"),
        }
        assert!(matches!(step(&mut cursor, Answer::Done), Item::Done));
    }
}

/// What is no ordinary error comes out of the run unchanged, in the order of launch.
#[test]
fn a_fatal_failure() {
    let bench = fork();
    let mut cursor = bench.cursor(Method::Stream, Start::Fresh, empty());
    step(&mut cursor, START);
    step(&mut cursor, Answer::Done);
    step(&mut cursor, Answer::Done);
    let mut a = cursor.branch(None).unwrap();
    step(&mut cursor, Answer::Done);
    let b = cursor.branch(None).unwrap();
    step(&mut a, START);
    let fatal = Failure { reference: 5, text: "stop".into(), fatal: true, ..Failure::default() };
    assert!(matches!(step(&mut a, Answer::Failed(fatal)), Item::Done));
    match step(&mut cursor, Answer::Done) {
        Item::Raise(crate::run::RaiseError::Unchanged(failure)) => assert_eq!(failure.reference, 5),
        other => panic!("{other:?}"),
    }
    assert!(matches!(step(&mut cursor, Answer::Done), Item::Done));
    // The run is over, the branch that is left ends in peace.
    bench.run_branch(b);
}

/// SG-74: what one flow changes does not show in another.
#[test]
fn states_of_branches_are_apart() {
    let bench = fork();
    let mut cursor =
        bench.cursor(Method::Invoke, Start::Fresh, crate::map! { "deep" => crate::map! { "x" => 1_i64 } });
    step(&mut cursor, START);
    step(&mut cursor, Answer::Result(crate::map! { "t" => "main" }));
    let mut branch = cursor.branch(None).unwrap();
    step(&mut branch, START);
    step(&mut branch, Answer::Result(crate::map! { "deep" => 2_i64 }));
    assert_eq!(cursor.state().value().to_json(), r#"{"deep":{"x":1},"t":"main"}"#);
    assert_eq!(branch.state().value().to_json(), r#"{"deep":2,"t":"main"}"#);
}
