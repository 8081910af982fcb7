//! The operator's promises: the moment by which it is to have acted, by its polls, by what it announces, and by the jitter
//! of both.

use std::time::Duration;

use super::reconciles::{self, POLL_JITTER};
use crate::model::promise::Promise;
use crate::model::timeline::{Resource, Timeline};
use crate::model::{Mark, time};

/// By how much a poll may seem to come too early, as its predecessor was seen late.
const WATCH_SLACK: Duration = Duration::from_millis(100);

/// The share of a lease's duration after which the operator renews it, in percent, where a resource says nothing.
pub const RENEWAL_PERCENT: u8 = 67;
/// The largest share that it heeds.
const RENEWAL_PERCENT_CAP: u8 = 90;
/// It draws the moment from that share and this much more of the duration.
pub(super) const RENEWAL_JITTER: f64 = 0.1;
/// The operator replaces a certificate so much of the time until then later than it was asked to, at most.
const EXPIRY_JITTER: f64 = 1.05;
/// It looks at a certificate no sooner than so long after the last time.
pub(super) const SOONEST_LOOK: Duration = Duration::from_secs(1);

/// The longest that the operator may wait before it renews or replaces a lease of this duration.
pub fn renewal_bound(duration: Duration, percent: Option<u8>) -> Duration {
    let percent = percent.unwrap_or(RENEWAL_PERCENT).min(RENEWAL_PERCENT_CAP);
    time::share(duration, f64::from(percent) / 100.0 + RENEWAL_JITTER)
}

/// The latest moment that a promise allows, given what was seen until `until` (the proof, or now); `None` if the effect
/// is due at once. Never before the stimulus was `submitted`.
pub fn due(promise: Promise, timeline: &Timeline, submitted: Mark, until: Mark) -> Option<Mark> {
    let due = match promise {
        Promise::AtOnce => return None,
        Promise::NextPoll(period) => next_poll(period, timeline, submitted, until),
        Promise::Announced { bound } => announced(bound, timeline, submitted, until),
        Promise::BeforeEnd(offset) => before_end(offset, timeline, submitted)?,
    };
    Some(due.max(submitted))
}

/// The last poll seen before the stimulus was through plus the horizon announced for the next or,
/// where none was, plus the upper bound of its jitter. The first poll seen after the stimulus
/// counts as one before it if it may have read Vault before the write was through.
fn next_poll(period: Duration, timeline: &Timeline, submitted: Mark, until: Mark) -> Mark {
    let next = |poll: &Poll, jitter: f64| {
        poll.at
            .plus(poll.horizon.unwrap_or_else(|| time::share(period, jitter)))
    };
    let polls = polls(timeline, until);
    let before = polls.iter().rfind(|poll| poll.at <= submitted);
    let due = before.map_or_else(
        || submitted.plus(time::share(period, POLL_JITTER.1)),
        |poll| next(poll, POLL_JITTER.1),
    );
    let in_flight = polls.iter().find(|poll| poll.at > submitted).filter(|_| {
        before.is_none_or(|poll| next(poll, POLL_JITTER.0) <= submitted.plus(WATCH_SLACK))
    });
    in_flight.map_or(due, |poll| next(poll, POLL_JITTER.1).max(due))
}

/// The last reconcile that went well plus the horizon announced for the next or, where none was, plus the
/// bound. One that failed moves nothing: else an operator that only fails would never be late. Nor does one that
/// names another lease than before the step: that is the effect, whose Secret another watch may bring later.
fn announced(bound: Duration, timeline: &Timeline, submitted: Mark, until: Mark) -> Mark {
    let held = timeline.resource_at(submitted).and_then(Resource::lease_id);
    let last = polls(timeline, until)
        .into_iter()
        .rfind(|poll| poll.ok && (held.is_none() || poll.lease == held));
    let (from, horizon) = last.map_or((submitted, None), |poll| (poll.at, poll.horizon));
    from.plus(horizon.unwrap_or(bound))
}

/// The certificate that was last seen before the step, less what the operator was asked to leave of it.
fn before_end(offset: Duration, timeline: &Timeline, submitted: Mark) -> Option<Mark> {
    let (at, certificate) = timeline.certificate_at(submitted)?;
    let until = certificate.left.saturating_sub(offset).max(SOONEST_LOOK);
    Some(at.plus(time::share(until, EXPIRY_JITTER)))
}

/// A poll that the status shows.
struct Poll<'a> {
    at: Mark,
    /// The time to the next one, where the operator announced it.
    horizon: Option<Duration>,
    /// Whether the operator found all well.
    ok: bool,
    lease: Option<&'a str>,
}

/// Every poll seen before `until`. The operator patches the status at each, but announces a horizon
/// only when the content, or the outcome, changed.
fn polls(timeline: &Timeline, until: Mark) -> Vec<Poll<'_>> {
    reconciles::completed(timeline)
        .take_while(|completed| completed.at < until)
        .map(|completed| Poll {
            at: completed.at,
            horizon: completed.horizon(),
            ok: completed
                .resource
                .healthy
                .as_ref()
                .is_none_or(|state| state.ok),
            lease: completed.resource.lease_id(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::certificate::Certificate;
    use crate::model::timeline::{Lease, Seen, Sighting, State};

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
        super::due(promise, &timeline, at(started), at(until))
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
        let due = super::due(
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
        super::due(
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
            super::due(promise, &timeline, submitted, at(99)).map(Mark::elapsed)
        };
        assert_eq!(due(10, at(5)), Some(Duration::from_millis(54_500)));
        assert_eq!(due(60, at(2)), Some(Duration::from_millis(3_050)));
        assert_eq!(due(10, at(1)), None);
    }

    #[test]
    fn what_is_due_at_once_has_no_moment() {
        let none = super::due(Promise::AtOnce, &Timeline::default(), at(0), at(9));
        assert_eq!(none, None);
    }

    #[test]
    fn a_renewal_is_due_within_its_window() {
        let lease = Duration::from_secs(100);
        assert_eq!(renewal_bound(lease, None), Duration::from_secs(77));
        assert_eq!(renewal_bound(lease, Some(50)), Duration::from_secs(60));
        assert_eq!(renewal_bound(lease, Some(99)), lease);
    }
}
