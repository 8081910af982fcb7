//! The worker of a probe: runs it on its schedule, and never twice at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::clients::SharedClients;
use super::reporter::Reporter;
use super::traces::Traces;
use crate::canary;
use crate::config::{Config, Probe};
use crate::model::run::Run;
use crate::model::time::Moment as _;
use crate::publish::Fact;
use crate::round::{AuditLog, Round};
use crate::schedule;
use crate::shutdown::Shutdown;

/// How late a worker may be before it is called stuck.
const SLACK: Duration = Duration::from_secs(30);

/// A probe that is run on its schedule.
pub(super) struct Worker {
    pub(super) job: Job,
    /// Ends the schedule; a run under way comes to its end.
    pub(super) retired: Shutdown,
}

/// All that it takes to run a probe.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) probe: Probe,
    pub(super) config: Arc<Config>,
    pub(super) clients: Arc<SharedClients>,
    pub(super) traces: Option<Arc<Traces>>,
    pub(super) reporter: Arc<Reporter>,
    /// Held by whoever runs the probe.
    pub(super) slot: Arc<Mutex<()>>,
    /// Ends a run under way.
    pub(super) tenure: Shutdown,
}

impl Job {
    /// Runs the probe on its schedule until retired.
    pub(super) async fn on_schedule(self, retired: Shutdown) {
        let Probe {
            name,
            every,
            spread,
            ..
        } = &self.probe;
        let longest = canary::longest_run(&self.probe).saturating_mul(2);
        let first = schedule::first(*every, &mut rand::rng());
        let mut due = Instant::now().later(first);
        let promise = self
            .reporter
            .health
            .promise(&format!("probe `{name}`"), first.saturating_add(SLACK));
        loop {
            promise.renew(due.later(SLACK));
            tokio::select! {
                biased;
                () = retired.wait() => return,
                () = sleep_until(due) => {}
            }
            let slot = tokio::select! {
                () = retired.wait() => return,
                slot = self.slot.lock() => slot,
            };
            let lag = Instant::now().saturating_duration_since(due);
            self.reporter.publisher.publish(Fact::Begun {
                probe: name.clone().into(),
                lag_seconds: lag.as_secs_f64(),
            });
            promise.renew(Instant::now().later(longest).later(SLACK));
            self.once().await;
            drop(slot);
            let gap = || schedule::gap(*every, *spread, &mut rand::rng());
            due = due.later(gap());
            while due <= Instant::now() {
                self.reporter.publisher.publish(Fact::Skipped {
                    probe: name.clone().into(),
                });
                due = due.later(gap());
            }
        }
    }

    /// One run, published.
    pub(super) async fn once(&self) -> Arc<Run> {
        let begun = Instant::now();
        let clients = self.clients.opened(self.probe.timeout).await;
        self.reporter.health.set_ready(clients.is_ok());
        let round = Round {
            config: &self.config,
            context: self.reporter.context(),
            clients: clients.as_deref().map_err(Clone::clone),
            begun,
            log: self.traces.as_deref().map(|traces| traces as &dyn AuditLog),
            windows: &self.reporter.windows,
        };
        let outcome = round.run(&self.probe, &self.tenure, |_| {}).await;
        self.reporter.over(outcome)
    }
}
