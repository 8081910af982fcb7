//! The storms: faults appear and clear at random, up to three at once, and whoever is blamed had one.
//!
//! Ten storms by default; `CHAOS_SEEDS=300` has so many, `CHAOS_SEED=17` has that one again.

mod fault;
mod others;
mod plan;
mod storm;

use std::env;

use e2e::scenario::Suite;

/// How many there are unless one asks for more.
const FEW: u64 = 10;

/// Its trials.
pub(crate) fn suite() -> Suite {
    let number = |name: &str| {
        let value = env::var(name).ok().filter(|value| !value.is_empty())?;
        let number = value.parse().ok();
        Some(number.unwrap_or_else(|| panic!("{name} is to be a number, not `{value}`")))
    };
    let seeds = match number("CHAOS_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("CHAOS_SEEDS").unwrap_or(FEW),
    };
    let suite = Suite::new("chaos");
    let add = |suite: Suite, seed: u64| {
        suite.trial(&format!("seed_{seed}"), async move |scene| {
            storm::weather(scene, seed).await
        })
    };
    seeds.fold(suite, add)
}
