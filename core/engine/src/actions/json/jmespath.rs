//! JMESPath over the engine's values. The expression is parsed by the crate `jmespath`; it is evaluated here, because
//! that crate's own values lose the order of maps and integers beyond 64 bits.

use std::cmp::Ordering;

use jmespath::ast::{Ast, Comparator};
use num_traits::ToPrimitive;

use super::functions;
use super::read::loads;
use crate::value::{Map, Value, compare_numbers};

/// Most operators of an expression. The parser is recursive: without a bound it could exhaust the stack.
const MAX_OPERATORS: usize = 256;

/// What `expression` finds in `data`. The error is a text for people.
pub fn search(expression: &str, data: &Value) -> Result<Value, String> {
    if operators(expression) > MAX_OPERATORS {
        return Err(format!("the expression has more than {MAX_OPERATORS} operators"));
    }
    let ast = jmespath::parse(expression).map_err(|error| {
        let reason = match &error.reason {
            jmespath::ErrorReason::Parse(reason) => reason.clone(),
            jmespath::ErrorReason::Runtime(reason) => reason.to_string(),
        };
        format!("{reason} (line {}, column {}): {expression}", error.line + 1, error.column + 1)
    })?;
    evaluate(&ast, data)
}

/// How many characters outside of quotes could open a level of the parser.
fn operators(expression: &str) -> usize {
    let mut count = 0;
    let mut quote = None;
    let mut escaped = false;
    for character in expression.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if character == open => quote = None,
            Some(_) => {}
            None => match character {
                '\'' | '"' | '`' => quote = Some(character),
                '(' | '[' | '{' | '!' | '&' | '.' | '|' | '<' | '>' | '=' => count += 1,
                _ => {}
            },
        }
    }
    count
}

/// JMESPath's truth: null, false and empty texts and containers are false, numbers are true.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Int(_) | Value::BigInt(_) | Value::Float(_) => true,
        other => other.is_truthy(),
    }
}

/// Equality: unlike in Python, a boolean is no number.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    matches!(a, Value::Bool(_)) == matches!(b, Value::Bool(_)) && a == b
}

/// The order of two numbers or two texts.
pub(super) fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Bool(_), _) | (_, Value::Bool(_)) => None,
        _ => compare_numbers(a, b),
    }
}

/// Evaluates a node of the expression.
pub(super) fn evaluate(ast: &Ast, data: &Value) -> Result<Value, String> {
    Ok(match ast {
        Ast::Identity { .. } => data.clone(),
        Ast::Field { name, .. } => {
            data.as_map().and_then(|map| map.get(name.as_str())).cloned().unwrap_or_default()
        }
        Ast::Subexpr { lhs, rhs, .. } => evaluate(rhs, &evaluate(lhs, data)?)?,
        Ast::Literal { value, .. } => loads(&value.to_string()).map_err(|fault| fault.to_string())?,
        Ast::Index { idx, .. } => data.as_list().map_or(Value::Null, |items| index(items, *idx)),
        Ast::Or { lhs, rhs, .. } => {
            let left = evaluate(lhs, data)?;
            if is_true(&left) { left } else { evaluate(rhs, data)? }
        }
        Ast::And { lhs, rhs, .. } => {
            let left = evaluate(lhs, data)?;
            if is_true(&left) { evaluate(rhs, data)? } else { left }
        }
        Ast::Not { node, .. } => Value::Bool(!is_true(&evaluate(node, data)?)),
        Ast::Condition { predicate, then, .. } => {
            if is_true(&evaluate(predicate, data)?) {
                evaluate(then, data)?
            } else {
                Value::Null
            }
        }
        Ast::Comparison { comparator, lhs, rhs, .. } => {
            let (left, right) = (evaluate(lhs, data)?, evaluate(rhs, data)?);
            let ordered = |wanted: fn(Ordering) -> bool| {
                order(&left, &right).map_or(Value::Null, |order| Value::Bool(wanted(order)))
            };
            match comparator {
                Comparator::Equal => Value::Bool(equal(&left, &right)),
                Comparator::NotEqual => Value::Bool(!equal(&left, &right)),
                Comparator::LessThan => ordered(Ordering::is_lt),
                Comparator::LessThanEqual => ordered(Ordering::is_le),
                Comparator::GreaterThan => ordered(Ordering::is_gt),
                Comparator::GreaterThanEqual => ordered(Ordering::is_ge),
            }
        }
        Ast::ObjectValues { node, .. } => match evaluate(node, data)? {
            Value::Map(map) => Value::list(map.values().cloned().collect()),
            _ => Value::Null,
        },
        Ast::Projection { lhs, rhs, .. } => {
            let left = evaluate(lhs, data)?;
            let Some(items) = left.as_list() else { return Ok(Value::Null) };
            let mut found = Vec::new();
            for item in items {
                let value = evaluate(rhs, item)?;
                if !matches!(value, Value::Null) {
                    found.push(value);
                }
            }
            Value::list(found)
        }
        Ast::Flatten { node, .. } => {
            let value = evaluate(node, data)?;
            let Some(items) = value.as_list() else { return Ok(Value::Null) };
            let mut flat = Vec::new();
            for item in items {
                match item.as_list() {
                    Some(inner) => flat.extend_from_slice(inner),
                    None => flat.push(item.clone()),
                }
            }
            Value::list(flat)
        }
        Ast::MultiList { .. } | Ast::MultiHash { .. } if matches!(data, Value::Null) => Value::Null,
        Ast::MultiList { elements, .. } => {
            Value::list(elements.iter().map(|element| evaluate(element, data)).collect::<Result<_, _>>()?)
        }
        Ast::MultiHash { elements, .. } => {
            let mut map = Map::with_capacity(elements.len());
            for pair in elements {
                map.insert(pair.key.as_str().into(), evaluate(&pair.value, data)?);
            }
            Value::map(map)
        }
        Ast::Function { name, args, .. } => functions::call(name, args, data)?,
        Ast::Expref { .. } => return Err("an expression reference (&) can only be an argument".to_owned()),
        Ast::Slice { start, stop, step, .. } => {
            let Some(items) = data.as_list() else { return Ok(Value::Null) };
            if *step == 0 {
                return Err("the step of a slice cannot be 0".to_owned());
            }
            Value::list(slice(items, start.map(i64::from), stop.map(i64::from), i64::from(*step)))
        }
    })
}

