//! The errors of a push.

use std::time::Duration;

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
    /// A credential that goes along can't be had.
    #[error("{0}")]
    Credential(String),
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
        /// How long the receiver wants to be left alone.
        retry_after: Option<Duration>,
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
            Self::Url { .. } | Self::Client(_) | Self::Credential(_) => false,
        }
    }

    /// Whether it is something in what was sent that was refused, so that the rest of it may be taken.
    pub(super) fn is_of_the_content(&self) -> bool {
        let content = [
            StatusCode::BAD_REQUEST,
            StatusCode::PAYLOAD_TOO_LARGE,
            StatusCode::UNPROCESSABLE_ENTITY,
        ];
        matches!(self, Self::Refused { status, .. } if content.contains(status))
    }

    /// How long the receiver wants to be left alone.
    pub(super) const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

const fn advice(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            "check the credential and its right to write there"
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            "check the URL's path; Prometheus takes remote writes only with `--web.enable-remote-write-receiver`"
        }
        StatusCode::TOO_MANY_REQUESTS => "push less often, or raise the receiver's limits",
        _ if status.as_u16() >= 500 => "check the receiver's log: it answered with a server error",
        _ => "check the receiver's answer and log: it rejected the request",
    }
}
