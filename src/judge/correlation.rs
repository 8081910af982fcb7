//! The correlation of a step's latencies with each of the operator's signals, over a rolling window.
//!
//! It says "moves with", never "caused by": `reconcile_seconds` contains `vault_read_seconds`, so where the one
//! moves, the other does. Nor is all that moves with a latency worth a name: every signal is of work or of
//! trouble, so only what rises with the latency can have to do with it. What falls does so because the latency is
//! the time that it is told over: one reconcile over a long step is a low rate. And what is counted over the latency is the
//! more the longer that takes: a count is named only if the slower half has more of it than its time explains. A wait that is
//! longer in long windows by a millisecond has not made them longer by a second: it is named only if it explains its part.

mod statistics;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::model::correlation::Coefficient;
use crate::model::delta::OperatorDelta;
use crate::model::name::ProbeId;
use crate::model::run::{Run, StepReport};
use crate::model::signal::Signal;
use crate::model::{Step, Verdict};
use statistics::{ONE_PERCENT, Related, differences, excess, part, relate};

/// How many samples a window holds.
pub const WINDOW: usize = 240;
/// From how many samples on a coefficient is told.
pub const MINIMUM: usize = 20;
/// The share of false alarms among the signals that are called strong.
const FALSE_DISCOVERIES: f64 = 0.05;
/// How far the latencies must lie apart (from the 10th to the 90th percentile) to be worth explaining, as a
/// share of the step's threshold: below it all is well whatever they move with.
const MATTERS: f64 = 0.02;
/// The least share of what slow steps take longer by which a wait is longer in them, to be worth a name. In the lab, a crowded queue and
/// a slow Vault make more than half of it; what goes on beside a step, a thousandth.
const PART: f64 = 0.1;
/// In how many runs in a row a signal must be strong to be named: a window that slides is looked at again with each run,
/// and one look in a hundred is deceived.
const IN_A_ROW: u32 = 3;

/// The latest samples of every step of every probe.
#[derive(Debug, Default)]
pub struct Windows(HashMap<ProbeId, BTreeMap<Step, Window>>);

/// The latest samples of a step.
#[derive(Debug, Default)]
struct Window {
    samples: VecDeque<Sample>,
    /// For how many runs in a row each signal was strong.
    strong: BTreeMap<Signal, u32>,
}

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
            let sample = sample(report);
            let sampled = sample.is_some();
            if window.samples.len() == WINDOW && sampled {
                window.samples.pop_front();
            }
            window.samples.extend(sample);
            let mut coefficients = coefficients(&window.samples, report.within_seconds);
            window.hold(&mut coefficients, sampled);
            report.moves_with = coefficients.iter().find(|one| one.strong).copied();
            all.insert(report.step, coefficients);
        }
        all
    }

    /// Forgets all probes but these, which measure what they did before.
    pub fn retain(&mut self, stays: impl Fn(&str) -> bool) {
        self.0.retain(|probe, _| stays(probe));
    }
}

impl Window {
    /// Calls strong only what has been so for several runs.
    fn hold(&mut self, coefficients: &mut [Coefficient], sampled: bool) {
        let mut strong = BTreeMap::new();
        for one in coefficients.iter_mut().filter(|one| one.strong) {
            let before = self.strong.get(&one.signal).copied().unwrap_or_default();
            let runs = before.saturating_add(u32::from(sampled));
            one.strong = runs >= IN_A_ROW;
            strong.insert(one.signal, runs);
        }
        self.strong = strong;
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

fn coefficients(window: &VecDeque<Sample>, within: f64) -> Vec<Coefficient> {
    let measured: Vec<_> = window.iter().map(|sample| sample.measured).collect();
    let times: Vec<_> = window
        .iter()
        .map(|sample| sample.operator.window_seconds)
        .collect();
    let values = |signal| {
        let values = window
            .iter()
            .map(move |sample| sample.operator.signal(signal));
        (signal, values.collect())
    };
    let signals: Vec<_> = Signal::ALL.into_iter().map(values).collect();
    correlate(&measured, &times, &signals, MATTERS * within)
}

/// The coefficients of signals with the latencies (or latenesses) of a window, the strongest first and what falls
/// as they rise last.
///
/// `measured` is in seconds and in order of time; `times` are the seconds over which the signals are told; each signal
/// has one value for each of these, or none. Only signals with [`MINIMUM`] values that are not all the same have a
/// coefficient. Strong is one above 0 whose interval excludes it with all signals considered (Benjamini-Hochberg), whose
/// changes from one sample to the next move alike (two that drift have no such changes in common), where the latencies are at
/// least `matters` seconds apart. A count is strong where the slower half of the samples has more of it than its share of
/// the time explains, a wait where it is longer there by a tenth at least of what the latencies are.
pub fn correlate(
    measured: &[f64],
    times: &[f64],
    signals: &[(Signal, Vec<Option<f64>>)],
    matters: f64,
) -> Vec<Coefficient> {
    let worth = statistics::spread(measured) >= matters;
    let (mut counts, mut related): (Vec<_>, Vec<_>) = signals
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
            let explains = if signal.is_count() {
                excess(measured, times, values).is_some_and(|z| z > ONE_PERCENT)
            } else {
                !signal.is_wait() || part(&pairs) >= PART
            };
            Some((*signal, related, alike && explains))
        })
        .partition(|(signal, ..): &(Signal, Related, bool)| signal.is_count());
    related.sort_by(|(_, a, _), (_, b, _)| a.chance().total_cmp(&b.chance()));
    let all = related.len() + counts.len();
    let discovered = discoveries(related.iter().map(|(_, related, _)| related.chance()), all);
    for (_, _, alike) in related.iter_mut().skip(discovered) {
        *alike = false;
    }
    related.append(&mut counts);
    let coefficient = |(signal, related, strong): (Signal, Related, bool)| Coefficient {
        signal,
        spearman: related.spearman,
        pearson: related.pearson,
        samples: related.samples,
        interval: related.interval(),
        strong: worth && strong && related.spearman > 0.0,
    };
    let mut coefficients: Vec<_> = related.into_iter().map(coefficient).collect();
    coefficients.sort_by(|a, b| b.spearman.total_cmp(&a.spearman));
    coefficients
}

/// How many of these probabilities, in ascending order, are no chance among `all` (Benjamini-Hochberg).
fn discoveries(chances: impl Iterator<Item = f64>, all: usize) -> usize {
    let allowed = |rank: usize| FALSE_DISCOVERIES * statistics::share(rank, all);
    chances
        .enumerate()
        .filter(|(at, chance)| *chance <= allowed(at + 1))
        .last()
        .map_or(0, |(at, _)| at + 1)
}
