//! The common part of all requests: the user agent, credentials, and the texts of errors and
//! time-outs.

pub mod absence;
pub mod failure;
pub mod file;
pub mod http;
mod moment;
pub mod proxy;
pub mod sibling;
pub mod trust;

use std::time::Duration;

use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::reply::Reply;

/// What every request of the prober calls itself.
pub const USER_AGENT: &str = concat!("vso-prober/", env!("CARGO_PKG_VERSION"));

/// An error with its causes, each once: `a: b: c`.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// Whether a credential can be carried by a header: one line of printable characters without blanks.
pub fn fits_header(credential: &str) -> bool {
    credential.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Runs a request to `at` for no longer than `limit`.
///
/// # Errors
/// The request's own, or that nothing came back in time.
pub async fn limited<T>(
    at: Peer,
    what: &str,
    limit: Duration,
    request: impl Future<Output = Result<T, Obstacle>>,
) -> Result<T, Obstacle> {
    tokio::time::timeout(limit, request)
        .await
        .unwrap_or_else(|_| Err(silence(at, what, limit)))
}

/// The obstacle of a request that `at` did not answer within `limit`.
pub fn silence(at: Peer, what: &str, limit: Duration) -> Obstacle {
    let peer = match at {
        Peer::Vault => "Vault",
        Peer::Kubernetes => "the API server",
        Peer::Postgres => "PostgreSQL",
        Peer::Prober => "the prober itself",
    };
    Obstacle::new(
        at,
        Hindrance::Unreachable,
        format!(
            "tried to {what}: no answer from {peer} within {:.1} s",
            limit.as_secs_f64()
        ),
    )
    .with(Reply::Silence)
}
