//! `extraction_schema` and its neighbours: what extracted entities and relationships must be like.

use super::input::SchemaError;
use crate::value::{Map, Value, repr, text};

/// Fields of entities and relationships.
#[derive(Debug, Clone, Default)]
pub struct ExtractionSchema {
    entity_required: Vec<Value>,
    entity_optional: Vec<Value>,
    types: Vec<Value>,
    required: Vec<Value>,
    optional: Vec<Value>,
    type_requirements: Map,
    /// The prompt becomes a variable of the agent.
    pub guide_extraction: bool,
    /// The prompt asks for confidence scores.
    pub confidence_tracking: bool,
}

fn wrong(message: String) -> SchemaError {
    SchemaError { class: "ValueError", message }
}

fn names(map: Option<&Map>, key: &str) -> Result<Vec<Value>, SchemaError> {
    match map.and_then(|map| map.get(key)) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(names)) => Ok(names.to_vec()),
        Some(other) => Err(wrong(format!("{key} is a list, not {}", other.type_name()))),
    }
}

fn section<'m>(map: &'m Map, key: &str) -> Result<Option<&'m Map>, SchemaError> {
    match map.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Map(map)) => Ok(Some(map)),
        Some(other) => Err(wrong(format!("{key} is a map, not {}", other.type_name()))),
    }
}

impl ExtractionSchema {
    /// Reads a schema; missing parts are empty.
    pub fn from_value(schema: &Value) -> Result<Self, SchemaError> {
        let Value::Map(schema) = schema else {
            return Err(wrong(format!("a map is expected, not {}", schema.type_name())));
        };
        let entities = section(schema, "entities")?;
        let relationships = section(schema, "relationships")?;
        let flag = |key: &str| schema.get(key).is_some_and(Value::is_truthy);
        let requirements = match relationships {
            Some(relationships) => section(relationships, "type_requirements")?,
            None => None,
        };
        Ok(ExtractionSchema {
            entity_required: names(entities, "required_fields")?,
            entity_optional: names(entities, "optional_fields")?,
            types: names(relationships, "types")?,
            required: names(relationships, "required_fields")?,
            optional: names(relationships, "optional_fields")?,
            type_requirements: requirements.cloned().unwrap_or_default(),
            guide_extraction: flag("guide_extraction"),
            confidence_tracking: flag("confidence_tracking"),
        })
    }

    /// Everything that is wrong, as maps, entities first (`actions/VX-1`). The error: an item that is no map.
    pub fn violations(&self, entities: &[Value], relationships: &[Value]) -> Result<Vec<Value>, SchemaError> {
        let mut found = Vec::new();
        for (index, item) in entities.iter().enumerate() {
            let entity = as_item(item)?;
            for field in missing(entity, &self.entity_required) {
                let at = format!("entities[{index}].{}", text(field));
                let message = format!("Entity missing required field '{}'", text(field));
                found.push(violation("missing_required_field", at, ("entity", item), field, message));
            }
        }
        for (index, item) in relationships.iter().enumerate() {
            let relationship = as_item(item)?;
            let at = |field: &Value| format!("relationships[{index}].{}", text(field));
            let subject = ("relationship", item);
            for field in missing(relationship, &self.required) {
                let message = format!("Relationship missing required field '{}'", text(field));
                found.push(violation("missing_required_field", at(field), subject, field, message));
            }
            let kind = relationship.get("type").cloned().unwrap_or_default();
            if !self.types.is_empty() && !self.types.contains(&kind) {
                let types = Value::list(self.types.clone());
                let expected = repr(&types);
                found.push(crate::map! {
                    "type" => "invalid_relationship_type",
                    "path" => at(&"type".into()),
                    "relationship" => item.clone(),
                    "expected" => types,
                    "actual" => kind.clone(),
                    "message" => format!("Invalid relationship type '{}', expected one of {expected}", text(&kind)),
                });
            }
            let needed = self.type_requirements.get(&kind).filter(|_| kind.is_truthy());
            for field in missing(relationship, needed.and_then(Value::as_list).unwrap_or_default()) {
                let message = format!("Relationship type '{}' requires field '{}'", text(&kind), text(field));
                found.push(violation("missing_type_specific_field", at(field), subject, field, message));
            }
        }
        Ok(found)
    }

