//! Keys of maps and members of sets.

use std::hash::{Hash, Hasher};

use indexmap::Equivalent;
use num_traits::ToPrimitive;

use super::Value;

/// An insertion-ordered map. A text looks up its entry directly: `map.get("name")`.
pub type Map = indexmap::IndexMap<Key, Value>;

/// A value that can be a key: anything but a list, a map or a set. Keys are equal when Python's keys are:
/// `1`, `1.0` and `True` are one key.
#[derive(Debug, Clone)]
pub struct Key(Value);

impl Key {
    /// The value as a key, or back as the error when it cannot be one (Python: "unhashable type").
    pub fn new(value: Value) -> Result<Self, Value> {
        let hashable = match &value {
            Value::List(_) | Value::Map(_) | Value::Set(_) => false,
            Value::Tuple(items) => items.iter().all(|item| Key::new(item.clone()).is_ok()),
            _ => true,
        };
        if hashable { Ok(Key(value)) } else { Err(value) }
    }

    /// The value.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The value, owned.
    pub fn into_value(self) -> Value {
        self.0
    }

    /// The text, if the key is one.
    pub fn as_str(&self) -> Option<&str> {
        self.0.as_str()
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Key(Value::from(text))
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Key(Value::from(text))
    }
}

impl From<std::sync::Arc<str>> for Key {
    fn from(text: std::sync::Arc<str>) -> Self {
        Key(Value::Str(text))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(&self.0, state);
    }
}

impl Equivalent<Key> for str {
    fn equivalent(&self, key: &Key) -> bool {
        key.as_str() == Some(self)
    }
}

impl Equivalent<Key> for Value {
    fn equivalent(&self, key: &Key) -> bool {
        *self == key.0
    }
}

/// Hashes so that equal keys hash alike, and a text hashes as `str` does (for look-ups by `&str`).
fn hash<H: Hasher>(value: &Value, state: &mut H) {
    match value {
        Value::Str(text) => text.as_ref().hash(state),
        Value::Bool(flag) => i64::from(*flag).hash(state),
        Value::Int(number) => number.hash(state),
        Value::BigInt(number) => match number.to_f64() {
            Some(float) if float.is_finite() => float.to_bits().hash(state),
            _ => number.hash(state),
        },
        Value::Float(float) => {
            // A float that is a whole number must hash as that integer.
            let whole = *float as i64;
            if whole as f64 == *float && float.abs() < 9.2e18 {
                whole.hash(state);
            } else {
                float.to_bits().hash(state);
            }
        }
        Value::Tuple(items) => items.iter().for_each(|item| hash(item, state)),
        Value::Bytes(bytes) => bytes.hash(state),
        Value::Date(date) => date.hash(state),
        // Equal instants may have different offsets; the variant alone is enough of a hash.
        Value::DateTime(_) => 1_u8.hash(state),
        Value::Host(object) => object.id().hash(state),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Set(_) => 0_u8.hash(state),
    }
}

impl Hash for Value {
    /// Only for look-ups in a [`Map`] by value; lists and maps all hash alike.
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash(self, state);
    }
}
