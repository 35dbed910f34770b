//! Filters, with the parameters of Jinja2's.

pub(super) mod html;
mod json;
mod number;
mod pretty;
mod sequence;
mod text;
mod wrap;

use std::sync::Arc;

use super::eval::Renderer;
use super::eval::val::{Args, Missing, Obj, R, Val, template_error, type_error};
use crate::value::Value;

pub(super) use number::decimal_digit;

macro_rules! filters {
    ($($variant:ident: $($name:literal)|+),* $(,)?) => {
        /// A filter by its name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Filter { $($variant),* }

        impl Filter {
            pub(super) fn named(name: &str) -> Option<Filter> {
                match name {
                    $($($name)|+ => Some(Filter::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

filters! {
    Abs: "abs", Attr: "attr", Batch: "batch", Capitalize: "capitalize", Center: "center",
    Default: "default" | "d", Dictsort: "dictsort", Escape: "e" | "escape",
    Filesizeformat: "filesizeformat", First: "first", Float: "float", Forceescape: "forceescape",
    Format: "format", Fromjson: "fromjson", Groupby: "groupby", Indent: "indent", Int: "int", Items: "items",
    Join: "join", Json: "json", Last: "last", Length: "length" | "count", List: "list", Lower: "lower",
    Map: "map", Max: "max", Min: "min", Pprint: "pprint", Random: "random", Reject: "reject",
    Rejectattr: "rejectattr", Replace: "replace", Reverse: "reverse", Round: "round", Safe: "safe",
    Select: "select", Selectattr: "selectattr", Sha256: "sha256", Slice: "slice", Sort: "sort",
    String: "string", Striptags: "striptags", Sum: "sum", Title: "title", Tojson: "tojson", Trim: "trim",
    Truncate: "truncate", Unique: "unique", Upper: "upper", Urlencode: "urlencode", Urlize: "urlize",
    Wordcount: "wordcount", Wordwrap: "wordwrap", Xmlattr: "xmlattr",
}

impl Renderer<'_> {
    pub(super) fn filter(&mut self, filter: Filter, value: Val, args: Args) -> R<Val> {
        match filter {
            Filter::Default => {
                let [default, boolean] = args.bind("default", ["default_value", "boolean"], 0)?;
                let boolean = self.flag(boolean, false)?;
                let replaced = match &value {
                    Val::Undef(_) => true,
                    value => boolean && !self.truth(value)?,
                };
                Ok(if replaced { default.unwrap_or_else(|| Val::str("")) } else { value })
            }
            Filter::Length => {
                let [] = args.bind("length", [], 0)?;
                self.length(&value).map(Val::len)
            }
            Filter::String => {
                let [] = args.bind("string", [], 0)?;
                match value {
                    Val::Safe(_) | Val::V(Value::Str(_)) => Ok(value),
                    value => self.str(&value).map(Val::str),
                }
            }
            Filter::Attr => self.attr_filter(&value, args),
            Filter::Safe => {
                let [] = args.bind("safe", [], 0)?;
                Ok(Val::Safe(self.str(&value)?.into()))
            }
            Filter::Escape => {
                let [] = args.bind("escape", [], 0)?;
                match value {
                    Val::Safe(_) => Ok(value),
                    value => {
                        let text = self.str(&value)?;
                        Ok(Val::Safe(html::escape(&text).into()))
                    }
                }
            }
            Filter::Forceescape => {
                let [] = args.bind("forceescape", [], 0)?;
                let text = self.str(&value)?;
                Ok(Val::Safe(html::escape(&text).into()))
            }
            Filter::Striptags | Filter::Urlencode | Filter::Urlize | Filter::Xmlattr => {
                self.html_filter(filter, &value, args)
            }
            Filter::Tojson | Filter::Json | Filter::Fromjson | Filter::Sha256 => {
                self.json_filter(filter, value, args)
            }
            Filter::Abs | Filter::Int | Filter::Float | Filter::Round | Filter::Filesizeformat => {
                self.number_filter(filter, &value, args)
            }
            Filter::Pprint => {
                let [] = args.bind("pprint", [], 0)?;
                self.pretty(&value).map(Val::str)
            }
            Filter::Capitalize
            | Filter::Center
            | Filter::Format
            | Filter::Indent
            | Filter::Lower
            | Filter::Replace
            | Filter::Title
            | Filter::Trim
            | Filter::Truncate
            | Filter::Upper
            | Filter::Wordcount
            | Filter::Wordwrap => self.text_filter(filter, &value, args),
            _ => self.sequence_filter(filter, &value, args),
        }
    }

    /// An optional truth value among the arguments.
    pub(super) fn flag(&mut self, value: Option<Val>, default: bool) -> R<bool> {
        value.map_or(Ok(default), |value| self.truth(&value))
    }

    /// An optional integer among the arguments.
    pub(super) fn integer(&mut self, value: Option<Val>, default: i64) -> R<i64> {
        let Some(value) = value else { return Ok(default) };
        match (value.as_int(), &value) {
            (Some(number), _) => Ok(number),
            (None, Val::Undef(undefined)) => template_error(undefined.message()),
            (None, Val::V(Value::BigInt(big))) => {
                Ok(if big.sign() == num_bigint::Sign::Minus { i64::MIN } else { i64::MAX })
            }
            _ => {
                type_error(format!("'{}' object cannot be interpreted as an integer", self.type_name(&value)))
            }
        }
    }

    fn attr_filter(&mut self, value: &Val, args: Args) -> R<Val> {
        let [name] = args.bind("attr", ["name"], 1)?;
        let name = name.unwrap_or(Val::NULL);
        if let Val::Undef(undefined) = value {
            return template_error(undefined.message());
        }
        let Some(text) = name.text() else {
            return type_error(format!("attribute name must be string, not '{}'", self.type_name(&name)));
        };
        let text: Arc<str> = text.into();
        let scoped = match value {
            Val::Dict(dict) => dict.dot,
            Val::Dot(_) => true,
            Val::V(Value::Host(object)) => !self.host_is_map(object)?,
            Val::Obj(object) => matches!(**object, Obj::Namespace(_)),
            _ => false,
        };
        if scoped {
            return self.attr(value, &text);
        }
        let method =
            matches!(value, Val::V(Value::Map(_)) | Val::Dict(_)) && super::methods::is_map_method(&text);
        if method {
            return self.attr(value, &text);
        }
        if let Some(found) = self.own_attr(value, &text)? {
            return Ok(found);
        }
        let object = format!("{} object", self.type_name(value)).into();
        Ok(Val::undefined(Missing::Attribute { object, name: text }))
    }
}
