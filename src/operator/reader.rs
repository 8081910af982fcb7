//! The reader of a step, which takes what is seen as it comes: whether the proof was seen, whether it can't be any more,
//! and when the effect is due. The prober waits by it, and the account is read with it.

mod due;

use std::collections::BTreeSet;

use crate::model::Mark;
use crate::model::certificate::Certificate;
use crate::model::promise::Promise;
use crate::model::proof::{Proof, Proven};
use crate::model::text::Text;
use crate::model::timeline::{Content, Resource, Seen, Sighting, Timeline};
use due::Due;

/// Reads what is seen of a step, sighting by sighting, in order of time.
#[derive(Clone, Debug)]
pub struct Reader {
    effect: Effect,
    due: Due,
}

impl Reader {
    /// Reads a step that was begun at `started`, whose stimulus was through at `submitted`; nothing was seen yet.
    pub fn new(proof: &Proof, promise: Promise, started: Mark, submitted: Mark) -> Self {
        Self {
            effect: Effect::new(proof, started),
            due: Due::new(promise, submitted),
        }
    }

    /// Reads anew, all that was seen.
    #[must_use]
    pub fn again(&self, timeline: &Timeline) -> Self {
        let mut again = Self {
            effect: self.effect.anew(),
            due: self.due.anew(),
        };
        timeline.iter().for_each(|sighting| again.take(sighting));
        again
    }

    /// Takes in what was seen next, before the step too.
    pub fn take(&mut self, sighting: &Sighting) {
        self.effect.take(sighting);
        self.due.take(sighting);
    }

    /// When the proof was seen.
    pub fn effect(&self) -> Option<Proven> {
        self.effect.proven()
    }

    /// Whether the Secret holds what the prober is not known to have been given, where that would be the proof.
    pub fn asks(&self) -> bool {
        self.effect.asks()
    }

    /// Whether the proof can't be seen any more: the lease that was to be prolonged was replaced.
    pub fn foiled(&self) -> bool {
        self.effect.foiled
    }

    /// The latest moment that the promise allows, by what was seen; `None` if the effect is due at once. Never before
    /// the stimulus was through.
    pub fn due(&self) -> Option<Mark> {
        self.due.moment()
    }
}

/// When the proof of a step that was begun at `started` was seen.
pub fn effect(proof: &Proof, timeline: &Timeline, started: Mark) -> Option<Proven> {
    Effect::read(proof, timeline, started).proven()
}

/// The latest moment that a promise allows, given what was seen until `until` (the proof, or now); `None` if the effect
/// is due at once. Never before the stimulus was `submitted`.
pub fn due(promise: Promise, timeline: &Timeline, submitted: Mark, until: Mark) -> Option<Mark> {
    let mut due = Due::new(promise, submitted);
    for sighting in timeline.iter() {
        if sighting.at < until {
            due.take(sighting);
        } else {
            due.hold(sighting);
        }
    }
    due.moment()
}

/// What was seen of the proof of a step.
#[derive(Clone, Debug)]
pub(super) struct Effect {
    proof: Proof,
    started: Mark,
    /// Whether the Secret was seen with what the effect puts an end to, where there is such a thing.
    changed: bool,
    /// The last Secret, or resource, that is the proof as far as it alone can tell.
    latest: Option<Proven>,
    /// The first of these that counts.
    first: Option<Proven>,
    /// When the other was gone, where both must be.
    other: Option<Proven>,
    /// Every lease that the status named, each once.
    leases: Vec<String>,
    /// The certificate in the Secret when the step began.
    before: Option<Certificate>,
    /// The certificates that are the proof if the status names them.
    certificates: Vec<(Text, Proven)>,
    /// Every serial number that the status named.
    named: BTreeSet<String>,
    /// What the Secret held in the step, where what Vault gives is the proof.
    held: Vec<(Content, Proven)>,
    /// What Vault gave, before the step too.
    given: Vec<Content>,
    /// Whether the proof can't be seen any more.
    pub(super) foiled: bool,
}

impl Effect {
    fn new(proof: &Proof, started: Mark) -> Self {
        Self {
            changed: proof.after().is_none(),
            proof: proof.clone(),
            started,
            latest: None,
            first: None,
            other: None,
            leases: Vec::new(),
            before: None,
            certificates: Vec::new(),
            named: BTreeSet::new(),
            held: Vec::new(),
            given: Vec::new(),
            foiled: false,
        }
    }

    /// The same, with nothing seen yet.
    fn anew(&self) -> Self {
        Self::new(&self.proof, self.started)
    }

    /// What a whole timeline shows of it.
    pub(super) fn read(proof: &Proof, timeline: &Timeline, started: Mark) -> Self {
        let mut effect = Self::new(proof, started);
        timeline.iter().for_each(|sighting| effect.take(sighting));
        effect
    }

