//! The choice of a cause: tables read from the top, the first rule that matches wins.

mod absence;
mod case;
mod churn;
mod lease;
mod slow;

use std::time::Duration;

use super::margin;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proven;
use crate::model::record::{End, Hindrance, Obstacle, Peer, Record, StepRecord};
use crate::model::timeline::Seen;
use absence::{blind, starved, vault_away};
use case::Case;

/// A step that was proven may still be late, unprovable in time, or have left a lease behind.
pub(super) fn of_proven(
    record: &Record,
    step: &StepRecord,
    proven: Proven,
    measured: Duration,
) -> Option<Blame> {
    let late = measured > step.within;
    let behind = margin(step, proven.at).map_or(Duration::ZERO, |margin| {
        Duration::try_from_secs_f64(-margin).unwrap_or_default()
    });
    let beyond = measured.saturating_sub(step.within).max(behind);
    let late_or_behind = late || !behind.is_zero();
    if late_or_behind
        && let Some(own) = starved(record, step, beyond).or_else(|| blind(record, step, beyond))
    {
        return Some(own);
    }
    let interrupted = interruptions(record, step);
    if late_or_behind && let Some(first) = interrupted.first() {
        // Whether it came late or was only seen late can't be told.
        let rest = interrupted[1..].iter().cloned();
        return Some(Blame::new(Cause::ProberWatchLost, first.clone()).and(rest));
    }
    if proven.relisted {
        let text = "a watch was interrupted and only a later list showed the effect, so it is not known when it came";
        return Some(
            Blame::new(Cause::ProberWatchLost, Evidence::new(Source::Status, text))
                .and(interrupted),
        );
    }
    let case = Case { record, step };
    // What came late because of others, as the operator said or Vault's own silence shows.
    let by_others = |blame: Blame| match case
        .told_meanwhile()
        .or_else(|| vault_away(record, step, beyond))
    {
        Some(others) => others.and(blame.evidence()),
        None => blame,
    };
    let late = || {
        late.then(|| {
            let text = format!(
                "the effect was right but took {:.3} s, {:.3} s over its threshold of {:.3} s",
                measured.as_secs_f64(),
                (measured.saturating_sub(step.within)).as_secs_f64(),
                step.within.as_secs_f64()
            );
            slow::blame(record, step, proven.at, measured, text)
        })
    };
    lease::lost(record, step)
        .or_else(|| lease::rotated_late(record, step, proven).map(by_others))
        .or_else(|| case.rotated_early(proven.at))
        .or_else(|| lease::leaked(record, step))
        .or_else(|| churn::counted(record, step, proven))
        .or_else(|| late().map(by_others))
}

/// A step that was not proven. First what is the prober's own, then what the objects and the
/// operator say, and the absence of any word last.
pub(super) fn of_unproven(record: &Record, step: &StepRecord, measured: Duration) -> Blame {
    let case = Case { record, step };
    match &step.end {
        End::Met(obstacle) => return of_obstacle(obstacle),
        End::Interrupted => {
            let text = "the prober was stopped while it waited for the effect";
            return Blame::new(
                Cause::ProberInterrupted,
                Evidence::new(Source::Status, text),
            );
        }
        // Proven without a proof in the timeline: the record is not whole.
        End::Proven | End::TimedOut => {}
    }
    // One that was given up before it was due is late by nothing.
    let waited = if measured.is_zero() {
        step.ended.since(step.started)
    } else {
        measured
    };
    starved(record, step, waited / 2)
        .or_else(|| blind(record, step, waited / 4))
        .or_else(|| case.came_after_all(waited))
        .or_else(|| case.unseen())
        .or_else(|| case.removed_by_others())
        .or_else(|| case.destination_taken())
        .or_else(|| case.certificate_not_written())
        .or_else(|| case.wrong_content())
        .or_else(|| case.wrong_certificate())
        .or_else(|| case.certificate_churn())
        .or_else(|| case.reference_missing())
        .or_else(|| case.told_by_operator())
        .or_else(|| case.vault_sealed())
        .or_else(|| case.operator_down())
        .or_else(|| case.not_collected())
        .or_else(|| case.vault_out_of_reach())
        .or_else(|| vault_away(record, step, waited / 4))
        .or_else(|| lease::lost(record, step))
        .or_else(|| lease::not_prolonged(record, step))
        .or_else(|| lease::outlives(step, measured))
        .or_else(|| case.stale_content())
        .or_else(|| case.finalizer_stuck())
        .or_else(|| case.lease_unnamed())
        .or_else(|| case.certificate_unnamed())
        .or_else(|| case.connection_dead())
        .or_else(|| case.login_untold())
        .or_else(|| case.obstructed())
        .or_else(|| case.resource_ignored())
        .unwrap_or_else(|| case.stalled())
        .and(interruptions(record, step))
}

/// What the prober itself met.
fn of_obstacle(obstacle: &Obstacle) -> Blame {
    let cause = match (obstacle.at, obstacle.how) {
        (_, Hindrance::Removed) => Cause::CanaryRemoved,
        (_, Hindrance::Unfit) => Cause::ProbeUnfit,
        (Peer::Vault, Hindrance::Unreachable) => Cause::ProberVaultUnreachable,
        (Peer::Vault, Hindrance::Denied) => Cause::ProberVaultDenied,
        (Peer::Vault, Hindrance::Sealed) => Cause::VaultSealed,
        (Peer::Vault, Hindrance::Failed) => Cause::VaultError,
        (Peer::Postgres, _) => Cause::ProberPostgresUnreachable,
        (Peer::Prober, _) => Cause::ProberBug,
        (Peer::Kubernetes, Hindrance::Denied) => Cause::ProberKubernetesDenied,
        (Peer::Kubernetes, Hindrance::Unreachable | Hindrance::Sealed | Hindrance::Failed) => {
            Cause::ProberKubernetesUnreachable
        }
    };
    let source = match obstacle.at {
        Peer::Vault => Source::Vault,
        Peer::Kubernetes | Peer::Postgres | Peer::Prober => Source::Status,
    };
    Blame::new(cause, Evidence::new(source, obstacle.text.clone()))
}

/// Interruptions of the watches during the step, as evidence.
fn interruptions(record: &Record, step: &StepRecord) -> Vec<Evidence> {
    record
        .timeline
        .between(step.started, step.ended)
        .filter_map(|sighting| match &sighting.what {
            Seen::WatchLost(why) => Some(Evidence::new(
                Source::Status,
                format!("a watch was interrupted: {why}"),
            )),
            _ => None,
        })
        .collect()
}
