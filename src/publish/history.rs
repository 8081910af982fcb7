//! The latest runs, by probe and by verdict: none pushes out one of another kind.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::model::Verdict;
use crate::model::run::Run;

/// How much room all runs may take, in bytes of JSON: beyond, the earliest go of those that take the most.
const ROOM: usize = 8 << 20;

/// The runs that are kept.
#[derive(Debug, Default)]
pub(super) struct History {
    probes: BTreeMap<String, BTreeMap<Verdict, Ring>>,
}

/// The latest runs of one verdict on one probe.
#[derive(Debug, Default)]
struct Ring {
    /// Each with the room that it takes.
    runs: VecDeque<(Arc<Run>, usize)>,
    room: usize,
}

impl Ring {
    fn push(&mut self, run: Arc<Run>) {
        let room = room(&run);
        self.room += room;
        self.runs.push_back((run, room));
    }

    fn pop(&mut self) {
        if let Some((_, room)) = self.runs.pop_front() {
            self.room -= room;
        }
    }

    fn iter(&self) -> impl Iterator<Item = &Arc<Run>> {
        self.runs.iter().map(|(run, _)| run)
    }
}

/// The room that a run takes.
fn room(run: &Run) -> usize {
    serde_json::to_vec(run).map_or(0, |text| text.len())
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
        if ring.runs.len() == kept(run.result) {
            ring.pop();
        }
        ring.push(run);
        while self.rings().map(|ring| ring.room).sum::<usize>() > ROOM {
            let rings = self.probes.values_mut().flat_map(BTreeMap::values_mut);
            let Some(largest) = rings.max_by_key(|ring| ring.room) else {
                return;
            };
            largest.pop();
        }
    }

    fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.probes.values().flat_map(BTreeMap::values)
    }

    /// The latest runs, of one probe or of all, the latest first.
    pub(super) fn latest(&self, probe: Option<&str>, limit: usize) -> Vec<Arc<Run>> {
        let of_probe = |name: &str| probe.is_none_or(|probe| probe == name);
        let mut runs: Vec<_> = self
            .probes
            .iter()
            .filter(|(name, _)| of_probe(name))
            .flat_map(|(_, rings)| rings.values().flat_map(Ring::iter).cloned())
            .collect();
        runs.sort_by_key(|run| Reverse(run.finished));
        runs.truncate(limit);
        runs
    }

    /// The last run of a probe that had this verdict.
    pub(super) fn last(&self, probe: &str, verdict: Verdict) -> Option<&Arc<Run>> {
        self.probes.get(probe)?.get(&verdict)?.iter().last()
    }

    /// The run of this ID.
    pub(super) fn run(&self, id: &str) -> Option<Arc<Run>> {
        let mut runs = self.rings().flat_map(Ring::iter);
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
