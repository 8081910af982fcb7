//! The alerting rules that are shipped, as Prometheus takes them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Where they are, and the tests of them look for.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/alerts");
/// The keys of a group or a rule that say how long.
const DURATIONS: [&str; 3] = ["interval", "for", "keep_firing_for"];
/// The units of a duration, in milliseconds.
const UNITS: [(&str, u64); 6] = [
    ("ms", 1),
    ("s", 1000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
];

/// The files of rules, by their names.
#[derive(Clone, Debug)]
pub struct Rules(BTreeMap<String, Value>);

impl Rules {
    /// What is in the `PrometheusRule`s of the repository.
    pub fn shipped() -> Result<Self> {
        let mut rules = BTreeMap::new();
        for name in ["slo.yaml", "prober.yaml", "audit.yaml", "once/once.yaml"] {
            let path = Path::new(FOLDER).join(name);
            let mut resource = yaml(&path)?;
            ensure!(resource["kind"] == "PrometheusRule", "`{}`", path.display());
            let name = name.rsplit('/').next().unwrap_or(name);
            rules.insert(name.to_owned(), resource["spec"].take());
        }
        Ok(Self(rules))
    }

    /// The same with every window, interval and wait divided by `factor`, in queries within annotations too. What
    /// is compared with the prober's own interval needs no change.
    #[must_use]
    pub fn faster(mut self, factor: u64) -> Self {
        self.0.values_mut().for_each(|rules| hasten(rules, factor));
        self
    }

    /// Leaves out a group.
    pub fn without_group(&mut self, name: &str) {
        for file in self.0.values_mut() {
            if let Some(groups) = file["groups"].as_array_mut() {
                groups.retain(|group| group["name"] != name);
            }
        }
    }

    /// Each rule, those that record and those that alert.
    pub fn each(&self) -> impl Iterator<Item = &Value> {
        self.0
            .values()
            .flat_map(|file| file["groups"].as_array().into_iter().flatten())
            .flat_map(|group| group["rules"].as_array().into_iter().flatten())
    }

    /// Writes them to a folder, as JSON, which is YAML.
    pub fn write(&self, folder: &Path) -> Result<Vec<PathBuf>> {
        let write = |(name, rules): (&String, &Value)| {
            let path = folder.join(name);
            fs::write(&path, rules.to_string())
                .with_context(|| format!("could not write `{}`", path.display()))?;
            Ok(path)
        };
        self.0.iter().map(write).collect()
    }
}

/// Reads a YAML file.
pub fn yaml(path: &Path) -> Result<Value> {
    let text =
        fs::read_to_string(path).with_context(|| format!("could not read `{}`", path.display()))?;
    serde_saphyr::from_str(&text).with_context(|| format!("`{}` is no YAML", path.display()))
}

fn hasten(value: &mut Value, factor: u64) {
    match value {
        Value::Array(values) => values.iter_mut().for_each(|value| hasten(value, factor)),
        Value::Object(values) => {
            for (key, value) in values {
                match value.as_str() {
                    Some(text) if DURATIONS.contains(&key.as_str()) => {
                        *value = divided(text, factor)
                            .unwrap_or_else(|| text.to_owned())
                            .into();
                    }
                    _ => hasten(value, factor),
                }
            }
        }
        Value::String(text) => *text = windows(text, factor),
        _ => {}
    }
}

/// A text with the durations between brackets, and after `offset`, divided.
fn windows(text: &str, factor: u64) -> String {
    let mut new = String::new();
    let mut rest = text;
    while let Some((start, opening)) = ["[", "offset "]
        .iter()
        .filter_map(|opening| Some((rest.find(opening)?, *opening)))
        .min()
    {
        let start = start + opening.len();
        new.push_str(&rest[..start]);
        rest = &rest[start..];
        let end = rest
            .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != ':')
            .unwrap_or(rest.len());
        let parts: Option<Vec<_>> = rest[..end]
            .split(':')
            .map(|part| divided(part, factor))
            .collect();
        new.push_str(&parts.map_or_else(|| rest[..end].to_owned(), |parts| parts.join(":")));
        rest = &rest[end..];
    }
    new + rest
}

/// A duration of one unit, divided.
fn divided(duration: &str, factor: u64) -> Option<String> {
    let end = duration.find(|letter: char| !letter.is_ascii_digit())?;
    let (number, unit) = duration.split_at(end);
    let (_, milliseconds) = UNITS.iter().find(|(name, _)| *name == unit)?;
    Some(format!(
        "{}ms",
        number.parse::<u64>().ok()? * milliseconds / factor
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_is_divided_and_no_name() {
        let text = "x:rate5m[1h] offset 30s and y[3d:5m] {{ $labels.x }}";
        let faster = "x:rate5m[120000ms] offset 1000ms and y[8640000ms:10000ms] {{ $labels.x }}";
        assert_eq!(windows(text, 30), faster);
    }
}
