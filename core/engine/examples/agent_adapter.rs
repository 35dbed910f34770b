//! The conformance adapter over the engine crate alone: agents over core-resident states, without a host.
//!
//! `run.py --host core/target/debug/examples/agent_adapter --area graph`; see the README of the conformance suite
//! for the protocol.

use std::io::{self, BufRead, Write};
use std::sync::Arc;

use tea_engine::actions::{KeyValueStore, MemoryKeyValueStore};
use tea_engine::agent::{Agent, AgentError, LoadOptions};
use tea_engine::checkpoint::{MemoryStore, Store};
use tea_engine::map;
use tea_engine::run::{Beginning, DriveError, Driver, Failure, Handler, Method};
use tea_engine::schema::input::rejection;
use tea_engine::state::State;
use tea_engine::template::{Condition, Dialect, Jinja, Root, Scope, TemplateEngine, TemplateError};
use tea_engine::value::{Map, Value};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        let answer = match Value::from_json(line?.as_bytes()) {
            Ok(Value::Map(request)) => answer(&request),
            Ok(_) => map! { "fault" => "a request is a map" },
            Err(error) => map! { "fault" => error.to_string() },
        };
        writeln!(out, "{}", answer.to_json())?;
        out.flush()?;
    }
    Ok(())
}

fn answer(request: &Map) -> Value {
    if let Some(directory) = request.get("cwd").and_then(Value::as_str)
        && let Err(error) = std::env::set_current_dir(directory)
    {
        return map! { "fault" => format!("{directory}: {error}") };
    }
    match request.get("op").and_then(Value::as_str) {
        Some("hello") => {
            let features = [
                "lua",
                "files",
                "bigint",
                "yaml-values",
                "jsonschema",
                "jmespath",
                "sessions",
                "storage",
                "ltm",
            ];
            let features: Vec<Value> = features.into_iter().map(Value::from).collect();
            map! { "name" => "tea-engine", "features" => features, "env" => false, "loose_numbers" => false }
        }
        Some("run") => match load(request) {
            Ok(agent) => run(&agent, request),
            Err(error) => map! { "load_error" => load_error(&error) },
        },
        Some("load") => match load(request) {
            Ok(agent) => map! { "graph" => shape(&agent) },
            Err(error) => map! { "load_error" => load_error(&error) },
        },
        Some("render") => outcome(render(request)),
        Some("condition") => outcome(condition(request)),
        op => map! { "unsupported" => format!("op {}", op.unwrap_or("?")) },
    }
}

fn raised(class: &str, message: &str) -> Value {
    map! { "type" => class, "message" => message }
}

fn load_error(error: &AgentError) -> Value {
    eprintln!("{}", error.detail());
    raised(&error.class, &error.to_string())
}

fn load(request: &Map) -> Result<Agent, AgentError> {
    let engine = part(request, "engine");
    let store = match request.get("checkpointer").and_then(Value::as_str) {
        Some("memory") => Store::Memory(Arc::new(MemoryStore::default())),
        _ => Store::None,
    };
    let timeout = match engine.get("lua_timeout") {
        Some(Value::Float(seconds)) => *seconds,
        Some(Value::Int(seconds)) => *seconds as f64,
        _ => 30.0,
    };
    let long_term: Option<Arc<dyn KeyValueStore>> = match engine.get("enable_ltm") {
        Some(enabled) if enabled.is_truthy() => Some(Arc::new(MemoryKeyValueStore::default())),
        _ => None,
    };
    let options = LoadOptions {
        host_actions: false,
        lua_enabled: engine.get("lua_enabled").is_some_and(Value::is_truthy),
        lua_timeout: timeout,
        store,
        long_term,
        // The standard output carries the protocol.
        print: Some(Arc::new(|line| writeln!(io::stderr(), "{line}"))),
        ..LoadOptions::default()
    };
    let path = request.get("agent").and_then(Value::as_str).unwrap_or_default();
    Agent::load_file(path, &options)
}

fn part(request: &Map, name: &str) -> Map {
    request.get(name).and_then(Value::as_map).cloned().unwrap_or_default()
}

// ------------------------------------------------------------------------------------------- running

