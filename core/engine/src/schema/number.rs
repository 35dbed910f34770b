//! Numbers from texts, by the rules of Python's `int` and `float`.

use num_bigint::BigInt;
use num_traits::{FromPrimitive, ToPrimitive};

use crate::value::Value;

/// Most digits of an integer, as Python limits them.
const MAX_DIGITS: usize = 4300;

/// `int(text)`: blanks around, a sign, digits, single underscores between digits.
pub fn integer(text: &str) -> Option<Value> {
    let text = text.trim();
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let plain = without_underscores(digits)?;
    if plain.is_empty() || plain.len() > MAX_DIGITS || !plain.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: BigInt = plain.parse().ok()?;
    Some(Value::int(if text.starts_with('-') { -number } else { number }))
}

/// `float(text)`: decimal and exponent forms, `inf`, `infinity` and `nan` in any case.
pub fn float(text: &str) -> Option<f64> {
    let text = text.trim();
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match unsigned.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let plain = without_underscores(unsigned)?;
    let number = plain.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    // Rust reads a second sign nowhere, so what it takes is what Python takes.
    if !number || plain.starts_with(['+', '-']) {
        return None;
    }
    plain.parse::<f64>().ok().map(|value| sign * value)
}

/// `int(text)`, or else `float(text)`.
pub fn number(text: &str) -> Option<Value> {
    integer(text).or_else(|| float(text).map(Value::Float))
}

/// The whole number that a float is; `None` for fractions, infinities and NaN.
pub fn from_float(float: f64) -> Option<Value> {
    if float.fract() == 0.0 { BigInt::from_f64(float).map(Value::int) } else { None }
}

/// `float(number)`; `None` for what is no number and for integers beyond the range of floats.
pub fn as_float(value: &Value) -> Option<f64> {
    match value {
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::Int(number) => number.to_f64(),
        Value::BigInt(number) => number.to_f64().filter(|float| float.is_finite()),
        Value::Float(float) => Some(*float),
        _ => None,
    }
}

/// The digits without underscores; `None` where one does not stand between two digits.
fn without_underscores(text: &str) -> Option<String> {
    if !text.contains('_') {
        return Some(text.to_owned());
    }
    let bytes = text.as_bytes();
    for (at, _) in text.match_indices('_') {
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        if !digit(at.checked_sub(1)) || !digit(Some(at + 1)) {
            return None;
        }
    }
    Some(text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_as_python_reads_them() {
        for (text, number) in [(" 42 ", Some(42)), ("-3", Some(-3)), ("+1_000", Some(1000)), ("007", Some(7))]
        {
            assert_eq!(integer(text), number.map(Value::Int), "{text}");
        }
        for text in ["", "7.0", "1__0", "_1", "1_", "0x1", "--1", "1 2"] {
            assert_eq!(integer(text), None, "{text}");
        }
    }

    #[test]
    fn floats_as_python_reads_them() {
        for (text, number) in
            [("1e3", 1000.0), (" -.5 ", -0.5), ("1_0.5", 10.5), ("5.", 5.0), ("-inf", f64::NEG_INFINITY)]
        {
            assert_eq!(float(text), Some(number), "{text}");
        }
        assert!(float("NaN").is_some_and(f64::is_nan));
        for text in ["", ".", "e3", "1e", "+-1", "1_.0", "0x1p3", "infinit"] {
            assert_eq!(float(text), None, "{text}");
        }
    }
}
