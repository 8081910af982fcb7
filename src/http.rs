//! The HTTP interface: metrics, health, runs, a page for people, and, if enabled, control.

mod audit;
mod guard;
mod page;
mod sent;

use std::future::ready;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{mpsc, oneshot};

use crate::health::Health;
use crate::history::History;
use crate::model::run::Run;
use crate::publish::{ProbeStatus, Publisher};
use crate::server;
use crate::shutdown::Shutdown;
pub use audit::{AuditBoard, AuditNews, RuleOff, SourceStatus};
pub use guard::Names;
pub use sent::Budget;

/// How many runs are told unless the request says otherwise.
const LIMIT: usize = 50;

/// What a request asks of the program.
pub enum Ask {
    /// To read the configuration again.
    Reload(oneshot::Sender<Result<(), String>>),
    /// To run a probe now.
    Run {
        /// The probe's name.
        probe: String,
        /// Where the outcome is told.
        reply: oneshot::Sender<Result<Ran, Refusal>>,
    },
}

/// A run that was asked for.
pub struct Ran {
    /// The run.
    pub run: Arc<Run>,
    /// Its log.
    pub log: String,
}

/// Why a run that was asked for was not begun.
#[derive(Clone, Copy, Debug)]
pub enum Refusal {
    /// There is no such probe.
    Unknown,
    /// A run of it is under way.
    Busy,
    /// Another replica leads.
    Following,
}

/// What the requests are answered from.
#[derive(Clone)]
pub struct Served {
    /// Everything that is published.
    pub publisher: Arc<Publisher>,
    /// The runs.
    pub history: Arc<History>,
    /// Whether the program gets on with its work.
    pub health: Health,
    /// Where to ask for control, if requests may.
    pub control: Option<mpsc::Sender<Ask>>,
    /// By which names requests may ask for it.
    pub names: Names,
    /// How much may be under way.
    pub budget: Budget,
    /// What the audit told last.
    pub audit: Arc<AuditBoard>,
}

/// How much of an answer the system keeps for a peer that does not take it, in bytes.
const SEND_BUFFER: u32 = 64 * 1024;
/// How many connections the system keeps for the server to take.
const BACKLOG: u32 = 128;
/// How long a request's head may take.
const HEAD: Duration = Duration::from_secs(10);

/// Listens on `address`.
///
/// # Errors
/// The system does not let it.
pub fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until the shutdown; requests under way are finished.
pub async fn serve(listener: TcpListener, served: Served, shutdown: Shutdown) {
    let names = served.names.clone();
    let router = Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/probes", get(probes))
        .route("/api/v1/runs", get(runs))
        .route("/api/v1/runs/{id}", get(run))
        .route("/findings", get(audit::page))
        .route("/api/v1/audit/findings", get(audit::findings))
        .route("/api/v1/audit/calls", get(audit::calls))
        .route("/api/v1/audit/drills", post(audit::drilled))
        .route("/api/v1/audit/sources", get(audit::sources))
        .route("/api/v1/audit/presence", get(audit::presence))
        .route("/-/reload", post(reload))
        .route("/api/v1/probes/{name}/run", post(run_now))
        .fallback(nothing)
        .layer(middleware::from_fn_with_state(names, guard::watch))
        .with_state(served);
    server::run(listener, router, HEAD, |stream| ready(Ok(stream)), shutdown).await;
}

async fn page(State(served): State<Served>) -> Response {
    let page = page::render(
        &served.publisher.probes(),
        &served.history.latest(None, LIMIT),
        &served.health.broken(),
        &served.publisher.standing(),
    );
    let media = "text/html; charset=utf-8";
    served.budget.send(media, page.into_bytes())
}

async fn metrics(State(served): State<Served>, headers: HeaderMap) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let exposition = served.publisher.expose(accept);
    let headers = [
        (header::CONTENT_TYPE, exposition.content_type),
        (header::VARY, "Accept"),
    ];
    (headers, exposition.body).into_response()
}

