//! Looking into values: static paths, attributes, items, slices.

use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use super::Renderer;
use super::expr::{undefined_error, val_range_len};
use super::val::{Missing, Obj, R, Val, type_error, value_error};
use crate::host::{Lookup, Resolved};
use crate::run::state_of_result;
use crate::template::methods;
use crate::template::parse::ast::{Path, Step};
use crate::template::scope::Root;
use crate::value::{Key, Map, Value};

impl Renderer<'_> {
    /// A path that ends in `get(key, default)`.
    pub(in crate::template) fn path_or(&mut self, path: &Path, default: &Value) -> R<Val> {
        Ok(match self.walk_get(path)? {
            Some(value) => value,
            None => Val::V(default.clone()),
        })
    }

    pub(super) fn path(&mut self, path: &Path) -> R<Val> {
        if ends_in_get(path) {
            return Ok(self.walk_get(path)?.unwrap_or(Val::NULL));
        }
        match self.scope.root(&path.root) {
            Some(Root::Map(map)) => self.walk_map(map, true, path, path.steps.len()),
            Some(Root::Value(Value::Map(map))) if !path.steps.is_empty() => {
                self.walk_map(map, true, path, path.steps.len())
            }
            Some(Root::Host(object)) if !path.steps.is_empty() => {
                self.walk_host(object, path, path.steps.len())
            }
            Some(Root::Env) => self.walk_env(path, path.steps.len()),
            _ => {
                let root = self.root_value(&path.root)?;
                self.steps(root, &path.steps)
            }
        }
    }

    /// The entry at the end of a path that ends in `get`; `None` if there is none.
    fn walk_get(&mut self, path: &Path) -> R<Option<Val>> {
        let Some((Step::Get(key), before)) = path.steps.split_last() else {
            return self.path(path).map(Some);
        };
        let object = match self.scope.root(&path.root) {
            Some(Root::Map(map)) if before.is_empty() && !map.contains_key("get") => {
                return Ok(map.get(key).cloned().map(|value| self.current(Val::V(value))));
            }
            Some(Root::Host(object)) if path.hosted == path.steps.len() => {
                return match self.resolved(object, path)? {
                    Resolved::Found(value) => Ok(Some(Val::V(value))),
                    Resolved::Missing { depth } if depth + 1 >= path.steps.len() => Ok(None),
                    Resolved::Missing { .. } => {
                        let object = self.walk_host(object, path, before.len())?;
                        undefined_of(object)
                    }
                };
            }
            Some(Root::Map(map)) if !before.is_empty() => self.walk_map(map, true, path, before.len())?,
            Some(Root::Host(object)) if !before.is_empty() => self.walk_host(object, path, before.len())?,
            Some(Root::Env) => self.walk_env(path, before.len())?,
            _ => {
                let root = self.root_value(&path.root)?;
                self.steps(root, before)?
            }
        };
        let entry = self.map_get(&object, key)?;
        match entry {
            Some(found) => Ok(found),
            None => {
                // Whatever else has a method of this name, or an error that says that there is none.
                let args = super::val::Args::positional(vec![Val::V(key.clone())]);
                let value = self.call_method(&object, "get", args)?;
                Ok(Some(value))
            }
        }
    }

    /// `Some(entry)` if the value is a map whose method `get` is meant; `None` for anything else.
    #[allow(clippy::option_option)]
    fn map_get(&mut self, object: &Val, key: &Value) -> R<Option<Option<Val>>> {
        Ok(match object {
            Val::V(Value::Map(map)) => {
                let found = map.get(key).or_else(|| state_of_result(map)?.get(key));
                Some(found.cloned().map(|value| self.current(Val::V(value))))
            }
            Val::Dict(dict) => {
                let data = dict.data.borrow();
                if dict.dot && data.get_str("get").is_some() {
                    return type_error("the value under the key 'get' hides the method of this name");
                }
                let found = data.get(key);
                drop(data);
                Some(found.map(|value| self.current(value)))
            }
            Val::Undef(undefined) => return undefined_error(undefined),
            _ => None,
        })
    }

    /// Follows steps over maps and lists of the engine without making intermediate values.
    fn walk_map(&mut self, map: &Map, dot: bool, path: &Path, count: usize) -> R<Val> {
        let steps = path.steps.get(..count).unwrap_or_default();
        let Some((first, rest)) = steps.split_first() else {
            return Ok(Val::dot(Arc::new(map.clone())));
        };
        let (mut current, mut dot) = match first {
            Step::Attr(name) => match map.get(&**name) {
                Some(value) => (value, dot),
                None => {
                    let object = Val::dot(Arc::new(Map::new()));
                    let missing = self.attr(&object, name)?;
                    let missing = match missing {
                        // A method of the root itself: of its real content.
                        Val::Obj(_) => self.attr(&Val::dot(Arc::new(map.clone())), name)?,
                        other => other,
                    };
                    return self.steps(missing, rest);
                }
            },
            Step::Key(key) if map.contains_key(key) => match map.get(key) {
                Some(value) => (value, false),
                None => return Ok(Val::NULL),
            },
            _ => {
                let root = Val::dot(Arc::new(map.clone()));
                return self.steps(root, steps);
            }
        };
        for (index, step) in rest.iter().enumerate() {
            if !self.changed.is_empty() {
                let value = self.wrapped(current, dot);
                return self.steps(value, rest.get(index..).unwrap_or_default());
            }
            let next = match (step, current) {
                (Step::Attr(name), Value::Map(map)) if dot || !methods::is_map_method(name) => {
                    map.get(&**name).map(|value| (value, dot))
                }
                (Step::Key(key), Value::Map(map)) => map.get(key).map(|value| (value, false)),
                (Step::Index(at), Value::List(items)) => {
                    place(items.len(), *at).and_then(|at| items.get(at)).map(|value| (value, false))
                }
                _ => None,
            };
            match next {
                Some((value, still_dot)) => (current, dot) = (value, still_dot),
                None => {
                    let value = self.wrapped(current, dot);
                    return self.steps(value, rest.get(index..).unwrap_or_default());
                }
            }
        }
        Ok(self.wrapped(current, dot))
    }

    fn wrapped(&self, value: &Value, dot: bool) -> Val {
        match value {
            Value::Map(map) if dot => match self.current(Val::V(value.clone())) {
                Val::Dict(cell) => copy_as_dot(&cell),
                _ => Val::dot(Arc::clone(map)),
            },
            Value::Host(object) if dot => Val::Dot(object.clone()),
            _ => self.current(Val::V(value.clone())),
        }
    }

    /// The value as this rendering has changed it.
    pub(in crate::template) fn current(&self, value: Val) -> Val {
        if self.changed.is_empty() {
            return value;
        }
        let address = match &value {
            Val::V(Value::List(items)) => Arc::as_ptr(items) as usize,
            Val::V(Value::Map(map)) => Arc::as_ptr(map) as usize,
            _ => return value,
        };
        self.changed.get(&address).map_or(value, |(_, changed)| changed.clone())
    }

    pub(super) fn steps(&mut self, mut value: Val, steps: &[Step]) -> R<Val> {
        for step in steps {
            value = match step {
                Step::Attr(name) => self.attr(&value, name)?,
                Step::Key(key) | Step::Get(key) => self.item(&value, &Val::V(key.clone()))?,
                Step::Index(index) => self.item(&value, &Val::int(*index))?,
            };
        }
        Ok(value)
    }

    fn walk_env(&mut self, path: &Path, count: usize) -> R<Val> {
        let steps = path.steps.get(..count).unwrap_or_default();
        let name = match steps.first() {
            Some(Step::Attr(name)) => name,
            Some(Step::Key(Value::Str(name))) => name,
            _ => {
                let root = self.root_value(&path.root)?;
                return self.steps(root, steps);
            }
        };
        // A name with `=` or U+0000 cannot be a variable, and asking for one is an error.
        let value =
            if name.is_empty() || name.contains(['=', '\0']) { None } else { std::env::var_os(&**name) };
        let value = match value {
            Some(value) => Val::str(value.to_string_lossy().as_ref()),
            None => {
                let root = self.root_value(&path.root)?;
                return self.steps(root, steps);
            }
        };
        self.steps(value, steps.get(1..).unwrap_or_default())
    }

    pub(super) fn missing_attr_of_map(&mut self, name: &Arc<str>, dot: bool) -> Val {
        match (dot, name.starts_with('_')) {
            (true, true) => self.no_attribute(DOT_REPR.into(), name),
            (true, false) => Val::NULL,
            (false, _) => self.no_attribute("dict object".into(), name),
        }
    }

    // ------------------------------------------------------------------ attributes

    pub(super) fn no_attribute(&self, object: Cow<'static, str>, name: &Arc<str>) -> Val {
        Val::undefined(Missing::Attribute { object, name: Arc::clone(name) })
    }

    /// `object.name`: attribute, then item, else undefined.
    pub(in crate::template) fn attr(&mut self, object: &Val, name: &Arc<str>) -> R<Val> {
        match object {
            Val::Undef(undefined) => return undefined_error(undefined),
            Val::V(Value::Map(map)) => {
                if methods::is_map_method(name) {
                    return Ok(Val::obj(Obj::Method(object.clone(), Arc::clone(name))));
                }
                let found = map.get(&**name).or_else(|| state_of_result(map)?.get(&**name));
                if let Some(value) = found {
                    return Ok(self.current(Val::V(value.clone())));
                }
                return Ok(self.missing_attr_of_map(name, false));
            }
            Val::Dict(dict) => {
                let is_method = methods::is_map_method(name);
                if dict.dot || !is_method {
                    let found = dict.data.borrow().get_str(name);
                    if let Some(value) = found {
                        return Ok(if dict.dot { self.dotted(value) } else { self.current(value) });
                    }
                }
                if is_method {
                    return Ok(Val::obj(Obj::Method(object.clone(), Arc::clone(name))));
                }
                return Ok(self.missing_attr_of_map(name, dict.dot));
            }
            Val::Dot(host) => return self.host_attr(host, name, true),
            Val::V(Value::Host(host)) => return self.host_attr(host, name, false),
            _ => {}
        }
        if let Some(value) = self.own_attr(object, name)? {
            return Ok(value);
        }
        Ok(self.no_attribute(self.type_repr(object), name))
    }

    fn dotted(&self, value: Val) -> Val {
        match self.current(value) {
            Val::V(Value::Map(map)) => Val::dot(map),
            Val::V(Value::Host(object)) => Val::Dot(object),
            Val::Dict(cell) if !cell.dot => copy_as_dot(&cell),
            other => other,
        }
    }

    /// An attribute that is no item: methods and the like. Nothing for names that begin with an underscore.
    pub(in crate::template) fn own_attr(&mut self, object: &Val, name: &Arc<str>) -> R<Option<Val>> {
        if name.starts_with('_') {
            return Ok(None);
        }
        let method = |object: &Val| Some(Val::obj(Obj::Method(object.clone(), Arc::clone(name))));
        Ok(match object {
            Val::Obj(inner) => match &**inner {
                Obj::Namespace(entries) => entries.borrow().get(name).cloned(),
                Obj::Loop(state) => self.loop_attr(object, state, name)?,
                Obj::Cycler { items, position } => match &**name {
                    "current" => items.get(position.get()).cloned(),
                    "next" | "reset" => method(object),
                    _ => None,
                },
                Obj::Macro(value) if **name == *"name" => {
                    Some(value.node.name.as_ref().map_or(Val::NULL, |name| Val::str(Arc::clone(name))))
                }
                Obj::Blocks => {
                    let block = self.blocks.iter().find(|block| block.name == *name);
                    block.map(|block| Val::obj(Obj::Block(Arc::clone(block))))
                }
                Obj::Range { start, stop, step } => match &**name {
                    "index" | "count" => method(object),
                    "start" => Some(Val::int(*start)),
                    "stop" => Some(Val::int(*stop)),
                    "step" => Some(Val::int(*step)),
                    _ => None,
                },
                _ => None,
            },
            Val::Tuple(tuple) if tuple.group && (**name == *"grouper" || **name == *"list") => {
                tuple.items.get(usize::from(**name == *"list")).cloned()
            }
            _ if methods::has_method(object, name) => method(object),
            _ => methods::property(object, name),
        })
    }

    // ------------------------------------------------------------------ items

    /// `object[key]`: item, then (for a text) attribute, else undefined.
    pub(in crate::template) fn item(&mut self, object: &Val, key: &Val) -> R<Val> {
        if let Val::Undef(undefined) = object {
            return undefined_error(undefined);
        }
        if let Some(value) = self.own_item(object, key)? {
            return Ok(self.current(value));
        }
        if let Some(text) = key.text() {
            let name: Arc<str> = text.into();
            let value = match object {
                Val::V(Value::Map(_)) | Val::Dict(_) if methods::is_map_method(&name) => {
                    Some(Val::obj(Obj::Method(object.clone(), Arc::clone(&name))))
                }
                Val::Dict(dict) if dict.dot => Some(self.missing_attr_of_map(&name, true)),
                Val::Dot(host) => Some(self.host_attr(host, &name, true)?),
                Val::V(Value::Host(host)) if !name.starts_with('_') => {
                    self.host_get(host, &Value::Str(Arc::clone(&name)), Lookup::Attribute)?.map(Val::V)
                }
                _ => self.own_attr(object, &name)?,
            };
            return Ok(value.unwrap_or_else(|| self.no_attribute(self.type_repr(object), &name)));
        }
        let key = self.repr(key)?;
        Ok(Val::undefined(Missing::Element { object: self.type_repr(object), key }))
    }

    pub(in crate::template) fn own_item(&mut self, object: &Val, key: &Val) -> R<Option<Val>> {
        Ok(match object {
            Val::V(Value::Map(map)) => match (key, key.text()) {
                (_, Some(text)) => {
                    let found = map.get(text).or_else(|| state_of_result(map)?.get(text));
                    found.cloned().map(Val::V)
                }
                _ => match self.hashable(key)? {
                    Some(key) => map.get(key.value()).cloned().map(Val::V),
                    None => None,
                },
            },
            Val::Dict(dict) => match key.text() {
                Some(text) => dict.data.borrow().get_str(text),
                None => match self.hashable(key)? {
                    Some(key) => dict.data.borrow().get(key.value()),
                    None => None,
                },
            },
            Val::V(Value::Host(host)) | Val::Dot(host) => {
                if matches!(key, Val::Undef(_)) {
                    return Ok(None);
                }
                let key = self.export(key)?;
                self.host_get(host, &key, Lookup::Item)?.map(Val::V)
            }
            _ => {
                let Some(index) = key.as_int() else { return Ok(None) };
                match object {
                    Val::V(Value::List(items) | Value::Tuple(items)) => {
                        place(items.len(), index).and_then(|at| items.get(at)).cloned().map(Val::V)
                    }
                    Val::List(list) => {
                        let items = list.0.borrow();
                        place(items.len(), index).and_then(|at| items.get(at)).cloned()
                    }
                    Val::Tuple(tuple) => {
                        place(tuple.items.len(), index).and_then(|at| tuple.items.get(at)).cloned()
                    }
                    Val::V(Value::Str(text)) | Val::Safe(text) => character(text, index).map(Val::str),
                    Val::V(Value::Bytes(bytes)) => place(bytes.len(), index)
                        .and_then(|at| bytes.get(at))
                        .map(|byte| Val::int(i64::from(*byte))),
                    Val::Obj(inner) => match &**inner {
                        Obj::Range { start, stop, step } => place(val_range_len(*start, *stop, *step), index)
                            .and_then(|at| i64::try_from(at).ok())
                            .map(|at| Val::int(start + step * at)),
                        _ => None,
                    },
                    _ => None,
                }
            }
        })
    }

    fn hashable(&mut self, key: &Val) -> R<Option<Key>> {
        match self.key(key) {
            Ok(key) => Ok(Some(key)),
            Err(fail) if fail.class.as_deref() == Some("TypeError") => Ok(None),
            Err(fail) => Err(fail),
        }
    }

    /// `object[start:stop:step]`
    pub(super) fn slice(&mut self, object: &Val, bounds: [Option<Val>; 3]) -> R<Val> {
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(&bounds) {
            *number = match bound {
                None => None,
                Some(value) if value.is_null() => None,
                Some(Val::Undef(_)) => {
                    return type_error("slice indices must be integers or None or have an __index__ method");
                }
                Some(Val::V(Value::BigInt(big))) => {
                    Some(if big.sign() == num_bigint::Sign::Minus { i64::MIN / 4 } else { i64::MAX / 4 })
                }
                Some(value) => match value.as_int() {
                    Some(number) => Some(number),
                    None => {
                        return type_error(
                            "slice indices must be integers or None or have an __index__ method",
                        );
                    }
                },
            };
        }
        let [start, stop, step] = numbers;
        let step = step.unwrap_or(1);
        let range = matches!(object, Val::Obj(inner) if matches!(**inner, Obj::Range { .. }));
        if step == 0 && (range || object.text().is_some() || self.sequence_kind(object)?.is_some()) {
            return value_error("slice step cannot be zero");
        }
        let indices = |length: usize| slice_indices(length, start, stop, step);
        Ok(match object {
            Val::Undef(undefined) => return undefined_error(undefined),
            Val::V(Value::Str(text)) | Val::Safe(text) => {
                let characters: Vec<char> = text.chars().collect();
                let cut: String = indices(characters.len()).filter_map(|at| characters.get(at)).collect();
                if matches!(object, Val::Safe(_)) { Val::Safe(cut.into()) } else { Val::str(cut) }
            }
            Val::V(Value::Bytes(bytes)) => {
                let cut: Vec<u8> = indices(bytes.len()).filter_map(|at| bytes.get(at)).copied().collect();
                Val::V(Value::Bytes(cut.into()))
            }
            Val::V(Value::List(_)) | Val::List(_) | Val::V(Value::Tuple(_)) | Val::Tuple(_) => {
                let items = self.iterate(object)?;
                let cut: Vec<Val> = indices(items.len()).filter_map(|at| items.get(at)).cloned().collect();
                match object {
                    Val::V(Value::Tuple(_)) | Val::Tuple(_) => Val::tuple(cut),
                    _ => Val::list(cut),
                }
            }
            Val::V(Value::Host(host)) | Val::Dot(host) if !self.host_is_map(host)? => {
                let type_name = self.type_name(object);
                let items = self.iterate(object)?;
                let cut: Vec<Val> = indices(items.len()).filter_map(|at| items.get(at)).cloned().collect();
                if type_name == "tuple" { Val::tuple(cut) } else { Val::list(cut) }
            }
            Val::Obj(inner) => match &**inner {
                Obj::Range { start, stop, step } => {
                    let (first, length) = (*start, val_range_len(*start, *stop, *step));
                    let step = *step;
                    let cut = indices(length).filter_map(|at| {
                        Some(Val::int(first.checked_add(step.checked_mul(i64::try_from(at).ok()?)?)?))
                    });
                    let cut: Vec<Val> = cut.take(self.scope.limits.bytes / size_of::<Val>()).collect();
                    self.produce(cut.len() * size_of::<Val>())?;
                    Val::list(cut)
                }
                _ => return type_error(format!("'{}' object is not subscriptable", self.type_name(object))),
            },
            Val::V(Value::Map(_)) | Val::Dict(_) | Val::Dot(_) => {
                return type_error("unhashable type: 'slice'");
            }
            _ => return type_error(format!("'{}' object is not subscriptable", self.type_name(object))),
        })
    }
}

