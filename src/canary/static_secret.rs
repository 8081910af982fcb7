//! The resource of a static canary.

use super::Canary;
use crate::config::{KvVersion, StaticTarget};
use crate::operator::api::{VaultStaticSecret, VaultStaticSecretSpec};

pub(super) fn resource(canary: &Canary, target: &StaticTarget) -> VaultStaticSecret {
    let at = canary
        .kv_path()
        .expect("a static canary has a path in Vault");
    VaultStaticSecret {
        metadata: canary.metadata(),
        spec: VaultStaticSecretSpec {
            vault_auth_ref: Some(target.auth_ref.clone()),
            namespace: target.namespace.clone(),
            mount: at.mount,
            path: at.path,
            type_: match at.version {
                KvVersion::V1 => "kv-v1".to_owned(),
                KvVersion::V2 => "kv-v2".to_owned(),
            },
            refresh_after: target
                .refresh_after
                .as_ref()
                .map(|refresh| refresh.text.clone()),
            hmac_secret_data: target.hmac_secret_data,
            destination: canary.destination(),
        },
        status: None,
    }
}
