//! What is served over HTTP: metrics, health, runs, a page for people, and, where asked for, control.

mod page;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

use crate::health::Health;
use crate::model::run::Run;
use crate::publish::{ProbeStatus, Publisher};
use crate::shutdown::Shutdown;

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
    pub run: Run,
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
    /// Whether the program gets on with its work.
    pub health: Health,
    /// Where to ask for control, if requests may.
    pub control: Option<mpsc::Sender<Ask>>,
}

/// Serves until the shutdown; requests under way are finished.
pub async fn serve(
    listener: TcpListener,
    served: Served,
    shutdown: Shutdown,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/", get(page))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/api/v1/probes", get(probes))
        .route("/api/v1/runs", get(runs))
        .route("/api/v1/runs/{id}", get(run))
        .route("/-/reload", post(reload))
        .route("/api/v1/probes/{name}/run", post(run_now))
        .fallback(nothing)
        .with_state(served);
    axum::serve(listener, router)
        .with_graceful_shutdown(async move { shutdown.wait().await })
        .await
}

async fn page(State(served): State<Served>) -> Html<String> {
    Html(page::render(
        &served.publisher.probes(),
        &served.publisher.runs(None, LIMIT),
        &served.health.broken(),
    ))
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
    let lines = broken.iter().map(|(who, late)| {
        format!(
            "{who} should have moved {:.0} s ago and has not\n",
            late.as_secs_f64()
        )
    });
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
    Json(Probes { probes }).into_response()
}

/// Written as it stands: a map of `serde_json` would sort the keys of a run.
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
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let probe = filter.probe.as_deref();
    let runs = served.publisher.runs(probe, filter.limit.unwrap_or(LIMIT));
    let runs = runs.iter().map(AsRef::as_ref).collect();
    Json(Runs { runs }).into_response()
}

async fn run(State(served): State<Served>, Path(id): Path<String>) -> Response {
    match served.publisher.run(&id) {
        Some(run) => Json(run.as_ref()).into_response(),
        None => error(
            StatusCode::NOT_FOUND,
            &format!("no run `{id}` is kept; `/api/v1/runs` lists those that are"),
        ),
    }
}

async fn reload(State(served): State<Served>) -> Response {
    let (reply, answer) = oneshot::channel();
    match ask(&served, Ask::Reload(reply), answer).await {
        Ok(Ok(())) => "the configuration is in force\n".into_response(),
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
        Ok(Ok(ran)) => return Json(ran.run).into_response(),
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
            &format!("a run of `{name}` is under way; two at once would disturb each other"),
        ),
        Refusal::Following => error(
            StatusCode::CONFLICT,
            "another replica leads and runs the probes; ask that one",
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
    let ending = || error(StatusCode::SERVICE_UNAVAILABLE, "the program is ending");
    control.send(ask).await.map_err(|_| ending())?;
    answer.await.map_err(|_| ending())
}

async fn nothing() -> Response {
    error(
        StatusCode::NOT_FOUND,
        "there is nothing here; see /, /metrics, /healthz, /readyz, /api/v1/probes, /api/v1/runs, /api/v1/runs/ID",
    )
}

fn error(status: StatusCode, text: &str) -> Response {
    (status, Json(json!({ "error": text }))).into_response()
}
