//! Code in nodes (yaml.md 8.3, lua.md).

use super::*;

fn with(change: impl FnOnce(&mut LoadOptions), text: &str) -> Agent {
    let mut options = options();
    change(&mut options);
    Agent::load_text(text, None, &options).unwrap()
}

#[test]
fn the_host_gets_code_with_its_templates_rendered() {
    // ND-16, ND-17
    let agent = with(
        |options| options.languages = vec!["python".into()],
        "nodes: [{name: a, run: \"return {'n': {{ state.x }}}\"}, {name: b, script: 'y = 2'}]",
    );
    let mut seen = Vec::new();
    let end = run_with(&agent, r#"{"x": 5}"#, |request, _| match request {
        Request::Code { language, source, .. } => {
            seen.push(format!("{language}: {source}"));
            Answer::Result(crate::map! { "ran" => true })
        }
        _ => Answer::Done,
    });
    assert_eq!(end, End::State(crate::map! { "x" => 5_i64, "ran" => true }));
    assert_eq!(seen, ["python: return {'n': 5}", "python: y = 2"]);
}

#[test]
fn code_that_nobody_runs_says_what_to_do() {
    // ND-17
    let agent = load("nodes: [{name: a, run: 'return 1'}]");
    let error = error_of(&agent, "{}");
    assert!(error.contains("Node 'a'") && error.contains("language: lua"), "{error}");
}

#[test]
fn lua_runs_in_the_engine_with_globals_that_last_for_the_run() {
    // LU-7, LU-10, LU-11, LU-28, LU-31
    let agent = load(
        r#"
nodes:
  - {name: a, language: lua, run: "g = (g or 0) + 1; return {a = g, t = '{{ x }}'}"}
  - {name: b, run: {type: lua, code: "g = (g or 0) + 1; return {b = g}"}}
  - {name: c, steps: [{language: lua, script: "return {c = state.b + 10}"}]}
"#,
    );
    assert_eq!(state_of(&agent, "{}"), r#"{"a":1,"t":"{{ x }}","b":2,"c":12}"#);
    assert_eq!(state_of(&agent, "{}"), r#"{"a":1,"t":"{{ x }}","b":2,"c":12}"#);
}

#[test]
fn lua_is_recognised_only_where_that_is_enabled() {
    // ND-10, LU-31, yaml/Q-23
    let text = "nodes: [{name: a, run: 'local x = 1; return {x = x}'}]";
    let enabled = with(|options| options.lua_enabled = true, text);
    assert_eq!(state_of(&enabled, "{}"), r#"{"x":1}"#);
    assert!(enabled.warnings().iter().any(|warning| warning.message.contains("language: lua")));
    assert!(error_of(&load(text), "{}").contains("python"));
    let marked =
        with(|options| options.lua_enabled = true, "nodes: [{name: a, run: \"-- lua\\nreturn {x = 1}\"}]");
    assert_eq!(state_of(&marked, "{}"), r#"{"x":1}"#);
    assert_eq!(marked.warnings(), []);
}

#[test]
fn a_failing_lua_node_is_an_error_of_the_node() {
    // LU-34, LU-38
    let agent = load("nodes: [{name: a, language: lua, run: \"error('boom', 0)\"}]");
    assert_eq!(error_of(&agent, "{}"), "boom");
    let agent = with(
        |options| options.lua_timeout = 0.05,
        "nodes: [{name: a, language: lua, run: 'while true do end'}]",
    );
    assert!(error_of(&agent, "{}").contains("timeout"));
}

#[test]
fn expressions_are_the_hosts_or_the_engines() {
    // ND-18, PE-2
    let text = "nodes: [{name: a, run: {type: expression, value: 'state.x * 2', output_key: y}}]";
    assert_eq!(state_of(&load(text), r#"{"x": 4}"#), r#"{"x":4,"y":8}"#);
    let agent = with(|options| options.languages = vec!["python-expression".into()], text);
    let end = run_with(&agent, r#"{"x": 4}"#, |request, _| match request {
        Request::Code { source, .. } if **source == *"state.x * 2" => Answer::Failed(Failure {
            class: "NameError".to_owned(),
            text: "gone".to_owned(),
            ..Failure::default()
        }),
        other => panic!("{other:?}"),
    });
    let text = "Error evaluating expression 'state.x * 2': gone".to_owned();
    assert_eq!(end, End::Error(text, crate::map! { "x" => 4_i64 }));
}

#[test]
fn what_lua_prints_goes_to_the_host() {
    // LU-22
    let printed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let sink = Arc::clone(&printed);
    let print: super::super::Print = Arc::new(move |line| {
        sink.lock().unwrap().push(line.to_owned());
        Ok(())
    });
    let agent = with(
        |options| options.print = Some(print),
        "nodes: [{name: a, language: lua, run: \"print('a', 1); return {}\"}]",
    );
    assert_eq!(state_of(&agent, "{}"), "{}");
    assert_eq!(*printed.lock().unwrap(), ["a\t1"]);
}
