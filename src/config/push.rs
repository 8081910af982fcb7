//! The receivers of pushes, and what they want to be asked with.

use std::path::{Path, PathBuf};

use super::Header;

/// The receivers that outcomes are pushed to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Push {
    /// A Pushgateway.
    pub pushgateway: Option<Receiver>,
    /// A remote-write endpoint.
    pub remote_write: Option<Receiver>,
}

impl Push {
    /// Each receiver that is configured, by its key.
    pub fn receivers(&self) -> impl Iterator<Item = (&'static str, &Receiver)> {
        let gateway = self.pushgateway.iter();
        let remote = self.remote_write.iter();
        gateway
            .map(|receiver| ("push.pushgateway", receiver))
            .chain(remote.map(|receiver| ("push.remoteWrite", receiver)))
    }
}

/// A receiver of pushes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receiver {
    /// Its URL.
    pub url: String,
    /// The credential that goes along.
    pub credential: Option<Credential>,
    /// The headers that go along.
    pub headers: Vec<Header>,
    /// A file with the CA's certificates (PEM).
    pub ca_file: Option<PathBuf>,
}

/// A credential for a receiver.
#[derive(Clone, Debug, PartialEq)]
pub enum Credential {
    /// A bearer token, in this file.
    Bearer(PathBuf),
    /// A name and a password.
    Basic {
        /// The name.
        username: String,
        /// The file with the password.
        password_file: PathBuf,
    },
}

impl Credential {
    /// The last part of the key of its file, and the file.
    pub fn file(&self) -> (&'static str, &Path) {
        match self {
            Self::Bearer(file) => ("bearerTokenFile", file),
            Self::Basic { password_file, .. } => ("basicAuth.passwordFile", password_file),
        }
    }
}
