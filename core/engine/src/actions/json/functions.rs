//! The functions of JMESPath.

use std::cmp::Ordering;

use jmespath::ast::Ast;
use num_bigint::BigInt;
use num_traits::{FromPrimitive, ToPrimitive};

use super::jmespath::{equal, evaluate, order};
use super::write::{Style, dumps};
use crate::actions::order::total;
use crate::value::{Map, Value};

/// Names, with the least and the most number of arguments.
const FUNCTIONS: &[(&str, usize, usize)] = &[
    ("abs", 1, 1),
    ("avg", 1, 1),
    ("ceil", 1, 1),
    ("contains", 2, 2),
    ("ends_with", 2, 2),
    ("floor", 1, 1),
    ("join", 2, 2),
    ("keys", 1, 1),
    ("length", 1, 1),
    ("map", 2, 2),
    ("max", 1, 1),
    ("max_by", 2, 2),
    ("merge", 1, usize::MAX),
    ("min", 1, 1),
    ("min_by", 2, 2),
    ("not_null", 1, usize::MAX),
    ("reverse", 1, 1),
    ("sort", 1, 1),
    ("sort_by", 2, 2),
    ("starts_with", 2, 2),
    ("sum", 1, 1),
    ("to_array", 1, 1),
    ("to_number", 1, 1),
    ("to_string", 1, 1),
    ("type", 1, 1),
    ("values", 1, 1),
];

/// Calls a function on its unevaluated arguments.
pub(super) fn call(name: &str, arguments: &[Ast], data: &Value) -> Result<Value, String> {
    let Some((_, least, most)) = FUNCTIONS.iter().find(|(known, _, _)| *known == name) else {
        return Err(format!("Unknown function: {name}()"));
    };
    if !(*least..=*most).contains(&arguments.len()) {
        let more = if *most > *least { "at least " } else { "" };
        return Err(format!("{name}() takes {more}{least} argument(s), {} given", arguments.len()));
    }
    let call = Call { name, arguments, data };
    match name {
        "max_by" => call.extreme_by(0, 1, Ordering::Greater),
        "min_by" => call.extreme_by(0, 1, Ordering::Less),
        "sort_by" => call.sort_by(),
        "map" => call.map(),
        _ => call.plain(),
    }
}

struct Call<'c> {
    name: &'c str,
    arguments: &'c [Ast],
    data: &'c Value,
}

