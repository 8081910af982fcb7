//! The HTTP intake of audit lines: `POST /api/v1/audit/NAME`. What is answered with 204 survives a crash.

pub(in crate::tail) mod body;
mod tls;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use secrecy::ExposeSecret as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tokio_util::either::Either;

use super::outlet::Outlet;
use super::packed::Packing;
use super::{SourceName, Status};
use crate::config::AuditServer;
use crate::server;
use crate::shutdown::Shutdown;
use crate::wire::http::credential_aside;
use body::LARGEST;

/// How many bodies are in memory at once.
const BODIES: usize = 2;
/// How long the head of a request may take, from when the last was answered: a sender keeps its connection.
const HEAD: Duration = Duration::from_secs(60);
/// How long a sender may wait for its turn, and how long its body may take.
const TURN: Duration = Duration::from_secs(5);
const BODY: Duration = Duration::from_secs(30);
/// How long a batch may take to be judged and written to disk.
const JUDGED: Duration = Duration::from_secs(30);
/// When to come again, in seconds, if not now.
const RETRY_AFTER: &str = "5";

/// The intake: which sources it takes lines of.
#[derive(Clone)]
pub struct Intake {
    outlet: Outlet,
    sources: Arc<BTreeMap<SourceName, Sender>>,
}

/// Who sends the lines of a source.
struct Sender {
    status: watch::Sender<Status>,
    /// The file with the bearer token that it must have, in place of the server's.
    token: Option<PathBuf>,
}

/// What a request is answered by.
struct Served {
    intake: Intake,
    token: Option<PathBuf>,
    turns: Semaphore,
}

/// Why lines are not taken.
struct Refusal(StatusCode, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        let body = Json(json!({"error": error}));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            return (status, [(header::RETRY_AFTER, RETRY_AFTER)], body).into_response();
        }
        (status, body).into_response()
    }
}

impl Intake {
    pub(super) fn new(outlet: Outlet) -> Self {
        Self {
            outlet,
            sources: Arc::default(),
        }
    }

    /// Takes lines of a source, too.
    pub(super) fn add(
        &mut self,
        source: &SourceName,
        token: Option<PathBuf>,
    ) -> watch::Receiver<Status> {
        let (status, told) = watch::channel(Status::default());
        let sources = Arc::get_mut(&mut self.sources);
        if let Some(sources) = sources {
            sources.insert(source.clone(), Sender { status, token });
        }
        told
    }

    /// Whether it has any source.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Begins to listen, and returns what answers requests until the shutdown.
    ///
    /// # Errors
    /// The address can't be listened on, or the files of its TLS can't be used.
    pub async fn listen(
        &self,
        server: &AuditServer,
        shutdown: Shutdown,
    ) -> io::Result<impl Future<Output = ()> + Send + use<>> {
        let acceptor = server.tls.clone().map(tls::Acceptor::new).transpose()?;
        let acceptor = acceptor.map(Arc::new);
        let open = move |stream: TcpStream| {
            let acceptor = acceptor.clone();
            async move {
                Ok(match acceptor {
                    Some(acceptor) => Either::Left(acceptor.accept(stream).await?),
                    None => Either::Right(stream),
                })
            }
        };
        let listener = TcpListener::bind(server.listen).await?;
        let router = self.router(server.bearer_token_file.clone());
        Ok(server::run(listener, router, HEAD, open, shutdown))
    }

    fn router(&self, token: Option<PathBuf>) -> Router {
        let served = Arc::new(Served {
            intake: self.clone(),
            token,
            turns: Semaphore::new(BODIES),
        });
        Router::new()
            .route("/api/v1/audit/{source}", post(take))
            .with_state(served)
    }
}

