//! Nodes with `on_error`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Node;
use super::steps::lost;
use crate::agent::policy::{Mode, Policy, is_retryable};
use crate::run::{Failure, Request, Stop, Task};
use crate::value::{Date, DateTime, Map, Value, text};

/// The longest pause between two tries, in seconds.
const MAX_DELAY: f64 = 60.0;

/// What happens when a node fails.
#[derive(Debug, Clone)]
pub(in crate::agent) struct Guard {
    pub(in crate::agent) policy: Policy,
    /// The action that the node uses.
    pub(in crate::agent) action: Option<Arc<str>>,
}

impl Guard {
    pub(super) async fn run(&self, node: &Node, task: &Task) -> Result<Value, Stop> {
        // EH-21, Q-12: the node does not see the error of an earlier one, which is gone once it succeeds.
        let state = &task.scene.state;
        let earlier = match self.policy.clear_on_success {
            true => state.remove("__error__").map_err(lost)?,
            false => None,
        };
        match self.tries(node, task).await {
            Ok(value) => Ok(value),
            Err((Stop::Failed(failure), _)) if self.policy.mode == Mode::Raise || failure.fatal => {
                if let Some(earlier) = earlier {
                    let mut map = Map::new();
                    map.insert("__error__".into(), earlier);
                    state.merge(Value::map(map)).map_err(lost)?;
                }
                Err(Stop::Failed(failure))
            }
            Err((stop @ Stop::Respond(_), _)) if self.policy.mode == Mode::Raise => Err(stop),
            Err((stop, retries)) => Ok(self.update(node, task, stop, retries)),
        }
    }

    /// Runs the node until it succeeds or is not to be tried again; the number is how many times it was tried
    /// again.
    async fn tries(&self, node: &Node, task: &Task) -> Result<Value, (Stop, u32)> {
        let mut retries = 0;
        loop {
            let stop = match node.attempt(task).await {
                Ok(value) => return Ok(value),
                Err(stop) => stop,
            };
            let again = self.policy.mode == Mode::Retry
                && retries < self.policy.max_retries
                && matches!(&stop, Stop::Failed(failure) if !failure.fatal && self.policy.retries(&failure.class));
            if !again {
                return Err((stop, retries));
            }
            let delay = self.delay(retries);
            retries += 1;
            if !delay.is_zero() {
                task.ask(Request::Sleep(delay)).await;
            }
        }
    }

    /// The pause before the next try (`EH-33`): grows with each, with up to a tenth on top so that many flows do
    /// not come back at the same moment.
    fn delay(&self, retries: u32) -> Duration {
        let policy = &self.policy;
        let power = i32::try_from(retries).unwrap_or(i32::MAX);
        let delay = (policy.retry_delay * policy.backoff_multiplier.powi(power)).min(MAX_DELAY);
        let random = RandomState::new().hash_one(retries) as f64 / u64::MAX as f64;
        Duration::try_from_secs_f64(delay * (1.0 + 0.1 * random)).unwrap_or_default()
    }

    /// The update of the state that stands for the failure (`EH-22` to `EH-26`).
    fn update(&self, node: &Node, task: &Task, stop: Stop, retries: u32) -> Value {
        let Failure { class, text, .. } = match stop {
            Stop::Failed(failure) => failure,
            Stop::Respond(response) => Failure {
                class: "HTTPResponse".to_owned(),
                text: format!("HTTP {}", text(&response.status)),
                ..Failure::default()
            },
        };
        let text = node.shared.without_secrets(text);
        let traceback = match self.policy.capture_traceback {
            // Frames of the host's functions stay with the host; what the engine knows is the error itself.
            true => Value::from(format!("{class}: {text}")),
            false => Value::Null,
        };
        let mut error = Map::new();
        error.insert("type".into(), class.as_str().into());
        error.insert("message".into(), text.as_str().into());
        error.insert("node".into(), Value::Str(Arc::clone(&task.scene.node)));
        error.insert("action".into(), self.action.clone().map_or(Value::Null, Value::Str));
        error.insert("timestamp".into(), now().into());
        error.insert("retry_count".into(), i64::from(retries).into());
        error.insert("is_retryable".into(), is_retryable(&class, &text).into());
        error.insert("traceback".into(), traceback);
        error.insert("details".into(), Value::Null);
        let mut update = Map::new();
        update.insert("__error__".into(), Value::map(error));
        if self.policy.mode == Mode::Graceful
            && let Some(fallback) = &self.policy.fallback
        {
            update.insert("__fallback_node__".into(), Value::Str(Arc::clone(fallback)));
        }
        Value::map(update)
    }
}

/// The time now in UTC, as Python's `isoformat` writes it.
fn now() -> String {
    utc().format('T')
}

/// The time now in UTC with the letter `Z` for the zone.
pub(in crate::agent) fn now_z() -> String {
    format!("{}Z", DateTime { offset: None, ..utc() }.format('T'))
}

fn utc() -> DateTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, rest) = (since.as_secs() / 86_400, (since.as_secs() % 86_400) as u32);
    // Howard Hinnant's civil_from_days, for days after 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    DateTime {
        date: Date { year: year as u16, month: month as u8, day: day as u8 },
        hour: (rest / 3600) as u8,
        minute: (rest / 60 % 60) as u8,
        second: (rest % 60) as u8,
        microsecond: since.subsec_micros(),
        offset: Some(0),
    }
}
