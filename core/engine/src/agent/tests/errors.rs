//! Nodes with `on_error` (yaml.md 15).

use super::*;

fn error_in(state: &Value) -> Map {
    let error = state.as_map().and_then(|state| state.get("__error__"));
    error.and_then(Value::as_map).cloned().unwrap_or_default()
}

#[test]
fn a_captured_error_is_in_the_state() {
    // EH-22, EH-25
    let agent = load(
        "nodes: [{name: a, uses: fail, on_error: {mode: graceful}}, {name: b, uses: value, with: {of: 1}}]",
    );
    let End::State(state) = run(&agent, "{}") else { panic!("no state") };
    let mut error = error_in(&state);
    assert!(
        error.shift_remove("timestamp").is_some_and(|time| crate::value::text(&time).ends_with("+00:00"))
    );
    assert_eq!(
        Value::map(error).to_json(),
        r#"{"type":"ValueError","message":"failed on purpose","node":"a","action":"fail","retry_count":0,"is_retryable":false,"traceback":null,"details":null}"#
    );
    assert_eq!(state.as_map().and_then(|state| state.get("result")), Some(&Value::Int(1)));
}

#[test]
fn errors_that_may_go_away_are_tried_again() {
    // EH-23, EH-33
    let agent = load(
        "nodes: [{name: a, uses: flaky, on_error: {mode: retry, max_retries: 2, retry_delay: 1, backoff_multiplier: 3}}]",
    );
    let (mut calls, mut pauses) = (0, Vec::new());
    let end = run_with(&agent, "{}", |request, _| match request {
        Request::Sleep(pause) => {
            pauses.push(pause.as_secs_f64());
            Answer::Done
        }
        _ => {
            calls += 1;
            let failure =
                Failure { class: "TimeoutError".to_owned(), text: "late".to_owned(), ..Failure::default() };
            Answer::Failed(failure)
        }
    });
    let End::State(state) = end else { panic!("no state") };
    assert_eq!(calls, 3);
    assert_eq!(error_in(&state).get("retry_count"), Some(&Value::Int(2)));
    let expected = [(1.0, 1.1), (3.0, 3.3)];
    assert_eq!(pauses.len(), expected.len());
    for (pause, (least, most)) in pauses.iter().zip(expected) {
        assert!((least..=most).contains(pause), "{pause}");
    }
}

#[test]
fn a_retry_that_works_leaves_no_error() {
    let agent = load("nodes: [{name: a, uses: flaky, on_error: {mode: retry, retry_delay: 0}}]");
    let mut calls = 0;
    let end = run_with(&agent, "{}", |_, _| {
        calls += 1;
        match calls {
            1 => Answer::Failed(Failure { class: "ConnectionError".to_owned(), ..Failure::default() }),
            _ => Answer::Result(crate::map! { "ok" => true }),
        }
    });
    assert_eq!(end, End::State(crate::map! { "ok" => true }));
}

#[test]
fn a_failed_node_goes_on_to_its_fallback() {
    // yaml/Q-13
    let agent = load(
        "nodes:\n  - {name: a, uses: fail, on_error: {mode: graceful, fallback: rescue}}\n  - {name: b, uses: value, with: \
         {of: b}, output: b}\n  - {name: rescue, uses: value, with: {of: r}, output: r}\n",
    );
    let End::State(state) = run(&agent, "{}") else { panic!("no state") };
    let keys: Vec<_> = state.as_map().unwrap().keys().filter_map(|key| key.as_str()).collect();
    assert_eq!(keys, ["__error__", "__fallback_node__", "r"]);
    let unknown =
        load("nodes: [{name: a, uses: fail, on_error: {mode: graceful, fallback: resque}}, {name: rescue}]");
    assert!(unknown.warnings().iter().any(|warning| warning.message.contains("Did you mean 'rescue'?")));
}

#[test]
fn a_guarded_node_that_works_clears_an_earlier_error() {
    // EH-21, yaml/Q-12
    let agent = load(
        "nodes:\n  - {name: a, uses: fail, on_error: {mode: graceful}}\n  - {name: b, uses: value, with: {of: \"{{ \
         state.__error__ is defined }}\"}, on_error: {mode: graceful}}\n",
    );
    assert_eq!(state_of(&agent, "{}"), r#"{"result":false}"#);
}

#[test]
fn an_earlier_error_comes_back_if_the_node_raises() {
    let agent = load("nodes: [{name: b, uses: fail, on_error: {mode: raise}}]");
    let End::Error(text, state) = run(&agent, r#"{"__error__": 1, "x": 2}"#) else { panic!("no error") };
    assert_eq!(text, "failed on purpose");
    assert_eq!(state.as_map().and_then(|state| state.get("__error__")), Some(&Value::Int(1)));
}

#[test]
fn global_settings_need_the_node_or_apply_to_all() {
    // EH-20, yaml/Q-11
    let text = |extra: &str| {
        format!("settings: {{error_handling: {{mode: graceful{extra}}}}}\nnodes: [{{name: a, uses: fail}}]\n")
    };
    let alone = load(&text(""));
    assert_eq!(error_of(&alone, "{}"), "failed on purpose");
    assert!(alone.warnings().iter().any(|warning| warning.message.contains("apply_to_all")));
    let End::State(state) = run(&load(&text(", apply_to_all: true")), "{}") else { panic!("no state") };
    assert_eq!(error_in(&state).get("node"), Some(&Value::from("a")));
}

#[test]
fn settings_are_checked() {
    // EH-1 to EH-4, EH-10
    for (setting, part) in [
        ("mode: shrug", "'raise', 'graceful' or 'retry'"),
        ("max_retries: 101", "from 0 to 100"),
        ("retry_delay: -1", "from 0 to 300"),
        ("backoff_multiplier: 0.5", "from 1 to 10"),
        ("retryable_errors: 5", "list of names"),
    ] {
        let error = refused(&format!("nodes: [{{name: a, on_error: {{{setting}}}}}]"));
        assert_eq!(error.class, "ValidationError");
        assert!(error.to_string().contains(part), "{error}");
    }
    load("nodes: [{name: a, on_error: {max_retries: '5', unknown: 1}}]");
}

#[test]
fn secrets_do_not_show_in_errors() {
    // yaml/Q-18
    let mut options = options();
    options.secrets = Some(crate::map! { "KEY" => "hunter22" });
    let load = |text: &str| Agent::load_text(text, None, &options).unwrap();
    let leak = "uses: leak, with: {text: \"{{ secrets.KEY }}\"}";
    let host = |request: &Request, _: &Value| match request {
        Request::Action { arguments, .. } => {
            let text = format!("no access with {}", crate::value::text(&arguments["text"]));
            Answer::Failed(Failure { class: "ValueError".to_owned(), text, ..Failure::default() })
        }
        _ => Answer::Done,
    };
    let End::Error(text, _) = run_with(&load(&format!("nodes: [{{name: a, {leak}}}]")), "{}", host) else {
        panic!("no error")
    };
    assert_eq!(text, "no access with ***");
    let agent = load(&format!("nodes: [{{name: a, {leak}, on_error: {{mode: graceful}}}}]"));
    let End::State(state) = run_with(&agent, "{}", host) else { panic!("no state") };
    assert_eq!(error_in(&state).get("message"), Some(&Value::from("no access with ***")));
}
