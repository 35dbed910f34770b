//! What nodes do (yaml.md 8, 10).

use super::*;

#[test]
fn parameters_are_rendered_and_results_stored() {
    // AC-2, AC-5, actions/AC-16, actions/Q-7
    let agent = load(
        r#"
nodes:
  - name: a
    uses: echo
    with: {n: "{{ state.x + 1 }}", t: "x={{ state.x }}", l: [["{{ state.x }}"], {k: "{{ state.x }}"}], plain: 5}
    output: r
  - {name: b, uses: echo, with: {k: 1}}
  - {name: c, uses: value, with: {of: 7}}
  - {name: d, uses: value, with: {of: {a: null}}, output: {none: "{{ result.a }}", fixed: [1], t: "{{ result.b.c is defined }}"}}
  - {name: e, uses: value, with: {of: 8}, output_key: from_key}
  - {name: f, uses: echo, with: {g: 1}, output: null, output_key: unused}
"#,
    );
    assert_eq!(
        state_of(&agent, r#"{"x": 1}"#),
        r#"{"x":1,"r":{"n":2,"t":"x=1","l":[[1],{"k":1}],"plain":5},"k":1,"result":7,"none":"","fixed":[1],"t":false,"from_key":8,"g":1}"#
    );
}

#[test]
fn the_host_is_asked_for_actions_first() {
    let agent = load("nodes: [{name: a, uses: echo, with: {n: 1}}, {name: b, uses: mine}]");
    let end = run_with(&agent, "{}", |request, _| match request {
        Request::Action { name, .. } if **name == *"mine" => Answer::Result(crate::map! { "own" => true }),
        _ => Answer::Core,
    });
    assert_eq!(end, End::State(crate::map! { "n" => 1_i64, "own" => true }));
}

#[test]
fn an_unknown_action_fails_when_it_is_called() {
    // AC-1
    let agent = load("nodes: [{name: a, uses: no.such}]");
    assert_eq!(error_of(&agent, "{}"), "Unknown action: no.such");
}

#[test]
fn steps_see_each_other_and_give_the_whole_state() {
    // SP-1, SP-2
    let agent = load(
        r#"
nodes:
  - name: s
    steps:
      - {uses: value, with: {of: "{{ state.x }}"}, output: y}
      - {name: nothing}
      - steps:
          - {uses: value, with: {of: "{{ state.y + 1 }}"}, output: z}
"#,
    );
    assert_eq!(state_of(&agent, r#"{"x": 1}"#), r#"{"x":1,"y":1,"z":2}"#);
}

#[test]
fn a_request_in_steps_is_about_their_own_state() {
    // SP-1: a step sees the updates of the steps before it, the state of the run does not have them yet.
    let agent = load("nodes: [{name: s, steps: [{uses: echo, with: {n: 1}}, {uses: look}]}]");
    let mut seen = Vec::new();
    let end = run_with(&agent, "{}", |request, state| match request {
        Request::Action { name, .. } if **name == *"look" => {
            seen.push(state.to_json());
            Answer::Failed(Failure { text: "enough".to_owned(), ..Failure::default() })
        }
        _ => Answer::Core,
    });
    assert_eq!(end, End::Error("enough".to_owned(), Value::map(Map::new())));
    assert_eq!(seen, [r#"{"n":1}"#]);
}

#[test]
fn loops_run_while_their_condition_holds() {
    // WL-5: one update at the end; reaching the limit is no error.
    let text = r#"
nodes:
  - name: l
    type: while_loop
    condition: "state.n < 3"
    max_iterations: LIMIT
    body: [{uses: value, with: {of: "{{ state.n + 1 }}"}, output: n}, {name: nothing}]
"#;
    assert_eq!(state_of(&load(&text.replace("LIMIT", "10")), r#"{"n": 0}"#), r#"{"n":3}"#);
    assert_eq!(state_of(&load(&text.replace("LIMIT", "2")), r#"{"n": 0}"#), r#"{"n":2}"#);
}

#[test]
fn a_failing_loop_names_entry_and_round() {
    // WL-6
    let agent = load(
        r#"
nodes:
  - name: l
    type: while_loop
    condition: "True"
    max_iterations: 5
    body: [{uses: echo, with: {n: 1}}, {uses: fail}]
"#,
    );
    let text = "Error in while_loop 'l' body node 'body_1' at iteration 0: failed on purpose";
    assert_eq!(run(&agent, "{}"), End::Error(text.to_owned(), Value::map(Map::new())));
}

#[test]
fn settings_of_the_language_model_reach_its_actions_only() {
    // ST-1, ST-2, ST-5, actions/AC-19
    let agent = load(
        r#"
variables: {m: small}
settings: {llm: {model: big, deployment: "{{ variables.m }}", temperature: 0.1, api_key: hidden}}
nodes:
  - {name: a, uses: llm.call, with: {temperature: 0.9}}
  - {name: b, uses: echo, with: {k: 1}}
"#,
    );
    let mut seen = Vec::new();
    run_with(&agent, "{}", |request, _| match request {
        Request::Action { arguments, .. } => {
            seen.push(Value::Map(Arc::clone(arguments)).to_json());
            Answer::Result(Value::map(Map::new()))
        }
        _ => Answer::Done,
    });
    assert_eq!(seen, [r#"{"temperature":0.9,"model":"small"}"#, r#"{"k":1}"#]);
}

#[test]
fn a_changed_root_is_seen_by_a_loaded_agent() {
    // YM-9, templates/SC-3
    let agent = load("variables: {v: 1}\nnodes: [{name: a, uses: value, with: {of: \"{{ variables.v }}\"}}]");
    assert_eq!(state_of(&agent, "{}"), r#"{"result":1}"#);
    assert!(agent.context().set("variables", crate::map! { "v" => 2_i64 }));
    assert!(!agent.context().set("unknown", Value::Null));
    assert_eq!(state_of(&agent, "{}"), r#"{"result":2}"#);
}

#[test]
fn each_item_gets_a_branch() {
    // PAR-128, PAR-129, PAR-131, PAR-139, PAR-140
    let agent = load(
        r#"
nodes:
  - name: each
    type: dynamic_parallel
    items: "{{ state.xs }}"
    item_var: x
    fan_in: done
    fail_fast: true
    steps:
      - {uses: "value", with: {of: "{{ 10 // state.x }}"}, output: y}
      - {uses: "{{ no }}"}
  - {name: done}
"#,
    );
    let End::State(state) = run(&agent, r#"{"xs": [2, 5]}"#) else { panic!("no state") };
    let results = state.as_map().and_then(|state| state.get("parallel_results")).cloned().unwrap_or_default();
    let results: Vec<String> = results
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(|result| Some(result.as_map()?.get("error")?.to_json()))
        .collect();
    assert_eq!(results, [r#""Unknown action: {{ no }}""#, r#""Cancelled due to fail_fast""#]);
}

#[test]
fn a_matrix_is_the_product_of_its_lists() {
    // PAR-136, PAR-137
    let agent = load(
        r#"
nodes:
  - name: m
    strategy: {matrix: {a: [1, 2], b: [x, y]}}
    fan_in: done
    uses: value
    with: {of: "{{ state.matrix.a }}{{ state.matrix.b }}"}
  - name: done
    uses: value
    with: {of: "{{ state.parallel_results | map(attribute='state.matrix.a') | list }}"}
    output: as
"#,
    );
    let End::State(state) = run(&agent, "{}") else { panic!("no state") };
    let names = state.as_map().and_then(|state| state.get("as")).map(Value::to_json);
    assert_eq!(names.as_deref(), Some("[1,1,2,2]"));
}

#[test]
fn a_subgraph_has_scopes_of_its_own_and_cannot_run_itself_for_ever() {
    // PAR-133, yaml/Q-5
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("agent.yaml");
    let text = r#"
variables: {v: outer}
nodes:
  - {name: each, type: dynamic_parallel, items: [1, 2], fan_in: done, subgraph: inner.yaml, input: {n: "{{ state.item }}"}}
  - {name: done, uses: value, with: {of: "{{ state.parallel_results | map(attribute='state') | list }}"}, output: seen}
"#;
    std::fs::write(&path, text).unwrap();
    let inner = "variables: {v: inner}\nnodes: [{name: a, uses: value, with: {of: \"{{ variables.v }}{{ state.n }}\"}}]\n";
    std::fs::write(directory.path().join("inner.yaml"), inner).unwrap();
    let End::State(state) = run(&Agent::load_file(&path, &options()).unwrap(), "{}") else {
        panic!("no state")
    };
    let seen = state.as_map().and_then(|state| state.get("seen")).map(Value::to_json);
    assert_eq!(seen.as_deref(), Some(r#"[{"n":1,"result":"inner1"},{"n":2,"result":"inner2"}]"#));

    let own = "nodes: [{name: a, type: dynamic_parallel, items: [1], fan_in: x, subgraph: inner.yaml}]\n";
    std::fs::write(directory.path().join("inner.yaml"), own).unwrap();
    let agent = Agent::load_file(directory.path().join("inner.yaml"), &options()).unwrap();
    let End::State(state) = run(&agent, "{}") else { panic!("no state") };
    assert!(state.to_json().contains("nested more than 32 deep"));
}
