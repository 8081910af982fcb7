//! What puts a finding right, ready to be pasted.

use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use crate::config::Config;

/// What puts a finding right.
#[derive(Clone, Debug, PartialEq)]
pub enum Fix {
    /// Commands for a shell, with the rights of an administrator.
    Run(String),
    /// Keys of the configuration with their right values: YAML to be merged into it.
    Set(String),
    /// Something that only a person can do.
    Do(String),
}

/// What a fix begins with that is to be merged into the configuration.
const IN_CONFIGURATION: &str = "# in the configuration:";

impl Fix {
    /// Applies these manifests.
    pub(super) fn apply(manifests: &str) -> Self {
        Self::Run(here("kubectl apply -f -", manifests))
    }

    /// Sets one key of the configuration: `path` leads to it.
    pub(super) fn set(path: &[&str], value: impl Into<Value>) -> Self {
        let value = path.iter().rev().fold(value.into(), |value, key| {
            Value::from_iter([((*key).to_owned(), value)])
        });
        Self::of_configuration(&value)
    }

    /// Sets one key of what the probes of this kind are.
    pub(super) fn set_probe(name: &str, kind: &str, key: &str, value: impl Into<Value>) -> Self {
        let probe = json!({"name": name, kind: {key: value.into()}});
        Self::of_configuration(&json!({"probes": [probe]}))
    }

    fn of_configuration(value: &Value) -> Self {
        let lines = value.as_object().into_iter().flatten();
        let lines = lines.map(|(key, value)| format!("{key}: {value}\n"));
        Self::Set(lines.collect())
    }
}

/// A command that is given this text.
pub(super) fn here(command: &str, text: &str) -> String {
    format!("{command} <<'EOF'\n{}\nEOF\n", text.trim_end())
}

/// A word of a command, quoted where a shell would take it for something else.
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

/// The flag of Vault's commands for the namespace, with the blank before it.
pub(super) fn namespace(config: &Config) -> String {
    let namespace = config.vault.namespace.as_ref();
    namespace.map_or_else(String::new, |name| format!(" -namespace={}", word(name)))
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Run(commands) => f.write_str(commands.trim_end()),
            Self::Set(yaml) => write!(f, "{IN_CONFIGURATION}\n{}", yaml.trim_end()),
            Self::Do(words) => write!(f, "# {words}"),
        }
    }
}

impl Serialize for Fix {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
