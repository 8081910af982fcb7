//! Outages of the prober, the API server or Vault that cover so much of a step that nobody else can be blamed.

use std::time::Duration;

use super::case::Case;
use crate::model::cause::{Blame, Cause, Evidence, Source};

/// The prober is blamed for what was not proven if it stood still for this part of the wait, one half: what was there
/// to be seen may have been seen too late, or not looked for.
const STARVED: u32 = 2;
/// An API server or a Vault that was away for this part of the wait, one quarter, clears the operator of what was not
/// proven: whoever met it tries again only after a while, which may be as long again, and then once more.
const AWAY: u32 = 4;

/// The prober itself stood still.
pub(super) fn starved(case: &Case<'_>) -> Option<Blame> {
    prober(case, waited(case) / STARVED)
}

/// The API server was silent: nothing could be seen of the operator, nor could it do anything.
pub(super) fn blind(case: &Case<'_>) -> Option<Blame> {
    kubernetes(case, waited(case) / AWAY)
}

/// Vault was sealed or silent, although it may be back since.
pub(super) fn vault_away(case: &Case<'_>) -> Option<Blame> {
    vault(case, waited(case) / AWAY)
}

/// How long a proof was waited for that did not come. One that was given up before it was due is late by nothing.
pub(super) fn waited(case: &Case<'_>) -> Duration {
    if case.measured.is_zero() {
        case.step.ended.since(case.step.started)
    } else {
        case.measured
    }
}

/// Blames the prober if it stood still for at least `share` of the step.
pub(super) fn prober(case: &Case<'_>, share: Duration) -> Option<Blame> {
    let what = "the prober stood still";
    let cause = Cause::ProberStarved;
    away(case.account.away.prober, share, cause, Source::Status, what)
}

/// Gives no verdict if the API server was silent for at least `share` of the step.
pub(super) fn kubernetes(case: &Case<'_>, share: Duration) -> Option<Blame> {
    let what = "the API server did not answer the prober";
    let cause = Cause::ProberKubernetesUnreachable;
    let total = case.account.away.kubernetes;
    away(total, share, cause, Source::Status, what)
}

/// Clears the operator if Vault was sealed or silent for at least `share` of the step.
pub(super) fn vault(case: &Case<'_>, share: Duration) -> Option<Blame> {
    let (sealed, silent) = (case.account.away.sealed, case.account.away.silent);
    let (cause, what) = if sealed >= silent {
        (Cause::VaultSealed, "Vault was sealed")
    } else {
        let what = "Vault did not answer the prober";
        (Cause::ProberVaultUnreachable, what)
    };
    let total = sealed.saturating_add(silent);
    away(total, share, cause, Source::Vault, what)
}

/// Blames `cause` if `total`, for which `what` is said, is at least `share`.
fn away(
    total: Duration,
    share: Duration,
    cause: Cause,
    source: Source,
    what: &str,
) -> Option<Blame> {
    (!total.is_zero() && total >= share).then(|| {
        let text = format!("{what} for {:.3} s of the step", total.as_secs_f64());
        Blame::new(cause, Evidence::new(source, text))
    })
}
