//! Values on their way into Lua.
//!
//! Maps and lists become tables that are filled as they are read: such a table has a metatable that is hidden
//! from the code, and under a key that code cannot form it holds its [`Source`]. What the code has read or
//! written lies in the table itself. Iteration, and every raw access, fills the table first and makes it an
//! ordinary one; lists keep a marker, so that an empty list does not come back as a map.

use std::collections::HashSet;
use std::sync::Arc;

use mlua::{
    AnyUserData, Lua, MetaMethod, Table, UserData, UserDataFields, UserDataMethods, Value as LuaValue,
};

use super::error::{ErrorKind, raise};
use crate::host::{Host, HostRef, Lookup, Query};
use crate::value::{Key, Map, Value, text};

/// The key of a table's source; null is no value that code can make.
pub(super) const SOURCE: LuaValue = LuaValue::NULL;

/// Containers of at most this many plain values are copied at once.
const SMALL: usize = 8;

/// A long list that was read element by element is filled once this fraction of it was read.
const FILL_AT: usize = 8;

/// What an object of the host that is neither a map nor a list becomes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Objects {
    /// Its text, as the reference has it.
    #[default]
    Text,
    /// An opaque value, whose fields are read when they are used and which returns as the same object.
    Reference,
}

/// The metatables of filled-on-demand tables, one set for each runtime.
#[derive(Clone)]
pub(super) struct Tables {
    /// Of a table filled on demand from a map.
    pub(super) map: Table,
    /// Of one filled on demand from a list.
    pub(super) list: Table,
    /// Marks an ordinary table that was a list.
    pub(super) was_list: Table,
    pub(super) objects: Objects,
}

/// Where a table gets its entries from.
#[derive(Clone)]
pub(super) enum Data {
    Map(Arc<Map>),
    List(Arc<Vec<Value>>),
    HostMap(Object),
    HostList(Object, usize),
    /// The node that got this table has ended.
    Gone,
}

/// An object of the host with whom to ask.
#[derive(Clone)]
pub(super) struct Object {
    pub(super) object: HostRef,
    pub(super) host: Arc<dyn Host>,
}

/// The source of a table filled on demand.
pub(super) struct Source {
    pub(super) data: Data,
    /// What was taken over into the table, or overwritten there.
    pub(super) taken: HashSet<Taken>,
    pub(super) host: Option<Arc<dyn Host>>,
    /// Elements read one by one.
    reads: usize,
}

impl Source {
    /// The same source for another table.
    pub(super) fn snapshot(&self) -> Source {
        Source { data: self.data.clone(), taken: self.taken.clone(), host: self.host.clone(), reads: 0 }
    }
}

/// One entry: position in the engine's container, or key of the host's map.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Taken {
    At(usize),
    Key(Key),
}

/// Converts for one scope.
#[derive(Clone, Copy)]
pub(super) struct Importer<'a> {
    pub(super) lua: &'a Lua,
    pub(super) tables: &'a Tables,
    pub(super) host: Option<&'a Arc<dyn Host>>,
}

