//! Rate limiters: calls of one name keep a distance in time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

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
        *free = Some(begin + self.interval);
        Ok(wait)
    }
}
