//! Order of values, as Python's `<` has it.

use std::cmp::Ordering;

use crate::value::{Value, compare_numbers};

/// The order of two values; `None` where Python raises `TypeError`, and where one is NaN.
pub fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => Some(a.cmp(b)),
        (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            match a.iter().zip(b.iter()).find(|(a, b)| a != b) {
                Some((a, b)) => compare(a, b),
                None => Some(a.len().cmp(&b.len())),
            }
        }
        (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
        _ => compare_numbers(a, b),
    }
}

/// A total order for sorting numbers among each other, or texts: NaN comes last.
pub fn total(a: &Value, b: &Value) -> Ordering {
    let nan = |value: &Value| matches!(value, Value::Float(float) if float.is_nan());
    compare(a, b).unwrap_or_else(|| nan(a).cmp(&nan(b)))
}