impl Importer<'_> {
    pub(super) fn value(&self, value: &Value) -> mlua::Result<LuaValue> {
        Ok(match value {
            Value::Null => LuaValue::Nil,
            Value::Bool(flag) => LuaValue::Boolean(*flag),
            Value::Int(number) => LuaValue::Integer(*number),
            Value::Float(float) => LuaValue::Number(*float),
            Value::Str(text) => LuaValue::String(self.lua.create_string(text.as_bytes())?),
            Value::BigInt(_) => {
                let message = "Python int too large to convert to C long";
                return raise(ErrorKind::Convert, located(self.lua, message));
            }
            Value::List(items) => LuaValue::Table(self.list(items)?),
            Value::Map(map) => LuaValue::Table(self.map(map)?),
            Value::Host(object) => self.object(object)?,
            Value::Tuple(_) | Value::Set(_) | Value::Bytes(_) | Value::Date(_) | Value::DateTime(_) => {
                LuaValue::String(self.lua.create_string(text(value))?)
            }
        })
    }

    fn list(&self, items: &Arc<Vec<Value>>) -> mlua::Result<Table> {
        if items.len() > SMALL || !items.iter().all(is_plain) {
            return self.on_demand(Data::List(Arc::clone(items)), &self.tables.list);
        }
        let table = self.lua.create_table_with_capacity(items.len(), 0)?;
        for (index, item) in items.iter().enumerate() {
            table.raw_seti(index + 1, self.value(item)?)?;
        }
        table.set_metatable(Some(self.tables.was_list.clone()))?;
        Ok(table)
    }

    fn map(&self, map: &Arc<Map>) -> mlua::Result<Table> {
        if map.len() > SMALL || !map.iter().all(|(key, value)| is_plain(value) && is_plain(key.value())) {
            return self.on_demand(Data::Map(Arc::clone(map)), &self.tables.map);
        }
        let table = self.lua.create_table_with_capacity(0, map.len())?;
        for (key, value) in map.iter() {
            table.raw_set(self.key(key)?, self.value(value)?)?;
        }
        Ok(table)
    }

    /// The root: always on demand, so that its source can be taken away when the node ends.
    pub(super) fn root(&self, map: &Arc<Map>) -> mlua::Result<(Table, AnyUserData)> {
        self.table(Data::Map(Arc::clone(map)), &self.tables.map)
    }

    /// A map of the host, whatever its type is called.
    pub(super) fn host_root(&self, object: &HostRef) -> mlua::Result<LuaValue> {
        match self.host {
            Some(host) => {
                let object = Object { object: object.clone(), host: Arc::clone(host) };
                Ok(LuaValue::Table(self.on_demand(Data::HostMap(object), &self.tables.map)?))
            }
            None => self.object(object),
        }
    }

    fn on_demand(&self, data: Data, metatable: &Table) -> mlua::Result<Table> {
        Ok(self.table(data, metatable)?.0)
    }

    fn table(&self, data: Data, metatable: &Table) -> mlua::Result<(Table, AnyUserData)> {
        let table = self.lua.create_table_with_capacity(0, 4)?;
        let source = Source { data, taken: HashSet::new(), host: self.host.cloned(), reads: 0 };
        let source = self.lua.create_any_userdata(source)?;
        table.raw_set(SOURCE, &source)?;
        table.set_metatable(Some(metatable.clone()))?;
        Ok((table, source))
    }

    fn object(&self, object: &HostRef) -> mlua::Result<LuaValue> {
        let Some(host) = self.host else {
            let shown = text(&Value::Host(object.clone()));
            return Ok(LuaValue::String(self.lua.create_string(shown)?));
        };
        let this = Object { object: object.clone(), host: Arc::clone(host) };
        let name = self.ask(&this, Query::TypeName)?;
        match name.as_str() {
            Some("dict" | "DotDict" | "OrderedDict" | "defaultdict" | "Counter" | "map") => {
                Ok(LuaValue::Table(self.on_demand(Data::HostMap(this), &self.tables.map)?))
            }
            Some("list") => {
                let length = match self.ask(&this, Query::Length)? {
                    Value::Int(length) => usize::try_from(length).unwrap_or_default(),
                    _ => 0,
                };
                Ok(LuaValue::Table(self.on_demand(Data::HostList(this, length), &self.tables.list)?))
            }
            _ => match self.tables.objects {
                Objects::Text => {
                    let shown = text(&self.ask(&this, Query::Str)?);
                    Ok(LuaValue::String(self.lua.create_string(shown)?))
                }
                Objects::Reference => Ok(LuaValue::UserData(self.lua.create_userdata(this)?)),
            },
        }
    }

    fn ask(&self, object: &Object, what: Query) -> mlua::Result<Value> {
        object
            .host
            .query(object.object.id(), what, None)
            .or_else(|error| host_failed(self.lua, &error.message))
    }

    fn key(&self, key: &Key) -> mlua::Result<LuaValue> {
        match key.value() {
            Value::Null | Value::BigInt(_) => {
                Ok(LuaValue::String(self.lua.create_string(text(key.value()))?))
            }
            Value::Float(float) if float.is_nan() => Ok(LuaValue::String(self.lua.create_string("nan")?)),
            other => self.value(other),
        }
    }

    fn importer_of<'b>(&'b self, source: &'b Source) -> Importer<'b> {
        Importer { host: source.host.as_ref(), ..*self }
    }

    /// Takes everything that the table lacks from its source; the table is an ordinary one afterwards.
    pub(super) fn fill(&self, table: &Table, source: &mut Source) -> mlua::Result<()> {
        let importer = Importer { lua: self.lua, tables: self.tables, host: source.host.as_ref() };
        // Nothing is final before everything was read: an error leaves the table as it was.
        let is_list = matches!(source.data, Data::List(_) | Data::HostList(..));
        match &source.data {
            Data::Map(map) => {
                for (index, (key, value)) in map.iter().enumerate() {
                    if !source.taken.contains(&Taken::At(index)) {
                        table.raw_set(importer.key(key)?, importer.value(value)?)?;
                        source.taken.insert(Taken::At(index));
                    }
                }
            }
            Data::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    if !source.taken.contains(&Taken::At(index)) {
                        table.raw_seti(index + 1, importer.value(item)?)?;
                        source.taken.insert(Taken::At(index));
                    }
                }
            }
            Data::HostMap(object) => {
                let id = object.object.id();
                let keys = object.host.keys(id).or_else(|error| host_failed(self.lua, &error.message))?;
                for key in keys {
                    let Ok(key) = Key::new(key) else { continue };
                    let taken = Taken::Key(key.clone());
                    if !source.taken.contains(&taken) {
                        if let Some(value) = get(self.lua, object, key.value())? {
                            table.raw_set(importer.key(&key)?, importer.value(&value)?)?;
                        }
                        source.taken.insert(taken);
                    }
                }
            }
            Data::HostList(object, length) => {
                for index in 0..*length {
                    if !source.taken.contains(&Taken::At(index)) {
                        let key = Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
                        if let Some(value) = get(self.lua, object, &key)? {
                            table.raw_seti(index + 1, importer.value(&value)?)?;
                        }
                        source.taken.insert(Taken::At(index));
                    }
                }
            }
            Data::Gone => return gone(self.lua),
        }
        table.set_metatable(is_list.then(|| self.tables.was_list.clone()))?;
        table.raw_set(SOURCE, LuaValue::Nil)
    }

    /// The value under a key that the table does not hold itself.
    fn index(&self, table: &Table, key: LuaValue, source: &mut Source) -> mlua::Result<LuaValue> {
        let key = normal(key);
        let (taken, value) = match (&source.data, &key) {
            (Data::Map(map), _) => {
                let Some((index, value)) = find(map, &key) else { return Ok(LuaValue::Nil) };
                (Taken::At(index), self.importer_of(source).value_unless_taken(source, index, value)?)
            }
            (Data::List(items), LuaValue::Integer(position)) => {
                let Some((index, item)) =
                    element(*position, items.len()).and_then(|i| Some((i, items.get(i)?)))
                else {
                    return Ok(LuaValue::Nil);
                };
                (Taken::At(index), self.importer_of(source).value_unless_taken(source, index, item)?)
            }
            (Data::HostMap(object), _) => {
                let Some(key) = lookup_key(&key) else { return Ok(LuaValue::Nil) };
                let Ok(key) = Key::new(key) else { return Ok(LuaValue::Nil) };
                let taken = Taken::Key(key);
                if source.taken.contains(&taken) {
                    return Ok(LuaValue::Nil);
                }
                let Taken::Key(key) = &taken else { return Ok(LuaValue::Nil) };
                let found = get(self.lua, object, key.value())?;
                let found = found.map(|value| self.importer_of(source).value(&value)).transpose()?;
                let Some(value) = found else { return Ok(LuaValue::Nil) };
                (taken, Some(value))
            }
            (Data::HostList(object, length), LuaValue::Integer(position)) => {
                let Some(index) = element(*position, *length) else { return Ok(LuaValue::Nil) };
                if source.taken.contains(&Taken::At(index)) {
                    return Ok(LuaValue::Nil);
                }
                let found = get(self.lua, object, &Value::Int(position - 1))?;
                let found = found.map(|value| self.importer_of(source).value(&value)).transpose()?;
                (Taken::At(index), Some(found.unwrap_or_default()))
            }
            (Data::Gone, _) => return gone(self.lua),
            (Data::List(_) | Data::HostList(..), _) => return Ok(LuaValue::Nil),
        };
        let Some(value) = value else { return Ok(LuaValue::Nil) };
        table.raw_set(&key, &value)?;
        source.taken.insert(taken);
        source.reads += 1;
        let length = match &source.data {
            Data::List(items) => items.len(),
            Data::HostList(_, length) => *length,
            _ => return Ok(value),
        };
        if source.reads * FILL_AT > length {
            self.fill(table, source)?;
        }
        Ok(value)
    }

    fn value_unless_taken(
        &self,
        source: &Source,
        index: usize,
        value: &Value,
    ) -> mlua::Result<Option<LuaValue>> {
        if source.taken.contains(&Taken::At(index)) { Ok(None) } else { self.value(value).map(Some) }
    }

    /// The code assigns to a key that the table does not hold itself.
    fn assign(&self, table: &Table, key: LuaValue, value: LuaValue, source: &mut Source) -> mlua::Result<()> {
        let key = normal(key);
        match &source.data {
            Data::Map(map) => {
                if let Some((index, _)) = find(map, &key) {
                    source.taken.insert(Taken::At(index));
                }
            }
            Data::HostMap(_) => {
                if let Some(key) = lookup_key(&key)
                    && let Ok(key) = Key::new(key)
                {
                    source.taken.insert(Taken::Key(key));
                }
            }
            Data::List(_) | Data::HostList(..) => self.fill(table, source)?,
            Data::Gone => return gone(self.lua),
        }
        table.raw_set(key, value)
    }

    /// What `#` gives: up to the last element that is not nil.
    fn length(&self, table: &Table, source: &mut Source) -> mlua::Result<usize> {
        let length = match &source.data {
            Data::List(items) => {
                items.iter().rposition(|item| !matches!(item, Value::Null)).map_or(0, |last| last + 1)
            }
            Data::HostList(_, length) => *length,
            Data::Map(_) | Data::HostMap(_) | Data::Gone => 0,
        };
        // The code may have removed the last element after it was read.
        if length > 0
            && (!source.taken.contains(&Taken::At(length - 1))
                || !table.raw_get::<LuaValue>(length)?.is_nil())
        {
            return Ok(length);
        }
        self.fill(table, source)?;
        Ok(table.raw_len())
    }
}

