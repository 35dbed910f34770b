//! Where a run goes next (yaml.md 9).

use super::*;

/// Nodes a, b, c that append their names to `trail`.
fn agent_of(extra: &str) -> Agent {
    let node = |name: &str| {
        format!(
            "  - name: {name}\n    uses: value\n    with: {{of: \"{{{{ (state.trail or '') ~ '{name}' }}}}\"}}\n    output: trail\n"
        )
    };
    let mut text = String::from("nodes:\n");
    for name in ["a", "b", "c"] {
        text.push_str(&node(name));
        if let Some(goto) = extra.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))) {
            text.push_str(&format!("    goto: {goto}\n"));
        }
    }
    if let Some((_, rest)) = extra.split_once("edges:") {
        text.push_str(&format!("edges:{rest}"));
    }
    load(&text)
}

fn trail(extra: &str, state: &str) -> String {
    match run(&agent_of(extra), state) {
        End::State(state) => {
            state.as_map().and_then(|state| state.get("trail")).map(crate::value::text).unwrap_or_default()
        }
        End::Error(text, _) => text,
        End::Raised(class, text) => format!("{class}: {text}"),
    }
}

#[test]
fn nodes_follow_each_other_unless_something_else_is_said() {
    // NV-1 to NV-3, NV-5
    assert_eq!(trail("", "{}"), "abc");
    assert_eq!(trail("a: c", "{}"), "ac");
    assert_eq!(trail("edges: [{from: a, to: c}]", "{}"), "ac");
    assert_eq!(trail("a: b\nedges: [{from: a, to: c}]", "{}"), "abc");
    assert_eq!(trail("edges: [{from: __start__, to: b}]", "{}"), "bc");
}

