//! `text.format(…)`

use num_traits::{Signed, ToPrimitive};

use super::{Spec, ascii, float, float_digits, integer, parse_spec, radix_digits};
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, R, Val, failure, type_error, value_error};
use crate::value::{Value, float_repr, str_repr};

impl Renderer<'_> {
    pub(in crate::template) fn format_method(&mut self, format: &str, args: &Args) -> R<String> {
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
                if let Val::Undef(undefined) = &value {
                    return crate::template::eval::val::template_error(undefined.message());
                }
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
                let found = self.own_item(&value, &key)?;
                value = match (found, &value) {
                    (Some(found), _) => self.current(found),
                    (None, Val::Undef(undefined)) => {
                        return crate::template::eval::val::template_error(undefined.message());
                    }
                    (None, Val::Dict(_) | Val::V(Value::Map(_))) => {
                        return failure("KeyError", self.repr(&key)?);
                    }
                    (None, value)
                        if key.text().is_none()
                            && (value.text().is_some() || self.sequence_kind(value)?.is_some()) =>
                    {
                        return failure("IndexError", "index out of range");
                    }
                    (None, value) => {
                        return type_error(format!(
                            "'{}' object is not subscriptable",
                            self.type_name(value)
                        ));
                    }
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
            return crate::template::methods::dates::strftime(value, spec);
        }
        let text = value.text().map(str::to_owned);
        let inner = match value {
            Val::V(inner @ (Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bool(_))) => {
                inner.clone()
            }
            _ if text.is_some() => Value::Null,
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
            if let Some(separator) = parsed.grouping {
                return value_error(format!("Cannot specify '{separator}' with 's'."));
            }
            if parsed.alternate {
                return value_error("Alternate form (#) not allowed in string format specifier");
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
