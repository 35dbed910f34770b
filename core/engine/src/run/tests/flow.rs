//! Events and their order, routing, errors, limits, scoped runs.

use super::bench::{Bench, empty, failure, respond};
use crate::run::{Answer, Method, Start};
use crate::value::Value;

/// SG-28, SG-55, SG-57, SG-58, SG-61: a node without function gives no event.
#[test]
fn a_chain() {
    let mut bench = Bench::new();
    bench.trail(&["a", "b"]).plain("quiet").chain(&["a", "quiet", "b"]);
    assert_eq!(bench.invoke(crate::map! { "t" => "" }), [r#"final {"t":"ab"} output=null"#]);
    assert_eq!(
        bench.stream(crate::map! { "t" => "" }),
        [r#"state a {"t":"a"}"#, r#"state b {"t":"ab"}"#, r#"final {"t":"ab"}"#]
    );
}

/// SG-37, SG-38
#[test]
fn results_that_are_no_map_become_a_key() {
    let mut bench = Bench::new();
    bench
        .node("a", |_| Answer::Result(Value::Null))
        .node("b", |_| Answer::Result(vec![Value::Int(1)].into()));
    bench.node("c", |_| Answer::Result(crate::map! { "result" => "own" })).chain(&["a", "b", "c"]);
    assert_eq!(
        bench.stream(empty()),
        [
            r#"state a {"result":null}"#,
            r#"state b {"result":[1]}"#,
            r#"state c {"result":"own"}"#,
            r#"final {"result":"own"}"#
        ]
    );
}

/// SG-53: start is a node like any other, also for interrupts. SG-54: the end never is.
#[test]
fn start_and_end() {
    let mut bench = Bench::new();
    bench.trail(&["a"]).chain(&["a"]).interrupts(&["__start__"], &[]);
    assert_eq!(bench.stream(empty()), ["interrupt_before __start__ {} checkpoint_path=null"]);
    bench.interrupts(&[], &["__start__"]);
    assert_eq!(bench.invoke(empty()), ["interrupt __start__ {} checkpoint_path=null"]);
    assert!(bench.called().is_empty());
    bench.interrupts(&["__end__"], &["__end__"]);
    assert_eq!(bench.invoke(empty()), [r#"final {"t":"a"} output=null"#]);
}

/// SG-55 steps 1, 3, 4; SG-61: the `state` event comes before the interrupt after the node.
#[test]
fn interrupts_stop_the_run() {
    let mut bench = Bench::new();
    bench.trail(&["a", "b"]).chain(&["a", "b"]).interrupts(&["b"], &["a"]);
    assert_eq!(
        bench.stream(empty()),
        [r#"state a {"t":"a"}"#, r#"interrupt_after a {"t":"a"} checkpoint_path=null"#]
    );
    bench.interrupts(&["b"], &[]);
    assert_eq!(
        bench.stream(empty()),
        [r#"state a {"t":"a"}"#, r#"interrupt_before b {"t":"a"} checkpoint_path=null"#]
    );
    assert_eq!(bench.called(), ["a", "a"]);
}

/// SG-44, SG-45, SG-46: order of edges; 1, 1.0 and true are one key; a condition is asked once if it decides.
#[test]
fn routing() {
    let mut bench = Bench::new();
    bench.mark("x", "took").mark("y", "took").mark("z", "took").plain("a").edge("__start__", "a");
    let key = |state: &crate::value::Map| Answer::Result(state.get("k").cloned().unwrap_or(Value::Null));
    bench.route("a", key, &[(Value::Int(1), "x"), (Value::Null, "y")]).edge("a", "z");
    for name in ["x", "y", "z"] {
        bench.edge(name, "__end__");
    }
    let took = |value: Value| {
        let mut lines = bench.invoke(crate::map! { "k" => value });
        lines.pop().unwrap()
    };
    assert!(took(Value::Bool(true)).contains(r#""took":"x""#));
    assert!(took(Value::Float(1.0)).contains(r#""took":"x""#));
    assert!(took(Value::Null).contains(r#""took":"y""#));
    assert!(took("1".into()).contains(r#""took":"z""#));
    assert_eq!(
        took(Value::list(vec![])),
        "refused: a condition returned a list, which cannot choose an edge"
    );
}

/// SG-63: no way on.
#[test]
fn dead_ends() {
    let mut bench = Bench::new();
    assert_eq!(bench.invoke(empty()), ["error __start__: No valid next node found from node '__start__' {}"]);
    bench.trail(&["a"]).edge("__start__", "a");
    bench.route("a", |_| Answer::Result("?".into()), &[("x".into(), "a")]);
    assert_eq!(
        bench.stream(empty()),
        [r#"state a {"t":"a"}"#, r#"error a: No valid next node found from node 'a' {"t":"a"}"#]
    );
}

/// SG-63, SG-64, SG-65
#[test]
fn failures() {
    let mut bench = Bench::new();
    bench.trail(&["a"]).node("b", |_| failure("it broke")).chain(&["a", "b"]);
    assert_eq!(bench.stream(empty()), [r#"state a {"t":"a"}"#, r#"error b: it broke {"t":"a"}"#]);
    bench.raises = true;
    assert_eq!(bench.invoke(empty()), [r#"error b: Error in node 'b': it broke {"t":"a"}"#]);
    let mut cursor = bench.cursor(Method::Invoke, Start::Fresh, empty());
    bench.drive(&mut cursor);
    assert!(cursor.is_over());
    assert!(matches!(cursor.step(Answer::Done, bench.live()), Ok(crate::run::Item::Done)));
}

/// SG-47: whatever `raise_exceptions` says.
#[test]
fn a_failing_condition_leaves_the_run_unchanged() {
    for raises in [false, true] {
        let mut bench = Bench::new();
        bench.raises = raises;
        bench.route("__start__", |_| failure("cannot decide"), &[(Value::Int(1), "__end__")]);
        assert_eq!(bench.invoke(empty()), ["raise cannot decide"]);
    }
}

/// SG-66, SG-67: an ordinary error in branches and scoped runs.
#[test]
fn responses() {
    let mut bench = Bench::new();
    bench.node("a", |_| respond(404)).mark("j", "j").chain(&["a", "j"]);
    assert_eq!(bench.invoke(empty()), ["http_response a status=404 body=null headers={} {}"]);
    assert_eq!(bench.scoped("a", "j", empty()).0, ["error a: HTTP 404 {}"]);
    let mut bench = Bench::new();
    bench.plain("s").node("a", |_| respond(404)).mark("j", "j").edge("__start__", "s").fork("s", "a", "j");
    bench.edge("a", "j").edge("j", "__end__");
    assert_eq!(
        bench.stream(empty()),
        [
            "parallel_error branch=a a error=HTTP 404 {}",
            r#"state j {"parallel_results":[],"j":"j"}"#,
            r#"final {"parallel_results":[],"j":"j"}"#
        ]
    );
}

/// Q15: how many nodes may be entered; start is not counted.
#[test]
fn a_step_limit() {
    let mut bench = Bench::new();
    bench.trail(&["a", "b"]).chain(&["a", "b"]);
    let limit = |bench: &Bench, limit| bench.graph.configure(|settings| settings.step_limit = limit);
    limit(&bench, Some(2));
    assert_eq!(bench.invoke(empty()), [r#"final {"t":"ab"} output=null"#]);
    limit(&bench, Some(1));
    assert_eq!(bench.invoke(empty()), [r#"error b: Step limit of 1 reached {"t":"a"}"#]);
    assert_eq!(bench.called(), ["a", "b", "a"]);
    limit(&bench, None);
    let mut bench = Bench::new();
    bench.trail(&["a"]).chain(&["a"]).edge("a", "a");
    bench.graph.edit(|topology| {
        // The loop first, then the end.
        let a = topology.find("a").unwrap();
        let edges = topology.edges(a).to_vec();
        topology.clear();
        topology.insert(0, crate::graph::Action::None);
        topology.insert(1, crate::graph::Action::None);
        topology.insert(a, crate::graph::Action::Call { reference: 0 });
        let always = |target| crate::graph::Edge { target, rule: crate::graph::Rule::Always, parallel: None };
        topology.append(0, always(a));
        for edge in edges.into_iter().rev() {
            topology.append(a, edge);
        }
    });
    limit(&bench, Some(3));
    bench.raises = true;
    assert_eq!(bench.invoke(empty()), [r#"error a: Step limit of 3 reached {"t":"aaa"}"#]);
}

/// Q15: coming back to start is a step.
#[test]
fn a_step_limit_at_start() {
    let mut bench = Bench::new();
    bench.edge("__start__", "__start__");
    bench.graph.configure(|settings| settings.step_limit = Some(2));
    assert_eq!(bench.invoke(empty()), ["error __start__: Step limit of 2 reached {}"]);
}

/// Q15: a join counts as the entering of its node, and a branch has a count of its own.
#[test]
fn a_step_limit_at_a_join() {
    let mut bench = Bench::new();
    bench
        .trail(&["s", "a", "j"])
        .edge("__start__", "s")
        .fork("s", "a", "j")
        .edge("a", "j")
        .edge("j", "__end__");
    bench.graph.configure(|settings| settings.step_limit = Some(1));
    let lines = bench.invoke(empty());
    assert!(lines[0].starts_with("error j: Step limit of 1 reached "), "{lines:?}");
    bench.graph.configure(|settings| settings.step_limit = Some(2));
    assert!(bench.invoke(empty())[0].starts_with("final "));
}

/// SG-82, SG-83, SG-84: over all edges, without events, interrupts or fan-out; up to the exit or the end.
#[test]
fn scoped_runs() {
    let mut bench = Bench::new();
    bench.trail(&["a", "b", "c", "d"]).chain(&["a"]).fork("a", "b", "d").edge("b", "c").edge("c", "d");
    bench.edge("d", "__end__").interrupts(&["a", "b"], &["c"]);
    // The edge to the end was there first.
    assert_eq!(bench.scoped("a", "d", empty()), (vec![], crate::map! { "t" => "a" }));
    assert_eq!(bench.scoped("b", "d", empty()), (vec![], crate::map! { "t" => "bc" }));
    let mut bench = Bench::new();
    bench.trail(&["a", "b"]).plain("s").edge("__start__", "s").fork("s", "a", "b").edge("a", "b");
    let (lines, state) = bench.scoped("s", "b", crate::map! { "t" => ">" });
    assert_eq!((lines, state), (vec![], crate::map! { "t" => ">a" }));
    let text = "No valid next node found from 'b' in scoped execution";
    assert_eq!(bench.scoped("a", "__end__", empty()).0, [format!(r#"error b: {text} {{"t":"ab"}}"#)]);
}

/// SG-21: a run sees a change at its next step; edges are looked at when a node is left.
#[test]
fn the_graph_changes_while_it_runs() {
    let mut bench = Bench::new();
    let graph = std::sync::Arc::clone(&bench.graph);
    bench.node("a", move |_| {
        graph.add_node("late", crate::graph::Action::Call { reference: 1 }).unwrap();
        graph.add_edge("a", "late").unwrap();
        graph.set_finish_point("late").unwrap();
        Answer::Result(crate::map! { "a" => 1_i64 })
    });
    bench.function(|_| Answer::Result(crate::map! { "late" => true }));
    bench.edge("__start__", "a");
    assert_eq!(
        bench.stream(empty()),
        [r#"state a {"a":1}"#, r#"state late {"a":1,"late":true}"#, r#"final {"a":1,"late":true}"#]
    );
}

/// SG-21: the run stands on a name that is not in the graph.
#[test]
fn a_node_that_is_not_there() {
    let mut bench = Bench::new();
    bench.trail(&["a"]).edge("__start__", "a");
    bench.graph.edit(|topology| {
        let (a, target) = (topology.find("a").unwrap(), topology.intern("ghost", "ghost"));
        topology.connect(a, crate::graph::Edge { target, rule: crate::graph::Rule::Always, parallel: None });
    });
    for raises in [false, true] {
        bench.raises = raises;
        assert_eq!(bench.invoke(empty()), ["unknown ghost"]);
    }
}