#[test]
fn rules_are_tried_in_their_order() {
    // NV-7 to NV-10
    let rules = "a: [{if: state.x > 1, to: c}, {if: state.nope.x, to: __end__}, {to: b}]";
    assert_eq!(trail(rules, r#"{"x": 2}"#), "ac");
    assert_eq!(trail(rules, r#"{"x": 1}"#), "abc");
    assert_eq!(trail("a: [{if: state.x, to: c}]", "{}"), "No valid next node found from node 'a'");
    assert_eq!(trail("a: []", "{}"), "No valid next node found from node 'a'");
}

#[test]
fn a_rule_sees_what_the_node_returned() {
    // yaml/Q-7, yaml/Q-22
    assert_eq!(trail("a: [{if: \"result.trail == 'a'\", to: c}, {to: b}]", "{}"), "ac");
    assert_eq!(trail("a: [{if: false, to: c}, {if: true, to: b}]", "{}"), "abc");
}

#[test]
fn several_rules_to_one_target_all_count() {
    // yaml/Q-6
    let rules =
        "a: [{if: state.x == 1, to: c}, {if: state.x == 2, to: b}, {if: state.x == 3, to: c}, {to: __end__}]";
    assert_eq!(trail(rules, r#"{"x": 1}"#), "ac");
    assert_eq!(trail(rules, r#"{"x": 2}"#), "abc");
    assert_eq!(trail(rules, r#"{"x": 3}"#), "ac");
    assert_eq!(trail(rules, r#"{"x": 4}"#), "a");
    // A fallback that is written last does not take what a rule before it leads elsewhere.
    let rules = "a: [{if: state.x == 1, to: c}, {if: state.x == 2, to: b}, {to: c}]";
    assert_eq!(trail(rules, r#"{"x": 2}"#), "abc");
    assert_eq!(trail(rules, r#"{"x": 9}"#), "ac");
}

#[test]
fn edges_with_conditions() {
    // NV-17, NV-18, NV-20
    let edges = "edges: [{from: a, to: b, when: state.x}, {from: a, to: c, condition: state.x, when: false}]";
    assert_eq!(trail(edges, r#"{"x": 1}"#), "abc");
    assert_eq!(trail(edges, "{}"), "ac");
    assert_eq!(
        trail("edges: [{from: a, to: b, when: nothing.x}]", "{}"),
        "ValueError: Template error in expression '{{ nothing.x }}': 'nothing' is undefined"
    );
}

#[test]
fn a_condition_on_the_way_out_counts_only_if_asked_for() {
    // NV-15, yaml/Q-8
    let text = |strict: bool| {
        format!(
            "settings: {{strict_edges: {strict}}}\nnodes: [{{name: a}}, {{name: b, uses: value, with: {{of: 1}}}}]\n\
             edges: [{{from: a, to: __end__, when: state.stop}}, {{from: a, to: b}}]\n"
        )
    };
    let loose = load(&text(false));
    assert_eq!(state_of(&loose, "{}"), "{}");
    assert!(loose.warnings().iter().any(|warning| warning.message.contains("strict_edges")));
    let strict = load(&text(true));
    assert_eq!(state_of(&strict, "{}"), r#"{"result":1}"#);
    assert_eq!(state_of(&strict, r#"{"stop": true}"#), r#"{"stop":true}"#);
}

#[test]
fn branches_join() {
    // NV-16, parallel/Q9
    for edges in [
        "[{from: a, to: b, type: parallel, fan_in: d}, {from: a, to: c, type: parallel, fan_in: d}]",
        "[{from: a, to: [b, c], parallel: true, fan_in: d}]",
    ] {
        let agent = load(&format!(
            "nodes:\n  - name: a\n  - {{name: b, uses: value, with: {{of: 1}}, goto: d}}\n  - {{name: c, uses: value, \
             with: {{of: 2}}, goto: d}}\n  - name: d\n    fan_in: true\n    uses: value\n    with: {{of: \"{{{{ \
             state.parallel_results | map(attribute='state.result') | list }}}}\"}}\n    output: r\nedges: {edges}\n"
        ));
        let End::State(state) = run(&agent, "{}") else { panic!("no state") };
        let joined = state.as_map().and_then(|state| state.get("r")).map(Value::to_json);
        assert_eq!(joined.as_deref(), Some("[1,2]"), "{edges}");
    }
}

#[test]
fn the_shape_of_an_agent_is_told() {
    let agent = load(
        "nodes: [{name: a, interrupt: before, goto: [{if: state.x, to: c}, {to: b}]}, {name: b}, {name: c}]",
    );
    let info = agent.info();
    let info = info.as_map().unwrap();
    let edges = info.get("edges").and_then(Value::as_list).unwrap_or_default();
    let shown: Vec<String> = edges.iter().map(Value::to_json).collect();
    assert_eq!(
        shown,
        [
            r#"{"from":"__start__","to":"a","condition":null,"fan_in":null}"#,
            r#"{"from":"a","to":"c","condition":0,"fan_in":null}"#,
            r#"{"from":"a","to":"b","condition":null,"fan_in":null}"#,
            r#"{"from":"b","to":"c","condition":null,"fan_in":null}"#,
            r#"{"from":"c","to":"__end__","condition":null,"fan_in":null}"#,
        ]
    );
    assert_eq!(info.get("interrupt_before").map(Value::to_json).as_deref(), Some(r#"["a"]"#));
}

#[test]
fn a_result_of_a_branch_is_looked_into() {
    // PAR-11: fields first, then entries of the state.
    let agent = load(
        r#"
nodes:
  - name: a
  - {name: b, uses: value, with: {of: 5}, output: x, goto: d}
  - name: d
    fan_in: true
    uses: echo
    with:
      attribute: "{{ state.parallel_results | map(attribute='x') | list }}"
      item: "{{ state.parallel_results[0]['x'] }}"
      got: "{{ state.parallel_results[0].get('x', 0) }}"
      branch: "{{ state.parallel_results[0].branch }}"
      missing: "{{ state.parallel_results[0].nothing is defined }}"
    output: r
edges: [{from: a, to: b, type: parallel, fan_in: d}]
"#,
    );
    let End::State(state) = run(&agent, "{}") else { panic!("no state") };
    let seen = state.as_map().and_then(|state| state.get("r")).map(Value::to_json);
    assert_eq!(seen.as_deref(), Some(r#"{"attribute":[5],"item":5,"got":5,"branch":"b","missing":false}"#));
}
