//! Structure: the tree against the JSON Schema, with every misfit reported and left out of what goes on.

mod places;
mod words;

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json};

use super::problem::{Position, Problem, listed, quoted};
use super::tree::{Key, Node, Value};

use places::Place;
pub(super) use places::Places;

/// What a validation leaves: only what fits the schema, and where it all stands.
#[derive(Debug)]
pub(super) struct Validated {
    /// What fits.
    pub(super) json: Json,
    /// What does not.
    pub(super) problems: Vec<Problem>,
    /// What stands where.
    pub(super) places: Places,
}

/// Holds `node`, the whole file, against `schema`.
pub(super) fn validate(node: &Node, schema: &Json) -> Validated {
    let mut validation = Validation {
        root: schema,
        problems: Vec::new(),
        places: Places::default(),
    };
    let json = if matches!(node.value, Value::Null) {
        validation.report(
            Position::START,
            "the configuration is empty; `vso-prober config example` prints one to start with",
        );
        None
    } else {
        validation.value(node, "", Position::START, schema)
    };
    Validated {
        json: json.unwrap_or_else(|| Json::Object(Map::new())),
        problems: validation.problems,
        places: validation.places,
    }
}

struct Validation<'s> {
    root: &'s Json,
    problems: Vec<Problem>,
    places: Places,
}

impl<'s> Validation<'s> {
    fn report(&mut self, position: Position, message: impl Into<String>) {
        self.problems.push(Problem {
            position,
            message: message.into(),
        });
    }

    /// The schema that stands behind references, and whether nothing at all may stand there.
    fn resolve(&self, schema: &'s Json) -> (&'s Json, bool) {
        let mut nullable = accepts(schema, "null");
        let mut schema = schema;
        if let Some(alternatives) = schema.get("anyOf").and_then(Json::as_array) {
            nullable |= alternatives.iter().any(|one| accepts(one, "null"));
            schema = alternatives
                .iter()
                .find(|one| !accepts(one, "null"))
                .unwrap_or(schema);
        }
        let definition = schema
            .get("$ref")
            .and_then(Json::as_str)
            .and_then(|reference| {
                self.root
                    .get("$defs")?
                    .get(reference.strip_prefix("#/$defs/")?)
            });
        (definition.unwrap_or(schema), nullable)
    }

    /// The part of `node` that fits; `at` is where to say that something lacks in it.
    fn value(&mut self, node: &Node, path: &str, at: Position, schema: &'s Json) -> Option<Json> {
        let (resolved, _) = self.resolve(schema);
        let misfit = match &node.value {
            Value::Map(entries) if accepts(resolved, "object") => {
                return Some(self.map(entries, path, at, resolved));
            }
            Value::List(items) if accepts(resolved, "array") => {
                return self.list(node, items, path, schema, resolved);
            }
            Value::Bool(value) if accepts(resolved, "boolean") => return Some((*value).into()),
            Value::Number(number, _) if words::fits(number, resolved) => {
                return Some(number.clone().into());
            }
            Value::Text(text) => match words::allowed(resolved) {
                Some(allowed) if allowed.contains(&text.as_str()) => {
                    return Some(text.as_str().into());
                }
                None if accepts(resolved, "string") && !text.trim().is_empty() => {
                    return Some(text.as_str().into());
                }
                _ => words::misfit(&node.value, schema, resolved),
            },
            _ => words::misfit(&node.value, schema, resolved),
        };
        self.report(node.position, format!("{} {misfit}", words::named(path)));
        None
    }

