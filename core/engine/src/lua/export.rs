//! Values on their way out of Lua.
//!
//! A table whose keys are all integers from 1 is a list, any other a map with the texts of its keys (`LU-14`).
//! Entries of a map keep the order of the map that they came from; new ones are sorted, because Lua's order is
//! random. What the code never read is not sent through Lua, but comes out as if it had been.

use std::os::raw::c_void;
use std::sync::Arc;

use mlua::{Lua, Table, Value as LuaValue};
use num_bigint::BigInt;
use num_traits::FromPrimitive;

use super::error::{ErrorKind, not_utf8, raise};
use super::import::{Data, Importer, Object, Source, Tables, Taken, get, host_failed, source_of};
use crate::host::Host;
use crate::value::{Key, Map, Value, text};

/// How deep a result may be nested; Lua itself allows 200 calls within calls.
const MAX_DEPTH: usize = 200;

/// Holes that a list may have, beyond one for each element.
const HOLES: u64 = 16;

/// The same for a table that came from a list of the state.
const HOLES_OF_LISTS: u64 = 1 << 16;

/// What a float with an integral value becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Floats {
    /// An integer if it is at most 2^53 in size (`LU-18`).
    #[default]
    Integers,
    /// An integer of any size, as in Python (`LU-14`).
    AllIntegers,
    /// It stays a float (the rule of the Rust twin).
    Keep,
}

/// Converts one result.
pub(super) struct Exporter<'a> {
    lua: &'a Lua,
    tables: &'a Tables,
    floats: Floats,
    /// Whose objects the source of the current table may hold.
    host: Option<Arc<dyn Host>>,
    /// Bytes that the result may still grow by.
    budget: usize,
    limit: usize,
    /// Tables that are being converted.
    path: Vec<*const c_void>,
}

impl<'a> Exporter<'a> {
    pub(super) fn new(lua: &'a Lua, tables: &'a Tables, floats: Floats, limit: Option<usize>) -> Self {
        let limit = limit.unwrap_or(usize::MAX);
        Exporter { lua, tables, floats, host: None, budget: limit, limit, path: Vec::new() }
    }

    pub(super) fn value(&mut self, value: &LuaValue) -> mlua::Result<Value> {
        self.charge(16)?;
        match value {
            LuaValue::Nil => Ok(Value::Null),
            LuaValue::Boolean(flag) => Ok(Value::Bool(*flag)),
            LuaValue::Integer(number) => Ok(Value::Int(*number)),
            LuaValue::Number(float) => Ok(self.float(*float)),
            LuaValue::String(text) => {
                let bytes = text.as_bytes();
                self.charge(bytes.len())?;
                self.text(&bytes).map(Value::Str)
            }
            LuaValue::Table(table) => self.table(table),
            LuaValue::UserData(object) => match object.borrow::<Object>() {
                Ok(object) => Ok(Value::Host(object.object.clone())),
                Err(_) => cannot_convert("userdata"),
            },
            other => cannot_convert(match other {
                LuaValue::Function(_) => "function",
                LuaValue::Thread(_) => "thread",
                LuaValue::Error(_) => "error object",
                _ => "userdata",
            }),
        }
    }

    fn charge(&mut self, bytes: usize) -> mlua::Result<()> {
        match self.budget.checked_sub(bytes) {
            Some(rest) => {
                self.budget = rest;
                Ok(())
            }
            None => raise(ErrorKind::Memory, format!("the result is larger than {} bytes", self.limit)),
        }
    }

    fn float(&self, float: f64) -> Value {
        let integral = float.is_finite() && float.fract() == 0.0;
        match self.floats {
            Floats::Keep => Value::Float(float),
            _ if !integral => Value::Float(float),
            _ if float.abs() <= 9_007_199_254_740_992.0 => Value::Int(float as i64),
            Floats::Integers => Value::Float(float),
            Floats::AllIntegers => BigInt::from_f64(float).map_or(Value::Float(float), Value::int),
        }
    }

