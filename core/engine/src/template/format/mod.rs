//! Formatting as Python does it: `text % args` and `text.format(…)`.

mod method;
mod printf;

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::eval::val::{R, failure, value_error};
use crate::value::Value;

/// What a format says about one value.
#[derive(Debug, Clone, Default)]
struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

/// Widths and precisions beyond this are refused, as they would only fill memory.
const MAX_WIDTH: usize = 1 << 20;

impl Spec {
    fn padded(&self, text: &str, default: char) -> String {
        let length = text.chars().count();
        let missing = self.width.saturating_sub(length);
        if missing == 0 {
            return text.to_owned();
        }
        let fill = self.fill.unwrap_or(' ');
        let (left, right) = match self.align.unwrap_or(default) {
            '<' => (0, missing),
            '^' => (missing / 2, missing - missing / 2),
            _ => (missing, 0),
        };
        let fill = |count: usize| std::iter::repeat_n(fill, count).collect::<String>();
        [fill(left).as_str(), text, fill(right).as_str()].concat()
    }

    /// A number from its sign, its prefix (`0x`) and its digits.
    fn number(&self, negative: bool, prefix: &str, digits: &str) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let digital = self.kind.is_none_or(|kind| !"xXobc".contains(kind))
            && digits.starts_with(|c: char| c.is_ascii_digit());
        let (whole, rest) = match digits.find(|c: char| !c.is_ascii_digit()) {
            Some(at) if digital => digits.split_at(at),
            _ => (digits, ""),
        };
        let zero_fill = (self.zero && self.align.is_none()) || self.align == Some('=');
        let group = if self.kind.is_some_and(|kind| "xXob".contains(kind)) { 4 } else { 3 };
        let mut whole = whole.to_owned();
        if zero_fill && self.fill.is_none_or(|fill| fill == '0') && (self.zero || self.fill.is_some()) {
            let used = sign.len() + prefix.len() + rest.len();
            let room = self.width.saturating_sub(used);
            match self.grouping {
                Some(separator) => {
                    while grouped(&whole, separator, group).len() < room {
                        whole.insert(0, '0');
                    }
                    let text = grouped(&whole, separator, group);
                    // A separator never begins the number.
                    whole = text;
                }
                None => {
                    let missing = room.saturating_sub(whole.len());
                    whole.insert_str(0, &"0".repeat(missing));
                }
            }
            return [sign, prefix, &whole, rest].concat();
        }
        if let Some(separator) = self.grouping {
            whole = grouped(&whole, separator, group);
        }
        if self.align == Some('=') {
            let body = [whole.as_str(), rest].concat();
            let missing = self.width.saturating_sub(sign.len() + prefix.len() + body.chars().count());
            let fill: String = std::iter::repeat_n(self.fill.unwrap_or(' '), missing).collect();
            return [sign, prefix, &fill, &body].concat();
        }
        self.padded(&[sign, prefix, &whole, rest].concat(), '>')
    }
}

