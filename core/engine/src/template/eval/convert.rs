//! Values of a rendering as values of the engine, and going through them.

use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::expr::{undefined_error, val_range_len};
use super::val::{DictData, Obj, R, Val, failure, type_error};
use super::{Renderer, hosted};
use crate::value::{Key, Map, Value};

/// How deep values may be nested where the engine goes through them by recursion.
pub(super) const MAX_DEPTH: usize = 200;

impl Renderer<'_> {
    /// The value for use outside: undefined parts are null, what is lazy is a list.
    pub(in crate::template) fn export(&mut self, value: &Val) -> R<Value> {
        self.exported(value, 0)
    }

    fn exported(&mut self, value: &Val, depth: usize) -> R<Value> {
        if depth > MAX_DEPTH {
            return failure("RecursionError", "maximum recursion depth exceeded");
        }
        let list = |this: &mut Self, items: &[Val]| -> R<Vec<Value>> {
            items.iter().map(|item| this.exported(item, depth + 1)).collect()
        };
        Ok(match value {
            Val::V(value) if self.changed.is_empty() => value.clone(),
            Val::V(value) => self.rebuilt(value, depth)?.unwrap_or_else(|| value.clone()),
            Val::Undef(_) => Value::Null,
            Val::Safe(text) => Value::Str(Arc::clone(text)),
            Val::Dot(object) => Value::Host(object.clone()),
            Val::List(cell) => {
                let items = cell.0.borrow().clone();
                Value::list(list(self, &items)?)
            }
            Val::Tuple(tuple) => Value::Tuple(Arc::new(list(self, &tuple.items)?)),
            Val::Dict(dict) => match &*dict.data.borrow() {
                DictData::Shared(map) if self.changed.is_empty() => Value::Map(Arc::clone(map)),
                DictData::Shared(map) => {
                    let shared = Value::Map(Arc::clone(map));
                    self.rebuilt(&shared, depth)?.unwrap_or(shared)
                }
                DictData::Own(map) => {
                    let mut out = Map::with_capacity(map.len());
                    for (key, value) in map {
                        out.insert(key.clone(), self.exported(value, depth + 1)?);
                    }
                    Value::map(out)
                }
            },
            Val::Obj(object) => match &**object {
                Obj::Range { .. } | Obj::Lazy(_) | Obj::View(..) => {
                    let items = self.peek_items(value)?;
                    Value::list(list(self, &items)?)
                }
                Obj::Namespace(entries) => {
                    let mut out = Map::new();
                    for (name, value) in entries.borrow().iter() {
                        out.insert(Key::from(Arc::clone(name)), self.exported(value, depth + 1)?);
                    }
                    Value::map(out)
                }
                _ => Value::from(self.repr(value)?),
            },
        })
    }

    /// A value of the engine with what this rendering changed in it; `None` if that is nothing.
    pub(super) fn rebuilt(&mut self, value: &Value, depth: usize) -> R<Option<Value>> {
        if depth > MAX_DEPTH {
            return failure("RecursionError", "maximum recursion depth exceeded");
        }
        if let Value::List(_) | Value::Map(_) = value {
            let changed = self.current(Val::V(value.clone()));
            if !matches!(changed, Val::V(_)) {
                return self.exported(&changed, depth).map(Some);
            }
        }
        let items = |this: &mut Self, items: &[Value]| -> R<Option<Vec<Value>>> {
            let mut out: Option<Vec<Value>> = None;
            for (index, item) in items.iter().enumerate() {
                if let Some(item) = this.rebuilt(item, depth + 1)?
                    && let Some(place) = out.get_or_insert_with(|| items.to_vec()).get_mut(index)
                {
                    *place = item;
                }
            }
            Ok(out)
        };
        Ok(match value {
            Value::List(list) => items(self, list)?.map(Value::list),
            Value::Tuple(tuple) => items(self, tuple)?.map(|items| Value::Tuple(Arc::new(items))),
            Value::Map(map) => {
                let mut out: Option<Map> = None;
                for (key, value) in map.iter() {
                    if let Some(value) = self.rebuilt(value, depth + 1)? {
                        out.get_or_insert_with(|| (**map).clone()).insert(key.clone(), value);
                    }
                }
                out.map(Value::map)
            }
            _ => None,
        })
    }

    /// The elements, as iteration yields them; what is lazy is used up.
    pub(in crate::template) fn iterate(&mut self, value: &Val) -> R<Vec<Val>> {
        let items = self.peek_items(value)?;
        if let Val::Obj(object) = value
            && let Obj::Lazy(rest) = &**object
        {
            rest.borrow_mut().clear();
        }
        Ok(items)
    }

    /// As [`Self::iterate`], but leaves what is lazy as it is.
    pub(super) fn peek_items(&mut self, value: &Val) -> R<Vec<Val>> {
        let items = match value {
            Val::V(Value::List(items) | Value::Tuple(items)) => {
                items.iter().map(|item| self.current(Val::V(item.clone()))).collect()
            }
            Val::V(Value::Map(map)) => map.keys().map(|key| Val::V(key.value().clone())).collect(),
            Val::V(Value::Set(items)) => items.iter().map(|key| Val::V(key.value().clone())).collect(),
            Val::V(Value::Str(text)) | Val::Safe(text) => {
                let mut buffer = [0; 4];
                text.chars().map(|c| Val::str(&*c.encode_utf8(&mut buffer))).collect()
            }
            Val::V(Value::Bytes(bytes)) => bytes.iter().map(|byte| Val::int(i64::from(*byte))).collect(),
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let Some(host) = self.scope.host else { return type_error("the scope has no host") };
                let items = host.keys(object.id()).or_else(hosted::host_failure)?;
                items.into_iter().map(Val::V).collect()
            }
            Val::Undef(undefined) if undefined.lenient => Vec::new(),
            Val::Undef(undefined) => return undefined_error(undefined),
            Val::List(list) => list.0.borrow().clone(),
            Val::Tuple(tuple) => tuple.items.clone(),
            Val::Dict(dict) => dict.data.borrow().keys(),
            Val::Obj(object) => match &**object {
                Obj::Lazy(items) => items.borrow().clone(),
                Obj::View(_, items) => items.clone(),
                Obj::Range { start, stop, step } => {
                    let length = val_range_len(*start, *stop, *step);
                    self.step(length)?;
                    self.produce(length.saturating_mul(size_of::<Val>()))?;
                    let (start, step) = (*start, *step);
                    return Ok((0..length)
                        .filter_map(|at| Some(Val::int(start + step * i64::try_from(at).ok()?)))
                        .collect());
                }
                _ => return type_error(format!("'{}' object is not iterable", self.type_name(value))),
            },
            _ => return type_error(format!("'{}' object is not iterable", self.type_name(value))),
        };
        self.step(items.len())?;
        Ok(items)
    }

    /// The entries of a map in order; `None` if the value is none.
    pub(in crate::template) fn entries(&mut self, value: &Val) -> R<Option<Vec<(Val, Val)>>> {
        Ok(Some(match value {
            Val::V(Value::Map(map)) => map
                .iter()
                .map(|(key, value)| (Val::V(key.value().clone()), self.current(Val::V(value.clone()))))
                .collect(),
            Val::Dict(dict) => {
                let entries = dict.data.borrow().entries();
                entries.into_iter().map(|(key, value)| (key, self.current(value))).collect()
            }
            Val::V(Value::Host(object)) | Val::Dot(object) if self.host_is_map(object)? => {
                let keys = self.iterate(value)?;
                let mut entries = Vec::with_capacity(keys.len());
                for key in keys {
                    let wanted = self.export(&key)?;
                    let found = self.host_get(object, &wanted, crate::host::Lookup::Item)?;
                    entries.push((key, Val::V(found.unwrap_or_default())));
                }
                entries
            }
            _ => return Ok(None),
        }))
    }

    /// Number of elements, or a TypeError.
    pub(in crate::template) fn length(&mut self, value: &Val) -> R<usize> {
        Ok(match value {
            Val::V(Value::Str(text)) | Val::Safe(text) => text.chars().count(),
            Val::V(Value::List(items) | Value::Tuple(items)) => items.len(),
            Val::V(Value::Map(map)) => map.len(),
            Val::V(Value::Set(items)) => items.len(),
            Val::V(Value::Bytes(bytes)) => bytes.len(),
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                match self.host_query(object, crate::host::Query::Length, None)? {
                    Value::Int(length) => usize::try_from(length).unwrap_or(0),
                    _ => return type_error("the host gave a length that is no integer"),
                }
            }
            Val::Undef(undefined) if undefined.lenient => 0,
            Val::Undef(undefined) => return undefined_error(undefined),
            Val::List(list) => list.0.borrow().len(),
            Val::Tuple(tuple) => tuple.items.len(),
            Val::Dict(dict) => dict.data.borrow().len(),
            Val::Obj(object) => match &**object {
                Obj::Range { start, stop, step } => val_range_len(*start, *stop, *step),
                Obj::View(_, items) => items.len(),
                Obj::Loop(state) => state.items.len(),
                _ => return type_error(format!("object of type '{}' has no len()", self.type_name(value))),
            },
            _ => return type_error(format!("object of type '{}' has no len()", self.type_name(value))),
        })
    }

    /// The list of the template in place of a list or map of the engine that is about to be changed.
    pub(in crate::template) fn writable(&mut self, value: &Val) -> Val {
        let (address, copy) = match value {
            Val::V(Value::List(items)) => {
                (Arc::as_ptr(items) as usize, Val::list(items.iter().cloned().map(Val::V).collect()))
            }
            Val::V(Value::Map(map)) => {
                let entries: IndexMap<Key, Val> =
                    map.iter().map(|(key, value)| (key.clone(), Val::V(value.clone()))).collect();
                (Arc::as_ptr(map) as usize, Val::dict(entries))
            }
            other => return other.clone(),
        };
        let Val::V(original) = value else { return value.clone() };
        self.changed.entry(address).or_insert_with(|| (original.clone(), copy)).1.clone()
    }

    /// Whether `item` holds the container, or is nested too deep: then it cannot become an element of it.
    pub(in crate::template) fn check_cycle(&mut self, container: &Val, item: &Val) -> R<()> {
        let mut work = vec![(item.clone(), 0_usize)];
        while let Some((value, depth)) = work.pop() {
            self.step(1)?;
            let same = match (&value, container) {
                (Val::List(a), Val::List(b)) => Rc::ptr_eq(a, b),
                (Val::Dict(a), Val::Dict(b)) => Rc::ptr_eq(a, b),
                _ => false,
            };
            if same || depth > MAX_DEPTH {
                return failure("RecursionError", "a container cannot hold itself");
            }
            match &value {
                Val::List(list) => work.extend(list.0.borrow().iter().map(|item| (item.clone(), depth + 1))),
                Val::Tuple(tuple) => work.extend(tuple.items.iter().map(|item| (item.clone(), depth + 1))),
                Val::Dict(dict) => {
                    if let DictData::Own(map) = &*dict.data.borrow() {
                        work.extend(map.values().map(|item| (item.clone(), depth + 1)));
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
