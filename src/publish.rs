//! The publisher of runs, for people and for programs: everything that is published is folded here, in one place.

mod encoder;
mod format;
mod histogram;
mod history;
pub mod junit;
mod keeper;
mod label;
mod metrics;
pub mod one_shot;
mod probe_stats;
pub mod progress;
pub mod records;
mod state;
mod status;
mod store;
pub mod table;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::encoding::prometheus_protobuf::prometheus_data_model::MetricFamily;
use prometheus_client::registry::Registry;

use crate::config::{self, Config, Probe};
use crate::model::Step;
use crate::model::correlation::Coefficient;
use crate::model::record::Record;
use crate::model::run::Run;
use encoder::Encoder;
use format::Format;
use history::History;
use keeper::Keeper;
use state::State;
pub use status::{ProbeStatus, RunStatus, StepStatus};
use store::Store;

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
        /// Its record, if it is to be kept.
        record: Option<Arc<Record>>,
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

impl Fact {
    /// This configuration is in force from now on.
    pub fn configured(config: &Config) -> Self {
        Self::Configured {
            probes: config.probes.clone(),
            operator_metrics: config.operator.metrics.is_some(),
        }
    }
}

/// Holds everything that is published, and tells it to whoever asks.
#[derive(Debug, Default)]
pub struct Publisher {
    held: Arc<Mutex<Held>>,
    /// By format, the metrics as they were last asked for, and after how many facts that was.
    exposed: Mutex<HashMap<Format, (u64, Exposition)>>,
}

#[derive(Debug, Default)]
struct Held {
    state: State,
    history: History,
    keeper: Option<Keeper>,
    /// How many facts there have been.
    facts: u64,
}

/// Metrics, in the format that was asked for.
#[derive(Clone, Debug)]
pub struct Exposition {
    /// The media type.
    pub content_type: &'static str,
    /// The text, or the messages.
    pub body: Bytes,
}

impl Publisher {
    /// Keeps the runs in a folder from now on, and recalls those of the configured probes that are there: their history,
    /// and when each step last succeeded. What is counted starts at 0 all the same.
    ///
    /// # Errors
    /// The folder can't be made or read. Then nothing is kept there.
    pub fn remember(&self, history: &config::History) -> io::Result<()> {
        let store = Store::open(history)?;
        store.read(|run| {
            let mut held = self.held();
            let Held { state, history, .. } = &mut *held;
            if state.recall(&run) {
                history.push(run.into());
            }
        })?;
        self.held().keeper = Some(Keeper::start(store)?);
        Ok(())
    }

    /// Waits until every run is written down that is to be kept; no more is from now on.
    pub fn close(&self) {
        let keeper = self.held().keeper.take();
        if let Some(keeper) = keeper {
            keeper.end();
        }
    }

    /// Takes in what happened. Of a probe that is not configured (any more), nothing is taken in.
    pub fn publish(&self, fact: Fact) {
        let mut held = self.held();
        let Held {
            state,
            history,
            keeper,
            facts,
        } = &mut *held;
        *facts = facts.wrapping_add(1);
        let run = match &fact {
            Fact::Run { run, record, .. } if state.probes.contains_key(&run.probe) => {
                Some((Arc::new(Run::clone(run)), record.clone()))
            }
            _ => None,
        };
        let configured = matches!(fact, Fact::Configured { .. });
        state.fold(fact);
        if configured {
            history.retain(|probe| state.probes.contains_key(probe));
        }
        if let Some((run, record)) = run {
            if let Some(keeper) = keeper {
                keeper.keep(&run, record);
            }
            history.push(run);
        }
    }

    /// The metrics, in the format that the header `Accept` prefers. They are written once a fact, however many ask.
    #[expect(
        clippy::missing_panics_doc,
        reason = "nothing is written to but memory"
    )]
    pub fn expose(&self, accept: Option<&str>) -> Exposition {
        let format = Format::preferred(accept);
        // Held while they are written: whoever asks meanwhile gets the same.
        let mut exposed = self.exposed.lock().unwrap_or_else(PoisonError::into_inner);
        let facts = self.held().facts;
        if let Some((then, exposition)) = exposed.get(&format)
            && *then == facts
        {
            return exposition.clone();
        }
        let body = format.encode(&self.registry(format == Format::Protobuf));
        let exposition = Exposition {
            content_type: format.content_type(),
            body: body.expect("a write to memory does not fail").into(),
        };
        exposed.insert(format, (facts, exposition.clone()));
        exposition
    }

    /// The probes that are in force, and how they fare.
    pub fn probes(&self) -> Vec<ProbeStatus> {
        let held = self.held();
        let probes = held.state.probes.iter();
        probes
            .map(|(name, probe)| ProbeStatus::new(name, probe, &held.history))
            .collect()
    }

    /// The latest runs, the latest first. Each verdict has a place of its own, so that successes don't push out a
    /// failure.
    pub fn runs(&self, probe: Option<&str>, limit: usize) -> Vec<Arc<Run>> {
        self.held().history.latest(probe, limit)
    }

    /// The run of this ID.
    pub fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.held().history.run(id)
    }

    /// The metrics as messages: classic histograms only.
    #[expect(
        clippy::missing_panics_doc,
        reason = "nothing is written to but memory"
    )]
    pub fn families(&self) -> Vec<MetricFamily> {
        format::families(&self.registry(false)).expect("a write to memory does not fail")
    }

    /// Whether this replica is the leader.
    pub fn leads(&self) -> bool {
        self.held().state.leader
    }

    fn registry(&self, native: bool) -> Registry {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Collected {
            held: self.held.clone(),
            native,
        }));
        registry
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a registry asks for the metrics.
#[derive(Debug)]
struct Collected {
    held: Arc<Mutex<Held>>,
    native: bool,
}

impl Collector for Collected {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.state.write(&mut Encoder::new(encoder, self.native))
    }
}
