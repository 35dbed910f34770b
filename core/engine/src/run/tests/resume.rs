//! Where a resumed run begins, and how it differs from a fresh one.

use super::bench::{Bench, empty, failure};
use crate::host::When;
use crate::run::{Method, Start};

fn chain() -> Bench {
    let mut bench = Bench::new();
    bench.trail(&["a", "b", "c"]).chain(&["a", "b", "c"]);
    bench
}

fn resume(bench: &Bench, method: Method, node: &str, interrupt: Option<When>) -> Vec<String> {
    let node = bench.graph.topology().find(node).unwrap();
    bench.drive(&mut bench.cursor(method, Start::Resume { node, interrupt }, empty()))
}

/// CP-27 with CQ-1, all rows: (lists of `b`, what made the checkpoint) to whether `b` runs and what it meets.
#[test]
fn the_first_node() {
    use When::{After, Before};
    let before: &[&str] = &["b"];
    let none: &[&str] = &[];
    let goes_on = r#"final {"t":"bc"}"#;
    let skipped = r#"final {"t":"c"}"#;
    let stops = r#"interrupt b {"t":"b"} checkpoint_path=null"#;
    for (lists, interrupt, expected) in [
        ((none, none), None, goes_on),
        ((none, none), Some(After), goes_on),
        ((before, none), Some(Before), goes_on),
        ((before, none), None, goes_on),
        ((none, before), Some(After), skipped),
        ((none, before), None, skipped),
        ((before, before), None, skipped),
        ((before, before), Some(After), skipped),
        ((before, before), Some(Before), stops),
    ] {
        let mut bench = chain();
        bench.interrupts(lists.0, lists.1);
        assert_eq!(resume(&bench, Method::Invoke, "b", interrupt), [expected], "{lists:?} {interrupt:?}");
    }
}

/// CP-27: start is routed from, the end gives `final` at once. CP-32: `final` has no `output`.
#[test]
fn start_and_end() {
    let bench = chain();
    assert_eq!(resume(&bench, Method::Invoke, "__start__", None), [r#"final {"t":"abc"}"#]);
    assert_eq!(resume(&bench, Method::Stream, "__end__", None), ["final {}"]);
    assert!(bench.called().ends_with(&["c".to_owned()]));
}

/// CP-29
#[test]
fn later_interrupts_stop() {
    let mut bench = chain();
    bench.interrupts(&["b", "c"], &[]);
    assert_eq!(
        resume(&bench, Method::Stream, "b", Some(When::Before)),
        [r#"state b {"t":"b"}"#, r#"interrupt_before c {"t":"b"} checkpoint_path=null"#]
    );
}

/// CP-28
#[test]
fn a_skipped_node_may_be_a_dead_end() {
    let mut bench = Bench::new();
    bench.trail(&["a"]).edge("__start__", "a").interrupts(&[], &["a"]);
    let expected = ["error a: No valid next node found from node 'a' {}"];
    assert_eq!(resume(&bench, Method::Invoke, "a", Some(When::After)), expected);
    assert!(bench.called().is_empty());
}

/// CP-58, CQ-2: a skipped node fans out; CP-36: the results of branches are plain states also in `invoke`.
#[test]
fn a_skipped_node_fans_out() {
    let mut bench = Bench::new();
    bench.trail(&["s", "a", "b"]).mark("j", "j").edge("__start__", "s");
    bench.fork("s", "a", "j").fork("s", "b", "j").edge("a", "j").edge("b", "j").edge("j", "__end__");
    bench.interrupts(&[], &["s"]);
    let expected = [r#"final {"parallel_results":[{"t":"a"},{"t":"b"}],"j":"j"}"#];
    assert_eq!(resume(&bench, Method::Invoke, "s", Some(When::After)), expected);
    // CP-58: interrupts at a join stop as in a fresh run.
    bench.interrupts(&["j"], &["s"]);
    let lines = resume(&bench, Method::Invoke, "s", Some(When::After));
    assert_eq!(lines, [r#"interrupt j {"parallel_results":[{"t":"a"},{"t":"b"}]} checkpoint_path=null"#]);
    // CP-40: resumed there, it is an ordinary node.
    assert_eq!(resume(&bench, Method::Invoke, "j", Some(When::Before)), [r#"final {"j":"j"}"#]);
}

/// CP-58: a failed branch is reported as in a fresh run.
#[test]
fn a_branch_fails_in_a_resumed_run() {
    let mut bench = Bench::new();
    bench.trail(&["s", "b"]).node("a", |_| failure("no luck")).mark("j", "j").edge("__start__", "s");
    bench.fork("s", "a", "j").edge("a", "b").edge("b", "j").edge("j", "__end__").interrupts(&[], &["s"]);
    assert_eq!(resume(&bench, Method::Invoke, "s", None), ["error a: no luck {}"]);
}

/// CP-30: the same point again, with other states.
#[test]
fn any_number_of_times() {
    let mut bench = chain();
    bench.interrupts(&["c"], &[]);
    let node = bench.graph.topology().find("c").unwrap();
    for text in ["x", "y", "x"] {
        let start = Start::Resume { node, interrupt: Some(When::Before) };
        let mut cursor = bench.cursor(Method::Invoke, start, crate::map! { "t" => text });
        assert_eq!(bench.drive(&mut cursor), [format!(r#"final {{"t":"{text}c"}}"#)]);
    }
}
