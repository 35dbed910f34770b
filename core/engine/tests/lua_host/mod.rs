//! A host with live objects for the tests of Lua: values by id, and a record of what was asked.

#![allow(clippy::unwrap_used)] // A poisoned lock is a failed test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use tea_engine::host::{
    CopyDepth, Host, HostError, HostRef, LogLevel, Lookup, PathStep, Query, References, Resolved, When,
};
use tea_engine::value::{Map, Value, text};

pub(crate) struct Objects {
    objects: Mutex<HashMap<u64, (String, Value)>>,
    asked: Mutex<Vec<String>>,
    references: Arc<References>,
}

impl Objects {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Objects { objects: Mutex::default(), asked: Mutex::default(), references: Arc::default() })
    }

    /// A new live object of a type.
    pub(crate) fn keep(&self, kind: &str, value: Value) -> HostRef {
        let mut objects = self.objects.lock().unwrap();
        let id = objects.len() as u64 + 1;
        objects.insert(id, (kind.to_owned(), value));
        HostRef::new(id, &self.references)
    }

    pub(crate) fn value(&self, object: &HostRef) -> Value {
        self.objects.lock().unwrap()[&object.id()].1.clone()
    }

    /// The keys that were asked for.
    pub(crate) fn gets(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn look(&self, id: u64) -> Result<(String, Value), HostError> {
        let objects = self.objects.lock().unwrap();
        objects.get(&id).cloned().ok_or_else(|| failed(&format!("no object {id}")))
    }

    /// Containers are handed out as live objects.
    fn lend(&self, value: &Value) -> Value {
        match value {
            Value::Map(_) => Value::Host(self.keep("dict", value.clone())),
            Value::List(_) => Value::Host(self.keep("list", value.clone())),
            other => other.clone(),
        }
    }
}

fn failed(message: &str) -> HostError {
    HostError { message: message.to_owned() }
}

fn unused<T>(question: &str) -> Result<T, HostError> {
    Err(failed(&format!("Lua has no need to ask for {question}")))
}

impl Host for Objects {
    fn get(&self, object: u64, key: &Value, _: Lookup) -> Result<Option<Value>, HostError> {
        self.asked.lock().unwrap().push(text(key));
        let found = match (self.look(object)?.1, key) {
            (Value::Map(map), key) => map.get(key).cloned(),
            (Value::List(items), Value::Int(index)) => items.get(*index as usize).cloned(),
            _ => None,
        };
        match found {
            Some(Value::Str(text)) if &*text == "!fail" => Err(failed("the host does not want to")),
            found => Ok(found.map(|value| self.lend(&value))),
        }
    }

    fn keys(&self, object: u64) -> Result<Vec<Value>, HostError> {
        Ok(match self.look(object)?.1 {
            Value::Map(map) => map.keys().map(|key| key.value().clone()).collect(),
            Value::List(items) => items.to_vec(),
            _ => Vec::new(),
        })
    }

    fn query(&self, object: u64, what: Query, _: Option<&Value>) -> Result<Value, HostError> {
        let (kind, value) = self.look(object)?;
        match what {
            Query::TypeName => Ok(kind.into()),
            Query::Str => Ok(format!("<{kind}>").into()),
            Query::Length => match value {
                Value::List(items) => Ok(Value::Int(items.len() as i64)),
                Value::Map(map) => Ok(Value::Int(map.len() as i64)),
                _ => Err(failed("no length")),
            },
            _ => unused("this"),
        }
    }

    fn export(&self, object: u64) -> Result<Value, HostError> {
        Ok(self.look(object)?.1)
    }

    fn resolve(&self, _: u64, _: &[&[PathStep]]) -> Result<Vec<Resolved>, HostError> {
        unused("paths")
    }

    fn call(&self, _: u64, _: &str, _: &[Value]) -> Result<Value, HostError> {
        unused("calls")
    }

    fn import(&self, _: &Value) -> Result<HostRef, HostError> {
        unused("imports")
    }

    fn apply(&self, _: u64, _: &Map) -> Result<(), HostError> {
        unused("changes")
    }

    fn copy(&self, _: u64, _: CopyDepth) -> Result<HostRef, HostError> {
        unused("copies")
    }

    fn stops(&self, _: u64, _: u32, _: When) -> Result<bool, HostError> {
        unused("interrupts")
    }

    fn log(&self, _: LogLevel, _: &str, _: &str) {}

    fn references(&self) -> &Arc<References> {
        &self.references
    }
}
