//! The rules for a step that was not proven.

use super::case::{Case, of_obstacle, status};
use super::{Rule, certificate, lease, outages, proven, said, static_role};
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proof;
use crate::model::record::{Answer, End, VaultHealth};
use crate::model::run::Attribution;

/// The first that applies decides. First what is the prober's own, then what the objects and the operator say, and
/// the absence of any word last; what is left is [`stalled`].
pub(super) const UNPROVEN: &[Rule] = &[
    ("obstacle", obstacle),
    ("interrupted", interrupted),
    ("starved", outages::starved),
    ("blind", outages::blind),
    ("came_after_all", came_after_all),
    ("unseen", unseen),
    ("removed_by_others", removed_by_others),
    ("held_by_others", held_by_others),
    ("changed_by_others", changed_by_others),
    ("destination_taken", destination_taken),
    ("certificate_not_written", certificate::not_written),
    ("wrong_content", wrong_content),
    ("wrong_credential", static_role::wrong),
    ("credential_not_rotated", static_role::not_rotated),
    ("wrong_certificate", certificate::wrong),
    ("certificate_churn", certificate::churn),
    ("reference_missing", reference_missing),
    ("operators_words", said::operators_words),
    ("vault_sealed", vault_sealed),
    ("operator_down", operator_down),
    ("not_collected", not_collected),
    ("vault_out_of_reach", vault_out_of_reach),
    ("vault_away", outages::vault_away),
    ("stale_credential", static_role::stale),
    ("lease_lost", lease::lost),
    ("lease_not_prolonged", lease::not_prolonged),
    ("lease_outlives_the_wait", lease::outlives),
    ("stale_content", stale_content),
    ("finalizer_stuck", finalizer_stuck),
    ("lease_unnamed", lease_unnamed),
    ("certificate_unnamed", certificate::unnamed),
    ("connection_dead", connection_dead),
    ("login_refused", certificate::login_refused),
    ("obstructed", obstructed),
    ("unknown_words", unknown_words),
    ("resource_ignored", resource_ignored),
];
/// What is left where none of them applies.
pub(super) const LAST: (&str, fn(&Case<'_>) -> Blame) = ("stalled", stalled);

/// What the prober itself met.
fn obstacle(case: &Case<'_>) -> Option<Blame> {
    match &case.step.end {
        End::Met(obstacle) => Some(of_obstacle(obstacle)),
        // Proven without a proof in the timeline: the record is not whole.
        End::Proven | End::TimedOut | End::Interrupted => None,
    }
}

fn interrupted(case: &Case<'_>) -> Option<Blame> {
    (case.step.end == End::Interrupted).then(|| {
        let text = "the prober was stopped while it waited for the effect";
        Blame::new(Cause::ProberInterrupted, status(text))
    })
}

/// The effect came between the deadline and the answers to the questions: the watch showed it.
fn came_after_all(case: &Case<'_>) -> Option<Blame> {
    let (step, effect) = (case.step, case.account.effect?);
    let came = step.ended < effect.at && effect.at <= step.left && !effect.relisted;
    came.then(|| {
        let late = effect.at.since(step.started).as_secs_f64();
        let beyond = effect.at.since(step.ended);
        let measured = outages::waited(case).saturating_add(beyond);
        let text =
            format!("the effect arrived after {late:.3} s, when the step had already timed out");
        let late = measured.saturating_sub(step.within);
        proven::held(case, late).unwrap_or_else(|| {
            proven::by_others(case, proven::slow(case, effect.at, measured, text))
        })
    })
}

/// The watch and a direct question differ, or the question was not answered: nothing can be said.
fn unseen(case: &Case<'_>) -> Option<Blame> {
    let findings = &case.step.findings;
    let lost = |text: &str| Some(Blame::new(Cause::ProberWatchLost, status(text)));
    match (&findings.secret, &findings.resource) {
        (Answer::Obstructed(obstacle), _) | (_, Answer::Obstructed(obstacle)) => {
            Some(of_obstacle(obstacle))
        }
        (Answer::Is(Some((uid, content))), _)
            if case.step.proof.holds(uid, content) && !case.account.shown =>
        {
            lost("a direct read finds the right Secret, but the watch did not show it")
        }
        (Answer::Is(Some(_)), _) if static_role::unseen(case) => {
            lost("a direct read finds the right Secret, but the watch did not show it")
        }
        (Answer::Is(Some(_)), _) if certificate::unseen(case) => lost(
            "a direct read finds a valid certificate in the Secret, but the watch did not show it",
        ),
        (Answer::Is(None), Answer::Is(None)) if case.step.proof == Proof::Gone => lost(
            "a direct read finds that the resource and the Secret are gone, but the watch did not show it",
        ),
        _ => None,
    }
}

/// Somebody else removed the canary while it was in use: nothing can be said of the operator.
fn removed_by_others(case: &Case<'_>) -> Option<Blame> {
    let removed = case.step.findings.resource == Answer::Is(None) && case.step.proof != Proof::Gone;
    removed.then(|| {
        let text = "someone else deleted the resource during the step";
        Blame::new(Cause::CanaryRemoved, status(text))
    })
}

/// Somebody else's finalizer keeps what the operator and the cluster let go.
fn held_by_others(case: &Case<'_>) -> Option<Blame> {
    let held = case.step.findings.held_by.first()?;
    let let_go = case
        .account
        .resource
        .as_ref()
        .is_none_or(|resource| !resource.held);
    (case.step.proof == Proof::Gone && let_go).then(|| {
        let text = format!("someone else's finalizer {held}");
        Blame::new(Cause::CanaryRemoved, status(text))
    })
}

/// Somebody else wrote the Secret's data after the operator.
fn changed_by_others(case: &Case<'_>) -> Option<Blame> {
    let by = case.step.findings.changed_by.as_ref()?;
    let wrong = match case.step.findings.secret.get()? {
        Some((uid, content)) => {
            matches!(case.step.proof, Proof::Content { .. }) && !case.step.proof.holds(uid, content)
        }
        None => false,
    };
    wrong.then(|| {
        let text = format!("`{by}` changed the Secret's data after the operator wrote it");
        Blame::new(Cause::CanaryRemoved, status(text))
    })
}

/// The Secret is not the operator's, as it says itself: its content is not its fault either.
fn destination_taken(case: &Case<'_>) -> Option<Blame> {
    said::operators_words(case).filter(|blame| blame.cause == Cause::DestinationConflict)
}

/// The Secret holds what was at no time of this run in Vault.
fn wrong_content(case: &Case<'_>) -> Option<Blame> {
    let Answer::Is(Some((_, content))) = &case.step.findings.secret else {
        return None;
    };
    let Proof::Content { expected, .. } = &case.step.proof else {
        return None;
    };
    if case.step.findings.earlier.contains(content) {
        return None;
    }
    let differing: Vec<_> = expected
        .0
        .keys()
        .chain(
            content
                .0
                .keys()
                .filter(|key| !expected.0.contains_key(*key)),
        )
        .filter(|key| expected.0.get(*key) != content.0.get(*key))
        .map(|key| format!("`{key}`"))
        .collect();
    let text = format!("the Secret differs from Vault in {}", differing.join(", "));
    Some(Blame::new(Cause::WrongContent, status(text)))
}

/// The VaultAuth, or its VaultConnection, is not there. The operator may be silent on it for long.
fn reference_missing(case: &Case<'_>) -> Option<Blame> {
    let mut references = case.step.findings.references.iter();
    let missing = references.find(|reference| reference.exists.get() == Some(&false))?;
    let text = format!("{} does not exist", missing.name);
    Some(Blame::new(Cause::AuthRefInvalid, status(text)).and(said::warnings(case)))
}

fn vault_sealed(case: &Case<'_>) -> Option<Blame> {
    (case.step.findings.vault == Answer::Is(VaultHealth::Sealed)).then(|| {
        let text = "Vault reports that it is sealed";
        Blame::new(Cause::VaultSealed, Evidence::new(Source::Vault, text))
    })
}

/// None of the operator's pods is ready.
fn operator_down(case: &Case<'_>) -> Option<Blame> {
    let pods = case.step.findings.pods.get()?;
    if pods.iter().any(|pod| pod.ready) {
        return None;
    }
    let mut states = case.pods().into_iter();
    let none = || {
        let text = "no pod of the operator matches `operator.podSelector`";
        Evidence::new(Source::Pod, text)
    };
    Some(Blame::new(Cause::OperatorDown, states.next().unwrap_or_else(none)).and(states))
}

/// The resource is gone, and the cluster has not collected what it owned.
fn not_collected(case: &Case<'_>) -> Option<Blame> {
    let findings = &case.step.findings;
    let left = matches!(findings.secret, Answer::Is(Some(_)))
        && findings.resource == Answer::Is(None)
        && case.step.proof == Proof::Gone;
    left.then(|| {
        let text = "the resource is gone, but its Secret is still there";
        Blame::new(Cause::NotCollected, status(text))
    })
}

/// The operator was silent, and Vault is to the prober too, or fails: that clears the operator, and whether
/// it is Vault or the way to it can't be told from here.
fn vault_out_of_reach(case: &Case<'_>) -> Option<Blame> {
    match &case.step.findings.vault {
        Answer::Obstructed(obstacle) => Some(of_obstacle(obstacle).and(case.pods())),
        Answer::Is(VaultHealth::Other(code @ 500..)) => {
            let text = format!("Vault's health check answers {code}");
            let evidence = Evidence::new(Source::Vault, text);
            Some(Blame::new(Cause::VaultError, evidence))
        }
        Answer::Is(_) | Answer::NotAsked => None,
    }
}

/// The operator polled after the change, and left what was there.
fn stale_content(case: &Case<'_>) -> Option<Blame> {
    let Answer::Is(Some((_, content))) = &case.step.findings.secret else {
        return None;
    };
    let stale = matches!(case.step.proof, Proof::Content { .. })
        && case.step.findings.earlier.contains(content)
        && reconciled(case);
    stale.then(|| {
        let text =
            "the operator polled Vault after the change, but the Secret still holds an earlier value";
        Blame::new(Cause::StaleContent, status(text))
    })
}

/// The operator does not let the resource go.
fn finalizer_stuck(case: &Case<'_>) -> Option<Blame> {
    let resource = case.account.resource.as_ref();
    let stuck = case.step.proof == Proof::Gone && resource.is_some_and(|resource| resource.held);
    stuck.then(|| {
        let text = "the resource is being deleted, but the operator's finalizer is still on it";
        Blame::new(Cause::FinalizerStuck, status(text)).and(case.pods())
    })
}

/// The credential is there, but nobody can tell its lease.
fn lease_unnamed(case: &Case<'_>) -> Option<Blame> {
    let Answer::Is(Some((uid, content))) = &case.step.findings.secret else {
        return None;
    };
    let unnamed =
        matches!(case.step.proof, Proof::Credential { .. }) && case.step.proof.holds(uid, content);
    unnamed.then(|| {
        let text = "the Secret holds a credential, but the resource's status names no lease: the path in Vault issues none, as that of a static role does";
        Blame::new(Cause::ProbeUnfit, status(text)).and(said::warnings(case))
    })
}

/// The operator knows that the connection is dead, but came not yet to say so of this resource:
/// logins through one connection wait for each other.
pub(super) fn connection_dead(case: &Case<'_>) -> Option<Blame> {
    let mut references = case.step.findings.references.iter();
    let dead = references.find(|reference| reference.valid == Some(false))?;
    let text = status(format!(
        "the operator reports that {} is not valid",
        dead.name
    ));
    let said = case.account.words.connection.as_ref();
    Some(match said.and_then(|said| Some((said.cause?, said))) {
        Some((cause, said)) => Blame::new(cause, said.evidence.clone()).and([text]),
        None => {
            Blame::new(Cause::VaultUnreachable, text).and(said.map(|said| said.evidence.clone()))
        }
    })
}

/// What would tell the operator's fault from others' could not be asked for: of a VaultAuth that is not there
/// the operator is silent for 30 s.
fn obstructed(case: &Case<'_>) -> Option<Blame> {
    let findings = &case.step.findings;
    let references = findings.references.iter();
    let references = references.map(|reference| reference.exists.obstacle());
    [findings.events.obstacle(), findings.pods.obstacle()]
        .into_iter()
        .chain(references)
        .flatten()
        .next()
        .map(of_obstacle)
}

/// The operator was seen to be at work on others of the kind, and did nothing for this one. A mere number of reconciles does
/// not tell whose they were: one that fails may leave no trace on its resource.
fn resource_ignored(case: &Case<'_>) -> Option<Blame> {
    let others = case.step.findings.others_reconciled;
    (others && !reconciled(case) && said::warnings(case).is_empty()).then(|| {
        let text = "the operator reconciled other resources of this kind during the step, but not this one";
        Blame::new(Cause::ResourceIgnored, status(text)).and(case.pods())
    })
}

/// The operator says why it failed, in words of which nothing is known: it did something, so it is not stalled.
fn unknown_words(case: &Case<'_>) -> Option<Blame> {
    let words = &case.account.words;
    let window = case.account.window.ok().flatten();
    let counted = window.is_some_and(|window| window.attribution != Attribution::None);
    // An event alone is easily made up: that it did something is seen in its status, or its metrics.
    let unclear = words
        .unclear
        .as_ref()
        .filter(|_| counted || reconciled(case));
    let unclear = unclear.map(|said| said.evidence.clone());
    let first = words.unknown.clone().map(status).or(unclear)?;
    let others = said::warnings(case)
        .into_iter()
        .filter(|other| *other != first);
    let others: Vec<_> = others.collect();
    Some(Blame::new(Cause::ProbeUnfit, first).and(others))
}

/// Nothing speaks for anyone else: the operator was told and did nothing.
fn stalled(case: &Case<'_>) -> Blame {
    let seconds = case.step.ended.since(case.step.started).as_secs_f64();
    let text = if reconciled(case) {
        format!(
            "the operator reconciled the resource, but the expected effect did not come within {seconds:.1} s"
        )
    } else {
        format!("the operator did not touch the resource for {seconds:.1} s")
    };
    Blame::new(Cause::OperatorStalled, status(text))
        .and(said::warnings(case))
        .and(case.pods())
}

/// Whether the operator completed a reconcile of this resource after the stimulus was through.
fn reconciled(case: &Case<'_>) -> bool {
    let resource = case.account.resource.as_ref();
    resource.is_some_and(|resource| resource.reconciled)
}
