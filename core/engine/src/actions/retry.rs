//! `retry.loop`: validate, correct, validate again.

use std::sync::Arc;
use std::time::Duration;

use super::call::NodeWork;
use super::{ActionCall, Registry, failure, nested};
use crate::run::{Answer, Request, Stop, Task};
use crate::schema::number::as_float;
use crate::state::State;
use crate::value::{Map, Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add("retry.loop", |call: ActionCall| -> crate::run::Running { Box::pin(run(call)) });
    registry.alias("retry.loop", "actions.retry_loop");
}

fn wrong(problem: String) -> Stop {
    failure("ValueError", format!("retry.loop: {problem}"))
}

/// `actions/RT-1` to `actions/RT-8`.
async fn run(call: ActionCall) -> Result<Value, Stop> {
    let validate = text(call.required("validate")?);
    let most = match call.get("max_retries").unwrap_or(&Value::Int(1)) {
        Value::Bool(flag) => u64::from(*flag),
        Value::Int(number) if *number >= 0 => number.unsigned_abs(),
        other => {
            return Err(wrong(format!("max_retries must be a non-negative integer, got {}", text(other))));
        }
    };
    let unknown = || wrong(format!("Unknown validation action: {validate}"));
    if call.surroundings.action(&call.task, &validate, Arc::default()).is_none() {
        return Err(unknown());
    }
    let correct = call.get("correct").filter(|correct| correct.is_truthy()).map(text);
    let correct = correct.ok_or_else(|| wrong("'correct' parameter is required".to_owned()))?;
    let problem = match call.surroundings.node(&call.task, &correct) {
        NodeWork::Work(_) => None,
        NodeWork::NoGraph => Some("Engine has no current graph".to_owned()),
        NodeWork::NoNode => Some(format!("Correction node not found: {correct}")),
        NodeWork::NoWork => Some(format!("Correction node '{correct}' has no run function")),
    };
    if let Some(problem) = problem {
        return Err(wrong(problem));
    }
    let delay = match call.get("retry_delay") {
        None | Some(Value::Null) => 0.0,
        Some(delay) => as_float(delay).ok_or_else(|| {
            failure("TypeError", format!("retry.loop: retry_delay is a number, not {}", delay.type_name()))
        })?,
    };
    let Value::Map(state) = call.state()? else {
        return Err(wrong("the state is no map".to_owned()));
    };
    let mut round = Round { state: Map::clone(&state), call: &call };
    let mut count = 0;
    loop {
        round.state.insert("_retry_count".into(), Value::int(count));
        let result = round.validate(&validate).await?.ok_or_else(unknown)?;
        if result.get("valid").is_some_and(Value::is_truthy) {
            return Ok(round.end(Value::list(Vec::new()), result.clone(), false, result));
        }
        let errors = result.get("errors").cloned().unwrap_or_else(|| Value::list(Vec::new()));
        if count >= most {
            return Ok(round.end(errors, result.clone(), true, result));
        }
        round.state.insert("_retry_errors".into(), errors.clone());
        if let Err(stop) = round.correct(&correct).await {
            let error = nested::error_text(stop)?;
            return Ok(round.broken(&correct, errors, error));
        }
        count += 1;
        if let Some(delay) = Duration::try_from_secs_f64(delay).ok().filter(|delay| !delay.is_zero())
            && let Answer::Failed(failed) = call.task.ask(Request::Sleep(delay)).await
        {
            return Err(Stop::Failed(failed));
        }
    }
}

/// The loop's own state: a copy of the flow's.
struct Round<'c> {
    state: Map,
    call: &'c ActionCall,
}