    fn text(&self, bytes: &[u8]) -> mlua::Result<Arc<str>> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Arc::from(text)),
            Err(error) => raise(ErrorKind::Convert, not_utf8(bytes, error)),
        }
    }

    fn table(&mut self, table: &Table) -> mlua::Result<Value> {
        let pointer = table.to_pointer();
        if self.path.contains(&pointer) {
            return raise(ErrorKind::Convert, "table contains a cycle");
        }
        self.path.push(pointer);
        self.check_depth(self.path.len())?;
        let value = match source_of(table)? {
            Some(source) => self.on_demand(table, &*source.borrow::<Source>()?),
            None => self.ordinary(table),
        };
        self.path.pop();
        value
    }

    fn check_depth(&self, depth: usize) -> mlua::Result<()> {
        if depth > MAX_DEPTH {
            let message = format!("table is nested deeper than {MAX_DEPTH} levels");
            return raise(ErrorKind::Convert, message);
        }
        Ok(())
    }

    fn ordinary(&mut self, table: &Table) -> mlua::Result<Value> {
        let was_list = table.metatable().is_some_and(|metatable| metatable == self.tables.was_list);
        let entries = entries(table)?;
        if entries.is_empty() {
            return Ok(if was_list { Value::list(Vec::new()) } else { Value::map(Map::new()) });
        }
        let mut largest = 0;
        let mut is_list = true;
        for (key, _) in &entries {
            match key {
                LuaValue::Integer(position) if *position > 0 => {
                    largest = largest.max(position.unsigned_abs())
                }
                _ => {
                    is_list = false;
                    break;
                }
            }
        }
        let holes = if was_list { HOLES_OF_LISTS } else { HOLES };
        if is_list && largest <= 2 * entries.len() as u64 + holes {
            return self.ordinary_list(&entries, largest);
        }
        let mut map = Map::with_capacity(entries.len());
        self.add_sorted(&mut map, &entries)?;
        Ok(Value::map(map))
    }

    fn ordinary_list(&mut self, entries: &[(LuaValue, LuaValue)], largest: u64) -> mlua::Result<Value> {
        let length = usize::try_from(largest).unwrap_or(usize::MAX);
        self.charge(length.saturating_mul(size_of::<Value>()))?;
        let mut items = vec![Value::Null; length];
        for (key, value) in entries {
            if let LuaValue::Integer(position) = key
                && let Some(place) =
                    usize::try_from(*position - 1).ok().and_then(|index| items.get_mut(index))
            {
                *place = self.value(value)?;
            }
        }
        Ok(Value::list(items))
    }

    /// Adds entries under the texts of their keys: numbers first, then texts, each in its order.
    fn add_sorted(&mut self, map: &mut Map, entries: &[(LuaValue, LuaValue)]) -> mlua::Result<()> {
        let mut named = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            named.push((self.key(key)?, value));
        }
        named.sort_by(|(a, _), (b, _)| a.cmp(b));
        for ((_, name), value) in named {
            let value = self.value(value)?;
            map.insert(Key::from(name), value);
        }
        Ok(())
    }

    fn key(&mut self, key: &LuaValue) -> mlua::Result<(i64, Arc<str>)> {
        Ok(match key {
            LuaValue::Integer(number) => (*number, number.to_string().into()),
            LuaValue::String(text) => {
                let bytes = text.as_bytes();
                self.charge(bytes.len())?;
                (i64::MAX, self.text(&bytes)?)
            }
            LuaValue::Number(_) => {
                let shown = self.lua.coerce_string(key.clone())?;
                let shown = shown.map(|shown| shown.to_string_lossy()).unwrap_or_default();
                (i64::MAX, shown.into())
            }
            LuaValue::Boolean(flag) => (i64::MAX, flag.to_string().into()),
            other => {
                let message = format!("cannot convert a {} used as a key to a value", other.type_name());
                return raise(ErrorKind::Convert, message);
            }
        })
    }

    /// A table that was filled on demand: its own entries over those of its source.
    fn on_demand(&mut self, table: &Table, source: &Source) -> mlua::Result<Value> {
        self.host.clone_from(&source.host);
        match &source.data {
            Data::Map(map) => {
                if has_other_keys(map) {
                    return self.filled(table);
                }
                if source.taken.is_empty() && entries(table)?.is_empty() {
                    return self.through_map(map);
                }
                let mut result = Map::with_capacity(map.len() + 1);
                let mut own = entries(table)?;
                for (index, (key, value)) in map.iter().enumerate() {
                    let value = if source.taken.contains(&Taken::At(index)) {
                        match own_value(table, key.as_str())? {
                            Some(value) => self.value(&value)?,
                            None => continue,
                        }
                    } else if matches!(value, Value::Null) {
                        continue;
                    } else {
                        self.through(value)?
                    };
                    result.insert(key.clone(), value);
                }
                own.retain(|(key, _)| is_new(key, map));
                if own.iter().any(|(key, _)| matches!(key, LuaValue::Integer(_))) && result.is_empty() {
                    return self.filled(table);
                }
                self.add_sorted(&mut result, &own)?;
                Ok(Value::map(result))
            }
            Data::List(items) if source.taken.is_empty() => self.through_list(items),
            Data::HostMap(object) | Data::HostList(object, _) if source.taken.is_empty() => {
                let exported = object.host.export(object.object.id());
                let exported = exported.or_else(|error| host_failed(self.lua, &error.message))?;
                match (&exported, entries(table)?.is_empty()) {
                    (Value::Map(map), true) => self.through_map(map),
                    (Value::List(items), true) => self.through_list(items),
                    _ => self.filled(table),
                }
            }
            Data::HostMap(object) => self.host_map(table, source, object),
            Data::List(_) | Data::HostList(..) | Data::Gone => self.filled(table),
        }
    }

    /// A map of the host of which the code has read or changed something.
    fn host_map(&mut self, table: &Table, source: &Source, object: &Object) -> mlua::Result<Value> {
        let keys = object.host.keys(object.object.id());
        let keys = keys.or_else(|error| host_failed(self.lua, &error.message))?;
        if keys.iter().any(|key| !matches!(key, Value::Str(_))) {
            return self.filled(table);
        }
        let mut result = Map::with_capacity(keys.len() + 1);
        let mut own = entries(table)?;
        for name in &keys {
            let Ok(key) = Key::new(name.clone()) else { continue };
            let taken = Taken::Key(key);
            let is_taken = source.taken.contains(&taken);
            let Taken::Key(key) = taken else { continue };
            let value = if is_taken {
                match own_value(table, name.as_str())? {
                    Some(value) => self.value(&value)?,
                    None => continue,
                }
            } else {
                match get(self.lua, object, name)? {
                    None | Some(Value::Null) => continue,
                    Some(Value::Host(part)) => {
                        let importer =
                            Importer { lua: self.lua, tables: self.tables, host: Some(&object.host) };
                        let part = importer.value(&Value::Host(part))?;
                        self.value(&part)?
                    }
                    Some(value) => self.through(&value)?,
                }
            };
            result.insert(key, value);
        }
        own.retain(|(key, _)| is_new(key, &result));
        self.add_sorted(&mut result, &own)?;
        Ok(Value::map(result))
    }

    /// Fills a copy of the table, then converts it as an ordinary one.
    fn filled(&mut self, table: &Table) -> mlua::Result<Value> {
        // The source is borrowed, so a copy of it fills a table of its own.
        let copy = self.lua.create_table()?;
        for (key, value) in entries(table)? {
            copy.raw_set(key, value)?;
        }
        let Some(source) = source_of(table)? else { return self.ordinary(table) };
        let mut source = source.borrow::<Source>()?.snapshot();
        let importer = Importer { lua: self.lua, tables: self.tables, host: None };
        importer.fill(&copy, &mut source)?;
        self.ordinary(&copy)
    }

    /// A value of the engine, changed as the way through Lua and back changes it.
    fn through(&mut self, value: &Value) -> mlua::Result<Value> {
        self.charge(16)?;
        Ok(match value {
            Value::Float(float) => self.float(*float),
            Value::Null | Value::Bool(_) | Value::Int(_) | Value::BigInt(_) => value.clone(),
            Value::Str(text) => {
                self.charge(text.len())?;
                value.clone()
            }
            Value::List(items) => self.nested(|this| this.through_list(items))?,
            Value::Map(map) => self.nested(|this| this.through_map(map))?,
            Value::Host(_) => {
                let host = self.host.clone();
                let importer = Importer { lua: self.lua, tables: self.tables, host: host.as_ref() };
                let value = importer.value(value)?;
                self.value(&value)?
            }
            Value::Tuple(_) | Value::Set(_) | Value::Bytes(_) | Value::Date(_) | Value::DateTime(_) => {
                Value::from(text(value))
            }
        })
    }

    fn nested(&mut self, work: impl FnOnce(&mut Self) -> mlua::Result<Value>) -> mlua::Result<Value> {
        self.path.push(std::ptr::null());
        self.check_depth(self.path.len())?;
        let value = work(self);
        self.path.pop();
        value
    }

    fn through_list(&mut self, items: &Arc<Vec<Value>>) -> mlua::Result<Value> {
        let length = items.iter().rposition(|item| !matches!(item, Value::Null)).map_or(0, |last| last + 1);
        let kept = items.get(..length).unwrap_or_default();
        let filled = kept.iter().filter(|item| !matches!(item, Value::Null)).count() as u64;
        if length as u64 > 2 * filled + HOLES_OF_LISTS {
            let mut map = Map::new();
            for (index, item) in kept.iter().enumerate() {
                if !matches!(item, Value::Null) {
                    map.insert(Key::from((index + 1).to_string()), self.through(item)?);
                }
            }
            return Ok(Value::map(map));
        }
        let changed: Vec<Value> = kept.iter().map(|item| self.through(item)).collect::<mlua::Result<_>>()?;
        Ok(if length == items.len() && changed.iter().zip(items.iter()).all(|(a, b)| is_same(a, b)) {
            Value::List(Arc::clone(items))
        } else {
            Value::list(changed)
        })
    }

    fn through_map(&mut self, map: &Arc<Map>) -> mlua::Result<Value> {
        if has_other_keys(map) {
            let host = self.host.clone();
            let importer = Importer { lua: self.lua, tables: self.tables, host: host.as_ref() };
            let (table, _) = importer.root(map)?;
            return self.filled(&table);
        }
        let mut result = Map::with_capacity(map.len());
        let mut same = true;
        for (key, value) in map.iter() {
            if matches!(value, Value::Null) {
                same = false;
                continue;
            }
            let changed = self.through(value)?;
            same &= is_same(&changed, value);
            result.insert(key.clone(), changed);
        }
        Ok(if same { Value::Map(Arc::clone(map)) } else { Value::map(result) })
    }
}

