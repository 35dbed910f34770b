//! Nodes that do the same work for each of several items: `dynamic_parallel`, `strategy.matrix`,
//! `parallel_each`.
//!
//! The branches of one node run in the order of their items, each over a state and slots of its own.

use std::sync::Arc;
use std::time::Instant;

use super::params::{Param, Params};
use super::program::{Exec, Shared, failed, value_error};
use super::subgraph::Subgraph;
use crate::run::{Failure, Slots, Stop, Task};
use crate::state::State;
use crate::value::{Key, Map, Value, text};

/// What the branches are made of.
#[derive(Debug)]
pub(super) enum Source {
    /// `items` of a `dynamic_parallel` node, or the expression of `parallel_each`.
    Items {
        /// The template, or a literal.
        items: Param,
        /// As written, for errors.
        written: String,
    },
    /// The combinations of a matrix, made at load.
    Combinations(Vec<Value>),
}

/// What each branch does.
#[derive(Debug)]
pub(super) enum Branch {
    /// One piece of work.
    Exec(Exec),
    /// A run of another agent.
    Subgraph(Subgraph, Params),
}

/// Which of the three kinds it is: they differ in the states of branches and in the shape of results.
#[derive(Debug)]
pub(super) enum Form {
    Dynamic { item: Key, index: Key },
    Matrix,
    Each,
}

/// A node that fans out.
#[derive(Debug)]
pub(super) struct Fan {
    pub(super) name: Arc<str>,
    pub(super) form: Form,
    pub(super) source: Source,
    pub(super) work: Branch,
    pub(super) fail_fast: bool,
}

impl Fan {
    pub(super) async fn run(&self, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
        let items = self.items(task, shared)?;
        let mut results = Vec::with_capacity(items.len());
        let mut stopped = false;
        for (index, item) in items.into_iter().enumerate() {
            let branch = format!("{}[{index}]", self.name);
            if stopped {
                let error = Some("Cancelled due to fail_fast".to_owned());
                results.push(result(branch, Value::map(Map::new()), error, 0));
                continue;
            }
            let since = Instant::now();
            let (state, error) = self.branch(index, item, task, shared).await?;
            stopped = error.is_some() && self.fail_fast;
            let spent = i64::try_from(since.elapsed().as_millis()).unwrap_or(i64::MAX);
            results.push(result(branch, state, error, spent));
        }
        let mut update = Map::new();
        update.insert("parallel_results".into(), Value::list(results));
        Ok(Value::map(update))
    }

    /// Runs one branch: what its result shows as state, and its error. Only what ends the whole run is an `Err`.
    async fn branch(
        &self,
        index: usize,
        item: Value,
        task: &Task,
        shared: &Arc<Shared>,
    ) -> Result<(Value, Option<String>), Stop> {
        let state = task.scene.state.fork().map_err(|error| failed("RuntimeError", error.message))?;
        let number = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
        let mut entries = Map::new();
        match &self.form {
            Form::Dynamic { item: name, index } => {
                entries.insert(name.clone(), item.clone());
                entries.insert(index.clone(), number.clone());
            }
            Form::Matrix => drop(entries.insert("matrix".into(), item.clone())),
            Form::Each => {
                entries.insert("item".into(), item.clone());
                entries.insert("item_index".into(), number.clone());
            }
        }
        let lost = |error: crate::host::HostError| failed("RuntimeError", error.message);
        state.merge(Value::map(entries)).map_err(lost)?;
        let mut own = task.over(state);
        own.scene.slots = Arc::<Slots>::default();
        let done = match &self.work {
            Branch::Exec(exec) => exec.run(&own, shared).await,
            Branch::Subgraph(subgraph, input) => match input.render(&shared.context, &own.scene) {
                Ok(input) => subgraph.run(State::core(input), &own, shared).await,
                Err(failure) => Err(Stop::Failed(failure)),
            },
        };
        let error = match done {
            Ok(value) => return Ok((self.success(item, number, value), None)),
            Err(Stop::Failed(failure)) if failure.fatal => return Err(Stop::Failed(failure)),
            Err(Stop::Failed(Failure { text, .. })) => text,
            Err(Stop::Respond(response)) => format!("HTTP {}", text(&response.status)),
        };
        Ok((self.failure(item, number), Some(error)))
    }

    fn success(&self, item: Value, index: Value, value: Value) -> Value {
        let map = |value: Value| match value {
            Value::Map(_) => value,
            _ => Value::map(Map::new()),
        };
        match &self.form {
            Form::Dynamic { .. } => match value {
                Value::Map(_) => value,
                other => crate::map! { "result" => other },
            },
            Form::Matrix => crate::map! { "matrix" => item, "result" => map(value) },
            Form::Each => crate::map! { "item" => item, "index" => index, "result" => map(value) },
        }
    }

    fn failure(&self, item: Value, index: Value) -> Value {
        match &self.form {
            Form::Dynamic { .. } => Value::map(Map::new()),
            Form::Matrix => crate::map! { "matrix" => item },
            Form::Each => crate::map! { "item" => item, "index" => index },
        }
    }

    fn items(&self, task: &Task, shared: &Arc<Shared>) -> Result<Vec<Value>, Stop> {
        let (items, written) = match &self.source {
            Source::Combinations(combinations) => return Ok(combinations.clone()),
            Source::Items { items, written } => (items, written),
        };
        let (kind, what) = match self.form {
            Form::Each => ("parallel_each", "parallel_each"),
            _ => ("dynamic_parallel", "items"),
        };
        let name = &self.name;
        let value = match items {
            Param::Template(template) => {
                template.render(&shared.context, &task.scene).map_err(|failure| {
                    let what = if kind == "parallel_each" { "" } else { "items " };
                    let text = &failure.text;
                    value_error(format!(
                        "{kind} node '{name}': failed to evaluate {what}expression '{written}': {text}"
                    ))
                })?
            }
            Param::Fixed(value) => value.clone(),
            // Templates inside a literal list are no templates here: only a text is one.
            Param::Map(_) | Param::List(_) => Value::Null,
        };
        let wrong = |kind_of: &str| {
            value_error(format!(
                "{kind} node '{name}': {what} expression must return an iterable, got {kind_of}"
            ))
        };
        match value {
            Value::Null => Ok(Vec::new()),
            Value::List(items) | Value::Tuple(items) => Ok(Vec::clone(&items)),
            Value::Map(map) => Ok(map.keys().map(|key| key.value().clone()).collect()),
            Value::Set(set) => Ok(set.iter().map(|key| key.value().clone()).collect()),
            Value::Host(object) => match &task.scene.host {
                Some(host) => {
                    let id = object.id();
                    let kind = host.query(id, crate::host::Query::TypeName, None);
                    let kind = kind.map_or_else(|error| error.message, |name| text(&name));
                    if matches!(kind.as_str(), "str" | "bytes") {
                        return Err(wrong(&kind));
                    }
                    host.keys(id).map_err(|_| wrong(&kind))
                }
                None => Err(wrong("object")),
            },
            other => Err(wrong(other.type_name())),
        }
    }
}

/// One result of a branch.
fn result(branch: String, state: Value, error: Option<String>, milliseconds: i64) -> Value {
    crate::map! {
        "branch" => branch,
        "success" => error.is_none(),
        "state" => state,
        "error" => error.map_or(Value::Null, Value::from),
        "error_type" => Value::Null,
        "traceback" => Value::Null,
        "timeout" => false,
        "timing_ms" => milliseconds,
        "retry_count" => 0_i64,
        "circuit_state" => Value::Null,
        "attempt_errors" => Vec::<Value>::new(),
        "exit_code" => Value::Null,
    }
}
