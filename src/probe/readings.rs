//! The readings at the edges of the steps, and never within one: the operator is allowed to finish, and its metrics
//! are read.

use std::time::Duration;

use jiff::SignedDuration;
use kube::api::Api;
use tokio::time::Instant;

use super::clients::QUESTION_LIMIT;
use super::{Clients, Journey, global};
use crate::canary::Canary;
use crate::kubernetes;
use crate::model::Mark;
use crate::model::name::ObjectRef;
use crate::model::proof::Proof;
use crate::model::record::{End, Peer, StepRecord};
use crate::model::snapshot::{Reading, Snapshot};
use crate::model::time::Moment as _;
use crate::operator::api::VaultAuth;
use crate::operator::{self, Own, WAKE};
use crate::scrape::{self, Prometheus, Sampled, Scraper, Source};
use crate::wire;

/// How long the operator may take to finish what it does after a proof (status, finalizer) before the
/// next stimulus is sent all the same. Not timed: it keeps two steps from being taken for one.
const SETTLE_LIMIT: Duration = Duration::from_secs(2);

/// A reconcile counts when it returns, shortly after the last that is seen of it: how long to wait, each
/// time, before it is looked for again. In milliseconds.
const PAUSES: [u64; 5] = [0, 10, 20, 40, 80];
/// A Secret's end wakes the operator once more, which must not fall to the next run: how long to wait for it
/// beyond the operator's own jitter.
const WOKEN: Duration = Duration::from_millis(20);
/// How far before a run Prometheus is asked for a sample.
const BEFORE: Duration = Duration::from_secs(180);
/// How long a sample later than the last step is waited for.
const AFTER: Duration = Duration::from_secs(65);
/// How long a scrape of Prometheus' takes to be found by a query, and how often it is looked for at most.
const APPEARANCE: Duration = Duration::from_secs(1);

