//! Methods of lists and tuples.

use crate::template::eval::Renderer;
use crate::template::eval::access::place;
use crate::template::eval::val::{Args, R, Val, failure, type_error, value_error};
use crate::value::Value;

impl Renderer<'_> {
    pub(super) fn list_method(&mut self, value: &Val, name: &str, args: Args) -> R<Val> {
        match name {
            "index" => {
                let [item, start, stop] = args.exactly("index", 1)?;
                let item = item.unwrap_or(Val::NULL);
                let items = self.iterate(value)?;
                let bound = |bound: i64| {
                    let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                    usize::try_from(if bound < 0 { bound.saturating_add(length) } else { bound }).unwrap_or(0)
                };
                let start = bound(self.integer(start, 0)?);
                let stop = bound(self.integer(stop, i64::MAX)?);
                for (index, other) in items.iter().enumerate().take(stop).skip(start) {
                    if self.equal(other, &item)? {
                        return Ok(Val::len(index));
                    }
                }
                let shown = self.repr(&item)?;
                match self.sequence_kind(value)? {
                    Some("tuple") => value_error("tuple.index(x): x not in tuple"),
                    _ => value_error(format!("{shown} is not in list")),
                }
            }
            "count" => {
                let [item] = args.exactly("count", 1)?;
                let item = item.unwrap_or(Val::NULL);
                let mut count = 0;
                for other in self.iterate(value)? {
                    count += usize::from(self.equal(&other, &item)?);
                }
                Ok(Val::len(count))
            }
            "copy" => {
                let [] = args.exactly("copy", 0)?;
                Ok(Val::list(self.iterate(value)?))
            }
            _ => self.change_list(value, name, args),
        }
    }

    fn change_list(&mut self, value: &Val, name: &str, args: Args) -> R<Val> {
        let writable = self.writable(value);
        let Val::List(list) = &writable else { return type_error("the list cannot be changed") };
        self.step(1)?;
        self.produce(size_of::<Val>())?;
        match name {
            "append" => {
                let [item] = args.exactly("append", 1)?;
                let item = item.unwrap_or(Val::NULL);
                self.check_cycle(&writable, &item)?;
                list.0.borrow_mut().push(item);
            }
            "extend" => {
                let [items] = args.exactly("extend", 1)?;
                let items = self.iterate(&items.unwrap_or(Val::NULL))?;
                self.produce(items.len() * size_of::<Val>())?;
                for item in &items {
                    self.check_cycle(&writable, item)?;
                }
                list.0.borrow_mut().extend(items);
            }
            "insert" => {
                let [index, item] = args.exactly("insert", 2)?;
                let index = self.integer(index, 0)?;
                let item = item.unwrap_or(Val::NULL);
                self.check_cycle(&writable, &item)?;
                let mut items = list.0.borrow_mut();
                let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
                let index = if index < 0 { index.saturating_add(length).max(0) } else { index.min(length) };
                items.insert(usize::try_from(index).unwrap_or(0), item);
            }
            "pop" => {
                let [index] = args.exactly("pop", 0)?;
                let index = self.integer(index, -1)?;
                let mut items = list.0.borrow_mut();
                if items.is_empty() {
                    return failure("IndexError", "pop from empty list");
                }
                return match place(items.len(), index) {
                    Some(at) => Ok(items.remove(at)),
                    None => failure("IndexError", "pop index out of range"),
                };
            }
            "remove" => {
                let [item] = args.exactly("remove", 1)?;
                let item = item.unwrap_or(Val::NULL);
                let items = self.iterate(&writable)?;
                for (index, other) in items.iter().enumerate() {
                    if self.equal(other, &item)? {
                        list.0.borrow_mut().remove(index);
                        return Ok(Val::NULL);
                    }
                }
                return value_error("list.remove(x): x not in list");
            }
            "sort" => {
                if !args.pos.is_empty() {
                    return type_error("sort() takes no positional arguments");
                }
                let [key, reverse] = args.bind("sort", ["key", "reverse"], 0)?;
                if key.is_some_and(|key| !key.is_null()) {
                    return type_error("sort() with a key is not supported");
                }
                let reverse = self.flag(reverse, false)?;
                let items = self.iterate(&writable)?;
                let order = self.sorted_indices(&items, reverse)?;
                *list.0.borrow_mut() = order.iter().filter_map(|index| items.get(*index).cloned()).collect();
            }
            "reverse" => {
                let [] = args.exactly("reverse", 0)?;
                list.0.borrow_mut().reverse();
            }
            _ => {
                let [] = args.exactly("clear", 0)?;
                list.0.borrow_mut().clear();
            }
        }
        Ok(Val::NULL)
    }

    pub(super) fn decode(&mut self, bytes: &[u8], encoding: Option<Val>, errors: Option<Val>) -> R<Val> {
        let encoding = match &encoding {
            Some(value) => value.text().unwrap_or_default().to_lowercase().replace(['-', '_'], ""),
            None => "utf8".to_owned(),
        };
        let strict = !matches!(errors.as_ref().and_then(Val::text), Some("ignore" | "replace"));
        match encoding.as_str() {
            "utf8" | "ascii" | "usascii" => match std::str::from_utf8(bytes) {
                Ok(text) if encoding == "utf8" || text.is_ascii() => Ok(Val::str(text)),
                _ if !strict => {
                    let text = String::from_utf8_lossy(bytes).into_owned();
                    let ignore = errors.as_ref().and_then(Val::text) == Some("ignore");
                    Ok(Val::str(if ignore { text.replace('\u{fffd}', "") } else { text }))
                }
                _ => failure("UnicodeDecodeError", format!("'{encoding}' codec can't decode the bytes")),
            },
            "latin1" | "iso88591" => {
                Ok(Val::str(bytes.iter().map(|byte| char::from(*byte)).collect::<String>()))
            }
            other => failure("LookupError", format!("unknown encoding: {other}")),
        }
    }
}

/// A list of texts.
pub(super) fn texts(parts: impl IntoIterator<Item = impl Into<std::sync::Arc<str>>>) -> Val {
    Val::V(Value::list(parts.into_iter().map(|part| Value::Str(part.into())).collect()))
}