impl Call<'_> {
    fn value(&self, index: usize) -> Result<Value, String> {
        self.arguments.get(index).map_or(Ok(Value::Null), |argument| evaluate(argument, self.data))
    }

    fn wrong<T>(&self, expected: &str, given: &Value) -> Result<T, String> {
        Err(format!(
            "In function {}(), invalid type for value: {}, expected one of: {expected}, received: \"{}\"",
            self.name,
            crate::value::repr(given),
            type_name(given)
        ))
    }

    fn list(&self, index: usize) -> Result<Vec<Value>, String> {
        let value = self.value(index)?;
        match value.as_list() {
            Some(items) => Ok(items.to_vec()),
            None => self.wrong("['array']", &value),
        }
    }

    fn text(&self, index: usize) -> Result<std::sync::Arc<str>, String> {
        match self.value(index)? {
            Value::Str(text) => Ok(text),
            other => self.wrong("['string']", &other),
        }
    }

    fn object(&self, index: usize) -> Result<std::sync::Arc<Map>, String> {
        match self.value(index)? {
            Value::Map(map) => Ok(map),
            other => self.wrong("['object']", &other),
        }
    }

    /// A list of numbers only.
    fn numbers(&self, index: usize) -> Result<Vec<Value>, String> {
        let items = self.list(index)?;
        match items.iter().find(|item| !is_number(item)) {
            Some(other) => self.wrong("['array-number']", other),
            None => Ok(items),
        }
    }

    /// A list whose elements have an order: numbers only or texts only.
    fn ordered(&self, items: Vec<Value>) -> Result<Vec<Value>, String> {
        let numbers = items.first().is_none_or(is_number);
        let fits = |item: &Value| if numbers { is_number(item) } else { item.as_str().is_some() };
        match items.iter().find(|item| !fits(item)) {
            Some(other) => self.wrong("['array-string', 'array-number']", other),
            None => Ok(items),
        }
    }

    /// The list, and what the expression argument gives for each of its elements.
    fn keyed(&self, list: usize, expression: usize) -> Result<Vec<(Value, Value)>, String> {
        let items = self.list(list)?;
        let ast = self.expression(expression)?;
        let keys = items.iter().map(|item| evaluate(ast, item)).collect::<Result<Vec<_>, _>>()?;
        let keys = self.ordered(keys)?;
        Ok(keys.into_iter().zip(items).collect())
    }

    fn expression(&self, index: usize) -> Result<&Ast, String> {
        match self.arguments.get(index) {
            Some(Ast::Expref { ast, .. }) => Ok(ast),
            _ => Err(format!("In function {}(), an expression (&name) is expected", self.name)),
        }
    }

    fn extreme_by(&self, list: usize, expression: usize, wanted: Ordering) -> Result<Value, String> {
        let mut best: Option<(Value, Value)> = None;
        for (key, item) in self.keyed(list, expression)? {
            if best.as_ref().is_none_or(|(so_far, _)| order(&key, so_far) == Some(wanted)) {
                best = Some((key, item));
            }
        }
        Ok(best.map_or(Value::Null, |(_, item)| item))
    }

    fn sort_by(&self) -> Result<Value, String> {
        let mut pairs = self.keyed(0, 1)?;
        pairs.sort_by(|(a, _), (b, _)| total(a, b));
        Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
    }

    fn map(&self) -> Result<Value, String> {
        let ast = self.expression(0)?;
        Ok(Value::list(self.list(1)?.iter().map(|item| evaluate(ast, item)).collect::<Result<_, _>>()?))
    }

    fn extreme(&self, wanted: Ordering) -> Result<Value, String> {
        let items = self.ordered(self.list(0)?)?;
        let better = |a: Value, b: Value| if order(&b, &a) == Some(wanted) { b } else { a };
        Ok(items.into_iter().reduce(better).unwrap_or_default())
    }

    fn round(&self, round: fn(f64) -> f64) -> Result<Value, String> {
        match self.value(0)? {
            value @ (Value::Int(_) | Value::BigInt(_)) => Ok(value),
            Value::Float(float) => Ok(BigInt::from_f64(round(float)).map_or(Value::Float(float), Value::int)),
            other => self.wrong("['number']", &other),
        }
    }

    fn plain(&self) -> Result<Value, String> {
        Ok(match self.name {
            "abs" => match self.value(0)? {
                Value::Float(float) => Value::Float(float.abs()),
                value => match integer(&value) {
                    Some(number) => Value::int(BigInt::from(number.magnitude().clone())),
                    None => return self.wrong("['number']", &value),
                },
            },
            "ceil" => self.round(f64::ceil)?,
            "floor" => self.round(f64::floor)?,
            "sum" => sum(&self.numbers(0)?),
            "avg" => {
                let items = self.numbers(0)?;
                let count = items.len().to_f64().unwrap_or(f64::NAN);
                if items.is_empty() { Value::Null } else { Value::Float(float(&sum(&items)) / count) }
            }
            "contains" => {
                let (subject, item) = (self.value(0)?, self.value(1)?);
                Value::Bool(match (&subject, &item) {
                    (Value::Str(text), Value::Str(part)) => text.contains(&**part),
                    (Value::Str(_), _) => false,
                    (Value::List(items) | Value::Tuple(items), item) => {
                        items.iter().any(|known| equal(known, item))
                    }
                    _ => return self.wrong("['array', 'string']", &subject),
                })
            }
            "starts_with" => Value::Bool(self.text(0)?.starts_with(&*self.text(1)?)),
            "ends_with" => Value::Bool(self.text(0)?.ends_with(&*self.text(1)?)),
            "join" => {
                let (glue, items) = (self.text(0)?, self.list(1)?);
                let mut texts = Vec::with_capacity(items.len());
                for item in &items {
                    match item.as_str() {
                        Some(text) => texts.push(text),
                        None => return self.wrong("['array-string']", item),
                    }
                }
                Value::from(texts.join(&glue))
            }
            "keys" => Value::list(self.object(0)?.keys().map(|key| key.value().clone()).collect()),
            "values" => Value::list(self.object(0)?.values().cloned().collect()),
            "merge" => {
                let mut merged = Map::new();
                for index in 0..self.arguments.len() {
                    let map = self.object(index)?;
                    merged.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
                }
                Value::map(merged)
            }
            "length" => {
                let value = self.value(0)?;
                let length = match &value {
                    Value::Str(text) => text.chars().count(),
                    Value::List(items) | Value::Tuple(items) => items.len(),
                    Value::Map(map) => map.len(),
                    other => return self.wrong("['string', 'array', 'object']", other),
                };
                Value::int(length)
            }
            "max" => self.extreme(Ordering::Greater)?,
            "min" => self.extreme(Ordering::Less)?,
            "not_null" => {
                for index in 0..self.arguments.len() {
                    let value = self.value(index)?;
                    if !matches!(value, Value::Null) {
                        return Ok(value);
                    }
                }
                Value::Null
            }
            "reverse" => {
                let value = self.value(0)?;
                match &value {
                    Value::Str(text) => Value::from(text.chars().rev().collect::<String>()),
                    Value::List(items) | Value::Tuple(items) => {
                        Value::list(items.iter().rev().cloned().collect())
                    }
                    other => return self.wrong("['array', 'string']", other),
                }
            }
            "sort" => {
                let mut items = self.ordered(self.list(0)?)?;
                items.sort_by(total);
                Value::list(items)
            }
            "to_array" => match self.value(0)? {
                value @ Value::List(_) => value,
                other => Value::list(vec![other]),
            },
            "to_number" => match self.value(0)? {
                value @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_)) => value,
                Value::Str(text) => crate::schema::number::number(&text).unwrap_or_default(),
                _ => Value::Null,
            },
            "to_string" => match self.value(0)? {
                value @ Value::Str(_) => value,
                other => Value::from(dumps(&other, &Style { compact: true, ..Style::default() }, None)?),
            },
            "type" => Value::from(type_name(&self.value(0)?)),
            other => return Err(format!("Unknown function: {other}()")),
        })
    }
}

