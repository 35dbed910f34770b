//! `cache.wrap`, `cache.get`, `cache.invalidate`.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::files::storage::hex;
use super::json::{Style, dumps};
use super::store::{Entry, KeyValueStore};
use super::{ActionCall, Registry, clock, failure, nested, refused};
use crate::run::Stop;
use crate::schema::number;
use crate::value::{DateTime, Map, Value, text};

/// Entries that one search of `cache.invalidate` looks at.
const SEARCH_LIMIT: usize = 1000;

pub(super) fn register(registry: &mut Registry) {
    registry.add("cache.wrap", |call: ActionCall| -> crate::run::Running { Box::pin(wrap(call)) });
    registry.add_direct("cache.get", get);
    registry.add_direct("cache.invalidate", invalidate);
    for operation in ["wrap", "get", "invalidate"] {
        registry.alias(&format!("cache.{operation}"), &format!("actions.cache_{operation}"));
    }
}

/// `actions/CA-1` to `actions/CA-11`.
async fn wrap(call: ActionCall) -> Result<Value, Stop> {
    let action = text(call.required("action")?);
    let arguments = nested::arguments(&call)?;
    let enabled = call.flag("cache_enabled", true);
    let key = if enabled { Some(key(&call, &action, &arguments)?) } else { None };
    let store = if enabled { call.surroundings.store() } else { None };
    let shown_key = key.as_deref().map_or(Value::Null, Value::from);
    if let (Some(store), Some(key)) = (&store, &key)
        && !call.flag("skip_cache", false)
        && let Some(hit) = look_up(&**store, key)
    {
        return Ok(hit);
    }
    let Some(result) = nested::run(&call, &call.task, &action, arguments).await else {
        return Ok(refused(format!("Action '{action}' not found in registry"), "action_not_found"));
    };
    let result = match result {
        Ok(result) => result,
        Err(stop) => {
            let mut refused = Map::new();
            refused.insert("success".into(), false.into());
            refused.insert("error".into(), nested::error_text(stop)?.into());
            refused.insert("error_type".into(), "action_error".into());
            refused.insert("_cache_hit".into(), false.into());
            if key.is_some() {
                refused.insert("_cache_key".into(), shown_key);
            }
            return Ok(Value::map(refused));
        }
    };
    let success = nested::success(&result);
    if let (Some(store), Some(key), true) = (&store, &key, success.is_truthy()) {
        keep(&call, &**store, key, &action, &result)?;
    }
    Ok(crate::map! {
        "success" => success, "result" => result, "_cache_hit" => false, "_cache_key" => shown_key
    })
}

/// The key of a call (`actions/CA-3`, `actions/CA-4`).
fn key(call: &ActionCall, action: &str, arguments: &Map) -> Result<String, Stop> {
    let prefixed = call.flag("key_prefix", true);
    let agent = if prefixed { format!("{}:", call.surroundings.agent_name()) } else { String::new() };
    match call.get("key") {
        Some(Value::Str(key)) if !key.is_empty() => {
            return Ok(match key.strip_prefix("cache:") {
                None => format!("cache:{agent}{key}"),
                Some(rest) if prefixed && !rest.contains(':') => format!("cache:{agent}{rest}"),
                Some(_) => key.to_string(),
            });
        }
        Some(other) if other.is_truthy() => {
            let given = other.type_name();
            return Err(failure("AttributeError", format!("'{given}' object has no attribute 'startswith'")));
        }
        _ => {}
    }
    let source = |default: Option<&str>| match call.get("key_source") {
        Some(Value::Str(source)) => Some(source.to_string()),
        _ => default.map(str::to_owned),
    };
    let by_source = match call.get("key_strategy").and_then(Value::as_str) {
        Some("sha256") => source(None).map(|source| match arguments.get(source.as_str()) {
            None => hex(&Sha256::digest(b"")),
            Some(Value::Bytes(bytes)) => hex(&Sha256::digest(bytes)),
            Some(value) => hex(&Sha256::digest(text(value))),
        }),
        Some("file_content") => {
            let path = source(Some("file")).and_then(|source| arguments.get(source.as_str()).map(text));
            let place = path.filter(|path| !path.is_empty()).map(|path| super::files::Place::of(&path));
            place
                .and_then(Result::ok)
                .and_then(|place| place.read().ok())
                .map(|content| hex(&Sha256::digest(content)))
        }
        _ => None,
    };
    let hash = match by_source {
        Some(hash) => hash,
        None => {
            let style = Style { sort_keys: true, ..Style::default() };
            let json = dumps(&Value::map(arguments.clone()), &style, call.task.scene.host.as_deref())
                .map_err(|error| failure("TypeError", error))?;
            hex(&Sha256::digest(json))
        }
    };
    Ok(format!("cache:{agent}{action}:{hash}"))
}

