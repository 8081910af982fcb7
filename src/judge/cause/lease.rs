//! The evidence for each cause of a credential and its lease.

use std::time::Duration;

use super::of_obstacle;
use crate::judge::{dead, margin, words};
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::{Proof, Proven};
use crate::model::record::{Answer, LeaseState, Login, Record, StepRecord};
use crate::model::timeline::Seen;

/// By how much the end of a credential may be seen before it is told to be.
const SLACK: Duration = Duration::from_millis(250);

/// The credential in the Secret is dead before its time, as Vault or PostgreSQL says; or it can't be told.
pub(super) fn lost(record: &Record, step: &StepRecord) -> Option<Blame> {
    let blame = |text: String| {
        Some(Blame::new(
            Cause::LeaseLost,
            Evidence::new(Source::Vault, text),
        ))
    };
    match &step.findings.lease {
        Answer::Is(false) => {
            let id = record
                .timeline
                .leases()
                .last()
                .map_or("", |lease| lease.id.as_str());
            return blame(format!(
                "Vault does not know lease `{id}`, which the resource's status names"
            ));
        }
        Answer::Obstructed(obstacle) => return Some(of_obstacle(obstacle)),
        Answer::Is(true) | Answer::NotAsked => {}
    }
    match &step.findings.prolonged {
        Answer::Is(false) => {
            let id = step.proof.lease().unwrap_or_default();
            return blame(format!(
                "Vault did not renew lease `{id}`, although the resource's status says so"
            ));
        }
        Answer::Obstructed(obstacle) => return Some(of_obstacle(obstacle)),
        Answer::Is(true) | Answer::NotAsked => {}
    }
    let ends = step.findings.old_ends;
    let early = |dead: &dead::Dead<'_>| ends.is_none_or(|end| end.since(dead.from) > SLACK);
    if let Some(dead) = dead::times(record, step).find(early) {
        let evidence = refused(&dead);
        return Some(Blame::new(Cause::LeaseLost, evidence));
    }
    untold(step)
}

/// Nobody could log in with what the Secret holds at last, and nobody was refused either.
fn untold(step: &StepRecord) -> Option<Blame> {
    let last = step.findings.logins.last()?;
    let Login::Untold(obstacle) = &last.outcome else {
        return None;
    };
    Some(of_obstacle(obstacle))
}

/// What is new came when what it replaces had ended already.
pub(super) fn rotated_late(record: &Record, step: &StepRecord, proven: Proven) -> Option<Blame> {
    let margin = margin(step, proven.at).filter(|margin| *margin < 0.0)?;
    let text = format!(
        "the old credential expired {:.3} s before the new one arrived (margin {margin:.3} s)",
        -margin
    );
    let evidence = Evidence::new(Source::Status, text);
    let dead = dead::times(record, step).map(|dead| refused(&dead));
    Some(Blame::new(Cause::RotatedLate, evidence).and(dead))
}

fn refused(dead: &dead::Dead<'_>) -> Evidence {
    let text = format!(
        "PostgreSQL refused the credential in the Secret ({}, {} times); the Secret held a dead credential for at least {:.3} s",
        dead.code,
        dead.count,
        dead.time.as_secs_f64()
    );
    Evidence::new(Source::Status, text)
}

/// What became of all the canary's leases, once its resource is gone.
pub(super) fn leaked(record: &Record, step: &StepRecord) -> Option<Blame> {
    if step.proof != Proof::Gone {
        return None;
    }
    let mut leaked = record.leases.iter().filter_map(|(id, state)| match state {
        LeaseState::Leaked { revoked } => {
            let then = if *revoked {
                "; the prober revoked it"
            } else {
                ""
            };
            let text = format!("lease `{id}` is still valid although its resource is gone{then}");
            Some(Evidence::new(Source::Vault, text))
        }
        LeaseState::Replaced { .. }
        | LeaseState::Ending
        | LeaseState::Ended
        | LeaseState::Untold(_) => None,
    });
    if let Some(first) = leaked.next() {
        return Some(Blame::new(Cause::LeaseLeaked, first).and(leaked));
    }
    record.leases.iter().find_map(|(id, state)| match state {
        LeaseState::Untold(obstacle) => Some(of_obstacle(obstacle)),
        LeaseState::Ending => {
            let text = format!(
                "Vault accepted the revocation of lease `{id}` but has not carried it out in time"
            );
            Some(Blame::new(
                Cause::VaultError,
                Evidence::new(Source::Vault, text),
            ))
        }
        LeaseState::Replaced { .. } | LeaseState::Ended | LeaseState::Leaked { .. } => None,
    })
}

/// The lease that was to be prolonged was replaced instead.
pub(super) fn not_prolonged(record: &Record, step: &StepRecord) -> Option<Blame> {
    if !step.proof.foiled(&record.timeline, step.started) {
        return None;
    }
    let id = step.proof.lease()?;
    let timeline = &record.timeline;
    let renewable = timeline
        .leases()
        .iter()
        .any(|lease| lease.id == id && lease.renewable);
    let refusal = timeline
        .between(step.started, step.left)
        .find_map(|sighting| match &sighting.what {
            Seen::Resource(resource) => resource.renewal.as_ref().filter(|renewal| !renewal.ok),
            _ => None,
        });
    let said = refusal.map(|renewal| Evidence::new(Source::Status, renewal.message.clone()));
    let message = refusal.map_or("", |renewal| renewal.message.as_str());
    let (cause, text) = if !renewable {
        (
            Cause::ProbeUnfit,
            format!("lease `{id}` is not renewable: remove the step `renew` for this role"),
        )
    } else if message.contains("truncated") {
        (
            Cause::ProbeUnfit,
            format!(
                "Vault does not renew lease `{id}` in full: raise the role's `max_ttl` to at least twice its `default_ttl`, or remove the step `renew`"
            ),
        )
    } else if message.contains("lease not found") {
        (
            Cause::LeaseLost,
            format!(
                "lease `{id}` had ended when the operator tried to renew it, and with it the credential"
            ),
        )
    } else if let Some(cause) = words::classify(message) {
        (
            cause,
            format!("lease `{id}` was replaced instead of renewed"),
        )
    } else {
        (
            Cause::Churn,
            format!("the operator replaced the credential although lease `{id}` could be renewed"),
        )
    };
    Some(Blame::new(cause, Evidence::new(Source::Vault, text)).and(said))
}

/// The operator still prolongs the lease in time: nothing is wrong, only not over.
pub(super) fn outlives(step: &StepRecord, measured: Duration) -> Option<Blame> {
    let kept = matches!(step.proof, Proof::Replaced { .. })
        && step.findings.lease == Answer::Is(true)
        && measured.saturating_add(SLACK) < step.timeout;
    kept.then(|| {
        let seconds = step.ended.since(step.started).as_secs_f64();
        let text = format!(
            "the lease is valid and was still being renewed after {seconds:.1} s: set the probe's `maxTtl` to the role's `max_ttl`, or give the role a shorter one"
        );
        Blame::new(Cause::ProbeUnfit, Evidence::new(Source::Status, text))
    })
}
