//! The crew that runs the probes: one attendant for each probe, while this replica leads.

use std::collections::HashMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::files::Change;
use super::site::Site;
use crate::canary;
use crate::command::run::{judged, record, sweep};
use crate::config::{Config, Probe};
use crate::health::Health;
use crate::history::History;
use crate::http::{Ran, Refusal};
use crate::judge::correlation::Windows;
use crate::model::Verdict;
use crate::model::run::Run;
use crate::model::snapshot::Snapshot;
use crate::model::time::Moment as _;
use crate::publish::{Fact, Publisher};
use crate::schedule;
use crate::scrape::Source;
use crate::shutdown::Shutdown;
use crate::telemetry;
use crate::vault::Vault;

/// At the end, how long runs under way may take to end by themselves, and then to clean up: together
/// with the farewell to Vault and the Lease less than 25 s.
const GRACE: Duration = Duration::from_secs(6);
const CLEAN_UP: Duration = Duration::from_secs(9);
/// How often what other runs left behind is looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// How late an attendant may be before it is called stuck.
const SLACK: Duration = Duration::from_secs(30);

/// The attendants, and what they share.
pub(super) struct Crew {
    desk: Arc<Desk>,
    config: Arc<Config>,
    site: Arc<Site>,
    /// While this replica leads: ends with that.
    term: Option<Shutdown>,
    attendants: HashMap<String, Attendant>,
    /// By probe: held by whoever runs it, so that there are never two runs of it at once.
    turns: HashMap<String, Arc<Mutex<()>>>,
    /// Attendants and runs: waited for at the end.
    tasks: JoinSet<()>,
    /// What opens the watches and looks for leftovers: given up at the end.
    background: JoinSet<()>,
}

/// Where runs are reported to.
struct Desk {
    publisher: Arc<Publisher>,
    history: Arc<History>,
    health: Health,
    windows: std::sync::Mutex<Windows>,
}

/// A probe that is attended to.
struct Attendant {
    duty: Duty,
    retired: Shutdown,
}

/// All that it takes to run a probe.
#[derive(Clone)]
struct Duty {
    probe: Probe,
    config: Arc<Config>,
    site: Arc<Site>,
    desk: Arc<Desk>,
    turn: Arc<Mutex<()>>,
    /// Ends a run under way.
    term: Shutdown,
}

impl Crew {
    pub(super) fn new(
        publisher: Arc<Publisher>,
        history: Arc<History>,
        health: Health,
        config: Config,
    ) -> Self {
        Self {
            site: Arc::new(Site::new(&config, &health)),
            desk: Arc::new(Desk {
                publisher,
                history,
                health,
                windows: std::sync::Mutex::default(),
            }),
            config: Arc::new(config),
            term: None,
            attendants: HashMap::new(),
            turns: HashMap::new(),
            tasks: JoinSet::new(),
            background: JoinSet::new(),
        }
    }

    /// Puts a configuration in force. Runs under way end as they were begun; probes that stay as they
    /// are keep their schedule.
    pub(super) fn configure(&mut self, config: Config) {
        if config.server != self.config.server {
            tracing::warn!("`server` can't change while `serve` runs: restart it");
        }
        if !self.site.serves(&config) {
            self.move_to(Site::new(&config, &self.desk.health));
        }
        self.config = Arc::new(config);
        self.desk.publisher.publish(Fact::configured(&self.config));
        self.desk.history.configure(&self.config.probes);
        self.desk
            .windows()
            .retain(|name| self.config.probe(name).is_some());
        if let Some(term) = self.term.clone() {
            self.attend(&term);
            self.prepare();
        }
    }

    /// The configuration in force.
    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Heeds that files hold something else than before which the configuration names.
    pub(super) async fn heed(&mut self, change: Change) {
        if change.clients {
            if let Err(obstacle) = Vault::open(&self.config.vault).await {
                let error = obstacle.text;
                tracing::error!(%error, "a file has changed but can't be used; keeping its previous content");
                return;
            }
            tracing::info!("a file that clients use has changed: making new clients");
            self.move_to(Site::new(&self.config, &self.desk.health));
            if let Some(term) = self.term.clone() {
                self.attend(&term);
                self.prepare();
            }
        } else if change.login {
            tracing::info!("a file with credentials for Vault has changed: logging in again");
            let site = self.site.clone();
            self.background
                .spawn(async move { site.log_in_anew().await });
        }
    }

