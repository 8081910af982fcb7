//! The reconciles of a canary that its own timeline accounts for.

use std::time::Duration;

use crate::model::timeline::{Resource, Seen, Timeline};
use crate::model::{Mark, time};

/// The operator polls again after a share of `refreshAfter` that it draws between these two.
pub const POLL_JITTER: (f64, f64) = (0.8, 0.9);
/// A Secret that is deleted wakes the operator after a time that it draws, of this length at most.
pub const WAKE: Duration = Duration::from_millis(100);
/// The operator writes the time of a heartbeat in whole seconds: two within one can't be told apart.
const GRAIN: Duration = Duration::from_secs(1);
/// It looks at a new certificate a second later, and by so much more at the most.
const LOOK_JITTER: Duration = Duration::from_millis(150);
/// How much later than a reading a reconcile may be seen that was counted in it.
const EDGE: Duration = Duration::from_millis(5);

/// A reconcile that the operator completed, as the status shows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Completed<'a> {
    /// When it was seen.
    pub(super) at: Mark,
    /// The state that it left.
    pub(super) resource: &'a Resource,
    /// Whether the content or the outcome changed, so that the status names a new horizon.
    pub(super) announced: bool,
}

impl Completed<'_> {
    /// The time to the next one, where this one announced it.
    pub(super) fn horizon(&self) -> Option<Duration> {
        self.resource.back_in.filter(|_| self.announced)
    }
}

/// Tells the reconciles that the states of a resource show, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Reconciles(Option<Resource>);

impl Reconciles {
    /// The reconcile that the next state shows, which was seen `at` this moment, if it shows one.
    pub(super) fn take<'a>(&mut self, at: Mark, resource: &'a Resource) -> Option<Completed<'a>> {
        let before = self.0.replace(resource.clone());
        let before = before.as_ref();
        let announced = before.is_none_or(|before| before.outcome() != resource.outcome());
        let beat = before.is_some_and(|before| {
            before.healthy != resource.healthy || before.last_generation != resource.last_generation
        });
        let shown = resource.synced.is_some() && (announced || beat);
        shown.then_some(Completed {
            at,
            resource,
            announced,
        })
    }
}

/// Every reconcile that the status shows, in order.
pub(super) fn completed(timeline: &Timeline) -> impl Iterator<Item = Completed<'_>> {
    let mut reconciles = Reconciles::default();
    timeline.iter().filter_map(move |sighting| {
        let Seen::Resource(resource) = &sighting.what else {
            return None;
        };
        reconciles.take(sighting.at, resource)
    })
}

/// How many reconciles of the canary's own a window holds.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Own {
    /// Those that its resource shows: its syncs, and the one that lets it go.
    pub shown: u32,
    /// Those that may be in it besides and leave no trace.
    pub unseen: u32,
}

impl Own {
    /// Counts what a window from `from` to `to` holds.
    pub fn counted(timeline: &Timeline, from: Mark, to: Mark) -> Self {
        let mut own = Self::default();
        for completed in completed(timeline) {
            if from < completed.at && completed.at <= to {
                own.shown += 1;
            } else if to < completed.at && completed.at <= to.plus(EDGE) {
                own.unseen += 1;
            }
        }
        let mut deleting = timeline
            .resource_at(from)
            .is_some_and(|resource| resource.deleting);
        for sighting in timeline.between(from, to) {
            match &sighting.what {
                Seen::Resource(resource) if resource.deleting && !deleting => {
                    deleting = true;
                    own.shown += 1;
                }
                // What is gone is looked for once more; so it is when its Secret goes.
                Seen::ResourceGone => own.unseen += 1,
                Seen::SecretGone if deleting => own.unseen += 1,
                Seen::SecretGone if poll_meets(timeline, sighting.at) => own.unseen += 1,
                _ => {}
            }
        }
        own.unseen += looks(timeline, from, to) + quick_polls(timeline, from, to);
        own
    }

    /// How many there are at most.
    pub const fn at_most(self) -> u32 {
        self.shown.saturating_add(self.unseen)
    }
}

/// Whether a poll may fall together with what a Secret's deletion at `gone` sets off: it would put the
/// Secret back, and the other would find all well.
fn poll_meets(timeline: &Timeline, gone: Mark) -> bool {
    let last = completed(timeline)
        .take_while(|completed| completed.at <= gone)
        .last();
    last.is_some_and(|last| {
        let Some(horizon) = last.resource.back_in else {
            return false;
        };
        let (soonest, latest) = if last.announced {
            (1.0, 1.0)
        } else {
            let (least, most) = POLL_JITTER;
            (least / most, most / least)
        };
        let after = |share: f64| last.at.plus(time::share(horizon, share));
        after(soonest) <= gone.plus(WAKE).plus(EDGE) && gone <= after(latest).plus(EDGE)
    })
}

/// How many times the operator looked at a certificate that it had written a second before, and left no trace.
fn looks(timeline: &Timeline, from: Mark, to: Mark) -> u32 {
    let mut looks = 0;
    let mut last = None;
    for (at, certificate) in timeline.certificates() {
        let soonest = at.plus(GRAIN);
        let new = last.replace(&certificate.serial) != Some(&certificate.serial);
        if new && from <= soonest.plus(LOOK_JITTER) && soonest <= to {
            looks += 1;
        }
    }
    looks
}

/// How many polls may show nothing, as they come within a second of the one before.
fn quick_polls(timeline: &Timeline, from: Mark, to: Mark) -> u32 {
    let horizon = timeline
        .resource_at(to)
        .and_then(|resource| resource.back_in)
        .filter(|horizon| !horizon.is_zero() && *horizon < GRAIN);
    horizon.map_or(0, |horizon| {
        let (least, most) = POLL_JITTER;
        let polls = to.since(from).as_secs_f64() / (horizon.as_secs_f64() * least / most);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a quotient of times, which a cast saturates"
        )]
        let polls = polls.min(1e6) as u32;
        polls + 1
    })
}
