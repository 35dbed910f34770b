//! Arithmetic of numbers, as Python does it.

use num_bigint::{BigInt, Sign};
use num_integer::Integer;
use num_traits::{FromPrimitive, Pow, Signed, ToPrimitive, Zero};

use super::val::{R, Val, failure, type_error};
use crate::template::parse::ast::Binary;
use crate::value::{Value, int_from_big};

/// Bits that an integer may have.
const MAX_BITS: u64 = 1 << 20;

/// A number, booleans being integers.
pub(super) enum Number {
    Int(i64),
    Big(BigInt),
    Float(f64),
}

pub(super) fn number(value: &Val) -> Option<Number> {
    Some(match value {
        Val::V(Value::Int(number)) => Number::Int(*number),
        Val::V(Value::Bool(flag)) => Number::Int(i64::from(*flag)),
        Val::V(Value::Float(float)) => Number::Float(*float),
        Val::V(Value::BigInt(big)) => Number::Big((**big).clone()),
        _ => return None,
    })
}

impl Number {
    fn big(&self) -> BigInt {
        match self {
            Number::Int(number) => BigInt::from(*number),
            Number::Big(big) => big.clone(),
            Number::Float(_) => BigInt::ZERO,
        }
    }

    fn float(&self) -> R<f64> {
        match self {
            Number::Float(float) => Ok(*float),
            Number::Int(number) => Ok(*number as f64),
            Number::Big(big) => match big.to_f64() {
                Some(float) if float.is_finite() => Ok(float),
                _ => failure("OverflowError", "int too large to convert to float"),
            },
        }
    }
}

pub(super) fn symbol(op: Binary) -> &'static str {
    match op {
        Binary::Add => "+",
        Binary::Sub => "-",
        Binary::Mul => "*",
        Binary::Div => "/",
        Binary::FloorDiv => "//",
        Binary::Mod => "%",
        Binary::Pow => "** or pow()",
    }
}

pub(super) fn arithmetic(op: Binary, a: &Number, b: &Number) -> R<Val> {
    if let (Number::Int(x), Number::Int(y)) = (a, b) {
        let small = match op {
            Binary::Add => x.checked_add(*y),
            Binary::Sub => x.checked_sub(*y),
            Binary::Mul => x.checked_mul(*y),
            Binary::FloorDiv if *y > 0 => Some(x.div_euclid(*y)),
            Binary::Mod if *y > 0 => Some(x.rem_euclid(*y)),
            _ => None,
        };
        if let Some(number) = small {
            return Ok(Val::int(number));
        }
    }
    if let (Number::Float(_), _) | (_, Number::Float(_)) = (a, b) {
        return float_arithmetic(op, a.float()?, b.float()?).map(|float| Val::V(Value::Float(float)));
    }
    if op == Binary::Div {
        return quotient(a, b).map(|float| Val::V(Value::Float(float)));
    }
    let (x, y) = (a.big(), b.big());
    Ok(Val::V(int_from_big(match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => {
            if x.bits() + y.bits() > MAX_BITS {
                return too_large();
            }
            x * y
        }
        Binary::FloorDiv | Binary::Mod if y.is_zero() => {
            return failure(
                "ZeroDivisionError",
                if op == Binary::Mod {
                    "integer modulo by zero"
                } else {
                    "integer division or modulo by zero"
                },
            );
        }
        Binary::FloorDiv => x.div_floor(&y),
        Binary::Mod => x.mod_floor(&y),
        Binary::Pow | Binary::Div => return power(&x, &y),
    })))
}

fn too_large<T>() -> R<T> {
    failure("OverflowError", format!("an integer of more than {MAX_BITS} bits"))
}

fn power(x: &BigInt, y: &BigInt) -> R<Val> {
    if y.is_negative() {
        if x.is_zero() {
            return failure("ZeroDivisionError", "0.0 cannot be raised to a negative power");
        }
        let (x, y) = (Number::Big(x.clone()).float()?, Number::Big(y.clone()).float()?);
        return Ok(Val::V(Value::Float(x.powf(y))));
    }
    let small = x.bits() <= 1;
    let exponent = match y.to_u64() {
        Some(exponent) => exponent,
        None if small => u64::from(y.is_odd()),
        None => return too_large(),
    };
    // Powers of 0, 1 and -1 have no size, whatever the exponent.
    let exponent = if small && exponent > 2 { 2 - (exponent & 1) } else { exponent };
    if x.bits().saturating_mul(exponent) > MAX_BITS {
        return too_large();
    }
    Ok(Val::V(int_from_big(Pow::pow(x, exponent))))
}

