//! The reply to a request of the prober's: what came back, as a value that can be asked instead of a text.

use serde::{Deserialize, Serialize};

use super::text::Text;

/// What came back.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// An HTTP answer.
    Http {
        /// Its status code.
        status: u16,
        /// The reason that the API server gives in a word, e.g. `Forbidden`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<Text>,
    },
    /// No trust in the other end's certificate, or no TLS.
    Tls(Distrust),
    /// No address of this name.
    Dns,
    /// Nobody listens there.
    Refused,
    /// Nothing in time.
    Silence,
    /// A connection that broke off, or an answer that can't be read.
    Broken,
}

/// Why the TLS to a server fails.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Distrust {
    /// No known CA signed its certificate.
    UnknownIssuer,
    /// Its certificate is one for a CA, which signs others and is no server's.
    Authority,
    /// Its certificate is for another name.
    Name,
    /// Its certificate is out of its time.
    Time,
    /// Something else is wrong with its certificate.
    Certificate,
    /// It does not speak TLS, or none that the prober speaks.
    Protocol,
}

impl Reply {
    /// An HTTP answer with this status code.
    pub const fn http(status: u16) -> Self {
        Self::Http {
            status,
            reason: None,
        }
    }

    /// The status code, if it is an HTTP answer.
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Http { status, .. } => Some(*status),
            Self::Tls(_) | Self::Dns | Self::Refused | Self::Silence | Self::Broken => None,
        }
    }

    /// Why TLS failed, if it did.
    pub const fn distrust(&self) -> Option<Distrust> {
        match self {
            Self::Tls(distrust) => Some(*distrust),
            Self::Http { .. } | Self::Dns | Self::Refused | Self::Silence | Self::Broken => None,
        }
    }
}
