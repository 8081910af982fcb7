//! The figures of one probe, step by step. They live as long as the probe is configured.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::histogram::{Distribution, edges};
use super::label::At;
use super::status::RunStatus;
use crate::config::Probe;
use crate::model::cause::Cause;
use crate::model::correlation::Coefficient;
use crate::model::name::RunId;
use crate::model::run::{Run, StepReport};
use crate::model::snapshot::Void;
use crate::model::{Kind, Stage, Step, Verdict};

/// What is counted of one probe.
#[derive(Debug)]
pub(super) struct ProbeStats {
    pub(super) kind: Kind,
    pub(super) every: f64,
    pub(super) objective: f64,
    pub(super) steps: BTreeMap<Step, StepStats>,
    /// How often the canaries' Secrets were seen to be written, over whole runs.
    pub(super) secret_writes: u64,
    /// Leases that outlived their resource, over whole runs.
    pub(super) leaked_leases: u64,
    /// What the last run could not remove.
    pub(super) leftovers: usize,
    pub(super) skipped_runs: u64,
    /// How long after it was due the last run began.
    pub(super) lag: f64,
    /// By verdict, the last run that had it.
    pub(super) last_runs: BTreeMap<Verdict, RunStatus>,
    /// The present verdict, and since when there was no other.
    pub(super) since: Option<(Verdict, Timestamp)>,
}

/// What is counted of one step.
#[derive(Debug)]
pub(super) struct StepStats {
    pub(super) at: At,
    pub(super) within: f64,
    /// What was not proven is observed at no less: above every finite edge of the latency.
    beyond: f64,
    pub(super) success: bool,
    /// Unix seconds; 0 if never.
    pub(super) last_run: f64,
    /// Unix seconds; 0 if never.
    pub(super) last_success: f64,
    pub(super) runs: BTreeMap<Verdict, u64>,
    pub(super) failures: BTreeMap<Cause, u64>,
    pub(super) judged: u64,
    pub(super) good: u64,
    pub(super) latency: Distribution,
    /// Of a step whose stimulus is watched.
    pub(super) sync: Option<Distribution>,
    /// Of a poll-driven step.
    pub(super) lateness: Option<Distribution>,
    pub(super) stages: BTreeMap<Stage, Distribution>,
    pub(super) voids: BTreeMap<Void, u64>,
    pub(super) explained: Option<f64>,
    /// Of the last rotation, in seconds.
    pub(super) margin: Option<f64>,
    pub(super) last_failure: Option<(RunId, Cause)>,
    pub(super) coefficients: Vec<Coefficient>,
}

impl ProbeStats {
    /// Everything at 0.
    pub(super) fn new(probe: &Probe) -> Self {
        let mut new = Self {
            kind: probe.target.kind(),
            every: 0.0,
            objective: 0.0,
            steps: BTreeMap::new(),
            secret_writes: 0,
            leaked_leases: 0,
            leftovers: 0,
            skipped_runs: 0,
            lag: 0.0,
            last_runs: BTreeMap::new(),
            since: None,
        };
        new.configure(probe);
        new
    }

    /// Goes by another configuration from now on: the steps that stay keep what was counted.
    pub(super) fn configure(&mut self, probe: &Probe) {
        let kind = probe.target.kind();
        if kind != self.kind {
            *self = Self::new(probe);
            return;
        }
        self.every = probe.every.as_secs_f64();
        self.objective = probe.objective;
        self.steps.retain(|step, _| probe.steps.contains_key(step));
        for (step, within) in &probe.steps {
            let ahead = probe.target.longest_wait(*step);
            let beyond = probe.timeout.saturating_add(ahead);
            let (within, beyond) = (within.as_secs_f64(), beyond.as_secs_f64());
            let timeout = probe.timeout.as_secs_f64();
            self.steps
                .entry(*step)
                .or_insert_with(|| {
                    let at = At {
                        probe: probe.name.clone(),
                        kind,
                        step: *step,
                    };
                    StepStats::new(at, within, timeout, beyond)
                })
                .configure(within, timeout, beyond);
        }
    }

    /// Takes in a run.
    pub(super) fn fold(&mut self, run: &Run, mut correlations: BTreeMap<Step, Vec<Coefficient>>) {
        self.secret_writes += run.secret_writes as u64;
        self.leaked_leases += run.leases.leaked as u64;
        self.leftovers = run.leftovers.len();
        self.ended(run);
        for report in &run.steps {
            if let Some(step) = self.steps.get_mut(&report.step) {
                step.fold(run, report);
                step.coefficients = correlations.remove(&report.step).unwrap_or_default();
            }
        }
    }

