//! The count of the Secret's writes, and what explains them: the operator's schedule, edits, and generations.

use super::super::promise::{RENEWAL_JITTER, SOONEST_LOOK};
use super::super::reconciles::POLL_JITTER;
use super::{own_contents, static_role};
use crate::model::account::Writes;
use crate::model::promise::Promise;
use crate::model::proof::Proof;
use crate::model::record::{Record, StepRecord};
use crate::model::timeline::Seen;
use crate::model::{Mark, Step, time};

/// The writes up to a moment, and how many are explained: the first, one whenever the resource's generation
/// moved or its Secret was deleted, and one for each time that the operator may have come back by itself.
pub(super) fn until(record: &Record, to: Mark) -> Writes {
    let own = own_contents(record);
    let put_back = |step: &&StepRecord| step.step == Step::Recreate && step.started <= to;
    let put_back = record.steps.iter().filter(put_back).count();
    Writes {
        seen: record.timeline.writes_between(&own, Mark::default(), to),
        explained: 1
            + generations(record, to)
            + put_back
            + returns(record, to)
            + static_role::count(record, to).saturating_sub(1),
        until: to,
    }
}

/// How often the operator may have come back by itself, at the soonest.
fn returns(record: &Record, to: Mark) -> usize {
    let leases = record.timeline.leases();
    let lease = leases.iter().map(|lease| lease.duration).min();
    let soonest = record.steps.iter().find_map(|step| match step.promise {
        Promise::AtOnce => None,
        Promise::NextPoll(period) => Some(time::share(period, POLL_JITTER.0)),
        Promise::Announced { bound } => {
            Some(bound.saturating_sub(time::share(lease?, RENEWAL_JITTER)))
        }
        // By what the first one had: one whose end is fixed leaves less and less, and is issued anew without end.
        Promise::BeforeEnd(offset) => {
            let (_, first) = record.timeline.certificates().next()?;
            Some(first.left.saturating_sub(offset).max(SOONEST_LOOK))
        }
    });
    let soonest = soonest.or_else(|| Some(time::share(lease?, RENEWAL_JITTER)));
    let elapsed = to.elapsed().as_millis();
    let times = soonest.and_then(|soonest| elapsed.checked_div(soonest.as_millis()));
    usize::try_from(times.unwrap_or_default()).unwrap_or(usize::MAX)
}

/// How often the generation of the resource moved.
fn generations(record: &Record, to: Mark) -> usize {
    let seen = record
        .timeline
        .between(Mark::default(), to)
        .filter_map(|sighting| match &sighting.what {
            Seen::Resource(resource) => Some(resource.generation),
            _ => None,
        });
    let moved = seen.max().unwrap_or(1).saturating_sub(1);
    usize::try_from(moved).unwrap_or_default()
}

/// The soonest moment at which the credential or the certificate had to be replaced that was there before a step,
/// which is `due` to be replaced at the latest then. None if somebody touched the resource, which replaces a credential.
pub(super) fn soonest(record: &Record, step: &StepRecord, due: Option<Mark>) -> Option<Mark> {
    let timeline = &record.timeline;
    match (step.promise, &step.proof) {
        (Promise::BeforeEnd(offset), _) => {
            let (seen, before) = timeline.certificate_at(step.started)?;
            Some(seen.plus(before.left.saturating_sub(offset)))
        }
        (_, Proof::Replaced { lease, .. }) => {
            let touched = generations(record, step.left) > generations(record, step.started);
            let leases = timeline.leases();
            let old = leases.iter().find(|known| known.id == *lease)?;
            let jitter = time::share(old.duration, RENEWAL_JITTER);
            let soonest = Mark::new(due?.elapsed().saturating_sub(jitter));
            Some(soonest).filter(|_| !touched)
        }
        _ => None,
    }
}
