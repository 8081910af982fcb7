//! Takes a canary through its steps and writes down everything that is seen. Judges nothing.

mod act;
mod certificate;
mod edge;
mod evidence;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::canary::{self, Action, Canary, Planned};
use crate::config::Config;
use crate::janitor;
use crate::kubernetes;
use crate::model::promise::Promise;
use crate::model::proof::Proof;
use crate::model::record::{Answer, End, Findings, Hindrance, Obstacle, Peer, Record, StepRecord};
use crate::model::snapshot::Reading;
use crate::model::timeline::{Seen, Timeline};
use crate::model::{Kind, Mark, Step};
use crate::observe::{Inspector, Observer, Subscription};
use crate::scrape::Numbers;
use crate::shutdown::Shutdown;
use crate::vault::Vault;
use crate::vault::lease::Life;
use crate::wire;

/// What every run of the program shares.
pub struct Shell {
    /// The API server.
    pub kube: kube::Client,
    /// Vault.
    pub vault: Vault,
    /// The watches.
    pub observer: Observer,
    /// The namespace of the canaries.
    pub namespace: String,
    /// Where the operator runs.
    pub operator: crate::config::Operator,
    /// The operator's own numbers.
    pub numbers: Numbers,
    /// The VaultConnection behind each VaultAuth that was asked for.
    connections: Mutex<HashMap<String, String>>,
}

impl Shell {
    /// Makes the clients and opens the watches that these probes need. Does not wait for them.
    pub async fn open(config: &Config, kinds: &HashSet<Kind>) -> Result<Self, Obstacle> {
        let kube = kubernetes::connect(&config.kubernetes).await?;
        let vault = Vault::new(&config.vault)?;
        let namespace = config.kubernetes.namespace.clone();
        let observer = Observer::start(&kube, &namespace, &config.instance, kinds);
        let numbers = Numbers::new(&config.operator, &kube);
        Ok(Self {
            kube,
            vault,
            observer,
            namespace,
            operator: config.operator.clone(),
            numbers,
            connections: Mutex::default(),
        })
    }
}

/// What a run tells while it runs.
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A step was begun.
    Begun(Step),
    /// What is left is being removed.
    CleaningUp,
}

/// Runs a canary. Whatever happens, it is cleaned up before this returns, as far as it can be.
pub async fn run(
    canary: &Canary,
    shell: &Shell,
    shutdown: &Shutdown,
    progress: impl Fn(Progress),
) -> Record {
    let epoch = Instant::now();
    let started = Timestamp::now();
    let mut walk = Walk {
        canary,
        shell,
        shutdown,
        epoch,
        wall: started,
        sightings: shell.observer.subscribe(canary, epoch),
        timeline: Timeline::default(),
        secret_uid: None,
        written: false,
        readings: Vec::new(),
        connection: None,
        inspector: None,
    };
    let mut steps: Vec<StepRecord> = Vec::new();
    let mut gone = false;
    let mut left = canary.plan.len();
    walk.open().await;
    for planned in &canary.plan {
        progress(Progress::Begun(planned.step));
        let step = walk.step(planned).await;
        let proven = step.end == End::Proven;
        gone = proven && step.proof == Proof::Gone;
        left -= 1;
        if proven && !gone && (left > 0 || walk.reads()) {
            walk.settle(&step).await;
        }
        walk.close(&step).await;
        steps.push(step);
        if !proven {
            break;
        }
    }
    progress(Progress::CleaningUp);
    let leftovers = janitor::remove(&shell.kube, &shell.vault, canary, gone, walk.written).await;
    walk.collect();
    let leases = janitor::end_leases(&shell.vault, walk.lease_ids()).await;
    walk.end(steps.last(), gone).await;
    Record {
        probe: canary.probe.clone(),
        kind: canary.kind(),
        run: canary.run.clone(),
        canary: canary.full_name(),
        started,
        finished: walk.now(),
        steps,
        timeline: walk.timeline,
        readings: walk.readings,
        connection: walk.connection,
        leases,
        leftovers,
    }
}

