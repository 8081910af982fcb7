//! Liveness by progress: whoever works in the background promises by when it will next have moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::time::Moment as _;

/// Every promise that stands.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<Promises>>);

#[derive(Debug, Default)]
struct Promises {
    next: u64,
    standing: BTreeMap<u64, (String, Instant)>,
    ready: bool,
}

/// The promise of one worker. It ends with the worker, but not by a panic: that is a broken one.
#[derive(Debug)]
pub struct Promise {
    id: u64,
    health: Health,
}

impl Health {
    /// A worker called `who` promises to have moved within `limit`.
    pub fn promise(&self, who: &str, limit: Duration) -> Promise {
        let mut promises = self.lock();
        let id = promises.next;
        promises.next += 1;
        let by = Instant::now().later(limit);
        promises.standing.insert(id, (who.to_owned(), by));
        Promise {
            id,
            health: self.clone(),
        }
    }

    /// The promises that are broken: who, and since when.
    pub fn broken(&self) -> Vec<(String, Duration)> {
        let now = Instant::now();
        let promises = self.lock();
        let standing = promises.standing.values();
        standing
            .filter(|(_, by)| *by < now)
            .map(|(who, by)| (who.clone(), now.saturating_duration_since(*by)))
            .collect()
    }

    /// Says whether the program can do its work.
    pub fn set_ready(&self, ready: bool) {
        self.lock().ready = ready;
    }

    /// Whether it can.
    pub fn ready(&self) -> bool {
        self.lock().ready
    }

    fn lock(&self) -> MutexGuard<'_, Promises> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_moving_is_named() {
        let health = Health::default();
        let promise = health.promise("probe", SECOND);
        let _other = health.promise("other", 9 * SECOND);
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(health.broken(), [("probe".to_owned(), SECOND)]);
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
            panic!("as a test");
        });
        assert!(worker.await.is_err());
        tokio::time::advance(2 * SECOND).await;
        assert_eq!(health.broken().len(), 1);
    }
}
