//! The rules for a step that was proven: it may still be late, unprovable in time, or have left a lease behind.

use std::time::Duration;

use super::case::{Case, status};
use super::{Rule, lease, outages, said};
use crate::model::account::{Hold, Writes};
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proof;
use crate::model::{Mark, Step};

/// The first that applies decides. First what the prober could not see, then whether what came is right, and how soon
/// it came last.
pub(super) const PROVEN: &[Rule] = &[
    ("late_while_starved", late_while_starved),
    ("late_while_blind", late_while_blind),
    ("found_by_a_list", found_by_a_list),
    ("lease_lost", lease::lost),
    ("rotated_late", lease::rotated_late),
    ("rotated_early", lease::rotated_early),
    ("lease_leaked", lease::leaked),
    ("written_too_often", written_too_often),
    ("late_while_held", late_while_held),
    ("too_slow", too_slow),
];

/// So many writes more than explained are let pass: an operator that was restarted looks at once.
const TOLERANCE: usize = 1;

/// By how much a step missed its threshold, or the end of what it was to replace; none if it missed neither.
fn beyond(case: &Case<'_>) -> Option<Duration> {
    let behind = case.margin().map_or(Duration::ZERO, |margin| {
        Duration::try_from_secs_f64(-margin).unwrap_or_default()
    });
    let late = case.measured > case.step.within;
    let beyond = case.measured.saturating_sub(case.step.within).max(behind);
    (late || !behind.is_zero()).then_some(beyond)
}

/// The prober itself stood still for as long as the step was late by.
fn late_while_starved(case: &Case<'_>) -> Option<Blame> {
    outages::prober(case, beyond(case)?)
}

/// The API server was silent for as long as the step was late by.
fn late_while_blind(case: &Case<'_>) -> Option<Blame> {
    outages::kubernetes(case, beyond(case)?)
}

/// What comes at once when a watch is opened again, or by a list, shows what is there, and not since when. A proof that the
/// watch brings at its time counts, whatever befell the watch before.
fn found_by_a_list(case: &Case<'_>) -> Option<Blame> {
    case.proven.filter(|proven| proven.relisted)?;
    let text = "the effect came while the watch was interrupted, so it is not known when";
    Some(Blame::new(Cause::ProberWatchLost, status(text)).and(case.cuts()))
}

/// The Secret is written more often than its schedule explains. The step is blamed in which it became so.
fn written_too_often(case: &Case<'_>) -> Option<Blame> {
    let writes = case.account.writes;
    let too_many = |writes: Writes| writes.seen > writes.explained + TOLERANCE;
    let before = case.account.writes_before;
    (too_many(writes) && !before.is_some_and(too_many)).then(|| {
        let text = format!(
            "the Secret was written {} times in {:.1} s, but its schedule explains only {}",
            writes.seen,
            writes.until.elapsed().as_secs_f64(),
            writes.explained
        );
        Blame::new(Cause::Churn, status(text))
    })
}

/// Somebody else's finalizer held the Secret for as long as the step was late.
fn late_while_held(case: &Case<'_>) -> Option<Blame> {
    held(case, beyond(case)?)
}

/// Whoever held the Secret that was to go, or to come anew, for as long as it was late.
pub(super) fn held(case: &Case<'_>, late: Duration) -> Option<Blame> {
    let Hold { since, until, by } = case.account.held.as_ref()?;
    let held = until.since(*since);
    let goes = case.step.proof == Proof::Gone || case.step.step == Step::Recreate;
    (goes && held >= late).then(|| {
        let text = format!(
            "someone else's finalizer `{by}` held the Secret for {:.3} s",
            held.as_secs_f64()
        );
        Blame::new(Cause::CanaryRemoved, status(text))
    })
}

/// It came out right, but beyond its threshold.
fn too_slow(case: &Case<'_>) -> Option<Blame> {
    let (proof, measured, within) = (case.proven?.at, case.measured, case.step.within);
    (measured > within).then(|| {
        let text = format!(
            "the effect was right but took {:.3} s, {:.3} s over its threshold of {:.3} s",
            measured.as_secs_f64(),
            measured.saturating_sub(within).as_secs_f64(),
            within.as_secs_f64()
        );
        by_others(case, slow(case, proof, measured, text))
    })
}

/// What came late because of others, as the operator said or Vault's own silence shows; else as it is.
pub(super) fn by_others(case: &Case<'_>, blame: Blame) -> Blame {
    let beyond = beyond(case).unwrap_or_default();
    match said::meanwhile(case).or_else(|| outages::vault(case, beyond)) {
        Some(others) => others.and(blame.evidence()),
        None => blame,
    }
}

/// Whose slowness it was: the cluster's, if what is gone was out of the operator's hands in time; Vault's, if the
/// operator's metrics say that all would have been in time but for the wait for Vault; else the operator's. The effect
/// came at `proof`, and is judged by `measured`.
pub(super) fn slow(case: &Case<'_>, proof: Mark, measured: Duration, text: String) -> Blame {
    let late = status(text);
    if let Some(collected) = collected_late(case, proof) {
        return Blame::new(Cause::NotCollected, collected).and([late]);
    }
    let in_vault = case.account.in_vault;
    let in_vault =
        in_vault.filter(|in_vault| measured.saturating_sub(*in_vault) <= case.step.within);
    let Some(in_vault) = in_vault else {
        return Blame::new(Cause::TooSlow, late);
    };
    let text = format!(
        "the operator waited {:.3} s for Vault's answers; without that wait the step would have been in time",
        in_vault.as_secs_f64()
    );
    let waited = Evidence::new(Source::Metrics, text);
    Blame::new(Cause::VaultUnreachable, waited).and([late])
}

/// The operator let the resource go in time, and the Secret that it owned went when the cluster came to it.
fn collected_late(case: &Case<'_>, proof: Mark) -> Option<Evidence> {
    let resource = case
        .account
        .released
        .filter(|released| *released <= proof)?;
    let took = resource.since(case.step.started);
    (case.step.proof == Proof::Gone && took <= case.step.within).then(|| {
        status(format!(
            "the resource was gone after {:.3} s, its Secret {:.3} s later",
            took.as_secs_f64(),
            proof.since(resource).as_secs_f64()
        ))
    })
}
