//! `ratelimit.wrap`: calls under one limiter keep a distance in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::{ActionCall, Registry, failure, nested, refused};
use crate::run::{Answer, Request, Stop};
use crate::schema::number::as_float;
use crate::value::{Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add("ratelimit.wrap", |call: ActionCall| -> crate::run::Running { Box::pin(wrap(call)) });
    registry.alias("ratelimit.wrap", "actions.ratelimit_wrap");
}

/// `actions/RL-1` to `actions/RL-5`.
async fn wrap(call: ActionCall) -> Result<Value, Stop> {
    let action = text(call.required("action")?);
    let arguments = nested::arguments(&call)?;
    let name = call.required("limiter")?.clone();
    let marked = |mut result: crate::value::Map, waited: f64| {
        result.insert("_ratelimit_waited_ms".into(), Value::Float(waited));
        result.insert("_ratelimit_limiter".into(), name.clone());
        Ok(Value::map(result))
    };
    let refusal = |error: String, kind: &str| refused(error, kind).as_map().cloned().unwrap_or_default();
    let interval = interval(&call)?;
    let timeout = match call.get("timeout") {
        None | Some(Value::Null) => None,
        given => Some(seconds(given, "timeout")?.max(0.0)),
    };
    // Whether there is such an action at all is known before a turn is taken.
    let Some(work) = call.surroundings.action(&call.task, &action, arguments) else {
        let error = format!("Action '{action}' not found in registry");
        let mut result = refusal(error, "action_not_found");
        result.insert("_ratelimit_waited_ms".into(), Value::Int(0));
        result.insert("_ratelimit_limiter".into(), name.clone());
        return Ok(Value::map(result));
    };
    let limiter = call.surroundings.limiters().get_or_create(&text(&name), interval);
    let wait = match limiter.reserve(timeout.and_then(duration)) {
        Ok(wait) => wait,
        Err(wait) => {
            let limit = call.get("timeout").map(text).unwrap_or_default();
            let error = format!(
                "Rate limit wait would exceed timeout ({limit}s). Wait required: {:.2}s",
                wait.as_secs_f64()
            );
            return marked(refusal(error, "ratelimit_timeout"), wait.as_secs_f64() * 1000.0);
        }
    };
    if !wait.is_zero()
        && let Answer::Failed(failed) = call.task.ask(Request::Sleep(wait)).await
    {
        return Err(Stop::Failed(failed));
    }
    let waited = wait.as_secs_f64() * 1000.0;
    match work.await {
        Ok(result) => {
            let success = nested::success(&result);
            let done = crate::map! { "success" => success, "result" => result };
            marked(done.as_map().cloned().unwrap_or_default(), waited)
        }
        Err(stop) => {
            let error = nested::error_text(stop)?;
            if error == format!("Unknown action: {action}") {
                let error = format!("Action '{action}' not found in registry");
                return marked(refusal(error, "action_not_found"), 0.0);
            }
            marked(refusal(error, "action_error"), waited)
        }
    }
}

fn seconds(given: Option<&Value>, name: &str) -> Result<f64, Stop> {
    let number = given.and_then(as_float);
    number.ok_or_else(|| {
        let kind = given.map_or("NoneType", Value::type_name);
        failure("TypeError", format!("ratelimit.wrap: {name} is a number, not {kind}"))
    })
}

/// A duration, unless it is too long for one.
fn duration(seconds: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(seconds).ok()
}

/// The distance between two calls (`actions/RL-2`).
fn interval(call: &ActionCall) -> Result<Duration, Stop> {
    for (name, unit) in [("rps", 1.0), ("rpm", 60.0)] {
        let given = call.get(name).filter(|value| !matches!(value, Value::Null));
        if given.is_some() {
            let rate = seconds(given, name)?;
            if rate > 0.0 {
                return Ok(duration(unit / rate).unwrap_or(Duration::MAX));
            }
        }
    }
    Ok(Duration::from_secs(1))
}

/// The limiters of an agent, by name (`actions/RL-7`, `actions/RL-8`).
#[derive(Debug, Default)]
pub struct Limiters {
    limiters: Mutex<HashMap<String, Arc<Limiter>>>,
}

/// One limiter.
#[derive(Debug)]
pub struct Limiter {
    interval: Duration,
    /// When the next call may begin.
    free: Mutex<Option<Instant>>,
}

impl Limiters {
    /// The limiter of this name, made with the interval if it is new: the first interval wins.
    pub fn get_or_create(&self, name: &str, interval: Duration) -> Arc<Limiter> {
        let mut limiters = self.limiters.lock().unwrap_or_else(PoisonError::into_inner);
        let limiter = limiters
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(Limiter { interval, free: Mutex::default() }));
        Arc::clone(limiter)
    }
}