/// Integer true division, correctly rounded.
fn quotient(a: &Number, b: &Number) -> R<f64> {
    let (x, y) = (a.big(), b.big());
    if y.is_zero() {
        return failure("ZeroDivisionError", "division by zero");
    }
    const EXACT: i64 = 1 << 53;
    if let (Number::Int(x), Number::Int(y)) = (a, b)
        && (-EXACT..=EXACT).contains(x)
        && (-EXACT..=EXACT).contains(y)
    {
        return Ok(*x as f64 / *y as f64);
    }
    // Scaled so that the quotient has at least 66 bits; a sticky bit keeps the rounding right.
    let shift = 66 + i64::try_from(y.bits()).unwrap_or(0) - i64::try_from(x.bits()).unwrap_or(0);
    let (numerator, denominator) = if shift > 0 {
        (x.abs() << shift.unsigned_abs(), y.abs())
    } else {
        (x.abs(), y.abs() << shift.unsigned_abs())
    };
    let (mut whole, rest) = numerator.div_rem(&denominator);
    if !rest.is_zero() && whole.is_even() {
        whole += 1;
    }
    let negative = (x.sign() == Sign::Minus) != (y.sign() == Sign::Minus);
    let magnitude = whole.to_f64().unwrap_or(f64::INFINITY);
    let scaled = scale(magnitude, -shift);
    if scaled.is_infinite() {
        return failure("OverflowError", "integer division result too large for a float");
    }
    Ok(if negative { -scaled } else { scaled })
}

fn scale(mut float: f64, mut exponent: i64) -> f64 {
    while exponent > 0 && float.is_finite() {
        let part = exponent.min(1000);
        float *= 2.0_f64.powi(i32::try_from(part).unwrap_or(0));
        exponent -= part;
    }
    while exponent < 0 && float != 0.0 {
        let part = exponent.max(-1000);
        float *= 2.0_f64.powi(i32::try_from(part).unwrap_or(0));
        exponent -= part;
    }
    float
}

fn float_arithmetic(op: Binary, x: f64, y: f64) -> R<f64> {
    Ok(match op {
        Binary::Add => x + y,
        Binary::Sub => x - y,
        Binary::Mul => x * y,
        Binary::Div | Binary::FloorDiv | Binary::Mod if y == 0.0 => {
            return failure(
                "ZeroDivisionError",
                match op {
                    Binary::Mod => "float modulo by zero",
                    Binary::FloorDiv => "float floor division by zero",
                    _ => "float division by zero",
                },
            );
        }
        Binary::Div => x / y,
        Binary::Mod => remainder(x, y),
        Binary::FloorDiv => {
            let rest = remainder(x, y);
            let quotient = (x - rest) / y;
            if quotient == 0.0 {
                0.0_f64.copysign(x / y)
            } else {
                let floor = quotient.floor();
                if quotient - floor > 0.5 { floor + 1.0 } else { floor }
            }
        }
        Binary::Pow => {
            if x == 0.0 && y < 0.0 {
                return failure("ZeroDivisionError", "0.0 cannot be raised to a negative power");
            }
            if x < 0.0 && x.is_finite() && y.is_finite() && y.fract() != 0.0 {
                return type_error("complex numbers are not supported");
            }
            let result = x.powf(y);
            if result.is_infinite() && x.is_finite() && y.is_finite() {
                return failure("OverflowError", "(34, 'Numerical result out of range')");
            }
            result
        }
    })
}

/// Python's `%` of floats: the sign of the divisor.
fn remainder(x: f64, y: f64) -> f64 {
    let rest = x % y;
    if rest == 0.0 {
        0.0_f64.copysign(y)
    } else if (rest < 0.0) != (y < 0.0) {
        rest + y
    } else {
        rest
    }
}

/// The whole part of a float as an integer of any size.
pub(in crate::template) fn truncate(float: f64) -> R<Value> {
    if float.is_nan() {
        return super::val::value_error("cannot convert float NaN to integer");
    }
    match BigInt::from_f64(float.trunc()) {
        Some(big) => Ok(int_from_big(big)),
        None => failure("OverflowError", "cannot convert float infinity to integer"),
    }
}
