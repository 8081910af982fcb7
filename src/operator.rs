//! The knowledge of Vault Secrets Operator: its resources and their statuses, its names, references, messages, promises
//! and metrics; and the account of a run, which is read with it.

mod account;
pub mod api;
pub mod exposition;
mod identity;
mod login;
mod messages;
mod pods;
mod promise;
mod reader;
mod reconciles;
mod reference;
mod status;

use kube::Resource as _;
use kube::core::{ApiResource, GroupVersionKind};

use crate::model::Kind;
pub use account::account;
use api::VaultAuth;
pub use identity::{AccountLogin, LoginIdentity, account_login, identities_of};
pub use login::{Relied, allows, globals_of, merged, relied};
pub use messages::{announces, back_in, lease_in};
pub use pods::{Pods, deployment, holder};
pub use promise::{RENEWAL_PERCENT, renewal_bound, rotation_bound};
pub use reader::{Reader, due, effect};
pub use reconciles::{Own, POLL_JITTER, WAKE};
pub use reference::{DEFAULT, connection_of, referred};
pub use status::{resource, resource_of_dynamic, resource_of_pki, resource_of_static};

/// The API resource of a kind of canary.
pub fn api_resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(
        &VaultAuth::group(&()),
        &VaultAuth::version(&()),
        kind.resource(),
    ))
}

/// The API group of the operator's resources.
pub fn group() -> String {
    VaultAuth::group(&()).into_owned()
}

/// The API group with its version, as an `apiVersion` has it.
pub fn api_version() -> String {
    VaultAuth::api_version(&()).into_owned()
}

/// Whether an event about a resource of this kind comes, by the component that it names, from the operator: from
/// the kind's controller, or from what logs in to Vault for it.
pub fn speaks(kind: Kind, component: &str) -> bool {
    component == kind.resource() || component == "vaultClientFactory"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_speaks_as_the_kinds_controller_or_its_client_factory() {
        assert!(speaks(Kind::Dynamic, "VaultDynamicSecret"));
        assert!(speaks(Kind::Static, "vaultClientFactory"));
        for other in ["", "VaultStaticSecret", "tenant", "kubelet"] {
            assert!(!speaks(Kind::Dynamic, other), "{other}");
        }
    }
}
