//! The moment by which an effect is due, from what is seen as it comes.

use std::time::Duration;

use super::super::promise::{EXPIRY_JITTER, SOONEST_LOOK};
use super::super::reconciles::{Completed, POLL_JITTER, Reconciles};
use crate::model::certificate::Certificate;
use crate::model::promise::Promise;
use crate::model::timeline::{Resource, Seen, Sighting};
use crate::model::{Mark, time};

/// By how much a poll may seem to come too early, as its predecessor was seen late.
const WATCH_SLACK: Duration = Duration::from_millis(100);

/// What was seen of a promise.
#[derive(Clone, Debug)]
pub(super) struct Due {
    promise: Promise,
    submitted: Mark,
    reconciles: Reconciles,
    /// The last poll before the stimulus was through.
    before: Option<Poll>,
    /// The first one after it.
    after: Option<Poll>,
    /// The last reconcile of each credential that went well, the latest last.
    well: Vec<(Option<String>, Poll)>,
    /// The credential that the status named when the stimulus was through.
    held: Option<String>,
    /// The certificate in the Secret when the stimulus was through, and since when.
    certificate: Option<(Mark, Certificate)>,
}

/// A poll that the status shows.
#[derive(Clone, Copy, Debug)]
struct Poll {
    at: Mark,
    /// The time to the next one, where the operator announced it. It patches the status at each, but announces that
    /// only when the content, or the outcome, changed.
    next: Option<Duration>,
}

impl Due {
    pub(super) fn new(promise: Promise, submitted: Mark) -> Self {
        Self {
            promise,
            submitted,
            reconciles: Reconciles::default(),
            before: None,
            after: None,
            well: Vec::new(),
            held: None,
            certificate: None,
        }
    }

    /// The same, with nothing seen yet.
    pub(super) fn anew(&self) -> Self {
        Self::new(self.promise, self.submitted)
    }

    pub(super) fn take(&mut self, sighting: &Sighting) {
        self.hold(sighting);
        if let Seen::Resource(resource) = &sighting.what
            && let Some(completed) = self.reconciles.take(sighting.at, resource)
        {
            self.polled(&completed);
        }
    }

    /// Takes in what was there when the stimulus was through, and nothing else.
    pub(super) fn hold(&mut self, sighting: &Sighting) {
        if sighting.at > self.submitted {
            return;
        }
        match &sighting.what {
            Seen::Certificate(certificate) => {
                let held = self.certificate.as_ref();
                if held.is_none_or(|(_, held)| held.serial != certificate.serial) {
                    self.certificate = Some((sighting.at, certificate.clone()));
                }
            }
            Seen::Resource(resource) => self.held = resource.credential(),
            _ => {}
        }
    }

    fn polled(&mut self, completed: &Completed<'_>) {
        let poll = Poll {
            at: completed.at,
            next: completed.horizon(),
        };
        if poll.at <= self.submitted {
            self.before = Some(poll);
        } else {
            self.after.get_or_insert(poll);
        }
        let resource: &Resource = completed.resource;
        if resource.healthy.as_ref().is_none_or(|state| state.ok) {
            let credential = resource.credential();
            self.well.retain(|(known, _)| *known != credential);
            self.well.push((credential, poll));
        }
    }

    pub(super) fn moment(&self) -> Option<Mark> {
        let due = match self.promise {
            Promise::AtOnce => return None,
            Promise::NextPoll(period) => self.next_poll(period),
            Promise::Announced { bound } => self.announced(bound),
            Promise::BeforeEnd(offset) => self.before_end(offset)?,
        };
        Some(due.max(self.submitted))
    }