    /// Begins or ends to run the probes.
    pub(super) fn lead(&mut self, leads: bool) {
        match (leads, self.term.take()) {
            (true, None) => {
                let term = Shutdown::default();
                self.attend(&term);
                self.term = Some(term);
                self.prepare();
            }
            (true, term) => self.term = term,
            (false, term) => {
                if let Some(term) = term {
                    term.ask();
                }
                self.attendants.clear();
                self.background.abort_all();
                self.move_to(Site::new(&self.config, &self.desk.health));
                // Ready to take over.
                self.desk.health.set_ready(true);
            }
        }
    }

    /// Goes on with other clients and watches; the old ones are closed once nobody needs them.
    fn move_to(&mut self, site: Site) {
        let old = std::mem::replace(&mut self.site, Arc::new(site));
        let turns: Vec<_> = self.turns.values().cloned().collect();
        let closed = async move {
            for turn in turns {
                drop(turn.lock().await);
            }
            old.close().await;
        };
        let who = "the shutdown of earlier clients".to_owned();
        self.tasks
            .spawn(self.desk.health.clone().keep(who, || true, closed));
    }

    /// Runs a probe now, beside its schedule.
    pub(super) fn run_now(&mut self, name: &str, reply: oneshot::Sender<Result<Ran, Refusal>>) {
        while self.tasks.try_join_next().is_some() {}
        // Whoever asked may have gone: then nobody needs to know.
        let refuse = |reply: oneshot::Sender<_>, refusal| {
            let _ = reply.send(Err(refusal));
        };
        let Some(attendant) = self.attendants.get(name) else {
            let refusal = if self.config.probe(name).is_some() {
                Refusal::Following
            } else {
                Refusal::Unknown
            };
            return refuse(reply, refusal);
        };
        let duty = attendant.duty.clone();
        let Ok(turn) = duty.turn.clone().try_lock_owned() else {
            return refuse(reply, Refusal::Busy);
        };
        let who = format!("a requested run of `{name}`");
        let ran = async move {
            let (run, log) = telemetry::captured(Box::pin(duty.run())).await;
            drop(turn);
            let _ = reply.send(Ok(Ran { run, log }));
        };
        self.tasks
            .spawn(self.desk.health.clone().keep(who, || true, ran));
    }

    /// Lets the runs under way come to their end, or else interrupts them; they clean up.
    pub(super) async fn end(mut self) {
        for attendant in self.attendants.values() {
            attendant.retired.ask();
        }
        if timeout(GRACE, self.joined()).await.is_err() {
            if let Some(term) = &self.term {
                term.ask();
            }
            if timeout(CLEAN_UP, self.joined()).await.is_err() {
                tracing::warn!(
                    "some runs were not cleaned up in time; `cleanup` or the next start removes the rest"
                );
            }
        }
        self.site.close().await;
    }

    async fn joined(&mut self) {
        while self.tasks.join_next().await.is_some() {}
    }

    /// Opens the watches before they are needed, and looks for leftovers from time to time.
    fn prepare(&mut self) {
        self.background.abort_all();
        let (site, config, desk) = (self.site.clone(), self.config.clone(), self.desk.clone());
        let health = self.desk.health.clone();
        let sweeps = async move {
            loop {
                let begun = Instant::now();
                if let Ok(clients) = site.clients(SWEEP_EVERY).await {
                    desk.health.set_ready(true);
                    if let Source::Direct(scraper) = &clients.metrics {
                        let look = scraper.look().await;
                        let took = look.ended.saturating_duration_since(look.begun);
                        desk.scraped(look.what.as_ref().ok(), took);
                    }
                    sweep(&clients, &config).await;
                }
                sleep_until(begun.later(SWEEP_EVERY)).await;
            }
        };
        self.background
            .spawn(health.keep("the clean-up".to_owned(), || false, sweeps));
    }

