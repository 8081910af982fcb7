//! The latest runs, by probe and by verdict: none pushes out one of another kind.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::Verdict;
use crate::model::run::Run;

/// The runs that are kept.
#[derive(Debug, Default)]
pub(super) struct History {
    probes: BTreeMap<String, BTreeMap<Verdict, VecDeque<Arc<Run>>>>,
}

impl History {
    /// Forgets the probes that are not wanted any more.
    pub(super) fn retain(&mut self, wanted: impl Fn(&str) -> bool) {
        self.probes.retain(|probe, _| wanted(probe));
    }

    /// Takes in a run.
    pub(super) fn push(&mut self, run: Arc<Run>) {
        let probe = self.probes.entry(run.probe.clone()).or_default();
        let ring = probe.entry(run.result).or_default();
        if ring.len() == kept(run.result) {
            ring.pop_front();
        }
        ring.push_back(run);
    }

    /// The latest runs, of one probe or of all, the latest first.
    pub(super) fn latest(&self, probe: Option<&str>, limit: usize) -> Vec<Arc<Run>> {
        let of_probe = |name: &str| probe.is_none_or(|probe| probe == name);
        let mut runs: Vec<_> = self
            .probes
            .iter()
            .filter(|(name, _)| of_probe(name))
            .flat_map(|(_, rings)| rings.values().flatten().cloned())
            .collect();
        runs.sort_by_key(|run| Reverse(run.finished));
        runs.truncate(limit);
        runs
    }

    /// The last run of a probe that had this verdict.
    pub(super) fn last(&self, probe: &str, verdict: Verdict) -> Option<&Arc<Run>> {
        self.probes.get(probe)?.get(&verdict)?.back()
    }

    /// The run of this ID.
    pub(super) fn run(&self, id: &str) -> Option<Arc<Run>> {
        let mut runs = self
            .probes
            .values()
            .flat_map(|rings| rings.values().flatten());
        runs.find(|run| run.run == id).cloned()
    }
}

/// How many runs of a verdict are kept of each probe.
const fn kept(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Success => 100,
        Verdict::Failure | Verdict::Unknown => 50,
    }
}