/// A record of a run that could not be begun, as the prober itself met an obstacle.
pub fn not_begun(canary: &Canary, obstacle: Obstacle, waited: Duration) -> Record {
    let ended = Mark::new(waited);
    let steps = canary.plan.first().map(|planned| StepRecord {
        step: planned.step,
        within: planned.within,
        timeout: planned.timeout,
        proof: canary.proof(planned.step, None),
        promise: planned.promise,
        started: Mark::default(),
        submitted: ended,
        ended,
        left: ended,
        end: End::Met(obstacle),
        findings: Findings::default(),
    });
    Record {
        probe: canary.probe.clone(),
        kind: canary.kind(),
        run: canary.run.clone(),
        canary: canary.full_name(),
        started: Timestamp::now() - waited,
        finished: ended,
        steps: steps.into_iter().collect(),
        timeline: Timeline::default(),
        readings: Vec::new(),
        connection: None,
        leases: Vec::new(),
        leftovers: Vec::new(),
    }
}

/// A run under way.
struct Walk<'a> {
    canary: &'a Canary,
    shell: &'a Shell,
    shutdown: &'a Shutdown,
    epoch: Instant,
    wall: Timestamp,
    sightings: Subscription,
    timeline: Timeline,
    secret_uid: Option<String>,
    /// Whether anything may have been written to Vault.
    written: bool,
    readings: Vec<Reading>,
    /// The VaultConnection that the canary uses.
    connection: Option<String>,
    /// What looks at its certificates, where it has some.
    inspector: Option<Arc<Inspector>>,
}