/// The result for a hit (`actions/CA-6`). A store that fails counts as a miss.
fn look_up(store: &dyn KeyValueStore, key: &str) -> Option<Value> {
    let entry = store.retrieve(key).ok()??;
    let Value::Map(value) = &entry.value else { return None };
    if expired(&entry) {
        return None;
    }
    let result = value.get("result").cloned().unwrap_or_else(|| entry.value.clone());
    let created = entry.metadata.get("_cache_created_at").cloned().unwrap_or_default();
    Some(crate::map! {
        "success" => true,
        "result" => result,
        "_cache_hit" => true,
        "_cache_key" => key,
        "_cache_created_at" => created,
    })
}

/// `actions/CA-9`.
fn expired(entry: &Entry) -> bool {
    let Some(until) = entry.metadata.get("_cache_expires_at").and_then(Value::as_str) else { return true };
    let until = until.strip_suffix("+00:00Z").map_or(until.to_owned(), |rest| format!("{rest}+00:00"));
    let until = until.strip_suffix("+00:00+00:00").map_or(until.clone(), |rest| format!("{rest}+00:00"));
    match DateTime::parse(&until) {
        Some(time) => clock::now() >= (clock::seconds(&time), time.microsecond),
        None => true,
    }
}

/// Stores a result, and sometimes removes old ones (`actions/CA-7`, `actions/CA-8`, `actions/CA-10`).
fn keep(
    call: &ActionCall,
    store: &dyn KeyValueStore,
    key: &str,
    action: &str,
    result: &Value,
) -> Result<(), Stop> {
    let number = |name: &str| match call.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match number::as_float(value) {
            Some(number) => Ok(Some(number)),
            None => {
                let given = value.type_name();
                Err(failure("TypeError", format!("cache.wrap: {name} is a number, not {given}")))
            }
        },
    };
    let lifetime = match (number("ttl_seconds")?, number("ttl_hours")?, number("ttl_days")?) {
        (Some(seconds), _, _) => seconds,
        (None, Some(hours), _) => hours * 3600.0,
        (None, None, Some(days)) => days * 86_400.0,
        (None, None, None) => 60.0 * 86_400.0,
    };
    let (now, microseconds) = clock::now();
    let until = now as f64 + f64::from(microseconds) / 1e6 + lifetime;
    let expires = clock::iso(until.floor() as i64, (until.fract().abs() * 1e6) as u32);
    let created = clock::iso(now, microseconds);
    let metadata = crate::map! {
        "_cache_type" => "action_result",
        "_cache_action" => action,
        "_cache_key" => key,
        "_cache_created_at" => created,
        "_cache_expires_at" => expires,
    };
    let metadata = metadata.as_map().cloned().unwrap_or_default();
    let value = crate::map! { "result" => result.clone() };
    // A store that fails costs the saved time only: the result is there (CA-7).
    let _ = store.store(key, Entry { value, metadata });
    let probability = number("cleanup_probability")?.unwrap_or(0.05);
    if chance(u64::from(microseconds) ^ now.unsigned_abs()) < probability {
        let limit = number("cleanup_limit")?.unwrap_or(5.0) as usize;
        clean_up(store, limit);
    }
    Ok(())
}

/// A number from 0 to below 1 that need not be hard to guess.
fn chance(seed: u64) -> f64 {
    use std::hash::{BuildHasher, Hasher};
    let mut hasher = std::collections::hash_map::RandomState::new().build_hasher();
    hasher.write_u64(seed);
    (hasher.finish() >> 11) as f64 / (1_u64 << 53) as f64
}

fn clean_up(store: &dyn KeyValueStore, limit: usize) {
    let found = store.search(&filter(None), limit.saturating_mul(4)).unwrap_or_default();
    for (key, _) in found.iter().filter(|(_, entry)| expired(entry)).take(limit) {
        // What cannot be removed now is removed later.
        let _ = store.delete(key);
    }
}

