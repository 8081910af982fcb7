//! The harness that draws cases from their number and gives them to a parser.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use crate::mutation::mutated;

/// How many cases of each target `cargo test` has.
const CASES: u64 = 3_000;
/// No case may take this long, on a busy machine either.
const SLOW: Duration = Duration::from_secs(20);

/// Gives a parser each sample of `target` as it is, and then cases made of them.
pub(crate) fn fuzz(target: &str, parse: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fuzz/corpus")
        .join(target);
    let samples = samples(&folder);
    assert!(!samples.is_empty(), "no samples in {}", folder.display());
    for (file, sample) in &samples {
        check(target, &file.display().to_string(), sample, &parse);
    }
    let numbers = match number("FUZZ_CASE") {
        Some(one) => one..one + 1,
        None => 0..number("FUZZ_CASES").unwrap_or(CASES),
    };
    for number in numbers {
        let mut chance = SmallRng::seed_from_u64(number);
        let case = mutated(&samples, &mut chance);
        check(target, &format!("FUZZ_CASE={number}"), &case, &parse);
    }
}

fn check(target: &str, name: &str, case: &[u8], parse: &impl Fn(&[u8])) {
    let begun = Instant::now();
    let parsed = catch_unwind(AssertUnwindSafe(|| parse(case)));
    let took = begun.elapsed();
    let wrong = match parsed {
        Err(_) => "the parser panicked".to_owned(),
        Ok(()) if took > SLOW => format!("it took {took:.1?}"),
        Ok(()) => return,
    };
    let kept = env::temp_dir().join(format!("fuzz-{target}"));
    // Told in the message below, whether it went well or not.
    let kept = fs::write(&kept, case).map_or("nowhere".to_owned(), |()| kept.display().to_string());
    panic!(
        "{target}, {name}: {wrong}; the case is kept in {kept}: {}",
        text(&case[..case.len().min(500)]).escape_debug()
    );
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

fn samples(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut samples: Vec<_> = entries
        .map(|entry| entry.path())
        .filter_map(|path| Some((path.clone(), fs::read(path).ok()?)))
        .collect();
    samples.sort();
    samples
}

/// What a parser of text is given of a case.
pub(crate) fn text(case: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(case)
}