/// The way through Lua left the value as it was; containers that it left alone are shared.
fn is_same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::List(a), Value::List(b)) => Arc::ptr_eq(a, b),
        (Value::Map(a), Value::Map(b)) => Arc::ptr_eq(a, b),
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}

fn is_new(key: &LuaValue, map: &Map) -> bool {
    match key {
        LuaValue::String(name) => name.to_str().map_or(true, |name| !map.contains_key(&*name)),
        _ => true,
    }
}

fn has_other_keys(map: &Map) -> bool {
    map.keys().any(|key| !matches!(key.value(), Value::Str(_)))
}

/// What the table itself holds under a name.
fn own_value(table: &Table, name: Option<&str>) -> mlua::Result<Option<LuaValue>> {
    let Some(name) = name else { return Ok(None) };
    let value = table.raw_get::<LuaValue>(name)?;
    Ok((!value.is_nil()).then_some(value))
}

/// A table's own entries, without the hidden one.
fn entries(table: &Table) -> mlua::Result<Vec<(LuaValue, LuaValue)>> {
    let mut entries = Vec::new();
    table.for_each(|key: LuaValue, value: LuaValue| {
        if !matches!(key, LuaValue::LightUserData(_)) {
            entries.push((key, value));
        }
        Ok(())
    })?;
    Ok(entries)
}

fn cannot_convert<T>(what: &str) -> mlua::Result<T> {
    raise(ErrorKind::Convert, format!("cannot convert a {what} to a value"))
}
