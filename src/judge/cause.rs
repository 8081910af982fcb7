//! Whom to blame: tables read from the top, the first rule that matches wins.

use std::time::Duration;

use super::words;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::{Proof, Proven};
use crate::model::record::{
    Answer, End, Findings, Hindrance, LeaseState, Obstacle, Peer, Record, StepRecord, VaultHealth,
};
use crate::model::timeline::{Resource, Seen};

/// A step that was proven may still be late, unprovable in time, or have left a lease behind.
pub(super) fn of_proven(
    record: &Record,
    step: &StepRecord,
    proven: Proven,
    measured: Duration,
) -> Option<Blame> {
    let late = measured > step.within;
    if late && let Some(starved) = starved(record, step, measured.saturating_sub(step.within)) {
        return Some(starved);
    }
    if proven.relisted {
        let text = "the proof was found only by a list after a watch had been interrupted, so its moment is not known";
        return Some(
            Blame::new(Cause::ProberWatchLost, Evidence::new(Source::Status, text))
                .and(interruptions(record, step)),
        );
    }
    leases(record, step).or_else(|| {
        late.then(|| {
            let text = format!(
                "it came out right after {:.3} s, {:.3} s beyond its threshold of {:.3} s",
                measured.as_secs_f64(),
                (measured.saturating_sub(step.within)).as_secs_f64(),
                step.within.as_secs_f64()
            );
            Blame::new(Cause::TooSlow, Evidence::new(Source::Status, text))
        })
    })
}

/// What Vault says of the canary's leases: of the one in the Secret after `create`, of all after `delete`.
fn leases(record: &Record, step: &StepRecord) -> Option<Blame> {
    match &step.findings.lease {
        Answer::Is(false) => {
            let id = record
                .timeline
                .leases()
                .last()
                .map_or("", |lease| lease.id.as_str());
            let text = format!("Vault knows no lease `{id}`, which the resource's status names");
            return Some(Blame::new(
                Cause::LeaseLost,
                Evidence::new(Source::Vault, text),
            ));
        }
        Answer::Obstructed(obstacle) => return Some(of_obstacle(obstacle)),
        Answer::Is(true) | Answer::NotAsked => {}
    }
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
            let text = format!("lease `{id}` is still alive although its resource is gone{then}");
            Some(Evidence::new(Source::Vault, text))
        }
        LeaseState::Ended | LeaseState::Untold(_) => None,
    });
    if let Some(first) = leaked.next() {
        return Some(Blame::new(Cause::LeaseLeaked, first).and(leaked));
    }
    record.leases.iter().find_map(|(_, state)| match state {
        LeaseState::Untold(obstacle) => Some(of_obstacle(obstacle)),
        LeaseState::Ended | LeaseState::Leaked { .. } => None,
    })
}

/// A step that was not proven. First what is the prober's own, then what the objects and the
/// operator say, and the absence of any word last.
pub(super) fn of_unproven(record: &Record, step: &StepRecord, measured: Duration) -> Blame {
    let case = Case {
        record,
        step,
        findings: &step.findings,
    };
    match &step.end {
        End::Met(obstacle) => return of_obstacle(obstacle),
        End::Interrupted => {
            let text = "the prober was told to stop while it waited for the proof";
            return Blame::new(
                Cause::ProberInterrupted,
                Evidence::new(Source::Status, text),
            );
        }
        // Proven without a proof in the timeline: the record is not whole.
        End::Proven | End::TimedOut => {}
    }
    starved(record, step, measured / 2)
        .or_else(|| case.unseen())
        .or_else(|| case.wrong_content())
        .or_else(|| case.reference_missing())
        .or_else(|| case.told_by_operator())
        .or_else(|| case.vault_sealed())
        .or_else(|| case.operator_down())
        .or_else(|| case.not_collected())
        .or_else(|| case.stale_content())
        .or_else(|| case.finalizer_stuck())
        .or_else(|| case.resource_ignored())
        .unwrap_or_else(|| case.stalled())
        .and(interruptions(record, step))
}