impl Walk<'_> {
    fn now(&self) -> Mark {
        Mark::new(Instant::now().saturating_duration_since(self.epoch))
    }

    fn instant(&self, mark: Mark) -> Instant {
        self.epoch + mark.elapsed()
    }

    async fn step(&mut self, planned: &Planned) -> StepRecord {
        let Planned {
            step,
            within,
            timeout,
            promise,
        } = *planned;
        let proof = self.canary.proof(step, self.secret_uid.as_deref());
        let record = |started, submitted, ended, end| StepRecord {
            step,
            within,
            timeout,
            proof: proof.clone(),
            promise,
            started,
            submitted,
            ended,
            left: ended,
            end,
            findings: Findings::default(),
        };

        let begun = self.now();
        if let Err(end) = self.prepare(step, timeout).await {
            return record(begun, self.now(), self.now(), end);
        }
        let stimulus = self.canary.stimulus(step);
        let canary = &self.canary.name;
        let started = self.now();
        let mut submitted = started;
        if let Some(stimulus) = stimulus {
            let sent = self.send(stimulus, timeout).await;
            submitted = self.now();
            tracing::debug!(canary, %step, ok = sent.is_ok(), "the stimulus was sent");
            if let Err(end) = sent {
                return record(started, submitted, submitted, end);
            }
        }

        let end = self
            .await_proof(&proof, promise, started, submitted, timeout)
            .await;
        let mut record = record(started, submitted, self.now(), end);
        match record.end {
            End::Proven => match self.lease_lives(step, timeout).await {
                Ok(answer) => record.findings.lease = answer,
                Err(end) => record.end = end,
            },
            End::TimedOut => {
                // Boxed: it is long and rare, and would weigh on every run under way.
                record.findings = Box::pin(evidence::gather(
                    self.shell,
                    self.canary,
                    self.inspector.as_deref(),
                    step,
                    self.instant(started),
                    self.wall + started.elapsed(),
                ))
                .await;
            }
            End::Met(_) | End::Interrupted => {}
        }
        self.collect();
        record.findings.old_ends = self.old_ends(step, started).or(record.findings.old_ends);
        record.left = self.now();
        tracing::debug!(canary = self.canary.name, %step, end = record.end.as_str(), "the step is over");
        record
    }

    /// Everything that has to be there before the stimulus and is not timed: a session with Vault,
    /// open connections, and what the step builds on. All of it takes no longer than `limit`.
    async fn prepare(&mut self, step: Step, limit: Duration) -> Result<(), End> {
        let selector = canary::selector(&self.canary.instance);
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        let ready = self.shell.vault.ready();
        self.bounded(Peer::Vault, "log in", left(), ready).await?;
        if let Some(action) = self.canary.preparation(step) {
            let sent = self.send(action, left()).await;
            // Whether it was written is known only if Vault refused; after a silence it may have been.
            let refused =
                |end: &End| matches!(end, End::Met(obstacle) if obstacle.how == Hindrance::Denied);
            self.written = !sent.as_ref().is_err_and(refused);
            sent?;
        }
        if step == Step::Create {
            self.inspect(left()).await?;
        }
        let warm = kubernetes::warm(&self.shell.kube, &self.shell.namespace, &selector);
        self.bounded(Peer::Kubernetes, "list Secrets", left(), warm)
            .await
    }

    async fn send(&self, action: Action, limit: Duration) -> Result<(), End> {
        let (peer, what) = action.request();
        let sent = act::send(self.shell, self.canary, action);
        self.bounded(peer, what, limit, sent).await
    }

    /// Runs a request of the prober's own, no longer than `limit` and not beyond a shutdown.
    async fn bounded<T>(
        &self,
        peer: Peer,
        what: &str,
        limit: Duration,
        request: impl Future<Output = Result<T, Obstacle>>,
    ) -> Result<T, End> {
        tokio::select! {
            result = wire::limited(peer, what, limit, request) => result.map_err(End::Met),
            () = self.shutdown.wait() => Err(End::Interrupted),
        }
    }

    /// Waits for the proof, no longer than `timeout` beyond the moment when it is due.
    async fn await_proof(
        &mut self,
        proof: &Proof,
        promise: Promise,
        started: Mark,
        submitted: Mark,
        timeout: Duration,
    ) -> End {
        loop {
            self.collect();
            if proof.seen(&self.timeline, started).is_some() {
                return End::Proven;
            }
            let due = promise.due(&self.timeline, submitted, self.now());
            let deadline = self.instant(due.unwrap_or(started).plus(timeout));
            if let Err(end) = self.look(deadline).await {
                return end;
            }
        }
    }

    /// Takes in the next sighting, or says why there was none.
    async fn look(&mut self, deadline: Instant) -> Result<(), End> {
        tokio::select! {
            biased;
            sighting = self.sightings.next() => self.note(sighting),
            () = self.shutdown.wait() => return Err(End::Interrupted),
            () = tokio::time::sleep_until(deadline) => return Err(End::TimedOut),
        }
        Ok(())
    }

    /// Takes in what has arrived already.
    fn collect(&mut self) {
        while let Some(sighting) = self.sightings.ready() {
            self.note(sighting);
        }
    }

    fn note(&mut self, sighting: crate::model::timeline::Sighting) {
        if let Seen::Secret { uid, .. } = &sighting.what {
            self.secret_uid = Some(uid.clone());
        }
        let at_seconds = sighting.at.elapsed().as_secs_f64();
        tracing::debug!(
            canary = self.canary.name,
            at_seconds,
            what = sighting.what.as_str(),
            "seen"
        );
        self.timeline.push(sighting);
    }

    /// Whether the lease of a credential that has just arrived is valid.
    async fn lease_lives(&self, step: Step, limit: Duration) -> Result<Answer<bool>, End> {
        let Some(lease) = self.timeline.leases().last().copied() else {
            return Ok(Answer::NotAsked);
        };
        if step != Step::Create {
            return Ok(Answer::NotAsked);
        }
        let life = self.shell.vault.lease_life(&lease.id);
        match self
            .bounded(Peer::Vault, "look up the lease", limit, life)
            .await
        {
            Ok(life) => Ok(Answer::Is(life == Life::Lives)),
            Err(End::Met(obstacle)) => Ok(Answer::Obstructed(obstacle)),
            Err(end) => Err(end),
        }
    }

    fn lease_ids(&self) -> Vec<String> {
        self.timeline
            .leases()
            .into_iter()
            .map(|lease| lease.id.clone())
            .collect()
    }
}
