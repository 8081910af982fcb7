//! Storms of writes, rotations and kills, drawn from their number.

use std::fs::{self, File};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::log::{KEPT, Log};
use crate::tail::family::family;

/// What is lost, or read out of order, in a storm of writes, rotations and kills.
fn storm(seed: u64, kills: bool, losses: bool) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut log = Log::new();
    let mut pending = false;
    for _ in 0..rng.random_range(5..80) {
        let op = rng.random_range(0..if losses { 14 } else { 12 });
        match op {
            0..3 => {
                let lines = rng.random_range(0..6);
                log.write(lines);
            }
            3 => log.write_torn(),
            4..6 => {
                log.step();
            }
            6 => log.read_all(),
            // The writer goes on writing to the old file until it is told.
            7 if !pending => {
                log.rename();
                if rng.random() {
                    File::create(log.path()).unwrap();
                }
                pending = true;
            }
            7 | 8 => {
                log.reopen();
                pending = false;
            }
            // What was cut, rotated away and compressed, while nobody read, looks as if it had not been cut.
            9 if !losses => {
                let oldest = if pending { 2 } else { 1 };
                let number = rng.random_range(oldest..oldest + 3);
                if rng.random() {
                    log.gzip(number);
                } else {
                    log.zstd(number);
                }
            }
            10 | 11 if kills => log.kill(rng.random_range(0..log.positions.len())),
            // Of a file that was never opened, nothing tells that it was cut, once its copy is compressed.
            12 if !pending && log.was_opened() => {
                let lost = rng.random_range(0..3);
                log.copy_truncate(lost);
            }
            13 => {
                let family = family(&log.path()).unwrap();
                if family.len() > KEPT {
                    fs::remove_file(&family[0].path).unwrap();
                }
            }
            _ => {}
        }
    }
    log.reopen();
    log.write(1);
    log.read_all();
    assert!(log.whole, "seed {seed}: it is read to its end");
    assert!(
        !log.untold,
        "seed {seed}: not all was read that was said to be"
    );
    let missing = log.missing();
    if losses {
        assert!(
            missing.is_empty() || !log.gaps.is_empty(),
            "seed {seed}: {missing:?} are missing, and nobody says so"
        );
    } else {
        assert_eq!(missing, [0_u64; 0], "seed {seed}");
        // Nothing tells such a file once it is compressed, so that it counts as lost.
        assert!(
            log.gaps.is_empty() || log.young,
            "seed {seed}: {:?}",
            log.gaps
        );
    }
    if !kills && !losses {
        let written: Vec<_> = (0..log.written).collect();
        assert_eq!(log.read, written, "seed {seed}");
    }
}

fn storms() -> std::ops::Range<u64> {
    let seed = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match seed("CHAOS_AUDIT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..seed("CHAOS_AUDIT_STORMS").unwrap_or(10),
    }
}

#[test]
fn rotations_with_kills() {
    for seed in storms() {
        storm(seed, false, false);
        storm(seed, true, false);
    }
}

#[test]
fn what_is_lost_is_told() {
    for seed in storms() {
        storm(seed, true, true);
    }
}