/// Takes a body.
async fn take(
    State(served): State<Arc<Served>>,
    Path(source): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let sources = &served.intake.sources;
    let known = sources.get_key_value(source.as_str());
    let own = known.and_then(|(_, sender)| sender.token.as_ref());
    served.admit(&headers, own).await?;
    let Some((source, Sender { status, .. })) = known else {
        let none = "there is no source of this name with `http` in `audit.sources`";
        return Err(Refusal(StatusCode::NOT_FOUND, none.to_owned()));
    };
    let behind = || {
        let behind = "lines are not judged as fast as they come; try again";
        Refusal(StatusCode::SERVICE_UNAVAILABLE, behind.to_owned())
    };
    let turn = timeout(TURN, served.turns.acquire()).await;
    let _turn = turn.map_err(|_| behind())?.map_err(|_| behind())?;
    let body = read(body).await?;
    let pieces = unpack(&headers, body).await?;
    if pieces.is_empty() {
        return Ok(StatusCode::NO_CONTENT);
    }
    let sent = timeout(TURN, served.intake.outlet.send(source, pieces, status)).await;
    let kept = sent.map_err(|_| behind())?.map_err(|_| behind())?;
    match timeout(JUDGED, kept).await {
        Ok(Ok(())) => Ok(StatusCode::NO_CONTENT),
        Ok(Err(_)) | Err(_) => Err(behind()),
    }
}

impl Served {
    /// Whether the sender has the secret, if one is asked for: its source's own, or else the server's.
    async fn admit(&self, headers: &HeaderMap, own: Option<&PathBuf>) -> Result<(), Refusal> {
        let Some(file) = own.or(self.token.as_ref()) else {
            return Ok(());
        };
        let wanted = credential_aside("the `bearerTokenFile` of the audit", file).await;
        let wanted = wanted.map_err(|why| {
            tracing::warn!(why, "the audit intake takes nothing");
            let unread = "the intake's own secret can't be read; its log says why";
            Refusal(StatusCode::SERVICE_UNAVAILABLE, unread.to_owned())
        })?;
        let given = headers.get(header::AUTHORIZATION);
        let given = given.and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // Digests take the same time to compare, however much of a guess is right.
        let digest = |secret: &[u8]| Sha256::digest(secret);
        let right = given.is_some_and(|given| {
            digest(given.trim_ascii()) == digest(wanted.expose_secret().as_bytes())
        });
        if right {
            return Ok(());
        }
        let missing =
            "the bearer token of this source is needed: its own `bearerTokenFile`, or the server's";
        Err(Refusal(StatusCode::UNAUTHORIZED, missing.to_owned()))
    }
}

/// Reads a body within its limits.
async fn read(body: Body) -> Result<Bytes, Refusal> {
    let limited = Limited::new(body, LARGEST).collect();
    match timeout(BODY, limited).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(too_large()),
        Ok(Err(error)) => Err(Refusal(
            StatusCode::BAD_REQUEST,
            format!("the body was cut off: {error}"),
        )),
        Err(_) => Err(Refusal(
            StatusCode::REQUEST_TIMEOUT,
            "the body did not come in time".to_owned(),
        )),
    }
}

fn too_large() -> Refusal {
    let most = LARGEST >> 20;
    let text = format!("a body may have {most} MiB, unpacked; send smaller batches");
    Refusal(StatusCode::PAYLOAD_TOO_LARGE, text)
}

/// The lines of a body.
async fn unpack(headers: &HeaderMap, body: Bytes) -> Result<Vec<super::Piece>, Refusal> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let unsupported = |text: &str| Refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, text.to_owned());
    let packing = match text(header::CONTENT_ENCODING).map(str::trim) {
        None | Some("" | "identity") => None,
        Some("gzip") => Some(Packing::Gzip),
        Some("zstd") => Some(Packing::Zstd),
        Some(_) => return Err(unsupported("`Content-Encoding` must be gzip or zstd")),
    };
    let msgpack = "msgpack is not read; in Fluent Bit's output, set `Format json_lines`";
    if text(header::CONTENT_TYPE).is_some_and(|of| of.contains("msgpack")) {
        return Err(unsupported(msgpack));
    }
    let unpacked = spawn_blocking(move || {
        let body = match packing {
            Some(packing) => body::unpacked(body, packing)
                .map_err(|error| {
                    let text = format!("the body can't be unpacked: {error}");
                    Refusal(StatusCode::BAD_REQUEST, text)
                })?
                .ok_or_else(too_large)?,
            None => body,
        };
        if body::is_text(&body) {
            Ok(body::pieces(&body))
        } else {
            let msgpack = "this is not text; in Fluent Bit's output, set `Format json_lines`";
            Err(Refusal(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                msgpack.to_owned(),
            ))
        }
    });
    let failed =
        |error: tokio::task::JoinError| Refusal(StatusCode::SERVICE_UNAVAILABLE, error.to_string());
    unpacked.await.map_err(failed)?
}

#[cfg(test)]
mod tests;
