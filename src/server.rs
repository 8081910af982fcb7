//! The connections of an HTTP server: a limited number, none of which waits for its peer for long.

mod patient;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
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
/// How long a connection may take to stand: a handshake is a part of that.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// How large a request's head may be.
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

/// Answers until the shutdown; requests under way are finished. Each connection is made ready by `open`. A request's head may
/// take as long as `head`, from when the connection stands or the last answer is given.
pub async fn run<Open, Opening, Stream>(
    listener: TcpListener,
    router: Router,
    head: Duration,
    open: Open,
    shutdown: Shutdown,
) where
    Open: Fn(TcpStream) -> Opening,
    Opening: Future<Output = io::Result<Stream>> + Send + 'static,
    Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let places = places(files());
    let port = listener.local_addr().map_or(0, |listens| listens.port());
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
                    let (router, taken, shutdown) =
                        (router.clone(), taken.clone(), shutdown.clone());
                    let answered = answer(open(stream), router, head, taken, shutdown);
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
                tracing::warn!(port, turned_away, places, "too many connections");
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
async fn answer<Stream: AsyncRead + AsyncWrite + Unpin>(
    opening: impl Future<Output = io::Result<Stream>>,
    router: Router,
    head: Duration,
    places: Places,
    shutdown: Shutdown,
) {
    let (seat, cut) = places.take();
    let opened = tokio::select! {
        biased;
        opened = timeout(OPEN_LIMIT, opening) => opened,
        () = cut.cancelled() => return,
        () = shutdown.wait() => return,
    };
    let stream = match opened {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, "a handshake failed"),
        Err(_) => return tracing::debug!("a handshake took too long"),
    };
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
        .header_read_timeout(head)
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
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

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

    /// A crowd that says nothing, before its connections stand or after, keeps nobody out.
    #[tokio::test]
    async fn who_has_something_to_say_is_answered_whoever_else_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", axum::routing::get(async || "hello"));
        // As a handshake does, it waits for the peer to begin.
        let open = async |stream: TcpStream| {
            stream.peek(&mut [0]).await?;
            Ok(stream)
        };
        let shutdown = Shutdown::default();
        let head = Duration::from_secs(60);
        let serving = tokio::spawn(run(listener, router, head, open, shutdown.clone()));
        let mut crowd = Vec::new();
        for number in 0..2 * PLACES {
            let mut idle = TcpStream::connect(address).await.unwrap();
            if number % 2 == 0 {
                idle.write_all(b"GET").await.unwrap();
            }
            crowd.push(idle);
        }
        let mut heard = TcpStream::connect(address).await.unwrap();
        let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        heard.write_all(request).await.unwrap();
        let mut answer = String::new();
        let read = timeout(Duration::from_secs(10), heard.read_to_string(&mut answer));
        read.await.expect("an answer").unwrap();
        assert!(answer.ends_with("hello"), "{answer}");
        drop(crowd);
        shutdown.ask();
        timeout(Duration::from_secs(10), serving)
            .await
            .expect("it ends")
            .unwrap();
    }
}
