//! Tests: what stands after `is`.

use super::eval::Renderer;
use super::eval::val::{Args, Obj, R, Val, type_error};
use super::filters::Filter;
use super::parse::ast::{Binary, Comparison};
use crate::value::Value;

/// A test by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    Boolean,
    Callable,
    Compare(Comparison),
    Defined,
    DivisibleBy,
    Escaped,
    Even,
    False,
    Filter,
    Float,
    Integer,
    Iterable,
    Lower,
    Mapping,
    None,
    Number,
    Odd,
    SameAs,
    Sequence,
    String,
    Name,
    True,
    Undefined,
    Upper,
}

impl Test {
    pub(super) fn named(name: &str) -> Option<Test> {
        Some(match name {
            "boolean" => Test::Boolean,
            "callable" => Test::Callable,
            "==" | "eq" | "equalto" => Test::Compare(Comparison::Eq),
            "!=" | "ne" => Test::Compare(Comparison::Ne),
            "<" | "lt" | "lessthan" => Test::Compare(Comparison::Lt),
            "<=" | "le" => Test::Compare(Comparison::Le),
            ">" | "gt" | "greaterthan" => Test::Compare(Comparison::Gt),
            ">=" | "ge" => Test::Compare(Comparison::Ge),
            "in" => Test::Compare(Comparison::In),
            "defined" => Test::Defined,
            "divisibleby" => Test::DivisibleBy,
            "escaped" => Test::Escaped,
            "even" => Test::Even,
            "false" => Test::False,
            "filter" => Test::Filter,
            "float" => Test::Float,
            "integer" => Test::Integer,
            "iterable" => Test::Iterable,
            "lower" => Test::Lower,
            "mapping" => Test::Mapping,
            "none" => Test::None,
            "number" => Test::Number,
            "odd" => Test::Odd,
            "sameas" => Test::SameAs,
            "sequence" => Test::Sequence,
            "string" => Test::String,
            "test" => Test::Name,
            "true" => Test::True,
            "undefined" => Test::Undefined,
            "upper" => Test::Upper,
            _ => return None,
        })
    }
}

