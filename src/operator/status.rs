//! The status of the operator's resources: what is remembered of it, and never a value.

use kube::core::dynamic::ParseDynamicObjectError;
use kube::core::{DynamicObject, ObjectMeta};

use super::api::{Condition, VaultDynamicSecret, VaultPKISecret, VaultStaticSecret};
use super::is_finalizer;
use crate::model::Kind;
use crate::model::time;
use crate::model::timeline::{Lease, Resource, Rotation, State};

/// No lease, serial number or moment is written longer, in bytes: what is, is none.
const LONGEST: usize = 1024;

/// The state of a resource that was asked for directly.
///
/// # Errors
/// It is not such a resource as the operator's CRDs of today describe.
pub fn resource(kind: Kind, object: DynamicObject) -> Result<Resource, ParseDynamicObjectError> {
    match kind {
        Kind::Static => object
            .try_parse()
            .map(|resource| resource_of_static(&resource)),
        Kind::Dynamic => object
            .try_parse()
            .map(|resource| resource_of_dynamic(&resource)),
        Kind::Pki => object
            .try_parse()
            .map(|resource| resource_of_pki(&resource)),
    }
}

/// The state of a static resource.
pub fn resource_of_static(resource: &VaultStaticSecret) -> Resource {
    let status = resource.status.clone().unwrap_or_default();
    Resource {
        signature: signature(status.secret_mac),
        ..state(
            &resource.metadata,
            status.last_generation,
            &status.conditions,
        )
    }
}

/// Whoever wrote a status, by a text of its own.
fn signature(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty() && text.len() <= LONGEST)
}

/// The state of a dynamic resource.
pub fn resource_of_dynamic(resource: &VaultDynamicSecret) -> Resource {
    let status = resource.status.clone().unwrap_or_default();
    let lease = Some(status.secret_lease)
        .filter(|lease| !lease.id.is_empty() && lease.id.len() <= LONGEST)
        .map(|lease| Lease {
            id: lease.id,
            duration: time::seconds(lease.duration),
            renewable: lease.renewable,
        });
    let made = status.static_creds_meta_data;
    let rotation = (made.last_vault_rotation > 0).then(|| Rotation {
        last: made.last_vault_rotation,
        left: time::seconds(made.ttl),
    });
    Resource {
        lease,
        rotation,
        signature: signature(status.last_runtime_pod_uid),
        renewed: status.last_renewal_time,
        ..state(
            &resource.metadata,
            status.last_generation,
            &status.conditions,
        )
    }
}

/// The state of a PKI resource.
pub fn resource_of_pki(resource: &VaultPKISecret) -> Resource {
    let status = resource.status.clone().unwrap_or_default();
    Resource {
        serial: Some(status.serial_number)
            .filter(|serial| !serial.is_empty() && serial.len() <= LONGEST),
        ..state(
            &resource.metadata,
            status.last_generation,
            &status.conditions,
        )
    }
}

fn state(metadata: &ObjectMeta, last_generation: i64, conditions: &[Condition]) -> Resource {
    let find = |name: &str| conditions.iter().find(|condition| condition.type_ == name);
    let state = |condition: &Condition| State {
        ok: condition.status == "True",
        message: condition.message.as_str().into(),
        changed: Some(&condition.last_transition_time)
            .filter(|time| time.len() <= LONGEST)
            .cloned()
            .unwrap_or_default(),
    };
    Resource {
        generation: metadata.generation.unwrap_or_default(),
        last_generation,
        finalizer: metadata
            .finalizers
            .iter()
            .flatten()
            .any(|finalizer| is_finalizer(finalizer)),
        deleting: metadata.deletion_timestamp.is_some(),
        synced: find("SecretSynced").map(state),
        healthy: find("Healthy").map(state),
        back_in: find("SecretSynced").and_then(Condition::horizon),
        lease: None,
        rotation: None,
        serial: None,
        renewed: 0,
        signature: None,
        renewal: find("LeaseRenewal").map(state),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::operator::api::{VaultStaticSecretSpec, VaultStaticSecretStatus};

    #[test]
    fn a_status_is_read() {
        let condition = |kind: &str, status: &str, message: &str| Condition {
            type_: kind.into(),
            status: status.into(),
            message: message.into(),
            ..Condition::default()
        };
        let resource = VaultStaticSecret {
            metadata: ObjectMeta {
                generation: Some(2),
                finalizers: Some(vec![
                    "vaultstaticsecret.secrets.hashicorp.com/finalizer".into(),
                ]),
                ..ObjectMeta::default()
            },
            spec: VaultStaticSecretSpec::default(),
            status: Some(VaultStaticSecretStatus {
                last_generation: 2,
                conditions: vec![
                    condition("SecretSynced", "True", "Secret synced, horizon=1.5s"),
                    condition("Healthy", "False", "VaultStaticSecretUnhealthy"),
                ],
                ..VaultStaticSecretStatus::default()
            }),
        };
        let read = resource_of_static(&resource);
        assert!(read.finalizer && !read.deleting);
        assert_eq!((read.generation, read.last_generation), (2, 2));
        assert_eq!(read.back_in, Some(Duration::from_millis(1500)));
        assert_eq!(read.synced.map(|state| state.ok), Some(true));
        assert_eq!(read.healthy.map(|state| state.ok), Some(false));
    }
}
