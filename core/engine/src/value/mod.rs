//! The values that states, updates, events and templates are made of.
//!
//! A [`Value`] is immutable from the outside and cheap to clone: containers and texts are shared, and a
//! writer copies what is shared (`Arc::make_mut`). So a "deep copy" of a core-resident state costs one
//! reference count, and no branch can see what another one writes.
//!
//! Equality, order and formatting follow Python, because agents written for the reference rely on them:
//! `1 == 1.0 == True`, integers have any size, maps keep their insertion order.

mod datetime;
mod format;
mod json;
mod key;
mod number;

use std::fmt::{self, Write};
use std::sync::Arc;

pub use datetime::{Date, DateTime};
pub use format::{float_repr, repr, str_repr, text};
pub use json::{JsonError, MAX_DEPTH};
pub use key::{Key, Map};
pub use num_bigint::BigInt;
pub use number::{compare_numbers, int_from_big};

use crate::host::HostRef;

/// One value. See the module's comment for its semantics.
#[derive(Debug, Clone, Default)]
pub enum Value {
    /// Python's `None`, JSON's `null`.
    #[default]
    Null,
    /// A truth value. Equal to the integers 0 and 1.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// An integer beyond 64 bits; never holds a value that fits [`Value::Int`].
    BigInt(Arc<BigInt>),
    /// A double, NaN and infinities included.
    Float(f64),
    /// A text; may hold U+0000.
    Str(Arc<str>),
    /// A list.
    List(Arc<Vec<Value>>),
    /// An insertion-ordered map; keys are mostly texts.
    Map(Arc<Map>),
    /// A tuple: prints as one, otherwise behaves as a list that is not equal to any list.
    Tuple(Arc<Vec<Value>>),
    /// A set, in insertion order; equality ignores the order.
    Set(Arc<indexmap::IndexSet<Key>>),
    /// Raw bytes.
    Bytes(Arc<[u8]>),
    /// A calendar date.
    Date(Date),
    /// A point in time with an optional offset from UTC.
    DateTime(DateTime),
    /// An object of the host that has no value form; only the host can look into it.
    Host(HostRef),
}

impl Value {
    /// A text.
    pub fn str(text: impl Into<Arc<str>>) -> Self {
        Value::Str(text.into())
    }

    /// A list.
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(Arc::new(items))
    }

    /// A map.
    pub fn map(map: Map) -> Self {
        Value::Map(Arc::new(map))
    }

    /// An integer of any size in its smallest form.
    pub fn int(value: impl Into<BigInt>) -> Self {
        int_from_big(value.into())
    }

    /// The text, if this is one.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The map, if this is one.
    pub fn as_map(&self) -> Option<&Map> {
        match self {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The elements, if this is a list or a tuple.
    pub fn as_list(&self) -> Option<&[Value]> {
        match self {
            Value::List(items) | Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    /// The name of the type as Python prints it (`int`, `str`, `NoneType`, ...).
    pub fn type_name(&self) -> &'static str {
        match self {
            Value::Null => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) | Value::BigInt(_) => "int",
            Value::Float(_) => "float",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Map(_) => "dict",
            Value::Tuple(_) => "tuple",
            Value::Set(_) => "set",
            Value::Bytes(_) => "bytes",
            Value::Date(_) => "date",
            Value::DateTime(_) => "datetime",
            Value::Host(_) => "object",
        }
    }

    /// Python's truth: `None`, `False`, zeros and empty containers are false. A host object counts as true
    /// here; ask the host (`Host::query`) where its own answer matters.
    pub fn is_truthy(&self) -> bool {
        match self {
            Value::Null => false,
            Value::Bool(value) => *value,
            Value::Int(value) => *value != 0,
            Value::BigInt(_) | Value::Date(_) | Value::DateTime(_) | Value::Host(_) => true,
            Value::Float(value) => *value != 0.0,
            Value::Str(text) => !text.is_empty(),
            Value::List(items) | Value::Tuple(items) => !items.is_empty(),
            Value::Map(map) => !map.is_empty(),
            Value::Set(items) => !items.is_empty(),
            Value::Bytes(bytes) => !bytes.is_empty(),
        }
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Str(a), Value::Str(b)) => a == b,
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
                Arc::ptr_eq(a, b) || a == b
            }
            (Value::Map(a), Value::Map(b)) => Arc::ptr_eq(a, b) || a == b,
            (Value::Set(a), Value::Set(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Date(a), Value::Date(b)) => a == b,
            (Value::DateTime(a), Value::DateTime(b)) => a == b,
            (Value::Host(a), Value::Host(b)) => a == b,
            _ => compare_numbers(self, other) == Some(std::cmp::Ordering::Equal),
        }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Float(value)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(text.into())
    }
}

impl From<Vec<Value>> for Value {
    fn from(items: Vec<Value>) -> Self {
        Value::list(items)
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Value::map(map)
    }
}

/// Appends formatted text.
fn put(out: &mut String, text: fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Builds a [`Value::Map`] from `key => value` pairs; values are converted with `Value::from`.
#[macro_export]
macro_rules! map {
    ($($key:expr => $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut map = $crate::value::Map::new();
        $( map.insert($crate::value::Key::from($key), $crate::value::Value::from($value)); )*
        $crate::value::Value::map(map)
    }};
}
