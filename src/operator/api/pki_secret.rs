//! A certificate, issued by Vault and replaced before it ends.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Condition, Destination};

/// A certificate, issued by Vault and replaced before it ends.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "secrets.hashicorp.com",
    version = "v1beta1",
    kind = "VaultPKISecret",
    namespaced,
    status = "VaultPKISecretStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct VaultPKISecretSpec {
    /// The [`VaultAuth`](super::VaultAuth), `name` or `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_auth_ref: Option<String>,
    /// The Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The mount of the PKI engine.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The issuer, by ID or name; the role's own if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer_ref: Option<String>,
    /// The common name to request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub common_name: Option<String>,
    /// The other names to request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alt_names: Option<Vec<String>>,
    /// The time to live to ask for, one number with one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<String>,
    /// The moment at which the certificate is to end, `YYYY-MM-ddTHH:MM:SSZ`. It stays the same for every
    /// certificate that follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<String>,
    /// How long before its end a certificate is replaced, one number with one unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expiry_offset: Option<String>,
    /// Whether the common name is left out of the alternative names.
    #[serde(
        default,
        rename = "excludeCNFromSans",
        skip_serializing_if = "Option::is_none"
    )]
    pub exclude_cn_from_sans: Option<bool>,
    /// Whether a certificate is revoked once it is replaced, and at deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke: Option<bool>,
    /// Whether a Secret that the operator did not make is emptied at deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<bool>,
    /// The Secret to write.
    pub destination: Destination,
}

/// What the operator says of a [`VaultPKISecret`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultPKISecretStatus {
    /// The serial number of the certificate in the Secret: octets in hexadecimal, with colons between.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub serial_number: String,
    /// When that certificate ends, in seconds since 1970.
    #[serde(default)]
    pub expiration: i64,
    /// The generation last reconciled; set after failures too.
    #[serde(default)]
    pub last_generation: i64,
    /// When it was issued, in seconds since 1970.
    #[serde(default)]
    pub last_rotation: i64,
    /// The HMAC of the data last written.
    #[serde(default, rename = "secretMAC", skip_serializing_if = "Option::is_none")]
    pub secret_mac: Option<String>,
    /// Whether the last sync was a success.
    #[serde(default)]
    pub valid: Option<bool>,
    /// One word for why it was not.
    #[serde(default)]
    pub error: String,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
