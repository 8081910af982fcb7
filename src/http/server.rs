//! The HTTP server's connections: a limited number, none of which waits for its peer for long.

mod patient;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::model::time::Moment as _;
use crate::shutdown::Shutdown;
use patient::Patient;

/// How many connections there are at most, and which share of the files that the process may open.
const PLACES: usize = 64;
const SHARE: usize = 4;
/// How long a request's head may take, from when the connection stands or the last answer is given.
const HEAD_LIMIT: Duration = Duration::from_secs(10);
/// How large it may be.
const HEAD_BYTES: usize = 128 * 1024;
/// How long one that has to go may take to do so.
const LEAVE_LIMIT: Duration = Duration::from_millis(100);
/// How long to wait where no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is told that there were too many.
const TELL_EVERY: Duration = Duration::from_secs(60);

/// The connections that there are.
#[derive(Clone, Default)]
struct Places(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    next: u64,
    taken: BTreeMap<u64, Place>,
}

/// One connection.
struct Place {
    /// Since when it waits for its peer; none while its request is being answered.
    waits: Option<Instant>,
    /// Ends it.
    cut: CancellationToken,
}

/// A place that is taken for as long as this lives.
struct Seat {
    id: u64,
    places: Places,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.places.lock().taken.remove(&self.id);
    }
}

/// How many connections there may be, where so many files may be open.
fn places(files: Option<usize>) -> usize {
    files.map_or(PLACES, |files| (files / SHARE).clamp(2, PLACES))
}

/// How many files the process may open, as Linux tells it.
fn files() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Answers until the shutdown; requests under way are finished.
pub(super) async fn run(listener: TcpListener, router: Router, shutdown: Shutdown) {
    let places = places(files());
    let free = Arc::new(Semaphore::new(places));
    let taken = Places::default();
    let mut tasks = JoinSet::new();
    let mut turned_away = 0_u64;
    let mut told: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let taken_in = match accepted {
            Ok((stream, _)) => match place(&free, &taken).await {
                Some(permit) => {
                    let answered = answer(stream, router.clone(), taken.clone(), shutdown.clone());
                    tasks.spawn(async move {
                        answered.await;
                        drop(permit);
                    });
                    true
                }
                None => false,
            },
            Err(error) => {
                // There may be no file to be had: then one that waits makes place.
                taken.cut();
                tracing::debug!(%error, "can't accept a connection");
                sleep_until(Instant::now().later(PAUSE)).await;
                false
            }
        };
        if !taken_in {
            turned_away += 1;
            if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
                told = Some(Instant::now());
                tracing::warn!(turned_away, places, "too many connections");
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// A place for one more connection. If there is none, the one that has waited longest for its peer goes.
async fn place(free: &Arc<Semaphore>, taken: &Places) -> Option<OwnedSemaphorePermit> {
    if let Ok(permit) = free.clone().try_acquire_owned() {
        return Some(permit);
    }
    if !taken.cut() {
        return None;
    }
    let permit = timeout(LEAVE_LIMIT, free.clone().acquire_owned()).await;
    permit.ok()?.ok()
}

/// Answers what comes on one connection.
async fn answer(stream: TcpStream, router: Router, places: Places, shutdown: Shutdown) {
    let (seat, cut) = places.take();
    let id = seat.id;
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (router, places) = (router.clone(), places.clone());
        async move {
            places.waits(id, None);
            let answer = router.oneshot(Request::from(request.map(Body::new))).await;
            places.waits(id, Some(Instant::now()));
            answer
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_LIMIT)
        .max_buf_size(HEAD_BYTES)
        .serve_connection(TokioIo::new(Patient::new(stream)), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => Some(ended),
        () = cut.cancelled() => None,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                ended = &mut connection => Some(ended),
                () = cut.cancelled() => None,
            }
        }
    };
    if let Some(Err(error)) = ended {
        tracing::trace!(%error, "a connection broke");
    }
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one.
    fn take(&self) -> (Seat, CancellationToken) {
        let mut state = self.lock();
        let id = state.next;
        state.next += 1;
        let cut = CancellationToken::new();
        let place = Place {
            waits: Some(Instant::now()),
            cut: cut.clone(),
        };
        state.taken.insert(id, place);
        drop(state);
        let places = self.clone();
        (Seat { id, places }, cut)
    }

    fn waits(&self, id: u64, since: Option<Instant>) {
        if let Some(place) = self.lock().taken.get_mut(&id) {
            place.waits = since;
        }
    }

    /// Ends the connection that has waited longest for its peer. Returns whether there was one.
    fn cut(&self) -> bool {
        let mut state = self.lock();
        let waiting = state
            .taken
            .iter()
            .filter_map(|(id, place)| Some((place.waits?, *id)));
        let Some((_, longest)) = waiting.min() else {
            return false;
        };
        if let Some(place) = state.taken.remove(&longest) {
            place.cut.cancel();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_files_are_kept_for_the_probes() {
        assert_eq!(places(Some(1024)), PLACES);
        assert_eq!(places(Some(64)), 16);
        assert_eq!(places(Some(3)), 2);
        assert_eq!(places(None), PLACES);
        assert!(files().is_some_and(|files| files > 2));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_waited_longest_makes_place_and_whose_request_is_answered_does_not() {
        let places = Places::default();
        let (busy, busy_cut) = places.take();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (_first, first) = places.take();
        tokio::time::advance(Duration::from_secs(1)).await;
        let (_second, second) = places.take();
        places.waits(busy.id, None);
        assert!(places.cut() && first.is_cancelled() && !second.is_cancelled());
        assert!(places.cut() && second.is_cancelled());
        assert!(!places.cut() && !busy_cut.is_cancelled());
    }
}
