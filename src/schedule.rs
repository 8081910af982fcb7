//! The schedule of a probe: chance keeps it from locking onto the operator's own polls.

use std::time::Duration;

use rand::{Rng, RngExt as _};

use crate::model::time;

/// The longest wait for the first run: a restart must not leave a slow probe blind for long.
const FIRST: Duration = Duration::from_secs(60);

/// How long after the start the first run is due: anywhere in the first interval, within a minute.
pub fn first(every: Duration, rng: &mut impl Rng) -> Duration {
    time::share(every.min(FIRST), rng.random())
}

/// How long after the moment when one run was due the next one is: `every` × [1 - spread, 1 + spread].
pub fn gap(every: Duration, spread: f64, rng: &mut impl Rng) -> Duration {
    time::share(every, rng.random_range((1.0 - spread)..=(1.0 + spread)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::SeedableRng as _;
    use rand::rngs::StdRng;

    use super::*;

    proptest! {
        #[test]
        fn a_gap_keeps_to_its_spread(seed: u64, seconds in 1..100_000_u64, spread in 0.0..=1.0_f64) {
            let every = Duration::from_secs(seconds);
            let rng = &mut StdRng::seed_from_u64(seed);
            let gap = gap(every, spread, rng);
            let slack = Duration::from_micros(1);
            prop_assert!(gap + slack >= every.mul_f64(1.0 - spread));
            prop_assert!(gap <= every.mul_f64(1.0 + spread) + slack);
            prop_assert!(first(every, rng) <= every.min(FIRST));
        }
    }

    #[test]
    fn gaps_have_the_mean_that_was_asked_for() {
        let every = Duration::from_secs(60);
        let rng = &mut StdRng::seed_from_u64(1);
        let total: Duration = (0..10_000).map(|_| gap(every, 0.5, rng)).sum();
        let mean = total.as_secs_f64() / 10_000.0;
        assert!((mean - 60.0).abs() < 1.0, "{mean}");
    }
}
