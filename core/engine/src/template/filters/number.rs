//! Filters about numbers.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{Signed, ToPrimitive};

use super::Filter;
use crate::template::eval::Renderer;
use crate::template::eval::arithmetic::truncate;
use crate::template::eval::val::{Args, R, Val, failure, template_error, type_error};
use crate::template::methods::text::is_space;
use crate::template::parse::ast::Binary;
use crate::value::{Value, int_from_big};

impl Renderer<'_> {
    pub(super) fn number_filter(&mut self, filter: Filter, value: &Val, args: Args) -> R<Val> {
        if let Val::Undef(undefined) = value
            && !matches!(filter, Filter::Abs | Filter::Round)
        {
            return template_error(undefined.message());
        }
        match filter {
            Filter::Abs => {
                let [] = args.bind("abs", [], 0)?;
                match value {
                    Val::V(Value::Int(number)) => Ok(Val::V(int_from_big(BigInt::from(*number).abs()))),
                    Val::V(Value::Bool(flag)) => Ok(Val::int(i64::from(*flag))),
                    Val::V(Value::BigInt(big)) => Ok(Val::V(int_from_big(big.abs()))),
                    Val::V(Value::Float(float)) => Ok(Val::V(Value::Float(float.abs()))),
                    _ => type_error(format!("bad operand type for abs(): '{}'", self.type_name(value))),
                }
            }
            Filter::Int => {
                let [default, base] = args.bind("int", ["default", "base"], 0)?;
                let default = default.unwrap_or_else(|| Val::int(0));
                let base = self.integer(base, 10)?;
                self.int_filter(value, default, base)
            }
            Filter::Float => {
                let [default] = args.bind("float", ["default"], 0)?;
                match to_float(value)? {
                    Some(float) => Ok(Val::V(Value::Float(float))),
                    None => Ok(default.unwrap_or(Val::V(Value::Float(0.0)))),
                }
            }
            Filter::Round => self.round(value, args),
            _ => {
                let [binary] = args.bind("filesizeformat", ["binary"], 0)?;
                let binary = self.flag(binary, false)?;
                match to_float(value)? {
                    Some(bytes) => file_size(bytes, binary).map(Val::str),
                    None if value.text().is_some() => crate::template::eval::val::value_error(format!(
                        "could not convert string to float: {}",
                        crate::value::str_repr(value.text().unwrap_or_default())
                    )),
                    None => type_error(format!(
                        "float() argument must be a string or a real number, not '{}'",
                        self.type_name(value)
                    )),
                }
            }
        }
    }

    fn int_filter(&mut self, value: &Val, default: Val, base: i64) -> R<Val> {
        match value {
            Val::V(Value::Int(_) | Value::BigInt(_)) => Ok(value.clone()),
            Val::V(Value::Bool(flag)) => Ok(Val::int(i64::from(*flag))),
            Val::V(Value::Float(float)) if float.is_nan() => Ok(default),
            Val::V(Value::Float(float)) => truncate(*float).map(Val::V),
            _ => {
                let Some(text) = value.text() else { return Ok(default) };
                if let Some(number) = parse_int(text, base) {
                    return Ok(Val::V(number));
                }
                match parse_float(text) {
                    Some(float) if float.is_finite() => truncate(float).map(Val::V),
                    _ => Ok(default),
                }
            }
        }
    }

    fn round(&mut self, value: &Val, args: Args) -> R<Val> {
        let [precision, method] = args.bind("round", ["precision", "method"], 0)?;
        let common = Val::str("common");
        let method = method.unwrap_or(common);
        let method = match method.text() {
            Some(method @ ("common" | "ceil" | "floor")) => method.to_owned(),
            _ => return template_error("method must be common, ceil or floor"),
        };
        if method == "common" {
            let none = precision.as_ref().is_some_and(Val::is_null);
            let digits = if none { 0 } else { self.integer(precision, 0)? };
            return match value {
                Val::V(Value::Float(float)) if none => round_float(*float, 0).and_then(truncate).map(Val::V),
                Val::V(Value::Float(float)) => {
                    round_float(*float, digits).map(|float| Val::V(Value::Float(float)))
                }
                Val::V(Value::Bool(flag)) => {
                    Ok(Val::int(round_int(&BigInt::from(i64::from(*flag)), digits).to_i64().unwrap_or(0)))
                }
                Val::V(Value::Int(number)) if digits < 0 => {
                    Ok(Val::V(int_from_big(round_int(&BigInt::from(*number), digits))))
                }
                Val::V(Value::BigInt(big)) if digits < 0 => Ok(Val::V(int_from_big(round_int(big, digits)))),
                Val::V(Value::Int(_) | Value::BigInt(_)) => Ok(value.clone()),
                _ => type_error(format!("type {} doesn't define __round__ method", self.type_name(value))),
            };
        }
        let precision = precision.unwrap_or_else(|| Val::int(0));
        let factor = self.binary(Binary::Pow, &Val::int(10), &precision)?;
        let scaled = self.binary(Binary::Mul, value, &factor)?;
        let whole = match &scaled {
            Val::V(Value::Float(float)) => {
                Val::V(truncate(if method == "ceil" { float.ceil() } else { float.floor() })?)
            }
            Val::V(Value::Int(_) | Value::BigInt(_) | Value::Bool(_)) => scaled,
            other => return type_error(format!("must be real number, not {}", self.type_name(other))),
        };
        self.binary(Binary::Div, &whole, &factor)
    }
}