impl Journey<'_> {
    /// Whether the operator's metrics are read at all.
    pub(super) const fn reads(&self) -> bool {
        !matches!(self.clients.metrics, Source::None)
    }

    /// Waits until the operator has told of what it did in a step, and has finished with the resource.
    pub(super) async fn settle(&mut self, step: &StepRecord) {
        let deadline = Instant::now().later(SETTLE_LIMIT);
        let before = self.timeline.resource_at(step.started).cloned();
        loop {
            self.collect();
            let settled = self
                .timeline
                .resource_at(self.now())
                .is_some_and(|resource| {
                    resource.finalizer
                        && before
                            .as_ref()
                            .is_none_or(|before| before.outcome() != resource.outcome())
                        && resource.healthy.is_some()
                        && resource.last_generation >= resource.generation
                });
            if settled {
                return;
            }
            if self.look(deadline).await.is_err() {
                return;
            }
        }
    }

    /// The reading before the first step.
    pub(super) async fn open(&mut self) {
        if self.reads() {
            self.connection = connection(self.clients, self.canary).await;
        }
        if let Source::Direct(scraper) = &self.clients.metrics {
            let reading = self.reading(scraper).await;
            self.readings.extend(reading);
        }
    }

    /// The reading after a step, which is that before the next: once every reconcile that the watch has
    /// shown is counted, or evidently will not be.
    pub(super) async fn close(&mut self, step: &StepRecord) {
        let Source::Direct(scraper) = &self.clients.metrics else {
            return;
        };
        if !matches!(step.end, End::Proven | End::TimedOut) {
            return;
        }
        let gone = step.end == End::Proven && step.proof == Proof::Gone;
        if gone {
            self.linger(Instant::now().later(WAKE).later(WOKEN)).await;
        }
        let mut last = None;
        for pause in PAUSES.map(Duration::from_millis) {
            if !pause.is_zero() {
                self.linger(Instant::now().later(pause)).await;
            }
            let Some(reading) = self.reading(scraper).await else {
                break;
            };
            let counted = self.counted(&reading, gone);
            last = Some(reading);
            if counted {
                break;
            }
        }
        self.readings.extend(last);
    }

    /// Whether a reading counts all reconciles of the canary since the one before, as far as can be told.
    fn counted(&self, reading: &Reading, gone: bool) -> bool {
        let kind = self.canary.kind();
        let Some(before) = self.readings.last() else {
            return true;
        };
        let Ok(delta) = before.delta(reading, kind, None) else {
            return true;
        };
        let own = Own::counted(&self.timeline, before.received, reading.asked);
        let expected = if gone { own.at_most() } else { own.shown };
        delta.reconciles >= f64::from(expected)
    }

    /// The end of the run, with the canary removed.
    pub(super) async fn end(&mut self, last: Option<&StepRecord>, gone: bool) {
        match (&self.clients.metrics, last) {
            (Source::Direct(_), _) if !gone => {
                self.linger(Instant::now().later(WAKE).later(WOKEN)).await;
            }
            (Source::Prometheus(past), Some(last)) => self.look_back(past, last).await,
            (Source::None | Source::Direct(_) | Source::Prometheus(_), _) => {}
        }
    }

    /// Takes what Prometheus has read meanwhile, once it has read something later than the last step.
    async fn look_back(&mut self, past: &Prometheus, last: &StepRecord) {
        let deadline = Instant::now().later(AFTER);
        loop {
            match self.past(past).await {
                Err(error) => {
                    tracing::warn!(%error, "no metrics of the operator");
                    let now = self.now();
                    self.readings = vec![Reading {
                        asked: now,
                        received: now,
                        before: Duration::ZERO,
                        what: Err(error.text),
                    }];
                    return;
                }
                Ok(readings) => self.readings = readings,
            }
            let enclosed = self
                .readings
                .iter()
                .any(|reading| reading.asked >= last.ended);
            let next = self.instant(next(&self.readings, self.now()));
            if enclosed || next > deadline || self.shutdown.asked() {
                return;
            }
            self.linger(next).await;
        }
    }

    async fn past(&self, past: &Prometheus) -> Result<Vec<Reading>, scrape::Error> {
        let wall = |mark: Mark| self.wall.later(mark.elapsed());
        let sampled = past
            .between(self.wall.earlier(BEFORE), wall(self.now()))
            .await?;
        Ok(sampled
            .into_iter()
            .map(|sampled| self.sampled(sampled))
            .collect())
    }

    fn sampled(&self, sampled: Sampled) -> Reading {
        let since = |moment: jiff::Timestamp| moment.duration_since(self.wall);
        let mark = |since: SignedDuration| Mark::new(since.try_into().unwrap_or_default());
        let before = since(sampled.asked).min(SignedDuration::ZERO);
        Reading {
            asked: mark(since(sampled.asked)),
            received: mark(since(sampled.received)),
            before: before.unsigned_abs(),
            what: Ok(self.own(sampled.snapshot)),
        }
    }

    /// Looks at the operator's metrics now; `None` if the program is told to stop meanwhile.
    async fn reading(&mut self, scraper: &Scraper) -> Option<Reading> {
        let look = tokio::select! {
            look = scraper.look() => look,
            () = self.shutdown.wait() => return None,
        };
        self.collect();
        let mark = |at: Instant| Mark::new(at.saturating_duration_since(self.epoch));
        Some(Reading {
            asked: mark(look.begun),
            received: mark(look.ended),
            before: Duration::ZERO,
            what: match &look.what {
                Ok(snapshot) => Ok(self.own(snapshot.clone())),
                Err(error) => Err(error.text.clone()),
            },
        })
    }

    /// Leaves out what is nothing of this canary's: a record may be kept for long.
    fn own(&self, mut snapshot: Snapshot) -> Snapshot {
        let own = self.connection.as_ref().map(ToString::to_string);
        snapshot
            .connections
            .retain(|name, _| Some(name) == own.as_ref());
        snapshot
            .controllers
            .retain(|kind, _| *kind == self.canary.kind());
        snapshot
    }

    /// Takes in what is seen until `deadline`.
    async fn linger(&mut self, deadline: Instant) {
        while self.look(deadline).await.is_ok() {}
    }
}

/// When Prometheus' next sample is to be expected, from those that it has.
fn next(readings: &[Reading], now: Mark) -> Mark {
    let soon = now.plus(APPEARANCE);
    let [.., before, last] = readings else {
        return soon;
    };
    last.received
        .plus(last.asked.since(before.asked))
        .plus(APPEARANCE)
        .max(soon)
}

/// The VaultConnection behind the canary's VaultAuth, asked for once a VaultAuth. `None` if it can't be told.
async fn connection(clients: &Clients, canary: &Canary) -> Option<ObjectRef> {
    let auth = canary.auth_ref();
    let mut known = clients.connections.lock().await;
    if let Some(connection) = known.get(&auth) {
        return Some(connection.clone());
    }
    let auths = Api::<VaultAuth>::namespaced(clients.kube.clone(), &auth.namespace);
    let what = format!("get VaultAuth `{auth}`");
    let asked = wire::limited(Peer::Kubernetes, &what, QUESTION_LIMIT, async {
        let found = auths.get_opt(&auth.name).await;
        found.map_err(|error| kubernetes::obstacle(&what, &error))
    });
    let found = match asked.await {
        Ok(found) => found?,
        Err(obstacle) => {
            let error = obstacle.text;
            tracing::debug!(%error, "can't determine the canary's VaultConnection");
            return None;
        }
    };
    let operators = &clients.operator.namespace;
    let (spec, _) = global::whole(clients, found.spec, &auth.namespace).await;
    let spec = spec?;
    let (namespace, name) = operator::connection_of(&spec, &auth.namespace, operators)?;
    let connection = ObjectRef::new(namespace, name);
    known.insert(auth, connection.clone());
    Some(connection)
}