    fn list(
        &mut self,
        node: &Node,
        items: &[Node],
        path: &str,
        schema: &'s Json,
        resolved: &'s Json,
    ) -> Option<Json> {
        if items.is_empty() && resolved.get("minItems").is_some() {
            let misfit = words::misfit(&node.value, schema, resolved);
            self.report(node.position, format!("{} {misfit}", words::named(path)));
        }
        let schema = resolved.get("items")?;
        let mut kept = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let path = format!("{path}[{index}]");
            let place = Place {
                key: item.position,
                value: item.position,
            };
            self.places.known.insert(path.clone(), place);
            // An item that does not fit leaves its place empty, so that the others keep their index.
            let json = self.value(item, &path, item.position, schema);
            kept.push(json.unwrap_or_else(|| Json::Object(Map::new())));
        }
        Some(Json::Array(kept))
    }

    fn map(&mut self, entries: &[(Key, Node)], path: &str, at: Position, schema: &'s Json) -> Json {
        let properties = schema.get("properties").and_then(Json::as_object);
        // What any other key holds, where keys are the user's own.
        let free = schema
            .get("additionalProperties")
            .filter(|any| any.is_object());
        let mut kept = Map::new();
        let mut first = BTreeMap::new();
        let mut present = Vec::new();
        let mut strange = false;
        for (key, child) in entries {
            let name = key.name.as_str();
            if let Some(line) = first.insert(name, key.position.line) {
                let message = format!(
                    "{} is written twice {}; the first is on line {line}",
                    words::shown(name).unwrap_or_else(|| "a key".to_owned()),
                    words::inside(path),
                );
                self.report(key.position, message);
                first.insert(name, line);
                continue;
            }
            let Some(property) = properties.and_then(|all| all.get(name)).or(free) else {
                strange = true;
                if let Some(meant) = properties.and_then(|all| self.unknown(key, path, all)) {
                    present.push((meant, key.position));
                }
                continue;
            };
            let child_path = join(path, name);
            let place = Place {
                key: key.position,
                value: child.position,
            };
            let (_, nullable) = self.resolve(property);
            if nullable && matches!(child.value, Value::Null) {
                continue;
            }
            self.places.known.insert(child_path.clone(), place);
            present.push((name, key.position));
            if let Some(json) = self.value(child, &child_path, key.position, property) {
                kept.insert(name.to_owned(), json);
            }
        }
        self.missing(path, at, schema, &present);
        self.one_of(path, at, schema, &present, strange);
        Json::Object(kept)
    }

    /// Reports an unknown key; returns the key that was probably meant, if it stands right here.
    fn unknown(
        &mut self,
        key: &Key,
        path: &str,
        properties: &'s Map<String, Json>,
    ) -> Option<&'s str> {
        let mut allowed: Vec<&'s str> = properties.keys().map(String::as_str).collect();
        allowed.sort_unstable();
        let meant = words::nearest(&key.name, &allowed);
        let elsewhere: Vec<&str> = allowed
            .iter()
            .copied()
            .filter(|name| {
                let (schema, _) = self.resolve(&properties[*name]);
                schema
                    .get("properties")
                    .is_some_and(|below| below.get(&key.name).is_some())
            })
            .collect();
        let hint = match meant {
            Some(meant) => format!(", perhaps `{meant}`"),
            None if !elsewhere.is_empty() => {
                format!(", which belongs in {}", listed(&elsewhere, " or "))
            }
            None => String::new(),
        };
        let shown = words::shown(&key.name)
            .map(|name| format!(" {name}"))
            .unwrap_or_default();
        let message = format!(
            "unknown key{shown} {}{hint}; allowed: {}",
            words::inside(path),
            listed(&allowed, ", "),
        );
        self.report(key.position, message);
        if let Some(meant) = meant {
            self.places.presumed.insert(join(path, meant));
        }
        meant
    }

    fn missing(
        &mut self,
        path: &str,
        at: Position,
        schema: &'s Json,
        present: &[(&str, Position)],
    ) {
        for name in schema
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten()
        {
            let Some(name) = name.as_str() else { continue };
            if present.iter().any(|(key, _)| *key == name) {
                continue;
            }
            let meaning = schema
                .pointer(&format!("/properties/{name}/description"))
                .and_then(Json::as_str)
                .map(words::in_passing)
                .unwrap_or_default();
            self.report(
                at,
                format!("{} lacks `{name}`{meaning}", words::named(path)),
            );
        }
    }

    fn one_of(
        &mut self,
        path: &str,
        at: Position,
        schema: &'s Json,
        present: &[(&str, Position)],
        strange: bool,
    ) {
        let Some(alternatives) = schema.get("oneOf").and_then(Json::as_array) else {
            return;
        };
        let keys: Vec<&str> = alternatives
            .iter()
            .filter_map(|one| one.pointer("/required/0").and_then(Json::as_str))
            .collect();
        let may_be_empty = alternatives
            .iter()
            .any(|one| one.get("maxProperties").is_some());
        let mut taken: Vec<_> = present
            .iter()
            .filter(|(key, _)| keys.contains(key))
            .collect();
        taken.dedup_by_key(|(key, _)| *key);
        match taken.as_slice() {
            [_] => {}
            [] if strange || (may_be_empty && present.is_empty()) => {}
            [] => {
                let message = format!(
                    "{} has none of {}; exactly one is needed",
                    words::named(path),
                    listed(&keys, ", "),
                );
                self.report(at, message);
            }
            [_, (_, second), ..] => {
                let names: Vec<&str> = taken.iter().map(|(key, _)| *key).collect();
                let how_many = if may_be_empty { "at most" } else { "exactly" };
                let message = format!(
                    "{} has {}; {how_many} one of {} is allowed",
                    words::named(path),
                    listed(&names, " and "),
                    listed(&keys, ", "),
                );
                self.report(*second, message);
            }
        }
    }
}

/// Whether the schema's `type` is, or has, this one.
fn accepts(schema: &Json, name: &str) -> bool {
    match schema.get("type") {
        Some(Json::String(one)) => one == name,
        Some(Json::Array(several)) => several.iter().any(|one| one == name),
        _ => false,
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}
