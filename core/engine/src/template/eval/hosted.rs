//! Looking into objects of the host.

use std::borrow::Cow;
use std::sync::Arc;

use super::Renderer;
use super::access::DOT_REPR;
use super::val::{Fail, Missing, Obj, R, Val, type_error};
use crate::host::{HostError, HostRef, Lookup, PathStep, Query, Resolved};
use crate::template::methods;
use crate::template::parse::ast::{Path, Step};
use crate::template::scope::Root;
use crate::value::Value;

impl Renderer<'_> {
    /// What the host found for a path. The first question asks for all paths of the template that begin at
    /// the same object.
    pub(super) fn resolved(&mut self, root: &HostRef, path: &Path) -> R<Resolved> {
        if let Some(Some(found)) = self.resolved.get(path.id) {
            return Ok(found.clone());
        }
        let Some(host) = self.scope.host else { return type_error("the scope has no host") };
        if self.resolved.is_empty() {
            self.resolved.resize(self.paths.len(), None);
        }
        let scope = self.scope;
        let together: Vec<&Path> = self
            .paths
            .iter()
            .filter(|path| path.hosted > 0)
            .filter(|path| matches!(scope.root(&path.root), Some(Root::Host(object)) if object == root))
            .collect();
        let steps: Vec<Vec<PathStep>> = together
            .iter()
            .map(|path| path.steps.iter().take(path.hosted).map(host_step).collect())
            .collect();
        let borrowed: Vec<&[PathStep]> = steps.iter().map(Vec::as_slice).collect();
        let answers = host.resolve(root.id(), &borrowed).or_else(host_failure)?;
        for (path, answer) in together.iter().zip(answers) {
            if let Some(place) = self.resolved.get_mut(path.id) {
                *place = Some(answer);
            }
        }
        match self.resolved.get(path.id) {
            Some(Some(found)) => Ok(found.clone()),
            _ => type_error("the host did not answer for a path"),
        }
    }

    pub(super) fn walk_host(&mut self, root: &HostRef, path: &Path, count: usize) -> R<Val> {
        let steps = path.steps.get(..count).unwrap_or_default();
        if path.hosted == 0 || count < path.steps.len() {
            return self.steps(Val::Dot(root.clone()), steps);
        }
        let dotted = path.steps.iter().take(path.hosted).all(|step| matches!(step, Step::Attr(_)));
        let (value, rest) = match self.resolved(root, path)? {
            Resolved::Found(value) => (dotted_host(value, dotted), path.hosted),
            // The None and undefined rules are the engine's: it goes the last steps itself.
            Resolved::Missing { depth: 0 } => {
                let missing = match steps.first() {
                    Some(Step::Attr(name)) => self.missing_attr_of_map(name, true),
                    Some(Step::Key(Value::Str(name))) => self.missing_attr_of_map(name, true),
                    Some(Step::Index(index)) => {
                        Val::undefined(Missing::Element { object: DOT_REPR.into(), key: index.to_string() })
                    }
                    _ => Val::NULL,
                };
                (missing, 1)
            }
            Resolved::Missing { depth } => {
                let before = path.steps.get(..depth.min(path.hosted)).unwrap_or_default();
                (self.steps(Val::Dot(root.clone()), before)?, before.len())
            }
        };
        self.steps(value, path.steps.get(rest..).unwrap_or_default())
    }

    pub(super) fn host_get(&mut self, object: &HostRef, key: &Value, how: Lookup) -> R<Option<Value>> {
        let Some(host) = self.scope.host else { return type_error("the scope has no host") };
        host.get(object.id(), key, how).or_else(host_failure)
    }

    pub(super) fn host_query(&mut self, object: &HostRef, what: Query, argument: Option<&Value>) -> R<Value> {
        let Some(host) = self.scope.host else { return type_error("the scope has no host") };
        host.query(object.id(), what, argument).or_else(host_failure)
    }

    /// Whether the host's object is a map.
    pub(in crate::template) fn host_is_map(&mut self, object: &HostRef) -> R<bool> {
        let name = self.host_query(object, Query::TypeName, None)?;
        Ok(matches!(
            name.as_str(),
            Some("dict" | "DotDict" | "OrderedDict" | "defaultdict" | "Counter" | "map")
        ))
    }

    pub(super) fn host_attr(&mut self, object: &HostRef, name: &Arc<str>, dot: bool) -> R<Val> {
        let key = Value::Str(Arc::clone(name));
        if name.starts_with('_') {
            if self.host_is_map(object)?
                && let Some(value) = self.host_get(object, &key, Lookup::Item)?
            {
                return Ok(dotted_host(value, dot));
            }
            return Ok(self.no_attribute(if dot { DOT_REPR.into() } else { "object".into() }, name));
        }
        let is_method = methods::is_map_method(name);
        let how = if dot {
            if is_method { Lookup::Item } else { Lookup::ItemThenAttribute }
        } else {
            Lookup::AttributeThenItem
        };
        if is_method && !dot && self.host_is_map(object)? {
            return Ok(Val::obj(Obj::Method(Val::V(Value::Host(object.clone())), Arc::clone(name))));
        }
        if let Some(value) = self.host_get(object, &key, how)? {
            return Ok(dotted_host(value, dot));
        }
        if self.host_is_map(object)? {
            if is_method {
                return Ok(Val::obj(Obj::Method(Val::Dot(object.clone()), Arc::clone(name))));
            }
            return Ok(if dot { Val::NULL } else { self.no_attribute("dict object".into(), name) });
        }
        if is_method && let Some(value) = self.host_get(object, &key, Lookup::Attribute)? {
            return Ok(Val::V(value));
        }
        let type_name = self.type_name(&Val::V(Value::Host(object.clone())));
        Ok(self.no_attribute(format!("{type_name} object").into(), name))
    }
}

fn dotted_host(value: Value, dot: bool) -> Val {
    match value {
        Value::Host(object) if dot => Val::Dot(object),
        Value::Map(map) if dot => Val::dot(map),
        value => Val::V(value),
    }
}

fn host_step(step: &Step) -> PathStep {
    match step {
        Step::Attr(name) => PathStep::Key(Arc::clone(name)),
        Step::Key(Value::Str(name)) | Step::Get(Value::Str(name)) => PathStep::Key(Arc::clone(name)),
        Step::Index(index) => PathStep::Index(*index),
        Step::Key(other) | Step::Get(other) => PathStep::Key(crate::value::text(other).into()),
    }
}

/// A host's failure: a message that begins with the name of an exception class has that class.
pub(in crate::template) fn host_failure<T>(error: HostError) -> R<T> {
    let message = error.message;
    let class = message.split_once(": ").filter(|(class, _)| {
        class.chars().all(char::is_alphanumeric)
            && class.starts_with(char::is_uppercase)
            && (class.ends_with("Error") || class.ends_with("Exception"))
    });
    let (class, message) = match class {
        Some((class, text)) => (class.to_owned(), text.to_owned()),
        None => ("RuntimeError".to_owned(), message),
    };
    Err(Box::new(Fail { class: Some(Cow::Owned(class)), message }))
}
