//! The operator's custom resources, as far as a prober writes and reads them (`secrets.hashicorp.com/v1beta1`).
//!
//! Optional fields are left out when they are `None`, so that a value can be written either as most
//! people write it or exactly as the operator serialises it: only the latter stays at generation 1.

mod duration;
mod pki_secret;
mod vault_auth;

use std::collections::BTreeMap;
use std::time::Duration;

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use duration::go_duration;
pub use pki_secret::{VaultPKISecret, VaultPKISecretSpec, VaultPKISecretStatus};
pub use vault_auth::{
    VaultAuth, VaultAuthGlobal, VaultAuthGlobalRef, VaultAuthGlobalSpec, VaultAuthGlobalStatus,
    VaultAuthMethod, VaultAuthMethods, VaultAuthSpec, VaultAuthStatus,
};

/// Where Vault is, for the operator.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "secrets.hashicorp.com",
    version = "v1beta1",
    kind = "VaultConnection",
    namespaced,
    status = "VaultConnectionStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct VaultConnectionSpec {
    /// The URL of Vault.
    pub address: String,
    /// Headers sent with every request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<BTreeMap<String, String>>,
    /// The server name to expect in Vault's certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// A Secret that holds the CA certificate under `ca.crt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_cert_secret_ref: Option<String>,
    /// Whether Vault's certificate goes unchecked.
    #[serde(default, rename = "skipTLSVerify")]
    pub skip_tls_verify: bool,
    /// How long one request may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<String>,
}

/// What the operator says of a [`VaultConnection`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct VaultConnectionStatus {
    /// Whether Vault answered.
    #[serde(default)]
    pub valid: Option<bool>,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// The Secret that a resource is synced to.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// Its name.
    pub name: String,
    /// Whether the operator makes it.
    #[serde(default)]
    pub create: bool,
    /// Whether the operator takes one over that it did not make.
    #[serde(default)]
    pub overwrite: bool,
    /// Labels for the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations for the Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub annotations: Option<BTreeMap<String, String>>,
    /// The Secret's type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<String>,
    /// How the data is shaped; an empty one is what the operator itself writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transformation: Option<Transformation>,
}

/// How the data of a Secret is shaped; a prober only ever needs the empty one.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Transformation {
    /// Leaves out the key [`RAW_KEY`](super::RAW_KEY).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude_raw: Option<bool>,
}

/// A KV secret, polled.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "secrets.hashicorp.com",
    version = "v1beta1",
    kind = "VaultStaticSecret",
    namespaced,
    status = "VaultStaticSecretStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct VaultStaticSecretSpec {
    /// The [`VaultAuth`], `name` or `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_auth_ref: Option<String>,
    /// The Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The KV mount.
    pub mount: String,
    /// The path under the mount.
    pub path: String,
    /// `kv-v1` or `kv-v2`.
    #[serde(rename = "type")]
    pub type_: String,
    /// The time between polls, one number with one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_after: Option<String>,
    /// Whether drift is told by an HMAC of the data.
    #[serde(default = "yes", rename = "hmacSecretData")]
    pub hmac_secret_data: bool,
    /// The Secret to write.
    pub destination: Destination,
}

fn yes() -> bool {
    true
}

/// What the operator says of a [`VaultStaticSecret`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultStaticSecretStatus {
    /// The generation last reconciled; set after failures too.
    #[serde(default)]
    pub last_generation: i64,
    /// The HMAC of the data last written.
    #[serde(default, rename = "secretMAC", skip_serializing_if = "Option::is_none")]
    pub secret_mac: Option<String>,
    /// The Vault client in use.
    #[serde(default)]
    pub vault_client_meta: VaultClientMeta,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A credential with a lease.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "secrets.hashicorp.com",
    version = "v1beta1",
    kind = "VaultDynamicSecret",
    namespaced,
    status = "VaultDynamicSecretStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct VaultDynamicSecretSpec {
    /// The [`VaultAuth`], `name` or `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_auth_ref: Option<String>,
    /// The Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The mount of the secrets engine.
    pub mount: String,
    /// The path under the mount, e.g. `creds/app`.
    pub path: String,
    /// The method of the request; `GET`, or `PUT` with parameters, if `None`.
    #[serde(
        default,
        rename = "requestHTTPMethod",
        skip_serializing_if = "Option::is_none"
    )]
    pub request_http_method: Option<String>,
    /// The parameters of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub params: Option<BTreeMap<String, String>>,
    /// The share of the lease's duration, in percent, after which it is renewed; 90 at most.
    #[serde(default = "renewal_percent")]
    pub renewal_percent: i32,
    /// Whether the lease is revoked at deletion. The operator ignores it and always revokes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<bool>,
    /// Whether the path is that of a static role, whose credential has no lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_static_creds: Option<bool>,
    /// The Secret to write.
    pub destination: Destination,
}

