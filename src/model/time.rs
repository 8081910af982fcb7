//! Spans and moments in which numbers of others may have a part: clamped where they are read, and never beyond
//! their end where they are added up.

use std::time::Duration;

use jiff::Timestamp;

/// No span that someone else tells is longer: 100 years, which is added to any moment of today's without an overflow.
pub const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A span that someone else told.
pub fn clamped(told: Duration) -> Duration {
    told.min(LONGEST)
}

/// A span that someone else told in seconds; none if it is negative.
pub fn seconds(told: i64) -> Duration {
    clamped(Duration::from_secs(u64::try_from(told).unwrap_or_default()))
}

/// A span that someone else told in seconds and parts of them; none if it is negative or no number.
pub fn fraction(told: f64) -> Duration {
    let none = told.is_nan() || told < 0.0;
    let span = Duration::try_from_secs_f64(told);
    clamped(span.unwrap_or(if none { Duration::ZERO } else { LONGEST }))
}

/// A share, or a multiple, of a span.
pub fn share(of: Duration, factor: f64) -> Duration {
    fraction(of.as_secs_f64() * factor)
}

/// A moment that another span may be added to, whatever its length.
///
/// `+` panics where the sum can't be held; this ends at the last moment that can be.
pub trait Moment: Copy {
    /// The moment `by` later.
    #[must_use]
    fn later(self, by: Duration) -> Self;

    /// The moment `by` earlier.
    #[must_use]
    fn earlier(self, by: Duration) -> Self;
}

impl Moment for Timestamp {
    fn later(self, by: Duration) -> Self {
        self.saturating_add(by).unwrap_or(Self::MAX)
    }

    fn earlier(self, by: Duration) -> Self {
        self.saturating_sub(by).unwrap_or(Self::MIN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_beyond_every_measure_is_the_longest() {
        assert_eq!(fraction(1e19), LONGEST);
        assert_eq!(fraction(1e300), LONGEST);
        assert_eq!(fraction(f64::INFINITY), LONGEST);
        assert_eq!(fraction(f64::NEG_INFINITY), Duration::ZERO);
        assert_eq!(fraction(f64::NAN), Duration::ZERO);
        assert_eq!(fraction(1.5), Duration::from_millis(1500));
        assert_eq!(seconds(i64::MAX), LONGEST);
        assert_eq!(seconds(-1), Duration::ZERO);
        assert_eq!(clamped(Duration::MAX), LONGEST);
        assert_eq!(Timestamp::MAX.later(LONGEST), Timestamp::MAX);
        assert_eq!(Timestamp::MIN.earlier(Duration::MAX), Timestamp::MIN);
        assert_eq!(Timestamp::UNIX_EPOCH.later(Duration::MAX), Timestamp::MAX);
    }

    proptest! {
        #[test]
        fn whatever_number_is_told_it_becomes_a_span_that_can_be_added(
            whole: i64,
            bits: u64,
            factor: u64,
            from in -377_705_023_201_i64..=253_402_207_200,
        ) {
            let (told, factor) = (f64::from_bits(bits), f64::from_bits(factor));
            let at = Timestamp::from_second(from).expect("within its range");
            for span in [seconds(whole), fraction(told), share(fraction(told), factor)] {
                prop_assert!(span <= LONGEST);
                prop_assert!(at.later(span) >= at && at.earlier(span) <= at);
            }
        }
    }
}
