//! The judgement, from what was seen to what is claimed: `judge` is the only door. No clock, no I/O.

mod cause;
pub mod correlation;
mod dead;
mod metrics;
mod stages;
mod words;

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::model::cause::Blame;
use crate::model::proof::Proven;
use crate::model::record::{End, LeaseState, Record, StepRecord};
use crate::model::run::{Leases, Run, SCHEMA, StepReport};
use crate::model::{Mark, Verdict};

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
            revoked: count(|state| {
                matches!(
                    state,
                    LeaseState::Ended | LeaseState::Replaced { revoked: true }
                )
            }),
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

    let told = stages::tell(record, step, proven.map(|proven| proven.at), due);
    let blame = blame(record, step, proven, measured).map(|blame| {
        let metrics = metrics::evidence(blame.cause, record, &told);
        blame.and(metrics)
    });
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
        margin_seconds: proven.and_then(|proven| margin(step, proven.at)),
        dead_seconds: dead::seconds(record, step),
        within_seconds: step.within.as_secs_f64(),
        timeout_seconds: step.timeout.as_secs_f64(),
        proven: proven.is_some(),
        good: result == Verdict::Success,
        stages: told.stages,
        attribution: told.attribution,
        operator: told.operator,
        void: told.void,
        explained_ratio: told.explained_ratio,
        moves_with: None,
        watch_delay_seconds: stages::echo(record, step).map(|delay| delay.as_secs_f64()),
        cause: blame.as_ref().map(|blame| blame.cause),
        party: blame.as_ref().map(|blame| blame.cause.party()),
        evidence: blame.as_ref().map(Blame::evidence).unwrap_or_default(),
    }
}

/// From `arrival`, of what is new, to the end of what it replaces, in seconds; negative if it came later.
fn margin(step: &StepRecord, arrival: Mark) -> Option<f64> {
    let end = step.findings.old_ends?;
    Some(end.since(arrival).as_secs_f64() - arrival.since(end).as_secs_f64())
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

/// The wall clock at `mark`, told from the run's epoch: it can't jump within a run.
fn wall(record: &Record, mark: Mark) -> Timestamp {
    let since = SignedDuration::try_from(mark.elapsed()).unwrap_or(SignedDuration::MAX);
    record
        .started
        .saturating_add(since)
        .unwrap_or(Timestamp::MAX)
}
