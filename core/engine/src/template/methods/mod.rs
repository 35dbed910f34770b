//! Methods of values, as Python has them.

pub(super) mod dates;
mod list;
mod map;
mod string;
pub(super) mod text;

use std::sync::Arc;

use num_traits::Signed;

use super::eval::Renderer;
use super::eval::val::{Args, Obj, R, Val, template_error};
use crate::value::Value;

/// Names that are methods of every map. On a map of the scope a key of the same name wins.
pub(super) fn is_map_method(name: &str) -> bool {
    matches!(name, "get" | "pop" | "update" | "copy" | "clear" | "setdefault" | "keys" | "values" | "items")
}

fn is_list_method(name: &str) -> bool {
    matches!(
        name,
        "index"
            | "count"
            | "copy"
            | "append"
            | "extend"
            | "insert"
            | "pop"
            | "remove"
            | "sort"
            | "reverse"
            | "clear"
    )
}

/// Whether the value has a method of this name.
pub(super) fn has_method(value: &Val, name: &str) -> bool {
    match value {
        Val::V(Value::Str(_)) | Val::Safe(_) => string::NAMES.contains(&name),
        Val::V(Value::List(_)) | Val::List(_) => is_list_method(name),
        Val::V(Value::Tuple(_)) | Val::Tuple(_) => matches!(name, "index" | "count"),
        Val::V(Value::Map(_)) | Val::Dict(_) => is_map_method(name),
        Val::V(Value::Int(_) | Value::BigInt(_) | Value::Bool(_)) => {
            matches!(name, "bit_length" | "bit_count" | "conjugate" | "is_integer")
        }
        Val::V(Value::Float(_)) => matches!(name, "is_integer" | "conjugate"),
        Val::V(Value::Bytes(_)) => matches!(name, "decode" | "hex"),
        Val::V(Value::Date(_)) => dates::METHODS.contains(&name) && name != "date",
        Val::V(Value::DateTime(_)) => dates::METHODS.contains(&name),
        _ => false,
    }
}

/// An attribute that is a value.
pub(super) fn property(value: &Val, name: &str) -> Option<Val> {
    let Val::V(value) = value else { return None };
    Some(Val::V(match (value, name) {
        (Value::Int(_) | Value::BigInt(_), "real" | "numerator") => value.clone(),
        (Value::Bool(flag), "real" | "numerator") => Value::Int(i64::from(*flag)),
        (Value::Float(_), "real") => value.clone(),
        (Value::Int(_) | Value::BigInt(_) | Value::Bool(_), "imag") => Value::Int(0),
        (Value::Int(_) | Value::BigInt(_) | Value::Bool(_), "denominator") => Value::Int(1),
        (Value::Float(_), "imag") => Value::Float(0.0),
        (Value::Date(_) | Value::DateTime(_), _) => return dates::property(value, name).map(Val::V),
        _ => return None,
    }))
}

impl Renderer<'_> {
    /// Calls a method; a method that the value does not have is a template error.
    pub(super) fn call_method(&mut self, value: &Val, name: &str, args: Args) -> R<Val> {
        match value {
            Val::Undef(undefined) => return template_error(undefined.message()),
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                return self.call_host(&object.clone(), name, args);
            }
            Val::Obj(object) if matches!(**object, Obj::Loop(_) | Obj::Cycler { .. } | Obj::Range { .. }) => {
                return self.call_special(object, name, args);
            }
            _ => {}
        }
        if !has_method(value, name) {
            let name: Arc<str> = name.into();
            let attribute = self.attr(value, &name)?;
            return self.call(&attribute, args);
        }
        match value {
            Val::V(Value::Str(text)) | Val::Safe(text) => self.string_method(&text.clone(), name, args),
            Val::V(Value::List(_)) | Val::List(_) | Val::V(Value::Tuple(_)) | Val::Tuple(_) => {
                self.list_method(value, name, args)
            }
            Val::V(Value::Map(_)) | Val::Dict(_) => self.map_method(value, name, args),
            Val::V(Value::Bytes(bytes)) => match name {
                "hex" => {
                    let [] = args.exactly("hex", 0)?;
                    Ok(Val::str(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()))
                }
                _ => {
                    let [encoding, errors] = args.bind("decode", ["encoding", "errors"], 0)?;
                    self.decode(bytes, encoding, errors)
                }
            },
            Val::V(date @ (Value::Date(_) | Value::DateTime(_))) => dates::method(self, date, name, args),
            Val::V(number) => {
                let [] = args.exactly(name, 0)?;
                Ok(number_method(number, name))
            }
            _ => template_error(format!("no method '{name}'")),
        }
    }
}

fn number_method(number: &Value, name: &str) -> Val {
    let big = match number {
        Value::Bool(flag) => num_bigint::BigInt::from(i64::from(*flag)),
        Value::Int(number) => num_bigint::BigInt::from(*number),
        Value::BigInt(big) => (**big).clone(),
        Value::Float(float) if name == "is_integer" => {
            return Val::bool(float.is_finite() && float.fract() == 0.0);
        }
        other => return Val::V(other.clone()),
    };
    match name {
        "bit_length" => Val::int(i64::try_from(big.bits()).unwrap_or(i64::MAX)),
        "bit_count" => {
            let ones: u32 = big.abs().iter_u64_digits().map(u64::count_ones).sum();
            Val::int(i64::from(ones))
        }
        "is_integer" => Val::bool(true),
        _ => Val::V(crate::value::int_from_big(big)),
    }
}
