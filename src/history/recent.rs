//! The latest runs, by probe and by verdict: none pushes out one of another kind.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;

use crate::config::Probe;
use crate::model::Verdict;
use crate::model::name::ProbeId;
use crate::model::run::Run;

/// How much room all runs may take, in bytes of JSON: beyond, the earliest go of those that take the most.
const ROOM: usize = 8 << 20;

/// The latest runs of the probes that are in force.
#[derive(Debug, Default)]
pub(super) struct Recent {
    probes: BTreeMap<ProbeId, BTreeMap<Verdict, Ring>>,
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

impl Recent {
    /// These probes are in force from now on.
    pub(super) fn configure(&mut self, probes: &[Probe]) {
        let mut before = mem::take(&mut self.probes);
        let kept = |probe: &Probe| {
            let runs = before.remove(probe.name.as_str()).unwrap_or_default();
            (probe.name.clone().into(), runs)
        };
        self.probes = probes.iter().map(kept).collect();
    }

    /// Takes in a run, if its probe is in force.
    pub(super) fn push(&mut self, run: Arc<Run>) -> bool {
        let Some(probe) = self.probes.get_mut(&run.probe) else {
            return false;
        };
        let ring = probe.entry(run.result).or_default();
        if ring.runs.len() == kept(run.result) {
            ring.pop();
        }
        ring.push(run);
        while self.rings().map(|ring| ring.room).sum::<usize>() > ROOM {
            let rings = self.probes.values_mut().flat_map(BTreeMap::values_mut);
            let Some(largest) = rings.max_by_key(|ring| ring.room) else {
                break;
            };
            largest.pop();
        }
        true
    }

    fn rings(&self) -> impl Iterator<Item = &Ring> {
        self.probes.values().flat_map(BTreeMap::values)
    }

    /// The latest runs, of one probe or of all, the latest first.
    pub(super) fn latest(&self, probe: Option<&str>, limit: usize) -> Vec<Arc<Run>> {
        let of_probe = |name: &ProbeId| probe.is_none_or(|probe| *name == *probe);
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

    /// The run of this ID.
    pub(super) fn run(&self, id: &str) -> Option<Arc<Run>> {
        let mut runs = self.rings().flat_map(Ring::iter);
        runs.find(|run| run.run == *id).cloned()
    }
}

/// How many runs of a verdict are kept of each probe.
const fn kept(verdict: Verdict) -> usize {
    match verdict {
        Verdict::Success => 100,
        Verdict::Failure | Verdict::Unknown => 50,
    }
}