    /// Recalls a run of an earlier process.
    pub(super) fn recall(&mut self, run: &Run) {
        self.ended(run);
        for report in &run.steps {
            if let Some(step) = self.steps.get_mut(&report.step) {
                step.recall(run, report);
            }
        }
    }

    fn ended(&mut self, run: &Run) {
        self.last_runs.insert(run.result, RunStatus::new(run));
        if self.since.is_none_or(|(verdict, _)| verdict != run.result) {
            self.since = Some((run.result, run.finished));
        }
    }

    /// The last step, which stands for the run as a whole.
    pub(super) fn last(&self) -> Option<&StepStats> {
        self.steps.values().next_back()
    }
}

impl StepStats {
    fn new(at: At, within: f64, timeout: f64, beyond: f64) -> Self {
        let (poll_driven, watched) = (at.step.poll_driven(), at.step.echoes());
        Self {
            at,
            within,
            beyond,
            success: false,
            last_run: 0.0,
            last_success: 0.0,
            runs: Verdict::ALL
                .into_iter()
                .map(|verdict| (verdict, 0))
                .collect(),
            failures: Cause::ALL.iter().map(|cause| (*cause, 0)).collect(),
            judged: 0,
            good: 0,
            latency: Distribution::new(edges(within, beyond)),
            sync: watched.then(|| Distribution::new(edges(within, beyond))),
            lateness: poll_driven.then(|| Distribution::new(edges(within, timeout))),
            stages: Stage::ALL
                .into_iter()
                .map(|stage| (stage, Distribution::new(edges(within, beyond))))
                .collect(),
            voids: Void::ALL.into_iter().map(|void| (void, 0)).collect(),
            explained: None,
            margin: None,
            last_failure: None,
            coefficients: Vec::new(),
        }
    }

    fn configure(&mut self, within: f64, timeout: f64, beyond: f64) {
        self.within = within;
        self.beyond = beyond;
        self.latency.set_edges(edges(within, beyond));
        for stage in self.stages.values_mut().chain(&mut self.sync) {
            stage.set_edges(edges(within, beyond));
        }
        if let Some(lateness) = &mut self.lateness {
            lateness.set_edges(edges(within, timeout));
        }
    }

    /// Takes in when the step was last taken, and what came of it.
    fn recall(&mut self, run: &Run, report: &StepReport) {
        let ended = seconds(run.finished);
        self.last_run = ended;
        match report.result {
            // No verdict on the operator, so neither a success nor a failure of it.
            Verdict::Unknown => {}
            Verdict::Success => {
                self.success = true;
                self.last_success = ended;
            }
            Verdict::Failure => {
                self.success = false;
                self.last_failure = report.cause.map(|cause| (run.run.clone(), cause));
            }
        }
    }

    fn fold(&mut self, run: &Run, report: &StepReport) {
        self.recall(run, report);
        *self.runs.entry(report.result).or_default() += 1;
        if let Some(cause) = report.cause {
            *self.failures.entry(cause).or_default() += 1;
        }
        if let Some(void) = report.void {
            *self.voids.entry(void).or_default() += 1;
        }
        self.explained = report.explained_ratio.or(self.explained);
        if report.result != Verdict::Unknown {
            self.margin = report.margin_seconds.or(self.margin);
            self.judged += 1;
            self.good += u64::from(report.good);
            self.measure(run, report);
        }
    }

    /// Observes the times. What was given up is observed where no finite bucket has it: an operator that fails
    /// must not better its own quantiles.
    fn measure(&mut self, run: &Run, report: &StepReport) {
        let given_up = |seconds: f64, limit: f64| {
            if report.proven {
                seconds
            } else {
                seconds.max(limit)
            }
        };
        let due = report.due_seconds.unwrap_or_default();
        let limit = (due + report.timeout_seconds).max(self.beyond);
        let latency = given_up(report.latency_seconds, limit);
        self.latency.observe(latency, &run.run, run.finished);
        if let Some((distribution, sync)) = self.sync.as_ref().zip(report.sync_seconds) {
            distribution.observe(given_up(sync, limit), &run.run, run.finished);
        }
        if let Some(distribution) = &self.lateness {
            let lateness = report.lateness_seconds.unwrap_or_default();
            let lateness = given_up(lateness, report.timeout_seconds);
            distribution.observe(lateness, &run.run, run.finished);
        }
        for (stage, seconds) in &report.stages {
            if let Some(distribution) = self.stages.get(stage) {
                distribution.observe(*seconds, &run.run, run.finished);
            }
        }
    }
}

/// A moment in Unix seconds.
pub(super) fn seconds(moment: Timestamp) -> f64 {
    moment.as_duration().as_secs_f64()
}
