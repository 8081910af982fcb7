//! The probe: takes a canary through its steps and records everything that is seen. It judges nothing.

mod certificate;
mod clients;
mod events;
mod evidence;
mod given;
mod global;
mod leases;
mod readings;
mod stimulus;
mod unproven;
mod verify;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::canary::{self, Action, Canary, OwnObject, Planned};
use crate::model::proof::Proof;
use crate::model::record::{End, Findings, Hindrance, Obstacle, Peer, Record, StepRecord};
use crate::model::run::Context;
use crate::model::snapshot::Reading;
use crate::model::time::Moment as _;
use crate::model::timeline::{Sighting, Timeline};
use crate::model::trace::{Trip, VaultLog};
use crate::model::{Mark, Step, name::ObjectRef};
use crate::observe::{Inspector, Subscription};
use crate::operator::{self, Reader};
use crate::panic::caught;
use crate::shutdown::Shutdown;
use crate::{janitor, kubernetes, wire};
use verify::LoginTarget;
use wait::Wait;

pub use clients::Clients;
use unproven::unproven;
pub use unproven::{not_begun, own};

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
    clients: &Clients,
    shutdown: &Shutdown,
    progress: impl Fn(Progress),
) -> Record {
    let epoch = Instant::now();
    let started = Timestamp::now();
    let mut journey = Journey {
        canary,
        clients,
        shutdown,
        epoch,
        wall: started,
        sightings: clients.observer.subscribe(canary, epoch),
        timeline: Timeline::default(),
        reader: None,
        written: false,
        trips: Vec::new(),
        readings: Vec::new(),
        connection: None,
        inspector: None,
    };
    let mut steps: Vec<StepRecord> = Vec::new();
    if let Err(panic) = caught(Box::pin(journey.take(&mut steps, &progress))).await {
        let next = canary.plan.get(steps.len()).or(canary.plan.last());
        steps.truncate(canary.plan.len().saturating_sub(1));
        let started = steps.last().map_or(Mark::default(), |step| step.left);
        let broken = |planned| unproven(canary, planned, started, journey.now(), own(&panic));
        steps.extend(next.map(broken));
    }
    let last = steps.last();
    let gone = last.is_some_and(|step| step.end == End::Proven && step.proof == Proof::Gone);
    progress(Progress::CleaningUp);
    let leftovers =
        janitor::remove(&clients.kube, &clients.vault, canary, gone, journey.written).await;
    journey.collect();
    let (own, foreign) = journey.all_leases().await;
    let mut leases = janitor::end_leases(&clients.vault, own, &leases::replaced(&steps)).await;
    leases.extend(foreign);
    journey.end(steps.last(), gone).await;
    Record {
        probe: canary.probe.clone(),
        kind: canary.kind(),
        run: canary.run.clone(),
        canary: canary.object(),
        context: Context::default(),
        started,
        finished: journey.now(),
        steps,
        timeline: journey.timeline,
        readings: journey.readings,
        connection: journey.connection,
        vault_log: VaultLog {
            trips: journey.trips,
            calls: Vec::new(),
        },
        leases,
        leftovers,
    }
}

/// A run under way.
struct Journey<'a> {
    canary: &'a Canary,
    clients: &'a Clients,
    shutdown: &'a Shutdown,
    epoch: Instant,
    wall: Timestamp,
    sightings: Subscription,
    timeline: Timeline,
    /// What reads it while a proof is waited for.
    reader: Option<Reader>,
    /// Whether anything may have been written to Vault.
    written: bool,
    /// Its writes there.
    trips: Vec<Trip>,
    readings: Vec<Reading>,
    /// The VaultConnection that the canary uses.
    connection: Option<ObjectRef>,
    /// What looks at its certificates, where it has some.
    inspector: Option<Arc<Inspector>>,
}