impl UserData for Object {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_meta_field(MetaMethod::Type, "host object");
    }

    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::Index, |lua, this, key: LuaValue| {
            let Some(key) = lookup_key(&key) else { return Ok(LuaValue::Nil) };
            let found = this.host.get(this.object.id(), &key, Lookup::AttributeThenItem);
            let found = found.or_else(|error| host_failed(lua, &error.message))?;
            let tables = tables_of(lua)?;
            let importer = Importer { lua, tables: &tables, host: Some(&this.host) };
            found.map_or(Ok(LuaValue::Nil), |value| importer.value(&value))
        });
        methods.add_meta_method(MetaMethod::ToString, |lua, this, ()| {
            let shown = this.host.query(this.object.id(), Query::Str, None);
            Ok(text(&shown.or_else(|error| host_failed(lua, &error.message))?))
        });
        methods.add_meta_method(MetaMethod::Len, |lua, this, ()| {
            match this.host.query(this.object.id(), Query::Length, None) {
                Ok(Value::Int(length)) => Ok(length),
                Ok(_) => Ok(0),
                Err(error) => host_failed(lua, &error.message),
            }
        });
    }
}

/// Makes the metatables of a runtime; they are hidden from code by the sandbox.
pub(super) fn tables(lua: &Lua, objects: Objects, next: mlua::Function) -> mlua::Result<Tables> {
    let metatable = || -> mlua::Result<Table> {
        let table = lua.create_table()?;
        let index = |lua: &Lua, (table, key): (Table, LuaValue)| {
            with_source(lua, &table, LuaValue::Nil, |importer, source| importer.index(&table, key, source))
        };
        table.raw_set("__index", lua.create_function(index)?)?;
        let assign = |lua: &Lua, (table, key, value): (Table, LuaValue, LuaValue)| {
            with_source(lua, &table, (), |importer, source| importer.assign(&table, key, value, source))
        };
        table.raw_set("__newindex", lua.create_function(assign)?)?;
        let length = |lua: &Lua, table: Table| {
            with_source(lua, &table, 0, |importer, source| importer.length(&table, source))
        };
        table.raw_set("__len", lua.create_function(length)?)?;
        let next = next.clone();
        let pairs = move |lua: &Lua, table: Table| {
            with_source(lua, &table, (), |importer, source| importer.fill(&table, source))?;
            Ok((next.clone(), table, LuaValue::Nil))
        };
        table.raw_set("__pairs", lua.create_function(pairs)?)?;
        Ok(table)
    };
    Ok(Tables { map: metatable()?, list: metatable()?, was_list: lua.create_table()?, objects })
}

