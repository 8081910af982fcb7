//! The resource of a dynamic canary.

use super::Canary;
use crate::config::{DynamicTarget, Manifest};
use crate::operator::RENEWAL_PERCENT;
use crate::operator::api::{VaultDynamicSecret, VaultDynamicSecretSpec};

pub(super) fn resource(canary: &Canary, target: &DynamicTarget) -> VaultDynamicSecret {
    // The operator leaves `revoke: false` out when it writes the resource again.
    let revoke = match canary.manifest {
        Manifest::Canonical => target.revoke.then_some(true),
        Manifest::Minimal => Some(target.revoke),
    };
    VaultDynamicSecret {
        metadata: canary.metadata(),
        spec: VaultDynamicSecretSpec {
            vault_auth_ref: Some(target.auth_ref.clone()),
            namespace: target.namespace.clone(),
            mount: target.mount.clone(),
            path: target.path.clone(),
            request_http_method: target.method.map(|method| method.as_str().to_owned()),
            params: (!target.params.is_empty()).then(|| target.params.clone()),
            renewal_percent: target.renewal_percent.unwrap_or(RENEWAL_PERCENT).into(),
            revoke,
            allow_static_creds: target.static_role.then_some(true),
            destination: canary.destination(),
        },
        status: None,
    }
}
