//! The checks of every precondition of a run, from the configuration to the rights in Vault, one after
//! the other; each finding comes with its fix.

mod ask;
mod audit;
mod clock;
mod cluster;
mod files;
mod fix;
mod network;
mod operator;
mod push;
mod reference;
mod report;
mod token;
mod trust;
mod vault;

use std::fmt;

use jiff::SignedDuration;
use serde::{Serialize, Serializer};

use crate::config::Config;
use crate::model::text::Text;
use crate::rights::Rights;

pub use fix::{Fix, Script, Settings};
pub use report::render;

/// What is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Topic {
    /// The configuration itself.
    Configuration,
    /// A file or a variable that it names.
    File,
    /// Whether the name in Vault's address resolves.
    VaultName,
    /// Whether someone listens at Vault's address.
    VaultTcp,
    /// Whether Vault's certificate is trusted.
    VaultTls,
    /// Whether Vault is initialised and unsealed.
    VaultState,
    /// Whether Vault lets the prober in.
    VaultLogin,
    /// What the prober may do in Vault.
    VaultPolicy,
    /// Whether a secrets engine is there, and of the right kind.
    VaultMount,
    /// Whether the role of a probe is there.
    VaultRole,
    /// Whether the API server answers, and knows the prober.
    Kubernetes,
    /// Whether the canaries' namespace is there.
    Namespace,
    /// Whether the operator's kinds are served.
    Crd,
    /// What the prober may do in Kubernetes.
    Rbac,
    /// Whether a canary's resource would be admitted.
    Admission,
    /// Whether a quota leaves room for Secrets.
    Quota,
    /// The VaultAuth that a probe refers to.
    VaultAuth,
    /// The VaultConnection behind it.
    VaultConnection,
    /// The ServiceAccount that the operator logs in with.
    ServiceAccount,
    /// The operator's pods.
    Operator,
    /// The Lease that says which of them works.
    OperatorLease,
    /// The operator's metrics.
    Metrics,
    /// Whether clocks agree.
    Clock,
    /// The receivers that outcomes are pushed to.
    Push,
    /// How often probes are run.
    Schedule,
    /// An audit device of Vault's.
    AuditDevice,
    /// Where the lines of an audit log come from.
    AuditSource,
    /// Where audit lines arrive.
    AuditServer,
    /// Whether it can be known when and where the operator was.
    AuditPresence,
}

impl Topic {
    /// The one spelling.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::File => "file",
            Self::VaultName => "vault-name",
            Self::VaultTcp => "vault-tcp",
            Self::VaultTls => "vault-tls",
            Self::VaultState => "vault-state",
            Self::VaultLogin => "vault-login",
            Self::VaultPolicy => "vault-policy",
            Self::VaultMount => "vault-mount",
            Self::VaultRole => "vault-role",
            Self::Kubernetes => "kubernetes",
            Self::Namespace => "namespace",
            Self::Crd => "crd",
            Self::Rbac => "rbac",
            Self::Admission => "admission",
            Self::Quota => "quota",
            Self::VaultAuth => "vault-auth",
            Self::VaultConnection => "vault-connection",
            Self::ServiceAccount => "service-account",
            Self::Operator => "operator",
            Self::OperatorLease => "operator-lease",
            Self::Metrics => "metrics",
            Self::Clock => "clock",
            Self::Push => "push",
            Self::Schedule => "schedule",
            Self::AuditDevice => "audit-device",
            Self::AuditSource => "audit-source",
            Self::AuditServer => "audit-server",
            Self::AuditPresence => "audit-presence",
        }
    }
}

impl Serialize for Topic {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What came of looking.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Found {
    /// All is well.
    Good,
    /// A run fails, or tells less, for this.
    Finding,
    /// It might matter.
    Warning,
    /// It could not be looked at, though what it depends on is well.
    Unknown,
    /// What it depends on is not well.
    Skipped,
}

/// One precondition, and what came of looking at it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub check: Topic,
    /// Of what.
    pub subject: Text,
    /// What came of it.
    pub result: Found,
    /// In words: what was tried, on what, what came back.
    pub text: Text,
    /// What puts it right.
    pub fix: Option<Fix>,
}