/// Makes a table ordinary, if it is one that is filled on demand.
pub(super) fn make_ordinary(lua: &Lua, table: &Table) -> mlua::Result<()> {
    with_source(lua, table, (), |importer, source| importer.fill(table, source))
}

pub(super) fn tables_of(lua: &Lua) -> mlua::Result<Tables> {
    match lua.app_data_ref::<Tables>() {
        Some(tables) => Ok(tables.clone()),
        None => raise(ErrorKind::Runtime, "the runtime is not set up"),
    }
}

fn with_source<T>(
    lua: &Lua,
    table: &Table,
    otherwise: T,
    work: impl FnOnce(Importer<'_>, &mut Source) -> mlua::Result<T>,
) -> mlua::Result<T> {
    let Some(source) = source_of(table)? else { return Ok(otherwise) };
    let tables = lua.app_data_ref::<Tables>();
    let Some(tables) = tables.as_deref() else {
        return raise(ErrorKind::Runtime, "the runtime is not set up");
    };
    let mut source = source.borrow_mut::<Source>()?;
    work(Importer { lua, tables, host: None }, &mut source)
}

/// The source of a table that is filled on demand.
pub(super) fn source_of(table: &Table) -> mlua::Result<Option<AnyUserData>> {
    Ok(match table.raw_get(SOURCE)? {
        LuaValue::UserData(source) => Some(source),
        _ => None,
    })
}

/// Asks the host for an item.
pub(super) fn get(lua: &Lua, object: &Object, key: &Value) -> mlua::Result<Option<Value>> {
    object.host.get(object.object.id(), key, Lookup::Item).or_else(|error| host_failed(lua, &error.message))
}

/// The entry that the code means by a key: text, integer and boolean keys are told apart, which keys of a
/// [`Map`] are not.
fn find<'a>(map: &'a Map, key: &LuaValue) -> Option<(usize, &'a Value)> {
    match key {
        LuaValue::String(text) => {
            if let Ok(text) = text.to_str() {
                if let Some((index, _, value)) = map.get_full(&*text) {
                    return Some((index, value));
                }
                if map.len() <= 64 {
                    // Keys of other types that stand as text in Lua, such as dates.
                    return map
                        .iter()
                        .enumerate()
                        .find(|(_, (key, _))| {
                            is_texted(key.value()) && crate::value::text(key.value()) == *text
                        })
                        .map(|(index, (_, value))| (index, value));
                }
            }
            None
        }
        other => {
            let wanted = lookup_key(other)?;
            let (index, found, value) = map.get_full(&wanted)?;
            let same = matches!(found.value(), Value::Bool(_)) == matches!(wanted, Value::Bool(_));
            same.then_some((index, value))
        }
    }
}