    /// The last poll seen before the stimulus was through plus the time announced for the next or,
    /// where none was, plus the upper bound of its jitter. The first poll seen after the stimulus
    /// counts as one before it if it may have read Vault before the write was through.
    fn next_poll(&self, period: Duration) -> Mark {
        let next = |poll: &Poll, jitter: f64| {
            let ahead = poll.next.unwrap_or_else(|| time::share(period, jitter));
            poll.at.plus(ahead)
        };
        let before = self.before.as_ref();
        let due = before.map_or_else(
            || self.submitted.plus(time::share(period, POLL_JITTER.1)),
            |poll| next(poll, POLL_JITTER.1),
        );
        let soonest = self.submitted.plus(WATCH_SLACK);
        let under_way = before.is_none_or(|poll| next(poll, POLL_JITTER.0) <= soonest);
        let after = self.after.as_ref().filter(|_| under_way);
        after.map_or(due, |poll| next(poll, POLL_JITTER.1).max(due))
    }

    /// The last reconcile that went well plus the time announced for the next or, where none was, plus the
    /// bound. One that failed moves nothing: else an operator that only fails would never be late. Nor does one that
    /// names another credential than before the step: that is the effect, whose Secret another watch may bring later.
    fn announced(&self, bound: Duration) -> Mark {
        let last = self
            .well
            .iter()
            .rfind(|(credential, _)| self.held.is_none() || *credential == self.held);
        let (from, next) = last.map_or((self.submitted, None), |(_, poll)| (poll.at, poll.next));
        from.plus(next.unwrap_or(bound))
    }

