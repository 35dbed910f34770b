//! Code in nodes: Lua here, other languages by the host.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::action::result_of;
use super::{Shared, failed};
use crate::agent::Print;
use crate::agent::params::Compiled;
use crate::lua::{Channel, Chunk, ErrorKind, Limits, LuaError, Options, Output, Runtime, Scope};
use crate::run::{Failure, Request, Stop, Task};
use crate::value::{Map, Value, text};

/// What a piece of code is written in, and the code.
#[derive(Debug)]
pub(in crate::agent) enum Language {
    /// Lua, run by the engine.
    Lua(Chunk),
    /// A language of the host, by its name. The text is a template.
    Host(Arc<str>, Compiled),
    /// A language of the host whose code is taken as it is.
    Raw(Arc<str>, Arc<str>),
}

/// A block of code.
#[derive(Debug)]
pub(in crate::agent) struct Code {
    pub(in crate::agent) language: Language,
}

/// The interpreter of a flow: one for each run and each of its branches, so that globals last within a flow and
/// are never seen by another one (`LU-28`).
struct Interpreter(Mutex<Option<Runtime>>);

impl Code {
    pub(super) async fn run(&self, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
        match &self.language {
            Language::Lua(chunk) => run_lua(chunk, task, shared),
            Language::Raw(language, source) => {
                ask(language, Arc::clone(source), Map::new(), task, shared).await
            }
            Language::Host(language, template) => {
                let code = template.render(&shared.context, &task.scene)?;
                let Value::Str(source) = code else {
                    let kind = code.type_name();
                    let text = format!("the code is a {kind} after its templates were rendered, not a text");
                    return Err(failed("TypeError", text));
                };
                ask(language, source, Map::new(), task, shared).await
            }
        }
    }
}

/// Has the host run code in one of its languages.
async fn ask(
    language: &Arc<str>,
    source: Arc<str>,
    names: Map,
    task: &Task,
    shared: &Arc<Shared>,
) -> Result<Value, Stop> {
    if !shared.languages.contains(language) {
        let node = &task.scene.node;
        return Err(failed(
            "RuntimeError",
            format!(
                "Node '{node}' has code in {language}, which this host does not run. Write it in Lua \
                 (language: lua) or use an action (uses: ...)."
            ),
        ));
    }
    let request = Request::Code { language: Arc::clone(language), source, names: Arc::new(names) };
    result_of(task.ask(request).await, "the result of the code")
}

fn run_lua(chunk: &Chunk, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
    let interpreter = task.scene.slots.get(|| Interpreter(Mutex::new(None)));
    let mut held = interpreter.0.lock().unwrap_or_else(PoisonError::into_inner);
    let runtime = match &mut *held {
        Some(runtime) => runtime,
        none => {
            let time = Duration::try_from_secs_f64(shared.lua_timeout.max(0.0)).ok();
            let limits = Limits { time, ..Limits::default() };
            let options = Options { limits, output: shared.print.clone().map(output), ..Options::default() };
            none.insert(Runtime::new(options).map_err(lua_failure)?)
        }
    };
    runtime.run_node(chunk, Scope::of(&task.scene.state)).map_err(lua_failure)
}

/// What Lua prints goes where the actions print; its warnings go to the standard error (`LU-22`).
fn output(print: Print) -> Output {
    Arc::new(move |channel, line| match channel {
        // Code cannot do anything about output that is lost.
        Channel::Print => drop(print(line)),
        Channel::Warn => eprintln!("{line}"),
    })
}

fn lua_failure(error: LuaError) -> Stop {
    let class = match error.kind {
        ErrorKind::Timeout => "LuaTimeoutError",
        _ => "LuaRuntimeError",
    };
    Stop::Failed(Failure { class: class.to_owned(), text: error.to_string(), ..Failure::default() })
}

/// An expression whose value is stored under a key (`ND-18`).
#[derive(Debug)]
pub(in crate::agent) struct Expression {
    pub(in crate::agent) source: Arc<str>,
    pub(in crate::agent) template: Compiled,
    /// The text as an expression of the template language, for hosts that do not evaluate Python.
    pub(in crate::agent) own: Compiled,
    pub(in crate::agent) key: crate::value::Key,
}

impl Expression {
    pub(super) async fn run(&self, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
        let wrapped = |stop: Stop| match stop {
            Stop::Failed(failure) => Stop::Failed(Failure {
                text: format!("Error evaluating expression '{}': {}", self.source, failure.text),
                class: "ValueError".to_owned(),
                ..failure
            }),
            other => other,
        };
        let value = self.value(task, shared).await.map_err(wrapped)?;
        let mut map = Map::with_capacity(1);
        map.insert(self.key.clone(), value);
        Ok(Value::map(map))
    }

    async fn value(&self, task: &Task, shared: &Arc<Shared>) -> Result<Value, Stop> {
        let language: Arc<str> = "python-expression".into();
        if !shared.languages.contains(&language) {
            return Ok(self.own.render_strict(&shared.context, &task.scene)?);
        }
        let rendered = self.template.render(&shared.context, &task.scene)?;
        match rendered {
            Value::Str(source) => ask(&language, source, Map::new(), task, shared).await,
            other => {
                let text =
                    format!("eval() arg 1 must be a string, bytes or code object, not {}", text(&other));
                Err(failed("TypeError", text))
            }
        }
    }
}
