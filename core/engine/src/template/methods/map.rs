//! Methods of maps.

use crate::run::state_of_result;
use crate::template::eval::Renderer;
use crate::template::eval::val::{Args, Obj, R, Val, failure};
use crate::value::Value;

impl Renderer<'_> {
    pub(super) fn map_method(&mut self, value: &Val, name: &str, args: Args) -> R<Val> {
        match name {
            "get" => {
                let [key, default] = args.exactly("get", 1)?;
                let key = self.key(&key.unwrap_or(Val::NULL))?;
                let found = match value {
                    Val::V(Value::Map(map)) => {
                        let found = map.get(key.value()).or_else(|| state_of_result(map)?.get(key.value()));
                        found.cloned().map(Val::V)
                    }
                    Val::Dict(dict) => dict.data.borrow().get(key.value()),
                    _ => None,
                };
                Ok(found.map(|found| self.current(found)).or(default).unwrap_or(Val::NULL))
            }
            "keys" | "values" | "items" => {
                let [] = args.exactly(name, 0)?;
                let entries = self.entries(value)?.unwrap_or_default();
                self.step(entries.len())?;
                let (kind, items) = match name {
                    "keys" => ("dict_keys", entries.into_iter().map(|(key, _)| key).collect()),
                    "values" => ("dict_values", entries.into_iter().map(|(_, value)| value).collect()),
                    _ => (
                        "dict_items",
                        entries.into_iter().map(|(key, value)| Val::tuple(vec![key, value])).collect(),
                    ),
                };
                Ok(Val::obj(Obj::View(kind, items)))
            }
            "copy" => {
                let [] = args.exactly("copy", 0)?;
                Ok(match value {
                    Val::Dict(dict) => self.copied(dict),
                    other => {
                        let entries = self.entries(other)?.unwrap_or_default();
                        let mut map = indexmap::IndexMap::new();
                        for (key, value) in entries {
                            map.insert(self.key(&key)?, value);
                        }
                        Val::dict(map)
                    }
                })
            }
            _ => self.change_map(value, name, args),
        }
    }

    fn change_map(&mut self, value: &Val, name: &str, args: Args) -> R<Val> {
        let writable = self.writable(value);
        let Val::Dict(dict) = &writable else { return failure("TypeError", "the map cannot be changed") };
        match name {
            "pop" => {
                let [key, default] = args.exactly("pop", 1)?;
                let wanted = key.unwrap_or(Val::NULL);
                let key = self.key(&wanted)?;
                let found = dict.data.borrow_mut().own().shift_remove(key.value());
                match found.or(default) {
                    Some(value) => Ok(value),
                    None => failure("KeyError", self.repr(&wanted)?),
                }
            }
            "setdefault" => {
                let [key, default] = args.exactly("setdefault", 1)?;
                let key = self.key(&key.unwrap_or(Val::NULL))?;
                let default = default.unwrap_or(Val::NULL);
                self.check_cycle(&writable, &default)?;
                let mut data = dict.data.borrow_mut();
                Ok(data.own().entry(key).or_insert(default).clone())
            }
            "update" => {
                let entries = self.dict_arguments(args)?;
                for value in entries.values() {
                    self.check_cycle(&writable, value)?;
                }
                dict.data.borrow_mut().own().extend(entries);
                Ok(Val::NULL)
            }
            _ => {
                let [] = args.exactly("clear", 0)?;
                dict.data.borrow_mut().own().clear();
                Ok(Val::NULL)
            }
        }
    }
}
