//! Runs, told to people and to programs: everything that is published is folded here, in one place.

pub mod junit;
pub mod progress;
pub mod table;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;

use crate::config::Probe;
use crate::model::Step;
use crate::model::correlation::Coefficient;
use crate::model::run::Run;

/// Something that happened and is to be published.
#[derive(Clone, Debug)]
pub enum Fact {
    /// These probes are in force from now on: the series of others go, theirs exist.
    Configured {
        /// The probes.
        probes: Vec<Probe>,
        /// Whether the operator's metrics are read.
        operator_metrics: bool,
    },
    /// A run is over.
    Run {
        /// The run.
        run: Box<Run>,
        /// By step, what its latencies move with, the strongest first.
        correlations: BTreeMap<Step, Vec<Coefficient>>,
    },
    /// The operator's metrics were read, or could not be.
    Scrape {
        /// Whether they were.
        up: bool,
        /// How long it took.
        seconds: f64,
        /// The operator's version, if it told one.
        version: Option<String>,
    },
    /// A run was due while the one before it was still under way.
    Skipped {
        /// The probe's name.
        probe: String,
    },
    /// A run began.
    Begun {
        /// The probe's name.
        probe: String,
        /// How long after it was due.
        lag_seconds: f64,
    },
    /// This replica leads from now on, or no longer.
    Leader(bool),
    /// The configuration was read again.
    Reload {
        /// Whether it could be used.
        successful: bool,
    },
}

/// Holds everything that is published, and tells it to whoever asks.
#[derive(Debug, Default)]
pub struct Publisher {
    runs: Mutex<Vec<Arc<Run>>>,
}

/// Metrics, in the form that was asked for.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// The media type.
    pub content_type: &'static str,
    /// The text, or the messages.
    pub body: Vec<u8>,
}

/// A probe, and how it fares.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeStatus {
    /// Its name.
    pub name: String,
}

impl Publisher {
    /// Takes in what happened.
    pub fn publish(&self, fact: Fact) {
        if let Fact::Run { run, .. } = fact {
            let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            runs.push(run.into());
        }
    }

    /// The metrics, in the form that the header `Accept` prefers.
    pub fn expose(&self, _accept: Option<&str>) -> Exposition {
        Exposition {
            content_type: "text/plain; version=0.0.4; charset=utf-8",
            body: Vec::new(),
        }
    }

    /// The probes that are in force, and how they fare.
    pub fn probes(&self) -> Vec<ProbeStatus> {
        Vec::new()
    }

    /// The latest runs, the latest first; failed ones are kept apart, so that successes don't push them out.
    pub fn runs(&self, probe: Option<&str>, limit: usize) -> Vec<Arc<Run>> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let of_probe = |run: &&Arc<Run>| probe.is_none_or(|probe| run.probe == probe);
        runs.iter()
            .rev()
            .filter(of_probe)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The run of this ID.
    pub fn run(&self, id: &str) -> Option<Arc<Run>> {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        runs.iter().find(|run| run.run == id).cloned()
    }
}