impl Journey<'_> {
    /// Takes the steps, one after the other, until one is not proven.
    async fn take(&mut self, steps: &mut Vec<StepRecord>, progress: &impl Fn(Progress)) {
        self.open().await;
        for (at, planned) in self.canary.plan.iter().enumerate() {
            progress(Progress::Begun(planned.step));
            let step = self.step(planned).await;
            let proven = step.end == End::Proven;
            let gone = proven && step.proof == Proof::Gone;
            let last = at + 1 == self.canary.plan.len();
            if proven && !gone && (!last || self.reads()) {
                self.settle(&step).await;
            }
            self.close(&step).await;
            steps.push(step);
            if !proven {
                break;
            }
        }
    }

    fn now(&self) -> Mark {
        Mark::new(Instant::now().saturating_duration_since(self.epoch))
    }

    fn instant(&self, mark: Mark) -> Instant {
        self.epoch.later(mark.elapsed())
    }

    async fn step(&mut self, planned: &Planned) -> StepRecord {
        let Planned {
            step,
            within,
            timeout,
            ..
        } = *planned;
        self.collect();
        let proof = self.canary.proof(step, &self.timeline);
        let promise = self.canary.promise(planned, &self.timeline);
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
        let stimulus = self.canary.stimulus(step);
        let prepared = match self.prepare(step, stimulus.as_ref(), timeout).await {
            Ok(own) => {
                let before = self.life(proof.lease(), timeout).await;
                before.map(|before| (own, before))
            }
            Err(end) => Err(end),
        };
        let (own, before) = match prepared {
            Ok(prepared) => prepared,
            Err(end) => return record(begun, self.now(), self.now(), end),
        };
        let door = LoginTarget::new(self.clients, self.canary, self.epoch);
        let watch = door
            .as_ref()
            .filter(|_| step == Step::Rotate && !matches!(proof, Proof::Given { .. }))
            .map(LoginTarget::watch);
        let canary = &self.canary.name;
        let started = self.now();
        let mut submitted = started;
        if let Some(stimulus) = stimulus {
            let sent = self.send(&stimulus, own, timeout).await;
            submitted = self.now();
            tracing::debug!(canary, %step, ok = sent.is_ok(), "the stimulus was sent");
            if let Err(end) = sent {
                return record(started, submitted, submitted, end);
            }
        }

        let wait = Wait {
            proof: &proof,
            promise,
            timeout,
            started,
            submitted,
            last: self.instant(started.plus(planned.longest)),
        };
        let end = self.await_proof(&wait, watch.as_ref()).await;
        let mut record = record(started, submitted, self.now(), end);
        if record.end == End::TimedOut {
            // Boxed: it is long and rare, and would weigh on every run under way.
            record.findings = Box::pin(evidence::gather(
                self.clients,
                self.canary,
                self.inspector.as_deref(),
                step,
                self.instant(started),
                self.wall.later(started.elapsed()),
            ))
            .await;
        } else if record.end == End::Proven && self.came_late(&record) {
            let wall = self.wall.later(started.elapsed());
            record.findings = evidence::words(self.clients, self.canary, step, wall).await;
        }
        if let Some(watch) = watch {
            record.findings.logins = watch.end().await;
        }
        if let Err(end) = self.ask_given_after(&record).await {
            record.end = end;
        }
        if matches!(record.end, End::Proven | End::TimedOut)
            && let Err(end) = self.examine(&mut record, before, door.as_ref()).await
        {
            record.end = end;
        }
        self.collect();
        record.findings.old_ends = self.old_ends(step, started).or(record.findings.old_ends);
        record.left = self.now();
        tracing::debug!(canary = self.canary.name, %step, end = record.end.as_str(), "the step is over");
        record
    }

    /// Whether the proof came later than it should have: then it is asked what the operator said meanwhile.
    fn came_late(&self, step: &StepRecord) -> bool {
        let timeline = &self.timeline;
        let due = operator::due(step.promise, timeline, step.submitted, step.ended);
        let measured = step.ended.since(due.unwrap_or(step.started));
        measured > step.within
    }

    /// Everything that has to be there before the stimulus and is not timed: a session with Vault,
    /// open connections, and what the step builds on. All of it takes no longer than `limit`. Returns what the
    /// stimulus changes, if it changes what is there.
    async fn prepare(
        &mut self,
        step: Step,
        stimulus: Option<&Action>,
        limit: Duration,
    ) -> Result<Option<OwnObject>, End> {
        let selector = canary::selector(&self.canary.instance);
        let deadline = Instant::now().later(limit);
        let left = || deadline.saturating_duration_since(Instant::now());
        let ready = self.clients.vault.ready();
        self.bounded(Peer::Vault, "log in", left(), ready).await?;
        if let Some(action) = self.canary.preparation(step) {
            let refused =
                |end: &End| matches!(end, End::Met(obstacle) if obstacle.how == Hindrance::Denied);
            let mut sent = self.send(&action, None, left()).await;
            if sent.as_ref().is_err_and(refused) {
                // The token may have been dead, which Vault is known to say by now.
                sent = self.send(&action, None, left()).await;
            }
            // Whether it was written is known only if Vault refused; after a silence it may have been.
            self.written = !sent.as_ref().is_err_and(refused);
            sent?;
        }
        if step == Step::Create {
            self.inspect(left()).await?;
            self.ask_given(left()).await?;
        }
        let warm = kubernetes::warm(&self.clients.kube, &self.clients.namespace, &selector);
        self.bounded(Peer::Kubernetes, "list Secrets", left(), warm)
            .await?;
        let Some(stimulus) = stimulus else {
            return Ok(None);
        };
        let object = stimulus::object(self.clients, self.canary, stimulus);
        self.bounded(Peer::Kubernetes, "look at the object", left(), object)
            .await
    }

    async fn send(
        &mut self,
        action: &Action,
        own: Option<OwnObject>,
        limit: Duration,
    ) -> Result<(), End> {
        let (peer, what) = action.request();
        let sending = stimulus::send(self.clients, self.canary, action, own);
        let sent = self.now();
        let done = self.bounded(peer, what, limit, sending).await;
        if matches!(action, Action::WriteKv { .. }) {
            let received = self.now();
            self.trips.push(Trip { sent, received });
        }
        done
    }

    /// Runs a request of the prober's own, no longer than `limit` and not beyond a shutdown, nor after one.
    async fn bounded<T>(
        &self,
        peer: Peer,
        what: &str,
        limit: Duration,
        request: impl Future<Output = Result<T, Obstacle>>,
    ) -> Result<T, End> {
        if self.shutdown.asked() {
            return Err(End::Interrupted);
        }
        tokio::select! {
            result = wire::limited(peer, what, limit, request) => result.map_err(End::Met),
            () = self.shutdown.wait() => Err(End::Interrupted),
        }
    }

    /// Takes in what has arrived already.
    fn collect(&mut self) {
        while let Some(sighting) = self.sightings.ready() {
            self.note(sighting);
        }
    }

    fn note(&mut self, sighting: Sighting) {
        let (canary, what) = (&self.canary.name, sighting.what.as_str());
        let at_seconds = sighting.at.elapsed().as_secs_f64();
        tracing::debug!(canary, at_seconds, what, "seen");
        let last = self.timeline.iter().next_back();
        let next = last.is_none_or(|last| last.at <= sighting.at);
        if let Some(reader) = self.reader.as_mut().filter(|_| next) {
            reader.take(&sighting);
        }
        self.timeline.push(sighting);
        // What comes out of order belongs before what was read.
        if let Some(reader) = self.reader.as_mut().filter(|_| !next) {
            *reader = reader.again(&self.timeline);
        }
    }
}