/// What the prober itself met.
fn of_obstacle(obstacle: &Obstacle) -> Blame {
    let cause = match (obstacle.at, obstacle.how) {
        (Peer::Vault, Hindrance::Unreachable) => Cause::ProberVaultUnreachable,
        (Peer::Vault, Hindrance::Denied) => Cause::ProberVaultDenied,
        (Peer::Vault, Hindrance::Sealed) => Cause::VaultSealed,
        (Peer::Vault, Hindrance::Failed) => Cause::VaultError,
        (Peer::Kubernetes, Hindrance::Denied) => Cause::ProberKubernetesDenied,
        (Peer::Kubernetes, Hindrance::Unreachable | Hindrance::Sealed | Hindrance::Failed) => {
            Cause::ProberKubernetesUnreachable
        }
    };
    let source = match obstacle.at {
        Peer::Vault => Source::Vault,
        Peer::Kubernetes => Source::Status,
    };
    Blame::new(cause, Evidence::new(source, obstacle.text.clone()))
}

/// Blames the prober if it stood still for at least `share` during the step.
fn starved(record: &Record, step: &StepRecord, share: Duration) -> Option<Blame> {
    let total: Duration = record
        .timeline
        .between(step.started, step.ended)
        .filter_map(|sighting| match sighting.what {
            Seen::Starved(gap) => Some(gap),
            _ => None,
        })
        .sum();
    (!total.is_zero() && total >= share).then(|| {
        let text = format!(
            "the prober itself stood still for {:.3} s of the step",
            total.as_secs_f64()
        );
        Blame::new(Cause::ProberStarved, Evidence::new(Source::Status, text))
    })
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

struct Case<'a> {
    record: &'a Record,
    step: &'a StepRecord,
    findings: &'a Findings,
}

