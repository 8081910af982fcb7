//! The reporter of what happens while `serve` runs: to the metrics, to the history, to health.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::config::Config;
use crate::health::Health;
use crate::history::History;
use crate::judge::correlation::Windows;
use crate::model::Verdict;
use crate::model::cause::{Cause, Party};
use crate::model::name::ProbeId;
use crate::model::run::{Context, Run};
use crate::model::snapshot::Snapshot;
use crate::publish::{Fact, Publisher};
use crate::round::{Outcome, context};

/// Where runs are reported to.
pub struct Reporter {
    pub(super) publisher: Arc<Publisher>,
    history: Arc<History>,
    pub(super) health: Health,
    /// The earlier runs, with which the latencies of the next are compared.
    pub(super) windows: Mutex<Windows>,
    /// Where runs come from that begin now. A probe that a reload leaves as it is goes on with its worker.
    context: Mutex<Context>,
    /// Since when each probe is not well that is not.
    troubles: Mutex<BTreeMap<ProbeId, Timestamp>>,
}

impl Reporter {
    /// Reports to these.
    pub fn new(publisher: Arc<Publisher>, history: Arc<History>, health: Health) -> Self {
        Self {
            publisher,
            history,
            health,
            windows: Mutex::default(),
            context: Mutex::default(),
            troubles: Mutex::default(),
        }
    }

    /// This configuration is in force from now on, and `before` was until now: what is told of other probes goes.
    pub fn configured(&self, config: &Config, before: Option<&Config>) {
        self.publisher.publish(Fact::configured(config));
        self.history.configure(&config.probes);
        // What is measured otherwise than before has nothing to be compared with.
        let same = |name: &str| {
            let before = before.filter(|before| before.operator == config.operator);
            let before = before.and_then(|before| before.probe(name));
            before.is_some_and(|before| config.probe(name) == Some(before))
        };
        locked(&self.windows).retain(same);
        locked(&self.troubles).retain(|name, _| config.probe(name).is_some());
        *locked(&self.context) = context(config);
    }

    /// Where runs come from that begin now.
    pub(super) fn context(&self) -> Context {
        locked(&self.context).clone()
    }

    /// Reports what became of a round.
    pub(super) fn over(&self, outcome: Outcome) -> Arc<Run> {
        let Outcome {
            run,
            correlations,
            record,
        } = outcome;
        for reading in &record.readings {
            let took = reading.received.since(reading.asked);
            self.scraped(reading.what.as_ref().ok(), took);
        }
        let record = (run.result != Verdict::Success).then(|| Arc::new(record));
        let run = Arc::new(run);
        self.log(&run);
        // First the history: a run whose ID is among the metrics can be asked for.
        self.history.append(&run, record);
        self.publisher.publish(Fact::Run {
            run: run.clone(),
            correlations,
        });
        run
    }

    /// Tells the log of a run that was not good, and of the first good one after it.
    fn log(&self, run: &Run) {
        let mut troubles = locked(&self.troubles);
        let Some(step) = run.decisive() else {
            if let Some(since) = troubles.remove(&run.probe) {
                let outage = run.finished.duration_since(since).as_secs_f64();
                tracing::info!(probe = %run.probe, run = %run.run, outage_seconds = outage, "the probe is well again");
            }
            return;
        };
        troubles.entry(run.probe.clone()).or_insert(run.started);
        let cause = step.cause.map_or("", Cause::as_str);
        let party = step.party.map_or("", Party::as_str);
        let advice = step.cause.map_or("", Cause::advice);
        let (probe, id, result, step) = (&run.probe, &run.run, run.result, step.step);
        tracing::warn!(%probe, %step, %result, cause, party, advice, run = %id, "a run was not good");
    }

    /// Reports a look at the operator's metrics.
    pub(super) fn scraped(&self, what: Option<&Snapshot>, took: Duration) {
        self.publisher.publish(Fact::Scrape {
            up: what.is_some(),
            seconds: took.as_secs_f64(),
            version: what.and_then(|numbers| numbers.version.clone()),
        });
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
