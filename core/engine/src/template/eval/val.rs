//! Values while a template runs: those of the engine, and what only a template can make (undefined values,
//! containers under construction, loops, macros).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use crate::host::HostRef;
use crate::template::parse::ast::{Block, For, Macro};
use crate::value::{Key, Map, Value};

/// Why rendering stopped.
#[derive(Debug)]
pub(crate) struct Fail {
    /// Python's exception class of an ordinary failure; `None`: a template error.
    pub(crate) class: Option<Cow<'static, str>>,
    pub(crate) message: String,
}

pub(crate) type R<T> = Result<T, Box<Fail>>;

/// A template error: undefined values, unknown filters, refused arguments.
pub(crate) fn template_error<T>(message: impl Into<String>) -> R<T> {
    Err(Box::new(Fail { class: None, message: message.into() }))
}

/// An ordinary failure of a Python class.
pub(crate) fn failure<T>(class: &'static str, message: impl Into<String>) -> R<T> {
    Err(Box::new(Fail { class: Some(Cow::Borrowed(class)), message: message.into() }))
}

pub(crate) fn type_error<T>(message: impl Into<String>) -> R<T> {
    failure("TypeError", message)
}

pub(crate) fn value_error<T>(message: impl Into<String>) -> R<T> {
    failure("ValueError", message)
}

