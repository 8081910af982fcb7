//! The conditions of a status, as the operator words and merges them.

use k8s_openapi::jiff::Timestamp;
use vso_prober::operator::api::Condition;

/// A condition that is to be told.
#[derive(Clone, Debug)]
pub(crate) struct Said<'a> {
    /// Its type.
    pub(crate) type_: &'a str,
    /// Its reason.
    pub(crate) reason: &'a str,
    /// Whether it holds.
    pub(crate) holds: bool,
    /// Its message.
    pub(crate) message: String,
}

impl Said<'_> {
    /// `SecretSynced`; its reason never changes.
    pub(crate) fn synced(holds: bool, message: String) -> Self {
        Said {
            type_: "SecretSynced",
            reason: "Synced",
            holds,
            message,
        }
    }

    /// `LeaseRenewal`.
    pub(crate) fn renewal(reason: &'static str, holds: bool, message: String) -> Self {
        Said {
            type_: "LeaseRenewal",
            reason,
            holds,
            message,
        }
    }
}

/// The status after `said`, to which `Healthy` and `Ready` are added: what was not spoken of comes first and unchanged.
pub(crate) fn merge(
    current: &[Condition],
    said: Vec<Said<'_>>,
    healthy: bool,
    kind: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let reason = if healthy { "Healthy" } else { "Unhealthy" };
    let own = [
        Said {
            type_: "Healthy",
            reason,
            holds: healthy,
            message: format!("{kind}{reason}"),
        },
        // "Ready" stands in the reason and the message even where it is not.
        Said {
            type_: "Ready",
            reason: "Ready",
            holds: healthy,
            message: format!("{kind}Ready"),
        },
    ];
    let told: Vec<Condition> = said
        .into_iter()
        .chain(own)
        .map(|said| Condition {
            type_: said.type_.into(),
            status: if said.holds { "True" } else { "False" }.into(),
            reason: said.reason.into(),
            message: said.message,
            last_transition_time: second(now),
            observed_generation: generation,
        })
        .collect();
    let kept = current
        .iter()
        .filter(|old| told.iter().all(|new| new.type_ != old.type_))
        .cloned();
    kept.chain(told.iter().cloned()).collect()
}

/// RFC 3339 with the grain of a second.
pub(crate) fn second(now: Timestamp) -> String {
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(conditions: &[Condition]) -> Vec<(String, String, String)> {
        let all = conditions.iter();
        all.map(|c| (c.type_.clone(), c.status.clone(), c.reason.clone()))
            .collect()
    }

    fn words(type_: &str, status: &str, reason: &str) -> (String, String, String) {
        (type_.into(), status.into(), reason.into())
    }

    #[test]
    fn reasons_lie_on_failure_as_recorded() {
        let said = vec![Said::synced(
            false,
            "Failed to sync the secret, horizon=4s, err=x".into(),
        )];
        let now = Timestamp::from_second(0).expect("the epoch");
        let failed = merge(&[], said, false, "VaultStaticSecret", Some(2), now);
        let expected = [
            words("SecretSynced", "False", "Synced"),
            words("Healthy", "False", "Unhealthy"),
            words("Ready", "False", "Ready"),
        ];
        assert_eq!(summary(&failed), expected);
        assert_eq!(failed[1].message, "VaultStaticSecretUnhealthy");
        assert_eq!(failed[2].message, "VaultStaticSecretReady");
        assert_eq!(failed[0].last_transition_time, "1970-01-01T00:00:00Z");
        assert_eq!(failed[0].observed_generation, Some(2));
    }

    #[test]
    fn a_healthy_poll_keeps_the_old_sync_word() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let said = vec![Said::synced(false, "old error".into())];
        let failed = merge(&[], said, false, "VaultStaticSecret", Some(1), at(0));
        let healthy = merge(&failed, vec![], true, "VaultStaticSecret", Some(1), at(9));
        assert_eq!(healthy[0], failed[0]);
        assert_eq!(healthy[1].status, "True");
        assert_eq!(healthy[1].last_transition_time, "1970-01-01T00:00:09Z");
    }
}
