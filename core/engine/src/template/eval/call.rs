//! Calls: methods, macros, loops, globals.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use indexmap::IndexMap;

use super::Renderer;
use super::expr::undefined_error;
use super::val::{
    Args, DictCell, Global, LoopValue, MacroValue, Missing, Obj, R, Val, failure, template_error, type_error,
};
use crate::template::parse::ast::{Arguments, Expr, Macro};
use crate::template::scope::Root;
use crate::value::{Key, Value};

impl Renderer<'_> {
    pub(super) fn call_expr(&mut self, callee: &Expr, arguments: &Arguments, caller: Option<Val>) -> R<Val> {
        let mut args;
        if let Expr::Attr(object, name) = callee {
            let object = self.eval(object)?;
            args = self.arguments(arguments)?;
            if let Some(caller) = caller {
                args.kw.push((Arc::from("caller"), caller));
            }
            return self.call_attr(&object, name, args);
        }
        let callee = self.eval(callee)?;
        args = self.arguments(arguments)?;
        if let Some(caller) = caller {
            args.kw.push((Arc::from("caller"), caller));
        }
        self.call(&callee, args)
    }

    pub(super) fn call_with_caller(&mut self, call: &Expr, caller: Val) -> R<Val> {
        let Expr::Call(callee, arguments) = call else { return type_error("a call is expected") };
        self.call_expr(callee, arguments, Some(caller))
    }

    /// `object.name(…)` without making the method a value.
    fn call_attr(&mut self, object: &Val, name: &Arc<str>, args: Args) -> R<Val> {
        match object {
            Val::V(Value::Str(_) | Value::List(_) | Value::Map(_)) | Val::List(_) | Val::Safe(_)
                if crate::template::methods::has_method(object, name) =>
            {
                self.call_method(object, name, args)
            }
            Val::Dot(host) | Val::V(Value::Host(host)) if !name.starts_with('_') => {
                self.call_host(host, name, args)
            }
            _ => {
                let method = self.attr(object, name)?;
                self.call(&method, args)
            }
        }
    }

    pub(in crate::template) fn call_host(
        &mut self,
        object: &crate::host::HostRef,
        name: &str,
        args: Args,
    ) -> R<Val> {
        let Some(host) = self.scope.host else { return type_error("the scope has no host") };
        if let Some((keyword, _)) = args.kw.first() {
            return type_error(format!(
                "{name}() got the keyword argument '{keyword}', which hosts do not take"
            ));
        }
        if name == "get" && self.host_is_map(object)? {
            let [key, default] = args.exactly("get", 1)?;
            let key = self.export(&key.unwrap_or(Val::NULL))?;
            let found = self.host_get(object, &key, crate::host::Lookup::Item)?;
            return Ok(found.map(Val::V).or(default).unwrap_or(Val::NULL));
        }
        let mut values = Vec::with_capacity(args.pos.len());
        for value in &args.pos {
            values.push(self.export(value)?);
        }
        match host.call(object.id(), name, &values) {
            Ok(value) => Ok(Val::V(value)),
            Err(error) => match error.message.strip_prefix("AttributeError: ") {
                Some(text) => template_error(text),
                None => super::hosted::host_failure(error),
            },
        }
    }

    pub(super) fn macro_value(&self, node: &Arc<Macro>) -> Val {
        Val::obj(Obj::Macro(MacroValue { node: Arc::clone(node), place: self.place() }))
    }

    pub(in crate::template) fn call(&mut self, callee: &Val, args: Args) -> R<Val> {
        let object = match callee {
            Val::Obj(object) => Rc::clone(object),
            Val::Undef(undefined) => return undefined_error(undefined),
            Val::V(Value::Host(host)) => return self.call_host(&host.clone(), "__call__", args),
            _ => return type_error(format!("'{}' object is not callable", self.type_name(callee))),
        };
        match &*object {
            Obj::Method(receiver, name) => self.call_method(receiver, name, args),
            Obj::Macro(value) => self.call_macro(value, args),
            Obj::Loop(state) => {
                let [iterable] = args.bind("loop", ["iterable"], 1)?;
                self.recurse(state, &iterable.unwrap_or(Val::NULL))
            }
            Obj::Joiner { separator, used } => {
                let [] = args.exactly("joiner", 0)?;
                Ok(if used.replace(true) { Val::str(separator.as_str()) } else { Val::str("") })
            }
            Obj::Global(global) => self.call_global(*global, args),
            Obj::Function(name) => {
                let Some(Root::Function(function)) = self.scope.root(name) else {
                    return type_error(format!("'{name}' is no function"));
                };
                let mut values = Vec::new();
                for value in &args.pos {
                    values.push(self.export(value)?);
                }
                match function(&values) {
                    Ok(value) => Ok(Val::V(value)),
                    Err(message) => failure("RuntimeError", message),
                }
            }
            Obj::Block(block) => {
                let [] = args.exactly("block", 0)?;
                self.block(block).map(Val::str)
            }
            _ => type_error(format!("'{}' object is not callable", self.type_name(callee))),
        }
    }

    fn call_macro(&mut self, value: &MacroValue, args: Args) -> R<Val> {
        let node = Arc::clone(&value.node);
        let name = node.name.as_deref().unwrap_or("caller");
        let Args { mut pos, mut kw } = args;
        let extra = pos.split_off(pos.len().min(node.parameters.len()));
        let mut values: Vec<Option<Val>> = pos.into_iter().map(Some).collect();
        for (parameter, _) in node.parameters.iter().skip(values.len()) {
            let given = kw.iter().position(|(key, _)| key == parameter).map(|index| kw.remove(index).1);
            values.push(given);
        }
        let mut caller = None;
        if node.uses_caller {
            caller = kw.iter().position(|(key, _)| **key == *"caller").map(|index| kw.remove(index).1);
        }
        if !node.uses_kwargs
            && let Some((keyword, _)) = kw.first()
        {
            return type_error(format!("macro '{name}' takes no keyword argument '{keyword}'"));
        }
        if !node.uses_varargs && !extra.is_empty() {
            return type_error(format!(
                "macro '{name}' takes not more than {} argument(s)",
                node.parameters.len()
            ));
        }
        let place = value.place;
        let autoescape = self.autoescape;
        self.descend(|this| {
            this.at_place(place, |this| {
                if node.uses_caller {
                    let caller =
                        caller.unwrap_or_else(|| Val::undefined(Missing::Hint("No caller defined".into())));
                    this.define(&Arc::from("caller"), caller);
                }
                if node.uses_kwargs {
                    let mut map = IndexMap::new();
                    for (name, value) in kw {
                        map.insert(Key::from(name), value);
                    }
                    this.define(&Arc::from("kwargs"), Val::dict(map));
                }
                if node.uses_varargs {
                    this.define(&Arc::from("varargs"), Val::tuple(extra));
                }
                for ((parameter, default), value) in node.parameters.iter().zip(values) {
                    let value = match (value, default) {
                        (Some(value), _) => value,
                        (None, Some(default)) => this.eval(default)?,
                        (None, None) => Val::undefined(Missing::Hint(
                            format!("parameter '{parameter}' was not provided").into(),
                        )),
                    };
                    this.define(parameter, value);
                }
                let mut text = String::new();
                this.body(&node.body, &mut text)?;
                Ok(if autoescape { Val::Safe(text.into()) } else { Val::str(text) })
            })
        })
    }

    fn call_global(&mut self, global: Global, args: Args) -> R<Val> {
        match global {
            Global::Range => {
                let [first, second, third] = args.exactly("range", 1)?;
                let mut numbers = [0_i64; 3];
                for (number, value) in numbers.iter_mut().zip([&first, &second, &third]) {
                    let Some(value) = value else { continue };
                    *number = match value {
                        Val::V(Value::BigInt(_)) => {
                            return failure("OverflowError", "a range beyond 64 bits");
                        }
                        Val::Undef(undefined) => return undefined_error(undefined),
                        value => match value.as_int() {
                            Some(number) => number,
                            None => {
                                return type_error(format!(
                                    "'{}' object cannot be interpreted as an integer",
                                    self.type_name(value)
                                ));
                            }
                        },
                    };
                }
                let [first, second_number, step] = numbers;
                let (start, stop) = if second.is_some() { (first, second_number) } else { (0, first) };
                let step = if third.is_some() { step } else { 1 };
                if step == 0 {
                    return super::val::value_error("range() arg 3 must not be zero");
                }
                Ok(Val::obj(Obj::Range { start, stop, step }))
            }
            Global::Dict => Ok(Val::dict(self.dict_arguments(args)?)),
            Global::Namespace => {
                let entries = self.dict_arguments(args)?;
                let mut attributes = IndexMap::new();
                for (key, value) in entries {
                    if let Some(name) = key.as_str() {
                        attributes.insert(Arc::from(name), value);
                    }
                }
                Ok(Val::obj(Obj::Namespace(RefCell::new(attributes))))
            }
            Global::Cycler => {
                if args.pos.is_empty() {
                    return failure("RuntimeError", "at least one item has to be provided");
                }
                Ok(Val::obj(Obj::Cycler { items: args.pos, position: Cell::new(0) }))
            }
            Global::Joiner => {
                let [separator] = args.bind("joiner", ["sep"], 0)?;
                let separator = match separator {
                    Some(value) => self.str(&value)?,
                    None => ", ".to_owned(),
                };
                Ok(Val::obj(Obj::Joiner { separator, used: Cell::new(false) }))
            }
            Global::Lipsum => self.lipsum(args),
        }
    }

    /// The entries of `dict(…)`: of a map or of pairs, then the named ones.
    pub(in crate::template) fn dict_arguments(&mut self, args: Args) -> R<IndexMap<Key, Val>> {
        let mut map = IndexMap::new();
        if args.pos.len() > 1 {
            return type_error(format!("dict expected at most 1 argument, got {}", args.pos.len()));
        }
        if let Some(source) = args.pos.first() {
            match self.entries(source)? {
                Some(entries) => {
                    for (key, value) in entries {
                        map.insert(self.key(&key)?, value);
                    }
                }
                None => {
                    for pair in self.iterate(source)? {
                        let pair = self.iterate(&pair)?;
                        let [key, value] = pair.as_slice() else {
                            return super::val::value_error(format!(
                                "dictionary update sequence element has length {}; 2 is required",
                                pair.len()
                            ));
                        };
                        map.insert(self.key(key)?, value.clone());
                    }
                }
            }
        }
        for (name, value) in args.kw {
            map.insert(Key::from(name), value);
        }
        Ok(map)
    }

    pub(super) fn loop_attr(&mut self, object: &Val, state: &LoopValue, name: &str) -> R<Option<Val>> {
        let (index0, length) = (state.index0.get(), state.items.len());
        Ok(Some(match name {
            "index" => Val::len(index0 + 1),
            "index0" => Val::len(index0),
            "revindex" => Val::len(length - index0),
            "revindex0" => Val::len(length - index0 - 1),
            "first" => Val::bool(index0 == 0),
            "last" => Val::bool(index0 + 1 == length),
            "length" => Val::len(length),
            "depth" => Val::len(state.depth0 + 1),
            "depth0" => Val::len(state.depth0),
            "previtem" => match index0.checked_sub(1).and_then(|index| state.items.get(index)) {
                Some(item) => item,
                None => Val::hint("there is no previous item"),
            },
            "nextitem" => match state.items.get(index0 + 1) {
                Some(item) => item,
                None => Val::hint("there is no next item"),
            },
            "cycle" | "changed" => Val::obj(Obj::Method(object.clone(), Arc::from(name))),
            _ => return Ok(None),
        }))
    }

    /// Methods of loops, cyclers and ranges.
    pub(in crate::template) fn call_special(&mut self, object: &Obj, name: &str, args: Args) -> R<Val> {
        match (object, name) {
            (Obj::Loop(state), "cycle") => {
                if args.pos.is_empty() {
                    return type_error("no items for cycling given");
                }
                let index = state.index0.get() % args.pos.len();
                Ok(args.pos.get(index).cloned().unwrap_or(Val::NULL))
            }
            (Obj::Loop(state), "changed") => {
                let before = state.changed.borrow().clone();
                let same = match before {
                    None => false,
                    Some(before) => self.equal(&Val::tuple(before), &Val::tuple(args.pos.clone()))?,
                };
                if !same {
                    *state.changed.borrow_mut() = Some(args.pos);
                }
                Ok(Val::bool(!same))
            }
            (Obj::Cycler { items, position }, "next") => {
                let [] = args.exactly("next", 0)?;
                let at = position.get();
                position.set((at + 1) % items.len().max(1));
                Ok(items.get(at).cloned().unwrap_or(Val::NULL))
            }
            (Obj::Range { start, stop, step }, _) => {
                let range = Val::obj(Obj::Range { start: *start, stop: *stop, step: *step });
                let items = Val::list(self.iterate(&range)?);
                self.call_method(&items, name, args)
            }
            (Obj::Cycler { position, .. }, "reset") => {
                let [] = args.exactly("reset", 0)?;
                position.set(0);
                Ok(Val::NULL)
            }
            _ => template_error(format!("'{name}' is no method")),
        }
    }

    /// A copy of a map, of the same kind.
    pub(in crate::template) fn copied(&self, dict: &DictCell) -> Val {
        let copy = match &*dict.data.borrow() {
            super::val::DictData::Shared(map) => super::val::DictData::Shared(Arc::clone(map)),
            super::val::DictData::Own(map) => super::val::DictData::Own(map.clone()),
        };
        Val::Dict(Rc::new(DictCell { dot: false, data: RefCell::new(copy) }))
    }
}