impl Limiter {
    /// The distance between the beginnings of two calls.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    /// Takes the next turn; the caller has to wait this long before it begins. With a `timeout` that is shorter
    /// no turn is taken and the error is the wait that would have been needed.
    pub fn reserve(&self, timeout: Option<Duration>) -> Result<Duration, Duration> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let begin = free.map_or(now, |free| free.max(now));
        let wait = begin.duration_since(now);
        if timeout.is_some_and(|timeout| wait > timeout) {
            return Err(wait);
        }
        // Beyond what the clock can say the limiter stays taken.
        *free =
            Some(begin.checked_add(self.interval).unwrap_or(begin + Duration::from_secs(u32::MAX.into())));
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::loads;
    use super::super::testing::{End, alone, failed, run, run_on};
    use super::super::{Alone, Surroundings};
    use super::*;
    use crate::value::Map;

    fn wrap(surroundings: &Arc<dyn Surroundings>, more: &str) -> Map {
        let arguments =
            format!(r#"{{"action": "json.parse", "args": {{"text": "1"}}, "limiter": "l"{more}}}"#);
        match run_on("ratelimit.wrap", loads(&arguments).unwrap(), Map::new(), Arc::clone(surroundings)) {
            End::Value(value) => value.as_map().unwrap().clone(),
            other => panic!("{other:?}"),
        }
    }

    /// actions/RL-2, actions/RL-4, actions/RL-5, actions/RL-6, actions/RL-7
    #[test]
    fn calls_keep_their_distance() {
        let agent: Arc<dyn Surroundings> = Arc::new(alone());
        let first = wrap(&agent, r#", "rpm": 6000"#);
        assert_eq!(first["result"], loads(r#"{"data": 1, "success": true}"#).unwrap());
        assert_eq!(first["_ratelimit_waited_ms"], Value::Float(0.0));
        let begun = Instant::now();
        for _ in 0..3 {
            // The first interval wins.
            wrap(&agent, r#", "rps": 100000"#);
        }
        assert!(begun.elapsed() >= Duration::from_millis(15), "three turns of 10 ms each, one perhaps begun");
        // A distance that no slow machine sleeps away.
        let agent: Arc<dyn Surroundings> = Arc::new(alone());
        wrap(&agent, r#", "rpm": 0.06"#);
        let refused = wrap(&agent, r#", "timeout": 0"#);
        assert_eq!(refused["error_type"], "ratelimit_timeout".into());
        let error = text(&refused["error"]);
        assert!(error.starts_with("Rate limit wait would exceed timeout (0s). Wait required: "), "{error}");
    }

    /// actions/RL-7, actions/RL-12
    #[test]
    fn limiters_are_shared_by_name() {
        let limiters = Limiters::default();
        let first = limiters.get_or_create("a", Duration::from_secs(60));
        assert_eq!(first.reserve(None), Ok(Duration::ZERO));
        let again = limiters.get_or_create("a", Duration::from_secs(1));
        assert_eq!(again.interval(), Duration::from_secs(60));
        assert!(again.reserve(Some(Duration::from_secs(1))).is_err());
        assert_eq!(limiters.get_or_create("b", Duration::MAX).reserve(None), Ok(Duration::ZERO));
        let agent: Arc<dyn Surroundings> = Arc::new(Alone { limiters: Arc::new(limiters), ..alone() });
        let arguments =
            crate::map! { "action" => "notify", "args" => crate::map! {}, "limiter" => "a", "timeout" => 1 };
        match run_on("ratelimit.wrap", arguments, Map::new(), agent) {
            End::Value(value) => {
                assert_eq!(value.as_map().unwrap()["error_type"], "ratelimit_timeout".into())
            }
            other => panic!("{other:?}"),
        }
    }

    /// actions/RL-1, actions/RL-3, actions/RL-4
    #[test]
    fn errors() {
        let unknown =
            run("ratelimit.wrap", loads(r#"{"action": "no", "args": {}, "limiter": "l"}"#).unwrap());
        let unknown = unknown.as_map().unwrap();
        assert_eq!(unknown["error"], "Action 'no' not found in registry".into());
        assert_eq!(unknown["_ratelimit_waited_ms"], Value::Int(0));
        let broken =
            run("ratelimit.wrap", loads(r#"{"action": "json.parse", "args": {}, "limiter": "l"}"#).unwrap());
        assert_eq!(broken.as_map().unwrap()["error_type"], "action_error".into());
        let text = r#"{"action": "notify", "args": {}, "limiter": "l", "rps": "x"}"#;
        assert!(failed("ratelimit.wrap", loads(text).unwrap()).starts_with("TypeError: "));
    }
}
