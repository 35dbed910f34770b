//! Runs of another agent from within a node.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::program::{Shared, failed, value_error};
use super::{Agent, LoadOptions};
use crate::checkpoint::Store;
use crate::host::When;
use crate::run::{
    Answer, Cursor, Event, Failure, Item, Live, Method, Options, RaiseError, Request, Start, Stop, Task,
};
use crate::state::State;
use crate::value::{Map, Value};

/// How deep agents may run each other.
const MOST_LEVELS: u32 = 32;

/// An agent in a file, loaded when it is first needed (`PAR-133`). It has a context of its own (`yaml/Q-5`).
pub(super) struct Subgraph {
    /// As written.
    pub(super) path: String,
    /// Where to look.
    pub(super) file: PathBuf,
    pub(super) options: Arc<LoadOptions>,
    /// How many agents are around this one.
    level: u32,
    loaded: Mutex<Option<Arc<Agent>>>,
}

impl std::fmt::Debug for Subgraph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Subgraph").field(&self.path).finish()
    }
}

impl Subgraph {
    pub(super) fn new(path: String, file: PathBuf, options: Arc<LoadOptions>, level: u32) -> Self {
        Subgraph { path, file, options, level, loaded: Mutex::new(None) }
    }

    fn agent(&self) -> Result<Arc<Agent>, Stop> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(agent) = &*loaded {
            return Ok(Arc::clone(agent));
        }
        let path = &self.path;
        if self.level > MOST_LEVELS {
            // An agent that runs itself would otherwise never end.
            return Err(value_error(format!(
                "Failed to load subgraph '{path}': subgraphs are nested more than {MOST_LEVELS} deep"
            )));
        }
        if path.contains("://") {
            return Err(failed("FileNotFoundError", format!("Subgraph not found: {path}")));
        }
        // parallel/Q13: beside the outer agent's file, else in the working directory.
        let file = match self.file.exists() {
            true => self.file.clone(),
            false => PathBuf::from(path),
        };
        let text = std::fs::read(&file).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                failed("FileNotFoundError", format!("Subgraph not found: {path}"))
            }
            _ => value_error(format!("Failed to load subgraph '{path}': {error}")),
        })?;
        // Its scopes are its own (yaml/Q-5), and what is laid over the outer agent is not meant for it.
        let options = LoadOptions {
            overlays: Vec::new(),
            variables: None,
            data: None,
            store: Store::None,
            ..LoadOptions::clone(&self.options)
        };
        let agent = Agent::load_inner(&text, &file, &Arc::new(options), self.level)
            .map_err(|error| failed(&error.class, error.to_string()))?;
        if agent.is_empty() {
            return Err(value_error(format!("Empty subgraph configuration: {path}")));
        }
        Ok(Arc::clone(loaded.insert(Arc::new(agent))))
    }

    /// Runs the agent over the state to its end; the result is its final state.
    pub(super) async fn run(&self, state: State, task: &Task, _: &Arc<Shared>) -> Result<Value, Stop> {
        let agent = self.agent()?;
        let options = Options {
            method: Method::Invoke,
            start: Start::Fresh,
            run: 0,
            config: Arc::clone(&task.scene.config),
        };
        let mut main = Cursor::new(Arc::clone(agent.graph()), None, state, options);
        let mut branches = std::collections::VecDeque::new();
        let live = Live { raises: false, ..Live::default() };
        let mut answer = Answer::Start { announce: false };
        loop {
            let item = main.step(answer, live).map_err(|error| failed("RuntimeError", error.to_string()))?;
            answer = match item {
                Item::Done => return Ok(Value::map(Map::new())),
                Item::Event(Event::Final { .. }) => return Ok(main.state().value()),
                Item::Event(Event::Error { text, .. }) => return Err(failed("RuntimeError", text)),
                Item::Event(_) | Item::Pause | Item::Outcome(_) => Answer::Done,
                Item::Error(error) => return Err(failed("RuntimeError", error.text)),
                Item::Raise(error) => return Err(raised(error, &main)),
                Item::Store { when: When::Before | When::After, .. } => Answer::Stored(None),
                Item::Request { request, .. } => forward(task, main.state().clone(), request).await,
                Item::Launch { .. } => {
                    let branch =
                        main.branch(None).map_err(|error| failed("RuntimeError", error.to_string()))?;
                    branches.push_back(branch);
                    Answer::Done
                }
                Item::Wait => {
                    let Some(branch) = branches.pop_front() else {
                        return Err(failed(
                            "RuntimeError",
                            "the subgraph waits for a branch that is not running",
                        ));
                    };
                    drive(branch, live, task).await?;
                    Answer::Done
                }
                Item::Call { .. } | Item::Calls { .. } | Item::Condition { .. } => {
                    Answer::Failed(no_functions())
                }
            };
        }
    }
}

/// Runs a branch of the subgraph to its end.
async fn drive(mut branch: Cursor, live: Live, task: &Task) -> Result<(), Stop> {
    let mut answer = Answer::Start { announce: false };
    loop {
        let item = branch.step(answer, live).map_err(|error| failed("RuntimeError", error.to_string()))?;
        answer = match item {
            Item::Done => return Ok(()),
            Item::Event(event) => Answer::Kept(branch.event_value(&event)),
            Item::Outcome(outcome) => Answer::Kept(branch.outcome_value(&outcome)),
            Item::Request { request, .. } => forward(task, branch.state().clone(), request).await,
            Item::Call { .. } | Item::Calls { .. } | Item::Condition { .. } => Answer::Failed(no_functions()),
            _ => Answer::Done,
        };
    }
}

/// Hands a request of the subgraph on to the host of the run.
async fn forward(task: &Task, state: State, request: Request) -> Answer {
    task.over(state).ask(request).await
}

fn no_functions() -> Failure {
    Failure {
        class: "RuntimeError".to_owned(),
        text: "an agent loaded from a file has no functions of the host".to_owned(),
        ..Failure::default()
    }
}

fn raised(error: RaiseError, cursor: &Cursor) -> Stop {
    match error {
        RaiseError::Unchanged(failure) => Stop::Failed(failure),
        RaiseError::UnknownNode(node) => {
            let name = cursor.topology().name(node);
            failed("RuntimeError", format!("Node '{name}' not found in the graph"))
        }
    }
}