    /// The prompt that asks a model for what fits (`actions/VX-2`). `rules` are constraints, whose comments are
    /// quoted.
    pub fn prompt(&self, rules: &str, confidence: bool) -> String {
        let joined = |names: &[Value]| names.iter().map(text).collect::<Vec<_>>().join(", ");
        let fields = |required: &[Value], optional: &[Value]| {
            let required = required.iter().map(|name| format!("{} (required)", text(name)));
            let optional = optional.iter().map(|name| format!("{} (optional)", text(name)));
            required.chain(optional).collect::<Vec<_>>().join(", ")
        };
        let mut lines = vec![
            "You are extracting entities and relationships from text.".to_owned(),
            String::new(),
            "ONTOLOGY:".to_owned(),
        ];
        if !(self.entity_required.is_empty() && self.entity_optional.is_empty()) {
            let fields = fields(&self.entity_required, &self.entity_optional);
            lines.push(format!("- Entities must have: {fields}"));
        }
        if !self.types.is_empty() {
            lines.push(format!("- Valid relationship types: {}", joined(&self.types)));
        }
        if !self.required.is_empty() {
            lines.push(format!("- Relationships must have: {}", fields(&self.required, &self.optional)));
        }
        for (kind, needed) in &self.type_requirements {
            let needed = joined(needed.as_list().unwrap_or_default());
            lines.push(format!("- {} relationships require: {needed}", text(kind.value())));
        }
        let comments: Vec<&str> = rules
            .lines()
            .filter_map(|line| line.trim().strip_prefix('%').map(str::trim))
            .filter(|comment| !comment.is_empty() && !comment.starts_with('-'))
            .collect();
        if !comments.is_empty() {
            lines.push(String::new());
            lines.push("CONSTRAINTS TO SATISFY:".to_owned());
            lines.extend(comments.iter().map(|comment| format!("- {comment}")));
        }
        if confidence || self.confidence_tracking {
            lines.push(String::new());
            lines.push(
                "Include confidence scores (0.0-1.0) for each extraction. Add a 'confidence' field to each entity \
                 and relationship."
                    .to_owned(),
            );
        }
        lines.push(String::new());
        lines.push("Extract according to this schema.".to_owned());
        lines.join("\n")
    }
}

fn as_item(item: &Value) -> Result<&Map, SchemaError> {
    item.as_map().ok_or_else(|| {
        let message = format!("'{}' object has no attribute 'get'", item.type_name());
        SchemaError { class: "AttributeError", message }
    })
}

/// The fields that an item lacks or has as null.
fn missing<'f>(item: &Map, fields: &'f [Value]) -> impl Iterator<Item = &'f Value> {
    fields.iter().filter(|field| matches!(item.get(*field), None | Some(Value::Null)))
}

fn violation(kind: &str, path: String, subject: (&str, &Value), field: &Value, message: String) -> Value {
    crate::map! {
        "type" => kind,
        "path" => path,
        subject.0 => subject.1.clone(),
        "expected" => field.clone(),
        "actual" => Value::Null,
        "message" => message,
    }
}

/// The rules in `validation_constraints` (`yaml/EX-3`); empty without any.
pub fn rules(constraints: &Value) -> Result<String, SchemaError> {
    let Value::Map(constraints) = constraints else { return Ok(String::new()) };
    match constraints.get("language") {
        None => {}
        Some(Value::Str(language)) if **language == *"prolog" => {}
        Some(other) => {
            let given = text(other);
            return Err(wrong(format!("validation_constraints language must be 'prolog', got '{given}'")));
        }
    }
    Ok(constraints.get("rules").filter(|rules| rules.is_truthy()).map(text).unwrap_or_default())
}

