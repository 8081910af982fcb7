//! The questions about a canary's leases: to Vault, and to the operator's events.

use std::time::Duration;

use kube::api::{Api, ListParams};
use kube::core::DynamicObject;

use super::clients::QUESTION_LIMIT;
use super::verify::LoginTarget;
use super::{Journey, evidence};
use crate::kubernetes;
use crate::model::promise::Promise;
use crate::model::proof::Proof;
use crate::model::record::{Answer, End, Event, Hindrance, LeaseState, Obstacle, Peer, StepRecord};
use crate::model::text::Text;
use crate::model::timeline::{Content, Seen};
use crate::model::{Kind, Mark, Step};
use crate::operator;
use crate::vault::OwnLease;
use crate::vault::lease::Life;
use crate::wire;

/// How many other resources are looked at to tell whose a lease is.
const OTHERS: u32 = 500;

impl Journey<'_> {
    /// The lease that the resource's status names, if it is of what the probe asks.
    fn own_lease(&self, id: &str) -> Result<OwnLease, Obstacle> {
        let target = self.canary.dynamic();
        let own = target.and_then(|target| self.clients.vault.own_lease(target, id));
        own.ok_or_else(|| {
            let of = target.map_or_else(String::new, |target| {
                format!("{}/{}", target.mount, target.path)
            });
            Obstacle::new(Peer::Vault, Hindrance::Denied, format!(
                    "the resource's status names lease `{id}`, which is not of `{of}`: the prober does not touch it"
                ))
        })
    }

    /// What Vault says of a lease.
    pub(super) async fn life(
        &self,
        lease: Option<&str>,
        limit: Duration,
    ) -> Result<Answer<Life>, End> {
        let Some(id) = lease else {
            return Ok(Answer::NotAsked);
        };
        let lease = match self.own_lease(id) {
            Ok(lease) => lease,
            Err(obstacle) => return Ok(Answer::Obstructed(obstacle)),
        };
        let life = self.clients.vault.lease_life(&lease);
        match self
            .bounded(Peer::Vault, "look up the lease", limit, life)
            .await
        {
            Ok(life) => Ok(Answer::Is(life)),
            Err(End::Met(obstacle)) => Ok(Answer::Obstructed(obstacle)),
            Err(end) => Err(end),
        }
    }

    /// Asks what a step leaves open: whether the credential in the Secret is good, whether the lease was
    /// really prolonged, when the one before ends, and when the operator had said that it would be back.
    /// `before` is what Vault said of the lease before the step.
    pub(super) async fn examine(
        &self,
        step: &mut StepRecord,
        before: Answer<Life>,
        door: Option<&LoginTarget>,
    ) -> Result<(), End> {
        if self.canary.kind() != Kind::Dynamic || step.step == Step::Delete {
            return Ok(());
        }
        let lease = self.timeline.leases().last().map(|lease| lease.id.clone());
        let life = self.life(lease.as_deref(), step.timeout).await?;
        step.findings.lease = match &life {
            Answer::NotAsked => Answer::NotAsked,
            Answer::Is(life) => Answer::Is(life.lives()),
            Answer::Obstructed(obstacle) => Answer::Obstructed(obstacle.clone()),
        };
        if let Some(door) = door {
            let once = self.bounded(Peer::Postgres, "log in", step.timeout, async {
                Ok(door.try_login().await)
            });
            match once.await {
                Ok(once) => step.findings.logins.extend(once),
                Err(End::Met(_)) => {}
                Err(end) => return Err(end),
            }
        }
        if step.end != End::Proven {
            return Ok(());
        }
        match &step.proof {
            Proof::Prolonged { .. } => step.findings.prolonged = prolonged(before, life),
            Proof::Replaced { lease, old, .. } => {
                step.findings.old_ends = self.end_of(lease, old, step.timeout).await?;
            }
            Proof::Content { .. }
            | Proof::Credential { .. }
            | Proof::Certificate
            | Proof::Given { .. }
            | Proof::Gone => {}
        }
        if let Some(bound) = self.announced(step).await {
            step.promise = Promise::Announced { bound };
        }
        Ok(())
    }

    /// When a lease whose credential was `content` comes to its end: as Vault tells or, if it is over there, as
    /// the status did.
    async fn end_of(
        &self,
        lease: &str,
        content: &Content,
        limit: Duration,
    ) -> Result<Option<Mark>, End> {
        if let Answer::Is(Life::Lives(term)) = self.life(Some(lease), limit).await?
            && let Some(whole) = term.whole
            && let Some((arrival, _)) = self.timeline.stay(content)
        {
            return Ok(Some(arrival.plus(whole)));
        }
        let granted = self.terms(lease).last().copied();
        Ok(granted.map(|(at, duration)| at.plus(duration)))
    }

    /// When the status showed that a lease had been issued or prolonged, and for how long.
    fn terms(&self, lease: &str) -> Vec<(Mark, Duration)> {
        let mut last = None;
        let granted = self.timeline.iter().filter_map(|sighting| {
            let Seen::Resource(resource) = &sighting.what else {
                return None;
            };
            let named = resource.lease.as_ref().filter(|named| named.id == lease)?;
            (last.replace(resource.renewed) != Some(resource.renewed))
                .then_some((sighting.at, named.duration))
        });
        granted.collect()
    }

    /// The time after which the operator had said, in an event, that it would be back for the lease of a step.
    async fn announced(&self, step: &StepRecord) -> Option<Duration> {
        let lease = step.proof.lease()?;
        let proven = operator::effect(&step.proof, &self.timeline, step.started)?;
        let before = self.terms(lease);
        let before = before.iter().filter(|(at, _)| *at < proven.at).count();
        let events = self.events().await;
        // Events that are alike, or many, are told as one: then they can't be counted any more.
        if events.iter().any(|event| event.count > 1) {
            return None;
        }
        let announced: Vec<_> = events
            .iter()
            .filter(|event| operator::announces(&event.message, lease))
            .map(|event| operator::back_in(&event.message))
            .collect();
        *announced.get(before.checked_sub(1)?)?
    }

    async fn events(&self) -> Vec<Event> {
        let events = evidence::events(self.clients, self.canary, None);
        let events = wire::limited(Peer::Kubernetes, "list events", QUESTION_LIMIT, events);
        events.await.unwrap_or_else(|obstacle| {
            let error = obstacle.text;
            tracing::debug!(%error, "can't read what the operator announced");
            Vec::new()
        })
    }

    /// Every lease that the canary got, in order, and what can't be said of those that its status names and that
    /// are not of what the probe asks. The watch may have missed one that was named for a moment only; the
    /// operator's events name each, but anyone can make one up that names another canary's.
    pub(super) async fn all_leases(&self) -> (Vec<OwnLease>, Vec<(String, LeaseState)>) {
        let (mut own, mut foreign) = (Vec::new(), Vec::new());
        for lease in self.timeline.leases() {
            match self.own_lease(&lease.id) {
                Ok(lease) => own.push(lease),
                Err(obstacle) => {
                    let id = Text::new(&lease.id).as_str().to_owned();
                    foreign.push((id, LeaseState::Untold(obstacle)));
                }
            }
        }
        if self.canary.kind() == Kind::Dynamic {
            let events = self.events().await;
            let named = events.iter().filter_map(|event| {
                let id = operator::lease_in(&event.message)?;
                self.own_lease(id).ok()
            });
            let mut unseen: Vec<_> = named.filter(|lease| !own.contains(lease)).collect();
            if !unseen.is_empty() {
                let taken = self.taken().await;
                unseen.retain(|lease| taken.as_ref().is_some_and(|taken| !taken.contains(lease)));
            }
            for lease in unseen {
                if !own.contains(&lease) {
                    own.push(lease);
                }
            }
        }
        (own, foreign)
    }

    /// The leases that resources name which are there still: those of other canaries, whatever an event says. `None` if
    /// it can't be told.
    async fn taken(&self) -> Option<Vec<OwnLease>> {
        let (kind, namespace) = (self.canary.kind(), &self.canary.namespace);
        let resource = operator::api_resource(kind);
        let api =
            Api::<DynamicObject>::namespaced_with(self.clients.kube.clone(), namespace, &resource);
        let what = format!("list {}s in `{namespace}`", kind.resource());
        let listed = wire::limited(Peer::Kubernetes, &what, QUESTION_LIMIT, async {
            let listed = api.list(&ListParams::default().limit(OTHERS)).await;
            listed.map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let listed = listed.await.ok()?;
        if listed
            .metadata
            .continue_
            .is_some_and(|more| !more.is_empty())
        {
            return None;
        }
        let leases = listed.items.into_iter().filter_map(|object| {
            let lease = operator::resource(kind, object).ok()?.lease?;
            self.own_lease(&lease.id).ok()
        });
        Some(leases.collect())
    }
}

/// The leases that were replaced when their time came.
pub(super) fn replaced(steps: &[StepRecord]) -> Vec<String> {
    steps
        .iter()
        .filter(|step| step.end == End::Proven)
        .filter_map(|step| match &step.proof {
            Proof::Replaced { lease, .. } => Some(lease.clone()),
            _ => None,
        })
        .collect()
}

/// Whether a lease ends later than it did before.
fn prolonged(before: Answer<Life>, after: Answer<Life>) -> Answer<bool> {
    match (before, after) {
        (Answer::Obstructed(obstacle), _) | (_, Answer::Obstructed(obstacle)) => {
            Answer::Obstructed(obstacle)
        }
        (Answer::Is(Life::Lives(before)), Answer::Is(Life::Lives(after))) => {
            let ends = before.ends.zip(after.ends);
            ends.map_or(Answer::NotAsked, |(before, after)| {
                Answer::Is(after > before)
            })
        }
        _ => Answer::NotAsked,
    }
}
