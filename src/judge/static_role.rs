//! The rules where the credential of a static role is the proof.

use super::case::{Case, status};
use crate::model::account::Held;
use crate::model::cause::{Blame, Cause, Evidence, Source};

/// Whether the right credential is there and the watch did not show it.
pub(super) fn unseen(case: &Case<'_>) -> bool {
    held(case) == Some(Held::Right) && case.account.effect.is_none()
}

/// The Secret holds what Vault at no time gave.
pub(super) fn wrong(case: &Case<'_>) -> Option<Blame> {
    (held(case) == Some(Held::Foreign)).then(|| {
        let text = "the Secret differs from what Vault gives the prober for the same static role";
        Blame::new(Cause::WrongContent, status(text))
    })
}

/// Vault itself gives what the Secret holds: it has not replaced the credential.
pub(super) fn not_rotated(case: &Case<'_>) -> Option<Blame> {
    let role = case.account.static_role.as_ref()?;
    if role.rotated || held(case) != Some(Held::Earlier) {
        return None;
    }
    let waited = case.step.ended.since(case.step.started).as_secs_f64();
    let (cause, text) = match role.left.map(|left| left.as_secs()) {
        Some(0) => (
            Cause::VaultError,
            format!(
                "Vault has not replaced the static role's credential within {waited:.1} s, although it is due: its log says why"
            ),
        ),
        Some(left) => (
            Cause::ProbeUnfit,
            format!(
                "Vault replaces the static role's credential in {left} s, after a wait of {waited:.1} s: set the probe's `maxTtl` to the role's `rotation_period`"
            ),
        ),
        None => (
            Cause::ProbeUnfit,
            format!(
                "Vault did not replace the static role's credential within {waited:.1} s and does not say when it will: remove the step `rotate`"
            ),
        ),
    };
    Some(Blame::new(cause, Evidence::new(Source::Vault, text)))
}

/// Vault has replaced the credential, and the Secret still holds the one before.
pub(super) fn stale(case: &Case<'_>) -> Option<Blame> {
    (held(case) == Some(Held::Earlier)).then(|| {
        let text = "Vault has replaced the static role's credential, but the Secret still holds the one before";
        Blame::new(Cause::StaleContent, status(text))
    })
}

fn held(case: &Case<'_>) -> Option<Held> {
    case.account.static_role.as_ref()?.held
}
