//! The audit logs: what the API server and Vault really did, and when.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// One request to the API server, as its audit log has it.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct KubeRequest {
    /// When the API server got it, to the microsecond.
    pub request_received_timestamp: Timestamp,
    /// When it reached this stage, to the microsecond.
    pub stage_timestamp: Timestamp,
    /// `ResponseComplete`, and for a watch `ResponseStarted` before that.
    pub stage: String,
    /// `create`, `update`, `watch`, …
    pub verb: String,
    /// Who asked.
    pub user: User,
    /// With what.
    #[serde(default)]
    pub user_agent: String,
    /// About what.
    #[serde(default)]
    pub object_ref: ObjectRef,
    /// What was answered.
    #[serde(default)]
    pub response_status: ResponseStatus,
}

/// Who made a [`KubeRequest`].
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
pub struct User {
    /// E.g. `system:serviceaccount:vso-probe:vso-prober`.
    #[serde(default)]
    pub username: String,
}

/// What a [`KubeRequest`] is about.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct ObjectRef {
    /// E.g. `secrets`.
    pub resource: String,
    /// E.g. `status`.
    pub subresource: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What a [`KubeRequest`] was answered.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct ResponseStatus {
    /// The HTTP status.
    pub code: u16,
}

/// One line of Vault's audit log. Values are hashed in it, paths are not.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub struct VaultLine {
    /// When.
    pub time: Timestamp,
    /// `request` or `response`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Why it was refused; empty if it was not.
    #[serde(default)]
    pub error: String,
    /// As whom.
    #[serde(default)]
    pub auth: VaultAuth,
    /// What was asked.
    pub request: VaultRequest,
}

/// As whom a request to Vault was made.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct VaultAuth {
    /// E.g. `kubernetes-vso-probe-probe`.
    pub display_name: String,
    /// The policies that it went by.
    pub policies: Vec<String>,
}

/// What was asked of Vault.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct VaultRequest {
    /// Its ID, the same in both lines.
    pub id: String,
    /// E.g. `kvv2/data/vso-prober/a`.
    pub path: String,
    /// `read`, `update`, …
    pub operation: String,
    /// From where.
    pub remote_address: String,
    /// From which port there.
    pub remote_port: u16,
}

/// Reads the lines written so far; one half written at this moment is left for the next time.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let tried = || format!("could not read the audit log `{}`", path.display());
    let text = fs::read_to_string(path).with_context(tried)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let parse = |line: &str| {
        serde_json::from_str(line).with_context(|| format!("an odd line in an audit log: {line}"))
    };
    whole.lines().map(parse).collect()
}
