//! From what was seen to what is claimed: `judge` is the only door. No clock, no I/O.

mod cause;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::cause::Blame;
use crate::model::proof::Proven;
use crate::model::record::{End, LeaseState, Record, StepRecord};
use crate::model::run::{Attribution, Leases, Run, SCHEMA, StepReport};
use crate::model::{Mark, Stage, Verdict};

/// Judges a run. The verdict of the first step that did not come out well is the run's.
pub fn judge(record: &Record) -> Run {
    let steps: Vec<_> = record
        .steps
        .iter()
        .map(|step| judge_step(record, step))
        .collect();
    let result = steps
        .iter()
        .map(|step| step.result)
        .find(|result| *result != Verdict::Success)
        .unwrap_or(if steps.is_empty() {
            Verdict::Unknown
        } else {
            Verdict::Success
        });
    let count = |wanted: fn(&LeaseState) -> bool| {
        record
            .leases
            .iter()
            .filter(|(_, state)| wanted(state))
            .count()
    };
    let own: Vec<_> = record
        .steps
        .iter()
        .filter_map(|step| step.proof.after())
        .collect();
    Run {
        schema: SCHEMA.to_owned(),
        probe: record.probe.clone(),
        kind: record.kind,
        run: record.run.clone(),
        canary: record.canary.clone(),
        started: record.started,
        finished: wall(record, record.finished),
        result,
        steps,
        secret_writes: record.timeline.secret_writes(&own),
        leases: Leases {
            issued: record.leases.len(),
            revoked: count(|state| matches!(state, LeaseState::Ended)),
            leaked: count(|state| matches!(state, LeaseState::Leaked { .. })),
        },
        leftovers: record.leftovers.clone(),
    }
}

fn judge_step(record: &Record, step: &StepRecord) -> StepReport {
    let proven = match step.end {
        End::Proven => step.proof.seen(&record.timeline, step.started),
        End::TimedOut | End::Met(_) | End::Interrupted => None,
    };
    let until = proven.map_or(step.ended, |proven| proven.at);
    let due = step.promise.due(&record.timeline, step.submitted, until);
    let latency = until.since(step.started);
    let lateness = due.map(|due| until.since(due));
    let measured = lateness.unwrap_or(latency);

    let blame = blame(record, step, proven, measured);
    let result = blame
        .as_ref()
        .map_or(Verdict::Success, |blame| blame.cause.party().verdict());
    StepReport {
        step: step.step,
        result,
        started: wall(record, step.started),
        latency_seconds: latency.as_secs_f64(),
        due_seconds: due.map(|due| due.since(step.started).as_secs_f64()),
        lateness_seconds: lateness.map(|lateness| lateness.as_secs_f64()),
        within_seconds: step.within.as_secs_f64(),
        timeout_seconds: step.timeout.as_secs_f64(),
        proven: proven.is_some(),
        good: result == Verdict::Success,
        stages: stages(step, until, due),
        attribution: Attribution::None,
        operator: None,
        void: None,
        explained_ratio: None,
        moves_with: None,
        watch_delay_seconds: None,
        cause: blame.as_ref().map(|blame| blame.cause),
        party: blame.as_ref().map(|blame| blame.cause.party()),
        evidence: blame.as_ref().map(Blame::evidence).unwrap_or_default(),
    }
}

/// Whom to blame for a step, or `None` if it came out well.
fn blame(
    record: &Record,
    step: &StepRecord,
    proven: Option<Proven>,
    measured: Duration,
) -> Option<Blame> {
    match proven {
        Some(proven) => cause::of_proven(record, step, proven, measured),
        None => Some(cause::of_unproven(record, step, measured)),
    }
}

/// Splits the time from the stimulus to `until` so that the parts add up to it.
fn stages(step: &StepRecord, until: Mark, due: Option<Mark>) -> BTreeMap<Stage, f64> {
    let submitted = step.submitted.min(until);
    let waited = due.map_or(submitted, |due| due.min(until).max(submitted));
    let mut stages = BTreeMap::from([
        (Stage::Submit, submitted.since(step.started).as_secs_f64()),
        (Stage::Deliver, until.since(waited).as_secs_f64()),
    ]);
    if due.is_some() {
        stages.insert(Stage::Wait, waited.since(submitted).as_secs_f64());
    }
    stages
}

/// The wall clock at `mark`, told from the run's epoch: it can't jump within a run.
fn wall(record: &Record, mark: Mark) -> Timestamp {
    let since = SignedDuration::try_from(mark.elapsed()).unwrap_or(SignedDuration::MAX);
    record
        .started
        .saturating_add(since)
        .unwrap_or(Timestamp::MAX)
}
