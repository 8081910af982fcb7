//! The count of the Secret's writes against its schedule.

use std::time::Duration;

use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::promise::{Promise, RENEWAL_JITTER, SOONEST_LOOK};
use crate::model::proof::{Proof, Proven};
use crate::model::reconciles::POLL_JITTER;
use crate::model::record::{End, Record, StepRecord};
use crate::model::timeline::{Lease, Seen};
use crate::model::{Mark, Step, time};

/// So many writes more than explained are let pass: an operator that was restarted looks at once.
const TOLERANCE: usize = 1;
/// By how much more a rotation may seem early, as times are told in whole seconds.
const GRAIN: Duration = Duration::from_secs(2);

/// Counts the writes against what explains them. The step is blamed in which they became too many.
pub(super) fn counted(record: &Record, step: &StepRecord, proven: Proven) -> Option<Blame> {
    if let Some(early) = early(record, step, proven) {
        return Some(early);
    }
    let before = record
        .steps
        .iter()
        .rfind(|earlier| earlier.started < step.started);
    let (writes, explained) = count(record, step.left);
    let too_many = |(writes, explained)| writes > explained + TOLERANCE;
    let news = before.is_none_or(|before| !too_many(count(record, before.left)));
    (too_many((writes, explained)) && news).then(|| {
        let text = format!(
            "the Secret was written {writes} times in {:.1} s, but its schedule explains only {explained}",
            step.left.elapsed().as_secs_f64()
        );
        Blame::new(Cause::Churn, Evidence::new(Source::Status, text))
    })
}

/// The writes until `to`, and how many are explained: the first, one whenever the resource's generation
/// moved or its Secret was deleted, and one for each time that the operator may have come back by itself.
fn count(record: &Record, to: Mark) -> (usize, usize) {
    let own: Vec<_> = record
        .steps
        .iter()
        .filter_map(|step| step.proof.after())
        .collect();
    let writes = record.timeline.writes_between(&own, Mark::default(), to);
    let put_back = |step: &&StepRecord| step.step == Step::Recreate && step.started <= to;
    let put_back = record.steps.iter().filter(put_back).count();
    let explained = 1 + generations(record, to) + put_back + returns(record, to);
    (writes, explained)
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

/// A new credential came long before the old one had to be replaced, although nobody touched the resource.
fn early(record: &Record, step: &StepRecord, proven: Proven) -> Option<Blame> {
    let Proof::Replaced { lease, .. } = &step.proof else {
        return None;
    };
    let leases = record.timeline.leases();
    let named = |known: &&&Lease| known.id == *lease;
    let old = leases.iter().find(named)?;
    let due = step
        .promise
        .due(&record.timeline, step.submitted, proven.at)?;
    let ahead = due.since(proven.at);
    let touched = generations(record, step.left) > generations(record, step.started);
    let early = step.end == End::Proven
        && ahead.saturating_sub(GRAIN) > time::share(old.duration, RENEWAL_JITTER);
    (early && !touched).then(|| {
        let text = format!(
            "a new credential arrived {:.1} s before the old one was due to be replaced",
            ahead.as_secs_f64()
        );
        Blame::new(Cause::Churn, Evidence::new(Source::Status, text))
    })
}
