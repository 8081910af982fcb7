//! The configuration, checked: a value of it can be run.

mod audit;
pub mod check;
pub mod duration;
mod header;
pub mod problem;
mod push;
pub mod raw;
mod rule;
mod target;
mod tree;
mod validate;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::model::Step;
use crate::model::name::SourceName;

pub use audit::{
    AddressMode, Audit, AuditReader, AuditServer, AuditSource, Begin, Decoy, Feed, Identities,
    Identity, KUBERNETES, ReaderBy, ServerTls,
};
pub use header::{Header, HeaderSource, Literal};
pub use push::{Credential, Push, Receiver};
pub use target::{
    DynamicTarget, KvPath, KvVersion, Manifest, PkiTarget, PostgresTarget, Refresh, RequestMethod,
    SslMode, StaticTarget, Target,
};

/// Everything that the user configured, with defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Vault, as the prober reaches it.
    pub vault: Vault,
    /// Kubernetes, as the prober reaches it.
    pub kubernetes: Kubernetes,
    /// What every run bears, and all that is pushed.
    pub labels: BTreeMap<String, String>,
    /// Where the operator runs.
    pub operator: Operator,
    /// At least one probe, each with a name of its own.
    pub probes: Vec<Probe>,
    /// Where `serve` listens.
    pub server: Server,
    /// The receivers that outcomes are pushed to.
    pub push: Push,
    /// Where outcomes are kept.
    pub history: Option<History>,
    /// The audit logs that are read.
    pub audit: Option<Audit>,
    /// The prober that judges the audit logs in this one's place.
    pub audit_url: Option<Url>,
    /// The name that keeps two probers on one namespace apart; fits a label value and a name's part.
    pub instance: String,
    /// A digest of what is written, whatever its order, its layout and its comments.
    pub digest: String,
}

impl Config {
    /// The probe of this name.
    pub fn probe(&self, name: &str) -> Option<&Probe> {
        self.probes.iter().find(|probe| probe.name == name)
    }
}

/// Vault, as the prober reaches it.
#[derive(Clone, Debug, PartialEq)]
pub struct Vault {
    /// The URL, with its path if it has one, without a trailing slash.
    pub address: String,
    /// The Vault namespace.
    pub namespace: Option<String>,
    /// A file with the CA's certificates (PEM).
    pub ca_file: Option<PathBuf>,
    /// The name in Vault's certificate, where the address has another.
    pub tls_server_name: Option<String>,
    /// What goes along with every request, for what stands before Vault.
    pub headers: Vec<Header>,
    /// The other hosts that a redirect may lead to; none given, every host by TLS, and none without.
    pub redirect_hosts: Option<Vec<String>>,
    /// How to log in.
    pub auth: Auth,
}

/// How the prober logs in to Vault.
#[derive(Clone, Debug, PartialEq)]
pub enum Auth {
    /// An existing token.
    Token(TokenSource),
    /// The `kubernetes` method.
    Kubernetes {
        /// Its mount.
        mount: String,
        /// The role.
        role: String,
        /// The file with the `ServiceAccount`'s token.
        token_file: PathBuf,
    },
    /// The `approle` method.
    AppRole {
        /// Its mount.
        mount: String,
        /// The file with the role ID.
        role_id_file: PathBuf,
        /// The file with the secret ID.
        secret_id_file: PathBuf,
    },
    /// The `jwt` method.
    Jwt {
        /// Its mount.
        mount: String,
        /// The role.
        role: String,
        /// The file with the JWT.
        token_file: PathBuf,
    },
}

/// Where a Vault token is read from.
#[derive(Clone, Debug, PartialEq)]
pub enum TokenSource {
    /// The environment variable of this name.
    Env(String),
    /// This file.
    File(PathBuf),
}

