//! The JSON Schema of the configuration.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Config;

/// The JSON Schema, for editors and for people.
pub fn schema() -> String {
    format!("{:#}", schema_value())
}

/// The JSON Schema, for `validate`.
pub(in crate::config) fn schema_value() -> Value {
    let generated = SchemaSettings::draft2020_12()
        .into_generator()
        .into_root_schema_for::<Config>();
    let mut schema = generated.to_value();
    let definitions = schema.get("$defs").cloned().unwrap_or_default();
    forbid_empty_scalars(&mut schema, &definitions);
    schema
}

/// A mapping or list may stand there empty (`push:`), with everything below it commented out; a scalar
/// without a value is a slip. `Option` allows both.
fn forbid_empty_scalars(schema: &mut Value, definitions: &Value) {
    match schema {
        Value::Array(items) => {
            for item in items {
                forbid_empty_scalars(item, definitions);
            }
        }
        Value::Object(object) => {
            if let Some(Value::Array(types)) = object.get("type")
                && !types.iter().any(|name| name == "array")
                && let Some(scalar) = types
                    .iter()
                    .find(|name| !["null", "array", "object"].iter().any(|kept| name == kept))
            {
                let scalar = scalar.clone();
                object.insert("type".to_owned(), scalar);
            }
            if let Some(Value::Array(alternatives)) = object.get("anyOf")
                && let Some(reference) = alternatives.iter().find_map(|one| one.get("$ref"))
                && definition(reference, definitions)
                    .is_some_and(|one| one.get("properties").is_none())
            {
                let reference = reference.clone();
                object.remove("anyOf");
                object.insert("$ref".to_owned(), reference);
            }
            for value in object.values_mut() {
                forbid_empty_scalars(value, definitions);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn definition<'a>(reference: &Value, definitions: &'a Value) -> Option<&'a Value> {
    definitions.get(reference.as_str()?.strip_prefix("#/$defs/")?)
}
