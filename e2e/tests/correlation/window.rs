//! A window of runs, and what their latencies move with.

use std::collections::BTreeMap;
use std::env;

use anyhow::{Context, Result, ensure};
use e2e::figures::quantile;
use e2e::scenario::Prober;
use vso_prober::judge::correlation::Windows;
use vso_prober::model::correlation::Coefficient;
use vso_prober::model::run::{Run, StepReport};
use vso_prober::model::signal::Signal;
use vso_prober::model::{Stage, Step};

/// How many runs a window is made of where nobody says.
const RUNS: usize = 60;
/// How many the prober is asked for at once.
const AT_ONCE: usize = 40;

/// How many runs a window is made of.
pub(super) fn runs() -> Result<usize> {
    match env::var("CORRELATION_RUNS") {
        Ok(runs) => runs
            .parse()
            .with_context(|| format!("CORRELATION_RUNS is `{runs}`, no number")),
        Err(_) => Ok(RUNS),
    }
}

/// Runs of one probe, in order.
#[derive(Default)]
pub(super) struct Window {
    windows: Windows,
    runs: Vec<Run>,
    coefficients: BTreeMap<Step, Vec<Coefficient>>,
}

impl Window {
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    /// Has the prober run up to so often, once after the other, and takes its runs in.
    pub(super) async fn take(&mut self, prober: &Prober, count: usize) -> Result<()> {
        let count = count.min(AT_ONCE).to_string();
        let outcome = prober.probe(&["--count", &count]).await?;
        let before = self.len();
        for mut run in outcome.runs()? {
            self.coefficients = self.windows.observe(&mut run);
            self.runs.push(run);
        }
        ensure!(self.len() > before, "no run came of {outcome}");
        Ok(())
    }

    /// The coefficients of `create`, the strongest first.
    pub(super) fn create(&self) -> &[Coefficient] {
        self.coefficients
            .get(&Step::Create)
            .map_or(&[], Vec::as_slice)
    }

    /// The coefficient of a signal for `create`.
    pub(super) fn of(&self, signal: Signal) -> Result<&Coefficient> {
        let found = self.create().iter().find(|one| one.signal == signal);
        found.with_context(|| format!("{signal} has no coefficient: {:#?}", self.create()))
    }

    /// Every strong one, whatever the step.
    pub(super) fn named(&self) -> Vec<(Step, Coefficient)> {
        let all = self
            .coefficients
            .iter()
            .flat_map(|(step, all)| all.iter().map(move |one| (*step, *one)));
        all.filter(|(_, one)| one.strong).collect()
    }

    /// The share of all the latency of `create` that went into a stage.
    pub(super) fn share(&self, stage: Stage) -> f64 {
        let of = |step: &StepReport| step.stages.get(&stage).copied().unwrap_or_default();
        let spent: f64 = self.steps(Step::Create).map(of).sum();
        spent
            / self
                .steps(Step::Create)
                .map(|step| step.latency_seconds)
                .sum::<f64>()
    }

    fn steps(&self, step: Step) -> impl Iterator<Item = &StepReport> {
        self.runs
            .iter()
            .flat_map(|run| &run.steps)
            .filter(move |report| report.step == step)
    }

    #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
    pub(super) fn print(&self, what: &str) {
        for (step, coefficients) in &self.coefficients {
            let latencies: Vec<_> = self.steps(*step).map(|step| step.latency_seconds).collect();
            let [low, middle, high] =
                [0.1, 0.5, 0.9].map(|share| quantile(&latencies, share) * 1e3);
            println!(
                "\n{what}: {step}, {} runs, latency p10 {low:.0} ms, p50 {middle:.0} ms, p90 {high:.0} ms",
                self.len()
            );
            println!("SIGNAL               SPEARMAN   95 %               PEARSON   SAMPLES");
            for one in coefficients {
                let Coefficient {
                    signal,
                    spearman,
                    pearson,
                    samples,
                    interval: [from, to],
                    strong,
                } = one;
                let strong = if *strong { "   strong" } else { "" };
                println!(
                    "{signal:<18} {spearman:>+10.3}   {from:>+6.3} … {to:>+6.3} {pearson:>+9.3} {samples:>9.0}{strong}"
                );
            }
        }
        for stage in Stage::ALL {
            println!(
                "  {:<10} {:>5.1} % of the latency of create",
                stage.as_str(),
                self.share(stage) * 100.0
            );
        }
        if let Ok(file) = env::var("CORRELATION_DUMP") {
            let lines: Vec<_> = self
                .runs
                .iter()
                .map(|run| serde_json::to_string(run).unwrap())
                .collect();
            std::fs::write(
                format!("{file}-{}.jsonl", what.replace(' ', "_")),
                lines.join("\n"),
            )
            .unwrap();
        }
    }
}