fn is_number(value: &Value) -> bool {
    matches!(value, Value::Int(_) | Value::BigInt(_) | Value::Float(_))
}

fn integer(value: &Value) -> Option<BigInt> {
    match value {
        Value::Int(number) => Some(BigInt::from(*number)),
        Value::BigInt(number) => Some(BigInt::clone(number)),
        _ => None,
    }
}

fn float(value: &Value) -> f64 {
    match value {
        Value::Float(float) => *float,
        other => integer(other).and_then(|number| number.to_f64()).unwrap_or(f64::NAN),
    }
}

fn sum(items: &[Value]) -> Value {
    let integers: Option<BigInt> = items.iter().map(integer).sum();
    match integers {
        Some(total) => Value::int(total),
        None => Value::Float(items.iter().map(float).sum()),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => "number",
        Value::Str(_) => "string",
        Value::List(_) | Value::Tuple(_) => "array",
        Value::Map(_) => "object",
        other => other.type_name(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::jmespath::search;
    use super::super::read::loads;
    use super::*;

    /// actions/JS-12: expected values are those of the Python package `jmespath`
    #[test]
    fn functions() {
        let data =
            loads(r#"{"n": [3, 1, 2], "p": [{"k": "b", "v": 2}, {"k": "a", "v": 1}], "e": []}"#).unwrap();
        for (expression, result) in [
            ("abs(`-5`)", "5"),
            ("abs(`-5.5`)", "5.5"),
            ("avg(n)", "2.0"),
            ("avg(e)", "null"),
            ("ceil(`1.2`)", "2"),
            ("floor(`-1.2`)", "-2"),
            ("contains(n, `2`)", "true"),
            ("contains('abc', 'b')", "true"),
            ("starts_with('abc', 'ab')", "true"),
            ("ends_with('abc', 'ab')", "false"),
            ("join('-', p[].k)", "\"b-a\""),
            ("keys(p[0])", "[\"k\", \"v\"]"),
            ("values(p[0])", "[\"b\", 2]"),
            ("length('é🙂')", "2"),
            ("length(n)", "3"),
            ("map(&v, p)", "[2, 1]"),
            ("max(n)", "3"),
            ("min(p[].k)", "\"a\""),
            ("max(e)", "null"),
            ("max_by(p, &v).k", "\"b\""),
            ("min_by(p, &k).v", "1"),
            ("merge(p[0], `{\"v\": 9, \"w\": 1}`)", "{\"k\": \"b\", \"v\": 9, \"w\": 1}"),
            ("not_null(nope, e)", "[]"),
            ("reverse('abc')", "\"cba\""),
            ("reverse(n)", "[2, 1, 3]"),
            ("sort(n)", "[1, 2, 3]"),
            ("sort_by(p, &k)[].v", "[1, 2]"),
            ("sum(n)", "6"),
            ("to_array('a')", "[\"a\"]"),
            ("to_number('1.5')", "1.5"),
            ("to_number('7')", "7"),
            ("to_number('x')", "null"),
            ("to_string(p[0])", "\"{\\\"k\\\":\\\"b\\\",\\\"v\\\":2}\""),
            ("type(n)", "\"array\""),
        ] {
            let value = search(expression, &data).unwrap_or_else(|error| panic!("{expression}: {error}"));
            assert_eq!(dumps(&value, &Style::default(), None).unwrap(), result, "{expression}");
        }
        for wrong in ["sort_by(p, &nope)", "length(`1`)", "abs()", "max_by(n, v)", "join('', n)"] {
            assert!(search(wrong, &data).is_err(), "{wrong}");
        }
    }
}
