//! `input_schema`: what the input of a run must be like (yaml.md 16).

use std::sync::Arc;

use thiserror::Error;

use super::number;
use super::pattern::Pattern;
use crate::actions::order::compare;
use crate::value::{Key, Map, Value, repr, text};

/// A schema that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct SchemaError {
    /// Class of the error in Python: `ValueError` or `TypeError`.
    pub class: &'static str,
    /// What is wrong.
    pub message: String,
}

fn value_error(message: String) -> SchemaError {
    SchemaError { class: "ValueError", message }
}

/// One thing that is wrong with an input.
#[derive(Debug, Clone, PartialEq)]
pub struct Detail {
    /// Path of the value, such as `a.b[0].c`.
    pub field: String,
    /// Kind of error: `required`, `type`, `min_length`, `max_length`, `pattern`, `min`, `max`, `choices`.
    pub error: &'static str,
    /// What is wrong, for people.
    pub message: String,
    /// The value, as far as it was converted; null if there is none to show.
    pub value: Value,
    /// The limit that it breaks; null if there is none.
    pub constraint: Value,
    /// The type that is expected; null for other errors.
    pub expected: Value,
}

impl Detail {
    /// The members that are not null, as a map.
    pub fn to_value(&self) -> Value {
        let members = [
            ("field", Value::from(self.field.as_str())),
            ("error", Value::from(self.error)),
            ("message", Value::from(self.message.as_str())),
            ("value", self.value.clone()),
            ("constraint", self.constraint.clone()),
            ("expected", self.expected.clone()),
        ];
        let set = members.into_iter().filter(|(_, value)| !matches!(value, Value::Null));
        Value::map(set.map(|(name, value)| (name.into(), value)).collect())
    }
}

/// The event of a run whose input does not fit (`yaml/IV-9`): it is the only one, and the run does not begin.
pub fn rejection(details: &[Detail], input: &Map) -> Value {
    crate::map! {
        "type" => "validation_error",
        "status_code" => 422,
        "errors" => details.iter().map(Detail::to_value).collect::<Vec<Value>>(),
        "state" => input.clone(),
    }
}

/// The fields of an input, by name.
#[derive(Debug, Clone)]
pub struct InputSchema {
    fields: Vec<(Key, Field)>,
}

#[derive(Debug, Clone)]
struct Field {
    kind: Kind,
    required: bool,
    default: Value,
    min_length: Value,
    max_length: Value,
    pattern: Value,
    /// The compiled pattern, or what is wrong with it.
    compiled: Option<Result<Pattern, String>>,
    min: Value,
    max: Value,
    choices: Value,
    properties: Option<Vec<(Key, Field)>>,
    items: Option<Box<Field>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Str,
    Int,
    Float,
    Bool,
    List,
    Dict,
}

const KINDS: [(&str, Kind); 6] = [
    ("str", Kind::Str),
    ("int", Kind::Int),
    ("float", Kind::Float),
    ("bool", Kind::Bool),
    ("list", Kind::List),
    ("dict", Kind::Dict),
];

