//! The status of a probe, as `/api/v1/probes` shows it.

use jiff::Timestamp;
use serde::Serialize;

use super::probe_stats::ProbeStats;
use crate::model::cause::{Cause, Party};
use crate::model::correlation::Coefficient;
use crate::model::name::{ProbeId, RunId};
use crate::model::run::Run;
use crate::model::{Kind, Step, Verdict};

/// A probe, and how it fares. All times are in seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProbeStatus {
    /// Its name.
    pub name: ProbeId,
    /// Its kind.
    pub kind: Kind,
    /// The mean time between two runs.
    pub every_seconds: f64,
    /// The objective: the share of steps that should be good.
    pub objective: f64,
    /// Its steps, in order.
    pub steps: Vec<StepStatus>,
    /// The last run, with the present verdict.
    pub last_run: Option<RunStatus>,
    /// Since when all runs had this verdict: the end of the first of them.
    pub since: Option<Timestamp>,
    /// When the last run that was a success ended.
    pub last_success: Option<Timestamp>,
    /// The last run that was a failure.
    pub last_failure: Option<RunStatus>,
}

/// A step of a probe.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepStatus {
    /// Which step.
    pub step: Step,
    /// The threshold.
    pub within_seconds: f64,
    /// What its latencies move with, the strongest first.
    pub coefficients: Vec<Coefficient>,
    /// The first of these that is more than chance explains.
    pub moves_with: Option<Coefficient>,
}

/// A run in short.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunStatus {
    /// Its ID.
    pub run: RunId,
    /// When it ended.
    pub finished: Timestamp,
    /// The verdict.
    pub result: Verdict,
    /// Why it did not come out well.
    pub cause: Option<Cause>,
    /// Whom that concerns.
    pub party: Option<Party>,
    /// What to do.
    pub advice: Option<&'static str>,
}

impl ProbeStatus {
    /// The status of the probe `name`.
    pub(super) fn new(name: &ProbeId, probe: &ProbeStats) -> Self {
        let last = |verdict| probe.last_runs.get(&verdict);
        let steps = probe.steps.values().map(|step| StepStatus {
            step: step.at.step,
            within_seconds: step.within,
            coefficients: step.coefficients.clone(),
            moves_with: step.coefficients.iter().find(|one| one.strong).copied(),
        });
        Self {
            name: name.clone(),
            kind: probe.kind,
            every_seconds: probe.every,
            objective: probe.objective,
            steps: steps.collect(),
            last_run: Verdict::ALL
                .into_iter()
                .filter_map(last)
                .max_by_key(|run| run.finished)
                .cloned(),
            since: probe.since.map(|(_, since)| since),
            last_success: last(Verdict::Success).map(|run| run.finished),
            last_failure: last(Verdict::Failure).cloned(),
        }
    }
}

impl RunStatus {
    pub(super) fn new(run: &Run) -> Self {
        let decisive = run.decisive();
        Self {
            run: run.run.clone(),
            finished: run.finished,
            result: run.result,
            cause: decisive.and_then(|step| step.cause),
            party: decisive.and_then(|step| step.party),
            advice: decisive.and_then(|step| step.cause).map(Cause::advice),
        }
    }
}