pub(super) const DOT_REPR: &str = "the_edge_agent.yaml_templates.DotDict object";

fn ends_in_get(path: &Path) -> bool {
    matches!(path.steps.last(), Some(Step::Get(_)))
}

fn undefined_of<T>(object: Val) -> R<T> {
    match object {
        Val::Undef(undefined) => undefined_error(&undefined),
        Val::V(Value::Null) => super::val::template_error("'None' has no attribute 'get'"),
        _ => type_error("the object has no entries"),
    }
}

fn copy_as_dot(cell: &Rc<super::val::DictCell>) -> Val {
    let entries = cell.data.borrow();
    let copy = match &*entries {
        super::val::DictData::Shared(map) => super::val::DictData::Shared(Arc::clone(map)),
        super::val::DictData::Own(map) => super::val::DictData::Own(map.clone()),
    };
    Val::Dict(Rc::new(super::val::DictCell { dot: true, data: copy.into() }))
}

/// An index that may count from the end.
pub(in crate::template) fn place(length: usize, index: i64) -> Option<usize> {
    let at = if index < 0 { i64::try_from(length).ok()?.checked_add(index)? } else { index };
    usize::try_from(at).ok().filter(|at| *at < length)
}

fn character(text: &str, index: i64) -> Option<String> {
    let found = if index >= 0 {
        text.chars().nth(usize::try_from(index).ok()?)
    } else {
        text.chars().rev().nth(usize::try_from(index.checked_neg()?.checked_sub(1)?).ok()?)
    };
    found.map(String::from)
}

/// The indices of a slice, as Python computes them.
fn slice_indices(
    length: usize,
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
) -> impl Iterator<Item = usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (low, high) = if step < 0 { (-1, length - 1) } else { (0, length) };
    let clip = |bound: i64| {
        let bound = if bound < 0 { bound.saturating_add(length) } else { bound };
        bound.clamp(low, high)
    };
    let begin = start.map_or(if step < 0 { high } else { low }, clip);
    let end = stop.map_or(if step < 0 { low } else { high }, clip);
    let mut at = begin;
    std::iter::from_fn(move || {
        if step == 0 || (step > 0 && at >= end) || (step < 0 && at <= end) {
            return None;
        }
        let current = at;
        at = at.saturating_add(step);
        usize::try_from(current).ok()
    })
}