/// Kubernetes, as the prober reaches it.
#[derive(Clone, Debug, PartialEq)]
pub struct Kubernetes {
    /// The namespace of the canaries.
    pub namespace: String,
    /// The context of the kubeconfig; none in a cluster.
    pub context: Option<String>,
    /// The kubeconfig, as the command line names it.
    pub kubeconfig: Option<PathBuf>,
}

/// The name of a namespace.
///
/// # Errors
/// It can't be one. The error continues a sentence whose subject is what names it.
pub fn namespace(name: &str) -> Result<String, String> {
    rule::namespace(name)
}

/// The name of a source of audit lines.
///
/// # Errors
/// It can't be one. The error continues a sentence whose subject is what names it.
pub fn source_name(name: &str) -> Result<SourceName, String> {
    rule::source(name)
}

/// The operator: its namespace, pods and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Operator {
    /// Its namespace.
    pub namespace: String,
    /// The label selector of its pods.
    pub pod_selector: String,
    /// Its metrics.
    pub metrics: Option<MetricsSource>,
}

/// Where the operator's metrics are read from.
#[derive(Clone, Debug, PartialEq)]
pub enum MetricsSource {
    /// This URL.
    Url {
        /// The URL.
        url: String,
        /// How to be let in.
        access: Access,
    },
    /// Every pod of the operator, by its address.
    Pods {
        /// The port.
        port: u16,
        /// How the metrics are served.
        scheme: Scheme,
        /// How to be let in.
        access: Access,
    },
    /// Prometheus' API.
    Prometheus {
        /// The URL of Prometheus.
        url: String,
        /// The selector of the operator's series, e.g. `{job="vso"}`.
        selector: String,
        /// How to be let in.
        access: Access,
    },
}

impl MetricsSource {
    /// How to be let in there.
    pub const fn access(&self) -> &Access {
        match self {
            Self::Url { access, .. }
            | Self::Pods { access, .. }
            | Self::Prometheus { access, .. } => access,
        }
    }
}

/// How an HTTP endpoint is served.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Plain.
    Http,
    /// With TLS.
    #[default]
    Https,
}

impl Scheme {
    /// As in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// How to be let in at an HTTP endpoint.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Access {
    /// A file with a bearer token.
    pub bearer_token_file: Option<PathBuf>,
    /// The `ServiceAccount`, in the canaries' namespace, that bearer tokens are asked for instead.
    pub service_account: Option<String>,
    /// A file with the CA's certificates (PEM).
    pub ca_file: Option<PathBuf>,
    /// Whether the server's certificate goes unchecked.
    pub insecure_skip_verify: bool,
}

impl Access {
    /// Whether a bearer token goes along.
    pub const fn has_bearer(&self) -> bool {
        self.service_account.is_some() || self.bearer_token_file.is_some()
    }
}

/// One probe.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// Its name; fits a part of a Kubernetes name.
    pub name: String,
    /// What its canaries are.
    pub target: Target,
    /// How its resources are written.
    pub manifest: Manifest,
    /// What is put on them, and on their Secrets, beside the prober's own.
    pub marks: Marks,
    /// The steps to take, each with the threshold that makes it good, which is shorter than `timeout`. Always has
    /// `create`; without `delete` the canary is deleted all the same, and that is not judged.
    pub steps: BTreeMap<Step, Duration>,
    /// The mean time between two runs.
    pub every: Duration,
    /// How far a gap may lie from the mean, as a share of it, in [0, 1].
    pub spread: f64,
    /// How long a step may take beyond its due moment.
    pub timeout: Duration,
    /// The share of steps that should be good, in (0, 1).
    pub objective: f64,
}

/// What is put on every resource and Secret of a canary, for policies that demand it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Marks {
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Where `serve` listens.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// The address.
    pub listen: std::net::SocketAddr,
    /// The URL by which people reach it, where they do by a name.
    pub external_url: Option<Url>,
}

/// Where outcomes are kept.
#[derive(Clone, Debug, PartialEq)]
pub struct History {
    /// The folder.
    pub path: PathBuf,
    /// How long.
    pub retention: Duration,
}
