//! Any text compiles or is refused with a place, and renders within its limits, without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tea_engine::map;
use tea_engine::template::{Condition, Dialect, Jinja, Limits, Root, Scope, TemplateEngine};
use tea_engine::value::Value;

fuzz_target!(|text: &str| {
    let state = map! {
        "s" => "some text", "n" => 7, "f" => 2.5, "none" => Value::Null,
        "l" => vec![Value::Int(3), Value::from("a"), Value::Null],
        "d" => map! { "a" => map! { "b" => 1 }, "items" => 2 },
    };
    let limits = Limits { steps: 20_000, bytes: 1 << 20, depth: 50 };
    let scope = Scope::new()
        .with("state", Root::Value(&state))
        .with("variables", Root::Plain(&state))
        .with("secrets", Root::Value(&state))
        .limits(limits);
    match Jinja.compile(text) {
        Ok(template) => {
            let _ = Jinja.render(&template, &scope);
            let _ = Jinja.render_text(&template, &scope);
            let _ = scope.take_changed();
        }
        Err(error) => assert!(error.line() >= 1 && error.column() >= 1),
    }
    for dialect in [Dialect::Edge, Dialect::Goto] {
        if let Ok(condition) = Condition::compile(text, dialect) {
            let _ = condition.evaluate(&scope);
        }
    }
});
