//! The rules of a credential and its lease.

use std::time::Duration;

use super::case::{Case, of_obstacle, status};
use super::proven::by_others;
use crate::model::account::{Dead, Refusal};
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proof;
use crate::model::record::{Answer, LeaseState, Login};

/// By how much the end of a credential may be seen before it is told to be: PostgreSQL, Vault and the prober count its
/// life from moments of their own.
const SLACK: Duration = Duration::from_millis(250);
/// By so much a replacement may seem early: times are told in whole seconds, and clocks may differ by as much again.
const EARLY: Duration = Duration::from_secs(2);

/// The credential in the Secret is dead before its time, as Vault or PostgreSQL says; or it can't be told.
pub(super) fn lost(case: &Case<'_>) -> Option<Blame> {
    let findings = &case.step.findings;
    let blame = |text: String| Some(Blame::new(Cause::LeaseLost, vault(text)));
    match &findings.lease {
        Answer::Is(false) => {
            let id = case.account.lease.as_deref().unwrap_or_default();
            return blame(format!(
                "Vault does not know lease `{id}`, which the resource's status names"
            ));
        }
        Answer::Obstructed(obstacle) => return Some(of_obstacle(obstacle)),
        Answer::Is(true) | Answer::NotAsked => {}
    }
    match &findings.prolonged {
        Answer::Is(false) => {
            let id = case.step.proof.lease().unwrap_or_default();
            return blame(format!(
                "Vault did not renew lease `{id}`, although the resource's status says so"
            ));
        }
        Answer::Obstructed(obstacle) => return Some(of_obstacle(obstacle)),
        Answer::Is(true) | Answer::NotAsked => {}
    }
    let ends = findings.old_ends;
    let early = |dead: &&Dead| ends.is_none_or(|end| end.since(dead.from) > SLACK);
    if let Some(dead) = case.account.dead.iter().find(early) {
        return Some(Blame::new(Cause::LeaseLost, refused(dead)));
    }
    // Nobody could log in with what the Secret holds at last, and nobody was refused either.
    match &findings.logins.last()?.outcome {
        Login::Untold(obstacle) => Some(of_obstacle(obstacle)),
        Login::In | Login::Refused(_) => None,
    }
}

/// What is new came when what it replaces had ended already.
pub(super) fn rotated_late(case: &Case<'_>) -> Option<Blame> {
    let margin = case.margin().filter(|margin| *margin < 0.0)?;
    let text = format!(
        "the old credential expired {:.3} s before the new one arrived (margin {margin:.3} s)",
        -margin
    );
    let dead = case.account.dead.iter().map(refused);
    let blame = Blame::new(Cause::RotatedLate, status(text)).and(dead);
    Some(by_others(case, blame))
}

/// What is new came before the old one had to be replaced.
pub(super) fn rotated_early(case: &Case<'_>) -> Option<Blame> {
    let (proof, soonest) = (case.proven?.at, case.account.soonest?);
    if soonest.since(proof) <= EARLY {
        return None;
    }
    let text = match &case.account.certificates.before {
        Some((seen, before)) => format!(
            "certificate `{}` was replaced {:.1} s before it was due, {:.1} s after it was written",
            before.serial,
            soonest.since(proof).as_secs_f64(),
            proof.since(*seen).as_secs_f64()
        ),
        None => format!(
            "a new credential arrived {:.1} s before the old one was due to be replaced",
            case.account.due?.since(proof).as_secs_f64()
        ),
    };
    Some(Blame::new(Cause::Churn, status(text)))
}

fn refused(dead: &Dead) -> Evidence {
    status(format!(
        "PostgreSQL refused the credential in the Secret ({}, {} times); the Secret held a dead credential for at least {:.3} s",
        dead.code,
        dead.count,
        dead.time.as_secs_f64()
    ))
}

/// What became of all the canary's leases, once its resource is gone.
pub(super) fn leaked(case: &Case<'_>) -> Option<Blame> {
    if case.step.proof != Proof::Gone {
        return None;
    }
    let mut leaked = case.leases.iter().filter_map(|(id, state)| match state {
        LeaseState::Leaked { revoked } => {
            let then = if *revoked {
                "; the prober revoked it"
            } else {
                ""
            };
            let text = format!("lease `{id}` is still valid although its resource is gone{then}");
            Some(vault(text))
        }
        LeaseState::Replaced { .. }
        | LeaseState::Ending
        | LeaseState::Ended
        | LeaseState::Untold(_) => None,
    });
    if let Some(first) = leaked.next() {
        return Some(Blame::new(Cause::LeaseLeaked, first).and(leaked));
    }
    case.leases.iter().find_map(|(id, state)| match state {
        LeaseState::Untold(obstacle) => Some(of_obstacle(obstacle)),
        LeaseState::Ending => {
            let text = format!(
                "Vault accepted the revocation of lease `{id}` but has not carried it out in time"
            );
            Some(Blame::new(Cause::VaultError, vault(text)))
        }
        LeaseState::Replaced { .. } | LeaseState::Ended | LeaseState::Leaked { .. } => None,
    })
}

/// The lease that was to be prolonged was replaced instead.
pub(super) fn not_prolonged(case: &Case<'_>) -> Option<Blame> {
    if !case.account.foiled {
        return None;
    }
    let id = case.step.proof.lease()?;
    let renewal = &case.account.renewal;
    let refusal = renewal.refusal.as_ref();
    let (cause, text) = match refusal.map(|(refusal, _)| *refusal) {
        _ if !renewal.renewable => (
            Cause::ProbeUnfit,
            format!("lease `{id}` is not renewable: remove the step `renew` for this role"),
        ),
        Some(Refusal::CutShort) => (
            Cause::ProbeUnfit,
            format!(
                "Vault does not renew lease `{id}` in full: raise the role's `max_ttl` to at least twice its `default_ttl`, or remove the step `renew`"
            ),
        ),
        Some(Refusal::Gone) => (
            Cause::LeaseLost,
            format!(
                "lease `{id}` had ended when the operator tried to renew it, and with it the credential"
            ),
        ),
        Some(Refusal::For(cause)) => (
            cause,
            format!("lease `{id}` was replaced instead of renewed"),
        ),
        Some(Refusal::Unclear) | None => (
            Cause::Churn,
            format!("the operator replaced the credential although lease `{id}` could be renewed"),
        ),
    };
    let said = refusal.map(|(_, words)| status(words.clone()));
    Some(Blame::new(cause, vault(text)).and(said))
}

/// The operator still prolongs the lease in time: nothing is wrong, only not over.
pub(super) fn outlives(case: &Case<'_>) -> Option<Blame> {
    let kept = matches!(case.step.proof, Proof::Replaced { .. })
        && case.step.findings.lease == Answer::Is(true)
        && case.measured.saturating_add(SLACK) < case.step.timeout;
    kept.then(|| {
        let text = format!(
            "the lease is valid and was still being renewed after {:.1} s: set the probe's `maxTtl` to the role's `max_ttl`, or give the role a shorter one",
            case.step.ended.since(case.step.started).as_secs_f64()
        );
        Blame::new(Cause::ProbeUnfit, status(text))
    })
}

/// What Vault says to the prober.
fn vault(text: String) -> Evidence {
    Evidence::new(Source::Vault, text)
}