/// The preconditions looked at so far, in order.
#[derive(Debug, Default)]
struct Ledger(Vec<Check>);

impl Ledger {
    fn good(&mut self, check: Topic, subject: &str, text: impl Into<Text>) {
        self.note(check, subject, Found::Good, text, None);
    }

    fn finding(&mut self, check: Topic, subject: &str, text: impl Into<Text>, fix: Fix) {
        self.note(check, subject, Found::Finding, text, Some(fix));
    }

    fn warning(&mut self, check: Topic, subject: &str, text: impl Into<Text>, fix: Option<Fix>) {
        self.note(check, subject, Found::Warning, text, fix);
    }

    fn unknown(&mut self, check: Topic, subject: &str, text: impl Into<Text>) {
        self.note(check, subject, Found::Unknown, text, None);
    }

    fn skipped(&mut self, check: Topic, subject: &str, why: &str) {
        self.note(check, subject, Found::Skipped, why, None);
    }

    fn note(
        &mut self,
        check: Topic,
        subject: &str,
        result: Found,
        text: impl Into<Text>,
        fix: Option<Fix>,
    ) {
        self.0.push(Check {
            check,
            subject: subject.into(),
            result,
            text: text.into(),
            fix,
        });
    }

    /// Whether there is a finding on this topic about what is called like this.
    fn found(&self, topic: Topic, prefix: &str) -> bool {
        let mut findings = self.0.iter().filter(|check| check.result == Found::Finding);
        findings.any(|check| check.check == topic && check.subject.starts_with(prefix))
    }
}

/// What the cluster tells that others may want to know.
#[derive(Default)]
struct Cluster {
    /// By how much its clock is ahead of this one.
    ahead: Option<SignedDuration>,
    /// Every VaultConnection of the prober's and the operator's own namespaces that the operator calls valid.
    connections: Vec<Known>,
}

/// Where the operator finds Vault.
struct Known {
    /// The VaultConnection that says so, `namespace/name`.
    name: String,
    /// Its address.
    address: String,
    /// The Secret beside it that holds the CA of Vault's certificate.
    ca: Option<String>,
}

/// Looks at every precondition of `config`; with `leader_elect`, also at what `serve --leader-elect` does.
pub async fn examine(config: &Config, leader_elect: bool) -> Vec<Check> {
    let rights = Rights::of(config, leader_elect);
    let mut ledger = Ledger::default();
    files::look(config, &mut ledger);
    audit::look(config, &mut ledger);
    // What the cluster knows of Vault is of use where Vault is not found.
    let mut in_cluster = Ledger::default();
    let cluster = cluster::look(config, &rights, &mut in_cluster).await;
    audit::presence(config, &mut in_cluster);
    let vault = vault::look(config, &rights, &cluster, &mut ledger).await;
    ledger.0.append(&mut in_cluster.0);
    clock::look(&cluster, vault.as_ref(), &mut ledger);
    push::look(config, &mut ledger).await;
    audit::elsewhere(config, &mut ledger).await;
    schedule(config, &mut ledger);
    ledger.0
}

/// What may be wrong with when probes are run.
fn schedule(config: &Config, ledger: &mut Ledger) {
    /// Runs a minute above which the prober is a load of its own: one each four seconds.
    const OFTEN: f64 = 15.0;
    let often: f64 = config
        .probes
        .iter()
        .map(|probe| 60.0 / probe.every.as_secs_f64().max(0.001))
        .sum();
    if often > OFTEN {
        let text = format!(
            "{} probes make {often:.0} runs a minute, each of which costs Vault and the operator work; \
             a longer `every` measures as well",
            config.probes.len()
        );
        ledger.warning(Topic::Schedule, "every", text, None);
    }
}
