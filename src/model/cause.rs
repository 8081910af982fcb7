//! Causes, their parties, the evidence, and what to do.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Verdict;
use super::text::Text;

/// The people whom a cause concerns.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Party {
    /// Those who run the operator.
    Operator,
    /// Those who run Vault.
    Vault,
    /// Those who run the cluster.
    Kubernetes,
    /// Those who wrote the resources, roles and policies.
    Configuration,
    /// Those who run the prober. Never a verdict on anyone else.
    Prober,
}

impl Party {
    /// Every party.
    pub const ALL: [Self; 5] = [
        Self::Operator,
        Self::Vault,
        Self::Kubernetes,
        Self::Configuration,
        Self::Prober,
    ];

    /// The one spelling, used as label and JSON value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Vault => "vault",
            Self::Kubernetes => "kubernetes",
            Self::Configuration => "configuration",
            Self::Prober => "prober",
        }
    }

    /// The verdict that blaming this party amounts to.
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::Operator | Self::Vault | Self::Kubernetes | Self::Configuration => {
                Verdict::Failure
            }
            Self::Prober => Verdict::Unknown,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

macro_rules! causes {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $party:ident, $advice:literal;)*) => {
        /// Why a step did not come out well.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Cause {
            $($(#[doc = $doc])* #[serde(rename = $name)] $variant,)*
        }

        impl Cause {
            /// Every cause.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The one spelling, used as label and JSON value.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whom it concerns.
            pub const fn party(self) -> Party {
                match self { $(Self::$variant => Party::$party,)* }
            }

            /// What to do, in one sentence.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$variant => $advice,)* }
            }
        }
    };
}

