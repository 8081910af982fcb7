//! The metrics of a program that runs once: gauges, because its counters would always read 1.

use std::collections::BTreeMap;

use super::probe_stats::seconds;
use crate::config::Probe;
use crate::model::run::{Run, StepReport};
use crate::model::{Step, Verdict};

/// A gauge of one step of one run.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// The metric's name.
    pub name: &'static str,
    /// What it says.
    pub help: &'static str,
    /// Its labels, beside those of the step.
    pub labels: Vec<(&'static str, String)>,
    /// The value; times are in seconds.
    pub value: f64,
}

/// The gauges of a run, by step.
///
/// What a run without a verdict can't tell, and when the last success was if this run is none, is left out: whoever
/// keeps the last value of each has the truth.
pub fn gauges(probe: &Probe, run: &Run) -> BTreeMap<Step, Vec<Gauge>> {
    let mut gauges: BTreeMap<_, _> = run
        .steps
        .iter()
        .map(|report| (report.step, of_step(probe, run, report)))
        .collect();
    if let Some(last) = probe.steps.keys().next_back() {
        gauges.entry(*last).or_default().push(Gauge::new(
            "vso_probe_leftovers",
            "Objects that the last run could not remove; reported at the probe's last step.",
            super::metrics::count(run.leftovers.len()),
        ));
    }
    gauges
}

fn of_step(probe: &Probe, run: &Run, report: &StepReport) -> Vec<Gauge> {
    let ended = seconds(run.finished);
    let verdict = report.result != Verdict::Unknown;
    let success = report.result == Verdict::Success;
    let told = |told: bool, name, help, value| told.then(|| Gauge::new(name, help, value));
    let failure = report.cause.filter(|_| report.result == Verdict::Failure);
    let mut gauges: Vec<_> = [
        told(
            verdict,
            "vso_probe_success",
            "Whether the last run with a verdict succeeded (1) or failed (0).",
            f64::from(u8::from(success)),
        ),
        told(
            verdict,
            "vso_probe_last_latency_seconds",
            "Time from the request to the proof of its effect, or to its timeout, in seconds, in the last run with a verdict.",
            report.latency_seconds,
        ),
        told(
            verdict && report.lateness_seconds.is_some(),
            "vso_probe_last_lateness_seconds",
            "Time from the poll that the operator announced to the proof of the effect, or to the timeout, in seconds, in the last run with a verdict.",
            report.lateness_seconds.unwrap_or_default(),
        ),
        told(
            true,
            "vso_probe_last_run_timestamp_seconds",
            "When the last run ended, in Unix time.",
            ended,
        ),
        told(
            success,
            "vso_probe_last_success_timestamp_seconds",
            "When the last successful run ended, in Unix time.",
            ended,
        ),
        told(
            true,
            "vso_probe_interval_seconds",
            "The mean time between two runs, in seconds.",
            probe.every.as_secs_f64(),
        ),
        told(
            true,
            "vso_probe_slo_threshold_seconds",
            "The threshold of a step in seconds: for its lateness if it is poll-driven, else for its latency.",
            report.within_seconds,
        ),
        told(
            true,
            "vso_probe_slo_objective_ratio",
            "The objective: the share of steps that should be good.",
            probe.objective,
        ),
    ]
    .into_iter()
    .flatten()
    .collect();
    gauges.extend(failure.map(|cause| Gauge {
        name: "vso_probe_last_failure_info",
        help: "The last failure: its run, cause and responsible party.",
        labels: vec![
            ("run", run.run.to_string()),
            ("cause", cause.as_str().to_owned()),
            ("party", cause.party().as_str().to_owned()),
        ],
        value: 1.0,
    }));
    gauges
}

impl Gauge {
    fn new(name: &'static str, help: &'static str, value: f64) -> Self {
        Self {
            name,
            help,
            labels: Vec::new(),
            value,
        }
    }
}
