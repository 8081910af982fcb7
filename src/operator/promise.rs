//! The operator's promises in numbers: when it renews and replaces, and the jitter of each.

use std::time::Duration;

use crate::model::time;

/// The share of a lease's duration after which the operator renews it, in percent, where a resource says nothing.
pub const RENEWAL_PERCENT: u8 = 67;
/// The largest share that it heeds.
const RENEWAL_PERCENT_CAP: u8 = 90;
/// It draws the moment from that share and this much more of the duration.
pub(super) const RENEWAL_JITTER: f64 = 0.1;
/// The operator replaces a certificate so much of the time until then later than it was asked to, at most.
pub(super) const EXPIRY_JITTER: f64 = 1.05;
/// It looks at a certificate no sooner than so long after the last time.
pub(super) const SOONEST_LOOK: Duration = Duration::from_secs(1);

/// The operator comes back for a static role's credential so long after its time, and up to so much later still.
const ROTATION_GRACE: Duration = Duration::from_millis(650);
/// For so long it then looks whether Vault, which looks every few seconds, has replaced it.
const ROTATION_WAIT: Duration = Duration::from_secs(10);

/// The longest that the operator may take to bring the credential of a static role that follows one with this time left.
pub fn rotation_bound(left: Duration) -> Duration {
    left.saturating_add(ROTATION_GRACE)
        .saturating_add(ROTATION_WAIT)
}

/// The longest that the operator may wait before it renews or replaces a lease of this duration.
pub fn renewal_bound(duration: Duration, percent: Option<u8>) -> Duration {
    let percent = percent.unwrap_or(RENEWAL_PERCENT).min(RENEWAL_PERCENT_CAP);
    time::share(duration, f64::from(percent) / 100.0 + RENEWAL_JITTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_due_within_its_window() {
        let lease = Duration::from_secs(100);
        assert_eq!(renewal_bound(lease, None), Duration::from_secs(77));
        assert_eq!(renewal_bound(lease, Some(50)), Duration::from_secs(60));
        assert_eq!(renewal_bound(lease, Some(99)), lease);
    }
}
