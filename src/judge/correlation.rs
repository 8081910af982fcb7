//! The correlation of a step's latencies with each of the operator's signals, over a rolling window.
//!
//! It says "moves with", never "caused by": `reconcile_seconds` contains `vault_read_seconds`, so where the one
//! moves, the other does. Nor is all that moves with a latency worth a name: every signal is of work or of
//! trouble, so only what rises with the latency can have to do with it. What falls does so because the latency is
//! the time that it is told over: one reconcile over a long step is a low rate.

mod statistics;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::model::correlation::Coefficient;
use crate::model::delta::OperatorDelta;
use crate::model::run::{Run, StepReport};
use crate::model::signal::Signal;
use crate::model::{Step, Verdict};
use statistics::{Related, differences, relate};

/// How many samples a window holds.
pub const WINDOW: usize = 240;
/// From how many samples on a coefficient is told.
pub const MINIMUM: usize = 20;
/// The share of false alarms among the signals that are called strong.
const FALSE_DISCOVERIES: f64 = 0.05;
/// How far the latencies must lie apart (from the 10th to the 90th percentile) to be worth explaining, as a
/// share of the step's threshold: below it all is well whatever they move with.
const MATTERS: f64 = 0.02;

/// The latest samples of every step of every probe.
#[derive(Debug, Default)]
pub struct Windows(HashMap<String, BTreeMap<Step, VecDeque<Sample>>>);

#[derive(Clone, Debug)]
struct Sample {
    measured: f64,
    operator: OperatorDelta,
}

impl Windows {
    /// Takes in a run, and names in it what its steps' latencies most strongly move with. Returns, by step, all
    /// coefficients, the strongest first.
    ///
    /// A step that the prober could not tell gives no sample, nor one over which the operator's numbers say nothing.
    pub fn observe(&mut self, run: &mut Run) -> BTreeMap<Step, Vec<Coefficient>> {
        let windows = self.0.entry(run.probe.clone()).or_default();
        let mut all = BTreeMap::new();
        for report in &mut run.steps {
            let window = windows.entry(report.step).or_default();
            if let Some(sample) = sample(report) {
                if window.len() == WINDOW {
                    window.pop_front();
                }
                window.push_back(sample);
            }
            let coefficients = window_of(window, report.within_seconds);
            report.moves_with = coefficients.iter().find(|one| one.strong).copied();
            all.insert(report.step, coefficients);
        }
        all
    }

    /// Forgets all probes but these.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.0.retain(|probe, _| stays(probe));
    }
}

/// What a step adds to its window: one that was given up counts as at least as slow as its time-out.
fn sample(report: &StepReport) -> Option<Sample> {
    let operator = report
        .operator
        .filter(|_| report.result != Verdict::Unknown)?;
    let measured = match report.lateness_seconds {
        _ if report.proven => report.lateness_seconds.unwrap_or(report.latency_seconds),
        Some(lateness) => lateness.max(report.timeout_seconds),
        None => report.latency_seconds.max(report.timeout_seconds),
    };
    Some(Sample { measured, operator })
}

fn window_of(window: &VecDeque<Sample>, within: f64) -> Vec<Coefficient> {
    let measured: Vec<_> = window.iter().map(|sample| sample.measured).collect();
    let values = |signal| {
        let values = window
            .iter()
            .map(move |sample| sample.operator.signal(signal));
        (signal, values.collect())
    };
    let signals: Vec<_> = Signal::ALL.into_iter().map(values).collect();
    correlate(&measured, &signals, MATTERS * within)
}

/// The coefficients of signals with the latencies (or latenesses) of a window, the strongest first and what falls
/// as they rise last.
///
/// `measured` is in seconds and in order of time; each signal has one value for each of it, or none. Only signals
/// with [`MINIMUM`] values that are not all the same have a coefficient. Strong is one above 0 whose interval
/// excludes it with all signals considered (Benjamini-Hochberg), whose changes from one sample to the next move
/// alike (two that drift have no such changes in common), where the latencies are at least `matters`
/// seconds apart.
pub fn correlate(
    measured: &[f64],
    signals: &[(Signal, Vec<Option<f64>>)],
    matters: f64,
) -> Vec<Coefficient> {
    let worth = statistics::spread(measured) >= matters;
    let mut related: Vec<(Signal, Related, bool)> = signals
        .iter()
        .filter_map(|(signal, values)| {
            let pairs: Vec<_> = measured
                .iter()
                .zip(values)
                .filter_map(|(measured, value)| Some((*measured, (*value)?)))
                .collect();
            if pairs.len() < MINIMUM {
                return None;
            }
            let related = relate(&pairs)?;
            let alike = relate(&differences(&pairs)).is_some_and(|changes| {
                changes.spearman.signum() == related.spearman.signum()
                    && changes.chance() <= FALSE_DISCOVERIES
            });
            Some((*signal, related, alike))
        })
        .collect();
    related.sort_by(|(_, a, _), (_, b, _)| a.chance().total_cmp(&b.chance()));
    let discovered = discoveries(related.iter().map(|(_, related, _)| related.chance()));
    let mut coefficients: Vec<_> = related
        .into_iter()
        .enumerate()
        .map(|(rank, (signal, related, alike))| Coefficient {
            signal,
            spearman: related.spearman,
            pearson: related.pearson,
            samples: related.samples,
            interval: related.interval(),
            strong: worth && alike && related.spearman > 0.0 && rank < discovered,
        })
        .collect();
    coefficients.sort_by(|a, b| b.spearman.total_cmp(&a.spearman));
    coefficients
}

/// How many of these probabilities, in ascending order, are no chance (Benjamini-Hochberg).
fn discoveries(chances: impl ExactSizeIterator<Item = f64>) -> usize {
    let all = chances.len();
    let allowed = |rank: usize| FALSE_DISCOVERIES * statistics::share(rank, all);
    chances
        .enumerate()
        .filter(|(at, chance)| *chance <= allowed(at + 1))
        .last()
        .map_or(0, |(at, _)| at + 1)
}
