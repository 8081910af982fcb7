//! The resource of a PKI canary.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use super::Canary;
use crate::config::PkiTarget;
use crate::operator::api::{VaultPKISecret, VaultPKISecretSpec};

pub(super) fn resource(canary: &Canary, target: &PkiTarget) -> VaultPKISecret {
    VaultPKISecret {
        metadata: canary.metadata(),
        spec: VaultPKISecretSpec {
            vault_auth_ref: Some(target.auth_ref.clone()),
            namespace: target.namespace.clone(),
            mount: target.mount.clone(),
            role: target.role.clone(),
            common_name: target.common_name.clone(),
            alt_names: (!target.alt_names.is_empty()).then(|| target.alt_names.clone()),
            ttl: target.ttl.as_ref().map(|ttl| ttl.text.clone()),
            not_after: canary.not_after.clone(),
            expiry_offset: target
                .expiry_offset
                .as_ref()
                .map(|offset| offset.text.clone()),
            destination: canary.destination(),
            ..VaultPKISecretSpec::default()
        },
        status: None,
    }
}

/// The moment `target.not_after` from `now`, in whole seconds as Vault takes it; never sooner.
pub(super) fn end(target: &PkiTarget, now: Timestamp) -> Option<String> {
    let life = jiff::SignedDuration::try_from(target.not_after?).ok()?;
    let whole = TimestampRound::new()
        .smallest(Unit::Second)
        .mode(RoundMode::Ceil);
    let end = now.checked_add(life).ok()?.round(whole).ok()?;
    Some(end.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
