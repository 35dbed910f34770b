//! `text % args`

use num_traits::{Signed, ToPrimitive};

use super::{MAX_WIDTH, Spec, ascii, float, float_digits, integer, radix_digits, read_number};
use crate::template::eval::Renderer;
use crate::template::eval::arithmetic::truncate;
use crate::template::eval::val::{R, Val, failure, type_error, value_error};
use crate::value::{Value, str_repr};

impl Renderer<'_> {
    /// `format % args`; with `escape`, texts put in are escaped.
    pub(in crate::template) fn printf(&mut self, format: &str, args: &Val, escape: bool) -> R<String> {
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
                    if let Val::Undef(undefined) = args {
                        return crate::template::eval::val::template_error(undefined.message());
                    }
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
        // A lone value that can be subscripted counts as a mapping, which may stay unused.
        let may_stay = match args {
            Val::Dict(_) | Val::List(_) | Val::Dot(_) | Val::Undef(_) => true,
            Val::V(Value::Map(_) | Value::List(_) | Value::Bytes(_) | Value::Host(_)) => true,
            Val::Obj(object) => matches!(**object, crate::template::eval::val::Obj::Range { .. }),
            _ => false,
        };
        if next.next().is_some() && !may_stay {
            return type_error("not all arguments converted during string formatting");
        }
        Ok(out)
    }

    fn printf_one(&mut self, spec: &Spec, kind: char, value: &Val, escape: bool) -> R<String> {
        if let Val::Undef(undefined) = value
            && "diufFeEgG".contains(kind)
        {
            return crate::template::eval::val::template_error(undefined.message());
        }
        match kind {
            's' | 'r' | 'a' => {
                let mut text = if kind == 's' { self.str(value)? } else { self.repr(value)? };
                if kind == 'a' {
                    text = ascii(&text);
                }
                if escape && !matches!(value, Val::Safe(_)) {
                    text = crate::template::filters::html::escape(&text);
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
}
