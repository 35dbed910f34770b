use super::*;
use crate::actions::json::loads;

fn messages(data: &str, schema: &str) -> Vec<String> {
    let violations = validate(&loads(data).unwrap(), &loads(schema).unwrap()).unwrap();
    violations.iter().map(|found| format!("{}: {}", found.dotted_path(), found.message)).collect()
}

/// actions/DA-2, actions/DA-3, actions/DA-4: messages and order of the Python package `jsonschema` 4.26
#[test]
fn keywords() {
    let cases: &[(&str, &str, &[&str])] = &[
        (r#""x""#, r#"{"type": "integer"}"#, &[r#": 'x' is not of type 'integer'"#]),
        (r#"true"#, r#"{"type": ["integer", "null"]}"#, &[r#": True is not of type 'integer', 'null'"#]),
        (r#"1.0"#, r#"{"type": "integer"}"#, &[]),
        (
            r#"{"z": 1, "a": 1}"#,
            r#"{"required": ["r"], "properties": {"a": {}}, "additionalProperties": false}"#,
            &[
                r#": 'r' is a required property"#,
                r#": Additional properties are not allowed ('z' was unexpected)"#,
            ],
        ),
        (
            r#"{"y": 1, "z": 1}"#,
            r#"{"additionalProperties": false}"#,
            &[r#": Additional properties are not allowed ('y', 'z' were unexpected)"#],
        ),
        (
            r#"{"z": 1, "x1": 2}"#,
            r#"{"patternProperties": {"^x": {"type": "string"}}, "additionalProperties": false}"#,
            &[r#"x1: 2 is not of type 'string'"#, r#": 'z' does not match any of the regexes: '^x'"#],
        ),
        (
            r#"{"z": "s"}"#,
            r#"{"additionalProperties": {"type": "integer"}}"#,
            &[r#"z: 's' is not of type 'integer'"#],
        ),
        (r#"5"#, r#"{"enum": [1, 2]}"#, &[r#": 5 is not one of [1, 2]"#]),
        (r#"true"#, r#"{"enum": [1]}"#, &[r#": True is not one of [1]"#]),
        (r#"[1]"#, r#"{"const": [1.0]}"#, &[]),
        (r#"1"#, r#"{"const": "a"}"#, &[r#": 'a' was expected"#]),
        (r#""a""#, r#"{"minLength": 2}"#, &[r#": 'a' is too short"#]),
        (r#""""#, r#"{"minLength": 1}"#, &[r#": '' should be non-empty"#]),
        (r#""abc""#, r#"{"maxLength": 2}"#, &[r#": 'abc' is too long"#]),
        (r#""a""#, r#"{"maxLength": 0}"#, &[r#": 'a' is expected to be empty"#]),
        (r#"[]"#, r#"{"minItems": 1}"#, &[r#": [] should be non-empty"#]),
        (r#"[1]"#, r#"{"minItems": 2}"#, &[r#": [1] is too short"#]),
        (r#"[1,2]"#, r#"{"maxItems": 1}"#, &[r#": [1, 2] is too long"#]),
        (r#"{}"#, r#"{"minProperties": 2}"#, &[r#": {} does not have enough properties"#]),
        (r#"{"a": 1}"#, r#"{"maxProperties": 0}"#, &[r#": {'a': 1} is expected to be empty"#]),
        (r#"5"#, r#"{"minimum": 10}"#, &[r#": 5 is less than the minimum of 10"#]),
        (r#"50"#, r#"{"maximum": 10.5}"#, &[r#": 50 is greater than the maximum of 10.5"#]),
        (r#"5"#, r#"{"exclusiveMinimum": 5}"#, &[r#": 5 is less than or equal to the minimum of 5"#]),
        (r#"5"#, r#"{"exclusiveMaximum": 5}"#, &[r#": 5 is greater than or equal to the maximum of 5"#]),
        (r#"7"#, r#"{"multipleOf": 2}"#, &[r#": 7 is not a multiple of 2"#]),
        (r#"0.3"#, r#"{"multipleOf": 0.1}"#, &[r#": 0.3 is not a multiple of 0.1"#]),
        (r#"7.5"#, r#"{"multipleOf": 2.5}"#, &[]),
        (r#""x""#, r#"{"pattern": "^a"}"#, &[r#": 'x' does not match '^a'"#]),
        (r#""ba""#, r#"{"pattern": "a$"}"#, &[]),
        (
            r#"[1, "a", "b"]"#,
            r#"{"items": {"type": "integer"}}"#,
            &[r#"1: 'a' is not of type 'integer'"#, r#"2: 'b' is not of type 'integer'"#],
        ),
        (
            r#"[1, 2, 3]"#,
            r#"{"items": [{"type": "string"}], "additionalItems": false}"#,
            &[
                r#"0: 1 is not of type 'string'"#,
                r#": Additional items are not allowed (2, 3 were unexpected)"#,
            ],
        ),
        (
            r#"[1, "x"]"#,
            r#"{"items": [true], "additionalItems": {"type": "integer"}}"#,
            &[r#"1: 'x' is not of type 'integer'"#],
        ),
        (
            r#"[1, 2]"#,
            r#"{"contains": {"type": "string"}}"#,
            &[r#": None of [1, 2] are valid under the given schema"#],
        ),
        (r#"[1, 1.0]"#, r#"{"uniqueItems": true}"#, &[r#": [1, 1.0] has non-unique elements"#]),
        (r#"[1, true]"#, r#"{"uniqueItems": true}"#, &[]),
        (r#"{"ab": 1}"#, r#"{"propertyNames": {"maxLength": 1}}"#, &[r#": 'ab' is too long"#]),
        (
            r#"{"a": 1}"#,
            r#"{"dependencies": {"a": ["b"], "c": ["d"]}}"#,
            &[r#": 'b' is a dependency of 'a'"#],
        ),
        (
            r#"{"a": 1}"#,
            r#"{"dependencies": {"a": {"required": ["q"]}}}"#,
            &[r#": 'q' is a required property"#],
        ),
        (
            r#"1"#,
            r#"{"allOf": [{"type": "string"}, {"minimum": 3}]}"#,
            &[r#": 1 is not of type 'string'"#, r#": 1 is less than the minimum of 3"#],
        ),
        (
            r#"1"#,
            r#"{"anyOf": [{"type": "string"}, {"minimum": 3}]}"#,
            &[r#": 1 is not valid under any of the given schemas"#],
        ),
        (
            r#"1"#,
            r#"{"oneOf": [{"type": "string"}, {"minimum": 3}]}"#,
            &[r#": 1 is not valid under any of the given schemas"#],
        ),
        (
            r#"5"#,
            r#"{"oneOf": [{"minimum": 1}, {"minimum": 3}, {"maximum": 9}]}"#,
            &[r#": 5 is valid under each of {'minimum': 3}, {'maximum': 9}, {'minimum': 1}"#],
        ),
        (
            r#"1"#,
            r#"{"not": {"type": "integer"}}"#,
            &[r#": 1 should not be valid under {'type': 'integer'}"#],
        ),
        (
            r#"1"#,
            r#"{"if": {"type": "integer"}, "then": {"minimum": 3}, "else": {"minLength": 9}}"#,
            &[r#": 1 is less than the minimum of 3"#],
        ),
        (
            r#""a""#,
            r#"{"if": {"type": "integer"}, "then": {"minimum": 3}, "else": {"minLength": 9}}"#,
            &[r#": 'a' is too short"#],
        ),
        (
            r#"{"a": {"b": [1]}}"#,
            r##"{"definitions": {"s~/": {"type": "string"}}, "properties": {"a": {"properties": {"b": {"items": {"$ref": "#/definitions/s~0~1", "type": "null"}}}}}}"##,
            &[r#"a.b.0: 1 is not of type 'string'"#],
        ),
        (
            r#"{"c": {"c": 1}}"#,
            r##"{"properties": {"c": {"$ref": "#"}}, "type": "object"}"##,
            &[r#"c.c: 1 is not of type 'object'"#],
        ),
        (r#"1"#, r#"false"#, &[r#": False schema does not allow 1"#]),
        (r#"1"#, r#"true"#, &[]),
        (r#""x""#, r#"{"format": "date"}"#, &[]),
    ];
    for (data, schema, wanted) in cases {
        assert_eq!(messages(data, schema), *wanted, "{schema}");
    }
}

/// actions/DA-4, actions/Q-42
#[test]
fn schemas_are_checked_first() {
    for schema in [
        r#"{"type": "strin"}"#,
        r#"{"properties": {"a": {"minLength": -1}}}"#,
        r#"{"required": "a"}"#,
        r#"{"$ref": "https://example.org/x"}"#,
        r##"{"$ref": "#/nope"}"##,
        r##"{"$ref": "#"}"##,
        r#"{"pattern": "("}"#,
        "7",
    ] {
        assert!(validate(&Value::from("x"), &loads(schema).unwrap()).is_err(), "{schema}");
    }
    let tuple = loads(r#"{"items": [{"type": "null"}]}"#).unwrap();
    assert!(validate(&Value::Null, &tuple).is_ok());
    assert!(!check_2020(&tuple).unwrap().is_empty());
}