impl Round<'_> {
    fn task(&self) -> Task {
        self.call.task.over(State::core(Arc::new(self.state.clone())))
    }

    /// What the validation says; `None` if there is no such action.
    async fn validate(&self, name: &str) -> Result<Option<Map>, Stop> {
        let task = self.task();
        let raw = self.call.get("validate_args").filter(|arguments| arguments.is_truthy());
        let arguments = match raw {
            None => Arc::default(),
            // Once per round, so that corrected values are seen (`actions/Q-29`).
            Some(raw) => match self.call.surroundings.render(&task, raw)? {
                Value::Map(arguments) => arguments,
                other => return Err(wrong(format!("validate_args is a map, not {}", other.type_name()))),
            },
        };
        match nested::run(self.call, &task, name, arguments).await {
            None => Ok(None),
            Some(Ok(Value::Map(result))) => Ok(Some(Map::clone(&result))),
            Some(Ok(other)) => {
                let given = other.type_name();
                Err(failure("AttributeError", format!("'{given}' object has no attribute 'get'")))
            }
            Some(Err(stop)) => {
                let message = nested::error_text(stop)?;
                let error = crate::map! { "message" => message, "type" => "validation_error" };
                let result = crate::map! { "valid" => false, "errors" => vec![error] };
                Ok(result.as_map().cloned())
            }
        }
    }

    /// Runs the correction and merges what it gives.
    async fn correct(&mut self, node: &str) -> Result<(), Stop> {
        let task = self.task();
        let NodeWork::Work(work) = self.call.surroundings.node(&task, node) else {
            return Err(wrong(format!("Correction node not found: {node}")));
        };
        if let Value::Map(update) = work.await? {
            self.state.extend(update.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
        Ok(())
    }

    fn end(mut self, errors: Value, result: Map, exhausted: bool, on_top: Map) -> Value {
        self.state.insert("_retry_errors".into(), errors);
        self.state.insert("_retry_result".into(), Value::map(result));
        self.state.insert("_retry_exhausted".into(), exhausted.into());
        self.state.extend(on_top);
        Value::map(self.state)
    }

    /// The end after a failed correction (`actions/RT-7`).
    fn broken(self, node: &str, errors: Value, error: String) -> Value {
        let mut all = errors.as_list().map(<[Value]>::to_vec).unwrap_or_default();
        all.push(crate::map! {
            "message" => format!("Correction node '{node}' failed: {error}"),
            "type" => "correction_error",
        });
        let result = crate::map! { "valid" => false, "errors" => errors, "correction_error" => error };
        let mut on_top = Map::new();
        on_top.insert("valid".into(), false.into());
        self.end(Value::list(all), result.as_map().cloned().unwrap_or_default(), false, on_top)
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::loads;
    use super::super::testing::{End, alone, run_on};
    use super::super::{Alone, Limiters, Memory, Surroundings};
    use super::*;
    use crate::run::Running;

    /// A graph whose node `fix` adds one to `n` of the state it is given, and whose node `break` fails.
    struct Nodes(Alone);

    impl Surroundings for Nodes {
        fn limiters(&self) -> Arc<Limiters> {
            self.0.limiters()
        }

        fn memory(&self) -> Arc<Memory> {
            self.0.memory()
        }

        fn action(&self, task: &Task, name: &str, arguments: Arc<Map>) -> Option<Running> {
            self.0.action(task, name, arguments)
        }

        fn render(&self, task: &Task, value: &Value) -> Result<Value, Stop> {
            // Stands for `{{ state }}` in `data`.
            let mut arguments = value.as_map().unwrap().clone();
            if let Some(data @ Value::Null) = arguments.get_mut("data") {
                *data = task.scene.state.value();
            }
            Ok(Value::map(arguments))
        }

        fn node(&self, task: &Task, name: &str) -> NodeWork {
            let state = task.scene.state.value();
            match name {
                "fix" => NodeWork::Work(Box::pin(async move {
                    let Some(Value::Int(n)) = state.as_map().unwrap().get("n").cloned() else {
                        unreachable!()
                    };
                    assert!(state.as_map().unwrap().contains_key("_retry_errors"), "RT-6");
                    Ok(crate::map! { "n" => n + 1 })
                })),
                "break" => NodeWork::Work(Box::pin(async { Err(failure("ValueError", "no way")) })),
                "idle" => NodeWork::NoWork,
                _ => NodeWork::NoNode,
            }
        }
    }

    fn end(arguments: &str) -> End {
        let state = crate::map! { "n" => 0 }.as_map().unwrap().clone();
        run_on("retry.loop", loads(arguments).unwrap(), state, Arc::new(Nodes(alone())))
    }

    fn done(arguments: &str) -> Map {
        match end(arguments) {
            End::Value(value) => value.as_map().unwrap().clone(),
            other => panic!("{other:?}"),
        }
    }

    const AT_LEAST_2: &str = r#""validate": "data.validate", "validate_args": {"data": null, "schema": {"properties": {"n": {"minimum": 2}}}}"#;

    /// actions/RT-3, actions/RT-4, actions/RT-6, actions/RT-8, actions/Q-29
    #[test]
    fn corrected_until_valid() {
        let done =
            done(&format!(r#"{{{AT_LEAST_2}, "correct": "fix", "max_retries": 5, "retry_delay": 0.001}}"#));
        assert_eq!((&done["_retry_count"], &done["n"]), (&Value::Int(2), &Value::Int(2)));
        assert_eq!(done["_retry_errors"], Value::list(vec![]));
        assert_eq!((&done["_retry_exhausted"], &done["valid"]), (&Value::Bool(false), &Value::Bool(true)));
    }

    /// actions/RT-5
    #[test]
    fn exhausted() {
        for (most, count) in [("1", 1), ("false", 0), ("true", 1)] {
            let done = done(&format!(r#"{{{AT_LEAST_2}, "correct": "fix", "max_retries": {most}}}"#));
            assert_eq!((&done["_retry_count"], &done["n"]), (&Value::Int(count), &Value::Int(count)));
            assert_eq!(done["_retry_exhausted"], Value::Bool(true));
            assert_eq!(done["_retry_errors"], done["errors"]);
        }
    }

    /// actions/RT-3, actions/RT-7
    #[test]
    fn failures() {
        let broken = done(&format!(r#"{{{AT_LEAST_2}, "correct": "break"}}"#));
        let errors = broken["_retry_errors"].as_list().unwrap();
        assert_eq!(
            errors[1],
            loads(r#"{"message": "Correction node 'break' failed: no way", "type": "correction_error"}"#)
                .unwrap()
        );
        assert_eq!(broken["_retry_result"].as_map().unwrap()["correction_error"], "no way".into());
        assert_eq!(
            (&broken["valid"], &broken["_retry_exhausted"]),
            (&Value::Bool(false), &Value::Bool(false))
        );
        let failed = done(r#"{"validate": "json.parse", "correct": "fix", "max_retries": 0}"#);
        assert_eq!(
            failed["errors"],
            loads(r#"[{"message": "missing required parameter 'text'", "type": "validation_error"}]"#)
                .unwrap()
        );
    }

    /// actions/RT-1: in this order
    #[test]
    fn configuration_errors() {
        for (arguments, error) in [
            (
                r#"{"validate": "no", "max_retries": -1}"#,
                "max_retries must be a non-negative integer, got -1",
            ),
            (
                r#"{"validate": "no", "max_retries": "2"}"#,
                "max_retries must be a non-negative integer, got 2",
            ),
            (
                r#"{"validate": "no", "max_retries": null}"#,
                "max_retries must be a non-negative integer, got None",
            ),
            (r#"{"validate": "no"}"#, "Unknown validation action: no"),
            (r#"{"validate": "json.parse", "correct": ""}"#, "'correct' parameter is required"),
            (r#"{"validate": "json.parse", "correct": "x"}"#, "Correction node not found: x"),
            (
                r#"{"validate": "json.parse", "correct": "idle"}"#,
                "Correction node 'idle' has no run function",
            ),
        ] {
            assert_eq!(
                end(arguments),
                End::Failed(format!("ValueError: retry.loop: {error}")),
                "{arguments}"
            );
        }
        let arguments = crate::map! { "validate" => "json.parse", "correct" => "fix" };
        let alone = run_on("retry.loop", arguments, Map::new(), Arc::new(alone()));
        assert_eq!(alone, End::Failed("ValueError: retry.loop: Engine has no current graph".to_owned()));
    }
}