causes! {
    /// No pod of the operator is ready.
    OperatorDown = "operator_down", Operator,
        "check the operator's Deployment, its pods and their last logs: no pod is ready";
    /// The operator is up and reconciles nothing.
    OperatorStalled = "operator_stalled", Operator,
        "check the operator's log and its leader Lease, then restart it: it is up but reconciled nothing";
    /// The operator reconciles others, but not this resource.
    ResourceIgnored = "resource_ignored", Operator,
        "search the operator's log for this resource: it reconciled others of this kind meanwhile";
    /// The Secret still holds an earlier value.
    StaleContent = "stale_content", Operator,
        "compare the operator's polls with `refreshAfter`: it polled Vault but left an old value in the Secret";
    /// The Secret holds what was never written to Vault.
    WrongContent = "wrong_content", Operator,
        "compare the Secret with Vault: it holds a value that this run did not write";
    /// The Secret is rewritten more often than its schedule explains.
    Churn = "churn", Operator,
        "look for a second writer of the Secret, for a resource whose generation keeps rising, or for a certificate with a fixed `notAfter`: within `expiryOffset` of it the operator issues a new one every second";
    /// A lease outlived its resource.
    LeaseLeaked = "lease_leaked", Operator,
        "check the operator's `SecretLeaseRevoke` events and its policy for `sys/leases/revoke`; with `manifest: minimal` the operator requests two leases for a resource, with `canonical` one";
    /// The credential in the Secret is no longer valid.
    LeaseLost = "lease_lost", Operator,
        "look up the lease in Vault: the credential in the Secret is no longer valid";
    /// The new credential came after the old one had expired.
    RotatedLate = "rotated_late", Operator,
        "raise `expiryOffset` or lower `renewalPercent`, so that the renewal comes before the end even with its jitter";
    /// The operator could not transform the secret.
    TransformationFailed = "transformation_failed", Operator,
        "check the SecretTransformation and the operator's global transformation options";
    /// The operator's finalizer stays on the deleted resource.
    FinalizerStuck = "finalizer_stuck", Operator,
        "check the operator's log for why it does not finish the deletion: its finalizer is still on the resource";
    /// The effect was right, but came after its threshold.
    TooSlow = "too_slow", Operator,
        "compare the stages of the step with earlier runs: the effect was right but came after its threshold";
    /// Vault is sealed.
    VaultSealed = "vault_sealed", Vault,
        "unseal Vault and check auto-unseal";
    /// The operator cannot reach Vault, or not in time.
    VaultUnreachable = "vault_unreachable", Vault,
        "check the VaultConnection's address, and Vault and the network between it and the operator";
    /// Vault answered with a server error.
    VaultError = "vault_error", Vault,
        "check Vault's log: it answered with a server error";
    /// Vault refuses requests that are too many.
    VaultLimited = "vault_limited", Vault,
        "raise Vault's rate-limit quota for the path in the evidence, or send fewer requests: Vault answered 429";
    /// Kubernetes refused the operator's write of the Secret.
    SecretWriteDenied = "secret_write_denied", Kubernetes,
        "check quotas, admission webhooks and the operator's RBAC in the canaries' namespace";
    /// The resource is gone and its Secret is not, or not in time.
    NotCollected = "not_collected", Kubernetes,
        "check kube-controller-manager: its garbage collector did not remove the Secret of a deleted owner in time";
    /// The VaultAuth or its connection is missing or invalid, or does not allow the namespace.
    AuthRefInvalid = "auth_ref_invalid", Configuration,
        "correct the VaultAuth that `authRef` names, or its VaultConnection, as the evidence says: one of them is missing or invalid, or closed to the canaries' namespace";
    /// Vault refused the operator's login.
    LoginFailed = "login_failed", Configuration,
        "compare the VaultAuth's role, audience, ServiceAccount and Secrets with the role in Vault";
    /// Vault refused the operator's request: 403.
    VaultDenied = "vault_denied", Configuration,
        "allow the path in the policy of the operator's role in Vault";
    /// Vault understood a request and would not do it as asked: 400, 405, 412, 422.
    VaultRejected = "vault_rejected", Configuration,
        "read Vault's answer in the evidence: it understood the request and did not do it as asked; change the probe or the role in Vault to fit";
    /// There is nothing at the path in Vault.
    VaultPathMissing = "vault_path_missing", Configuration,
        "compare the probe's `mount`, `path` and `type` with Vault: there is nothing at that path";
    /// The Secret belongs to someone else.
    DestinationConflict = "destination_conflict", Configuration,
        "remove the Secret of that name or choose another destination: it exists and the operator does not own it";
    /// The step is not possible as the probe is configured.
    ProbeUnfit = "probe_unfit", Configuration,
        "change the probe or its role in Vault as the evidence says: this step is not possible as configured";
    /// The prober cannot reach Vault.
    ProberVaultUnreachable = "prober_vault_unreachable", Prober,
        "check `vault.address`, and the network between the prober and Vault";
    /// Vault refuses the prober.
    ProberVaultDenied = "prober_vault_denied", Prober,
        "check the prober's token or role in Vault, and that its policy covers the canaries' paths";
    /// The prober cannot reach the API server.
    ProberKubernetesUnreachable = "prober_kubernetes_unreachable", Prober,
        "check the kubeconfig, and the network between the prober and the API server";
    /// The API server refuses the prober.
    ProberKubernetesDenied = "prober_kubernetes_denied", Prober,
        "check that the operator's CRDs are installed, that the namespace exists, the prober's token and RBAC in it, and the quotas and policies of the cluster";
    /// The watch and a direct read disagree, or the watch was interrupted.
    ProberWatchLost = "prober_watch_lost", Prober,
        "check the connection between the prober and the API server: a watch was interrupted during the step";
    /// The prober got no CPU.
    ProberStarved = "prober_starved", Prober,
        "give the prober more CPU or check its node: the prober stood still during the step";
    /// The prober was stopped before the step ended.
    ProberInterrupted = "prober_interrupted", Prober,
        "run the probe again: the prober was stopped before the step ended";
    /// The prober cannot log in to PostgreSQL to try a credential.
    ProberPostgresUnreachable = "prober_postgres_unreachable", Prober,
        "check `verify.postgres` of the probe, and the network between the prober and PostgreSQL";
    /// A bug in the prober ended the run.
    ProberBug = "prober_bug", Prober,
        "report it with the run as JSON: a bug in the prober ended the run";
    /// Someone else deleted, changed or holds the canary.
    CanaryRemoved = "canary_removed", Prober,
        "find out who deletes, changes or holds objects in the canaries' namespace, or point the prober at a namespace of its own";
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Where a piece of evidence comes from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A Kubernetes event.
    Event,
    /// An object, as read or watched, or the API server's answer.
    Status,
    /// The operator's metrics.
    Metrics,
    /// The operator's pods.
    Pod,
    /// Vault's answer to the prober.
    Vault,
}