fn renewal_percent() -> i32 {
    67
}

/// What the operator says of a [`VaultDynamicSecret`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultDynamicSecretStatus {
    /// When the lease was last renewed, in seconds since 1970.
    #[serde(default)]
    pub last_renewal_time: i64,
    /// The generation last reconciled.
    #[serde(default)]
    pub last_generation: i64,
    /// The lease of the credential in the Secret.
    #[serde(default)]
    pub secret_lease: SecretLease,
    /// The credential of a static role that is in the Secret.
    #[serde(default)]
    pub static_creds_meta_data: StaticCreds,
    /// The HMAC of the data last written, of a static role.
    #[serde(default, rename = "secretMAC", skip_serializing_if = "Option::is_none")]
    pub secret_mac: Option<String>,
    /// The operator's pod that issued it.
    #[serde(
        default,
        rename = "lastRuntimePodUID",
        skip_serializing_if = "Option::is_none"
    )]
    pub last_runtime_pod_uid: Option<String>,
    /// The Vault client in use.
    #[serde(default)]
    pub vault_client_meta: VaultClientMeta,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A lease in Vault. Its ID is a name, not a secret: it opens nothing.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct SecretLease {
    /// Its ID.
    #[serde(default)]
    pub id: String,
    /// Its duration, in seconds.
    #[serde(default)]
    pub duration: i64,
    /// Whether it can be prolonged.
    #[serde(default)]
    pub renewable: bool,
    /// The request that issued it.
    #[serde(default, rename = "requestID")]
    pub request_id: String,
}

/// A credential of a static role, by what Vault says of its schedule.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct StaticCreds {
    /// When Vault made it, in seconds since 1970.
    #[serde(default)]
    pub last_vault_rotation: i64,
    /// The time between two, in seconds; 0 where there is a schedule instead.
    #[serde(default)]
    pub rotation_period: i64,
    /// The schedule, as cron has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_schedule: Option<String>,
    /// How long it had left, in seconds.
    #[serde(default)]
    pub ttl: i64,
}

/// The Vault client that the operator used last.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultClientMeta {
    /// Its key in the operator's cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_key: Option<String>,
    /// Its ID.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// A Kubernetes condition (`metav1.Condition`).
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// `SecretSynced`, `Healthy`, `Ready`, `LeaseRenewal`, …
    #[serde(rename = "type")]
    pub type_: String,
    /// `True`, `False` or `Unknown`. Read this, not the reason.
    pub status: String,
    /// One word; stays `Synced` on failure.
    #[serde(default)]
    pub reason: String,
    /// A sentence; carries `horizon=` and, on failure, `err=`.
    #[serde(default)]
    pub message: String,
    /// When it last changed, RFC 3339 with a grain of one second.
    #[serde(default)]
    pub last_transition_time: String,
    /// The generation it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

impl Condition {
    /// The `horizon=` that the message announces, if it is a time ahead.
    pub fn horizon(&self) -> Option<Duration> {
        super::back_in(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_horizon_is_found_in_recorded_messages() {
        let condition = |message: &str| Condition {
            message: message.into(),
            ..Default::default()
        };
        let horizon = condition("Secret synced, horizon=16.743745395s").horizon();
        assert_eq!(horizon, Some(Duration::from_nanos(16_743_745_395)));
        let failed =
            "Failed to sync the secret, horizon=4.133600371s, err=Error making API request.";
        assert_eq!(
            condition(failed).horizon(),
            Some(Duration::from_nanos(4_133_600_371))
        );
        assert_eq!(condition("VaultStaticSecretHealthy").horizon(), None);
    }
}
