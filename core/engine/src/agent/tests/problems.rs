//! What is said about agents that are wrong.

use super::super::{Severity, validate_text};
use super::*;

#[test]
fn a_problem_says_where_it_is() {
    let error =
        refused("name: x\nnodes:\n  - name: a\n  - name: b\n    goto:\n      - to: cc\n  - name: c1\n");
    assert_eq!(error.class, "ValueError");
    assert_eq!(
        error.to_string(),
        "Node 'b' has goto to non-existent node 'cc'. Available nodes: ['a', 'b', 'c1']"
    );
    assert_eq!(error.problem.place.path_text(), "nodes[1].goto[0].to");
    assert_eq!((error.problem.place.mark.line, error.problem.place.mark.column), (6, 9));
    assert!(error.detail().starts_with("agent:6:9 (at nodes[1].goto[0].to): Node 'b' has goto"));
}

#[test]
fn all_problems_are_found_at_once() {
    let problems = validate_text(
        "nodes:\n  - {uses: x}\n  - {name: a, goto: 5}\n  - {name: a}\n  - {name: l, type: while_loop}\nedges:\n  - {to: a}\n",
        None,
        &options(),
    );
    let texts: Vec<_> = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .map(|problem| problem.message.as_str())
        .collect();
    assert_eq!(
        texts,
        [
            "'name'",
            "Node 'a' already exists in the graph.",
            "while_loop node 'l' requires 'condition'",
            "Node 'a' has invalid goto type: <class 'int'>. Expected string or list, got: 5",
            "'from'",
        ]
    );
}

#[test]
fn a_misspelt_key_is_a_warning() {
    // LD-14
    let agent = load("nodes:\n  - name: a\n    gotto: b\n  - name: b\nautor: me\ndescription: x\n");
    let [warning] = agent.warnings() else { panic!("{:?}", agent.warnings()) };
    assert_eq!(
        warning.detail(),
        "agent:3:5 (at nodes[0].gotto): The key 'gotto' is not known and has no effect; did you mean 'goto'?"
    );
}

#[test]
fn a_broken_template_is_a_warning_and_fails_when_it_is_used() {
    // AC-14 in spirit: what is never reached does no harm
    let agent = load("nodes: [{name: a, goto: __end__}, {name: b, uses: value, with: {of: \"{{ 1 + }}\"}}]");
    assert_eq!(state_of(&agent, "{}"), "{}");
    assert!(agent.warnings().iter().any(|warning| warning.place.path_text() == "nodes[1].with"));
    let agent = load("nodes: [{name: b, uses: value, with: {of: \"{{ 1 + }}\"}}]");
    assert!(error_of(&agent, "{}").starts_with("Template error in expression '{{ 1 + }}': "));
}