/// Python's `float(value)`; `None` where that is a TypeError or ValueError.
fn to_float(value: &Val) -> R<Option<f64>> {
    Ok(match value {
        Val::V(Value::Float(float)) => Some(*float),
        Val::V(Value::Int(number)) => Some(*number as f64),
        Val::V(Value::Bool(flag)) => Some(f64::from(u8::from(*flag))),
        Val::V(Value::BigInt(big)) => match big.to_f64() {
            Some(float) if float.is_finite() => Some(float),
            _ => return failure("OverflowError", "int too large to convert to float"),
        },
        other => other.text().and_then(parse_float),
    })
}

/// Python's `int(text, base)`: blanks around, single `_` between digits, prefixes that fit the base.
pub(super) fn parse_int(text: &str, base: i64) -> Option<Value> {
    let text = text.trim_matches(is_space);
    let (negative, digits) = match text.strip_prefix(['-', '+']) {
        Some(digits) => (text.starts_with('-'), digits),
        None => (false, text),
    };
    let lower = digits.to_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find(|(prefix, radix)| lower.starts_with(prefix) && (base == 0 || base == *radix));
    let (digits, radix) = match prefixed {
        Some((_, radix)) => {
            let digits = digits.get(2..)?;
            (digits.strip_prefix('_').unwrap_or(digits), radix)
        }
        None if base == 0 => {
            // Without a prefix, a number in base 0 must not begin with zeros.
            let zeros = digits.starts_with('0') && !digits.trim_matches(['0', '_']).is_empty();
            (if zeros { return None } else { digits }, 10)
        }
        None => (digits, base),
    };
    let radix = u32::try_from(radix).ok().filter(|radix| (2..=36).contains(radix))?;
    if digits.is_empty() || digits.starts_with('_') || digits.ends_with('_') || digits.contains("__") {
        return None;
    }
    let ascii: Option<String> = digits
        .chars()
        .filter(|character| *character != '_')
        .map(|character| {
            if character.is_ascii() {
                Some(character)
            } else {
                unicode_digit(character).and_then(|digit| char::from_digit(digit, 10))
            }
        })
        .collect();
    let ascii = ascii?;
    if ascii.len() > 4300 && !radix.is_power_of_two() {
        return None;
    }
    let number = BigInt::parse_bytes(ascii.as_bytes(), radix)?;
    Some(int_from_big(if negative { -number } else { number }))
}

/// Python's `float(text)`.
pub(super) fn parse_float(text: &str) -> Option<f64> {
    let text = text.trim_matches(is_space);
    let body = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    match body.to_ascii_lowercase().as_str() {
        "inf" | "infinity" => return Some(sign * f64::INFINITY),
        "nan" => return Some(f64::NAN),
        _ => {}
    }
    let mut ascii = String::with_capacity(body.len());
    let mut before = ' ';
    let mut characters = body.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied().unwrap_or(' ');
        match character {
            '_' if is_digit(before) && is_digit(next) => {}
            '_' => return None,
            c if c.is_ascii() => ascii.push(c),
            c => ascii.push(char::from_digit(unicode_digit(c)?, 10)?),
        }
        before = character;
    }
    let valid = ascii.bytes().all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && ascii.bytes().any(|byte| byte.is_ascii_digit())
        && !ascii.starts_with(['+', '-']);
    if !valid {
        return None;
    }
    ascii.parse::<f64>().ok().map(|float| sign * float)
}

