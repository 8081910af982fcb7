//! The scheduler of the probes: one worker for each, while this replica leads.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::clients::SharedClients;
use super::files::Change;
use super::reporter::Reporter;
use super::traces::Traces;
use super::worker::{Job, Worker};
use crate::config::Config;
use crate::http::{AuditBoard, Ran, Refusal};
use crate::model::time::Moment as _;
use crate::round::sweep;
use crate::scrape::Source;
use crate::shutdown::{Shutdown, Tenure};
use crate::telemetry;
use crate::vault::Vault;

/// At the end, how long runs under way may take to end by themselves, and then to clean up: together
/// with the farewell to Vault and the Lease less than 25 s.
const GRACE: Duration = Duration::from_secs(6);
const CLEAN_UP: Duration = Duration::from_secs(9);
/// How often what other runs left behind is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// The workers, and what they share.
pub struct Scheduler {
    reporter: Arc<Reporter>,
    config: Arc<Config>,
    clients: Arc<SharedClients>,
    /// What is told of the audit logs that this process judges, if it does.
    board: Option<Arc<AuditBoard>>,
    /// Who is asked for what they say of a canary.
    traces: Option<Arc<Traces>>,
    /// While this replica leads: ends with that.
    tenure: Option<Shutdown>,
    workers: HashMap<String, Worker>,
    /// By probe: held by whoever runs it, so that there are never two runs of it at once.
    slots: HashMap<String, Arc<Mutex<()>>>,
    /// Workers and runs: waited for at the end.
    tasks: JoinSet<()>,
    /// What opens the watches and looks for leftovers: given up at the end.
    background: JoinSet<()>,
}

impl Scheduler {
    /// Nothing is run yet: see [`Self::lead`].
    pub fn new(reporter: Reporter, config: Config, board: Option<Arc<AuditBoard>>) -> Self {
        Self {
            clients: Arc::new(SharedClients::new(&config, &reporter.health)),
            traces: traces(&config, board.as_ref()),
            board,
            reporter: Arc::new(reporter),
            config: Arc::new(config),
            tenure: None,
            workers: HashMap::new(),
            slots: HashMap::new(),
            tasks: JoinSet::new(),
            background: JoinSet::new(),
        }
    }

