//! The connections of the intake: a limited number, none of which waits for its peer for long.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tower::ServiceExt as _;

use super::tls::Acceptor;
use crate::model::time::Moment as _;
use crate::shutdown::Shutdown;

/// How many connections there are at most.
const CONNECTIONS: usize = 64;
/// How long a handshake may take, and the head of a request from when the last was answered.
const HANDSHAKE: Duration = Duration::from_secs(5);
const HEAD: Duration = Duration::from_secs(60);
/// How long to wait where no connection can be taken.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until the shutdown; requests under way are finished.
pub(super) async fn run(
    listener: TcpListener,
    router: Router,
    acceptor: Option<Acceptor>,
    shutdown: Shutdown,
) {
    let acceptor = Arc::new(acceptor);
    let free = Arc::new(Semaphore::new(CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        let permit = tokio::select! {
            () = shutdown.wait() => break,
            permit = free.clone().acquire_owned() => permit,
        };
        let accepted = tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => accepted,
        };
        while tasks.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "can't accept a connection of the audit intake");
                sleep_until(Instant::now().later(PAUSE)).await;
                continue;
            }
        };
        let (router, acceptor, shutdown) = (router.clone(), acceptor.clone(), shutdown.clone());
        tasks.spawn(async move {
            match &*acceptor {
                None => answer(stream, router, shutdown).await,
                Some(acceptor) => match timeout(HANDSHAKE, acceptor.accept(stream)).await {
                    Ok(Ok(stream)) => answer(stream, router, shutdown).await,
                    Ok(Err(error)) => tracing::debug!(%error, "a handshake failed"),
                    Err(_) => tracing::debug!("a handshake took too long"),
                },
            }
            drop(permit);
        });
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// Answers what comes on one connection.
async fn answer(stream: impl AsyncRead + AsyncWrite + Unpin, router: Router, shutdown: Shutdown) {
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let router = router.clone();
        async move {
            let answer = router.oneshot(Request::from(request.map(Body::new))).await;
            answer.map_err(|never: Infallible| never)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::trace!(%error, "a connection of the audit intake broke");
    }
}
