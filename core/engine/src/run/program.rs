//! Nodes whose work the engine does itself: a program is a future that asks the host where it must.
//!
//! The step machine polls the future. When it needs the host (an action, a block of code in the host's language)
//! it leaves a request, which becomes the next item; the answer resumes it. So composite nodes (steps, loops,
//! retries) are ordinary `async` code, yet a run can be abandoned or cancelled at every request, nothing recurses
//! over a call of the host, and no lock is held while the host works.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Answer, Failure, Observer, Response};
use crate::host::{Host, LogLevel};
use crate::state::State;
use crate::value::{Map, Value};

/// What ends a program without a result.
#[derive(Debug, Clone)]
pub enum Stop {
    /// It failed.
    Failed(Failure),
    /// It answers for the whole run.
    Respond(Response),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

/// A running program: resolves to the update of the state, as a function of the host would return it.
pub type Running = Pin<Box<dyn Future<Output = Result<Value, Stop>> + Send>>;

/// The work of a node.
pub trait Program: Send + Sync + fmt::Debug {
    /// Begins the work. Nothing happens before the first poll.
    fn start(&self, task: Task) -> Running;
}

/// A condition that the engine evaluates. It may look at the state, also a live one of the host, but never calls
/// code of the host that could take long.
pub trait Choose: Send + Sync + fmt::Debug {
    /// The condition's value.
    fn choose(&self, scene: &Scene) -> Result<Value, Failure>;
}

/// What a program or a condition works with.
#[derive(Clone)]
pub struct Scene {
    /// Name of the node.
    pub node: Arc<str>,
    /// The state of the flow; shared with it.
    pub state: State,
    /// The configuration of the run.
    pub config: Arc<Map>,
    /// The host, if it has live objects.
    pub host: Option<Arc<dyn Host>>,
    /// Who reads the log records of a run without a host.
    pub observer: Option<Arc<dyn Observer>>,
    /// What the function of the node returned, once it has run; [`Value::Null`] before, and if it has none.
    pub update: Value,
    /// What programs keep for the rest of the flow; shared with it.
    pub slots: Arc<Slots>,
}

/// Objects that programs keep while a flow runs, one of each type: an interpreter, the warnings already given.
/// Every branch has slots of its own, so nothing in them is shared between flows.
#[derive(Default)]
pub struct Slots(Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>);

impl Slots {
    /// The object of the type, made by `make` at the first call.
    pub fn get<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> Arc<T> {
        let key = TypeId::of::<T>();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(Ok(known)) = known.map(Arc::downcast) {
            return known;
        }
        // Made outside the lock: it may take a while, and may look into other slots.
        let made = Arc::new(make());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, Arc::<T>::clone(&made));
        made
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Slots")
    }
}

impl Scene {
    /// Writes a log record.
    pub fn log(&self, level: LogLevel, target: &str, text: &str) {
        match (&self.host, &self.observer) {
            (Some(host), _) => host.log(level, target, text),
            (None, Some(observer)) => observer.log(level, target, text),
            (None, None) => {}
        }
    }

    /// Somebody reads log records.
    pub fn is_observed(&self) -> bool {
        self.host.is_some() || self.observer.is_some()
    }
}

/// What a program asks of the host.
#[derive(Debug, Clone)]
pub enum Request {
    /// Run an action. Answer [`Answer::Result`], [`Answer::Failed`], [`Answer::Respond`], or [`Answer::Core`] if it
    /// is the engine's own.
    Action {
        /// Its name, as in `http.get`.
        name: Arc<str>,
        /// Its arguments by name.
        arguments: Arc<Map>,
    },
    /// Run a block of code. Answer as for an action.
    Code {
        /// The language, as in `python`.
        language: Arc<str>,
        /// The code.
        source: Arc<str>,
        /// Further names that the code sees.
        names: Arc<Map>,
    },
    /// Let time pass, then answer [`Answer::Done`].
    Sleep(Duration),
}

/// The program's side of the exchange with the step machine.
#[derive(Clone)]
pub struct Task {
    /// What it works with.
    pub scene: Scene,
    exchange: Arc<Mutex<Exchange>>,
    /// The scene has another state than the flow.
    apart: bool,
}

#[derive(Default)]
struct Exchange {
    request: Option<(Request, Option<State>)>,
    answer: Option<Answer>,
}

impl Task {
    /// Asks the host; resolves to its answer. The host sees the state of the scene: where a program works on a
    /// state of its own (steps, loops), it puts that one into the scene of the task it hands on, see
    /// [`Task::over`].
    pub async fn ask(&self, request: Request) -> Answer {
        let state = self.apart.then(|| self.scene.state.clone());
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner).request = Some((request, state));
        poll_fn(|_| {
            let mut exchange = self.exchange.lock().unwrap_or_else(PoisonError::into_inner);
            exchange.answer.take().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl Task {
    /// The same task over another state.
    #[must_use]
    pub fn over(&self, state: State) -> Task {
        let scene = Scene { state, ..self.scene.clone() };
        Task { scene, exchange: Arc::clone(&self.exchange), apart: true }
    }
}

/// A program as the cursor holds it.
pub(super) struct Process {
    running: Running,
    exchange: Arc<Mutex<Exchange>>,
}

/// What a poll of a program came to.
pub(super) enum Turn {
    /// The state is the one that the request is about, if that is not the state of the flow.
    Asked(Request, Option<State>),
    Waiting,
    Ended(Result<Value, Stop>),
}

impl Process {
    pub(super) fn new(program: &dyn Program, scene: Scene) -> Self {
        let exchange = Arc::<Mutex<Exchange>>::default();
        let running = program.start(Task { scene, exchange: Arc::clone(&exchange), apart: false });
        Process { running, exchange }
    }

    /// Hands over the answer to the last request.
    pub(super) fn answer(&self, answer: Answer) {
        self.exchange.lock().unwrap_or_else(PoisonError::into_inner).answer = Some(answer);
    }

    pub(super) fn poll(&mut self) -> Turn {
        match self.running.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Turn::Ended(result),
            Poll::Pending => {
                let request = self.exchange.lock().unwrap_or_else(PoisonError::into_inner).request.take();
                request.map_or(Turn::Waiting, |(request, state)| Turn::Asked(request, state))
            }
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Process")
    }
}