    /// The certificate that was last seen before the step, less what the operator was asked to leave of it.
    fn before_end(&self, offset: Duration) -> Option<Mark> {
        let (at, certificate) = self.certificate.as_ref()?;
        let until = certificate.left.saturating_sub(offset).max(SOONEST_LOOK);
        Some(at.plus(time::share(until, EXPIRY_JITTER)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::due as moment_of;
    use super::*;
    use crate::model::certificate::Certificate;
    use crate::model::timeline::{Lease, Sighting, State, Timeline};

    const fn at(seconds: u64) -> Mark {
        Mark::new(Duration::from_secs(seconds))
    }

    /// A status as the operator patches it: the heartbeat, and the horizon of the last change.
    fn status(mark: Mark, heartbeat: &str, horizon: f64) -> Sighting {
        let state = |message: &str, changed: &str| {
            Some(State {
                ok: true,
                message: message.into(),
                changed: changed.into(),
            })
        };
        let what = Seen::Resource(Resource {
            generation: 1,
            last_generation: 1,
            synced: state(&format!("Secret synced, horizon={horizon}s"), "00:00"),
            healthy: state("VaultStaticSecretHealthy", heartbeat),
            back_in: Some(Duration::from_secs_f64(horizon)),
            ..Resource::default()
        });
        Sighting {
            at: mark,
            relisted: false,
            what,
        }
    }

    fn due(sightings: Vec<Sighting>, started: u64, until: u64) -> Duration {
        let timeline = sightings.into_iter().collect();
        let promise = Promise::NextPoll(Duration::from_secs(10));
        moment_of(promise, &timeline, at(started), at(until))
            .expect("a poll-driven step is due at some moment")
            .elapsed()
    }

    #[test]
    fn an_announced_horizon_is_kept_to() {
        assert_eq!(
            due(vec![status(at(1), "a", 8.5)], 5, 20),
            Duration::from_secs_f64(9.5)
        );
    }

    #[test]
    fn a_silent_poll_is_followed_by_the_upper_bound() {
        let seen = vec![status(at(1), "a", 8.5), status(at(9), "b", 8.5)];
        assert_eq!(due(seen, 12, 30), Duration::from_secs(18));
    }

    #[test]
    fn a_poll_that_may_have_been_under_way_counts_as_one_before() {
        // The poll was due at 9.5 and the write came at 10: the status seen at 11 may be that poll's.
        let seen = vec![status(at(1), "a", 8.5), status(at(11), "b", 8.5)];
        assert_eq!(due(seen, 10, 30), Duration::from_secs(20));
    }

    #[test]
    fn a_write_that_vault_held_up_is_not_the_operators_delay() {
        let timeline = [(9, "a"), (13, "b"), (17, "c")];
        let timeline = timeline.map(|(second, beat)| status(at(second), beat, 8.5));
        let due = moment_of(
            Promise::NextPoll(Duration::from_secs(5)),
            &timeline.into_iter().collect(),
            at(18),
            at(30),
        );
        assert_eq!(due, Some(Mark::new(Duration::from_millis(21_500))));
    }

    #[test]
    fn a_poll_that_must_have_read_the_new_value_moves_nothing() {
        let seen = vec![
            status(at(1), "a", 8.5),
            status(at(9), "b", 8.5),
            status(at(15), "c", 8.5),
        ];
        assert_eq!(due(seen, 10, 40), Duration::from_secs(18));
    }

    #[test]
    fn without_any_poll_the_bound_counts_from_the_stimulus() {
        assert_eq!(due(vec![], 3, 30), Duration::from_secs(12));
    }

    fn announced(sightings: Vec<Sighting>, started: u64, until: u64) -> Duration {
        let bound = Duration::from_secs(10);
        moment_of(
            Promise::Announced { bound },
            &sightings.into_iter().collect(),
            at(started),
            at(until),
        )
        .expect("what is announced is due at some moment")
        .elapsed()
    }

    #[test]
    fn the_last_word_before_the_effect_counts() {
        let seen = vec![status(at(1), "a", 8.5), status(at(9), "b", 8.5)];
        assert_eq!(announced(seen.clone(), 5, 9), Duration::from_secs_f64(9.5));
        // The second left the horizon of the first in the status: its own is not known.
        assert_eq!(announced(seen, 5, 30), Duration::from_secs(19));
        assert_eq!(announced(vec![], 5, 30), Duration::from_secs(15));
    }

    #[test]
    fn a_reconcile_that_failed_moves_nothing() {
        let mut failed = status(at(9), "b", 4.0);
        if let Seen::Resource(resource) = &mut failed.what {
            resource.healthy.as_mut().expect("a condition").ok = false;
        }
        let seen = vec![status(at(1), "a", 8.5), failed];
        assert_eq!(announced(seen, 5, 30), Duration::from_secs_f64(9.5));
    }

    #[test]
    fn a_status_that_overtakes_its_secret_moves_nothing() {
        let named = |mark, beat, id: &str| {
            let mut seen = status(at(mark), beat, 8.5);
            if let Seen::Resource(resource) = &mut seen.what {
                let lease = Lease {
                    id: id.into(),
                    duration: Duration::from_secs(10),
                    renewable: true,
                };
                resource.lease = Some(lease);
            }
            seen
        };
        let seen = vec![named(1, "a", "old"), named(9, "b", "new")];
        assert_eq!(announced(seen.clone(), 5, 10), Duration::from_secs_f64(9.5));
        // Of a resource of which no lease was known yet, any word counts.
        assert_eq!(announced(seen, 0, 10), Duration::from_secs_f64(17.5));
    }

    #[test]
    fn a_certificate_is_due_before_its_end() {
        let certificate = |mark, serial: &str, left| Sighting {
            at: mark,
            relisted: false,
            what: Seen::Certificate(Certificate {
                serial: serial.into(),
                left: Duration::from_secs(left),
                ..Certificate::default()
            }),
        };
        // Seen again, a certificate is no other; one seen after the step began is not that before it.
        let timeline = [(2, "a", 60), (4, "a", 58), (50, "b", 60)];
        let timeline = timeline.map(|(mark, serial, left)| certificate(at(mark), serial, left));
        let timeline = timeline.into_iter().collect();
        let due = |offset, submitted| {
            let promise = Promise::BeforeEnd(Duration::from_secs(offset));
            moment_of(promise, &timeline, submitted, at(99)).map(Mark::elapsed)
        };
        assert_eq!(due(10, at(5)), Some(Duration::from_millis(54_500)));
        assert_eq!(due(60, at(2)), Some(Duration::from_millis(3_050)));
        assert_eq!(due(10, at(1)), None);
    }

    #[test]
    fn what_is_due_at_once_has_no_moment() {
        let none = moment_of(Promise::AtOnce, &Timeline::default(), at(0), at(9));
        assert_eq!(none, None);
    }
}