impl Case<'_> {
    /// The resource as asked for directly or, failing that, as last seen.
    fn resource(&self) -> Option<&Resource> {
        match &self.findings.resource {
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

    /// The watch and a direct question differ, or the question was not answered: nothing can be said.
    fn unseen(&self) -> Option<Blame> {
        let lost = |text: &str| {
            Some(Blame::new(
                Cause::ProberWatchLost,
                Evidence::new(Source::Status, text),
            ))
        };
        match (&self.findings.secret, &self.findings.resource) {
            (Answer::Obstructed(obstacle), _) | (_, Answer::Obstructed(obstacle)) => {
                Some(of_obstacle(obstacle))
            }
            (Answer::Is(Some((uid, content))), _) if self.step.proof.holds(uid, content) => lost(
                "the Secret is there and right when asked for directly, but the watch did not show it",
            ),
            (Answer::Is(None), Answer::Is(None)) if self.step.proof == Proof::Gone => lost(
                "the resource and the Secret are gone when asked for directly, but the watch did not show it",
            ),
            _ => None,
        }
    }

    /// The Secret holds what was at no time of this run in Vault.
    fn wrong_content(&self) -> Option<Blame> {
        let Answer::Is(Some((_, content))) = &self.findings.secret else {
            return None;
        };
        let Proof::Content { expected, .. } = &self.step.proof else {
            return None;
        };
        if self.findings.earlier.contains(content) {
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

    fn reference_missing(&self) -> Option<Blame> {
        let missing = self
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
    fn told_by_operator(&self) -> Option<Blame> {
        let resource = self.resource();
        let unhealthy = resource
            .filter(|resource| resource.healthy.as_ref().is_none_or(|state| !state.ok))
            .and_then(|resource| resource.synced.as_ref())
            .filter(|state| !state.ok)
            .map(|state| state.message.as_str());
        let status = unhealthy.and_then(|message| {
            let cause = words::classify(message)?;
            Some(Blame::new(
                cause,
                Evidence::new(Source::Status, flat(message)),
            ))
        });
        if let Some(blame) = status {
            return Some(blame.and(self.warnings()));
        }
        self.findings
            .events
            .iter()
            .rev()
            .filter(|event| event.kind == "Warning")
            .find_map(|event| {
                let cause = words::classify(&event.message)?;
                Some(
                    Blame::new(cause, evidence_of(event)).and(
                        self.warnings()
                            .into_iter()
                            .filter(|other| *other != evidence_of(event)),
                    ),
                )
            })
    }

    fn vault_sealed(&self) -> Option<Blame> {
        (self.findings.vault == Answer::Is(VaultHealth::Sealed)).then(|| {
            let text = "Vault says that it is sealed";
            Blame::new(Cause::VaultSealed, Evidence::new(Source::Vault, text))
        })
    }

    fn operator_down(&self) -> Option<Blame> {
        let pods = self.findings.pods.get()?;
        if pods.iter().any(|pod| pod.ready) {
            return None;
        }
        let mut states = pods
            .iter()
            .map(|pod| Evidence::new(Source::Pod, format!("{} is {}", pod.name, pod.state)));
        let none = || Evidence::new(Source::Pod, "no pod matches `operator.podSelector`");
        Some(Blame::new(Cause::OperatorDown, states.next().unwrap_or_else(none)).and(states))
    }

    fn not_collected(&self) -> Option<Blame> {
        let left = matches!(self.findings.secret, Answer::Is(Some(_)))
            && self.findings.resource == Answer::Is(None)
            && self.step.proof == Proof::Gone;
        left.then(|| {
            let text = "the resource is gone, but the Secret that it owned is still there";
            Blame::new(Cause::NotCollected, Evidence::new(Source::Status, text))
        })
    }

    fn stale_content(&self) -> Option<Blame> {
        let Answer::Is(Some((_, content))) = &self.findings.secret else {
            return None;
        };
        let stale = matches!(self.step.proof, Proof::Content { .. })
            && self.findings.earlier.contains(content)
            && self.reconciled();
        stale.then(|| {
            let text =
                "the operator polled after the change, but the Secret still holds an earlier value";
            Blame::new(Cause::StaleContent, Evidence::new(Source::Status, text))
        })
    }

    fn finalizer_stuck(&self) -> Option<Blame> {
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

    fn resource_ignored(&self) -> Option<Blame> {
        (self.findings.others_reconciled && !self.reconciled()).then(|| {
            let text =
                "the operator reconciled another canary of this kind during the step, but not this one";
            Blame::new(Cause::ResourceIgnored, Evidence::new(Source::Status, text))
                .and(self.ready_pods())
        })
    }

    /// Nothing speaks for anyone else: the operator was told and did nothing.
    fn stalled(&self) -> Blame {
        let seconds = self.step.ended.since(self.step.started).as_secs_f64();
        let text = if self.reconciled() {
            format!("the operator reconciled the resource, without the effect, in {seconds:.1} s")
        } else {
            format!("the operator left no trace on the resource in {seconds:.1} s")
        };
        Blame::new(Cause::OperatorStalled, Evidence::new(Source::Status, text))
            .and(self.warnings())
            .and(self.ready_pods())
    }

    fn warnings(&self) -> Vec<Evidence> {
        self.findings
            .events
            .iter()
            .filter(|event| event.kind == "Warning")
            .map(evidence_of)
            .collect()
    }

    fn ready_pods(&self) -> Vec<Evidence> {
        let pods = self.findings.pods.get().map_or(&[][..], Vec::as_slice);
        pods.iter()
            .map(|pod| Evidence::new(Source::Pod, format!("{} is {}", pod.name, pod.state)))
            .collect()
    }
}

fn evidence_of(event: &crate::model::record::Event) -> Evidence {
    let times = if event.count > 1 {
        format!(" ({} times)", event.count)
    } else {
        String::new()
    };
    Evidence::new(
        Source::Event,
        format!("{}: {}{times}", event.reason, flat(&event.message)),
    )
}

/// One line of a message of several.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