/// One thing that speaks for a cause.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Evidence {
    /// Where it comes from.
    pub source: Source,
    /// What it says. Never a secret value.
    pub text: Text,
}

impl Evidence {
    /// A piece of evidence.
    pub fn new(source: Source, text: impl Into<Text>) -> Self {
        Self {
            source,
            text: text.into(),
        }
    }
}

/// How many pieces of evidence are told.
const PIECES: usize = 8;

/// A cause with what speaks for it: no blame without evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Blame {
    /// The cause.
    pub cause: Cause,
    first: Evidence,
    rest: Vec<Evidence>,
}

impl Blame {
    /// Blames `cause` on the strength of `first`.
    pub const fn new(cause: Cause, first: Evidence) -> Self {
        Self {
            cause,
            first,
            rest: Vec::new(),
        }
    }

    /// Adds evidence.
    #[must_use]
    pub fn and(mut self, more: impl IntoIterator<Item = Evidence>) -> Self {
        self.rest.extend(more);
        self
    }

    /// The evidence, the strongest first. Where there is very much of it, as much of each source is left out as leaves room
    /// for the others, and how much that is stands at its end.
    pub fn evidence(&self) -> Vec<Evidence> {
        let all = || std::iter::once(&self.first).chain(&self.rest);
        let count = all().count();
        if count <= PIECES {
            return all().cloned().collect();
        }
        let mut kept: Vec<Evidence> = Vec::new();
        let mut source = self.first.source;
        for piece in all() {
            let alike = kept.iter().filter(|kept| kept.source == piece.source);
            if kept.len() < PIECES && alike.count() < PIECES / 2 {
                kept.push(piece.clone());
            } else {
                source = piece.source;
            }
        }
        let more = format!("… {} more", count - kept.len());
        kept.push(Evidence::new(source, more));
        kept
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_prober_makes_a_run_unknown() {
        for cause in Cause::ALL {
            let own = cause.as_str().starts_with("prober_") || *cause == Cause::CanaryRemoved;
            assert_eq!(cause.party() == Party::Prober, own, "{cause}");
            assert_eq!(cause.party().verdict() == Verdict::Unknown, own, "{cause}");
        }
    }

    #[test]
    fn much_evidence_of_one_source_leaves_room_for_the_others() {
        let event = |number: usize| Evidence::new(Source::Event, format!("event {number}"));
        let few = Blame::new(Cause::OperatorStalled, event(0)).and((1..8).map(event));
        assert_eq!(few.evidence().len(), 8);
        let pod = Evidence::new(Source::Pod, "a pod");
        let many = Blame::new(Cause::OperatorStalled, event(0))
            .and((1..40).map(event))
            .and([pod.clone()]);
        let told = many.evidence();
        assert_eq!(told[..4], [0, 1, 2, 3].map(event));
        assert_eq!(told[4], pod);
        assert_eq!(told[5], Evidence::new(Source::Event, "… 36 more"));
        assert_eq!(told.len(), 6);
    }

    #[test]
    fn advice_is_one_sentence_in_the_house_style() {
        for cause in Cause::ALL {
            let advice = cause.advice();
            assert!(!advice.ends_with('.'), "{cause}: no full stop");
            assert!(
                advice.starts_with(|c: char| c.is_lowercase()),
                "{cause}: lowercase"
            );
        }
    }
}
