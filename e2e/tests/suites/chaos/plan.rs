//! The plan of a storm, drawn from a number: the same number gives the same plan.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

use super::fault::Fault;

/// How many faults a storm has at most.
const MOST: usize = 3;
/// Within how many milliseconds of a storm's begin a fault appears.
const BEGIN: u64 = 6000;
/// How many milliseconds a fault lasts.
const LENGTH: std::ops::Range<u64> = 300..4500;

/// One fault, from when to when since the storm's begin.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Spell {
    pub(crate) fault: Fault,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
}

/// One to three faults, which may overlap.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Plan(pub(crate) Vec<Spell>);

impl Plan {
    /// The plan of this number; of a `real` operator nothing is asked that only the stand-in can do.
    pub(crate) fn draw(seed: u64, real: bool) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let possible: Vec<_> = Fault::ALL
            .into_iter()
            .filter(|fault| !real || fault.misbehaviour().is_none())
            .collect();
        let mut spells: Vec<Spell> = Vec::new();
        for _ in 0..rng.random_range(1..=MOST) {
            let from = rng.random_range(0..BEGIN);
            let until = from + rng.random_range(LENGTH);
            let fault = *possible.choose(&mut rng).expect("there are faults");
            let spell = Spell {
                fault,
                from: Duration::from_millis(from),
                until: Duration::from_millis(until),
            };
            if !spells.iter().any(|other| spell.collides(other)) {
                spells.push(spell);
            }
        }
        Self(spells)
    }
}

impl Spell {
    fn collides(&self, other: &Self) -> bool {
        // A fault is not brought about nor taken back in no time.
        let room = Duration::from_secs(1);
        let apart = self.until + room < other.from || other.until + room < self.from;
        !apart && self.fault.excludes(other.fault)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, Spell { fault, from, until }) in self.0.iter().enumerate() {
            let comma = if number == 0 { "" } else { ", " };
            let (from, until) = (from.as_secs_f64(), until.as_secs_f64());
            write!(f, "{comma}{fault:?} from {from:.1} s to {until:.1} s")?;
        }
        Ok(())
    }
}
