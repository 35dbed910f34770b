//! The conformance adapter of the template language alone: ops `hello`, `render` and `condition`.
//!
//! `run.py --host core/target/debug/examples/template_eval --area templates`; see the README of the conformance
//! suite for the protocol. A request may also hold `expressions`, a list, in place of `template`: see
//! `ci/template_diff.py`.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use tea_engine::map;
use tea_engine::template::{Condition, Dialect, Jinja, Root, Scope, TemplateEngine, TemplateError};
use tea_engine::value::{Key, Map, Value};

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
    match request.get("op").and_then(Value::as_str) {
        Some("hello") => map! {
            "name" => "tea-engine templates",
            "features" => vec![Value::from("bigint"), Value::from("yaml-values")],
            "env" => false,
            "loose_numbers" => false,
        },
        Some("render") => match request.get("expressions") {
            Some(Value::List(sources)) => {
                let answers = sources.iter().map(|source| result(render(request, Some(source))));
                map! { "answers" => answers.collect::<Vec<_>>() }
            }
            _ => result(render(request, request.get("template"))),
        },
        Some("condition") => result(condition(request)),
        _ => map! { "unsupported" => "this adapter renders templates only" },
    }
}

fn result(result: Result<Value, TemplateError>) -> Value {
    match result {
        Ok(value) => map! { "value" => wire(&value) },
        Err(error) => map! {
            "raised" => map! { "type" => error.class(), "message" => error.to_string() },
        },
    }
}

fn part(request: &Map, name: &str) -> Map {
    request.get(name).and_then(Value::as_map).cloned().unwrap_or_default()
}

fn render(request: &Map, template: Option<&Value>) -> Result<Value, TemplateError> {
    let Some(source) = template.and_then(Value::as_str) else {
        return Ok(template.cloned().unwrap_or_default());
    };
    let roots = Roots::new(request);
    let scope = roots.scope(true);
    Jinja.render(&Jinja.compile(source)?, &scope)
}

fn condition(request: &Map) -> Result<Value, TemplateError> {
    let goto = request.get("dialect").and_then(Value::as_str) == Some("goto");
    let dialect = if goto { Dialect::Goto } else { Dialect::Edge };
    let expression = request.get("expression").cloned().unwrap_or_default();
    let condition = match expression.as_str() {
        Some(text) => Condition::compile(text, dialect)?,
        None => Condition::constant(&expression),
    };
    let roots = Roots::new(request);
    condition.evaluate(&roots.scope(!goto)).map(Value::Bool)
}

/// What a request puts into scope.
struct Roots {
    maps: BTreeMap<&'static str, Map>,
    context: Map,
}

impl Roots {
    fn new(request: &Map) -> Self {
        let mut maps: BTreeMap<&'static str, Map> =
            ["state", "variables", "secrets", "data"].map(|name| (name, part(request, name))).into();
        let checkpoint = [("dir", ""), ("last", "")].map(|(name, text)| (Key::from(name), Value::from(text)));
        maps.insert("checkpoint", checkpoint.into_iter().collect());
        Roots { maps, context: part(request, "context") }
    }

    fn scope(&self, full: bool) -> Scope<'_> {
        let mut scope = Scope::new().with("env", Root::Env);
        for (name, map) in &self.maps {
            if full || !matches!(*name, "data" | "checkpoint") {
                scope.set(name, Root::Map(map));
            }
        }
        for (name, value) in &self.context {
            if let Some(name) = name.as_str() {
                scope.set(name, Root::Value(value));
            }
        }
        scope
    }
}

/// A value in the form of the protocol: what JSON lacks is a map with one key.
fn wire(value: &Value) -> Value {
    match value {
        Value::Float(float) if !float.is_finite() => {
            map! { "$float" => tea_engine::value::float_repr(*float) }
        }
        Value::List(items) | Value::Tuple(items) => Value::list(items.iter().map(wire).collect()),
        Value::Map(map) if map.keys().all(|key| key.as_str().is_some()) => {
            Value::map(map.iter().map(|(key, value)| (key.clone(), wire(value))).collect())
        }
        Value::Map(map) => {
            let pairs = map.iter().map(|(key, value)| Value::list(vec![wire(key.value()), wire(value)]));
            map! { "$map" => pairs.collect::<Vec<_>>() }
        }
        Value::Set(items) => map! { "$set" => items.iter().map(|key| wire(key.value())).collect::<Vec<_>>() },
        Value::Date(date) => map! { "$date" => date.to_string() },
        Value::DateTime(time) => map! { "$datetime" => time.to_string() },
        Value::Bytes(_) => {
            let json = value.to_json();
            let text = json.split('"').nth(5).unwrap_or_default();
            map! { "$bytes" => text }
        }
        other => other.clone(),
    }
}