    fn take(&mut self, sighting: &Sighting) {
        let later = sighting.at > self.started;
        let now = Proven {
            at: sighting.at,
            relisted: sighting.relisted,
        };
        if matches!(sighting.what, Seen::Secret { .. }) && self.proof == Proof::Gone {
            self.other = None;
        }
        match &sighting.what {
            Seen::Secret { content, .. } if later && matches!(self.proof, Proof::Given { .. }) => {
                self.hold(content, now);
            }
            Seen::Given(given) if !self.given.contains(&given.content) => {
                self.given.push(given.content.clone());
            }
            Seen::Secret { uid, content } if later => {
                if self.proof.holds(uid, content) {
                    self.right(now);
                }
                if !self.changed && self.proof.after() == Some(content) {
                    self.changed = true;
                    // What is of the same moment counts.
                    self.first = self.latest.filter(|latest| latest.at == now.at);
                }
            }
            Seen::Certificate(certificate) => self.certified(certificate, now),
            Seen::Resource(resource) => self.told(resource, later.then_some(now)),
            Seen::ResourceGone if later && self.proof == Proof::Gone => {
                self.first.get_or_insert(now);
            }
            // Gone is gone, be it before the step: somebody else may have removed it.
            Seen::SecretGone if self.proof == Proof::Gone => {
                self.other.get_or_insert(now);
            }
            _ => {}
        }
    }

    /// A Secret has this content from now on.
    fn hold(&mut self, content: &Content, now: Proven) {
        if self.held.last().is_none_or(|(last, _)| last != content) {
            self.held.push((content.clone(), now));
        }
    }

    /// A Secret has the content of the proof.
    fn right(&mut self, now: Proven) {
        if self.latest.is_none_or(|latest| latest.at != now.at) {
            self.latest = Some(now);
        }
        if self.changed {
            self.first.get_or_insert(now);
        }
    }

    fn certified(&mut self, certificate: &Certificate, now: Proven) {
        if now.at <= self.started {
            let before = self.before.as_ref();
            if before.is_none_or(|before| before.serial != certificate.serial) {
                self.before = Some(certificate.clone());
            }
            return;
        }
        let before = self.before.as_ref();
        let outlasts = before.is_none_or(|before| before.not_after < certificate.not_after);
        if self.proof == Proof::Certificate && certificate.is_right() && outlasts {
            self.certificates.push((certificate.serial.clone(), now));
        }
    }

    /// The resource has a status, at `now` if that is later than the beginning.
    fn told(&mut self, resource: &Resource, now: Option<Proven>) {
        if let Some(serial) = &resource.serial
            && self.proof == Proof::Certificate
        {
            self.named.insert(serial.clone());
        }
        let Some(named) = &resource.lease else {
            return;
        };
        if self.leases.iter().all(|known| *known != named.id) {
            self.leases.push(named.id.clone());
        }
        let (Some(now), Proof::Prolonged { lease, renewed }) = (now, &self.proof) else {
            return;
        };
        if named.id != *lease {
            self.foiled = true;
        } else if resource.renewed > *renewed {
            self.first.get_or_insert(now);
        }
    }

    /// Whether the Secret holds what Vault is not known to have given.
    fn asks(&self) -> bool {
        let held = self.held.last();
        held.is_some_and(|(held, _)| !self.given.iter().any(|given| held.covers(given)))
    }

    pub(super) fn proven(&self) -> Option<Proven> {
        match &self.proof {
            Proof::Content { .. } | Proof::Prolonged { .. } => self.first,
            // The status follows the Secret; the application has its credential before.
            Proof::Credential { .. } => self.first.filter(|_| !self.leases.is_empty()),
            Proof::Replaced { lease, .. } => {
                let last = self.leases.last();
                self.first
                    .filter(|_| last.is_some_and(|last| last != lease))
            }
            Proof::Certificate => {
                let mut right = self.certificates.iter();
                let named = |serial: &Text| self.named.contains(serial.as_str());
                let first = right.find(|(serial, _)| named(serial))?;
                Some(first.1)
            }
            Proof::Given { .. } => {
                let is_given = |held| {
                    let mut given = self.given.iter();
                    given.any(|given| self.proof.is_given(held, given))
                };
                let first = self.held.iter().find(|(held, _)| is_given(held))?;
                Some(first.1)
            }
            Proof::Gone => {
                let (resource, secret) = (self.first?, self.other?);
                Some(Proven {
                    at: resource.at.max(secret.at),
                    relisted: resource.relisted || secret.relisted,
                })
            }
        }
    }
}