    /// Puts a configuration in force. Runs under way end as they were begun; probes that stay as they
    /// are keep their schedule.
    pub fn configure(&mut self, config: Config) {
        let fixed = [
            ("server", config.server != self.config.server),
            ("history", config.history != self.config.history),
        ];
        for (key, _) in fixed.iter().filter(|(_, changed)| *changed) {
            tracing::warn!("`{key}` can't change while `serve` runs: restart it");
        }
        if !self.clients.serves(&config) {
            self.move_to(SharedClients::new(&config, &self.reporter.health));
        }
        if config.audit_url != self.config.audit_url || config.audit != self.config.audit {
            self.traces = traces(&config, self.board.as_ref());
        }
        let before = std::mem::replace(&mut self.config, Arc::new(config));
        self.reporter.configured(&self.config, Some(&before));
        if let Some(tenure) = self.tenure.clone() {
            self.assign(&tenure);
            self.prepare();
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Heeds that files hold something else than before which the configuration names. Returns whether clients are made anew.
    pub async fn heed(&mut self, change: Change) -> bool {
        if change.clients {
            if let Err(obstacle) = Vault::open(&self.config.vault).await {
                let error = obstacle.text;
                tracing::error!(%error, "a file has changed but can't be used; keeping its previous content");
                return false;
            }
            tracing::info!("a file that clients use has changed: making new clients");
            self.move_to(SharedClients::new(&self.config, &self.reporter.health));
            if let Some(tenure) = self.tenure.clone() {
                self.assign(&tenure);
                self.prepare();
            }
        } else if change.login {
            tracing::info!("a file with credentials for Vault has changed: logging in again");
            let clients = self.clients.clone();
            self.background
                .spawn(async move { clients.log_in_anew().await });
        }
        change.clients
    }

    /// Begins or ends to run the probes; what a leader does ends with its `term` at the latest, where there is one.
    pub fn lead(&mut self, leads: bool, term: Option<&Tenure>) {
        match (leads, self.tenure.take()) {
            (true, None) => {
                let tenure = term.map_or_else(Shutdown::default, Shutdown::within);
                self.assign(&tenure);
                self.tenure = Some(tenure);
                self.prepare();
            }
            (true, tenure) => self.tenure = tenure,
            (false, tenure) => {
                if let Some(tenure) = tenure {
                    tenure.ask();
                }
                self.workers.clear();
                self.background.abort_all();
                self.move_to(SharedClients::new(&self.config, &self.reporter.health));
                // Ready to take over.
                self.reporter.health.set_ready(true);
            }
        }
    }

    /// Goes on with other clients and watches; the old ones are closed once nobody needs them.
    fn move_to(&mut self, clients: SharedClients) {
        let old = std::mem::replace(&mut self.clients, Arc::new(clients));
        let slots: Vec<_> = self.slots.values().cloned().collect();
        let closed = async move {
            for slot in slots {
                drop(slot.lock().await);
            }
            old.close().await;
        };
        let who = "the shutdown of earlier clients".to_owned();
        self.tasks
            .spawn(self.reporter.health.clone().keep(who, || true, closed));
    }

    /// Runs a probe now, beside its schedule.
    pub fn run_now(&mut self, name: &str, reply: oneshot::Sender<Result<Ran, Refusal>>) {
        while self.tasks.try_join_next().is_some() {}
        // Whoever asked may have gone: then nobody needs to know.
        let refuse = |reply: oneshot::Sender<_>, refusal| {
            let _ = reply.send(Err(refusal));
        };
        let Some(worker) = self.workers.get(name) else {
            let refusal = if self.config.probe(name).is_some() {
                Refusal::Following
            } else {
                Refusal::Unknown
            };
            return refuse(reply, refusal);
        };
        let job = worker.job.clone();
        let Ok(slot) = job.slot.clone().try_lock_owned() else {
            return refuse(reply, Refusal::Busy);
        };
        let who = format!("a requested run of `{name}`");
        let ran = async move {
            let (run, log) = telemetry::captured(Box::pin(job.once())).await;
            drop(slot);
            let _ = reply.send(Ok(Ran { run, log }));
        };
        self.tasks
            .spawn(self.reporter.health.clone().keep(who, || true, ran));
    }

    /// Lets the runs under way come to their end, or else interrupts them; they clean up.
    pub async fn end(mut self) {
        for worker in self.workers.values() {
            worker.retired.ask();
        }
        if timeout(GRACE, self.joined()).await.is_err() {
            if let Some(tenure) = &self.tenure {
                tenure.ask();
            }
            if timeout(CLEAN_UP, self.joined()).await.is_err() {
                tracing::warn!(
                    "some runs were not cleaned up in time; `cleanup` or the next start removes the rest"
                );
            }
        }
        self.clients.close().await;
    }

    async fn joined(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Opens the watches before they are needed, and looks for leftovers from time to time.
    fn prepare(&mut self) {
        self.background.abort_all();
        let (clients, config, reporter) = (
            self.clients.clone(),
            self.config.clone(),
            self.reporter.clone(),
        );
        let health = self.reporter.health.clone();
        let sweeps = async move {
            loop {
                let begun = Instant::now();
                if let Ok(clients) = clients.opened(SWEEP_EVERY).await {
                    reporter.health.set_ready(true);
                    if let Source::Direct(scraper) = &clients.metrics {
                        let look = scraper.look().await;
                        let took = look.ended.saturating_duration_since(look.begun);
                        reporter.scraped(look.what.as_ref().ok(), took);
                    }
                    sweep(&clients, &config).await;
                }
                sleep_until(begun.later(SWEEP_EVERY)).await;
            }
        };
        self.background
            .spawn(health.keep("the clean-up".to_owned(), || false, sweeps));
    }

    /// Makes the workers those of the configuration.
    fn assign(&mut self, tenure: &Shutdown) {
        while self.tasks.try_join_next().is_some() {}
        let (config, clients) = (&self.config, &self.clients);
        let traces = self.traces.as_ref();
        self.workers.retain(|_, worker| {
            let stays = config.probes.contains(&worker.job.probe)
                && Arc::ptr_eq(&worker.job.clients, clients)
                && worker.job.traces.as_ref().map(Arc::as_ptr) == traces.map(Arc::as_ptr);
            if !stays {
                worker.retired.ask();
            }
            stays
        });
        self.slots
            .retain(|name, slot| Arc::strong_count(slot) > 1 || config.probe(name).is_some());
        for probe in &self.config.probes {
            if self.workers.contains_key(&probe.name) {
                continue;
            }
            let job = Job {
                probe: probe.clone(),
                config: self.config.clone(),
                clients: self.clients.clone(),
                traces: self.traces.clone(),
                reporter: self.reporter.clone(),
                slot: self.slots.entry(probe.name.clone()).or_default().clone(),
                tenure: tenure.clone(),
            };
            let retired = tenure.child();
            let who = format!("probe `{}`", probe.name);
            let scheduled = job.clone().on_schedule(retired.clone());
            let over = retired.clone();
            let health = self.reporter.health.clone();
            let kept = health.keep(who, move || over.asked(), scheduled);
            self.tasks.spawn(kept);
            self.workers
                .insert(probe.name.clone(), Worker { job, retired });
        }
    }
}

/// Whom runs ask for the trace of a canary; nobody where that can't be done, which is told.
fn traces(config: &Config, board: Option<&Arc<AuditBoard>>) -> Option<Arc<Traces>> {
    let traces = Traces::of(config, board).unwrap_or_else(|error| {
        tracing::error!(error, "runs have no traces of Vault's audit log");
        None
    });
    traces.map(Arc::new)
}
