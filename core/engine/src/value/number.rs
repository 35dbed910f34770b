//! Numbers as Python compares them: booleans are integers, integers have any size, and an integer is
//! compared with a float by value, not after rounding.

use std::cmp::Ordering;
use std::sync::Arc;

use num_bigint::BigInt;
use num_traits::{FromPrimitive, ToPrimitive};

use super::Value;

/// The smallest form of an integer: [`Value::Int`] where it fits, else [`Value::BigInt`].
pub fn int_from_big(value: BigInt) -> Value {
    match value.to_i64() {
        Some(small) => Value::Int(small),
        None => Value::BigInt(Arc::new(value)),
    }
}

/// Compares two numbers; `None` if one of them is not a number, or is NaN.
pub fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Float(x), Value::Float(y)) => x.partial_cmp(y),
        (Value::Float(x), other) => compare_float_int(*x, other),
        (other, Value::Float(y)) => compare_float_int(*y, other).map(Ordering::reverse),
        (Value::BigInt(x), Value::BigInt(y)) => Some(x.cmp(y)),
        (Value::BigInt(x), other) => small(other).map(|_| big_sign(x)),
        (other, Value::BigInt(y)) => small(other).map(|_| big_sign(y).reverse()),
        (x, y) => Some(small(x)?.cmp(&small(y)?)),
    }
}

/// A value that fits no `i64` is greater than each of them, or less than each.
fn big_sign(value: &BigInt) -> Ordering {
    value.sign().cmp(&num_bigint::Sign::NoSign)
}

fn small(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(flag) => Some(i64::from(*flag)),
        Value::Int(number) => Some(*number),
        _ => None,
    }
}

fn compare_float_int(float: f64, int: &Value) -> Option<Ordering> {
    let big;
    let int = match int {
        Value::BigInt(value) => &**value,
        other => {
            big = BigInt::from(small(other)?);
            &big
        }
    };
    if float.is_nan() {
        return None;
    }
    if float.is_infinite() {
        return Some(if float > 0.0 { Ordering::Greater } else { Ordering::Less });
    }
    let whole = BigInt::from_f64(float.trunc())?;
    Some(whole.cmp(int).then_with(|| float.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal)))
}
