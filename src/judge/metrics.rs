//! The evidence from the operator's own metrics, in words and figures.

use std::fmt::Write as _;

use super::stages::Told;
use crate::model::cause::{Cause, Evidence, Source};
use crate::model::delta::OperatorDelta;
use crate::model::run::Attribution;
use crate::model::snapshot::Void;
use crate::model::{Kind, Stage};

/// From here on a count is one at least: a difference of two readings need not be whole.
const SOME: f64 = 0.5;

/// What they say, where they were read and have anything to say.
pub(super) fn evidence(cause: Cause, kind: Kind, told: &Told) -> Option<Evidence> {
    let text = match (&told.operator, told.void) {
        (Some(numbers), _) => figures(cause, kind, numbers, told),
        (None, Some(void)) => silence(cause, void).map(str::to_owned),
        (None, None) => None,
    };
    text.map(|text| Evidence::new(Source::Metrics, text))
}

fn figures(cause: Cause, kind: Kind, numbers: &OperatorDelta, told: &Told) -> Option<String> {
    match cause {
        Cause::OperatorDown
        | Cause::OperatorStalled
        | Cause::ResourceIgnored
        | Cause::StaleContent
        | Cause::Churn
        | Cause::FinalizerStuck => Some(reconciles(kind, numbers, told.shared)),
        Cause::TooSlow | Cause::RotatedLate => Some(times(numbers, told)),
        Cause::VaultSealed
        | Cause::VaultUnreachable
        | Cause::VaultError
        | Cause::LoginFailed
        | Cause::VaultDenied
        | Cause::VaultRejected
        | Cause::VaultLimited
        | Cause::VaultPathMissing => failures(numbers.vault_errors, numbers, "request", "to Vault"),
        Cause::SecretWriteDenied | Cause::TransformationFailed => {
            let of = format!("of a {}", kind.resource());
            failures(numbers.errors, numbers, "reconcile", &of)
        }
        Cause::WrongContent
        | Cause::LeaseLeaked
        | Cause::LeaseLost
        | Cause::NotCollected
        | Cause::AuthRefInvalid
        | Cause::DestinationConflict
        | Cause::ProberVaultUnreachable
        | Cause::ProberVaultDenied
        | Cause::ProberKubernetesUnreachable
        | Cause::ProberKubernetesDenied
        | Cause::ProberWatchLost
        | Cause::ProberStarved
        | Cause::ProberInterrupted
        | Cause::ProberPostgresUnreachable
        | Cause::ProberBug
        | Cause::CanaryRemoved
        | Cause::ProbeUnfit => None,
    }
}

/// How much the controller did, and what may have kept it from doing more.
fn reconciles(kind: Kind, numbers: &OperatorDelta, shared: bool) -> String {
    let mut text = format!(
        "the operator counted {} of a {} in {:.1} s",
        counted(numbers.reconciles, "reconcile"),
        kind.resource(),
        numbers.window_seconds
    );
    if shared {
        text.push_str(", more than this resource accounts for");
    }
    for (number, what) in [
        (numbers.active_workers, "still running at the end"),
        (numbers.queue_depth, "waiting in its queue"),
        (numbers.vault_errors, "failed in Vault"),
        (numbers.api_throttled, "throttled by the API server"),
    ] {
        if number >= SOME {
            let _ = write!(text, "; {number:.0} {what}");
        }
    }
    text
}

/// Where the time went.
fn times(numbers: &OperatorDelta, told: &Told) -> String {
    let mut text = if told.attribution == Attribution::None {
        "no reconcile shows where the time went".to_owned()
    } else {
        let share = |(stage, seconds): (&Stage, &f64)| format!("{} {seconds:.3} s", stage.as_str());
        let stages: Vec<_> = told.stages.iter().map(share).collect();
        format!("where the time went: {}", stages.join(", "))
    };
    for (number, what, seconds) in [
        (numbers.vault_reads, "read", numbers.vault_read_seconds),
        (numbers.logins, "login", numbers.login_seconds),
    ] {
        if number >= SOME {
            let what = counted(number, what);
            let _ = write!(text, "; {what} took {seconds:.3} s in Vault");
        }
    }
    text
}

