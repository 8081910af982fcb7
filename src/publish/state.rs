//! The state folded from all facts: of every probe and its steps, of the operator, of the prober itself.

use std::collections::BTreeMap;

use prometheus_client::encoding::EncodeLabelSet;

use super::Fact;
use super::audit::AuditFigures;
use super::histogram::{Distribution, WATCH_EDGES};
use super::label::At;
use super::probe_stats::{ProbeStats, StepStats};
use crate::config::Probe;
use crate::model::Step;
use crate::model::correlation::Coefficient;
use crate::model::name::ProbeId;
use crate::model::run::Run;
use crate::model::standing::Standing;

/// All that was folded.
#[derive(Debug)]
pub(super) struct State {
    /// How many facts there have been.
    pub(super) facts: u64,
    pub(super) probes: BTreeMap<ProbeId, ProbeStats>,
    /// There if the operator's metrics are read.
    pub(super) operator: Option<Operator>,
    /// The ends of the spans in which the watches' delays lie.
    pub(super) watch_delay: [Distribution; 2],
    pub(super) standing: Standing,
    pub(super) last_reload_successful: bool,
    /// There if audit logs are judged.
    pub(super) audit: Option<Box<AuditFigures>>,
}

/// What is known of the operator.
#[derive(Debug, Default)]
pub(super) struct Operator {
    pub(super) up: bool,
    pub(super) scrape_seconds: f64,
    pub(super) version: Option<String>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            facts: 0,
            probes: BTreeMap::new(),
            operator: None,
            watch_delay: [(); 2].map(|()| Distribution::new(WATCH_EDGES.to_vec())),
            standing: Standing::default(),
            last_reload_successful: false,
            audit: None,
        }
    }
}

impl State {
    /// Takes in a fact; one of a probe that is not configured is passed over.
    pub(super) fn fold(&mut self, fact: Fact) {
        self.facts = self.facts.wrapping_add(1);
        match fact {
            Fact::Configured {
                probes,
                operator_metrics,
            } => self.configure(&probes, operator_metrics),
            Fact::Run { run, correlations } => self.run(&run, correlations),
            Fact::Recalled(run) => {
                if let Some(probe) = self.probes.get_mut(&run.probe) {
                    probe.recall(&run);
                }
            }
            Fact::Scrape {
                up,
                seconds,
                version,
            } => {
                if let Some(operator) = &mut self.operator {
                    operator.up = up;
                    operator.scrape_seconds = seconds;
                    // Of an operator that does not answer, the last version known still tells which one that is.
                    operator.version = version.or(operator.version.take());
                }
            }
            Fact::Skipped { probe } => {
                if let Some(probe) = self.probes.get_mut(&probe) {
                    probe.skipped_runs += 1;
                }
            }
            Fact::Begun { probe, lag_seconds } => {
                if let Some(probe) = self.probes.get_mut(&probe) {
                    probe.lag = lag_seconds;
                }
            }
            Fact::Standing(standing) => self.standing = standing,
            Fact::Reload { successful } => self.last_reload_successful = successful,
            Fact::Audit(figures) => self.audit = figures,
        }
    }

    fn configure(&mut self, probes: &[Probe], operator_metrics: bool) {
        self.last_reload_successful = true;
        // Of what another process does, this one has nothing to tell.
        if self.standing == Standing::Audits {
            return;
        }
        self.probes
            .retain(|name, _| probes.iter().any(|probe| *name == *probe.name.as_str()));
        for probe in probes {
            self.probes
                .entry(probe.name.clone().into())
                .or_insert_with(|| ProbeStats::new(probe))
                .configure(probe);
        }
        if operator_metrics {
            self.operator.get_or_insert_default();
        } else {
            self.operator = None;
        }
    }

    fn run(&mut self, run: &Run, correlations: BTreeMap<Step, Vec<Coefficient>>) {
        let Some(probe) = self.probes.get_mut(&run.probe) else {
            return;
        };
        probe.fold(run, correlations);
        for step in &run.steps {
            let ends = [step.watch_delay_seconds, step.watch_delay_most_seconds];
            for (delays, delay) in self.watch_delay.iter().zip(ends) {
                if let Some(delay) = delay {
                    delays.observe(delay, &run.run, run.finished);
                }
            }
        }
    }
}

/// The series, in order.
impl State {
    pub(super) fn steps(&self) -> impl Iterator<Item = &StepStats> {
        self.probes.values().flat_map(|probe| probe.steps.values())
    }

    pub(super) fn each_step(
        &self,
        value: impl Fn(&StepStats) -> f64,
    ) -> impl Iterator<Item = (At, f64)> {
        self.steps().map(move |step| (step.at.clone(), value(step)))
    }

    pub(super) fn each_probe_and_step(
        &self,
        value: impl Fn(&ProbeStats, &StepStats) -> f64 + Copy,
    ) -> impl Iterator<Item = (At, f64)> {
        self.probes.values().flat_map(move |probe| {
            let of = move |step: &StepStats| (step.at.clone(), value(probe, step));
            probe.steps.values().map(of)
        })
    }

    /// One series a probe, at its last step.
    pub(super) fn each_probe<V>(
        &self,
        value: impl Fn(&ProbeStats) -> V,
    ) -> impl Iterator<Item = (At, V)> {
        self.probes
            .values()
            .filter_map(move |probe| Some((probe.last()?.at.clone(), value(probe))))
    }

    /// One series a step and a key of it.
    pub(super) fn each<'a, K: 'a, V: 'a, L: EncodeLabelSet>(
        &'a self,
        of: impl Fn(&'a StepStats) -> &'a BTreeMap<K, V>,
        label: impl Fn(&K) -> L + Copy,
    ) -> impl Iterator<Item = ((At, L), &'a V)> {
        self.steps().flat_map(move |step| {
            let series = move |(key, value)| ((step.at.clone(), label(key)), value);
            of(step).iter().map(series)
        })
    }

    pub(super) fn each_count<'a, K: 'a, L: EncodeLabelSet>(
        &'a self,
        of: impl Fn(&'a StepStats) -> &'a BTreeMap<K, u64>,
        label: impl Fn(&K) -> L + Copy,
    ) -> impl Iterator<Item = ((At, L), u64)> {
        self.each(of, label).map(|(labels, value)| (labels, *value))
    }

    pub(super) fn coefficients(&self) -> impl Iterator<Item = (&StepStats, &Coefficient)> {
        self.steps()
            .flat_map(|step| step.coefficients.iter().map(move |one| (step, one)))
    }
}