impl Renderer<'_> {
    pub(super) fn test(&mut self, test: Test, value: &Val, args: Args) -> R<bool> {
        let takes_one = matches!(test, Test::Compare(_) | Test::DivisibleBy | Test::SameAs);
        let names = match test {
            Test::DivisibleBy => ["num"],
            Test::SameAs => ["other"],
            Test::Compare(Comparison::In) => ["seq"],
            _ => ["b"],
        };
        if !takes_one && (!args.pos.is_empty() || !args.kw.is_empty()) {
            return type_error("the test takes no arguments");
        }
        let [argument] = args.bind("test", names, usize::from(takes_one))?;
        let argument = argument.unwrap_or(Val::NULL);
        Ok(match test {
            Test::Boolean => matches!(value, Val::V(Value::Bool(_))),
            Test::Callable => match value {
                Val::Obj(object) => matches!(
                    **object,
                    Obj::Method(..)
                        | Obj::Macro(_)
                        | Obj::Global(_)
                        | Obj::Function(_)
                        | Obj::Joiner { .. }
                        | Obj::Loop(_)
                        | Obj::Block(_)
                ),
                // An undefined value has `__call__`.
                Val::Undef(_) => true,
                _ => false,
            },
            Test::Compare(comparison) => self.compare(comparison, value, &argument)?,
            Test::Defined => !matches!(value, Val::Undef(_)),
            Test::Undefined => matches!(value, Val::Undef(_)),
            Test::DivisibleBy => self.remainder_is(value, &argument, 0)?,
            Test::Even => self.remainder_is(value, &Val::int(2), 0)?,
            Test::Odd => self.remainder_is(value, &Val::int(2), 1)?,
            Test::Escaped => matches!(value, Val::Safe(_)),
            Test::False => matches!(value, Val::V(Value::Bool(false))),
            Test::True => matches!(value, Val::V(Value::Bool(true))),
            Test::None => value.is_null(),
            Test::Filter | Test::Name if value.text().is_none() => {
                if !matches!(value, Val::Obj(_)) {
                    self.key(value)?;
                }
                false
            }
            Test::Filter => value.text().is_some_and(|name| Filter::named(name).is_some()),
            Test::Name => value.text().is_some_and(|name| Test::named(name).is_some()),
            Test::Float => matches!(value, Val::V(Value::Float(_))),
            Test::Integer => matches!(value, Val::V(Value::Int(_) | Value::BigInt(_))),
            Test::Number => {
                matches!(value, Val::V(Value::Int(_) | Value::BigInt(_) | Value::Float(_) | Value::Bool(_)))
            }
            Test::Iterable => match value {
                Val::Undef(undefined) if undefined.lenient => true,
                Val::Undef(undefined) => return super::eval::val::template_error(undefined.message()),
                Val::V(
                    Value::Null
                    | Value::Bool(_)
                    | Value::Int(_)
                    | Value::BigInt(_)
                    | Value::Float(_)
                    | Value::Date(_)
                    | Value::DateTime(_),
                ) => false,
                Val::V(Value::Host(_)) | Val::Dot(_) => self.iterate(value).is_ok(),
                Val::Obj(object) => {
                    matches!(**object, Obj::Range { .. } | Obj::Lazy(_) | Obj::View(..) | Obj::Loop(_))
                }
                _ => true,
            },
            Test::Lower => {
                let text = self.str(value)?;
                super::methods::text::is_lower(&text)
            }
            Test::Upper => {
                let text = self.str(value)?;
                super::methods::text::is_upper(&text)
            }
            Test::Mapping => match value {
                Val::V(Value::Map(_)) | Val::Dict(_) => true,
                Val::V(Value::Host(object)) | Val::Dot(object) => self.host_is_map(object)?,
                _ => false,
            },
            Test::SameAs => self.same(value, &argument),
            Test::Sequence => match value {
                Val::V(
                    Value::Str(_) | Value::List(_) | Value::Tuple(_) | Value::Map(_) | Value::Bytes(_),
                )
                | Val::Safe(_)
                | Val::List(_)
                | Val::Tuple(_)
                | Val::Dict(_) => true,
                Val::V(Value::Host(_)) | Val::Dot(_) => self.length(value).is_ok(),
                Val::Obj(object) => matches!(**object, Obj::Range { .. }),
                _ => false,
            },
            Test::String => value.text().is_some(),
        })
    }

    fn remainder_is(&mut self, value: &Val, divisor: &Val, wanted: i64) -> R<bool> {
        let rest = self.binary(Binary::Mod, value, divisor)?;
        self.equal(&rest, &Val::int(wanted))
    }

    /// Python's `is`, as far as it has a meaning for values.
    fn same(&mut self, a: &Val, b: &Val) -> bool {
        match (a, b) {
            (Val::V(a), Val::V(b)) => match (a, b) {
                (Value::Null, Value::Null) => true,
                (Value::Bool(a), Value::Bool(b)) => a == b,
                (Value::Int(a), Value::Int(b)) => a == b,
                (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
                (Value::Str(a), Value::Str(b)) => a == b,
                (Value::List(a), Value::List(b)) => std::sync::Arc::ptr_eq(a, b),
                (Value::Map(a), Value::Map(b)) => std::sync::Arc::ptr_eq(a, b),
                (Value::Host(a), Value::Host(b)) => a == b,
                _ => false,
            },
            (Val::List(a), Val::List(b)) => std::rc::Rc::ptr_eq(a, b),
            (Val::Dict(a), Val::Dict(b)) => std::rc::Rc::ptr_eq(a, b),
            (Val::Tuple(a), Val::Tuple(b)) => std::rc::Rc::ptr_eq(a, b),
            (Val::Obj(a), Val::Obj(b)) => std::rc::Rc::ptr_eq(a, b),
            _ => a.host().is_some_and(|a| b.host() == Some(a)),
        }
    }
}
