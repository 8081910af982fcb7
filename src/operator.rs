//! What is known of Vault Secrets Operator: its group, its names, the words of its conditions and events.

pub mod api;
pub mod exposition;

use kube::Resource as _;
use kube::core::{ApiResource, GroupVersionKind};

use crate::model::Kind;
pub use crate::model::promise::POLL_JITTER;
use api::VaultAuth;

/// The API resource of a kind of canary.
pub fn api_resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(
        &VaultAuth::group(&()),
        &VaultAuth::version(&()),
        kind.resource(),
    ))
}

/// What a reference in a resource of `namespace` means: a namespace and a name. It is written `name` or
/// `namespace/name`.
pub fn referred<'a>(reference: &'a str, namespace: &'a str) -> (&'a str, &'a str) {
    reference.split_once('/').unwrap_or((namespace, reference))
}

/// The API group of the operator's resources.
pub fn group() -> String {
    VaultAuth::group(&()).into_owned()
}

/// The API group with its version, as an `apiVersion` has it.
pub fn api_version() -> String {
    VaultAuth::api_version(&()).into_owned()
}

/// Whether a finalizer is one of the operator's.
pub fn is_finalizer(finalizer: &str) -> bool {
    finalizer.ends_with(".secrets.hashicorp.com/finalizer")
}

/// The label that the operator puts on every Secret it writes, with the UID of the owner.
pub const OWNER_UID_LABEL: &str = "secrets.hashicorp.com/vso-ownerRefUID";

/// The name of the Lease that the operator's replicas contend for, in the operator's namespace.
pub const LEADER_LEASE: &str = "b0d477c0.hashicorp.com";

/// The key of a synced Secret that holds the whole response of Vault.
pub const RAW_KEY: &str = "_raw";