    /// Makes the attendants those of the configuration.
    fn attend(&mut self, term: &Shutdown) {
        while self.tasks.try_join_next().is_some() {}
        let (config, site) = (&self.config, &self.site);
        self.attendants.retain(|_, attendant| {
            let stays = config.probes.contains(&attendant.duty.probe)
                && Arc::ptr_eq(&attendant.duty.site, site);
            if !stays {
                attendant.retired.ask();
            }
            stays
        });
        self.turns
            .retain(|name, turn| Arc::strong_count(turn) > 1 || config.probe(name).is_some());
        for probe in &self.config.probes {
            if self.attendants.contains_key(&probe.name) {
                continue;
            }
            let duty = Duty {
                probe: probe.clone(),
                config: self.config.clone(),
                site: self.site.clone(),
                desk: self.desk.clone(),
                turn: self.turns.entry(probe.name.clone()).or_default().clone(),
                term: term.clone(),
            };
            let retired = term.child();
            let who = format!("probe `{}`", probe.name);
            let attended = duty.clone().attend(retired.clone());
            let over = retired.clone();
            let kept = self
                .desk
                .health
                .clone()
                .keep(who, move || over.asked(), attended);
            self.tasks.spawn(kept);
            self.attendants
                .insert(probe.name.clone(), Attendant { duty, retired });
        }
    }
}

impl Desk {
    fn windows(&self) -> MutexGuard<'_, Windows> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a look at the operator's metrics.
    fn scraped(&self, what: Option<&Snapshot>, took: Duration) {
        self.publisher.publish(Fact::Scrape {
            up: what.is_some(),
            seconds: took.as_secs_f64(),
            version: what.and_then(|numbers| numbers.version.clone()),
        });
    }
}

impl Duty {
    /// Runs the probe on its schedule until retired.
    async fn attend(self, retired: Shutdown) {
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
            .desk
            .health
            .promise(&format!("probe `{name}`"), first.saturating_add(SLACK));
        loop {
            promise.renew(due.later(SLACK));
            tokio::select! {
                biased;
                () = retired.wait() => return,
                () = sleep_until(due) => {}
            }
            let turn = tokio::select! {
                () = retired.wait() => return,
                turn = self.turn.lock() => turn,
            };
            let lag = Instant::now().saturating_duration_since(due);
            self.desk.publisher.publish(Fact::Begun {
                probe: name.clone(),
                lag_seconds: lag.as_secs_f64(),
            });
            promise.renew(Instant::now().later(longest).later(SLACK));
            self.run().await;
            drop(turn);
            let gap = || schedule::gap(*every, *spread, &mut rand::rng());
            due = due.later(gap());
            while due <= Instant::now() {
                self.desk.publisher.publish(Fact::Skipped {
                    probe: name.clone(),
                });
                due = due.later(gap());
            }
        }
    }

    /// One run, published.
    async fn run(&self) -> Arc<Run> {
        let begun = Instant::now();
        let clients = self.site.clients(self.probe.timeout).await;
        self.desk.health.set_ready(clients.is_ok());
        let clients = clients.as_deref().map_err(Clone::clone);
        let record = record(
            &self.config,
            &self.probe,
            clients,
            begun,
            &self.term,
            |_| {},
        )
        .await;
        for reading in &record.readings {
            let took = reading.received.since(reading.asked);
            self.desk.scraped(reading.what.as_ref().ok(), took);
        }
        let mut run = judged(&record);
        let correlations = self.desk.windows().observe(&mut run);
        tracing::debug!(probe = run.probe, run = run.run, result = %run.result, "the run is over");
        let record = (run.result != Verdict::Success).then(|| Arc::new(record));
        let run = Arc::new(run);
        // First the history: a run whose ID is among the metrics can be asked for.
        self.desk.history.append(&run, record);
        let told = run.clone();
        let fact = Fact::Run {
            run: told,
            correlations,
        };
        self.desk.publisher.publish(fact);
        run
    }
}