/// How an undefined value came to be; the text is made only when it is used.
#[derive(Debug, Clone)]
pub(crate) enum Missing {
    Name(Arc<str>),
    Hint(Cow<'static, str>),
    Attribute { object: Cow<'static, str>, name: Arc<str> },
    Element { object: Cow<'static, str>, key: String },
}

#[derive(Debug)]
pub(crate) struct Undefined {
    pub(crate) missing: Missing,
    /// The result of an inline `if` without `else`: prints as nothing and is false.
    pub(crate) lenient: bool,
}

impl Undefined {
    pub(crate) fn message(&self) -> String {
        match &self.missing {
            Missing::Name(name) => format!("'{name}' is undefined"),
            Missing::Hint(hint) => hint.to_string(),
            Missing::Attribute { object, name } => format!("'{object}' has no attribute '{name}'"),
            Missing::Element { object, key } => format!("{object} has no element {key}"),
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) enum Val {
    /// A value of the engine. Maps in it are plain: methods win over keys after a dot.
    V(Value),
    Undef(Rc<Undefined>),
    /// A text that is not escaped again.
    Safe(Arc<str>),
    /// A list that the template made; may hold undefined values.
    List(Rc<ListCell>),
    Tuple(Rc<TupleCell>),
    /// A map that the template made, or (`dot`) one reached from the scope by dots only.
    Dict(Rc<DictCell>),
    /// A host's map reached from the scope by dots only.
    Dot(HostRef),
    Obj(Rc<Obj>),
}

#[derive(Debug)]
pub(crate) struct ListCell(pub(crate) RefCell<Vec<Val>>);

#[derive(Debug)]
pub(crate) struct TupleCell {
    pub(crate) items: Vec<Val>,
    /// A pair of `groupby`, which has names as well.
    pub(crate) group: bool,
}

#[derive(Debug)]
pub(crate) struct DictCell {
    pub(crate) dot: bool,
    pub(crate) data: RefCell<DictData>,
}

#[derive(Debug)]
pub(crate) enum DictData {
    Shared(Arc<Map>),
    Own(IndexMap<Key, Val>),
}

#[derive(Debug)]
pub(crate) enum Obj {
    Range {
        start: i64,
        stop: i64,
        step: i64,
    },
    /// What Python yields lazily: can be gone through once.
    Lazy(RefCell<Vec<Val>>),
    /// `keys()`, `values()` or `items()` of a map.
    View(&'static str, Vec<Val>),
    Namespace(RefCell<IndexMap<Arc<str>, Val>>),
    Macro(MacroValue),
    Loop(LoopValue),
    Cycler {
        items: Vec<Val>,
        position: Cell<usize>,
    },
    Joiner {
        separator: String,
        used: Cell<bool>,
    },
    Method(Val, Arc<str>),
    Global(Global),
    /// A function in the scope, by the name of its root.
    Function(Arc<str>),
    /// `self`: the blocks of the template.
    Blocks,
    Block(Arc<Block>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Global {
    Range,
    Dict,
    Lipsum,
    Cycler,
    Joiner,
    Namespace,
}

/// Where a macro or a recursive loop was defined: its free names are those of that place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) frame: usize,
    pub(crate) segment: usize,
}

#[derive(Debug)]
pub(crate) struct MacroValue {
    pub(crate) node: Arc<Macro>,
    pub(crate) place: Place,
}

/// The elements of a loop.
#[derive(Debug, Clone)]
pub(crate) enum Items {
    List(Rc<Vec<Val>>),
    Range { start: i64, step: i64, length: usize },
}

impl Items {
    pub(crate) fn len(&self) -> usize {
        match self {
            Items::List(items) => items.len(),
            Items::Range { length, .. } => *length,
        }
    }

    pub(crate) fn get(&self, index: usize) -> Option<Val> {
        match self {
            Items::List(items) => items.get(index).cloned(),
            Items::Range { start, step, length } => {
                if index >= *length {
                    return None;
                }
                let offset = step.checked_mul(i64::try_from(index).ok()?)?;
                Some(Val::int(start.checked_add(offset)?))
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct LoopValue {
    pub(crate) items: Items,
    pub(crate) index0: Cell<usize>,
    pub(crate) depth0: usize,
    pub(crate) changed: RefCell<Option<Vec<Val>>>,
    /// Set in a recursive loop.
    pub(crate) node: Option<Arc<For>>,
    pub(crate) place: Place,
}

impl Val {
    pub(crate) const NULL: Val = Val::V(Value::Null);

    pub(crate) fn bool(flag: bool) -> Val {
        Val::V(Value::Bool(flag))
    }

    pub(crate) fn int(number: i64) -> Val {
        Val::V(Value::Int(number))
    }

    pub(crate) fn len(length: usize) -> Val {
        Val::int(i64::try_from(length).unwrap_or(i64::MAX))
    }

    pub(crate) fn str(text: impl Into<Arc<str>>) -> Val {
        Val::V(Value::Str(text.into()))
    }

    pub(crate) fn list(items: Vec<Val>) -> Val {
        Val::List(Rc::new(ListCell(RefCell::new(items))))
    }

    pub(crate) fn tuple(items: Vec<Val>) -> Val {
        Val::Tuple(Rc::new(TupleCell { items, group: false }))
    }

    pub(crate) fn dict(map: IndexMap<Key, Val>) -> Val {
        Val::Dict(Rc::new(DictCell { dot: false, data: RefCell::new(DictData::Own(map)) }))
    }

    pub(crate) fn dot(map: Arc<Map>) -> Val {
        Val::Dict(Rc::new(DictCell { dot: true, data: RefCell::new(DictData::Shared(map)) }))
    }

    pub(crate) fn lazy(items: Vec<Val>) -> Val {
        Val::obj(Obj::Lazy(RefCell::new(items)))
    }

    pub(crate) fn obj(object: Obj) -> Val {
        Val::Obj(Rc::new(object))
    }

    pub(crate) fn undefined(missing: Missing) -> Val {
        Val::Undef(Rc::new(Undefined { missing, lenient: false }))
    }

    pub(crate) fn hint(hint: &'static str) -> Val {
        Val::undefined(Missing::Hint(Cow::Borrowed(hint)))
    }

    /// The text, if this is one.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Val::V(Value::Str(text)) | Val::Safe(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Val::V(Value::Null))
    }

    pub(crate) fn host(&self) -> Option<&HostRef> {
        match self {
            Val::V(Value::Host(object)) | Val::Dot(object) => Some(object),
            _ => None,
        }
    }

    /// The number as an integer; booleans are integers.
    pub(crate) fn as_int(&self) -> Option<i64> {
        match self {
            Val::V(Value::Int(number)) => Some(*number),
            Val::V(Value::Bool(flag)) => Some(i64::from(*flag)),
            _ => None,
        }
    }
}

impl From<Value> for Val {
    fn from(value: Value) -> Self {
        Val::V(value)
    }
}

impl DictData {
    pub(crate) fn len(&self) -> usize {
        match self {
            DictData::Shared(map) => map.len(),
            DictData::Own(map) => map.len(),
        }
    }

    pub(crate) fn get(&self, key: &Value) -> Option<Val> {
        match self {
            DictData::Shared(map) => map.get(key).cloned().map(Val::V),
            DictData::Own(map) => map.get(key).cloned(),
        }
    }

    pub(crate) fn get_str(&self, key: &str) -> Option<Val> {
        match self {
            DictData::Shared(map) => map.get(key).cloned().map(Val::V),
            DictData::Own(map) => map.get(key).cloned(),
        }
    }

    /// The entries for writing; a shared map is copied first.
    pub(crate) fn own(&mut self) -> &mut IndexMap<Key, Val> {
        if let DictData::Shared(map) = self {
            let copy = map.iter().map(|(key, value)| (key.clone(), Val::V(value.clone()))).collect();
            *self = DictData::Own(copy);
        }
        match self {
            DictData::Own(map) => map,
            // Replaced just above.
            DictData::Shared(_) => unreachable!(),
        }
    }

    pub(crate) fn keys(&self) -> Vec<Val> {
        match self {
            DictData::Shared(map) => map.keys().map(|key| Val::V(key.value().clone())).collect(),
            DictData::Own(map) => map.keys().map(|key| Val::V(key.value().clone())).collect(),
        }
    }

    pub(crate) fn entries(&self) -> Vec<(Val, Val)> {
        match self {
            DictData::Shared(map) => {
                map.iter().map(|(k, v)| (Val::V(k.value().clone()), Val::V(v.clone()))).collect()
            }
            DictData::Own(map) => map.iter().map(|(k, v)| (Val::V(k.value().clone()), v.clone())).collect(),
        }
    }
}

/// Lists nested by a loop can be deeper than the stack: their elements are freed one level at a time.
impl Drop for ListCell {
    fn drop(&mut self) {
        dismantle(std::mem::take(self.0.get_mut()));
    }
}

impl Drop for TupleCell {
    fn drop(&mut self) {
        dismantle(std::mem::take(&mut self.items));
    }
}

impl Drop for DictCell {
    fn drop(&mut self) {
        if let DictData::Own(map) = self.data.get_mut() {
            dismantle(std::mem::take(map).into_values().collect());
        }
    }
}

fn dismantle(mut work: Vec<Val>) {
    if work.iter().all(|item| matches!(item, Val::V(_) | Val::Safe(_))) {
        return;
    }
    while let Some(item) = work.pop() {
        match item {
            Val::List(cell) => {
                if let Some(mut cell) = Rc::into_inner(cell) {
                    work.append(cell.0.get_mut());
                }
            }
            Val::Tuple(cell) => {
                if let Some(mut cell) = Rc::into_inner(cell) {
                    work.append(&mut cell.items);
                }
            }
            Val::Dict(cell) => {
                if let Some(mut cell) = Rc::into_inner(cell)
                    && let DictData::Own(map) = cell.data.get_mut()
                {
                    work.extend(std::mem::take(map).into_values());
                }
            }
            _ => {}
        }
    }
}

/// Positional and named arguments of a call.
#[derive(Debug, Default, Clone)]
pub(crate) struct Args {
    pub(crate) pos: Vec<Val>,
    pub(crate) kw: Vec<(Arc<str>, Val)>,
}

impl Args {
    pub(crate) fn positional(pos: Vec<Val>) -> Self {
        Args { pos, kw: Vec::new() }
    }

    /// The arguments in the order of `names`, the first `required` of which must be given.
    pub(crate) fn bind<const N: usize>(
        self,
        function: &str,
        names: [&str; N],
        required: usize,
    ) -> R<[Option<Val>; N]> {
        let mut bound = [const { None }; N];
        let given = self.pos.len();
        if given > N {
            return type_error(format!("{function}() takes at most {N} arguments ({given} given)"));
        }
        for (place, value) in bound.iter_mut().zip(self.pos) {
            *place = Some(value);
        }
        for (name, value) in self.kw {
            let Some(index) = names.iter().position(|known| **known == *name) else {
                return type_error(format!("{function}() got an unexpected keyword argument '{name}'"));
            };
            let Some(place @ None) = bound.get_mut(index) else {
                return type_error(format!("{function}() got multiple values for argument '{name}'"));
            };
            *place = Some(value);
        }
        if let Some(missing) = bound.iter().take(required).position(Option::is_none) {
            let name = names.get(missing).copied().unwrap_or_default();
            return type_error(format!("{function}() missing a required argument: '{name}'"));
        }
        Ok(bound)
    }

    /// Positional arguments only, between `least` and `N` of them.
    pub(crate) fn exactly<const N: usize>(self, function: &str, least: usize) -> R<[Option<Val>; N]> {
        if let Some((name, _)) = self.kw.first() {
            return type_error(format!("{function}() takes no keyword arguments ('{name}' given)"));
        }
        let given = self.pos.len();
        if given > N || given < least {
            return type_error(format!("{function}() takes {least} to {N} arguments ({given} given)"));
        }
        let mut bound = [const { None }; N];
        for (place, value) in bound.iter_mut().zip(self.pos) {
            *place = Some(value);
        }
        Ok(bound)
    }
}

/// Lists and maps of the engine that the template changes in place, by the address of the shared original.
/// The original is kept so that its address stays its own.
pub(crate) type Changed = HashMap<usize, (Value, Val)>;