fn run(agent: &Agent, request: &Map) -> Value {
    let mut last = Value::Null;
    let mut results = Vec::new();
    for step in request.get("steps").and_then(Value::as_list).unwrap_or_default() {
        let empty = Map::new();
        let step = step.as_map().unwrap_or(&empty);
        let mut events = Vec::new();
        let raised = match self::step(agent, step, &last, &mut events) {
            Ok(()) => Value::Null,
            Err(failure) => self::raised(&failure.class, &failure.text),
        };
        for event in &events {
            if let Some(path) = event.as_map().and_then(|event| event.get("checkpoint_path"))
                && path.is_truthy()
            {
                last = path.clone();
            }
        }
        let events = events.iter().map(wire).collect::<Vec<_>>();
        results.push(map! { "events" => events, "raised" => raised });
    }
    map! { "steps" => results }
}

fn failure(class: &str, text: impl Into<String>) -> Failure {
    Failure { class: class.to_owned(), text: text.into(), ..Failure::default() }
}

fn step(agent: &Agent, step: &Map, last: &Value, events: &mut Vec<Value>) -> Result<(), Failure> {
    let (call, method) = match step.get("call").and_then(Value::as_str) {
        Some("stream") => ("stream", Method::Stream),
        _ => ("invoke", Method::Invoke),
    };
    let (mut state, config) = (part(step, "input"), part(step, "config"));
    let beginning = if step.get("resume").is_some_and(Value::is_truthy) {
        let id = step.get("checkpoint").unwrap_or(last);
        let Value::Str(id) = id else {
            let text = format!(
                "checkpoint parameter required when input_state is None. Use {call}(None, checkpoint='...') to resume \
                 from an interrupt."
            );
            return Err(failure("ValueError", text));
        };
        Beginning::load(agent.graph(), id, &state, &config)
            .map_err(|error| failure("ValueError", error.to_string()))?
    } else {
        if method == Method::Invoke {
            match agent.check_input(&state) {
                Ok(checked) => state = checked,
                Err(details) => {
                    events.push(rejection(&details, &state));
                    return Ok(());
                }
            }
        }
        if let Some(sessions) = agent.sessions() {
            state = sessions.begin(state);
        }
        Beginning::fresh(Arc::new(state), Arc::new(config))
    };
    if let Some(Value::Int(workers)) = beginning.config.get("max_workers")
        && *workers < 1
    {
        return Err(failure("ValueError", "max_workers must be greater than 0"));
    }
    let mut driver = Driver::new(Arc::clone(agent.graph()), method, beginning, Alone);
    while let Some(mut event) = driver.next_event().map_err(of_drive)? {
        let is_final = event.as_map().and_then(|event| event.get("type")?.as_str()) == Some("final");
        if let (true, Some(sessions), State::Core(state)) = (is_final, agent.sessions(), driver.state()) {
            sessions.end(&state.map());
        }
        if let Value::Map(map) = &mut event
            && map.contains_key("output")
        {
            let map = Arc::make_mut(map);
            if agent.has_output() {
                map.insert("output".into(), agent.output(driver.state()));
            } else {
                map.shift_remove("output");
            }
        }
        events.push(event);
    }
    Ok(())
}

/// A host without functions, actions and languages.
struct Alone;

impl Handler for Alone {
    type Error = DriveError;
}

fn of_drive(error: DriveError) -> Failure {
    match error {
        DriveError::Unchanged(failure) => failure,
        DriveError::UnknownNode(_) => failure("RuntimeError", error.to_string()),
        error => failure(error.class(), error.to_string()),
    }
}

// ------------------------------------------------------------------------------------------- shapes

fn shape(agent: &Agent) -> Value {
    let info = agent.info();
    let empty = Map::new();
    let info = info.as_map().unwrap_or(&empty);
    let get = |key: &str| info.get(key).cloned().unwrap_or_default();
    let topology = agent.graph().topology();
    let nodes: Vec<Value> = topology.order().iter().map(|id| Value::from(topology.name(*id))).collect();
    let edges = get("edges");
    let edges = edges.as_list().unwrap_or_default().iter().filter_map(Value::as_map).map(|edge| {
        let part = |key: &str| edge.get(key).cloned().unwrap_or_default();
        match part("fan_in") {
            Value::Null => map! { "from" => part("from"), "to" => part("to") },
            join => map! { "from" => part("from"), "to" => part("to"), "fan_in" => join },
        }
    });
    map! {
        "nodes" => nodes,
        "edges" => edges.collect::<Vec<_>>(),
        "interrupt_before" => get("interrupt_before"),
        "interrupt_after" => get("interrupt_after"),
        "variables" => wire(&get("variables")),
        "data" => wire(&get("data")),
        "mermaid" => topology.to_mermaid(|_, _| None),
    }
}

