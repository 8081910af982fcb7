//! The offset of Vault's clock from the cluster's, bounded by requests of the prober's own.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::time::Moment as _;

/// How many of the latest bounds are heeded.
const KEPT: usize = 20;
/// How far two clocks part in a second, at most: 200 ppm.
const DRIFT: f64 = 0.0002;

/// A request of the prober's own: Vault wrote its line between sending and receipt.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Bound {
    /// When it was sent, by the prober's clock.
    pub sent: Timestamp,
    /// When the answer was received, by the prober's clock.
    pub received: Timestamp,
    /// When Vault wrote the line, by Vault's.
    pub line: Timestamp,
}

/// How far one clock is before another.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Offset {
    /// By so much Vault's clock is before the cluster's.
    pub ahead: SignedDuration,
    /// It may be wrong by so much.
    pub error: Duration,
}

impl Offset {
    /// What is the same clock, or kept in step well enough.
    pub const fn none(error: Duration) -> Self {
        Self {
            ahead: SignedDuration::ZERO,
            error,
        }
    }

    /// The tightest of the latest bounds, each the wider the older it is at `now`.
    pub fn bounded(bounds: &[Bound], now: Timestamp) -> Option<Self> {
        let latest = bounds.iter().rev().take(KEPT);
        let all = latest.filter_map(|bound| bound.offset(now));
        all.min_by_key(|offset| offset.error)
    }

    /// A moment of Vault's by the cluster's clock.
    pub fn corrected(self, line: Timestamp) -> Timestamp {
        let by = self.ahead.unsigned_abs();
        if self.ahead.is_negative() {
            line.later(by)
        } else {
            line.earlier(by)
        }
    }
}

impl Bound {
    fn offset(&self, now: Timestamp) -> Option<Offset> {
        let most = self.line.duration_since(self.sent);
        let least = self.line.duration_since(self.received);
        let width = most.checked_sub(least)?;
        if width.is_negative() {
            return None;
        }
        let half = width / 2;
        let age = now.duration_since(self.received).unsigned_abs();
        let drift = crate::model::time::share(age, DRIFT);
        Some(Offset {
            ahead: least.checked_add(half)?,
            error: half.unsigned_abs().saturating_add(drift),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_of_the_latest_counts() {
        let at = |milliseconds: i64| {
            Timestamp::from_millisecond(1_800_000_000_000 + milliseconds).expect("a time")
        };
        let bound = |sent, received, line| Bound {
            sent: at(sent),
            received: at(received),
            line: at(line),
        };
        // Vault is 5 s ahead.
        let bounds = [
            bound(0, 100, 5050),
            bound(1000, 1010, 6004),
            bound(2000, 2400, 7399),
        ];
        let offset = Offset::bounded(&bounds, at(2400)).expect("bounded");
        assert!(
            (offset.ahead - SignedDuration::from_secs(5)).unsigned_abs() < Duration::from_millis(6),
            "{offset:?}"
        );
        assert!(offset.error < Duration::from_millis(6), "{offset:?}");
        let corrected = offset
            .corrected(at(5000))
            .duration_since(at(0))
            .unsigned_abs();
        assert!(corrected < Duration::from_millis(6), "{corrected:?}");
        assert_eq!(
            Offset::bounded(&[bound(10, 0, 5)], at(10)),
            None,
            "its clock was set back"
        );
        assert_eq!(Offset::bounded(&[], at(0)), None);
    }
}
