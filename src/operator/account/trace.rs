//! The operator's requests to Vault in a step, from Vault's own log, by the run's clock.

use std::time::Duration;

use jiff::Timestamp;

use crate::model::clock::{Bound, Offset};
use crate::model::record::{Record, StepRecord};
use crate::model::time::Moment as _;
use crate::model::trace::{Call, Caller, Traced, TracedCall};
use crate::model::{Mark, Step};

/// The operations that write a secret.
const WRITES: [&str; 2] = ["create", "update"];

/// Those that brought the proof; none where the log was not asked, or can't be told by the run's clock.
pub(super) fn of(record: &Record, step: &StepRecord, proof: Option<Mark>) -> Option<Traced> {
    let proof = proof.filter(|_| step.step != Step::Delete)?;
    let wall = |mark: Mark| record.started.later(mark.elapsed());
    let mark = |at: Timestamp| {
        let since = at.duration_since(record.started);
        Mark::new(Duration::try_from(since).unwrap_or_default())
    };
    let offset = Offset::bounded(&bounds(record), wall(proof))?;
    let at = |call: &Call| mark(offset.corrected(call.asked));
    let latest = proof.plus(offset.error);
    let calls = &record.vault_log.calls;
    // What the operator read before the prober wrote was not yet what it was to bring.
    let writes = calls.iter().filter(|call| is_write(call));
    let written = writes.filter(|call| at(call) <= latest);
    let written = written.map(|call| call.asked).max()?;
    let within = |call: &&Call| {
        let at = at(call);
        call.by == Caller::Operator
            && call.asked > written
            && step.started <= at.plus(offset.error)
            && at <= latest
    };
    let requests: Vec<_> = calls
        .iter()
        .filter(within)
        .map(|call| TracedCall {
            id: call.id.clone(),
            operation: call.operation.clone(),
            // Not earlier than its step, and not after what it brought.
            at: at(call).max(step.started).min(proof),
            took: took(call),
        })
        .collect();
    (!requests.is_empty()).then_some(Traced {
        requests,
        error: offset.error,
    })
}

fn is_write(call: &Call) -> bool {
    call.by == Caller::Other && WRITES.contains(&call.operation.as_str())
}

fn took(call: &Call) -> Option<Duration> {
    let took = call.answered?.duration_since(call.asked);
    Some(Duration::try_from(took).unwrap_or_default())
}

/// How the prober's own writes bound the offset of the clocks. They are told apart by their order alone, so there must be as many
/// in the log as were made.
fn bounds(record: &Record) -> Vec<Bound> {
    let log = &record.vault_log;
    let writes: Vec<_> = log.calls.iter().filter(|call| is_write(call)).collect();
    if writes.len() != log.trips.len() {
        return Vec::new();
    }
    let trips = log.trips.iter().zip(writes);
    let bound = trips.map(|(trip, call)| {
        let wall = |mark: Mark| record.started.later(mark.elapsed());
        // The time that Vault took tells nothing of its clock.
        let took = took(call).unwrap_or_default();
        Bound {
            sent: wall(trip.sent),
            received: wall(trip.received).earlier(took),
            line: call.asked,
        }
    });
    bound.collect()
}
