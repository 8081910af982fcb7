//! A fix for a finding, ready to be pasted.

mod command;
mod manifest;
mod word;

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::model::text::Text;
use crate::rights::{self, Rights, Subject};

pub use command::Script;
pub(super) use command::{Command, Input};
pub(super) use manifest::{Manifest, Patch};
pub(super) use word::{File, Line, Name, Plain, Selector, Variable, Word};

/// What puts a finding right.
#[derive(Clone, Debug, PartialEq)]
pub enum Fix {
    /// Commands for a shell, with the rights of an administrator.
    Run(Script),
    /// Keys of the configuration with their right values: YAML to be merged into it.
    Set(Settings),
    /// Something that only a person can do.
    Do(Text),
}

/// Keys of the configuration, and their values.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings(Value);

/// What a fix begins with that is to be merged into the configuration.
const IN_CONFIGURATION: &str = "# in the configuration:";

impl Fix {
    /// Applies these manifests.
    pub(super) fn apply(manifests: &[Manifest]) -> Self {
        let command = Command::new("kubectl apply -f -");
        Script::default()
            .give(command, Input::manifests(manifests))
            .into()
    }

    /// Grants what is needed of the paths that are no objects.
    pub(super) fn urls(rights: &Rights, subject: &Subject) -> Self {
        let manifests = Manifest::cluster_role(rights, subject);
        manifests.map_or_else(Self::unnamed, |manifests| Self::apply(&manifests))
    }

    /// Grants rights to someone who is called as no manifest may call him.
    pub(super) fn unnamed() -> Self {
        Self::words(
            "grant it what `vso-prober doctor --print-rbac` prints; the prober's user name is not valid \
             in a command",
        )
    }

    /// In words.
    pub(super) fn words(words: impl Into<Text>) -> Self {
        Self::Do(words.into())
    }

    /// Sets one key of the configuration: `path` leads to it.
    pub(super) fn set(path: &[&'static str], value: impl Into<Line>) -> Self {
        let value = json!(value.into());
        let value = path.iter().rev().fold(value, |value, key| {
            Value::from_iter([((*key).to_owned(), value)])
        });
        Self::Set(Settings(value))
    }

    /// Sets one key of what the probes of this kind are.
    pub(super) fn set_probe(
        name: &Name,
        kind: &'static str,
        key: &'static str,
        value: &'static str,
    ) -> Self {
        let probe = json!({"name": name, kind: {key: value}});
        Self::Set(Settings(json!({"probes": [probe]})))
    }
}

impl From<Script> for Fix {
    fn from(script: Script) -> Self {
        Self::Run(script)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(IN_CONFIGURATION)?;
        for (key, value) in self.0.as_object().into_iter().flatten() {
            write!(f, "\n{key}: {}", rights::json(value))?;
        }
        Ok(())
    }
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(script) => f.write_str(&script.render()),
            Self::Set(settings) => settings.fmt(f),
            Self::Do(words) => write!(f, "# {words}"),
        }
    }
}

impl Serialize for Fix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
