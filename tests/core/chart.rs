//! Tests of the Helm chart's schema: what it says of the configuration is what the program says.

use std::path::Path;

use serde_json::{Map, Value};
use vso_prober::config::raw;

/// What the chart fills in where it is left out: in these definitions, these keys need not be written.
const FILLED_IN: [(&str, &str); 2] = [("Vault", "auth"), ("KubernetesAuth", "role")];

/// The program's schema as a part of another: its definitions, and itself.
fn part() -> (Value, Value) {
    let mut schema: Map<_, _> = serde_json::from_str(&raw::schema()).expect("it is JSON");
    schema.remove("$schema");
    let mut definitions = schema.remove("$defs").expect("it has definitions");
    for (definition, key) in FILLED_IN {
        let definition = definitions[definition].as_object_mut().expect("an object");
        let required = definition["required"].as_array_mut().expect("a list");
        let before = required.len();
        required.retain(|required| required != key);
        assert_eq!(required.len() + 1, before, "{key} is required");
        if required.is_empty() {
            definition.remove("required");
        }
    }
    let own = definitions.pointer_mut("/Audit/oneOf/0/required");
    let own = own.and_then(Value::as_array_mut).expect("a list");
    own.retain(|required| required.as_str() != Some("state"));
    (definitions, schema.into())
}

/// `BLESS=1` writes it anew.
#[test]
fn the_values_schema_has_the_programs_own() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/chart/values.schema.json");
    let text = std::fs::read_to_string(&file).expect("the chart has a schema");
    let mut schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let (definitions, configuration) = part();
    if std::env::var_os("BLESS").is_some() {
        schema["$defs"] = definitions;
        schema["properties"]["config"] = configuration;
        let text = serde_json::to_string_pretty(&schema).expect("it is JSON") + "\n";
        std::fs::write(&file, text).expect("written");
        return;
    }
    assert_eq!(schema["$defs"], definitions, "BLESS=1 writes it anew");
    assert_eq!(
        schema["properties"]["config"], configuration,
        "BLESS=1 writes it anew"
    );
}

/// Where the chart takes parts of the configuration, its schema has the program's own for them.
#[test]
fn the_audits_values_are_the_programs_own() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("manifests/chart/values.schema.json");
    let text = std::fs::read_to_string(&file).expect("the chart has a schema");
    let schema: Value = serde_json::from_str(&text).expect("it is JSON");
    let audit = &schema["properties"]["audit"];
    assert_eq!(audit["additionalProperties"], false);
    assert_eq!(audit["properties"]["config"]["$ref"], "#/$defs/Audit");
    let login = &audit["properties"]["vaultAuth"]["anyOf"][1]["$ref"];
    assert_eq!(login, "#/$defs/Auth");
}
