//! `schema.merge`.

use super::files::{Place, read_text};
use super::json::loads;
use super::{ActionCall, Registry, failure};
use crate::agent::merge_all;
use crate::run::Stop;
use crate::schema::json_schema;
use crate::value::{Map, Value, repr, text};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("schema.merge", merge);
    registry.alias("schema.merge", "actions.schema_merge");
}

/// `actions/SM-1`, `actions/SM-2`.
fn merge(call: &ActionCall) -> Result<Value, Stop> {
    let specs = match call.required("schemas")? {
        Value::List(specs) => specs.to_vec(),
        Value::Null => Vec::new(),
        other => {
            let given = other.type_name();
            return Err(failure("TypeError", format!("schema.merge: schemas is a list, not {given}")));
        }
    };
    let (mut loaded, mut errors) = (Vec::new(), Vec::<Value>::new());
    for (index, spec) in specs.iter().enumerate() {
        match load(spec) {
            Ok(Value::Null) => {}
            Ok(schema) => loaded.push(schema),
            Err(error) => errors.push(format!("Schema {index}: {error}").into()),
        }
    }
    if !errors.is_empty() {
        let error = "Failed to load schemas";
        return Ok(crate::map! { "success" => false, "error" => error, "errors" => errors });
    }
    if loaded.is_empty() {
        return Ok(crate::map! { "success" => false, "error" => "No schemas provided" });
    }
    let merged = merge_all(&loaded).map_err(|error| failure("TypeError", error.to_string()))?;
    let key = call.get("output_key").map_or_else(|| "merged_schema".to_owned(), text);
    let mut result = Map::new();
    result.insert("success".into(), true.into());
    result.insert(key.into(), merged.clone());
    if call.flag("validate", false) {
        let (valid, report) = validation(merged);
        result.insert("validation".into(), report);
        if !valid {
            result.insert("success".into(), false.into());
            result.insert("error".into(), "Merged schema is not valid JSON Schema".into());
        }
    }
    Ok(Value::map(result))
}

/// `actions/SM-14`.
fn validation(schema: Value) -> (bool, Value) {
    let errors: Vec<Value> = match json_schema::check_2020(&schema) {
        Ok(violations) => {
            let first = violations.into_iter().next();
            first
                .map(|first| format!("Schema validation error: {}", first.message).into())
                .into_iter()
                .collect()
        }
        Err(error) => vec![format!("Schema validation error: {error}").into()],
    };
    let valid = errors.is_empty();
    (valid, crate::map! { "valid" => valid, "errors" => errors, "schema" => schema })
}

fn load(spec: &Value) -> Result<Value, String> {
    let unusable =
        |keys: String| format!("Invalid schema spec: must have 'path', 'uses', or 'inline' key. Got: {keys}");
    let Value::Map(spec) = spec else { return Err(unusable(repr(spec))) };
    if let Some(inline) = spec.get("inline") {
        return Ok(inline.clone());
    }
    if let Some(path) = spec.get("path") {
        return load_file(&text(path));
    }
    if let Some(reference) = spec.get("uses") {
        let reference = text(reference);
        // What is stored here is read here; repositories and cloud storage are the host's.
        return match Place::of(&reference) {
            Ok(_) if reference.contains("://") => load_file(&reference),
            _ => Err(format!(
                "the reference '{reference}' can only be fetched by a host; use 'path' for a file"
            )),
        };
    }
    Err(unusable(repr(&Value::list(spec.keys().map(|key| key.value().clone()).collect()))))
}

fn load_file(path: &str) -> Result<Value, String> {
    let content = read_text(path).map_err(|error| match error {
        super::files::FileError::NotFound(_) => format!("Schema file not found: {path}"),
        other => other.to_string(),
    })?;
    let lower = path.to_lowercase();
    if lower.ends_with(".yaml") || lower.ends_with(".yml") {
        return crate::yaml::load(content.as_bytes(), &Default::default()).map_err(|error| error.to_string());
    }
    loads(&content).map_err(|fault| fault.to_string())
}

#[cfg(test)]
mod tests {
    use super::super::testing::run;
    use super::*;

    fn merged(schemas: &str, more: &str) -> Map {
        let arguments = loads(&format!(r#"{{"schemas": {schemas}{more}}}"#)).unwrap();
        run("schema.merge", arguments).as_map().unwrap().clone()
    }

    /// actions/SM-1, actions/SM-2, actions/SM-10, actions/SM-11
    #[test]
    fn merging() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().display();
        std::fs::write(folder.path().join("a.yaml"), "a: {x: 1}\nnodes: [{name: n, v: 1}]").unwrap();
        std::fs::write(folder.path().join("b.json"), r#"{"a": {"y": 2}, "nodes": [{"name": "n", "v": 2}]}"#)
            .unwrap();
        let schemas = format!(
            r#"[{{"path": "{root}/a.yaml"}}, {{"inline": null}}, {{"path": "{root}/b.json"}}, {{"uses": "file://{root}/b.json"}}]"#
        );
        let done = merged(&schemas, r#", "output_key": "m""#);
        let wanted = r#"{"a": {"x": 1, "y": 2}, "nodes": [{"name": "n", "v": 2}]}"#;
        assert_eq!(done["m"], loads(wanted).unwrap());
        assert_eq!(done["success"], Value::Bool(true));
        assert_eq!(merged("[]", "")["error"], "No schemas provided".into());
        let failed = merged(r#"[{"path": "/no/such.json"}, {"x": 1}, {"uses": "o/r@v#p"}]"#, "");
        assert_eq!(failed["error"], "Failed to load schemas".into());
        let errors = failed["errors"].as_list().unwrap();
        assert_eq!(errors[0], "Schema 0: Schema file not found: /no/such.json".into());
        let spec = "Schema 1: Invalid schema spec: must have 'path', 'uses', or 'inline' key. Got: ['x']";
        assert_eq!(errors[1], spec.into());
        assert!(text(&errors[2]).contains("o/r@v#p"));
    }

    /// actions/SM-2, actions/SM-14
    #[test]
    fn validation_of_the_result() {
        let good = merged(r#"[{"inline": {"type": "object"}}]"#, r#", "validate": true"#);
        assert_eq!(good["validation"].as_map().unwrap()["valid"], Value::Bool(true));
        let bad = merged(r#"[{"inline": {"type": "objec"}}]"#, r#", "validate": true"#);
        assert_eq!(bad["success"], Value::Bool(false));
        assert_eq!(bad["error"], "Merged schema is not valid JSON Schema".into());
        let errors = bad["validation"].as_map().unwrap()["errors"].clone();
        assert!(
            text(&errors.as_list().unwrap()[0]).starts_with("Schema validation error: 'objec' is not valid")
        );
    }
}
