//! The login of the operator to Vault, and what several of them may share.

use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Condition;

/// How the operator logs in to Vault.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "secrets.hashicorp.com",
    version = "v1beta1",
    kind = "VaultAuth",
    namespaced,
    status = "VaultAuthStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuthSpec {
    /// The [`VaultConnection`](super::VaultConnection) to use, `name` or `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_connection_ref: Option<String>,
    /// The [`VaultAuthGlobal`] that says what is not said here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_auth_global_ref: Option<VaultAuthGlobalRef>,
    /// The Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Kubernetes namespaces that may refer to this one; `*` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<Vec<String>>,
    /// The auth method, e.g. `kubernetes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The mount of the auth method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// The parameters of the auth methods.
    #[serde(flatten)]
    pub methods: VaultAuthMethods,
}

/// The [`VaultAuthGlobal`] of a [`VaultAuth`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuthGlobalRef {
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Whether the default one is meant where none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_default: Option<bool>,
}

/// The parameters of each auth method, under its name.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuthMethods {
    /// Parameters of the `kubernetes` method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<VaultAuthMethod>,
    /// Parameters of the `jwt` method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<VaultAuthMethod>,
    /// Parameters of the `appRole` method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<VaultAuthMethod>,
    /// Parameters of the `aws` method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub aws: Option<VaultAuthMethod>,
    /// Parameters of the `gcp` method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gcp: Option<VaultAuthMethod>,
}

/// The parameters of an auth method: each method knows some of these.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuthMethod {
    /// The role in Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The ID of the role, of `appRole`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role_id: Option<String>,
    /// The ServiceAccount, in the namespace of the resource that is synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// The same, of `aws`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub irsa_service_account: Option<String>,
    /// The same, of `gcp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity_service_account: Option<String>,
    /// The audiences of the token that is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audiences: Option<Vec<String>>,
    /// The lifetime of that token, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expiration_seconds: Option<i64>,
    /// The Secret with the credentials, in the namespace of the resource that is synced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<String>,
    /// A file of the operator's with the secret ID, of `appRole`.
    #[serde(
        default,
        rename = "secretIDPath",
        skip_serializing_if = "Option::is_none"
    )]
    pub secret_id_path: Option<String>,
    /// Of a [`VaultAuthGlobal`]: the mount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<String>,
    /// Of a [`VaultAuthGlobal`]: the Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

/// What the operator says of a [`VaultAuth`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct VaultAuthStatus {
    /// Whether the operator took it; it says so whatever the role or ServiceAccount.
    #[serde(default)]
    pub valid: Option<bool>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its conditions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// What several [`VaultAuth`]s share.
#[derive(CustomResource, Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[kube(
    group = "secrets.hashicorp.com",
    version = "v1beta1",
    kind = "VaultAuthGlobal",
    namespaced,
    status = "VaultAuthGlobalStatus"
)]
#[serde(rename_all = "camelCase")]
pub struct VaultAuthGlobalSpec {
    /// The Kubernetes namespaces whose [`VaultAuth`]s may refer to this one; `*` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_namespaces: Option<Vec<String>>,
    /// The [`VaultConnection`](super::VaultConnection) to use, `name` or `namespace/name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_connection_ref: Option<String>,
    /// The Vault namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_vault_namespace: Option<String>,
    /// The auth method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_auth_method: Option<String>,
    /// The mount of the auth method.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_mount: Option<String>,
    /// The parameters of the auth methods.
    #[serde(flatten)]
    pub methods: VaultAuthMethods,
}

/// What the operator says of a [`VaultAuthGlobal`].
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
pub struct VaultAuthGlobalStatus {
    /// Whether the operator took it.
    #[serde(default)]
    pub valid: Option<bool>,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