async fn healthz(State(served): State<Served>) -> Response {
    let broken = served.health.broken();
    if broken.is_empty() {
        return "ok\n".into_response();
    }
    let lines = broken.iter().map(|broken| format!("{broken}\n"));
    (StatusCode::SERVICE_UNAVAILABLE, lines.collect::<String>()).into_response()
}

async fn readyz(State(served): State<Served>) -> Response {
    if served.health.ready() {
        "ok\n".into_response()
    } else {
        let text = "not ready: the watches on Kubernetes are not open yet\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}

async fn probes(State(served): State<Served>) -> Response {
    let probes = served.publisher.probes();
    served.budget.json(&Probes { probes })
}

#[derive(Serialize)]
struct Probes {
    probes: Vec<ProbeStatus>,
}

#[derive(Serialize)]
struct Runs<'a> {
    runs: Vec<&'a Run>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Filter {
    probe: Option<String>,
    limit: Option<usize>,
}

async fn runs(
    State(served): State<Served>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Response {
    let Query(filter) = match filter {
        Ok(filter) => filter,
        Err(rejection) => return unfit(&rejection),
    };
    let probe = filter.probe.as_deref();
    let runs = served.history.latest(probe, filter.limit.unwrap_or(LIMIT));
    let runs = runs.iter().map(AsRef::as_ref).collect();
    served.budget.json(&Runs { runs })
}

async fn run(State(served): State<Served>, Path(id): Path<String>) -> Response {
    match served.history.run(&id) {
        Some(run) => served.budget.json(run.as_ref()),
        None => error(
            StatusCode::NOT_FOUND,
            &format!("no run `{id}`; `/api/v1/runs` lists the stored runs"),
        ),
    }
}

async fn reload(State(served): State<Served>) -> Response {
    let (reply, answer) = oneshot::channel();
    match ask(&served, Ask::Reload(reply), answer).await {
        Ok(Ok(())) => "reloaded\n".into_response(),
        Ok(Err(problems)) => (StatusCode::BAD_REQUEST, problems + "\n").into_response(),
        Err(refused) => refused,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RunHow {
    #[serde(default)]
    debug: bool,
}

async fn run_now(
    State(served): State<Served>,
    Path(name): Path<String>,
    how: Result<Query<RunHow>, QueryRejection>,
) -> Response {
    let debug = match how {
        Ok(Query(how)) => how.debug,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let (reply, answer) = oneshot::channel();
    let probe = name.clone();
    let refusal = match ask(&served, Ask::Run { probe, reply }, answer).await {
        Ok(Ok(ran)) if debug => return ran.log.into_response(),
        Ok(Ok(ran)) => return Json(ran.run.as_ref()).into_response(),
        Ok(Err(refusal)) => refusal,
        Err(refused) => return refused,
    };
    match refusal {
        Refusal::Unknown => error(
            StatusCode::NOT_FOUND,
            &format!("there is no probe `{name}`; `/api/v1/probes` lists them"),
        ),
        Refusal::Busy => error(
            StatusCode::CONFLICT,
            &format!("a run of `{name}` is under way; runs of one probe never overlap"),
        ),
        Refusal::Following => error(
            StatusCode::CONFLICT,
            "this replica runs no probes; ask the leader",
        ),
    }
}

/// Asks the program, if requests may, and waits for the answer.
async fn ask<T>(served: &Served, ask: Ask, answer: oneshot::Receiver<T>) -> Result<T, Response> {
    let Some(control) = &served.control else {
        return Err(error(
            StatusCode::FORBIDDEN,
            "not enabled: start `serve` with `--web.enable-lifecycle`",
        ));
    };
    let ending = || error(StatusCode::SERVICE_UNAVAILABLE, "`serve` is shutting down");
    control.send(ask).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())
}

async fn nothing() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "not found; see /, /metrics, /healthz, /readyz, /api/v1/probes, /api/v1/runs, /api/v1/runs/ID, /findings, /api/v1/audit/findings, /api/v1/audit/sources, /api/v1/audit/presence",
    )
}

/// What is answered to a query that can't be understood.
fn unfit(rejection: &QueryRejection) -> Response {
    error(StatusCode::BAD_REQUEST, &rejection.body_text())
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}
