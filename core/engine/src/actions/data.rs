//! `data.merge`, `data.filter`, `data.validate`.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{ActionCall, Registry, order, refused};
use crate::run::Stop;
use crate::schema::json_schema;
use crate::value::{Key, Map, Value, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("data.validate", validate);
    registry.add_direct("data.merge", merge);
    registry.add_direct("data.filter", filter);
    for (name, alias) in
        [("data.validate", "data_validate"), ("data.merge", "data_merge"), ("data.filter", "data_filter")]
    {
        registry.alias(name, alias);
    }
}

/// `actions/DA-1` to `actions/DA-4`.
fn validate(call: &ActionCall) -> Result<Value, Stop> {
    let data = call.required("data")?;
    let schema = call.required("schema")?;
    if matches!(data, Value::Null) {
        let error = crate::map! { "path" => "", "message" => "Data is None" };
        return Ok(crate::map! { "valid" => false, "errors" => vec![error], "success" => true });
    }
    if matches!(schema, Value::Null) {
        return Ok(refused("Schema is required", "validate"));
    }
    Ok(match json_schema::validate(data, schema) {
        Ok(errors) => {
            let valid = errors.is_empty();
            let shown = |error: json_schema::Violation| {
                crate::map! { "path" => error.dotted_path(), "message" => error.message }
            };
            let errors: Vec<Value> = errors.into_iter().map(shown).collect();
            crate::map! { "valid" => valid, "errors" => errors, "success" => true }
        }
        Err(error) => refused(format!("Validation error: {error}"), "validate"),
    })
}

