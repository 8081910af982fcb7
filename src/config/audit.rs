//! The audit logs that are read, and what they are judged by.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::{KvPath, KvVersion};
use crate::model::name::{ObjectRef, SourceName};

/// The name of the source that is the API server's log.
pub const KUBERNETES: &str = "kubernetes";

/// The audit logs of Vault, and whose use of them is legitimate.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// The folder of positions, pending suspects and known tokens.
    pub state: PathBuf,
    /// At least one source, each with a name of its own. That of the API server's log is [`KUBERNETES`].
    pub sources: Vec<AuditSource>,
    /// Where the lines of `http` sources arrive.
    pub server: AuditServer,
    /// The identities that only the operator uses.
    pub identities: Identities,
    /// What the addresses in the log are.
    pub address: AddressMode,
    /// Further addresses that may use the operator's identities.
    pub trusted: Vec<IpNet>,
    /// Who else may touch canaries and decoys.
    pub readers: Vec<AuditReader>,
    /// Secrets that nobody has a reason to touch.
    pub decoys: Vec<Decoy>,
    /// How long a suspect waits for what would clear it.
    pub grace: Duration,
    /// How late a source may be and still be trusted to say that nothing happened.
    pub lag: Duration,
    /// How long one finding gathers what is alike.
    pub remember: Duration,
    /// Whether runs are told what the logs say of their canaries.
    pub trace: bool,
}

/// One audit device of one node of Vault.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditSource {
    /// Its name; fits a label value.
    pub name: SourceName,
    /// How its lines come.
    pub feed: Feed,
}

/// How the lines of a source come.
#[derive(Clone, Debug, PartialEq)]
pub enum Feed {
    /// From a file, as it grows.
    File {
        /// The file.
        path: PathBuf,
        /// Where to begin on the very first start.
        from: Begin,
    },
    /// By requests to the server.
    Http {
        /// The file with the bearer token that its sender must have, in place of the server's.
        bearer_token_file: Option<PathBuf>,
    },
    /// From the logs of Pods.
    PodLogs {
        /// Their namespace.
        namespace: String,
        /// Their label selector.
        selector: String,
        /// The container.
        container: Option<String>,
    },
}

impl Feed {
    /// Whether its lines are sent to the server.
    pub const fn is_http(&self) -> bool {
        matches!(self, Self::Http { .. })
    }
}

/// Where a file is begun on the very first start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Begin {
    /// At its end.
    #[default]
    End,
    /// At its beginning.
    Beginning,
}

/// Where the lines of `http` sources arrive.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditServer {
    /// The address. Off loopback, a credential is asked for.
    pub listen: SocketAddr,
    /// The certificate to serve with; without it, there is no TLS.
    pub tls: Option<ServerTls>,
    /// The file with the bearer token that senders must have.
    pub bearer_token_file: Option<PathBuf>,
}

/// The TLS of a server: PEM files, read anew when they change.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerTls {
    /// Its certificate, with those between it and the CA.
    pub cert_file: PathBuf,
    /// The certificate's key.
    pub key_file: PathBuf,
    /// The CA whose certificates clients must have.
    pub client_ca_file: Option<PathBuf>,
}

/// The identities that only the operator uses.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Identities {
    /// Those of every `VaultAuth` and `VaultAuthGlobal`.
    #[default]
    Auto,
    /// These.
    Listed(Vec<Identity>),
}

/// Who logs in to Vault by the method `kubernetes`.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    /// The mount, without `auth/`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The `ServiceAccount`.
    pub service_account: ObjectRef,
    /// The Vault namespace of the mount: the prober's own.
    pub namespace: Option<String>,
}

/// What the addresses in the log are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, JsonSchema, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum AddressMode {
    /// To be learnt from the operator's reads of canaries.
    #[default]
    Auto,
    /// Those of Pods.
    Pod,
    /// Those of nodes.
    Node,
    /// Those of a proxy, which tell nobody apart.
    Proxy,
    /// Not to be looked at.
    Off,
}

/// Somebody who may touch canaries and decoys.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditReader {
    /// The paths, as a pattern in which `*` stands for anything; none given, all.
    pub path: Option<String>,
    /// What tells who it is.
    pub by: ReaderBy,
    /// Its value, as a pattern in which `*` stands for anything.
    pub pattern: String,
}

/// What tells who asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReaderBy {
    /// The display name.
    DisplayName,
    /// The role.
    Role,
    /// The `ServiceAccount`, `namespace/name`.
    ServiceAccount,
    /// One of the policies.
    Policy,
    /// The ID of the entity.
    Entity,
}

/// A secret that nobody has a reason to touch.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoy {
    /// The mount of its KV engine, version 2.
    pub mount: String,
    /// Its path under the mount, without `data/` or `metadata/`.
    pub path: String,
}

impl Decoy {
    /// Where it is.
    pub fn kv_path(&self) -> KvPath {
        KvPath {
            namespace: None,
            mount: self.mount.clone(),
            version: KvVersion::V2,
            path: self.path.clone(),
        }
    }
}