fn grouped(digits: &str, separator: char, size: usize) -> String {
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(size) {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

/// `1.5e2` as `1.5e+02`.
fn exponent(text: &str) -> String {
    match text.split_once('e') {
        Some((mantissa, exponent)) => {
            let (sign, digits) = match exponent.strip_prefix('-') {
                Some(digits) => ('-', digits),
                None => ('+', exponent),
            };
            format!("{mantissa}e{sign}{digits:0>2}")
        }
        None => text.to_owned(),
    }
}

/// The digits of a finite or infinite float without its sign.
fn float_digits(float: f64, kind: char, precision: usize, alternate: bool) -> String {
    let float = float.abs();
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return "inf".to_owned();
    }
    let point = |text: String| {
        if alternate && !text.contains('.') {
            match text.find('e') {
                Some(at) => {
                    [text.get(..at).unwrap_or_default(), ".", text.get(at..).unwrap_or_default()].concat()
                }
                None => text + ".",
            }
        } else {
            text
        }
    };
    match kind.to_ascii_lowercase() {
        'f' => point(format!("{float:.precision$}")),
        'e' => point(exponent(&format!("{float:.precision$e}"))),
        _ => {
            let precision = precision.max(1);
            let scientific = format!("{float:.*e}", precision - 1);
            let power: i64 = scientific.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
            let text = if power < -4 || power >= i64::try_from(precision).unwrap_or(i64::MAX) {
                exponent(&scientific)
            } else {
                let decimals =
                    usize::try_from(i64::try_from(precision).unwrap_or(0) - 1 - power).unwrap_or(0);
                format!("{float:.decimals$}")
            };
            if alternate {
                return point(text);
            }
            let (mantissa, rest) = match text.find('e') {
                Some(at) => text.split_at(at),
                None => (text.as_str(), ""),
            };
            let mantissa = if mantissa.contains('.') {
                mantissa.trim_end_matches('0').trim_end_matches('.')
            } else {
                mantissa
            };
            [mantissa, rest].concat()
        }
    }
}

fn integer(value: &Value) -> Option<BigInt> {
    match value {
        Value::Int(number) => Some(BigInt::from(*number)),
        Value::Bool(flag) => Some(BigInt::from(i64::from(*flag))),
        Value::BigInt(big) => Some((**big).clone()),
        _ => None,
    }
}

fn float(value: &Value) -> R<Option<f64>> {
    Ok(match value {
        Value::Float(float) => Some(*float),
        Value::Int(number) => Some(*number as f64),
        Value::Bool(flag) => Some(f64::from(u8::from(*flag))),
        Value::BigInt(big) => match big.to_f64() {
            Some(float) if float.is_finite() => Some(float),
            _ => return failure("OverflowError", "int too large to convert to float"),
        },
        _ => None,
    })
}

fn radix_digits(number: &BigInt, kind: char) -> (&'static str, String) {
    let number = number.abs();
    match kind {
        'x' => ("0x", number.to_str_radix(16)),
        'X' => ("0X", number.to_str_radix(16).to_uppercase()),
        'o' => ("0o", number.to_str_radix(8)),
        'b' => ("0b", number.to_str_radix(2)),
        _ => ("", number.to_string()),
    }
}

impl Spec {
    fn plain_width(&self) -> bool {
        self.sign.is_none()
            && self.grouping.is_none()
            && !self.zero
            && !self.alternate
            && self.width == 0
            && self.precision.is_none()
    }
}

fn parse_spec(text: &str) -> R<Spec> {
    let mut spec = Spec::default();
    let mut chars = text.chars().peekable();
    let is_align = |c: Option<char>| c.is_some_and(|c| "<>^=".contains(c));
    let mut start = text.chars();
    let (first, second) = (start.next(), start.next());
    if is_align(second) {
        (spec.fill, spec.align) = (first, second);
        chars.nth(1);
    } else if is_align(first) {
        spec.align = first;
        chars.next();
    }
    spec.sign = chars.next_if(|c| "+- ".contains(*c));
    chars.next_if_eq(&'z');
    spec.alternate = chars.next_if_eq(&'#').is_some();
    if chars.next_if_eq(&'0').is_some() {
        spec.zero = true;
        if spec.align.is_none() {
            spec.fill = None;
        } else if spec.fill.is_none() {
            spec.fill = Some('0');
        }
    }
    spec.width = read_number(&mut chars).unwrap_or(0);
    spec.grouping = chars.next_if(|c| *c == ',' || *c == '_');
    if chars.next_if_eq(&'.').is_some() {
        spec.precision = read_number(&mut chars);
        if spec.precision.is_none() {
            return value_error("Format specifier missing precision");
        }
    }
    spec.kind = chars.next();
    if chars.next().is_some() {
        return value_error(format!("Invalid format specifier '{text}'"));
    }
    if spec.width > MAX_WIDTH || spec.precision.is_some_and(|precision| precision > MAX_WIDTH) {
        return value_error("Too many decimal digits in format string");
    }
    Ok(spec)
}

fn read_number(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<usize> {
    let mut number = None;
    while let Some(digit) = chars.next_if(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
        number = Some(number.unwrap_or(0_usize).saturating_mul(10).saturating_add(digit as usize));
    }
    number
}

/// Non-ASCII characters as escapes.
fn ascii(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character as u32 {
            0..=0x7f => out.push(character),
            code @ 0x80..=0xff => out.push_str(&format!("\\x{code:02x}")),
            code @ 0x100..=0xffff => out.push_str(&format!("\\u{code:04x}")),
            code => out.push_str(&format!("\\U{code:08x}")),
        }
    }
    out
}
