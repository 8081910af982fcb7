//! The pressure on the machine's CPUs, by the kernel's own account.

use std::fs;
use std::time::{Duration, Instant};

/// From this share of its time on, a trial was on a starved machine: somebody waited for a CPU in it. One lab on an idle
/// machine stays below a tenth, several labs on two cores are above.
pub(super) const STARVED: f64 = 0.25;

/// A moment, and how long somebody had waited for a CPU by then, since the machine's start.
pub(super) struct Pressure {
    at: Instant,
    waited: Duration,
}

impl Pressure {
    /// This moment; `None` where the kernel keeps no account of it (`CONFIG_PSI`).
    pub(super) fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/pressure/cpu").ok()?;
        Some(Self {
            at: Instant::now(),
            waited: waited(&text)?,
        })
    }

    /// The share of the time since `before`, from 0 to 1, in which somebody waited for a CPU.
    pub(super) fn since(&self, before: &Self) -> f64 {
        let time = self.at.saturating_duration_since(before.at);
        let waited = self.waited.saturating_sub(before.waited);
        if time.is_zero() {
            return 0.0;
        }
        (waited.as_secs_f64() / time.as_secs_f64()).min(1.0)
    }
}

/// What `/proc/pressure/cpu` says of the time in which at least one task waited: `some … total=MICROSECONDS`.
fn waited(text: &str) -> Option<Duration> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let total = some
        .split_whitespace()
        .find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod trials {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_time_in_which_somebody_waited() {
        let text =
            "some avg10=0.02 avg60=18.66 avg300=55.24 total=3000000\nfull avg10=0.00 total=9\n";
        assert_eq!(waited(text), Some(Duration::from_secs(3)));
        assert_eq!(waited("full avg10=0.00 total=9\n"), None);
        let before = Pressure {
            at: Instant::now(),
            waited: Duration::from_secs(3),
        };
        let after = Pressure {
            at: before.at + Duration::from_secs(10),
            waited: Duration::from_secs(7),
        };
        assert!((after.since(&before) - 0.4).abs() < 1e-9);
        assert!(before.since(&before).abs() < 1e-9);
    }
}