/// The prompt that is to become the variable `extraction_prompt` of an agent, if its `extraction_schema` asks for
/// that (`yaml/EX-2`, `yaml/EX-5`).
pub fn guiding_prompt(config: &Map) -> Result<Option<String>, SchemaError> {
    let Some(schema) = config.get("extraction_schema").filter(|schema| schema.is_truthy()) else {
        return Ok(None);
    };
    let schema = ExtractionSchema::from_value(schema)
        .map_err(|error| wrong(format!("Invalid extraction_schema: {error}")))?;
    if !schema.guide_extraction {
        return Ok(None);
    }
    let rules = rules(config.get("validation_constraints").unwrap_or(&Value::Null))?;
    Ok(Some(schema.prompt(&rules, false)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::json::loads;

    const SCHEMA: &str = r#"{"entities": {"required_fields": ["name"], "optional_fields": ["note"]},
        "relationships": {"types": ["knows", "owns"], "required_fields": ["subject"],
        "type_requirements": {"owns": ["since"]}}, "guide_extraction": true}"#;

    /// actions/VX-1
    #[test]
    fn violations() {
        let schema = ExtractionSchema::from_value(&loads(SCHEMA).unwrap()).unwrap();
        let entities = loads(r#"[{"name": "A"}, {"name": null}]"#).unwrap();
        let relationships =
            loads(r#"[{"type": "owns"}, {"subject": "A", "type": "x"}, {"subject": "A"}]"#).unwrap();
        let found = schema.violations(entities.as_list().unwrap(), relationships.as_list().unwrap()).unwrap();
        let shown: Vec<String> = found
            .iter()
            .map(|found| {
                let found = found.as_map().unwrap();
                format!("{}: {}", text(&found["path"]), text(&found["message"]))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "entities[1].name: Entity missing required field 'name'",
                "relationships[0].subject: Relationship missing required field 'subject'",
                "relationships[0].since: Relationship type 'owns' requires field 'since'",
                "relationships[1].type: Invalid relationship type 'x', expected one of ['knows', 'owns']",
                "relationships[2].type: Invalid relationship type 'None', expected one of ['knows', 'owns']",
            ]
        );
        assert_eq!(schema.violations(&[Value::Null], &[]).unwrap_err().class, "AttributeError");
    }

    /// actions/VX-2
    #[test]
    fn prompts() {
        let schema = ExtractionSchema::from_value(&loads(SCHEMA).unwrap()).unwrap();
        assert_eq!(
            schema.prompt("% one\n%- no\n% - no\nx :- y. % no\n%% two", true),
            "You are extracting entities and relationships from text.\n\nONTOLOGY:\n\
             - Entities must have: name (required), note (optional)\n\
             - Valid relationship types: knows, owns\n\
             - Relationships must have: subject (required)\n\
             - owns relationships require: since\n\n\
             CONSTRAINTS TO SATISFY:\n- one\n- % two\n\n\
             Include confidence scores (0.0-1.0) for each extraction. Add a 'confidence' field to each entity and \
             relationship.\n\nExtract according to this schema."
        );
        let bare = ExtractionSchema::default().prompt("", false);
        assert!(bare.ends_with("ONTOLOGY:\n\nExtract according to this schema."));
    }

    /// yaml/EX-2, yaml/EX-3, yaml/EX-5
    #[test]
    fn guiding_prompts() {
        let guide = |config: &str| guiding_prompt(loads(config).unwrap().as_map().unwrap());
        let guided = guide(&format!(
            r#"{{"extraction_schema": {SCHEMA}, "validation_constraints": {{"rules": "% r"}}}}"#
        ));
        let guided = guided.unwrap().unwrap();
        assert!(guided.contains("- owns relationships require: since") && guided.contains("- r"));
        assert_eq!(guide(r#"{"extraction_schema": {"entities": {}}}"#), Ok(None));
        let error = guide(r#"{"extraction_schema": 7}"#).unwrap_err();
        assert_eq!(error.to_string(), "Invalid extraction_schema: a map is expected, not int");
        let error = rules(&loads(r#"{"language": "datalog"}"#).unwrap()).unwrap_err();
        assert_eq!(error.to_string(), "validation_constraints language must be 'prolog', got 'datalog'");
    }
}
