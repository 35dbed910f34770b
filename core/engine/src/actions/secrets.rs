//! `secrets.get`, `secrets.has`.

use super::{ActionCall, Registry};
use crate::run::Stop;
use crate::value::Map;

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("secrets.get", |call| {
        let key = call.required("key")?.clone();
        let default = || call.get("default").cloned().unwrap_or_default();
        Ok(crate::map! { "value" => secrets(call)?.get(&key).cloned().unwrap_or_else(default) })
    });
    registry.add_direct("secrets.has", |call| {
        let key = call.required("key")?.clone();
        Ok(crate::map! { "exists" => secrets(call)?.contains_key(&key) })
    });
    registry.alias("secrets.get", "actions.secrets_get");
    registry.alias("secrets.has", "actions.secrets_has");
}

/// The agent's secrets (`actions/SE-1`).
fn secrets(call: &ActionCall) -> Result<Map, Stop> {
    let secrets = match call.surroundings.section("secrets") {
        None => return Ok(Map::new()),
        Some(secrets) => call.exported(secrets)?,
    };
    Ok(secrets.as_map().cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{End, run, run_on};
    use super::super::{Limiters, Memory, Surroundings};
    use super::*;
    use crate::value::Value;

    struct Safe;

    impl Surroundings for Safe {
        fn limiters(&self) -> Arc<Limiters> {
            Arc::default()
        }

        fn memory(&self) -> Arc<Memory> {
            Arc::default()
        }

        fn section(&self, name: &str) -> Option<Value> {
            (name == "secrets").then(|| crate::map! { "K" => "v" })
        }
    }

    /// actions/SE-1
    #[test]
    fn got_and_asked_for() {
        let ask = |name: &str, arguments: Value| run_on(name, arguments, Map::new(), Arc::new(Safe));
        let value = |value: Value| End::Value(crate::map! { "value" => value });
        assert_eq!(ask("secrets.get", crate::map! { "key" => "K" }), value("v".into()));
        assert_eq!(ask("secrets.get", crate::map! { "key" => "N", "default" => 7 }), value(Value::Int(7)));
        assert_eq!(ask("secrets.get", crate::map! { "key" => "N" }), value(Value::Null));
        let exists = |exists: bool| End::Value(crate::map! { "exists" => exists });
        assert_eq!(ask("secrets.has", crate::map! { "key" => "K" }), exists(true));
        assert_eq!(ask("actions.secrets_has", crate::map! { "key" => "N" }), exists(false));
        assert_eq!(run("secrets.has", crate::map! { "key" => "K" }), crate::map! { "exists" => false });
    }
}