/// `actions/DA-10`, `actions/DA-11`.
fn merge(call: &ActionCall) -> Result<Value, Stop> {
    let refuse = |error: String| Ok(refused(error, "merge"));
    let sources = match call.required("sources")? {
        Value::Null => return refuse("Sources is required".to_owned()),
        Value::List(sources) => sources,
        _ => return refuse("Sources must be a list".to_owned()),
    };
    let done = |result: Value| {
        crate::map! { "result" => result, "source_count" => Value::int(sources.len()), "success" => true }
    };
    if sources.is_empty() {
        return Ok(done(Value::map(Map::new())));
    }
    let strategy = call.get("strategy").map_or_else(|| "deep".to_owned(), text);
    if !["shallow", "deep", "replace"].contains(&strategy.as_str()) {
        return refuse(format!("Unknown strategy: {strategy}. Use 'shallow', 'deep', or 'replace'"));
    }
    let mut merged = Map::new();
    for source in sources.iter() {
        match source {
            Value::Null => {}
            Value::Map(map) if strategy == "replace" => merged = Map::clone(map),
            Value::Map(map) if strategy == "shallow" => {
                merged.extend(map.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            Value::Map(map) => merge_into(&mut merged, map),
            other => {
                return refuse(format!("All sources must be dictionaries, got {}", other.type_name()));
            }
        }
    }
    Ok(done(Value::map(merged)))
}

/// Maps are merged at every depth, anything else is replaced.
fn merge_into(base: &mut Map, overlay: &Map) {
    for (key, value) in overlay {
        match (base.get_mut(key.value()), value) {
            (Some(Value::Map(inner)), Value::Map(over)) => merge_into(Arc::make_mut(inner), over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// `actions/DA-20` to `actions/DA-23`.
fn filter(call: &ActionCall) -> Result<Value, Stop> {
    let refuse = |error: String| Ok(refused(error, "filter"));
    let items = match call.required("data")? {
        Value::Null => return refuse("Data is required".to_owned()),
        Value::List(items) => items,
        _ => return refuse("Data must be a list".to_owned()),
    };
    let predicate = call.required("predicate")?;
    if matches!(predicate, Value::Null) {
        return refuse("Predicate is required".to_owned());
    }
    let mut kept = Vec::new();
    for item in items.iter() {
        match holds(predicate, item) {
            Ok(true) => kept.push(item.clone()),
            Ok(false) => {}
            Err(error) => return refuse(format!("Filter error: {error}")),
        }
    }
    Ok(crate::map! {
        "original_count" => Value::int(items.len()),
        "filtered_count" => Value::int(kept.len()),
        "result" => kept,
        "success" => true,
    })
}

fn holds(predicate: &Value, item: &Value) -> Result<bool, String> {
    let predicate = match predicate {
        Value::Map(predicate) => predicate,
        Value::List(all) => {
            for one in all.iter() {
                let Value::Map(_) = one else { return Err(no_predicate(one)) };
                if !holds(one, item)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        other => return Err(no_predicate(other)),
    };
    let Some(field) = predicate.get("field").filter(|field| !matches!(field, Value::Null)) else {
        return Ok(true);
    };
    let actual = look_up(item, field)?;
    let op = predicate.get("op").map_or_else(|| "eq".to_owned(), text);
    Ok(compare(&op, &actual, predicate.get("value").unwrap_or(&Value::Null)))
}

fn no_predicate(value: &Value) -> String {
    format!("a predicate is a map with 'field', 'op' and 'value', not {}", value.type_name())
}

/// The value under a field; dots lead into maps.
fn look_up(item: &Value, field: &Value) -> Result<Value, String> {
    let Value::Map(_) = item else { return Ok(Value::Null) };
    let Some(path) = field.as_str() else {
        return Err(format!("the field is {}, not a text", field.type_name()));
    };
    let mut value = item.clone();
    for step in path.split('.') {
        value = value.as_map().and_then(|map| map.get(step)).cloned().unwrap_or_default();
    }
    Ok(value)
}

fn compare(op: &str, actual: &Value, wanted: &Value) -> bool {
    let ordered = |accepted: fn(Ordering) -> bool| {
        !matches!(actual, Value::Null) && order::compare(actual, wanted).is_some_and(accepted)
    };
    match op {
        "eq" => actual == wanted,
        "ne" => actual != wanted,
        "gt" => ordered(Ordering::is_gt),
        "gte" => ordered(Ordering::is_ge),
        "lt" => ordered(Ordering::is_lt),
        "lte" => ordered(Ordering::is_le),
        "in" => wanted.is_truthy() && contains(wanted, actual) == Some(true),
        "not_in" => !wanted.is_truthy() || contains(wanted, actual) == Some(false),
        "contains" => actual.is_truthy() && contains(actual, wanted) == Some(true),
        "startswith" | "endswith" => {
            let Value::Str(actual) = actual else { return false };
            let fits = |part: &str| {
                if op == "startswith" { actual.starts_with(part) } else { actual.ends_with(part) }
            };
            match wanted {
                Value::Str(part) => fits(part),
                Value::Tuple(parts) => {
                    parts.iter().all(|part| part.as_str().is_some())
                        && parts.iter().filter_map(Value::as_str).any(fits)
                }
                _ => false,
            }
        }
        _ => false,
    }
}

/// `item in container`; `None` where Python raises `TypeError`.
fn contains(container: &Value, item: &Value) -> Option<bool> {
    match (container, item) {
        (Value::Str(container), Value::Str(item)) => Some(container.contains(&**item)),
        (Value::List(items) | Value::Tuple(items), item) => Some(items.contains(item)),
        (Value::Map(map), item) => Key::new(item.clone()).ok().map(|key| map.contains_key(&key)),
        (Value::Set(set), item) => Key::new(item.clone()).ok().map(|key| set.contains(&key)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::json::loads;
    use super::super::testing::run;
    use super::*;

    fn call(name: &str, arguments: &str) -> Map {
        run(name, loads(arguments).unwrap()).as_map().unwrap().clone()
    }

    fn error(name: &str, arguments: &str) -> String {
        text(&call(name, arguments)["error"])
    }

    /// actions/DA-10, actions/DA-11
    #[test]
    fn merging() {
        for (arguments, result, count) in [
            (
                r#"{"sources": [{"a": {"x": 1, "l": [1]}}, null, {"a": {"y": 2, "l": [2]}}]}"#,
                r#"{"a": {"x": 1, "l": [2], "y": 2}}"#,
                3,
            ),
            (
                r#"{"sources": [{"a": {"x": 1}, "b": 1}, {"a": {"y": 2}}], "strategy": "shallow"}"#,
                r#"{"a": {"y": 2}, "b": 1}"#,
                2,
            ),
            (r#"{"sources": [{"a": 1}, {"b": 2}, null], "strategy": "replace"}"#, r#"{"b": 2}"#, 3),
            (r#"{"sources": [null], "strategy": "replace"}"#, "{}", 1),
            (r#"{"sources": [], "strategy": "nope"}"#, "{}", 0),
        ] {
            let done = call("data.merge", arguments);
            assert_eq!(done["result"], loads(result).unwrap(), "{arguments}");
            assert_eq!(done["source_count"], Value::Int(count), "{arguments}");
        }
        assert_eq!(error("data.merge", r#"{"sources": null}"#), "Sources is required");
        assert_eq!(error("data.merge", r#"{"sources": {}}"#), "Sources must be a list");
        assert_eq!(
            error("data.merge", r#"{"sources": [{}, 1]}"#),
            "All sources must be dictionaries, got int"
        );
        assert_eq!(
            error("data.merge", r#"{"sources": [{}], "strategy": "x"}"#),
            "Unknown strategy: x. Use 'shallow', 'deep', or 'replace'"
        );
    }

    /// actions/DA-20, actions/DA-21, actions/DA-22, actions/DA-23
    #[test]
    fn filtering() {
        let data = r#"[{"n": 1, "t": "ab", "l": [1], "d": {"e": 1}}, {"n": 2.5, "t": "cd"}, {"n": null}, 7]"#;
        for (predicate, kept) in [
            (r#"{"field": "n", "value": 1}"#, vec![0]),
            (r#"{"field": "n", "value": true}"#, vec![0]),
            (r#"{"field": "n", "op": "ne", "value": 1}"#, vec![1, 2, 3]),
            (r#"{"field": "n", "op": "gt", "value": 1}"#, vec![1]),
            (r#"{"field": "n", "op": "gte", "value": "x"}"#, vec![]),
            (r#"{"field": "n", "op": "in", "value": [1, null]}"#, vec![0, 2, 3]),
            (r#"{"field": "n", "op": "in", "value": []}"#, vec![]),
            (r#"{"field": "n", "op": "not_in", "value": []}"#, vec![0, 1, 2, 3]),
            (r#"{"field": "n", "op": "not_in", "value": 5}"#, vec![]),
            (r#"{"field": "t", "op": "in", "value": "xaby"}"#, vec![0]),
            (r#"{"field": "t", "op": "contains", "value": "d"}"#, vec![1]),
            (r#"{"field": "t", "op": "contains", "value": 1}"#, vec![]),
            (r#"{"field": "l", "op": "contains", "value": 1}"#, vec![0]),
            (r#"{"field": "d", "op": "contains", "value": "e"}"#, vec![0]),
            (r#"{"field": "d.e", "value": 1}"#, vec![0]),
            (r#"{"field": "t", "op": "startswith", "value": "a"}"#, vec![0]),
            (r#"{"field": "t", "op": "endswith", "value": ""}"#, vec![0, 1]),
            (r#"{"field": "t", "op": "startswith", "value": ["a"]}"#, vec![]),
            (r#"{"field": "nope"}"#, vec![0, 1, 2, 3]),
            (r#"{"field": "n", "op": "like", "value": 1}"#, vec![]),
            (r#"[{"field": "n", "op": "gt", "value": 0}, {"field": "t", "value": "cd"}]"#, vec![1]),
            ("[]", vec![0, 1, 2, 3]),
            ("{}", vec![0, 1, 2, 3]),
        ] {
            let done = call("data.filter", &format!(r#"{{"data": {data}, "predicate": {predicate}}}"#));
            let items = loads(data).unwrap();
            let items = items.as_list().unwrap();
            let wanted: Vec<Value> = kept.iter().map(|index: &usize| items[*index].clone()).collect();
            assert_eq!(done["result"], Value::list(wanted), "{predicate}");
            assert_eq!(done["filtered_count"], Value::int(kept.len()));
            assert_eq!(done["original_count"], Value::Int(4));
        }
        assert_eq!(error("data.filter", r#"{"data": null, "predicate": {}}"#), "Data is required");
        assert_eq!(error("data.filter", r#"{"data": {}, "predicate": {}}"#), "Data must be a list");
        assert_eq!(error("data.filter", r#"{"data": [], "predicate": null}"#), "Predicate is required");
        assert_eq!(call("data.filter", r#"{"data": [], "predicate": 7}"#)["success"], Value::Bool(true));
        assert!(error("data.filter", r#"{"data": [1], "predicate": 7}"#).starts_with("Filter error: "));
        assert!(
            error("data.filter", r#"{"data": [{}], "predicate": {"field": 1}}"#)
                .starts_with("Filter error: ")
        );
    }

    /// actions/DA-1, actions/DA-2, actions/DA-4
    #[test]
    fn validating() {
        let schema = r#"{"properties": {"l": {"items": {"type": "integer"}}}, "required": ["n"]}"#;
        let done = call("data.validate", &format!(r#"{{"data": {{"l": [1.0, true]}}, "schema": {schema}}}"#));
        assert_eq!(
            done["errors"],
            loads(r#"[{"path": "l.1", "message": "True is not of type 'integer'"}, {"path": "", "message": "'n' is a required property"}]"#).unwrap()
        );
        assert_eq!(done["valid"], Value::Bool(false));
        let none = call("data.validate", r#"{"data": null, "schema": null}"#);
        assert_eq!(none["errors"], loads(r#"[{"path": "", "message": "Data is None"}]"#).unwrap());
        assert_eq!(error("data.validate", r#"{"data": 1, "schema": null}"#), "Schema is required");
        assert!(
            error("data.validate", r#"{"data": 1, "schema": {"type": "strin"}}"#)
                .starts_with("Validation error: ")
        );
    }
}
