//! The errors of a push.

use std::path::PathBuf;

use reqwest::StatusCode;

use crate::model::text::Text;

/// Why something could not be pushed: what was tried, on what, what came back, what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The URL can't be used.
    #[error("tried to push to `{url}`: {why}; write it as `https://host/path`")]
    Url {
        /// As configured, without what may be secret.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// There is no HTTP client to be had.
    #[error("can't create an HTTP client to push with: {0}")]
    Client(String),
    /// The bearer token can't be had.
    #[error(
        "tried to read a bearer token from `push.remoteWrite.bearerTokenFile` {file}: {why}; it must hold the token on one line"
    )]
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// What was sent was refused.
    #[error("tried to push {what} to {url}: {status}{answer}; {}", advice(*.status))]
    Refused {
        /// What was sent.
        what: String,
        /// Where to, without what may be secret.
        url: String,
        /// What came back.
        status: StatusCode,
        /// The first words of the answer, if there are any.
        answer: Text,
    },
    /// Nothing came back.
    #[error(
        "tried to push {what} to {url}: {why}; check the URL, the receiver, and the network between"
    )]
    Unreachable {
        /// What was sent.
        what: String,
        /// Where to, without what may be secret.
        url: String,
        /// What befell it.
        why: Text,
    },
}

impl Error {
    /// Whether the same may go well the next time.
    pub(super) fn passes(&self) -> bool {
        match self {
            Self::Refused { status, .. } => {
                status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS
            }
            Self::Unreachable { .. } => true,
            Self::Url { .. } | Self::Client(_) | Self::Token { .. } => false,
        }
    }
}

const fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "check the bearer token and its right to write there"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "check the URL's path; Prometheus takes remote writes only with `--web.enable-remote-write-receiver`"
        }
        StatusCode::TOO_MANY_REQUESTS => "push less often, or raise the receiver's limits",
        _ if status.as_u16() >= 500 => "check the receiver's log: it answered with a server error",
        _ => "check the receiver's answer and log: it rejected the request",
    }
}
