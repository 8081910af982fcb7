//! The lease of a dynamic secret: what it is, and when it may be renewed.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use vso_prober::operator::api::{SecretLease, VaultDynamicSecret};

use crate::horizon;
use crate::vault::Answer;

pub(super) fn lease_of(answer: &Answer) -> SecretLease {
    SecretLease {
        id: answer.lease_id.clone(),
        duration: answer.lease_duration,
        renewable: answer.renewable,
        request_id: answer.request_id.clone(),
    }
}

pub(super) fn has_renewable_lease(o: &VaultDynamicSecret) -> bool {
    o.status
        .as_ref()
        .is_some_and(|status| status.secret_lease.renewable && !status.secret_lease.id.is_empty())
}

pub(super) fn renewal_is_due(o: &VaultDynamicSecret) -> bool {
    until_renewal(o) < 0.0
}

/// Seconds until the lease may be renewed.
pub(super) fn until_renewal(o: &VaultDynamicSecret) -> f64 {
    let status = o.status.clone().unwrap_or_default();
    let opens = horizon::renewable_after(
        seconds(status.secret_lease.duration),
        o.spec.renewal_percent,
    );
    let passed = Timestamp::now().as_millisecond() - status.last_renewal_time * 1000;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a lease lasts less than millennia"
    )]
    let passed = passed as f64 / 1e3;
    opens.as_secs_f64() - passed
}

pub(super) fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}