fn index(items: &[Value], index: i32) -> Value {
    let index = i64::from(index);
    let at = if index < 0 { index + items.len().to_i64().unwrap_or(i64::MAX) } else { index };
    usize::try_from(at).ok().and_then(|at| items.get(at)).cloned().unwrap_or_default()
}

/// Python's `items[start:stop:step]`; `step` is not 0.
pub(super) fn slice(items: &[Value], start: Option<i64>, stop: Option<i64>, step: i64) -> Vec<Value> {
    let length = items.len().to_i64().unwrap_or(i64::MAX);
    let (lowest, highest) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let bound = |given: Option<i64>, default: i64| match given {
        None => default,
        Some(at) if at < 0 => at.saturating_add(length).max(lowest),
        Some(at) => at.min(highest),
    };
    let (first, last) = if step < 0 { (highest, lowest) } else { (lowest, highest) };
    let (mut at, stop) = (bound(start, first), bound(stop, last));
    let mut found = Vec::new();
    while if step < 0 { at > stop } else { at < stop } {
        found.extend(usize::try_from(at).ok().and_then(|at| items.get(at)).cloned());
        at = at.saturating_add(step);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(expression: &str, data: &str) -> String {
        let data = loads(data).unwrap();
        match search(expression, &data) {
            Ok(value) => super::super::write::dumps(&value, &Default::default(), None).unwrap(),
            Err(error) => error,
        }
    }

    /// actions/JS-12: expected values are those of the Python package `jmespath`
    #[test]
    fn the_language() {
        let data = r#"{"p": [{"n": "b", "a": 2, "t": ["x", "y"]}, {"n": "a", "a": 1, "t": []}, {"n": "c"}],
            "z": {"y": 1, "x": 2}, "big": 123456789012345678901, "e": ""}"#;
        for (expression, result) in [
            ("p[*].n", r#"["b", "a", "c"]"#),
            ("p[?a > `1`].n", r#"["b"]"#),
            ("p[?a].n | [0]", r#""b""#),
            ("p[].t[]", r#"["x", "y"]"#),
            ("p[-1]", r#"{"n": "c"}"#),
            ("p[::-1].n", r#"["c", "a", "b"]"#),
            ("p[1:].n", r#"["a", "c"]"#),
            ("p[7]", "null"),
            ("z", r#"{"y": 1, "x": 2}"#),
            ("z.*", "[1, 2]"),
            ("{b: z.y, a: z.x}", r#"{"b": 1, "a": 2}"#),
            ("[z.y, nope]", "[1, null]"),
            ("big", "123456789012345678901"),
            ("nope.deeper[0]", "null"),
            ("e || z.y", "1"),
            ("e && z.y", "\"\""),
            ("!e", "true"),
            ("`0` || `1`", "0"),
            ("z.y == `1` && z.y != `true`", "true"),
            ("z < `1`", "null"),
            ("p[?n == 'a'] | [0].a", "1"),
            ("@.z.\"y\"", "1"),
        ] {
            assert_eq!(found(expression, data), result, "{expression}");
        }
    }

    /// actions/JS-11
    #[test]
    fn errors_say_what_and_where() {
        assert!(found("p[?", "{}").contains("line 1, column"), "{}", found("p[?", "{}"));
        assert!(found("nope(@)", "{}").contains("nope"));
        assert!(found("abs('x')", "{}").contains("abs"));
        assert!(found(&"!".repeat(100_000), "{}").contains("operators"));
        assert!(found("&a", "{}").contains("reference"));
    }
}
