//! Formatting as Python does it: `text % args` and `text.format(…)`.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};

use super::eval::Renderer;
use super::eval::ops::truncate;
use super::eval::val::{Args, R, Val, failure, type_error, value_error};
use crate::value::{Value, float_repr, str_repr};

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
        let (whole, rest) = match digits.find(|c: char| !c.is_ascii_alphanumeric()) {
            Some(at) if self.kind.is_none_or(|kind| !"xXobc".contains(kind)) => digits.split_at(at),
            _ => match digits.find('e') {
                Some(at) if self.kind.is_none_or(|kind| "eEgG".contains(kind)) => digits.split_at(at),
                _ => (digits, ""),
            },
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

impl Renderer<'_> {
    // ------------------------------------------------------------------ text % args

    /// `format % args`; with `escape`, texts put in are escaped.
    pub(super) fn printf(&mut self, format: &str, args: &Val, escape: bool) -> R<String> {
        let tuple = match args {
            Val::Tuple(_) | Val::V(Value::Tuple(_)) => Some(self.iterate(args)?),
            _ => None,
        };
        let is_map = matches!(args, Val::Dict(_) | Val::V(Value::Map(_)) | Val::Dot(_));
        let values = tuple.clone().unwrap_or_else(|| vec![args.clone()]);
        let mut next = values.into_iter();
        let mut used = 0_usize;
        let mut out = String::new();
        let mut chars = format.chars().peekable();
        while let Some(character) = chars.next() {
            if character != '%' {
                out.push(character);
                continue;
            }
            let mut spec = Spec::default();
            let mut key = None;
            if chars.next_if_eq(&'(').is_some() {
                let mut depth = 1;
                let mut name = String::new();
                for character in chars.by_ref() {
                    match character {
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        break;
                    }
                    name.push(character);
                }
                if depth > 0 {
                    return value_error("incomplete format key");
                }
                key = Some(name);
            }
            let mut left = false;
            while let Some(flag) = chars.next_if(|c| "-0+# ".contains(*c)) {
                match flag {
                    '-' => left = true,
                    '0' => spec.zero = true,
                    '+' => spec.sign = Some('+'),
                    '#' => spec.alternate = true,
                    _ => spec.sign = spec.sign.or(Some(' ')),
                }
            }
            let mut star = |this: &mut Self, next: &mut std::vec::IntoIter<Val>| -> R<i64> {
                used += 1;
                match next.next() {
                    Some(value) if tuple.is_some() => match value.as_int() {
                        Some(number) => Ok(number),
                        None => type_error("* wants int"),
                    },
                    _ => {
                        let _ = this;
                        type_error("not enough arguments for format string")
                    }
                }
            };
            if chars.next_if_eq(&'*').is_some() {
                let width = star(self, &mut next)?;
                left |= width < 0;
                spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(MAX_WIDTH);
            } else {
                spec.width = read_number(&mut chars).unwrap_or(0);
            }
            if chars.next_if_eq(&'.').is_some() {
                spec.precision = Some(if chars.next_if_eq(&'*').is_some() {
                    usize::try_from(star(self, &mut next)?).unwrap_or(0)
                } else {
                    read_number(&mut chars).unwrap_or(0)
                });
            }
            while chars.next_if(|c| "hlL".contains(*c)).is_some() {}
            let Some(kind) = chars.next() else { return value_error("incomplete format") };
            if kind == '%' {
                out.push('%');
                continue;
            }
            if spec.width > MAX_WIDTH || spec.precision.is_some_and(|precision| precision > MAX_WIDTH) {
                return value_error("width or precision too big");
            }
            let value = match key {
                Some(name) => {
                    if !is_map {
                        return type_error("format requires a mapping");
                    }
                    used = used.max(1);
                    let value = self.item(args, &Val::str(name.as_str()))?;
                    if matches!(value, Val::Undef(_))
                        || (value.is_null() && !self.contains(args, &Val::str(name.as_str()))?)
                    {
                        return failure("KeyError", str_repr(&name));
                    }
                    value
                }
                None => {
                    used += 1;
                    match next.next() {
                        Some(value) => value,
                        None => return type_error("not enough arguments for format string"),
                    }
                }
            };
            if left {
                spec.align = Some('<');
                spec.zero = false;
            }
            spec.kind = Some(kind);
            let text = self.printf_one(&spec, kind, &value, escape)?;
            self.produce(text.len())?;
            out.push_str(&text);
        }
        if next.next().is_some() && !(is_map && (used == 0 || tuple.is_none())) {
            // A lone list counts as a mapping here, which may stay unused.
            let lenient = matches!(args, Val::List(_) | Val::V(Value::List(_))) && used == 0;
            if !lenient {
                return type_error("not all arguments converted during string formatting");
            }
        }
        Ok(out)
    }

    fn printf_one(&mut self, spec: &Spec, kind: char, value: &Val, escape: bool) -> R<String> {
        match kind {
            's' | 'r' | 'a' => {
                let mut text = if kind == 's' { self.str(value)? } else { self.repr(value)? };
                if kind == 'a' {
                    text = ascii(&text);
                }
                if escape && !matches!(value, Val::Safe(_)) {
                    text = super::filters::html::escape(&text);
                }
                if let Some(precision) = spec.precision {
                    text = text.chars().take(precision).collect();
                }
                let spec = Spec { zero: false, ..spec.clone() };
                Ok(spec.padded(&text, '>'))
            }
            'c' => {
                let text = match value {
                    value if value.text().is_some_and(|text| text.chars().count() == 1) => {
                        value.text().unwrap_or_default().to_owned()
                    }
                    Val::V(inner) => {
                        match integer(inner).and_then(|number| number.to_u32()).map(char::from_u32) {
                            Some(Some(character)) => character.to_string(),
                            Some(None) => return failure("OverflowError", "%c arg not in range(0x110000)"),
                            None => return type_error("%c requires int or char"),
                        }
                    }
                    _ => return type_error("%c requires int or char"),
                };
                Ok(spec.padded(&text, '>'))
            }
            'd' | 'i' | 'u' | 'o' | 'x' | 'X' => {
                let number = match value {
                    Val::V(Value::Float(float)) if matches!(kind, 'd' | 'i' | 'u') => {
                        integer(&truncate(*float)?)
                    }
                    Val::V(inner) => integer(inner),
                    _ => None,
                };
                let Some(number) = number else {
                    return type_error(format!(
                        "%{kind} format: a {} is required, not {}",
                        if matches!(kind, 'd' | 'i' | 'u') { "real number" } else { "integer" },
                        self.type_name(value)
                    ));
                };
                let (prefix, mut digits) = radix_digits(&number, kind);
                if let Some(precision) = spec.precision {
                    digits = format!("{digits:0>precision$}");
                }
                Ok(spec.number(number.is_negative(), if spec.alternate { prefix } else { "" }, &digits))
            }
            'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
                let number = match value {
                    Val::V(inner) => float(inner)?,
                    _ => None,
                };
                let Some(number) = number else {
                    return type_error(format!("must be real number, not {}", self.type_name(value)));
                };
                let mut digits = float_digits(number, kind, spec.precision.unwrap_or(6), spec.alternate);
                if kind.is_ascii_uppercase() {
                    digits = digits.to_uppercase();
                }
                let negative = number.is_sign_negative() && !number.is_nan();
                let spec = Spec { zero: spec.zero && number.is_finite(), ..spec.clone() };
                Ok(spec.number(negative, "", &digits))
            }
            other => value_error(format!("unsupported format character '{other}' (0x{:x})", other as u32)),
        }
    }

    // ------------------------------------------------------------------ text.format(…)

    pub(super) fn format_method(&mut self, format: &str, args: &Args) -> R<String> {
        let mut automatic = Some(0_usize);
        let text = self.format_fields(format, args, &mut automatic, 2)?;
        self.produce(text.len())?;
        Ok(text)
    }

    /// `automatic`: the number of the next `{}`, `None` once fields are numbered by hand.
    fn format_fields(
        &mut self,
        format: &str,
        args: &Args,
        automatic: &mut Option<usize>,
        depth: usize,
    ) -> R<String> {
        if depth == 0 {
            return value_error("Max string recursion exceeded");
        }
        let mut out = String::new();
        let mut rest = format;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, after) = rest.split_at(at);
            out.push_str(before);
            if after.starts_with("{{") || after.starts_with("}}") {
                out.push_str(after.get(..1).unwrap_or_default());
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            if after.starts_with('}') {
                return value_error("Single '}' encountered in format string");
            }
            let body = after.get(1..).unwrap_or_default();
            let mut level = 1;
            let end = body.char_indices().find(|(_, c)| {
                level += match c {
                    '{' => 1,
                    '}' => -1,
                    _ => 0,
                };
                level == 0
            });
            let Some((end, _)) = end else {
                return value_error(if body.is_empty() {
                    "Single '{' encountered in format string"
                } else {
                    "expected '}' before end of string"
                });
            };
            let field = body.get(..end).unwrap_or_default();
            rest = body.get(end + 1..).unwrap_or_default();
            let text = self.format_field(field, args, automatic, depth)?;
            out.push_str(&text);
        }
        out.push_str(rest);
        Ok(out)
    }

    fn format_field(
        &mut self,
        field: &str,
        args: &Args,
        automatic: &mut Option<usize>,
        depth: usize,
    ) -> R<String> {
        // The name may hold brackets with any characters; `!` and `:` end it outside of them.
        let mut bracket = false;
        let split = field.char_indices().find(|(_, c)| {
            match c {
                '[' => bracket = true,
                ']' => bracket = false,
                _ => {}
            }
            !bracket && matches!(c, '!' | ':')
        });
        let (name, tail) = split.map_or((field, ""), |(at, _)| field.split_at(at));
        let (conversion, spec) = match tail.strip_prefix('!') {
            Some(tail) => {
                let mut chars = tail.chars();
                let Some(conversion) = chars.next() else {
                    return value_error("end of string while looking for conversion specifier");
                };
                let tail = chars.as_str();
                match tail.strip_prefix(':') {
                    Some(spec) => (Some(conversion), spec),
                    None if tail.is_empty() => (Some(conversion), ""),
                    None => return value_error("expected ':' after conversion specifier"),
                }
            }
            None => (None, tail.strip_prefix(':').unwrap_or_default()),
        };
        let mut value = self.format_value(name, args, automatic)?;
        let spec = if spec.contains(['{', '}']) {
            self.format_fields(spec, args, automatic, depth - 1)?
        } else {
            spec.to_owned()
        };
        match conversion {
            None => {}
            Some('s') => value = Val::str(self.str(&value)?),
            Some('r') => value = Val::str(self.repr(&value)?),
            Some('a') => value = Val::str(ascii(&self.repr(&value)?)),
            Some(other) => return value_error(format!("Unknown conversion specifier {other}")),
        }
        self.format_spec(&value, &spec)
    }

    fn format_value(&mut self, name: &str, args: &Args, automatic: &mut Option<usize>) -> R<Val> {
        let end = name.find(['.', '[']).unwrap_or(name.len());
        let (first, mut rest) = name.split_at(end);
        let mut value = if first.is_empty() || first.bytes().all(|byte| byte.is_ascii_digit()) {
            let index = if first.is_empty() {
                let Some(index) = *automatic else {
                    return value_error(
                        "cannot switch from manual field specification to automatic field numbering",
                    );
                };
                *automatic = Some(index + 1);
                index
            } else {
                if automatic.is_some_and(|next| next > 0) {
                    return value_error(
                        "cannot switch from automatic field numbering to manual field specification",
                    );
                }
                *automatic = None;
                first.parse().unwrap_or(usize::MAX)
            };
            match args.pos.get(index) {
                Some(value) => value.clone(),
                None => {
                    return failure(
                        "IndexError",
                        format!("Replacement index {index} out of range for positional args tuple"),
                    );
                }
            }
        } else {
            match args.kw.iter().find(|(key, _)| **key == *first) {
                Some((_, value)) => value.clone(),
                None => return failure("KeyError", str_repr(first)),
            }
        };
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix('.') {
                let end = after.find(['.', '[']).unwrap_or(after.len());
                let (name, tail) = after.split_at(end);
                let name = std::sync::Arc::<str>::from(name);
                value = match self.own_attr(&value, &name)? {
                    Some(found) => found,
                    None => match &value {
                        Val::Dict(dict) if dict.dot => self.attr(&value, &name)?,
                        Val::V(Value::Host(_)) | Val::Dot(_) => self.attr(&value, &name)?,
                        _ => {
                            return failure(
                                "AttributeError",
                                format!("'{}' object has no attribute '{name}'", self.type_name(&value)),
                            );
                        }
                    },
                };
                rest = tail;
            } else if let Some((key, tail)) = rest.strip_prefix('[').and_then(|after| after.split_once(']')) {
                let key = match key.parse::<i64>() {
                    Ok(index) if key.bytes().all(|byte| byte.is_ascii_digit()) => Val::int(index),
                    _ => Val::str(key),
                };
                let found = self.item(&value, &key)?;
                value = match found {
                    Val::Undef(_) => {
                        let key = self.repr(&key)?;
                        let class = if matches!(value, Val::Dict(_) | Val::V(Value::Map(_))) {
                            "KeyError"
                        } else {
                            "IndexError"
                        };
                        return failure(class, key);
                    }
                    found => found,
                };
                rest = tail;
            } else {
                return value_error("Only '.' or '[' may follow ']' in format field specifier");
            }
        }
        Ok(value)
    }

    fn format_spec(&mut self, value: &Val, spec: &str) -> R<String> {
        if spec.is_empty() {
            return self.str(value);
        }
        if let Val::V(Value::Date(_) | Value::DateTime(_)) = value {
            return super::methods::dates::strftime(value, spec);
        }
        let text = value.text().map(str::to_owned);
        let inner = match value {
            Val::V(inner @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bool(_))) => {
                inner.clone()
            }
            _ if text.is_some() => Value::Null,
            Val::Undef(undefined) => return super::eval::val::template_error(undefined.message()),
            _ => {
                return type_error(format!(
                    "unsupported format string passed to {}.__format__",
                    self.type_name(value)
                ));
            }
        };
        let parsed = parse_spec(spec)?;
        let type_name = self.type_name(value);
        let unknown = |kind: char| {
            value_error(format!("Unknown format code '{kind}' for object of type '{type_name}'"))
        };
        if let Some(text) = text {
            match parsed.kind {
                None | Some('s') => {}
                Some(kind) => return unknown(kind),
            }
            if parsed.sign.is_some() {
                return value_error("Sign not allowed in string format specifier");
            }
            if parsed.align == Some('=') {
                return value_error("'=' alignment not allowed in string format specifier");
            }
            let cut: String = match parsed.precision {
                Some(precision) => text.chars().take(precision).collect(),
                None => text,
            };
            let fill = parsed.fill.or(parsed.zero.then_some('0'));
            return Ok(Spec { fill, ..parsed.clone() }.padded(&cut, '<'));
        }
        let is_float = matches!(inner, Value::Float(_));
        match parsed.kind {
            Some('d' | 'x' | 'X' | 'o' | 'b' | 'n' | 'c') | None if !is_float => {
                if parsed.kind.is_none() && matches!(inner, Value::Bool(_)) && parsed.plain_width() {
                    return Ok(parsed.padded(&self.str(value)?, '>'));
                }
                if parsed.precision.is_some() {
                    return value_error("Precision not allowed in integer format specifier");
                }
                let number = integer(&inner).unwrap_or_default();
                let kind = parsed.kind.unwrap_or('d');
                if kind == 'c' {
                    let character = number.to_u32().and_then(char::from_u32);
                    let Some(character) = character else {
                        return failure("OverflowError", "%c arg not in range(0x110000)");
                    };
                    return Ok(parsed.padded(&character.to_string(), '<'));
                }
                let (prefix, digits) = radix_digits(&number, kind);
                Ok(parsed.number(number.is_negative(), if parsed.alternate { prefix } else { "" }, &digits))
            }
            Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%' | 'n') | None => {
                let number = float(&inner)?.unwrap_or(f64::NAN);
                let mut digits = match (parsed.kind, parsed.precision) {
                    (None, None) => float_repr(number.abs()),
                    (None, Some(precision)) => {
                        let text = float_digits(number, 'g', precision, parsed.alternate);
                        if text.contains(['.', 'e']) || !number.is_finite() { text } else { text + ".0" }
                    }
                    (Some('%'), precision) => {
                        float_digits(number * 100.0, 'f', precision.unwrap_or(6), parsed.alternate) + "%"
                    }
                    (Some('n'), precision) => {
                        float_digits(number, 'g', precision.unwrap_or(6), parsed.alternate)
                    }
                    (Some(kind), precision) => {
                        float_digits(number, kind, precision.unwrap_or(6), parsed.alternate)
                    }
                };
                if parsed.kind.is_some_and(|kind| kind.is_ascii_uppercase()) {
                    digits = digits.to_uppercase();
                }
                Ok(parsed.number(number.is_sign_negative() && !number.is_nan(), "", &digits))
            }
            Some(kind) => unknown(kind),
        }
    }
}

impl Spec {
    fn plain_width(&self) -> bool {
        self.sign.is_none() && self.grouping.is_none() && !self.zero && !self.alternate && self.width == 0
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
