//! Scalars to values, as PyYAML's constructors do it through Python's `int`, `float` and `base64`.
//! Errors say what is wrong with the text.

use num_bigint::BigInt;
use num_traits::{Num, ToPrimitive};

use crate::value::Value;

/// Python reads no decimal integer with more digits.
const MAX_DECIMAL_DIGITS: usize = 4300;

pub(super) fn boolean(text: &str) -> Result<Value, String> {
    match text.to_lowercase().as_str() {
        "yes" | "true" | "on" => Ok(Value::Bool(true)),
        "no" | "false" | "off" => Ok(Value::Bool(false)),
        _ => Err(format!("expected a truth value (true or false), found {text:?}")),
    }
}

pub(super) fn integer(text: &str) -> Result<Value, String> {
    if let Some(number) = small_decimal(text) {
        return Ok(Value::Int(number));
    }
    let wrong = || format!("expected an integer, found {text:?}: quote it if it is meant as a text");
    let digits = text.replace('_', "");
    let (negative, digits) = split_sign(&digits);
    let value = if digits == "0" {
        BigInt::ZERO
    } else if let Some(binary) = digits.strip_prefix("0b") {
        python_int(binary, 2).ok_or_else(wrong)?
    } else if let Some(hexadecimal) = digits.strip_prefix("0x") {
        python_int(hexadecimal, 16).ok_or_else(wrong)?
    } else if digits.starts_with('0') {
        python_int(digits, 8).ok_or_else(wrong)?
    } else if digits.contains(':') {
        let mut sum = BigInt::ZERO;
        for part in digits.split(':') {
            sum = sum * 60 + python_int(part, 10).ok_or_else(wrong)?;
        }
        sum
    } else {
        python_int(digits, 10).ok_or_else(wrong)?
    };
    Ok(Value::int(if negative { -value } else { value }))
}

/// The common case: up to 18 decimal digits without a leading zero.
fn small_decimal(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = matches!(digits.as_bytes(), [b'1'..=b'9', ..]) && digits.len() <= 18;
    if plain && digits.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn split_sign(text: &str) -> (bool, &str) {
    match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    }
}

/// What Python's `str.strip()` removes.
fn strip(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() || matches!(character, '\x1C'..='\x1F'))
}

/// Python's `int(text, base)` for a text without underscores.
fn python_int(text: &str, base: u32) -> Option<BigInt> {
    let (negative, digits) = split_sign(strip(text));
    let prefixes: [&str; 2] = match base {
        2 => ["0b", "0B"],
        8 => ["0o", "0O"],
        16 => ["0x", "0X"],
        _ => ["", ""],
    };
    let digits = prefixes.iter().find_map(|prefix| digits.strip_prefix(prefix)).unwrap_or(digits);
    let valid = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(base));
    if !valid || (base == 10 && digits.len() > MAX_DECIMAL_DIGITS) {
        return None;
    }
    let value = BigInt::from_str_radix(digits, base).ok()?;
    Some(if negative { -value } else { value })
}

pub(super) fn float(text: &str) -> Result<Value, String> {
    let wrong = || format!("expected a number, found {text:?}: quote it if it is meant as a text");
    let digits = text.replace('_', "").to_lowercase();
    let (negative, digits) = split_sign(&digits);
    let value = match digits {
        ".inf" => f64::INFINITY,
        ".nan" => return Ok(Value::Float(f64::NAN)),
        _ if digits.contains(':') => base_60(digits).ok_or_else(wrong)?,
        _ => python_float(digits).ok_or_else(wrong)?,
    };
    Ok(Value::Float(if negative { -value } else { value }))
}

/// Python's `float(text)` for a text without underscores. Rust reads the same texts, but for blanks around.
fn python_float(text: &str) -> Option<f64> {
    strip(text).parse().ok()
}

fn base_60(text: &str) -> Option<f64> {
    let mut unit = BigInt::from(1);
    let mut sum = 0.0;
    // Summed from the right, as PyYAML does: the order shows in the last bits.
    for part in text.rsplit(':') {
        sum += python_float(part)? * unit.to_f64().filter(|unit| unit.is_finite())?;
        unit *= 60;
    }
    Some(sum)
}

/// Python's `base64.decodebytes`: characters outside the alphabet are skipped.
pub(super) fn binary(text: &str) -> Result<Value, String> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut phase, mut pads, mut rest) = (0, 0, 0_u8);
    for character in text.chars() {
        let sextet = match character {
            'A'..='Z' => character as u8 - b'A',
            'a'..='z' => character as u8 - b'a' + 26,
            '0'..='9' => character as u8 - b'0' + 52,
            '+' => 62,
            '/' => 63,
            '=' => {
                pads += 1;
                if phase >= 2 && phase + pads >= 4 {
                    return Ok(Value::Bytes(bytes.into()));
                }
                continue;
            }
            _ if character.is_ascii() => continue,
            _ => return Err(format!("expected base64, found {character:?}")),
        };
        pads = 0;
        match phase {
            0 => rest = sextet,
            1 => {
                bytes.push(rest << 2 | sextet >> 4);
                rest = sextet & 0x0F;
            }
            2 => {
                bytes.push(rest << 4 | sextet >> 2);
                rest = sextet & 0x03;
            }
            _ => bytes.push(rest << 6 | sextet),
        }
        phase = (phase + 1) % 4;
    }
    if phase == 0 {
        Ok(Value::Bytes(bytes.into()))
    } else {
        Err("the base64 text ends too early: its length must be a multiple of 4, filled up with '='".into())
    }
}
