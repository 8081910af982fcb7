//! The target of a probe: the kind of its canaries.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::model::{Kind, Step};

/// What the canaries of a probe are.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// KV secrets.
    Static(StaticTarget),
    /// Credentials with a lease.
    Dynamic(DynamicTarget),
    /// Certificates.
    Pki(PkiTarget),
}

impl Target {
    /// The Vault namespace, where it is not the prober's own.
    pub fn namespace(&self) -> Option<&str> {
        match self {
            Self::Static(target) => target.namespace.as_deref(),
            Self::Dynamic(target) => target.namespace.as_deref(),
            Self::Pki(target) => target.namespace.as_deref(),
        }
    }

    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Static(_) => Kind::Static,
            Self::Dynamic(_) => Kind::Dynamic,
            Self::Pki(_) => Kind::Pki,
        }
    }

    /// How long after its stimulus the effect of a step may be due at the latest; zero if it is due at once.
    pub fn longest_wait(&self, step: Step) -> Duration {
        if !step.poll_driven() {
            return Duration::ZERO;
        }
        match self {
            Self::Static(target) => {
                let refresh = target.refresh_after.as_ref();
                let period = refresh.map_or(Duration::ZERO, |refresh| refresh.period);
                period.saturating_mul(POLLS)
            }
            Self::Dynamic(target) => target.max_ttl,
            Self::Pki(target) => target.life().unwrap_or(UNKNOWN_LIFE),
        }
    }
}

/// So many polls an effect may take: one may have been under way when the stimulus came, and then it is the next one
/// that counts.
const POLLS: u32 = 2;
/// The life of a certificate for which neither `ttl` nor `notAfter` is written: it is the role's own, which the prober
/// does not know, and most are for a day or less.
const UNKNOWN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How a resource is written.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Manifest {
    /// As the operator serialises it: one reconcile, one lease.
    #[default]
    Canonical,
    /// As most people write it.
    Minimal,
}

/// A KV secret to be synced.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticTarget {
    /// The `VaultAuth`, `name` or `namespace/name`.
    pub auth_ref: String,
    /// The Vault namespace, where it is not the prober's own.
    pub namespace: Option<String>,
    /// The KV mount.
    pub mount: String,
    /// The version of the KV engine.
    pub version: KvVersion,
    /// The folder under the mount that the canaries go into.
    pub path: String,
    /// The time between the operator's polls; there whenever `update` or `tamper` is a step.
    pub refresh_after: Option<Refresh>,
    /// Whether drift is told by an HMAC.
    pub hmac_secret_data: bool,
}

/// A `refreshAfter`: one number with one unit, which is all that the operator takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Refresh {
    /// As written.
    pub text: String,
    /// As a time.
    pub period: Duration,
}

/// The version of a KV engine.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, PartialEq)]
pub enum KvVersion {
    /// Without versions.
    #[serde(rename = "kv-v1")]
    V1,
    /// With versions.
    #[serde(rename = "kv-v2")]
    V2,
}

impl KvVersion {
    /// As the operator's resource has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "kv-v1",
            Self::V2 => "kv-v2",
        }
    }
}

/// A folder or a secret in a KV engine.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct KvPath {
    /// The Vault namespace, where it is not the prober's own.
    pub namespace: Option<String>,
    /// The mount.
    pub mount: String,
    /// The version of its engine.
    pub version: KvVersion,
    /// The path under the mount, without `data/` or `metadata/`.
    pub path: String,
}

impl KvPath {
    /// What has this name in the folder.
    #[must_use]
    pub fn with(&self, name: &str) -> Self {
        Self {
            path: format!("{}/{name}", self.path),
            ..self.clone()
        }
    }
}

impl fmt::Display for KvPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        write!(f, "{}/{}", self.mount, self.path)
    }
}

/// A credential to be synced.
#[derive(Clone, Debug, PartialEq)]
pub struct DynamicTarget {
    /// The `VaultAuth`, `name` or `namespace/name`.
    pub auth_ref: String,
    /// The Vault namespace, where it is not the prober's own.
    pub namespace: Option<String>,
    /// The mount of the secrets engine.
    pub mount: String,
    /// The path under the mount.
    pub path: String,
    /// The parameters of the operator's request.
    pub params: BTreeMap<String, String>,
    /// Its method, if it is written.
    pub method: Option<RequestMethod>,
    /// When the operator renews, in percent of the lease's duration.
    pub renewal_percent: Option<u8>,
    /// Whether the operator revokes the lease with the resource.
    pub revoke: bool,
    /// Whether it is a static role's: one credential without a lease, which Vault replaces on its own schedule.
    pub static_role: bool,
    /// How long a lease, or a static role's credential, may live at the most, and so be waited for.
    pub max_ttl: Duration,
    /// Where to log in with the credential.
    pub verify: Option<PostgresTarget>,
}

/// The method of the operator's request for a credential.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "UPPERCASE")]
pub enum RequestMethod {
    /// A read.
    Get,
    /// A write.
    Post,
    /// A write.
    Put,
}

impl RequestMethod {
    /// As the operator's resource has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
        }
    }
}

impl DynamicTarget {
    /// Whether the operator writes to the path for a credential, and does not read it.
    pub fn writes(&self) -> bool {
        match self.method {
            Some(method) => method != RequestMethod::Get,
            None => !self.params.is_empty(),
        }
    }
}

/// A `PostgreSQL` server to log in to.
#[derive(Clone, Debug, PartialEq)]
pub struct PostgresTarget {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// How far TLS is asked for.
    pub ssl_mode: SslMode,
}

/// How far TLS is asked for of a `PostgreSQL` server, as libpq names it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// Not at all.
    Disable,
    /// TLS, whoever answers.
    #[default]
    Require,
    /// TLS, with a certificate of a known CA.
    VerifyCa,
    /// TLS, with a certificate of a known CA that names the host.
    VerifyFull,
}

impl SslMode {
    /// As in a connection string.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// A certificate to be synced.
#[derive(Clone, Debug, PartialEq)]
pub struct PkiTarget {
    /// The `VaultAuth`, `name` or `namespace/name`.
    pub auth_ref: String,
    /// The Vault namespace, where it is not the prober's own.
    pub namespace: Option<String>,
    /// The mount of the PKI engine.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The common name; there unless there are others.
    pub common_name: Option<String>,
    /// The other names.
    pub alt_names: Vec<String>,
    /// The certificate's time to live.
    pub ttl: Option<Refresh>,
    /// When the certificate ends, as a time from its issue; `OpenBao` needs it.
    pub not_after: Option<Duration>,
    /// How long before its end the certificate is replaced.
    pub expiry_offset: Option<Refresh>,
}

impl PkiTarget {
    /// All names, the common one first.
    pub fn names(&self) -> Vec<&str> {
        let names = self.common_name.iter().chain(&self.alt_names);
        names.map(String::as_str).collect()
    }

    /// How long a certificate lasts, where it is not left to the role.
    pub fn life(&self) -> Option<Duration> {
        let ttl = self.ttl.as_ref().map(|ttl| ttl.period);
        self.not_after.or(ttl)
    }
}
