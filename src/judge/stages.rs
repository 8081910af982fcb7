//! The stages of a step's latency: from the operator's requests in Vault's log or, failing that, from its own metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::Stage;
use crate::model::account::StepAccount;
use crate::model::delta::OperatorDelta;
use crate::model::proof::Proven;
use crate::model::record::StepRecord;
use crate::model::run::Attribution;
use crate::model::snapshot::Void;

/// What is told of a step's latency.
pub(super) struct Told {
    pub(super) stages: BTreeMap<Stage, f64>,
    pub(super) attribution: Attribution,
    pub(super) operator: Option<OperatorDelta>,
    pub(super) void: Option<Void>,
    pub(super) explained_ratio: Option<f64>,
    /// Whether the operator counted more reconciles than the canary's.
    pub(super) shared: bool,
}

/// Tells where the time up to the proof, or to the step's end, went.
pub(super) fn tell(step: &StepRecord, account: &StepAccount, proven: Option<Proven>) -> Told {
    let until = proven.map_or(step.ended, |proven| proven.at);
    let asked = account.trace.as_ref().filter(|_| proven.is_some());
    let asked = asked.and_then(|trace| trace.requests.first());
    let asked = asked.map(|first| first.at.max(step.started).min(until));
    // The operator may be faster than the answer to the stimulus.
    let submitted = step.submitted.min(asked.unwrap_or(until)).min(until);
    let mut split = Split::new(until.since(step.started));
    split.take(Stage::Submit, submitted.since(step.started));
    let window = account.window.ok().flatten();
    let counted = window.map_or(Attribution::None, |window| window.attribution);
    let attribution = asked.map_or(counted, |_| Attribution::Traced);
    if let Some(asked) = asked {
        let before = asked.since(submitted);
        let wait = account.idle.min(before);
        split.take(Stage::Wait, wait);
        split.take(Stage::Queue, before.saturating_sub(wait));
        let reconcile = until.since(asked).saturating_sub(account.delivery);
        split.take(Stage::Reconcile, reconcile);
    } else if let Some(window) = window.filter(|_| counted != Attribution::None) {
        let reconcile = seconds(window.delta.reconcile_seconds * window.share);
        let reconcile = reconcile.saturating_sub(window.after_proof);
        split.take(Stage::Reconcile, reconcile);
        let queue = window.delta.queue_seconds / window.delta.queued;
        let queue = seconds(queue * window.tries);
        split.take(Stage::Queue, queue);
        let left = split.rest.saturating_sub(account.delivery);
        split.take(Stage::Wait, account.idle.min(left));
    } else if let Some(due) = account.due {
        split.take(Stage::Wait, due.min(until).since(submitted));
    }
    // What nobody delivered is no delivery.
    split.keep(if proven.is_some() {
        Stage::Deliver
    } else {
        Stage::Unexplained
    });
    let whole = until.since(step.started).as_secs_f64();
    let explained = (attribution != Attribution::None && whole > 0.0)
        .then(|| 1.0 - split.rest.as_secs_f64() / whole);
    Told {
        stages: split.stages,
        attribution,
        explained_ratio: explained,
        void: account.window.err(),
        operator: window.map(|window| window.delta),
        shared: counted == Attribution::Shared,
    }
}

/// A time, and the parts that were taken of it.
struct Split {
    rest: Duration,
    stages: BTreeMap<Stage, f64>,
}

impl Split {
    const fn new(whole: Duration) -> Self {
        Self {
            rest: whole,
            stages: BTreeMap::new(),
        }
    }

    /// Gives a stage its time, as far as there is any left.
    fn take(&mut self, stage: Stage, time: Duration) {
        let time = time.min(self.rest);
        self.rest -= time;
        self.stages.insert(stage, time.as_secs_f64());
    }

    /// Gives a stage what is left.
    fn keep(&mut self, stage: Stage) {
        self.stages.insert(stage, self.rest.as_secs_f64());
    }
}

/// A number of seconds as a time; none, for a mean of nothing, is no time.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