fn is_digit(character: char) -> bool {
    character.is_ascii_digit() || unicode_digit(character).is_some()
}

/// Whether the character is a decimal digit of some script.
pub(in crate::template) fn decimal_digit(character: char) -> bool {
    unicode_digit(character).is_some()
}

/// The value of a decimal digit of any script: they come in runs of ten.
fn unicode_digit(character: char) -> Option<u32> {
    if character.is_ascii_digit() {
        return character.to_digit(10);
    }
    const ZEROS: [u32; 34] = [
        0x660, 0x6f0, 0x7c0, 0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50,
        0xed0, 0xf20, 0x1040, 0x1090, 0x17e0, 0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40,
        0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xaa50, 0xff10,
    ];
    let code = character as u32;
    ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code)).map(|zero| code - zero)
}

/// Python's `round(float, digits)`: exact ties go to the even digit.
fn round_float(float: f64, digits: i64) -> R<f64> {
    if !float.is_finite() || digits > 323 {
        return Ok(float);
    }
    if digits < -308 {
        return Ok(0.0_f64.copysign(float));
    }
    if digits >= 0 {
        let digits = usize::try_from(digits).unwrap_or(0);
        return Ok(format!("{float:.digits$}").parse().unwrap_or(float));
    }
    // Rounded on the exact value: the whole part, with a sticky fraction for ties.
    let doubled = BigInt::from(2) * big(&truncate(float)?);
    let sticky = if float.fract() == 0.0 {
        0
    } else if float > 0.0 {
        1
    } else {
        -1
    };
    let unit = BigInt::from(10).pow(u32::try_from(-digits).unwrap_or(0)) * 2;
    let rounded: BigInt = nearest(&(doubled + sticky), &unit) * (&unit / 2);
    let result = rounded.to_f64().unwrap_or(f64::INFINITY);
    if result.is_infinite() {
        return failure("OverflowError", "rounded value too large to represent");
    }
    Ok(if result == 0.0 { 0.0_f64.copysign(float) } else { result })
}

fn big(value: &Value) -> BigInt {
    match value {
        Value::Int(number) => BigInt::from(*number),
        Value::BigInt(big) => (**big).clone(),
        _ => BigInt::ZERO,
    }
}

/// Python's `round(int, digits)` for negative digits.
fn round_int(number: &BigInt, digits: i64) -> BigInt {
    if digits >= 0 {
        return number.clone();
    }
    let places = u32::try_from(digits.unsigned_abs()).unwrap_or(u32::MAX);
    if u64::from(places) > number.bits() {
        return BigInt::ZERO;
    }
    let unit = BigInt::from(10).pow(places);
    nearest(number, &unit) * unit
}

/// `number / unit` to the nearest whole number, ties to even.
fn nearest(number: &BigInt, unit: &BigInt) -> BigInt {
    let (whole, rest) = number.div_mod_floor(unit);
    let doubled = rest * 2;
    let up = doubled > *unit || (doubled == *unit && whole.is_odd());
    if up { whole + 1 } else { whole }
}

fn file_size(bytes: f64, binary: bool) -> R<String> {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    if bytes == 1.0 {
        return Ok("1 Byte".to_owned());
    }
    if bytes < base {
        let whole = truncate(bytes)?;
        return Ok(format!("{} Bytes", crate::value::text(&whole)));
    }
    let names = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
    let mut unit = base;
    for (index, name) in names.iter().enumerate() {
        unit *= base;
        if bytes < unit || index + 1 == names.len() {
            let prefix = match (binary, *name) {
                (true, "k") => "KiB".to_owned(),
                (true, name) => format!("{name}iB"),
                (false, name) => format!("{name}B"),
            };
            let amount = base * bytes / unit;
            return Ok(if amount.is_finite() {
                format!("{amount:.1} {prefix}")
            } else {
                format!("inf {prefix}")
            });
        }
    }
    Ok(String::new())
}
