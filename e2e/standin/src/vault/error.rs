//! The errors of requests to Vault, in the words of the real client.

use std::fmt;
use std::io;

use reqwest::{Method, StatusCode, Url};

/// Why Vault did not give what was asked for; prints as the real client words it.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It could not be reached.
    #[error("{method} \"{url}\": {cause}")]
    Transport {
        /// `Get`, `Put`.
        method: String,
        /// Whom.
        url: String,
        /// Why.
        cause: String,
    },
    /// It refused.
    #[error("{0}")]
    Refused(Refusal),
    /// It answered with nothing.
    #[error("empty response from Vault, path=\"{0}\"")]
    Empty(String),
    /// Something before or after the request.
    #[error("{0}")]
    Other(String),
}

/// An answer with an error's code.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(super) method: Method,
    pub(super) url: String,
    pub(super) status: StatusCode,
    pub(super) said: Said,
}

#[derive(Clone, Debug)]
pub(super) enum Said {
    Errors(Vec<String>),
    Raw(String),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Error making API request.\n\nURL: {} {}\nCode: {}. ",
            self.method,
            self.url,
            self.status.as_u16()
        )?;
        match &self.said {
            Said::Raw(text) => write!(f, "Raw Message:\n\n{text}"),
            Said::Errors(errors) => {
                f.write_str("Errors:\n\n")?;
                errors.iter().try_for_each(|error| write!(f, "* {error}"))
            }
        }
    }
}

impl Error {
    /// Whether it is a 403.
    pub(crate) fn is_forbidden(&self) -> bool {
        matches!(self, Self::Refused(refusal) if refusal.status == StatusCode::FORBIDDEN)
    }

    /// Whether a lease was asked for that is no more.
    pub(crate) fn is_lease_not_found(&self) -> bool {
        let Self::Refused(Refusal {
            status: StatusCode::BAD_REQUEST,
            said: Said::Errors(errors),
            ..
        }) = self
        else {
            return false;
        };
        errors.len() == 1 && errors[0] == "lease not found"
    }
}

pub(super) fn capitalised(method: &Method) -> String {
    let (first, rest) = method.as_str().split_at(1);
    format!("{first}{}", rest.to_lowercase())
}

/// The cause at the bottom, in Go's words where they are known.
pub(super) fn cause(error: &reqwest::Error, url: &Url) -> String {
    if error.is_timeout() {
        return "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".into();
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    let mut bottom: &(dyn std::error::Error + 'static) = error;
    while let Some(deeper) = bottom.source() {
        bottom = deeper;
    }
    match bottom.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => {
            format!("dial tcp {host}:{port}: connect: connection refused")
        }
        Some(io::ErrorKind::ConnectionReset) => "read: connection reset by peer".into(),
        Some(io::ErrorKind::UnexpectedEof) => "EOF".into(),
        _ => in_go(&bottom.to_string()),
    }
}

/// What Go says where `rustls` says this.
fn in_go(text: &str) -> String {
    const WORDS: [(&str, &str); 3] = [
        (
            "InvalidContentType",
            "http: server gave HTTP response to HTTPS client",
        ),
        (
            "UnknownIssuer",
            "tls: failed to verify certificate: x509: certificate signed by unknown authority",
        ),
        (
            "NotValidForName",
            "tls: failed to verify certificate: x509: certificate is not valid for that name",
        ),
    ];
    let known = WORDS.iter().find(|(rust, _)| text.contains(rust));
    known.map_or_else(|| text.to_owned(), |(_, go)| (*go).to_owned())
}
