//! The faults of a storm, and the parties that may be blamed for each.

use serde_json::{Value, json};
use vso_prober::model::cause::Party;

/// Something that goes wrong for a while.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fault {
    OperatorFrozen,
    OperatorKilled,
    OperatorHangs,
    OperatorIsSlow,
    OperatorIgnoresTheNext,
    OperatorWritesOldContent,
    OperatorWritesWrongContent,
    OperatorKeepsItsFinalizer,
    OperatorLeaksLeases,
    VaultFrozen,
    VaultSealed,
    PolicyTaken,
    RoleUnknown,
    SecretsForbidden,
    CollectorFrozen,
    ApiServerFrozen,
    ProberFrozen,
    ProberCutFromKubernetes,
    ProberCutFromVault,
    ProberFarFromKubernetes,
    ProbersTokensRevoked,
    VaultLimitsRequests,
    OthersAnnotate,
    OthersDeleteSecrets,
    OthersHoldSecrets,
}

/// What a fault lays hands on. No two faults may at once.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    Operator,
    Vault,
    Kubernetes,
    Collector,
    Prober,
    Canary,
}

impl Fault {
    pub(crate) const ALL: [Self; 25] = [
        Self::OperatorFrozen,
        Self::OperatorKilled,
        Self::OperatorHangs,
        Self::OperatorIsSlow,
        Self::OperatorIgnoresTheNext,
        Self::OperatorWritesOldContent,
        Self::OperatorWritesWrongContent,
        Self::OperatorKeepsItsFinalizer,
        Self::OperatorLeaksLeases,
        Self::VaultFrozen,
        Self::VaultSealed,
        Self::PolicyTaken,
        Self::RoleUnknown,
        Self::SecretsForbidden,
        Self::CollectorFrozen,
        Self::ApiServerFrozen,
        Self::ProberFrozen,
        Self::ProberCutFromKubernetes,
        Self::ProberCutFromVault,
        Self::ProberFarFromKubernetes,
        Self::ProbersTokensRevoked,
        Self::VaultLimitsRequests,
        Self::OthersAnnotate,
        Self::OthersDeleteSecrets,
        Self::OthersHoldSecrets,
    ];

    /// What the stand-in is told, where only it can be told so.
    pub(crate) fn misbehaviour(self) -> Option<Value> {
        Some(match self {
            Self::OperatorHangs => json!({"hang": true}),
            Self::OperatorIsSlow => json!({"slow": {"at": "write", "seconds": 5.0}}),
            Self::OperatorIgnoresTheNext => json!({"ignoreNext": 1}),
            Self::OperatorWritesOldContent => json!({"content": "old"}),
            Self::OperatorWritesWrongContent => json!({"content": "wrong"}),
            Self::OperatorKeepsItsFinalizer => json!({"stickFinalizer": true}),
            Self::OperatorLeaksLeases => json!({"leakLeases": true}),
            _ => return None,
        })
    }

    pub(crate) fn place(self) -> Place {
        match self {
            // Whoever's tokens are to be revoked, or requests limited, Vault must answer.
            Self::VaultFrozen
            | Self::VaultSealed
            | Self::PolicyTaken
            | Self::ProbersTokensRevoked
            | Self::VaultLimitsRequests => Place::Vault,
            Self::RoleUnknown | Self::SecretsForbidden | Self::ApiServerFrozen => Place::Kubernetes,
            Self::CollectorFrozen => Place::Collector,
            Self::ProberFrozen
            | Self::ProberCutFromKubernetes
            | Self::ProberCutFromVault
            | Self::ProberFarFromKubernetes => Place::Prober,
            Self::OthersAnnotate | Self::OthersDeleteSecrets | Self::OthersHoldSecrets => {
                Place::Canary
            }
            _ => Place::Operator,
        }
    }

    /// Whether both can't be at once: they touch the same, or the one needs an API server that answers.
    pub(crate) fn excludes(self, other: Self) -> bool {
        let needs_server = |fault: Self| matches!(fault.place(), Place::Operator | Place::Canary);
        let frozen = |fault| fault == Self::ApiServerFrozen;
        self.place() == other.place()
            || (frozen(self) && needs_server(other))
            || (frozen(other) && needs_server(self))
    }

    /// Who may be blamed while it lasts.
    pub(crate) fn parties(self, real: bool) -> &'static [Party] {
        match self {
            // The real one's client of Vault tries again and again, and says nothing of it: only its metrics, which are not read
            // here, would tell its wait from its own slowness.
            Self::VaultLimitsRequests if real => &[Party::Vault, Party::Prober, Party::Operator],
            // The prober, too, finds no Vault, and whose fault that is can't be told from where it stands.
            Self::VaultFrozen | Self::VaultLimitsRequests => &[Party::Vault, Party::Prober],
            Self::VaultSealed => &[Party::Vault],
            Self::PolicyTaken | Self::RoleUnknown => &[Party::Configuration],
            Self::SecretsForbidden | Self::CollectorFrozen => &[Party::Kubernetes],
            // No one is at fault of whom the prober could know.
            Self::ApiServerFrozen
            | Self::ProberFrozen
            | Self::ProberCutFromKubernetes
            | Self::ProberCutFromVault
            | Self::ProbersTokensRevoked
            | Self::OthersDeleteSecrets
            | Self::OthersHoldSecrets => &[Party::Prober],
            // Nothing is wrong.
            Self::ProberFarFromKubernetes | Self::OthersAnnotate => &[],
            _ => &[Party::Operator],
        }
    }

    /// Whether it keeps the operator from Vault.
    pub(crate) fn locks_out(self) -> bool {
        matches!(
            self,
            Self::VaultFrozen
                | Self::VaultSealed
                | Self::VaultLimitsRequests
                | Self::PolicyTaken
                | Self::RoleUnknown
        )
    }

    /// Whether a lease may be issued then that nobody but Vault learns of: the operator asks for it and can't write it down
    /// before its resource is gone.
    pub(crate) fn loses_leases(self) -> bool {
        let by_itself = matches!(
            self,
            Self::OperatorKilled
                | Self::OperatorFrozen
                | Self::OperatorIsSlow
                | Self::SecretsForbidden
                | Self::ApiServerFrozen
        );
        by_itself || self.locks_out()
    }
}