#[test]
fn texts_that_the_reference_fixes() {
    // ND-1, NV-6, NV-12, NV-16, NV-17, NV-19, CK-1, WL-1 to WL-4, actions/AC-12
    for (text, class, message) in [
        ("nodes: [{name: __end__}]", "ValueError", "Node '__end__' already exists in the graph."),
        (
            "nodes: [{name: a, goto: [{if: x}]}]",
            "ValueError",
            "Node 'a' has goto rule without 'to' field: {'if': 'x'}",
        ),
        ("nodes: [{name: a}]\nedges: [{from: a}]", "KeyError", "'to'"),
        ("nodes: [{name: a}]\nedges: [{from: a, to: a, type: parallel}]", "KeyError", "'fan_in'"),
        (
            "nodes: [{name: a}]\nedges: [{from: a, to: b}]",
            "ValueError",
            "Both nodes must exist in the graph.",
        ),
        (
            "nodes: [{name: a}]\nedges: [{from: b, to: __end__}]",
            "ValueError",
            "Node 'b' does not exist in the graph.",
        ),
        (
            "nodes: [{name: a}]\nedges: [{from: a, to: b, when: x}]",
            "ValueError",
            "Target node 'b' does not exist in the graph.",
        ),
        ("nodes: [{name: a}]\nedges: [{from: a, to: [b]}]", "TypeError", "unhashable type: 'list'"),
        (
            "nodes: [{name: a}]\nedges: [{from: a, to: a, condition: 5}]",
            "ValueError",
            "Invalid condition configuration: 5",
        ),
        (
            "config: {interrupt_before: [z]}\nnodes: [{name: a}]",
            "ValueError",
            "Interrupt node 'z' does not exist in the graph.",
        ),
        (
            "nodes: [{name: a, uses: x, with: {state: 1}}]",
            "ValueError",
            "Node 'a': 'with' must not contain 'state'",
        ),
        (
            "nodes: [{name: a, type: while_loop, condition: x, max_iterations: 1, body: [5]}]",
            "ValueError",
            "while_loop node 'a' requires 'body' with at least one node",
        ),
        ("[1]", "AttributeError", "an agent is a map of name, nodes, ..., not list"),
        ("nodes: {a: 1}", "TypeError", "'nodes' is a list, not dict"),
    ] {
        let error = refused(text);
        assert_eq!((error.class.as_str(), error.to_string().as_str()), (class, message), "{text}");
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    // YM-1, yaml/YP-13
    let error = Agent::load_file("/no/such/agent.yaml", &options()).unwrap_err();
    assert_eq!(error.class, "FileNotFoundError");
    assert!(error.to_string().contains("/no/such/agent.yaml"));
    assert_eq!(refused("a: [1").class, "ParserError");
    let error = refused("a: 1\n---\nb: 2\n");
    assert!(error.to_string().contains("expected a single document in the stream"), "{error}");
}

#[test]
fn null_sections_are_empty() {
    // LD-13, yaml/Q-3
    let agent = load(
        "variables: null\ndata: null\nsettings: null\nconfig: null\nedges: null\nnodes: [{name: a, uses: value, with: {of: \"{{ variables.x }}\"}}]",
    );
    assert_eq!(state_of(&agent, "{}"), r#"{"result":null}"#);
}

#[test]
fn validation_leaves_nothing_behind() {
    // CK-2: only an agent that is loaded gets a directory for its checkpoints.
    let text = "nodes: [{name: a, interrupt: before}]";
    assert_eq!(validate_text(text, None, &options()), []);
    let agent = load(text);
    let checkpoint = agent.context().roots().checkpoint.to_json();
    assert!(checkpoint.contains("tea_checkpoint_"), "{checkpoint}");
    let crate::checkpoint::Store::Directory(directory) = agent.graph().settings().store.clone() else {
        panic!("no directory");
    };
    assert!(directory.is_dir());
    std::fs::remove_dir(directory).unwrap();
}

#[test]
fn sections_for_others_are_checked() {
    // IV-1, EX-3, EX-4, SR-2, SR-3, IM-10, OT-1
    for (text, message) in [
        (
            "input_schema: {a: {type: string}}",
            "Invalid type 'string'. Must be one of: str, int, float, bool, list, dict",
        ),
        (
            "validation_constraints: {language: lua}",
            "validation_constraints language must be 'prolog', got 'lua'",
        ),
        ("semantic_probes: [{for_each: x}]", "semantic_probes[0] missing required 'probe' field"),
        (
            "settings: {parallel: {streams: {enabled: true}}}",
            "Streams require parallel_strategy: process, got 'thread'. Add 'settings.parallel.strategy: process' to your YAML.",
        ),
        (
            "settings: {parallel: {strategy: process, streams: {enabled: true}}}\nnodes: [{name: a, streams: {stdin: c}}]",
            "Stream 'c' is consumed by ['a'] but has no producer. Add a node with 'streams.stdout: c'.",
        ),
        ("imports: [{path: x.py}]", "'imports' loads Python modules, which this host does not run"),
        (
            "output_schema: {a: {default: 1}}",
            "1 validation error for OutputSchemaField\nvalue\n  Field required",
        ),
    ] {
        assert_eq!(refused(text).to_string(), message);
    }
}
