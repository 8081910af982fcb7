//! The operator's words, as far as they are believed. Anyone who may create events can make one up, so that one which
//! clears the operator counts, without the status, only as far as the prober itself saw nothing to the contrary.

use super::case::Case;
use super::unproven::connection_dead;
use crate::model::account::Said;
use crate::model::cause::{Blame, Cause, Evidence};
use crate::model::record::{Answer, End, VaultHealth};

/// So often the operator must have said that Vault is out of reach to be believed against a Vault that serves the
/// prober: one event is easily made up, or of a moment.
const REPEATED: i64 = 2;

/// The operator's own words: first the status, then the events.
pub(super) fn operators_words(case: &Case<'_>) -> Option<Blame> {
    let status = case.account.words.status.as_ref();
    match status.and_then(blamed) {
        Some(blame) => Some(blame.and(warnings(case))),
        None => by_event(case),
    }
}

/// What the operator said was in its way before the effect came after all.
pub(super) fn meanwhile(case: &Case<'_>) -> Option<Blame> {
    let status = case.account.words.meanwhile.as_ref();
    status.and_then(blamed).or_else(|| by_event(case))
}

/// The operator's events that warn, with what speaks against each.
pub(super) fn warnings(case: &Case<'_>) -> Vec<Evidence> {
    let warnings = case.account.words.warnings.iter();
    warnings
        .map(|said| {
            let Evidence { source, text } = said.evidence.clone();
            match doubt(case, said) {
                Some(doubt) => Evidence::new(source, text.and(&format!("; but {doubt}"))),
                None => Evidence { source, text },
            }
        })
        .collect()
}

/// The latest event that says who is at fault and that nothing speaks against, with the others.
fn by_event(case: &Case<'_>) -> Option<Blame> {
    let warnings_said = case.account.words.warnings.iter().rev();
    let said = warnings_said
        .filter(|said| said.cause.is_some())
        .find(|said| doubt(case, said).is_none())?;
    let others = warnings(case).into_iter();
    let others = others.filter(|other| *other != said.evidence);
    Some(blamed(said)?.and(others))
}

fn blamed(said: &Said) -> Option<Blame> {
    Some(Blame::new(said.cause?, said.evidence.clone()))
}

/// What the prober saw that speaks against an event, if it names a cause.
fn doubt(case: &Case<'_>, said: &Said) -> Option<&'static str> {
    let served = "Vault served the prober throughout the step";
    match said.cause? {
        Cause::VaultSealed if vault_served(case) => Some(served),
        // The way to Vault may be shut to the operator alone: then it says so again, or of its connection.
        cause @ (Cause::VaultUnreachable | Cause::VaultError)
            if case.step.end == End::TimedOut
                && vault_served(case)
                && connection_dead(case).is_none()
                && times(case, cause) < REPEATED =>
        {
            Some(served)
        }
        Cause::DestinationConflict if case.step.findings.secret == Answer::Is(None) => {
            Some("no Secret of that name exists")
        }
        _ => None,
    }
}

/// Whether Vault answered the prober as one that serves, and was away at no time of the step.
fn vault_served(case: &Case<'_>) -> bool {
    case.step.findings.vault == Answer::Is(VaultHealth::Active) && !case.account.away.vault
}

/// How often events named a cause.
fn times(case: &Case<'_>, cause: Cause) -> i64 {
    let warnings = case.account.words.warnings.iter();
    warnings
        .filter(|said| said.cause == Some(cause))
        .map(|said| said.times)
        .sum()
}