// ------------------------------------------------------------------------------------- templates

fn outcome(result: Result<Value, TemplateError>) -> Value {
    match result {
        Ok(value) => map! { "value" => wire(&value) },
        Err(error) => map! { "raised" => raised(error.class(), &error.to_string()) },
    }
}

fn render(request: &Map) -> Result<Value, TemplateError> {
    let Some(Value::Str(source)) = request.get("template") else {
        return Ok(request.get("template").cloned().unwrap_or_default());
    };
    let template = Jinja.compile(source)?;
    let (state, variables, data) =
        (part(request, "state"), part(request, "variables"), part(request, "data"));
    let context = part(request, "context");
    let checkpoint = map! { "dir" => "", "last" => "" };
    let secrets = Map::new();
    let mut scope = Scope::new()
        .with("state", Root::Map(&state))
        .with("variables", Root::Map(&variables))
        .with("secrets", Root::Map(&secrets))
        .with("data", Root::Map(&data))
        .with("env", Root::Env)
        .with("checkpoint", Root::Value(&checkpoint));
    for (name, value) in &context {
        if let Some(name) = name.as_str() {
            scope.set(name, Root::Value(value));
        }
    }
    Jinja.render(&template, &scope)
}

fn condition(request: &Map) -> Result<Value, TemplateError> {
    let (state, variables) = (part(request, "state"), part(request, "variables"));
    let checkpoint = map! { "dir" => "", "last" => "" };
    let empty = Map::new();
    let scope = Scope::new()
        .with("state", Root::Map(&state))
        .with("variables", Root::Map(&variables))
        .with("secrets", Root::Map(&empty))
        .with("env", Root::Env);
    let (dialect, scope) = match request.get("dialect").and_then(Value::as_str) {
        Some("goto") => (Dialect::Goto, scope.with("result", Root::Map(&empty))),
        _ => (
            Dialect::Edge,
            scope.with("data", Root::Map(&empty)).with("checkpoint", Root::Value(&checkpoint)),
        ),
    };
    let condition = match request.get("expression") {
        Some(Value::Str(text)) => Condition::compile(text, dialect)?,
        other => Condition::constant(other.unwrap_or(&Value::Null)),
    };
    Ok(Value::Bool(condition.evaluate(&scope)?))
}

// -------------------------------------------------------------------------------------- the wire

/// A value as JSON; values without a JSON form become tagged maps.
fn wire(value: &Value) -> Value {
    match value {
        Value::Float(float) if !float.is_finite() => {
            map! { "$float" => tea_engine::value::float_repr(*float) }
        }
        Value::List(items) | Value::Tuple(items) => Value::list(items.iter().map(wire).collect()),
        Value::Map(map) if map.keys().all(|key| key.as_str().is_some()) => {
            Value::map(map.iter().map(|(key, value)| (key.clone(), wire(value))).collect::<Map>())
        }
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| Value::list(vec![wire(key.value()), wire(value)]));
            map! { "$map" => pairs.collect::<Vec<_>>() }
        }
        Value::DateTime(time) => map! { "$datetime" => time.format('T') },
        Value::Date(date) => map! { "$date" => date.to_string() },
        Value::Set(items) => {
            let mut items: Vec<Value> = items.iter().map(|key| wire(key.value())).collect();
            items.sort_by_key(tea_engine::value::repr);
            map! { "$set" => items }
        }
        Value::Bytes(bytes) => map! { "$bytes" => base64(bytes) },
        Value::Host(_) => map! { "$object" => "object" },
        other => other.clone(),
    }
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(char::from(LETTERS[(bits >> (18 - 6 * place)) as usize & 63]));
            } else {
                out.push('=');
            }
        }
    }
    out
}
