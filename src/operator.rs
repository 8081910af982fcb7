//! The knowledge of Vault Secrets Operator: its group, its names, the words of its conditions and events.

pub mod api;
pub mod exposition;
mod pods;
mod reference;

use std::time::Duration;

use kube::Resource as _;
use kube::core::{ApiResource, GroupVersionKind};

use crate::model::promise::RENEWAL_JITTER;
pub use crate::model::reconciles::POLL_JITTER;
use crate::model::{Kind, time};
use api::VaultAuth;
pub use pods::{Pods, holder};
pub use reference::{DEFAULT, connection_of, referred};

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

/// The share of a lease's duration after which the operator renews it, in percent, where a resource says nothing.
pub const RENEWAL_PERCENT: u8 = 67;
/// The largest share that it heeds.
const RENEWAL_PERCENT_CAP: u8 = 90;
/// The longest that the operator may wait before it renews or replaces a lease of this duration.
pub fn renewal_bound(duration: Duration, percent: Option<u8>) -> Duration {
    let percent = percent.unwrap_or(RENEWAL_PERCENT).min(RENEWAL_PERCENT_CAP);
    time::share(duration, f64::from(percent) / 100.0 + RENEWAL_JITTER)
}

/// The `horizon=` that a message announces, if it is a time ahead.
pub fn horizon_in(message: &str) -> Option<Duration> {
    let rest = message.split("horizon=").nth(1)?;
    api::go_duration(rest.split([',', ' ']).next()?)
}

/// The lease that a message names.
pub fn lease_in(message: &str) -> Option<&str> {
    let rest = message.split("lease_id=").nth(1)?;
    let id = rest.trim_start_matches('"').split(['"', ',', ' ']).next()?;
    (!id.is_empty()).then_some(id)
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
    fn the_words_of_recorded_events_are_understood() {
        let synced = "Secret synced, lease_id=\"database/creds/probe/uTcr7W\", horizon=31.048437845s, sync_reason=\"InitialSync\"";
        assert_eq!(lease_in(synced), Some("database/creds/probe/uTcr7W"));
        assert_eq!(
            horizon_in(synced),
            Some(Duration::from_nanos(31_048_437_845))
        );
        let renewed = "Renewed lease, lease_id=database/creds/probe/uTcr7W, horizon=7.5s";
        assert_eq!(lease_in(renewed), Some("database/creds/probe/uTcr7W"));
        assert_eq!(horizon_in(renewed), Some(Duration::from_millis(7500)));
        assert_eq!(lease_in("Secret synced, lease_id=\"\", horizon=0s"), None);
    }

    #[test]
    fn the_operator_speaks_as_the_kinds_controller_or_its_client_factory() {
        assert!(speaks(Kind::Dynamic, "VaultDynamicSecret"));
        assert!(speaks(Kind::Static, "vaultClientFactory"));
        for other in ["", "VaultStaticSecret", "tenant", "kubelet"] {
            assert!(!speaks(Kind::Dynamic, other), "{other}");
        }
    }

    #[test]
    fn a_renewal_is_due_within_its_window() {
        let lease = Duration::from_secs(100);
        assert_eq!(renewal_bound(lease, None), Duration::from_secs(77));
        assert_eq!(renewal_bound(lease, Some(50)), Duration::from_secs(60));
        assert_eq!(renewal_bound(lease, Some(99)), lease);
    }
}
