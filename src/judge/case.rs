//! A step that is judged, with all that is known of it.

use std::time::Duration;

use crate::model::account::StepAccount;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proven;
use crate::model::record::{Hindrance, LeaseState, Obstacle, Peer, StepRecord};
use crate::model::text::Text;

/// A step that is judged. What was seen is in its account alone: no rule reads the timeline.
pub(super) struct Case<'a> {
    /// The step: what was expected, and what was found out beyond the watches.
    pub(super) step: &'a StepRecord,
    /// What its record says.
    pub(super) account: &'a StepAccount,
    /// What became of the canary's leases.
    pub(super) leases: &'a [(String, LeaseState)],
    /// When it was proven, if it was.
    pub(super) proven: Option<Proven>,
    /// What it is judged by: the lateness or, of what is due at once, the latency.
    pub(super) measured: Duration,
}

impl Case<'_> {
    /// From the arrival of what is new to the end of what it replaces, in seconds; negative if it came later.
    pub(super) fn margin(&self) -> Option<f64> {
        let arrival = self.proven?.at;
        let end = self.step.findings.old_ends?;
        Some(end.since(arrival).as_secs_f64() - arrival.since(end).as_secs_f64())
    }

    /// Interruptions of the watches during the step.
    pub(super) fn cuts(&self) -> Vec<Evidence> {
        let cuts = self.account.cuts.iter();
        cuts.map(|why| status(format!("a watch was interrupted: {why}")))
            .collect()
    }

    /// The state of the operator's pods.
    pub(super) fn pods(&self) -> Vec<Evidence> {
        let pods = self.step.findings.pods.get().map_or(&[][..], Vec::as_slice);
        pods.iter()
            .map(|pod| Evidence::new(Source::Pod, format!("{} is {}", pod.name, pod.state)))
            .collect()
    }
}

/// What an object says, or the API server.
pub(super) fn status(text: impl Into<Text>) -> Evidence {
    Evidence::new(Source::Status, text)
}

/// Whom an obstacle is blamed on that the prober itself met.
pub(super) fn of_obstacle(obstacle: &Obstacle) -> Blame {
    let cause = match (obstacle.at, obstacle.how) {
        (_, Hindrance::Removed) => Cause::CanaryRemoved,
        (_, Hindrance::Unfit) => Cause::ProbeUnfit,
        (Peer::Vault, Hindrance::Unreachable) => Cause::ProberVaultUnreachable,
        (Peer::Vault, Hindrance::Denied) => Cause::ProberVaultDenied,
        (Peer::Vault, Hindrance::Rejected) => Cause::VaultRejected,
        (Peer::Vault, Hindrance::Limited) => Cause::VaultLimited,
        (Peer::Vault, Hindrance::Sealed) => Cause::VaultSealed,
        (Peer::Vault, Hindrance::Failed) => Cause::VaultError,
        (Peer::Postgres, _) => Cause::ProberPostgresUnreachable,
        (Peer::Prober, _) => Cause::ProberBug,
        (Peer::Kubernetes, Hindrance::Denied | Hindrance::Rejected) => {
            Cause::ProberKubernetesDenied
        }
        (
            Peer::Kubernetes,
            Hindrance::Unreachable | Hindrance::Limited | Hindrance::Sealed | Hindrance::Failed,
        ) => Cause::ProberKubernetesUnreachable,
    };
    let source = match obstacle.at {
        Peer::Vault => Source::Vault,
        Peer::Kubernetes | Peer::Postgres | Peer::Prober => Source::Status,
    };
    Blame::new(cause, Evidence::new(source, obstacle.text.clone()))
}
