//! Operators, as Python's objects answer them.

use std::cmp::Ordering;
use std::sync::Arc;

use num_bigint::BigInt;

use super::Renderer;
use super::arithmetic::{Number, arithmetic, number, symbol};
use super::expr::undefined_error;
use super::val::{Obj, R, Val, failure, type_error};
use crate::host::Query;
use crate::template::parse::ast::{Binary, Comparison};
use crate::value::{Value, compare_numbers, int_from_big};

impl Renderer<'_> {
    pub(in crate::template) fn binary(&mut self, op: Binary, left: &Val, right: &Val) -> R<Val> {
        if let (Some(a), Some(b)) = (number(left), number(right)) {
            return arithmetic(op, &a, &b);
        }
        let format = op == Binary::Mod && left.text().is_some();
        for operand in [left, right] {
            // A format that uses nothing leaves even an undefined value alone.
            if let Val::Undef(undefined) = operand
                && !format
            {
                return undefined_error(undefined);
            }
        }
        let result = match op {
            Binary::Add => self.add(left, right)?,
            Binary::Mul => self.repeat(left, right)?,
            Binary::Mod => match left.text() {
                Some(format) => {
                    let text = self.printf(&Arc::from(format), right, matches!(left, Val::Safe(_)))?;
                    Some(if matches!(left, Val::Safe(_)) { Val::Safe(text.into()) } else { Val::str(text) })
                }
                None => None,
            },
            Binary::Sub => self.difference(left, right)?,
            _ => None,
        };
        match result {
            Some(value) => Ok(value),
            None => self.unsupported(symbol(op), left, right),
        }
    }

    fn unsupported<T>(&self, symbol: &str, left: &Val, right: &Val) -> R<T> {
        let (left, right) = (self.type_name(left), self.type_name(right));
        type_error(match symbol {
            "+" if left == "str" => format!("can only concatenate str (not \"{right}\") to str"),
            "+" if left == "list" => format!("can only concatenate list (not \"{right}\") to list"),
            "+" if left == "tuple" => format!("can only concatenate tuple (not \"{right}\") to tuple"),
            _ => format!("unsupported operand type(s) for {symbol}: '{left}' and '{right}'"),
        })
    }

    fn add(&mut self, left: &Val, right: &Val) -> R<Option<Val>> {
        if let (Some(a), Some(b)) = (left.text(), right.text()) {
            self.produce(a.len() + b.len())?;
            let joined = [a, b].concat();
            return Ok(Some(match (left, right) {
                (Val::Safe(_), Val::Safe(_)) => Val::Safe(joined.into()),
                _ => Val::str(joined),
            }));
        }
        if let (Val::V(Value::Bytes(a)), Val::V(Value::Bytes(b))) = (left, right) {
            self.produce(a.len() + b.len())?;
            return Ok(Some(Val::V(Value::Bytes([&**a, &**b].concat().into()))));
        }
        let (Some(kind), Some(other)) = (self.sequence_kind(left)?, self.sequence_kind(right)?) else {
            return Ok(None);
        };
        if kind != other {
            return Ok(None);
        }
        let mut items = self.iterate(left)?;
        items.extend(self.iterate(right)?);
        self.produce(items.len() * size_of::<Val>())?;
        Ok(Some(if kind == "list" { Val::list(items) } else { Val::tuple(items) }))
    }

    /// `list` or `tuple` for what is one.
    pub(in crate::template) fn sequence_kind(&mut self, value: &Val) -> R<Option<&'static str>> {
        Ok(match value {
            Val::List(_) | Val::V(Value::List(_)) => Some("list"),
            Val::Tuple(_) | Val::V(Value::Tuple(_)) => Some("tuple"),
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let name = self.host_query(object, Query::TypeName, None)?;
                match name.as_str() {
                    Some("list") => Some("list"),
                    Some("tuple") => Some("tuple"),
                    _ => None,
                }
            }
            _ => None,
        })
    }

    fn difference(&mut self, left: &Val, right: &Val) -> R<Option<Val>> {
        let (Val::V(Value::Set(a)), Val::V(Value::Set(b))) = (left, right) else { return Ok(None) };
        let rest = a.iter().filter(|key| !b.contains(*key)).cloned().collect();
        Ok(Some(Val::V(Value::Set(Arc::new(rest)))))
    }

    fn repeat(&mut self, left: &Val, right: &Val) -> R<Option<Val>> {
        let (sequence, count) = match (number(left), number(right)) {
            (Some(count), None) => (right, count),
            (None, Some(count)) => (left, count),
            _ => return Ok(None),
        };
        let count = match count {
            Number::Int(count) => usize::try_from(count).unwrap_or(0),
            Number::Big(_) => {
                return match self.sequence_kind(sequence)? {
                    None if sequence.text().is_none() => Ok(None),
                    _ => failure("OverflowError", "cannot fit 'int' into an index-sized integer"),
                };
            }
            Number::Float(_) => {
                return match self.sequence_kind(sequence)? {
                    None if sequence.text().is_none() => Ok(None),
                    _ => type_error("can't multiply sequence by non-int of type 'float'"),
                };
            }
        };
        if let Some(text) = sequence.text() {
            self.produce(text.len().saturating_mul(count))?;
            let text = text.repeat(if text.is_empty() { 0 } else { count });
            return Ok(Some(if matches!(sequence, Val::Safe(_)) {
                Val::Safe(text.into())
            } else {
                Val::str(text)
            }));
        }
        let Some(kind) = self.sequence_kind(sequence)? else { return Ok(None) };
        let items = self.iterate(sequence)?;
        self.produce(items.len().saturating_mul(count).saturating_mul(size_of::<Val>()))?;
        let count = if items.is_empty() { 0 } else { count };
        let items: Vec<Val> = std::iter::repeat_n(&items, count).flatten().cloned().collect();
        Ok(Some(if kind == "list" { Val::list(items) } else { Val::tuple(items) }))
    }

    pub(super) fn negative(&mut self, value: &Val) -> R<Val> {
        match number(value) {
            Some(Number::Int(number)) => Ok(Val::V(int_from_big(-BigInt::from(number)))),
            Some(Number::Big(big)) => Ok(Val::V(int_from_big(-big))),
            Some(Number::Float(float)) => Ok(Val::V(Value::Float(-float))),
            None => match value {
                Val::Undef(undefined) => undefined_error(undefined),
                _ => type_error(format!("bad operand type for unary -: '{}'", self.type_name(value))),
            },
        }
    }

    pub(super) fn positive(&mut self, value: &Val) -> R<Val> {
        match value {
            Val::V(Value::Bool(flag)) => Ok(Val::int(i64::from(*flag))),
            Val::V(Value::Int(_) | Value::BigInt(_) | Value::Float(_)) => Ok(value.clone()),
            Val::Undef(undefined) => undefined_error(undefined),
            _ => type_error(format!("bad operand type for unary +: '{}'", self.type_name(value))),
        }
    }

    pub(in crate::template) fn compare(
        &mut self,
        comparison: Comparison,
        left: &Val,
        right: &Val,
    ) -> R<bool> {
        Ok(match comparison {
            Comparison::Eq => self.equal(left, right)?,
            Comparison::Ne => !self.equal(left, right)?,
            Comparison::Lt => self.order(left, right, "<")? == Some(Ordering::Less),
            Comparison::Le => self.order(left, right, "<=")?.is_some_and(Ordering::is_le),
            Comparison::Gt => self.order(left, right, ">")? == Some(Ordering::Greater),
            Comparison::Ge => self.order(left, right, ">=")?.is_some_and(Ordering::is_ge),
            Comparison::In => self.contains(right, left)?,
            Comparison::NotIn => !self.contains(right, left)?,
        })
    }

    pub(in crate::template) fn equal(&mut self, left: &Val, right: &Val) -> R<bool> {
        self.equal_at(left, right, 0)
    }

    fn equal_at(&mut self, left: &Val, right: &Val, depth: usize) -> R<bool> {
        if depth > super::convert::MAX_DEPTH {
            return failure("RecursionError", "maximum recursion depth exceeded in comparison");
        }
        match (left, right) {
            (Val::Undef(a), Val::Undef(b)) if a.lenient && b.lenient => return Ok(true),
            (Val::Undef(undefined), other) | (other, Val::Undef(undefined)) => {
                let both = matches!(other, Val::Undef(_));
                return if undefined.lenient && !both { Ok(false) } else { undefined_error(undefined) };
            }
            (Val::V(Value::Host(object)) | Val::Dot(object), other)
            | (other, Val::V(Value::Host(object)) | Val::Dot(object)) => {
                if let Some(same) = other.host()
                    && same == object
                {
                    return Ok(true);
                }
                let other = self.export(other)?;
                return Ok(self.host_query(object, Query::Equal, Some(&other))?.is_truthy());
            }
            (Val::V(a), Val::V(b)) if self.changed.is_empty() && self.scope.host.is_none() => {
                return Ok(a == b);
            }
            (Val::V(Value::List(a)), Val::V(Value::List(b))) if Arc::ptr_eq(a, b) => return Ok(true),
            _ => {}
        }
        if let (Some(a), Some(b)) = (left.text(), right.text()) {
            return Ok(a == b);
        }
        if let (Some(a), Some(b)) = (self.sequence_kind(left)?, self.sequence_kind(right)?) {
            if a != b || self.length(left)? != self.length(right)? {
                return Ok(false);
            }
            let (a, b) = (self.iterate(left)?, self.iterate(right)?);
            for (a, b) in a.iter().zip(&b) {
                if !self.equal_at(a, b, depth + 1)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let is_map = |value: &Val| matches!(value, Val::Dict(_) | Val::V(Value::Map(_)));
        if is_map(left) && is_map(right) {
            if self.length(left)? != self.length(right)? {
                return Ok(false);
            }
            for (key, value) in self.entries(left)?.unwrap_or_default() {
                let Val::V(key) = key else { return Ok(false) };
                let other = match right {
                    Val::Dict(dict) => dict.data.borrow().get(&key),
                    Val::V(Value::Map(map)) => map.get(&key).cloned().map(Val::V),
                    _ => None,
                };
                let Some(other) = other else { return Ok(false) };
                let other = self.current(other);
                if !self.equal_at(&value, &other, depth + 1)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        Ok(match (left, right) {
            (Val::V(a), Val::V(b)) => a == b,
            (Val::Obj(a), Val::Obj(b)) => match (&**a, &**b) {
                (Obj::Range { start: a, stop: b, step: c }, Obj::Range { start: x, stop: y, step: z }) => {
                    (a, b, c) == (x, y, z)
                }
                (Obj::View(kind, a), Obj::View(other, b)) if kind == other && *kind != "dict_values" => {
                    let (a, b) = (Val::list(a.clone()), Val::list(b.clone()));
                    self.equal_at(&a, &b, depth + 1)?
                }
                _ => std::rc::Rc::ptr_eq(a, b),
            },
            _ => false,
        })
    }

    /// The order of two values; `None` where NaN has none. Fails where Python has no order.
    pub(in crate::template) fn order(
        &mut self,
        left: &Val,
        right: &Val,
        symbol: &str,
    ) -> R<Option<Ordering>> {
        if let (Val::V(a), Val::V(b)) = (left, right) {
            if let Some(order) = compare_numbers(a, b) {
                return Ok(Some(order));
            }
            match (a, b) {
                (Value::Str(a), Value::Str(b)) => return Ok(Some(a.cmp(b))),
                (Value::Bytes(a), Value::Bytes(b)) => return Ok(Some(a.cmp(b))),
                (Value::Date(a), Value::Date(b)) => return Ok(Some(a.cmp(b))),
                (Value::DateTime(a), Value::DateTime(b)) if a.offset.is_some() == b.offset.is_some() => {
                    return Ok(Some(instant(a).cmp(&instant(b))));
                }
                _ => {}
            }
        }
        if number(left).is_some() && number(right).is_some() {
            return Ok(None);
        }
        if let (Some(a), Some(b)) = (left.text(), right.text()) {
            return Ok(Some(a.cmp(b)));
        }
        for operand in [left, right] {
            if let Val::Undef(undefined) = operand {
                return undefined_error(undefined);
            }
        }
        if let (Some(a), Some(b)) = (self.sequence_kind(left)?, self.sequence_kind(right)?)
            && a == b
        {
            self.check_stack()?;
            let (a, b) = (self.iterate(left)?, self.iterate(right)?);
            for (a, b) in a.iter().zip(&b) {
                if !self.equal(a, b)? {
                    return self.order(a, b, symbol);
                }
            }
            return Ok(Some(a.len().cmp(&b.len())));
        }
        if let Some(object) = left.host() {
            let other = self.export(right)?;
            return Ok(ordering(&self.host_query(object, Query::Compare, Some(&other))?));
        }
        if let Some(object) = right.host() {
            let other = self.export(left)?;
            let order = ordering(&self.host_query(object, Query::Compare, Some(&other))?);
            return Ok(order.map(Ordering::reverse));
        }
        type_error(format!(
            "'{symbol}' not supported between instances of '{}' and '{}'",
            self.type_name(left),
            self.type_name(right)
        ))
    }

    pub(in crate::template) fn contains(&mut self, container: &Val, item: &Val) -> R<bool> {
        match container {
            Val::Undef(undefined) if undefined.lenient => return Ok(false),
            Val::Undef(undefined) => return undefined_error(undefined),
            Val::V(Value::Str(text)) | Val::Safe(text) => {
                return match item.text() {
                    Some(part) => Ok(text.contains(part)),
                    None => type_error(format!(
                        "'in <string>' requires string as left operand, not {}",
                        self.type_name(item)
                    )),
                };
            }
            Val::V(Value::Map(_)) | Val::Dict(_) if is_identity_key(item) => return Ok(false),
            Val::V(Value::Map(map)) => {
                let key = self.key(item)?;
                return Ok(map.contains_key(key.value()));
            }
            Val::Dict(dict) => {
                let key = self.key(item)?;
                return Ok(dict.data.borrow().get(key.value()).is_some());
            }
            Val::V(Value::Set(items)) => {
                let key = self.key(item)?;
                return Ok(items.contains(&key));
            }
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                if let Val::Undef(undefined) = item {
                    return undefined_error(undefined);
                }
                let item = self.export(item)?;
                return Ok(self.host_query(object, Query::Contains, Some(&item))?.is_truthy());
            }
            Val::Obj(object) => match &**object {
                Obj::Range { .. } if matches!(item, Val::Undef(_)) => {
                    let Val::Undef(undefined) = item else { return Ok(false) };
                    return undefined_error(undefined);
                }
                Obj::Range { start, stop, step } => {
                    let Some(Number::Int(wanted)) = number(item) else {
                        return match number(item) {
                            Some(Number::Float(float)) if float.fract() == 0.0 && float.abs() < 9e15 => {
                                self.contains(container, &Val::int(float as i64))
                            }
                            _ => Ok(false),
                        };
                    };
                    let inside = if *step > 0 {
                        (*start..*stop).contains(&wanted)
                    } else {
                        wanted <= *start && wanted > *stop
                    };
                    return Ok(inside && (i128::from(wanted) - i128::from(*start)) % i128::from(*step) == 0);
                }
                Obj::View("dict_items", _) if matches!(item, Val::Undef(_)) => return Ok(false),
                Obj::View("dict_keys", _) if !is_identity_key(item) => {
                    self.key(item)?;
                }
                Obj::Lazy(_) | Obj::View(..) => {}
                _ => return self.not_iterable(container),
            },
            Val::V(Value::List(_) | Value::Tuple(_) | Value::Bytes(_)) | Val::List(_) | Val::Tuple(_) => {}
            Val::V(_) => return self.not_iterable(container),
        }
        for other in self.iterate(container)? {
            if self.equal(&other, item)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn not_iterable<T>(&self, value: &Val) -> R<T> {
        type_error(format!("argument of type '{}' is not iterable", self.type_name(value)))
    }
}

/// Whether the object is a key by its identity only, so that no map has it.
fn is_identity_key(value: &Val) -> bool {
    matches!(value, Val::Obj(object) if !matches!(**object, Obj::View("dict_keys" | "dict_items", _)))
}

fn ordering(value: &Value) -> Option<Ordering> {
    match value {
        Value::Int(number) => Some(number.cmp(&0)),
        _ => None,
    }
}

/// Something that orders like the instant; only comparable if both have an offset, or none has.
fn instant(time: &crate::value::DateTime) -> (i64, u32) {
    let year = i64::from(time.date.year) - i64::from(time.date.month <= 2);
    let month = (i64::from(time.date.month) + 9) % 12;
    let days = year * 365 + year.div_euclid(4) - year.div_euclid(100)
        + year.div_euclid(400)
        + (month * 153 + 2) / 5
        + i64::from(time.date.day);
    let seconds = i64::from(time.hour) * 3600 + i64::from(time.minute) * 60 + i64::from(time.second);
    (days * 86_400 + seconds - i64::from(time.offset.unwrap_or(0)), time.microsecond)
}