/// Keys that have no key of their own in Lua.
fn is_texted(key: &Value) -> bool {
    !matches!(key, Value::Str(_) | Value::Int(_) | Value::Float(_) | Value::Bool(_))
}

fn lookup_key(key: &LuaValue) -> Option<Value> {
    match key {
        LuaValue::String(text) => Some(Value::from(&*text.to_str().ok()?)),
        LuaValue::Integer(number) => Some(Value::Int(*number)),
        LuaValue::Number(float) => Some(Value::Float(*float)),
        LuaValue::Boolean(flag) => Some(Value::Bool(*flag)),
        _ => None,
    }
}

/// A key as a table would hold it: a float with an integral value is an integer.
fn normal(key: LuaValue) -> LuaValue {
    match key {
        LuaValue::Number(float) if float as i64 as f64 == float && float.abs() < 9.2e18 => {
            LuaValue::Integer(float as i64)
        }
        other => other,
    }
}

fn element(position: i64, length: usize) -> Option<usize> {
    let index = usize::try_from(position).ok()?.checked_sub(1)?;
    (index < length).then_some(index)
}

fn is_plain(value: &Value) -> bool {
    matches!(value, Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::Str(_))
}

fn gone<T>(lua: &Lua) -> mlua::Result<T> {
    let message =
        "this table is the state of an earlier node, which is gone; keep copies of its values instead";
    raise(ErrorKind::Runtime, located(lua, message))
}

pub(super) fn host_failed<T>(lua: &Lua, message: &str) -> mlua::Result<T> {
    raise(ErrorKind::Host, located(lua, message))
}

/// What follows the place in a message that was raised by a function of the sandbox.
pub(super) fn without_own_place(message: &[u8]) -> Option<&[u8]> {
    let rest = message.strip_prefix(super::limit::OWN_CHUNK.as_bytes())?.strip_prefix(b":")?;
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    rest.get(digits..)?.strip_prefix(b": ")
}

/// A message with the place in the user's code.
pub(super) fn located(lua: &Lua, message: &str) -> String {
    let mut level = 0;
    while level < 8 {
        let place = lua.inspect_stack(level, |debug| {
            let line = debug.current_line()?;
            let source = debug.source().short_src?.into_owned();
            (source != super::limit::OWN_CHUNK).then(|| format!("{source}:{line}: {message}"))
        });
        match place {
            Some(Some(text)) => return text,
            Some(None) => level += 1,
            None => break,
        }
    }
    message.to_owned()
}
