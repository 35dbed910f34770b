//! `validate.input`, `validate.schema`.

use super::{ActionCall, Registry, failure};
use crate::run::Stop;
use crate::schema::input::{Detail, InputSchema};
use crate::value::{Map, Value};

pub(super) fn register(registry: &mut Registry) {
    registry.add_direct("validate.input", input);
    registry.add_direct("validate.schema", schema);
    registry.alias("validate.input", "actions.validate_input");
    registry.alias("validate.schema", "actions.validate_schema");
}

/// `actions/VI-1`, `yaml/IV-10`.
fn input(call: &ActionCall) -> Result<Value, Stop> {
    let refused = |error: &str, message: String| {
        let detail = crate::map! { "field" => "__schema__", "error" => error, "message" => message };
        crate::map! { "valid" => false, "errors" => vec![detail] }
    };
    let schema = match call.get("schema") {
        None | Some(Value::Null) => {
            return Ok(refused("missing", "Schema is required for validate.input action".to_owned()));
        }
        Some(schema) => schema,
    };
    let raises = call.flag("raise_on_error", false);
    let bad_schema = |class: &str, message: String| {
        if raises {
            return Err(failure(class, message));
        }
        Ok(refused("invalid_schema", format!("Schema parsing error: {message}")))
    };
    let schema = match InputSchema::from_value(schema) {
        Ok(schema) => schema,
        Err(error) => return bad_schema(error.class, error.message),
    };
    let data = match call.get("data") {
        None | Some(Value::Null) => call.state()?,
        Some(data) => data.clone(),
    };
    let empty = Map::new();
    let data = match &data {
        Value::Map(data) => data,
        Value::Null => &empty,
        other => {
            return bad_schema("TypeError", format!("Input must be a mapping, got {}", other.type_name()));
        }
    };
    match schema.validate(data) {
        Ok(data) => Ok(crate::map! { "valid" => true, "data" => data }),
        Err(details) if raises => {
            Err(failure("ValidationError", format!("Validation failed: {} error(s)", details.len())))
        }
        Err(details) => {
            let errors: Vec<Value> = details.iter().map(Detail::to_value).collect();
            Ok(crate::map! { "valid" => false, "errors" => errors })
        }
    }
}

/// `actions/VI-2`; the schema is given back as it came, once it is known to make sense.
fn schema(call: &ActionCall) -> Result<Value, Stop> {
    let schema = call.required("schema")?;
    Ok(match InputSchema::from_value(schema) {
        Ok(_) => crate::map! { "schema" => schema.clone(), "valid" => true },
        Err(error) => crate::map! { "schema" => Value::Null, "valid" => false, "error" => error.message },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::testing::{End, alone, failed, run, run_on};
    use super::*;
    use crate::actions::json::loads;

    /// actions/VI-1, yaml/IV-10
    #[test]
    fn inputs() {
        for (arguments, wanted) in [
            (
                r#"{"data": {"n": "5"}, "schema": {"n": {"type": "int"}}}"#,
                r#"{"valid": true, "data": {"n": 5}}"#,
            ),
            (
                r#"{"data": {}, "schema": {"n": {"type": "int", "required": true}}}"#,
                r#"{"valid": false, "errors": [{"field": "n", "error": "required", "message": "Field 'n' is required"}]}"#,
            ),
            (
                r#"{"raise_on_error": true}"#,
                r#"{"valid": false, "errors": [{"field": "__schema__", "error": "missing", "message": "Schema is required for validate.input action"}]}"#,
            ),
            (
                r#"{"data": [1], "schema": {}}"#,
                r#"{"valid": false, "errors": [{"field": "__schema__", "error": "invalid_schema", "message": "Schema parsing error: Input must be a mapping, got list"}]}"#,
            ),
        ] {
            assert_eq!(
                run("validate.input", loads(arguments).unwrap()),
                loads(wanted).unwrap(),
                "{arguments}"
            );
        }
        let state = crate::map! { "n" => "7" }.as_map().unwrap().clone();
        let arguments = loads(r#"{"schema": {"n": {"type": "int"}}}"#).unwrap();
        assert_eq!(
            run_on("validate.input", arguments, state, Arc::new(alone())),
            End::Value(loads(r#"{"valid": true, "data": {"n": 7}}"#).unwrap())
        );
    }

    /// actions/VI-1
    #[test]
    fn raised_errors() {
        let raised = |schema: &str| {
            let arguments =
                format!(r#"{{"data": {{"n": "x"}}, "schema": {schema}, "raise_on_error": true}}"#);
            failed("validate.input", loads(&arguments).unwrap())
        };
        assert_eq!(raised(r#"{"n": {"type": "int"}}"#), "ValidationError: Validation failed: 1 error(s)");
        assert!(raised(r#"{"n": {"type": "x"}}"#).starts_with("ValueError: Invalid type 'x'"));
        assert!(raised(r#"{"n": {"type": "int", "y": 1}}"#).starts_with("TypeError: "));
    }

    /// actions/VI-2
    #[test]
    fn schemas() {
        let good = r#"{"n": {"type": "int"}}"#;
        assert_eq!(
            run("validate.schema", loads(&format!(r#"{{"schema": {good}}}"#)).unwrap()),
            loads(&format!(r#"{{"schema": {good}, "valid": true}}"#)).unwrap()
        );
        let bad = run("validate.schema", loads(r#"{"schema": {"n": 1}}"#).unwrap());
        assert_eq!(bad.as_map().unwrap()["valid"], Value::Bool(false));
    }
}
