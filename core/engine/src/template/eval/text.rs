//! Values as text: Python's `str()` and `repr()`, and the names of types.

use std::borrow::Cow;

use super::Renderer;
use super::expr::undefined_error;
use super::val::{DictData, Global, Obj, R, Val, failure};
use crate::host::Query;
use crate::value::{self, Value};

impl Renderer<'_> {
    /// `str(value)`
    pub(in crate::template) fn str(&mut self, value: &Val) -> R<String> {
        let mut out = String::new();
        self.write_str(&mut out, value)?;
        Ok(out)
    }

    /// `repr(value)`
    pub(in crate::template) fn repr(&mut self, value: &Val) -> R<String> {
        let mut out = String::new();
        self.write_repr(&mut out, value, 0)?;
        Ok(out)
    }

    pub(in crate::template) fn write_str(&mut self, out: &mut String, value: &Val) -> R<()> {
        match value {
            Val::V(Value::Str(text)) | Val::Safe(text) => out.push_str(text),
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let text = self.host_query(object, Query::Str, None)?;
                out.push_str(text.as_str().unwrap_or_default());
            }
            Val::V(Value::Date(_) | Value::DateTime(_)) => {
                if let Val::V(value) = value {
                    out.push_str(&value::text(value));
                }
            }
            Val::Undef(undefined) if undefined.lenient => {}
            Val::Undef(undefined) => return undefined_error(undefined),
            _ => self.write_repr(out, value, 0)?,
        }
        Ok(())
    }

    fn write_repr(&mut self, out: &mut String, value: &Val, depth: usize) -> R<()> {
        if depth > super::convert::MAX_DEPTH {
            return failure(
                "RecursionError",
                "maximum recursion depth exceeded while getting the repr of an object",
            );
        }
        self.check_stack()?;
        match value {
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let text = self.host_query(object, Query::Repr, None)?;
                out.push_str(text.as_str().unwrap_or_default());
            }
            Val::V(Value::List(items)) if self.plain() => self.write_values(out, items, "[", "]", depth)?,
            Val::V(Value::Tuple(items)) if self.plain() => {
                let close = if items.len() == 1 { ",)" } else { ")" };
                self.write_values(out, items, "(", close, depth)?;
            }
            Val::V(Value::List(_)) | Val::List(_) => {
                let items = self.peek_items(value)?;
                self.write_items(out, &items, "[", "]", depth)?;
            }
            Val::V(Value::Tuple(_)) | Val::Tuple(_) => {
                let items = self.peek_items(value)?;
                let close = if items.len() == 1 { ",)" } else { ")" };
                self.write_items(out, &items, "(", close, depth)?;
            }
            Val::V(Value::Map(map)) if self.plain() => {
                out.push('{');
                for (index, (key, value)) in map.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.write_value(out, key.value(), depth)?;
                    out.push_str(": ");
                    self.write_value(out, value, depth)?;
                }
                out.push('}');
            }
            Val::V(Value::Map(_)) | Val::Dict(_) => {
                let entries = match value {
                    Val::Dict(dict) => match &*dict.data.borrow() {
                        DictData::Shared(map) if self.plain() => {
                            return self.write_repr(out, &Val::V(Value::Map(map.clone())), depth);
                        }
                        data => data.entries(),
                    },
                    other => self.entries(other)?.unwrap_or_default(),
                };
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push_str(", ");
                    }
                    self.write_repr(out, key, depth + 1)?;
                    out.push_str(": ");
                    let value = self.current(value.clone());
                    self.write_repr(out, &value, depth + 1)?;
                }
                out.push('}');
            }
            Val::V(value) => out.push_str(&value::repr(value)),
            Val::Undef(undefined) if undefined.lenient => out.push_str("Undefined"),
            Val::Undef(_) => out.push_str("Undefined"),
            Val::Safe(text) => {
                out.push_str("Markup(");
                out.push_str(&value::str_repr(text));
                out.push(')');
            }
            Val::Obj(object) => match &**object {
                Obj::Range { start, stop, step } => {
                    out.push_str(&format!("range({start}, {stop}"));
                    if *step != 1 {
                        out.push_str(&format!(", {step}"));
                    }
                    out.push(')');
                }
                Obj::Lazy(items) => {
                    let items = items.borrow().clone();
                    self.write_items(out, &items, "[", "]", depth)?;
                }
                Obj::View(_, items) => self.write_items(out, items, "[", "]", depth)?,
                Obj::Namespace(entries) => {
                    let entries = entries.borrow().clone();
                    out.push_str("<Namespace {");
                    for (index, (name, value)) in entries.iter().enumerate() {
                        if index > 0 {
                            out.push_str(", ");
                        }
                        out.push_str(&value::str_repr(name));
                        out.push_str(": ");
                        self.write_repr(out, value, depth + 1)?;
                    }
                    out.push_str("}>");
                }
                Obj::Macro(value) => out.push_str(&match &value.node.name {
                    Some(name) => format!("<Macro '{name}'>"),
                    None => "<Macro anonymous>".to_owned(),
                }),
                Obj::Loop(state) => {
                    out.push_str(&format!("<LoopContext {}/{}>", state.index0.get() + 1, state.items.len()));
                }
                Obj::Method(object, name) => {
                    out.push_str(&format!("<built-in method {name} of {} object>", self.type_name(object)));
                }
                _ => out.push_str(&format!("<{}>", self.type_name(value))),
            },
        }
        Ok(())
    }

    /// Whether values of the engine hold neither host objects nor changed parts to look out for.
    fn plain(&self) -> bool {
        self.changed.is_empty()
    }

    fn write_value(&mut self, out: &mut String, value: &Value, depth: usize) -> R<()> {
        match value {
            Value::List(_) | Value::Tuple(_) | Value::Map(_) | Value::Host(_) => {
                self.write_repr(out, &Val::V(value.clone()), depth + 1)
            }
            Value::Str(text) => {
                out.push_str(&value::str_repr(text));
                Ok(())
            }
            other => {
                out.push_str(&value::repr(other));
                Ok(())
            }
        }
    }

    fn write_values(
        &mut self,
        out: &mut String,
        items: &[Value],
        open: &str,
        close: &str,
        depth: usize,
    ) -> R<()> {
        out.push_str(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            self.write_value(out, item, depth)?;
        }
        out.push_str(close);
        Ok(())
    }

    fn write_items(
        &mut self,
        out: &mut String,
        items: &[Val],
        open: &str,
        close: &str,
        depth: usize,
    ) -> R<()> {
        out.push_str(open);
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push_str(", ");
            }
            self.write_repr(out, item, depth + 1)?;
        }
        out.push_str(close);
        Ok(())
    }

    /// The name of the type as Python prints it.
    pub(in crate::template) fn type_name(&self, value: &Val) -> Cow<'static, str> {
        Cow::Borrowed(match value {
            Val::V(Value::Host(object)) | Val::Dot(object) => {
                let name =
                    self.scope.host.and_then(|host| host.query(object.id(), Query::TypeName, None).ok());
                return match name {
                    Some(Value::Str(name)) => Cow::Owned(name.to_string()),
                    _ => Cow::Borrowed("object"),
                };
            }
            Val::V(value) => value.type_name(),
            Val::Undef(undefined) if undefined.lenient => "Undefined",
            Val::Undef(_) => "StrictUndefined",
            Val::Safe(_) => "Markup",
            Val::List(_) => "list",
            Val::Tuple(tuple) if tuple.group => "_GroupTuple",
            Val::Tuple(_) => "tuple",
            Val::Dict(dict) if dict.dot => "DotDict",
            Val::Dict(_) => "dict",
            Val::Obj(object) => match &**object {
                Obj::Range { .. } => "range",
                Obj::Lazy(_) => "generator",
                Obj::View(kind, _) => kind,
                Obj::Namespace(_) => "Namespace",
                Obj::Macro(_) => "Macro",
                Obj::Loop(_) => "LoopContext",
                Obj::Cycler { .. } => "Cycler",
                Obj::Joiner { .. } => "Joiner",
                Obj::Method(..) => "builtin_function_or_method",
                Obj::Global(Global::Lipsum) | Obj::Function(_) => "function",
                Obj::Global(_) => "type",
                Obj::Blocks => "TemplateReference",
                Obj::Block(_) => "BlockReference",
            },
        })
    }

    /// The kind of object in the text of an undefined value.
    pub(super) fn type_repr(&self, value: &Val) -> Cow<'static, str> {
        match value {
            Val::V(Value::Null) => Cow::Borrowed("None"),
            Val::Dict(dict) if dict.dot => Cow::Borrowed(super::access::DOT_REPR),
            Val::Dot(_) => Cow::Borrowed(super::access::DOT_REPR),
            Val::V(Value::Date(_)) => Cow::Borrowed("datetime.date object"),
            Val::V(Value::DateTime(_)) => Cow::Borrowed("datetime.datetime object"),
            Val::Safe(_) => Cow::Borrowed("markupsafe.Markup object"),
            Val::Obj(object) => match &**object {
                Obj::Namespace(_) => Cow::Borrowed("jinja2.utils.Namespace object"),
                Obj::Loop(_) => Cow::Borrowed("jinja2.runtime.LoopContext object"),
                Obj::Macro(_) => Cow::Borrowed("jinja2.runtime.Macro object"),
                Obj::Cycler { .. } => Cow::Borrowed("jinja2.utils.Cycler object"),
                Obj::Joiner { .. } => Cow::Borrowed("jinja2.utils.Joiner object"),
                _ => Cow::Owned(format!("{} object", self.type_name(value))),
            },
            _ => Cow::Owned(format!("{} object", self.type_name(value))),
        }
    }
}