impl Kind {
    fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }

    /// The value converted to the type, if it can be (`yaml/IV-5`).
    fn convert(self, value: &Value) -> Option<Value> {
        match (self, value) {
            (Kind::Str, Value::Str(_))
            | (Kind::Int, Value::Int(_) | Value::BigInt(_) | Value::Bool(_))
            | (Kind::Float, Value::Float(_))
            | (Kind::Bool, Value::Bool(_))
            | (Kind::List, Value::List(_))
            | (Kind::Dict, Value::Map(_)) => Some(value.clone()),
            (Kind::Str, Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bool(_)) => {
                Some(Value::from(text(value)))
            }
            (Kind::Int, Value::Str(text)) => number::integer(text),
            (Kind::Int, Value::Float(float)) if float.is_finite() && float.fract() == 0.0 => {
                number::from_float(*float)
            }
            (Kind::Float, Value::Str(text)) => number::float(text).map(Value::Float),
            (Kind::Float, Value::Int(_) | Value::BigInt(_) | Value::Bool(_)) => {
                number::as_float(value).map(Value::Float)
            }
            (Kind::Bool, Value::Str(text)) => match text.to_lowercase().as_str() {
                "true" | "1" | "yes" => Some(Value::Bool(true)),
                "false" | "0" | "no" => Some(Value::Bool(false)),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Field {
    fn compile(config: &Value, complaint: &dyn Fn() -> String) -> Result<Field, SchemaError> {
        let Value::Map(config) = config else {
            return Err(value_error(format!("{}: must be dict or InputSchemaField", complaint())));
        };
        const MEMBERS: [&str; 11] = [
            "type",
            "required",
            "default",
            "min_length",
            "max_length",
            "pattern",
            "min",
            "max",
            "choices",
            "properties",
            "items",
        ];
        let unknown = config.keys().find(|key| !key.as_str().is_some_and(|key| MEMBERS.contains(&key)));
        if let Some(unknown) = unknown {
            let message = format!(
                "InputSchemaField.__init__() got an unexpected keyword argument {}",
                repr(unknown.value())
            );
            return Err(SchemaError { class: "TypeError", message });
        }
        let member = |name: &str| config.get(name).cloned().unwrap_or_default();
        let Some(kind) = config.get("type") else {
            let message =
                "InputSchemaField.__init__() missing 1 required positional argument: 'type'".to_owned();
            return Err(SchemaError { class: "TypeError", message });
        };
        let known = KINDS.iter().find(|(name, _)| kind.as_str() == Some(name));
        let Some((_, kind)) = known else {
            let names: Vec<&str> = KINDS.iter().map(|(name, _)| *name).collect();
            return Err(value_error(format!(
                "Invalid type '{}'. Must be one of: {}",
                text(kind),
                names.join(", ")
            )));
        };
        let properties = match member("properties") {
            Value::Null => None,
            Value::Map(properties) => Some(compile_all(&properties, "property")?),
            other => {
                let given = other.type_name();
                return Err(value_error(format!("properties must be a mapping, got {given}")));
            }
        };
        let items = match member("items") {
            Value::Null => None,
            items => Some(Box::new(Field::compile(&items, &|| "Invalid items config".to_owned())?)),
        };
        let pattern = member("pattern");
        let compiled = match &pattern {
            Value::Null => None,
            Value::Str(source) => Some(Pattern::compile(source)),
            other => Some(Err(format!("the pattern is {}, not a text", other.type_name()))),
        };
        Ok(Field {
            kind: *kind,
            required: member("required").is_truthy(),
            default: member("default"),
            min_length: member("min_length"),
            max_length: member("max_length"),
            pattern,
            compiled,
            min: member("min"),
            max: member("max"),
            choices: member("choices"),
            properties,
            items,
        })
    }
}

fn compile_all(config: &Map, what: &str) -> Result<Vec<(Key, Field)>, SchemaError> {
    let compile = |(name, field): (&Key, &Value)| {
        let complaint = || format!("Invalid {what} config for '{}'", text(name.value()));
        Ok((name.clone(), Field::compile(field, &complaint)?))
    };
    config.iter().map(compile).collect()
}

impl InputSchema {
    /// A schema from a map of names to field maps (`yaml/IV-1`, `yaml/IV-2`).
    pub fn from_value(config: &Value) -> Result<Self, SchemaError> {
        match config {
            Value::Map(config) => Ok(InputSchema { fields: compile_all(config, "schema")? }),
            other => {
                let given = other.type_name();
                Err(value_error(format!("Input schema must be a mapping of fields, got {given}")))
            }
        }
    }

    /// The schema's fields taken from the data, converted and with defaults; other keys are dropped. The error
    /// lists everything that is wrong, in field order (`yaml/IV-3`).
    pub fn validate(&self, data: &Map) -> Result<Map, Vec<Detail>> {
        let mut check = Check { details: Vec::new() };
        let result = check.members(data, &self.fields, "");
        if check.details.is_empty() { Ok(result) } else { Err(check.details) }
    }
}

struct Check {
    details: Vec<Detail>,
}

impl Check {
    fn report(&mut self, path: &str, error: &'static str, problem: &str, value: Value, constraint: Value) {
        let message = format!("Field '{path}' {problem}");
        let field = path.to_owned();
        self.details.push(Detail { field, error, message, value, constraint, expected: Value::Null });
    }

    fn members(&mut self, data: &Map, fields: &[(Key, Field)], prefix: &str) -> Map {
        let mut result = Map::with_capacity(fields.len());
        for (name, field) in fields {
            let path = format!("{prefix}{}", text(name.value()));
            let value = self.value(data.get(name).unwrap_or(&Value::Null), field, &path);
            if !matches!(value, Value::Null) {
                result.insert(name.clone(), value);
            }
        }
        result
    }

    /// The converted value; null if there is none, and after an error that ends the check of the field.
    fn value(&mut self, given: &Value, field: &Field, path: &str) -> Value {
        if matches!(given, Value::Null) {
            if !field.required {
                return field.default.clone();
            }
            self.report(path, "required", "is required", Value::Null, Value::Null);
            return Value::Null;
        }
        let Some(value) = field.kind.convert(given) else {
            let expected = field.kind.name();
            self.report(path, "type", &format!("must be {expected}"), given.clone(), Value::Null);
            if let Some(detail) = self.details.last_mut() {
                detail.expected = expected.into();
            }
            return Value::Null;
        };
        match field.kind {
            Kind::Str => self.check_text(&value, field, path),
            Kind::Int | Kind::Float => self.check_number(&value, field, path),
            _ => {}
        }
        if let Value::List(choices) = &field.choices
            && !choices.contains(&value)
        {
            let problem = format!("must be one of: {}", repr(&field.choices));
            self.report(path, "choices", &problem, value.clone(), field.choices.clone());
        }
        match (&value, &field.properties, &field.items) {
            (Value::Map(map), Some(properties), _) => {
                let mut result = self.members(map, properties, &format!("{path}."));
                for (key, value) in map.iter() {
                    if !properties.iter().any(|(name, _)| name == key) {
                        result.insert(key.clone(), value.clone());
                    }
                }
                Value::map(result)
            }
            (Value::List(items), _, Some(field)) => {
                let mut result = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    result.push(self.value(item, field, &format!("{path}[{index}]")));
                }
                Value::List(Arc::new(result))
            }
            _ => value,
        }
    }

    fn check_number(&mut self, value: &Value, field: &Field, path: &str) {
        if compare(value, &field.min).is_some_and(|order| order.is_lt()) {
            let problem = format!("must be at least {}", text(&field.min));
            self.report(path, "min", &problem, value.clone(), field.min.clone());
        }
        if compare(value, &field.max).is_some_and(|order| order.is_gt()) {
            let problem = format!("must be at most {}", text(&field.max));
            self.report(path, "max", &problem, value.clone(), field.max.clone());
        }
    }

    fn check_text(&mut self, value: &Value, field: &Field, path: &str) {
        let subject = value.as_str().unwrap_or_default();
        let length = Value::int(subject.chars().count());
        if compare(&length, &field.min_length).is_some_and(|order| order.is_lt()) {
            let problem = format!("must have at least {} character(s)", text(&field.min_length));
            self.report(path, "min_length", &problem, value.clone(), field.min_length.clone());
        }
        if compare(&length, &field.max_length).is_some_and(|order| order.is_gt()) {
            let problem = format!("must have at most {} character(s)", text(&field.max_length));
            self.report(path, "max_length", &problem, value.clone(), field.max_length.clone());
        }
        let matched = match &field.compiled {
            None => return,
            Some(Ok(pattern)) => pattern.matches_start(subject),
            Some(Err(error)) => Err(error.clone()),
        };
        match matched {
            Ok(true) => {}
            Ok(false) => {
                let problem = format!("must match pattern: {}", text(&field.pattern));
                self.report(path, "pattern", &problem, value.clone(), field.pattern.clone());
            }
            Err(error) => {
                self.report(path, "pattern", "", Value::Null, field.pattern.clone());
                if let Some(detail) = self.details.last_mut() {
                    detail.message = format!("Invalid regex pattern for '{path}': {error}");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::json::{Style, dumps, loads};

    fn schema(json: &str) -> InputSchema {
        InputSchema::from_value(&loads(json).unwrap()).unwrap()
    }

    fn checked(config: &str, data: &str) -> String {
        let data = loads(data).unwrap();
        let value = match schema(config).validate(data.as_map().unwrap()) {
            Ok(map) => Value::map(map),
            Err(details) => Value::list(details.iter().map(Detail::to_value).collect()),
        };
        dumps(&value, &Style { compact: true, ..Style::default() }, None).unwrap()
    }

    /// yaml/IV-3, yaml/IV-4, yaml/IV-5: the converted values
    #[test]
    fn conversion() {
        for (config, data, wanted) in [
            (r#"{"a": {"type": "int"}}"#, r#"{"a": " 42 ", "z": 1}"#, r#"{"a":42}"#),
            (r#"{"a": {"type": "int"}}"#, r#"{"a": 7.0}"#, r#"{"a":7}"#),
            (r#"{"a": {"type": "int"}}"#, r#"{"a": 1e30}"#, r#"{"a":1000000000000000019884624838656}"#),
            (r#"{"a": {"type": "int"}}"#, r#"{"a": true}"#, r#"{"a":true}"#),
            (r#"{"a": {"type": "float"}}"#, r#"{"a": true}"#, r#"{"a":1.0}"#),
            (r#"{"a": {"type": "float", "min": 0}}"#, r#"{"a": "nan"}"#, r#"{"a":NaN}"#),
            (r#"{"a": {"type": "bool"}}"#, r#"{"a": "YES"}"#, r#"{"a":true}"#),
            (r#"{"a": {"type": "str"}}"#, r#"{"a": 1.0}"#, r#"{"a":"1.0"}"#),
            (r#"{"a": {"type": "str"}}"#, r#"{"a": false}"#, r#"{"a":"False"}"#),
            (r#"{"a": {"type": "int", "default": "x"}}"#, r#"{"a": null}"#, r#"{"a":"x"}"#),
            (r#"{"a": {"type": "dict", "properties": {"b": {"type": "int", "default": 1}}}}"#, "{}", "{}"),
            (
                r#"{"a": {"type": "dict", "properties": {"b": {"type": "int", "default": 1}}}}"#,
                r#"{"a": {"z": 2, "b": "3"}}"#,
                r#"{"a":{"b":3,"z":2}}"#,
            ),
            (
                r#"{"a": {"type": "list", "items": {"type": "int"}}}"#,
                r#"{"a": ["1", null]}"#,
                r#"{"a":[1,null]}"#,
            ),
        ] {
            assert_eq!(checked(config, data), wanted, "{config} {data}");
        }
    }

    /// yaml/IV-4, yaml/IV-5, yaml/IV-6, yaml/IV-7, yaml/IV-8: every error with its members, in order
    #[test]
    fn errors() {
        for (config, data, wanted) in [
            (
                r#"{"a": {"type": "str", "required": true, "default": "x"}}"#,
                "{}",
                r#"[{"field":"a","error":"required","message":"Field 'a' is required"}]"#,
            ),
            (
                r#"{"a": {"type": "int"}}"#,
                r#"{"a": "7.0"}"#,
                r#"[{"field":"a","error":"type","message":"Field 'a' must be int","value":"7.0","expected":"int"}]"#,
            ),
            (
                r#"{"a": {"type": "int"}}"#,
                r#"{"a": Infinity}"#,
                r#"[{"field":"a","error":"type","message":"Field 'a' must be int","value":Infinity,"expected":"int"}]"#,
            ),
            (
                r#"{"a": {"type": "str", "min_length": 3, "pattern": "x", "choices": ["b", 1]}}"#,
                r#"{"a": "é"}"#,
                concat!(
                    r#"[{"field":"a","error":"min_length","message":"Field 'a' must have at least 3 character(s)","value":"\u00e9","constraint":3},"#,
                    r#"{"field":"a","error":"pattern","message":"Field 'a' must match pattern: x","value":"\u00e9","constraint":"x"},"#,
                    r#"{"field":"a","error":"choices","message":"Field 'a' must be one of: ['b', 1]","value":"\u00e9","constraint":["b",1]}]"#
                ),
            ),
            (
                r#"{"a": {"type": "list", "items": {"type": "dict", "properties": {"n": {"type": "float", "max": 0.5}}}}}"#,
                r#"{"a": [{"n": 1}]}"#,
                r#"[{"field":"a[0].n","error":"max","message":"Field 'a[0].n' must be at most 0.5","value":1.0,"constraint":0.5}]"#,
            ),
        ] {
            assert_eq!(checked(config, data), wanted, "{config} {data}");
        }
        let bad = checked(r#"{"a": {"type": "str", "pattern": "("}}"#, r#"{"a": "x"}"#);
        assert!(
            bad.contains("Invalid regex pattern for 'a': ") && bad.contains(r#""constraint":"(""#),
            "{bad}"
        );
        assert!(!bad.contains("value"), "{bad}");
    }

    /// yaml/IV-6: a choice is found by equality
    #[test]
    fn true_is_a_choice_of_one() {
        assert_eq!(checked(r#"{"a": {"type": "int", "choices": [1]}}"#, r#"{"a": true}"#), r#"{"a":true}"#);
    }

    /// yaml/IV-1, yaml/IV-2
    #[test]
    fn schemas_that_make_no_sense() {
        for (config, class, part) in [
            (r#"{"a": {"type": "string"}}"#, "ValueError", "Invalid type 'string'. Must be one of: "),
            (r#"{"a": {}}"#, "TypeError", "'type'"),
            (r#"{"a": {"type": "str", "why": 1}}"#, "TypeError", "'why'"),
            (r#"{"a": 1}"#, "ValueError", "Invalid schema config for 'a': must be dict or InputSchemaField"),
            (
                r#"{"a": {"type": "dict", "properties": {"p": 1}}}"#,
                "ValueError",
                "Invalid property config for 'p': must be dict or InputSchemaField",
            ),
            (
                r#"{"a": {"type": "list", "items": 1}}"#,
                "ValueError",
                "Invalid items config: must be dict or InputSchemaField",
            ),
            ("[]", "ValueError", "must be a mapping"),
        ] {
            let error = InputSchema::from_value(&loads(config).unwrap()).unwrap_err();
            assert_eq!(error.class, class, "{config}");
            assert!(error.message.contains(part), "{config}: {error}");
        }
    }
}
