//! The horizon, the time of the operator's next reconcile: jitter of polls and renewals, and backoff on errors.

use std::fmt;
use std::time::Duration;

use rand::{Rng, RngExt};

/// How long after a client or configuration error the operator tries again, before jitter.
pub(crate) const ON_ERROR: Duration = Duration::from_secs(5);

/// When it tries again after such an error: in 4 to 4.5 s.
pub(crate) fn on_error() -> Duration {
    poll(ON_ERROR, &mut rand::rng())
}

/// The next poll: uniform in [0.8, 0.9] of `period`.
pub(crate) fn poll(period: Duration, rng: &mut impl Rng) -> Duration {
    period.mul_f64(0.9 - jitter(0.1, rng))
}

/// The next renewal: uniform in [p, p + 0.1] of the lease, where `percent` counts for 0 to 90.
pub(crate) fn renewal(lease: Duration, percent: i32, rng: &mut impl Rng) -> Duration {
    lease.mul_f64(f64::from(percent.clamp(0, 90)) / 100.0 + 0.1 - jitter(0.1, rng))
}

/// The part of a lease after which it may be renewed at all.
pub(crate) fn renewable_after(lease: Duration, percent: i32) -> Duration {
    lease.mul_f64(f64::from(percent.clamp(0, 90)) / 100.0)
}

/// The next look at a certificate that lasts for `left`, and whether it is to be replaced now: `offset` before its
/// end, and then up to 5 % later still; without an offset up to 5 % sooner. Never in less than a second.
pub(crate) fn certificate(
    left: Duration,
    offset: Duration,
    rng: &mut impl Rng,
) -> (Duration, bool) {
    const SOONEST: Duration = Duration::from_secs(1);
    let until = left.saturating_sub(offset);
    let due = until < SOONEST;
    let until = until.max(SOONEST);
    let jitter = until.mul_f64(jitter(0.05, rng));
    if due || !offset.is_zero() {
        (until + jitter, due)
    } else {
        (until.saturating_sub(jitter), due)
    }
}

/// Uniform in [0, `share`): the operator's way to keep a herd apart.
pub(crate) fn jitter(share: f64, rng: &mut impl Rng) -> f64 {
    rng.random_range(0.0..share)
}

/// Exponential backoff on what Vault answers: 5 s × 1.5 up to 60 s, each ±50 %.
#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    interval: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
        }
    }
}

impl Backoff {
    /// The next delay.
    pub(crate) fn next(&mut self, rng: &mut impl Rng) -> Duration {
        let delay = self.interval.mul_f64(rng.random_range(0.5..=1.5));
        self.interval = self.interval.mul_f64(1.5).min(Duration::from_secs(60));
        delay
    }
}

/// A duration as Go prints it: `8.5877181s`, `1m0.5s`, `250ms`, `0s`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Go(pub(crate) Duration);

impl fmt::Display for Go {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.as_nanos();
        match nanos {
            0 => return f.write_str("0s"),
            1..1_000 => return write!(f, "{nanos}ns"),
            1_000..1_000_000 => return write!(f, "{}µs", decimal(nanos, 1_000)),
            1_000_000..1_000_000_000 => return write!(f, "{}ms", decimal(nanos, 1_000_000)),
            _ => {}
        }
        let minutes = self.0.as_secs() / 60;
        if minutes >= 60 {
            write!(f, "{}h", minutes / 60)?;
        }
        if minutes > 0 {
            write!(f, "{}m", minutes % 60)?;
        }
        write!(f, "{}s", decimal(nanos % 60_000_000_000, 1_000_000_000))
    }
}

fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let digits = format!("{rest:0width$}");
    format!("{whole}.{}", digits.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vso_prober::operator::POLL_JITTER;
    use vso_prober::operator::api::go_duration;

    fn share(of: Duration, whole: Duration) -> f64 {
        of.as_secs_f64() / whole.as_secs_f64()
    }

    #[test]
    fn polls_stay_in_their_window_and_fill_it() {
        let mut rng = rand::rng();
        let period = Duration::from_secs(20);
        let shares: Vec<f64> = (0..10_000)
            .map(|_| share(poll(period, &mut rng), period))
            .collect();
        let (low, high) = POLL_JITTER;
        assert!(
            shares
                .iter()
                .all(|s| (low - 1e-9..=high + 1e-9).contains(s))
        );
        assert!(shares.iter().any(|s| *s < low + 0.001));
        assert!(shares.iter().any(|s| *s > high - 0.001));
    }

    #[test]
    fn renewals_stay_in_their_window() {
        let mut rng = rand::rng();
        let lease = Duration::from_secs(60);
        let mut check = |percent: i32, low: f64, high: f64| {
            for _ in 0..1_000 {
                let due = share(renewal(lease, percent, &mut rng), lease);
                assert!(
                    (low - 1e-9..=high + 1e-9).contains(&due),
                    "{percent}: {due}"
                );
            }
        };
        check(50, 0.5, 0.6);
        check(67, 0.67, 0.77);
        check(99, 0.9, 1.0);
        check(-5, 0.0, 0.1);
    }

    #[test]
    fn certificates_are_replaced_up_to_a_twentieth_late() {
        let mut rng = rand::rng();
        let mut check = |left: u64, offset: u64, low: f64, high: f64, now: bool| {
            for _ in 0..1_000 {
                let [left, offset] = [left, offset].map(Duration::from_secs);
                let (delay, due) = certificate(left, offset, &mut rng);
                let delay = delay.as_secs_f64();
                assert!((low - 1e-9..=high + 1e-9).contains(&delay), "{delay}");
                assert_eq!(due, now);
            }
        };
        check(60, 10, 50.0, 52.5, false);
        check(60, 0, 57.0, 60.0, false);
        check(60, 60, 1.0, 1.05, true);
        check(0, 0, 1.0, 1.05, true);
    }

    #[test]
    fn backoff_grows_to_a_minute() {
        let mut rng = rand::rng();
        let mut backoff = Backoff::default();
        let mut expected: f64 = 5.0;
        for _ in 0..12 {
            let delay = backoff.next(&mut rng).as_secs_f64();
            assert!(
                (expected * 0.5..=expected * 1.5).contains(&delay),
                "{delay} for {expected}"
            );
            expected = (expected * 1.5).min(60.0);
        }
    }

    #[test]
    fn durations_print_as_in_go() {
        let check = |nanos: u64, text: &str| {
            assert_eq!(Go(Duration::from_nanos(nanos)).to_string(), text);
            assert_eq!(
                go_duration(text),
                Some(Duration::from_nanos(nanos)),
                "{text}"
            );
        };
        check(16_743_745_395, "16.743745395s");
        check(8_587_718_100, "8.5877181s");
        check(60_500_000_000, "1m0.5s");
        check(3_600_000_000_000, "1h0m0s");
        check(250_000_000, "250ms");
        check(12_500, "12.5µs");
        check(7, "7ns");
        check(0, "0s");
    }
}
