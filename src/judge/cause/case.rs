//! The evidence for each cause of a step that was not proven: one question for each cause.

mod certificate;
mod hearsay;

use std::time::Duration;

use super::{of_obstacle, slow};
use crate::judge::{stages, words};
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proof;
use crate::model::record::{Answer, Event, Record, StepRecord, VaultHealth};
use crate::model::timeline::{Resource, Seen};

/// A step that was not proven, with all that was found out.
pub(super) struct Case<'a> {
    pub(super) record: &'a Record,
    pub(super) step: &'a StepRecord,
}

impl Case<'_> {
    /// The resource as asked for directly or, failing that, as last seen.
    fn resource(&self) -> Option<&Resource> {
        match &self.step.findings.resource {
            Answer::Is(resource) => resource.as_ref(),
            Answer::NotAsked | Answer::Obstructed(_) => {
                self.record.timeline.resource_at(self.step.ended)
            }
        }
    }

    /// Whether the operator completed a reconcile of this resource after the stimulus was through.
    fn reconciled(&self) -> bool {
        let before = self.record.timeline.resource_at(self.step.submitted);
        self.resource().is_some_and(|now| {
            before.map(|r| (&r.healthy, &r.synced, r.last_generation))
                != Some((&now.healthy, &now.synced, now.last_generation))
                && now.healthy.is_some()
        })
    }

    /// The effect came between the deadline and the answers to the questions: the watch showed it.
    pub(super) fn came_after_all(&self, given_up: Duration) -> Option<Blame> {
        let proven = self
            .step
            .proof
            .seen(&self.record.timeline, self.step.started)?;
        let late = proven.at.since(self.step.started).as_secs_f64();
        let measured = given_up.saturating_add(proven.at.since(self.step.ended));
        let text =
            format!("the effect arrived after {late:.3} s, when the step had already timed out");
        (self.step.ended < proven.at && proven.at <= self.step.left && !proven.relisted)
            .then(|| slow::blame(self.record, self.step, proven.at, measured, text))
    }

    /// Somebody else removed the canary while it was in use: nothing can be said of the operator.
    pub(super) fn removed_by_others(&self) -> Option<Blame> {
        let removed =
            self.step.findings.resource == Answer::Is(None) && self.step.proof != Proof::Gone;
        removed.then(|| {
            let text = "someone else deleted the resource during the step";
            Blame::new(Cause::CanaryRemoved, Evidence::new(Source::Status, text))
        })
    }

    /// The operator knows that the connection is dead, but came not yet to say so of this resource:
    /// logins through one connection wait for each other.
    pub(super) fn connection_dead(&self) -> Option<Blame> {
        let mut references = self.step.findings.references.iter();
        let dead = references.find(|reference| reference.valid == Some(false))?;
        let text = format!("the operator reports that {} is not valid", dead.name);
        Some(Blame::new(
            Cause::VaultUnreachable,
            Evidence::new(Source::Status, text),
        ))
    }

    /// The credential is there, but nobody can tell its lease.
    pub(super) fn lease_unnamed(&self) -> Option<Blame> {
        let Answer::Is(Some((uid, content))) = &self.step.findings.secret else {
            return None;
        };
        let unnamed = matches!(self.step.proof, Proof::Credential { .. })
            && self.step.proof.holds(uid, content);
        unnamed.then(|| {
            let text = "the Secret holds a credential, but the resource's status names no lease";
            Blame::new(Cause::OperatorStalled, Evidence::new(Source::Status, text))
                .and(self.warnings())
        })
    }

    /// What would tell the operator's fault from others' could not be asked for: of a VaultAuth that is not there
    /// the operator is silent for 30 s.
    pub(super) fn obstructed(&self) -> Option<Blame> {
        let findings = &self.step.findings;
        let references = findings.references.iter();
        let references = references.map(|reference| reference.exists.obstacle());
        [findings.events.obstacle(), findings.pods.obstacle()]
            .into_iter()
            .chain(references)
            .flatten()
            .next()
            .map(of_obstacle)
    }

    /// The watch and a direct question differ, or the question was not answered: nothing can be said.
    pub(super) fn unseen(&self) -> Option<Blame> {
        let lost = |text: &str| {
            Some(Blame::new(
                Cause::ProberWatchLost,
                Evidence::new(Source::Status, text),
            ))
        };
        match (&self.step.findings.secret, &self.step.findings.resource) {
            (Answer::Obstructed(obstacle), _) | (_, Answer::Obstructed(obstacle)) => {
                Some(of_obstacle(obstacle))
            }
            (Answer::Is(Some((uid, content))), _)
                if self.step.proof.holds(uid, content) && !self.shown() =>
            {
                lost("a direct read finds the right Secret, but the watch did not show it")
            }
            (Answer::Is(Some(_)), _) if self.certificate_unseen() => lost(
                "a direct read finds a valid certificate in the Secret, but the watch did not show it",
            ),
            (Answer::Is(None), Answer::Is(None)) if self.step.proof == Proof::Gone => lost(
                "a direct read finds that the resource and the Secret are gone, but the watch did not show it",
            ),
            _ => None,
        }
    }

    /// Whether the watch showed a Secret that would be the proof.
    fn shown(&self) -> bool {
        let mut seen = self
            .record
            .timeline
            .between(self.step.started, self.step.ended);
        seen.any(|sighting| {
            matches!(&sighting.what, Seen::Secret { uid, content } if self.step.proof.holds(uid, content))
        })
    }

    /// The Secret is not the operator's, as it says itself: its content is not its fault either.
    pub(super) fn destination_taken(&self) -> Option<Blame> {
        self.told_by_operator()
            .filter(|blame| blame.cause == Cause::DestinationConflict)
    }

    /// The Secret holds what was at no time of this run in Vault.
    pub(super) fn wrong_content(&self) -> Option<Blame> {
        let Answer::Is(Some((_, content))) = &self.step.findings.secret else {
            return None;
        };
        let Proof::Content { expected, .. } = &self.step.proof else {
            return None;
        };
        if self.step.findings.earlier.contains(content) {
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
        Some(Blame::new(
            Cause::WrongContent,
            Evidence::new(Source::Status, text),
        ))
    }

    pub(super) fn reference_missing(&self) -> Option<Blame> {
        let missing = self
            .step
            .findings
            .references
            .iter()
            .find(|reference| reference.exists.get() == Some(&false))?;
        let text = format!("{} does not exist", missing.name);
        Some(
            Blame::new(Cause::AuthRefInvalid, Evidence::new(Source::Status, text))
                .and(self.warnings()),
        )
    }

    /// The operator's own words: first the status, then the events.
    pub(super) fn told_by_operator(&self) -> Option<Blame> {
        let status = self.resource().and_then(by_status);
        if let Some(blame) = status {
            return Some(blame.and(self.warnings()));
        }
        self.by_event()
    }

    /// What the operator said was in its way before the effect came after all.
    pub(super) fn told_meanwhile(&self) -> Option<Blame> {
        let Self { record, step } = self;
        let mut seen = record.timeline.between(step.started, step.ended);
        seen.find_map(|sighting| match &sighting.what {
            Seen::Resource(resource) => by_status(resource),
            _ => None,
        })
        .or_else(|| self.by_event())
    }

    /// The latest event that says who is at fault and that nothing speaks against, with the others.
    fn by_event(&self) -> Option<Blame> {
        self.events()
            .iter()
            .rev()
            .filter(|event| event.kind == "Warning")
            .find_map(|event| {
                let cause = words::classify(&event.message)?;
                if self.doubt(event).is_some() {
                    return None;
                }
                let told = evidence_of(event);
                let others = self.warnings();
                let others: Vec<_> = others.into_iter().filter(|other| *other != told).collect();
                Some(Blame::new(cause, told).and(others))
            })
    }

    pub(super) fn vault_sealed(&self) -> Option<Blame> {
        (self.step.findings.vault == Answer::Is(VaultHealth::Sealed)).then(|| {
            let text = "Vault reports that it is sealed";
            Blame::new(Cause::VaultSealed, Evidence::new(Source::Vault, text))
        })
    }

    /// The operator was silent, and Vault is to the prober too, or fails: that clears the operator, and whether
    /// it is Vault or the way to it can't be told from here.
    pub(super) fn vault_out_of_reach(&self) -> Option<Blame> {
        match &self.step.findings.vault {
            Answer::Obstructed(obstacle) => Some(of_obstacle(obstacle).and(self.ready_pods())),
            Answer::Is(VaultHealth::Other(code @ 500..)) => {
                let text = format!("Vault's health check answers {code}");
                Some(Blame::new(
                    Cause::VaultError,
                    Evidence::new(Source::Vault, text),
                ))
            }
            Answer::Is(_) | Answer::NotAsked => None,
        }
    }

    pub(super) fn operator_down(&self) -> Option<Blame> {
        let pods = self.step.findings.pods.get()?;
        if pods.iter().any(|pod| pod.ready) {
            return None;
        }
        let mut states = pods
            .iter()
            .map(|pod| Evidence::new(Source::Pod, format!("{} is {}", pod.name, pod.state)));
        let none = || {
            Evidence::new(
                Source::Pod,
                "no pod of the operator matches `operator.podSelector`",
            )
        };
        Some(Blame::new(Cause::OperatorDown, states.next().unwrap_or_else(none)).and(states))
    }

    pub(super) fn not_collected(&self) -> Option<Blame> {
        let left = matches!(self.step.findings.secret, Answer::Is(Some(_)))
            && self.step.findings.resource == Answer::Is(None)
            && self.step.proof == Proof::Gone;
        left.then(|| {
            let text = "the resource is gone, but its Secret is still there";
            Blame::new(Cause::NotCollected, Evidence::new(Source::Status, text))
        })
    }

    pub(super) fn stale_content(&self) -> Option<Blame> {
        let Answer::Is(Some((_, content))) = &self.step.findings.secret else {
            return None;
        };
        let stale = matches!(self.step.proof, Proof::Content { .. })
            && self.step.findings.earlier.contains(content)
            && self.reconciled();
        stale.then(|| {
            let text =
                "the operator polled Vault after the change, but the Secret still holds an earlier value";
            Blame::new(Cause::StaleContent, Evidence::new(Source::Status, text))
        })
    }

    pub(super) fn finalizer_stuck(&self) -> Option<Blame> {
        let stuck = self.step.proof == Proof::Gone
            && self
                .resource()
                .is_some_and(|resource| resource.deleting && resource.finalizer);
        stuck.then(|| {
            let text = "the resource is being deleted, but the operator's finalizer is still on it";
            Blame::new(Cause::FinalizerStuck, Evidence::new(Source::Status, text))
                .and(self.ready_pods())
        })
    }

    pub(super) fn resource_ignored(&self) -> Option<Blame> {
        let others = self.step.findings.others_reconciled
            || stages::others_reconciled(self.record, self.step);
        (others && !self.reconciled()).then(|| {
            let text =
                "the operator reconciled other resources of this kind during the step, but not this one";
            Blame::new(Cause::ResourceIgnored, Evidence::new(Source::Status, text))
                .and(self.ready_pods())
        })
    }

    /// Nothing speaks for anyone else: the operator was told and did nothing.
    pub(super) fn stalled(&self) -> Blame {
        let seconds = self.step.ended.since(self.step.started).as_secs_f64();
        let text = if self.reconciled() {
            format!(
                "the operator reconciled the resource, but the expected effect did not come within {seconds:.1} s"
            )
        } else {
            format!("the operator did not touch the resource for {seconds:.1} s")
        };
        Blame::new(Cause::OperatorStalled, Evidence::new(Source::Status, text))
            .and(self.warnings())
            .and(self.ready_pods())
    }

    fn events(&self) -> &[Event] {
        self.step.findings.events.get().map_or(&[], Vec::as_slice)
    }

    fn warnings(&self) -> Vec<Evidence> {
        self.events()
            .iter()
            .filter(|event| event.kind == "Warning")
            .map(|event| {
                let Evidence { source, text } = evidence_of(event);
                match self.doubt(event) {
                    Some(doubt) => Evidence::new(source, text.and(&format!("; but {doubt}"))),
                    None => Evidence { source, text },
                }
            })
            .collect()
    }

    fn ready_pods(&self) -> Vec<Evidence> {
        let pods = self.step.findings.pods.get().map_or(&[][..], Vec::as_slice);
        pods.iter()
            .map(|pod| Evidence::new(Source::Pod, format!("{} is {}", pod.name, pod.state)))
            .collect()
    }
}

/// What a status that is not good says of who is at fault.
fn by_status(resource: &Resource) -> Option<Blame> {
    let unhealthy = resource.healthy.as_ref().is_none_or(|state| !state.ok);
    let synced = resource.synced.as_ref().filter(|state| !state.ok)?;
    let cause = unhealthy.then(|| words::classify(&synced.message))??;
    let said = Evidence::new(Source::Status, synced.message.clone());
    Some(Blame::new(cause, said))
}

fn evidence_of(event: &Event) -> Evidence {
    let times = if event.count > 1 {
        format!(" ({} times)", event.count)
    } else {
        String::new()
    };
    Evidence::new(
        Source::Event,
        format!("{}: {}{times}", event.reason, event.message),
    )
}