/// The caller's filter, for results of actions only (`actions/Q-28`: a copy).
fn filter(given: Option<&Map>) -> Map {
    let mut filter = given.cloned().unwrap_or_default();
    filter.insert("_cache_type".into(), "action_result".into());
    filter
}

fn with_prefix(key: &str) -> String {
    if key.starts_with("cache:") { key.to_owned() } else { format!("cache:{key}") }
}

fn store_of(call: &ActionCall) -> Result<Arc<dyn KeyValueStore>, Value> {
    let missing = || refused("Long-term memory backend not configured", "configuration_error");
    call.surroundings.store().ok_or_else(missing)
}

/// `actions/CA-15`.
fn get(call: &ActionCall) -> Result<Value, Stop> {
    let key = text(call.required("key")?);
    if !call.required("key")?.is_truthy() {
        return Ok(refused("Key is required", "validation_error"));
    }
    let store = match store_of(call) {
        Ok(store) => store,
        Err(refused) => return Ok(refused),
    };
    Ok(match store.retrieve(&with_prefix(&key)) {
        Err(error) => refused(error.to_string(), "ltm_error"),
        Ok(None) => {
            crate::map! { "success" => true, "found" => false, "value" => Value::Null, "expired" => false }
        }
        Ok(Some(entry)) => {
            let inner = entry.value.as_map().and_then(|map| map.get("result"));
            let mut result = Map::new();
            result.insert("success".into(), true.into());
            result.insert("found".into(), true.into());
            result.insert("value".into(), inner.unwrap_or(&entry.value).clone());
            result.insert("expired".into(), expired(&entry).into());
            if call.flag("include_metadata", false) {
                result.insert("metadata".into(), entry.metadata.into());
            }
            Value::map(result)
        }
    })
}

/// `actions/CA-16`.
fn invalidate(call: &ActionCall) -> Result<Value, Stop> {
    let given = |name: &str| call.get(name).filter(|value| value.is_truthy());
    let (key, pattern, wanted) = (given("key"), given("pattern"), given("metadata_filter"));
    if key.is_none() && pattern.is_none() && wanted.is_none() {
        let error = "At least one of key, pattern, or metadata_filter is required";
        return Ok(refused(error, "validation_error"));
    }
    let store = match store_of(call) {
        Ok(store) => store,
        Err(refused) => return Ok(refused),
    };
    let mut deleted: Vec<Value> = Vec::new();
    let removed = (|| {
        if let Some(key) = key {
            let key = with_prefix(&text(key));
            if store.delete(&key)? {
                deleted.push(key.into());
            }
        }
        if pattern.is_some() || wanted.is_some() {
            let found = store.search(&filter(wanted.and_then(Value::as_map)), SEARCH_LIMIT)?;
            for (key, _) in found {
                let fits = pattern.is_none_or(|pattern| matches(&text(pattern), &key));
                if fits && store.delete(&key)? {
                    deleted.push(key.into());
                }
            }
        }
        Ok::<(), super::StoreError>(())
    })();
    if let Err(error) = removed {
        return Ok(refused(error.to_string(), "ltm_error"));
    }
    let count = Value::int(deleted.len());
    Ok(crate::map! { "success" => true, "deleted_count" => count, "deleted_keys" => deleted })
}

