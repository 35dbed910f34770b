//! Calls of actions (`actions.md` 1.4).

use std::sync::Arc;

use super::{Shared, failed, value_error};
use crate::agent::params::{Output, Param, Params};
use crate::run::{Answer, Request, Stop, Task};
use crate::value::{Map, Value};

/// The actions that get the settings of the language model (`ST-5`).
const LLM_ACTIONS: &[&str] =
    &["llm.call", "llm.chat", "llm.stream", "llm.tools", "actions.llm_call", "actions.llm_stream"];

/// A `uses:` of a node or a step.
#[derive(Debug)]
pub(in crate::agent) struct ActionCall {
    pub(in crate::agent) name: Arc<str>,
    /// `Err`: `with` is no map, which fails when the node runs.
    pub(in crate::agent) params: Result<Params, String>,
    pub(in crate::agent) output: Output,
    llm: bool,
}

impl ActionCall {
    pub(in crate::agent) fn new(name: Arc<str>, params: Result<Params, String>, output: Output) -> Self {
        let llm = LLM_ACTIONS.contains(&&*name);
        ActionCall { name, params, output, llm }
    }

    pub(super) async fn run(&self, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
        let context = &shared.context;
        let params = self.params.as_ref().map_err(|text| failed("TypeError", text.clone()))?;
        let mut arguments = params.render(context, &task.scene)?;
        if self.llm {
            add_settings(&mut arguments, task, shared)?;
        }
        let result = call(&self.name, arguments, task, shared).await?;
        Ok(self.output.shape(result, context, &task.scene)?)
    }
}

/// Calls an action by name: the host's if it has one, else the engine's own.
pub(in crate::agent) async fn call(
    name: &Arc<str>,
    arguments: Arc<Map>,
    task: &Task,
    shared: &Arc<Shared>,
) -> Result<Value, Stop> {
    if shared.host_actions {
        let request = Request::Action { name: Arc::clone(name), arguments: Arc::clone(&arguments) };
        match task.ask(request).await {
            Answer::Core => {}
            answer => return result_of(answer, "the result of an action"),
        }
    }
    let call = crate::actions::ActionCall {
        name: Arc::clone(name),
        arguments,
        task: task.clone(),
        surroundings: Arc::<Shared>::clone(shared),
    };
    match shared.actions.run(call) {
        Some(running) => running.await,
        None => Err(value_error(format!("Unknown action: {name}"))),
    }
}

/// The result in an answer of the host.
pub(super) fn result_of(answer: Answer, expected: &str) -> Result<Value, Stop> {
    match answer {
        Answer::Result(value) => Ok(value),
        // The host has merged the result itself.
        Answer::Done => Ok(Value::map(Map::new())),
        Answer::Failed(failure) => Err(Stop::Failed(failure)),
        Answer::Respond(response) => Err(Stop::Respond(response)),
        _ => Err(failed("RuntimeError", format!("the host's answer does not fit: {expected} is expected"))),
    }
}

/// Adds the settings of the language model that the node does not give itself.
fn add_settings(arguments: &mut Arc<Map>, task: &Task, shared: &Arc<Shared>) -> Result<(), Stop> {
    let roots = shared.context.roots();
    let Some(settings) = roots.llm_settings.as_map() else { return Ok(()) };
    for (key, value) in settings {
        if arguments.contains_key(key) {
            continue;
        }
        // Settings are rendered when the agent is loaded, and again here; after the first time hardly ever
        // anything is left to do.
        let mut broken = |_: &crate::template::TemplateError| {};
        let value = match value {
            Value::Str(_) => match Param::compile(value, "settings.llm", &mut broken) {
                Param::Template(template) => template.render(&shared.context, &task.scene)?,
                _ => value.clone(),
            },
            other => other.clone(),
        };
        Arc::make_mut(arguments).insert(key.clone(), value);
    }
    Ok(())
}
