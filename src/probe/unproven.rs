//! The record of a step, or a run, that ends by an obstacle of the prober's own, bugs included.

use std::time::Duration;

use jiff::Timestamp;

use crate::canary::{Canary, Planned};
use crate::model::Mark;
use crate::model::record::{End, Findings, Hindrance, Obstacle, Peer, Record, StepRecord};
use crate::model::run::Context;
use crate::model::time::Moment as _;
use crate::model::timeline::Timeline;
use crate::model::trace::VaultLog;
use crate::panic::Panic;

/// What a bug of the prober's own is to a run.
pub fn own(panic: &Panic) -> Obstacle {
    Obstacle::new(Peer::Prober, Hindrance::Failed, panic.to_string())
}

/// A step that an obstacle of the prober's own kept from being proven, or from being taken.
pub(super) fn unproven(
    canary: &Canary,
    planned: &Planned,
    started: Mark,
    ended: Mark,
    obstacle: Obstacle,
) -> StepRecord {
    StepRecord {
        step: planned.step,
        within: planned.within,
        timeout: planned.timeout,
        proof: canary.proof(planned.step, &Timeline::default()),
        promise: planned.promise,
        started,
        submitted: ended,
        ended,
        left: ended,
        end: End::Met(obstacle),
        findings: Findings::default(),
    }
}

/// A record of a run that could not be begun, as the prober itself met an obstacle.
pub fn not_begun(canary: &Canary, obstacle: Obstacle, waited: Duration) -> Record {
    let ended = Mark::new(waited);
    let first = canary.plan.first();
    let steps = first.map(|first| unproven(canary, first, Mark::default(), ended, obstacle));
    Record {
        probe: canary.probe.clone(),
        kind: canary.kind(),
        run: canary.run.clone(),
        canary: canary.object(),
        context: Context::default(),
        started: Timestamp::now().earlier(waited),
        finished: ended,
        steps: steps.into_iter().collect(),
        timeline: Timeline::default(),
        readings: Vec::new(),
        connection: None,
        vault_log: VaultLog::default(),
        leases: Vec::new(),
        leftovers: Vec::new(),
    }
}
