//! Static roles: the one credential of each, which Vault replaces on its own schedule.

use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::Vault;
use crate::config::DynamicTarget;
use crate::model::record::Obstacle;
use crate::model::time;

/// What Vault tells of a credential beside it: the operator tells by the rest whether it is another.
const SCHEDULE: [&str; 4] = [
    "last_vault_rotation",
    "rotation_period",
    "rotation_schedule",
    "ttl",
];

/// A value in Vault's answer.
#[derive(Deserialize)]
#[serde(untagged)]
enum Value {
    Number(i64),
    Text(SecretString),
    Other(IgnoredAny),
}

/// The credential of a static role.
pub struct StaticCredential {
    /// What it consists of.
    pub data: BTreeMap<String, SecretString>,
    /// How long until Vault replaces it, where Vault says so; in whole seconds.
    pub left: Option<Duration>,
}

impl Vault {
    /// Reads the credential of a static role, which changes nothing.
    ///
    /// # Errors
    /// Vault does not answer, or refuses.
    pub async fn static_credential(
        &self,
        target: &DynamicTarget,
    ) -> Result<StaticCredential, Obstacle> {
        let path = format!("{}/{}", target.mount, target.path);
        let what = format!("read `{path}`");
        let request = self.plain(&what, Method::GET, &path, None::<&()>)?;
        let request = self.within(&what, request, target.namespace.as_deref())?;
        let answer = self.ask(&what, request).await?;
        let values: BTreeMap<String, Value> = answer.granted(answer.data()?)?;
        let left = match values.get("ttl") {
            Some(Value::Number(left)) => Some(time::seconds(*left)),
            Some(Value::Text(_) | Value::Other(_)) | None => None,
        };
        let of_schedule = |key: &str| SCHEDULE.contains(&key);
        let data = values.into_iter().filter_map(|(key, value)| match value {
            Value::Text(text) if !of_schedule(&key) => Some((key, text)),
            Value::Number(_) | Value::Text(_) | Value::Other(_) => None,
        });
        Ok(StaticCredential {
            data: data.collect(),
            left,
        })
    }
}