/// Whether the whole key fits a pattern in which `*` is any run of characters.
fn matches(pattern: &str, key: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = key.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::super::json::loads;
    use super::super::store::{MemoryKeyValueStore, StoreError};
    use super::super::testing::{End, alone, run, run_on};
    use super::super::{Alone, Surroundings};
    use super::*;

    fn agent(store: &Arc<MemoryKeyValueStore>) -> Arc<dyn Surroundings> {
        let store: Arc<dyn KeyValueStore> = Arc::<MemoryKeyValueStore>::clone(store);
        Arc::new(Alone { store: Some(store), ..alone() })
    }

    fn call(store: &Arc<MemoryKeyValueStore>, name: &str, arguments: &str) -> Map {
        match run_on(name, loads(arguments).unwrap(), Map::new(), agent(store)) {
            End::Value(value) => value.as_map().unwrap().clone(),
            other => panic!("{other:?}"),
        }
    }

    /// actions/CA-6, actions/CA-7, actions/CA-8
    #[test]
    fn hits_and_misses() {
        let store = Arc::default();
        let wrap = |more: &str| {
            call(
                &store,
                "cache.wrap",
                &format!(r#"{{"action": "json.parse", "args": {{"text": "[1]"}}{more}}}"#),
            )
        };
        let result = loads(r#"{"data": [1], "success": true}"#).unwrap();
        for hit in [false, true] {
            let done = wrap("");
            assert_eq!(done["_cache_hit"], Value::Bool(hit));
            assert_eq!(done["result"], result);
            assert_eq!(done.contains_key("_cache_created_at"), hit);
        }
        assert_eq!(wrap(r#", "skip_cache": true"#)["_cache_hit"], Value::Bool(false));
        for hit in [false, false] {
            assert_eq!(wrap(r#", "key": "k", "ttl_seconds": 0"#)["_cache_hit"], Value::Bool(hit));
        }
        let disabled = wrap(r#", "cache_enabled": false"#);
        assert_eq!((&disabled["_cache_hit"], &disabled["_cache_key"]), (&Value::Bool(false), &Value::Null));
    }

    /// actions/CA-22: a failed result is given back and not kept
    #[test]
    fn failures_are_not_kept() {
        let store = Arc::default();
        for _ in 0..2 {
            let done = call(&store, "cache.wrap", r#"{"action": "json.parse", "args": {"text": "x"}}"#);
            assert_eq!((&done["success"], &done["_cache_hit"]), (&Value::Bool(false), &Value::Bool(false)));
        }
        let failed = call(&store, "cache.wrap", r#"{"action": "json.parse", "args": {}}"#);
        assert_eq!(failed["error"], "missing required parameter 'text'".into());
        assert_eq!(failed["error_type"], "action_error".into());
        let responded = call(&store, "cache.wrap", r#"{"action": "http.respond", "args": {"status": 404}}"#);
        assert_eq!(responded["error"], "HTTP 404".into());
        let unknown = run("cache.wrap", loads(r#"{"action": "no.such", "args": {}}"#).unwrap());
        assert_eq!(unknown, refused("Action 'no.such' not found in registry", "action_not_found"));
    }

    /// actions/CA-3, actions/CA-4: the vectors of the contract
    #[test]
    fn keys() {
        let hash = "613fe5aa65343dbb1b9abe6abac6773f5c91bd60d3f2ffb7e2eae69e1db8b227";
        let a = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
        for (more, key) in [
            (String::new(), format!("cache:unknown_agent:notify:{hash}")),
            (r#", "key": "k""#.into(), "cache:unknown_agent:k".into()),
            (r#", "key": "cache:k""#.into(), "cache:unknown_agent:k".into()),
            (r#", "key": "cache:a:k""#.into(), "cache:a:k".into()),
            (r#", "key": "k", "key_prefix": false"#.into(), "cache:k".into()),
            (r#", "key": "", "key_prefix": false"#.into(), format!("cache:notify:{hash}")),
            (r#", "key_strategy": "sha256""#.into(), format!("cache:unknown_agent:notify:{hash}")),
            (r#", "key_strategy": "file_content""#.into(), format!("cache:unknown_agent:notify:{hash}")),
        ] {
            let done = call(
                &Arc::default(),
                "cache.wrap",
                &format!(r#"{{"action": "notify", "args": {{"x": 1}}{more}}}"#),
            );
            assert_eq!(done["_cache_key"], key.as_str().into(), "{more}");
        }
        let arguments =
            r#"{"action": "notify", "args": {"t": "a"}, "key_strategy": "sha256", "key_source": "t"}"#;
        let done = call(&Arc::default(), "cache.wrap", arguments);
        assert_eq!(done["_cache_key"], format!("cache:unknown_agent:notify:{a}").into());
    }

    /// actions/CA-15
    #[test]
    fn getting() {
        let store = Arc::default();
        call(&store, "cache.wrap", r#"{"action": "json.parse", "args": {"text": "1"}, "key": "cache:a:k"}"#);
        let found = call(&store, "cache.get", r#"{"key": "a:k", "include_metadata": true}"#);
        assert_eq!(found["value"], loads(r#"{"data": 1, "success": true}"#).unwrap());
        assert_eq!(found["expired"], Value::Bool(false));
        assert_eq!(found["metadata"].as_map().unwrap()["_cache_action"], "json.parse".into());
        assert_eq!(call(&store, "cache.get", r#"{"key": "x"}"#)["found"], Value::Bool(false));
        store.store("cache:plain", Entry { value: Value::Int(7), metadata: Map::new() }).unwrap();
        let plain = call(&store, "cache.get", r#"{"key": "plain"}"#);
        assert_eq!((&plain["value"], &plain["expired"]), (&Value::Int(7), &Value::Bool(true)));
        let none = run("cache.get", crate::map! { "key" => "k" });
        assert_eq!(none, refused("Long-term memory backend not configured", "configuration_error"));
        assert_eq!(
            run("cache.get", crate::map! { "key" => "" }),
            refused("Key is required", "validation_error")
        );
    }

    /// actions/CA-16
    #[test]
    fn invalidating() {
        let store = Arc::default();
        for key in ["a:1", "a:2", "b:1"] {
            let arguments =
                format!(r#"{{"action": "json.parse", "args": {{"text": "1"}}, "key": "cache:{key}"}}"#);
            call(&store, "cache.wrap", &arguments);
        }
        store.store("cache:a:3", Entry { value: Value::Null, metadata: Map::new() }).unwrap();
        let deleted = |arguments: &str| call(&store, "cache.invalidate", arguments)["deleted_keys"].clone();
        assert_eq!(deleted(r#"{"key": "a:1"}"#), Value::list(vec!["cache:a:1".into()]));
        assert_eq!(deleted(r#"{"pattern": "cache:a:*"}"#), Value::list(vec!["cache:a:2".into()]));
        let other = deleted(r#"{"metadata_filter": {"_cache_action": "x"}}"#);
        assert_eq!(other, Value::list(vec![]));
        let rest = deleted(r#"{"metadata_filter": {"_cache_action": "json.parse"}}"#);
        assert_eq!(rest, Value::list(vec!["cache:b:1".into()]));
        let nothing = run("cache.invalidate", crate::map! { "key" => "" });
        assert_eq!(nothing.as_map().unwrap()["error_type"], "validation_error".into());
    }

    #[test]
    fn patterns() {
        for (pattern, key, fits) in [
            ("a*c", "abc", true),
            ("a*c", "abcd", false),
            ("*", "", true),
            ("a", "ab", false),
            ("a*b*b", "ab", false),
            ("a*b*b", "abb", true),
            ("*.x", "a.x", true),
            ("*.x", "abx", false),
        ] {
            assert_eq!(matches(pattern, key), fits, "{pattern} {key}");
        }
    }

    /// actions/CA-6, actions/CA-7, actions/CA-15: a store that fails
    #[test]
    fn a_broken_store() {
        struct Broken;
        impl KeyValueStore for Broken {
            fn store(&self, _: &str, _: Entry) -> Result<(), StoreError> {
                Err(StoreError("no disk".to_owned()))
            }
            fn retrieve(&self, _: &str) -> Result<Option<Entry>, StoreError> {
                Err(StoreError("no disk".to_owned()))
            }
            fn delete(&self, _: &str) -> Result<bool, StoreError> {
                Err(StoreError("no disk".to_owned()))
            }
            fn search(&self, _: &Map, _: usize) -> Result<Vec<(String, Entry)>, StoreError> {
                Err(StoreError("no disk".to_owned()))
            }
        }
        let on_broken = |name: &str, arguments: &str| {
            let surroundings = Arc::new(Alone { store: Some(Arc::new(Broken)), ..alone() });
            match run_on(name, loads(arguments).unwrap(), Map::new(), surroundings) {
                End::Value(value) => value,
                other => panic!("{other:?}"),
            }
        };
        let done = on_broken("cache.wrap", r#"{"action": "json.parse", "args": {"text": "1"}}"#);
        assert_eq!(done.as_map().unwrap()["success"], Value::Bool(true));
        assert_eq!(on_broken("cache.get", r#"{"key": "k"}"#), refused("no disk", "ltm_error"));
        assert_eq!(on_broken("cache.invalidate", r#"{"key": "k"}"#), refused("no disk", "ltm_error"));
    }
}
