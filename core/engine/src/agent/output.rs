//! `output_schema`: the output of a run from its final state (yaml.md 17).

use super::problem::{Checked, Problem, Within};
use crate::host::Host;
use crate::template::{Jinja, Root, Scope, Template, TemplateEngine, TemplateError};
use crate::value::{Map, Value};

/// A compiled schema.
#[derive(Debug)]
pub(super) struct OutputSchema {
    fields: Vec<(String, Field)>,
}

#[derive(Debug)]
struct Field {
    value: Shape,
    /// The expression that must be true for the field to be there.
    include_if: Option<Text>,
    default: Value,
    /// Given in the form with `value`: null omits it.
    complex: bool,
}

#[derive(Debug)]
enum Shape {
    Fixed(Value),
    Text(Box<Text>),
    Map(Vec<(crate::value::Key, Shape)>),
    List(Vec<Shape>),
}

/// A text with an expression in it.
#[derive(Debug)]
struct Text {
    text: Result<Template, TemplateError>,
    /// Gives the value of a single expression as it is, where `strict_templates` asks for that.
    native: Result<Template, TemplateError>,
}

fn invalid(name: &str, problem: &str) -> Box<Problem> {
    Problem::of("ValidationError", format!("1 validation error for OutputSchemaField\n{name}\n  {problem}"))
}

impl Shape {
    fn compile(value: &Value) -> Shape {
        match value {
            Value::Str(text) if text.contains("{{") && text.contains("}}") => {
                Shape::Text(Box::new(Text { text: Jinja.compile_text(text), native: Jinja.compile(text) }))
            }
            Value::Map(map) => {
                Shape::Map(map.iter().map(|(key, value)| (key.clone(), Shape::compile(value))).collect())
            }
            Value::List(items) => Shape::List(items.iter().map(Shape::compile).collect()),
            other => Shape::Fixed(other.clone()),
        }
    }

    fn render(&self, scope: &Scope<'_>, strict: bool, warn: &mut dyn FnMut(String)) -> Value {
        match self {
            Shape::Fixed(value) => value.clone(),
            Shape::Text(text) => {
                let value = match strict {
                    true => value(&text.native, scope),
                    false => rendered(&text.text, scope).map(|text| retyped(&text)),
                };
                value.unwrap_or_else(|error| {
                    warn(error.to_string());
                    Value::Null
                })
            }
            Shape::Map(entries) => {
                let render = |(key, shape): &(crate::value::Key, Shape)| {
                    (key.clone(), shape.render(scope, strict, warn))
                };
                Value::map(entries.iter().map(render).collect::<Map>())
            }
            Shape::List(items) => {
                Value::list(items.iter().map(|item| item.render(scope, strict, warn)).collect())
            }
        }
    }
}

fn rendered(template: &Result<Template, TemplateError>, scope: &Scope<'_>) -> Result<String, TemplateError> {
    Jinja.render_text(template.as_ref().map_err(Clone::clone)?, scope)
}

fn value(template: &Result<Template, TemplateError>, scope: &Scope<'_>) -> Result<Value, TemplateError> {
    Jinja.render(template.as_ref().map_err(Clone::clone)?, scope)
}

/// A rendered text as the value that it looks like (`OT-4`, `actions/Q-47`).
fn retyped(text: &str) -> Value {
    let word = text.trim();
    if word.starts_with(['[', '{']) || matches!(word, "true" | "false" | "null") {
        return Value::from_json(word.as_bytes()).unwrap_or_else(|_| Value::from(text));
    }
    if word == "None" {
        return Value::Null;
    }
    if !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit()) {
        return word.parse::<crate::value::BigInt>().map_or_else(|_| Value::from(text), Value::int);
    }
    python_float(word).map_or_else(|| Value::from(text), Value::Float)
}

/// The number that Python's `float()` reads: underscores may stand between digits.
fn python_float(word: &str) -> Option<f64> {
    let bytes = word.as_bytes();
    let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
    let underscores = bytes
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'_')
        .all(|(at, _)| digit(at.checked_sub(1)) && digit(Some(at + 1)));
    if !underscores {
        return None;
    }
    word.replace('_', "").parse().ok()
}

impl OutputSchema {
    pub(super) fn compile(schema: &Value) -> Checked<OutputSchema> {
        let Value::Map(map) = schema else {
            let problem = format!("output_schema is a map of fields, not {}", schema.type_name());
            return Err(Problem::of("AttributeError", problem).under("output_schema"));
        };
        let mut fields = Vec::with_capacity(map.len());
        for (key, value) in map.iter() {
            let name = crate::value::text(key.value());
            let field = OutputSchema::field(&name, value).under(&name).under("output_schema")?;
            fields.push((name, field));
        }
        Ok(OutputSchema { fields })
    }

    fn field(name: &str, value: &Value) -> Checked<Field> {
        let form = match value {
            Value::Map(map)
                if ["value", "include_if", "default"].iter().any(|key| map.contains_key(*key)) =>
            {
                map
            }
            _ => {
                let value = Shape::compile(value);
                return Ok(Field { value, include_if: None, default: Value::Null, complex: false });
            }
        };
        let known = ["value", "include_if", "default"];
        if let Some(key) = form.keys().find(|key| !key.as_str().is_some_and(|key| known.contains(&key))) {
            let key = crate::value::text(key.value());
            return Err(invalid(&key, "Extra inputs are not permitted; value, include_if and default are"));
        }
        let value = form.get("value").ok_or_else(|| invalid("value", "Field required"))?;
        let include_if = match form.get("include_if") {
            None | Some(Value::Null) => None,
            Some(Value::Str(text)) if text.is_empty() => None,
            Some(Value::Str(text)) => {
                let source = format!("{{{{ {text} }}}}");
                Some(Text { text: Jinja.compile_text(&source), native: Jinja.compile(&source) })
            }
            Some(_) => return Err(invalid(name, "include_if: Input should be a valid string")),
        };
        let default = form.get("default").cloned().unwrap_or_default();
        Ok(Field { value: Shape::compile(value), include_if, default, complex: true })
    }

    /// The output over a final state. `warn` is told about fields that failed.
    pub(super) fn output(
        &self,
        state: &Value,
        host: Option<&dyn Host>,
        strict: bool,
        warn: &mut dyn FnMut(String),
    ) -> Value {
        let now = |_: &[Value]| Ok(Value::from(super::program::now_z()));
        let state = match state {
            Value::Host(object) => Root::Host(object),
            plain => Root::Plain(plain),
        };
        let mut scope = Scope::new().with("state", state).with("now", Root::Function(&now));
        if let Some(host) = host {
            scope = scope.host(host);
        }
        let mut out = Map::new();
        for (name, field) in &self.fields {
            if let Some(include_if) = &field.include_if {
                let included = match strict {
                    true => value(&include_if.native, &scope).map(|value| value.is_truthy()),
                    false => rendered(&include_if.text, &scope).map(|text| {
                        matches!(text.trim().to_lowercase().as_str(), "true" | "1" | "yes" | "on")
                    }),
                };
                if let Err(error) = &included {
                    warn(format!("output field '{name}': {error}"));
                }
                if !included.unwrap_or(false) {
                    continue;
                }
            }
            let mut value = field
                .value
                .render(&scope, strict, &mut |text| warn(format!("output field '{name}': {text}")));
            if field.complex {
                let empty = value == Value::Null || value.as_str() == Some("");
                if empty && field.default != Value::Null {
                    value = field.default.clone();
                }
                if value == Value::Null {
                    continue;
                }
            }
            out.insert(name.as_str().into(), value);
        }
        Value::map(out)
    }
}