fn failures(failed: f64, numbers: &OperatorDelta, what: &str, of: &str) -> Option<String> {
    (failed >= SOME).then(|| {
        format!(
            "the operator counted {} {of} that failed in {:.1} s",
            counted(failed, what),
            numbers.window_seconds
        )
    })
}

/// Why the numbers of a window say nothing: that itself may speak for a cause of the operator's.
const fn silence(cause: Cause, void: Void) -> Option<&'static str> {
    let may = matches!(
        cause,
        Cause::OperatorDown
            | Cause::OperatorStalled
            | Cause::ResourceIgnored
            | Cause::FinalizerStuck
            | Cause::TooSlow
    );
    match void {
        Void::Restart if may => Some("a process of the operator started or ended around the step"),
        Void::LeaderChanged if may => Some("another replica became the leader around the step"),
        Void::ScrapeFailed if may => Some("the operator's metrics could not be read"),
        _ => None,
    }
}

fn counted(number: f64, what: &str) -> String {
    match number {
        none if none < SOME => format!("no {what}"),
        one if one < 1.0 + SOME => format!("1 {what}"),
        many => format!("{many:.0} {what}s"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn told(operator: Option<OperatorDelta>, void: Option<Void>) -> Told {
        Told {
            stages: BTreeMap::from([(Stage::Queue, 0.25), (Stage::Reconcile, 1.5)]),
            attribution: Attribution::Shared,
            operator,
            void,
            explained_ratio: None,
            shared: true,
        }
    }

    fn text(cause: Cause, numbers: OperatorDelta) -> Option<String> {
        figures(cause, Kind::Static, &numbers, &told(Some(numbers), None))
    }

    #[test]
    fn they_speak_in_figures() {
        let idle = OperatorDelta {
            window_seconds: 4.25,
            active_workers: 1.0,
            ..OperatorDelta::default()
        };
        assert_eq!(
            reconciles(Kind::Static, &idle, false),
            "the operator counted no reconcile of a VaultStaticSecret in 4.2 s; 1 still running at the end"
        );
        let busy = OperatorDelta {
            reconciles: 12.0,
            vault_reads: 12.0,
            vault_read_seconds: 0.5,
            logins: 1.0,
            login_seconds: 0.125,
            vault_errors: 2.0,
            ..idle
        };
        let told = |cause| text(cause, busy).expect("it has something to say");
        assert_eq!(
            told(Cause::ResourceIgnored),
            "the operator counted 12 reconciles of a VaultStaticSecret in 4.2 s, more than this resource accounts for; \
             1 still running at the end; 2 failed in Vault"
        );
        assert_eq!(
            told(Cause::TooSlow),
            "where the time went: queue 0.250 s, reconcile 1.500 s; \
             12 reads took 0.500 s in Vault; 1 login took 0.125 s in Vault"
        );
        assert_eq!(
            told(Cause::VaultError),
            "the operator counted 2 requests to Vault that failed in 4.2 s"
        );
    }

    #[test]
    fn they_are_silent_where_they_prove_nothing() {
        let nothing = OperatorDelta::default();
        for cause in [
            Cause::VaultDenied,
            Cause::SecretWriteDenied,
            Cause::ProberStarved,
        ] {
            assert_eq!(text(cause, nothing), None, "{cause}");
        }
        assert_eq!(
            silence(Cause::OperatorDown, Void::Restart),
            Some("a process of the operator started or ended around the step")
        );
        assert_eq!(silence(Cause::VaultDenied, Void::Restart), None);
        assert_eq!(silence(Cause::OperatorDown, Void::NotEnclosed), None);
    }
}
