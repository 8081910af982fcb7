//! The HTTP servers of the stand-in: `/metrics` on one address, health and faults on another.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};

use super::faults::{Faults, Switchboard};
use super::metrics::Metrics;

/// `/metrics`, Prometheus text 0.0.4.
pub(crate) fn metrics(metrics: Metrics) -> Router {
    let show = async |State(metrics): State<Metrics>| match metrics.text() {
        Ok(text) => (
            [(
                header::CONTENT_TYPE,
                "text/plain; version=0.0.4; charset=utf-8",
            )],
            text,
        )
            .into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    };
    Router::new()
        .route("/metrics", get(show))
        .with_state(metrics)
}

/// `/healthz`, `/readyz`, and `/faults` to read (GET) and replace (PUT) what goes wrong.
pub(crate) fn health(
    faults: Switchboard,
    ready: impl Fn() -> bool + Send + Sync + 'static,
) -> Router {
    let ready = Arc::new(ready);
    let readyz = async move || {
        if ready() {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::INTERNAL_SERVER_ERROR, "watches not synced")
        }
    };
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/faults", get(show).put(replace))
        .with_state(faults)
}

async fn show(State(faults): State<Switchboard>) -> Json<Faults> {
    Json(faults.now())
}

async fn replace(State(board): State<Switchboard>, document: Bytes) -> Response {
    match Faults::parse(&document) {
        Ok(faults) => {
            tracing::info!(?faults, "faults replaced");
            board.set(faults.clone());
            Json(faults).into_response()
        }
        Err(error) => (
            StatusCode::BAD_REQUEST,
            format!("faults not taken: {error}\n"),
        )
            .into_response(),
    }
}
