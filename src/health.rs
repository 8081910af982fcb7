//! Liveness of background tasks: each promises when it will next have made progress, and one that must not end
//! is missed when it does.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::model::time::Moment as _;
use crate::panic::{Panic, caught};

/// Every promise that stands, and every task that has stopped.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    stopped: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    standing: BTreeMap<u64, (String, Instant)>,
    stopped: Vec<Stopped>,
    ready: bool,
}

/// The promise of one worker. It ends with the worker, but not by a panic: that is a broken one.
#[derive(Debug)]
pub struct Promise {
    id: u64,
    health: Health,
}

/// What is wrong with a worker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Broken {
    /// It should have moved so long ago and has not.
    Late(String, Duration),
    /// It has stopped.
    Stopped(Stopped),
}

/// A task that has ended although it must not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stopped {
    /// Which task.
    pub who: String,
    /// Its panic, if it was one.
    pub panic: Option<Panic>,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(who, late) => {
                let late = late.as_secs_f64();
                write!(
                    f,
                    "{who} is stuck: no progress, {late:.0} s past its deadline"
                )
            }
            Self::Stopped(stopped) => stopped.fmt(f),
        }
    }
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has stopped: ", self.who)?;
        match &self.panic {
            Some(panic) => panic.fmt(f),
            None => f.write_str("it ended unexpectedly: a bug; please report it"),
        }
    }
}

impl Health {
    /// A worker called `who` promises to have moved within `limit`.
    pub fn promise(&self, who: &str, limit: Duration) -> Promise {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let by = Instant::now().later(limit);
        state.standing.insert(id, (who.to_owned(), by));
        Promise {
            id,
            health: self.clone(),
        }
    }

    /// Does the work of a task called `who`, and takes note if it panics, or ends when it may not. To be dropped is
    /// no end.
    pub async fn keep(
        self,
        who: String,
        may_end: impl Fn() -> bool,
        work: impl Future<Output = ()>,
    ) {
        let panic = caught(work).await.err();
        if panic.is_some() || !may_end() {
            self.lock().stopped.push(Stopped { who, panic });
            self.0.stopped.notify_waiters();
        }
    }

    /// Waits until a task has stopped that must not.
    pub async fn stopped(&self) -> Stopped {
        loop {
            let next = self.0.stopped.notified();
            if let Some(stopped) = self.lock().stopped.first() {
                return stopped.clone();
            }
            next.await;
        }
    }

    /// All that is wrong.
    pub fn broken(&self) -> Vec<Broken> {
        let now = Instant::now();
        let state = self.lock();
        let stopped = state.stopped.iter().cloned().map(Broken::Stopped);
        let late = state.standing.values().filter(|(_, by)| *by < now);
        let late =
            late.map(|(who, by)| Broken::Late(who.clone(), now.saturating_duration_since(*by)));
        stopped.chain(late).collect()
    }

    /// Says whether the program can do its work.
    pub fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// Whether it can.
    pub fn ready(&self) -> bool {
        self.lock().ready
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Promise {
    /// It has moved, and will again at `by` at the latest.
    pub fn renew(&self, by: Instant) {
        if let Some((_, promised)) = self.health.lock().standing.get_mut(&self.id) {
            *promised = by;
        }
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.health.lock().standing.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_moving_is_named() {
        let health = Health::default();
        let promise = health.promise("probe", SECOND);
        let _other = health.promise("other", 9 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(health.broken(), [Broken::Late("probe".to_owned(), SECOND)]);
        promise.renew(Instant::now() + SECOND);
        assert_eq!(health.broken(), []);
        drop(promise);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(health.broken(), []);
    }

    #[tokio::test(start_paused = true)]
    async fn a_worker_that_panicked_stays_broken() {
        let health = Health::default();
        let promise = health.promise("probe", SECOND);
        let worker = tokio::spawn(async move {
            let _promise = promise;
            panic!("a test of a panic");
        });
        assert!(worker.await.is_err());
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(health.broken(), [Broken::Late("probe".to_owned(), SECOND)]);
    }

    /// Whether a task is missed that does this.
    async fn missed(may_end: bool, work: impl Future<Output = ()>) -> Option<Stopped> {
        let health = Health::default();
        health
            .clone()
            .keep("a watch".to_owned(), move || may_end, work)
            .await;
        let stopped = health.stopped().now_or_never();
        assert_eq!(health.broken().len(), usize::from(stopped.is_some()));
        stopped
    }

    #[tokio::test]
    async fn a_task_that_ends_when_it_must_not_is_missed() {
        let stopped = missed(false, async {}).await.expect("it is missed");
        assert_eq!((stopped.who.as_str(), stopped.panic), ("a watch", None));
        assert_eq!(missed(true, async {}).await, None);
        let stopped = missed(true, async { panic!("a test of a panic") }).await;
        assert!(stopped.is_some_and(|stopped| stopped.panic.is_some()));
    }

    #[tokio::test]
    async fn whoever_waits_is_told_of_a_task_that_stops_meanwhile() {
        let health = Health::default();
        let waiting = tokio::spawn({
            let health = health.clone();
            async move { health.stopped().await.who }
        });
        tokio::task::yield_now().await;
        health.keep("it".to_owned(), || false, async {}).await;
        assert_eq!(waiting.await.expect("it ends"), "it");
    }
}
