//! What latencies move with: beside a statistics library, on relations that are known, and on those that are none.

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng as _};
use statrs::statistics::{Data, OrderStatistics as _, RankTieBreaker, Statistics as _};
use vso_prober::judge::correlation::{MINIMUM, WINDOW, correlate};
use vso_prober::model::correlation::Coefficient;
use vso_prober::model::signal::Signal;

/// Any spread is worth explaining.
const ANY: f64 = 0.0;

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// The coefficient of one signal, if it has one.
fn one(measured: &[f64], values: &[f64]) -> Option<Coefficient> {
    correlate(measured, &[(Signal::QueueSeconds, some(values))], ANY)
        .into_iter()
        .next()
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    a.iter().covariance(b.iter()) / (a.iter().std_dev() * b.iter().std_dev())
}

fn spearman(a: &[f64], b: &[f64]) -> f64 {
    let ranks = |values: &[f64]| Data::new(values.to_vec()).ranks(RankTieBreaker::Average);
    pearson(&ranks(a), &ranks(b))
}

fn normal(rng: &mut impl RngExt) -> f64 {
    // The sum of twelve uniform numbers: near enough.
    (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0
}

fn series(rng: &mut impl RngExt, length: usize, mut next: impl FnMut(f64, f64) -> f64) -> Vec<f64> {
    let mut last = 0.0;
    std::iter::repeat_with(|| {
        last = next(last, normal(rng));
        last
    })
    .take(length)
    .collect()
}

/// As a latency: positive.
fn positive(series: Vec<f64>) -> Vec<f64> {
    series
        .into_iter()
        .map(|value| (value / 4.0).exp())
        .collect()
}

/// A value of few, so that there are ties.
fn coarse() -> impl Strategy<Value = f64> {
    prop_oneof![0.0..10.0_f64, (0..4_u8).prop_map(f64::from)]
}

proptest! {
    #[test]
    fn coefficients_are_those_of_a_statistics_library(
        pairs in prop::collection::vec((0.001..10.0_f64, coarse()), MINIMUM..WINDOW),
    ) {
        let (measured, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let Some(found) = one(&measured, &values) else {
            prop_assert!(values.windows(2).all(|pair| pair[0].total_cmp(&pair[1]).is_eq()));
            return Ok(());
        };
        prop_assert!((found.spearman - spearman(&measured, &values)).abs() < 1e-9);
        let logarithms: Vec<_> = measured.iter().map(|one| one.ln()).collect();
        prop_assert!((found.pearson - pearson(&logarithms, &values)).abs() < 1e-9);
        prop_assert!(found.samples <= f64::from(u16::try_from(measured.len())?));
        let [low, high] = found.interval;
        prop_assert!(-1.0 <= low && low <= found.spearman && found.spearman <= high && high <= 1.0);
    }

    #[test]
    fn ranks_are_all_that_counts(
        pairs in prop::collection::vec((0.001..10.0_f64, coarse()), MINIMUM..60),
    ) {
        let (measured, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let stretched: Vec<_> = measured.iter().map(|one| one.powi(3)).collect();
        let bent: Vec<_> = values.iter().map(|value| -value.exp()).collect();
        let (plain, bent) = (one(&measured, &values), one(&stretched, &bent));
        prop_assert_eq!(plain.is_some(), bent.is_some());
        if let (Some(plain), Some(bent)) = (plain, bent) {
            prop_assert!((plain.spearman + bent.spearman).abs() < 1e-9);
            prop_assert!((plain.samples - bent.samples).abs() < 1e-6);
        }
    }

    /// Whatever the numbers are, there is an answer.
    #[test]
    fn nothing_makes_it_stumble(
        pairs in prop::collection::vec((any::<f64>(), prop::option::of(any::<f64>())), 0..80),
    ) {
        let (measured, values): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        for found in correlate(&measured, &[(Signal::CpuSeconds, values)], ANY) {
            prop_assert!(found.spearman.is_finite() && found.pearson.is_finite());
            prop_assert!(found.interval.iter().all(|end| end.is_finite()));
        }
    }
}

#[test]
fn too_few_and_constant_ones_have_none() {
    let measured: Vec<_> = (1_u8..).map(f64::from).take(MINIMUM).collect();
    assert!(one(&measured, &measured).is_some());
    assert!(one(&measured[1..], &measured[1..]).is_none());
    assert!(one(&measured, &[0.1; MINIMUM]).is_none());
    assert!(one(&[0.1; MINIMUM], &measured).is_none());
    let mut gaps = some(&measured);
    gaps[3] = None;
    assert!(correlate(&measured, &[(Signal::QueueSeconds, gaps)], ANY).is_empty());
}

/// A latency of which a signal makes a known share is recovered with it, and the signal is named.
#[test]
fn known_shares_are_recovered() {
    let rng = &mut StdRng::seed_from_u64(1);
    for (share, least) in [(0.9_f64, 0.85), (0.7, 0.55), (0.5, 0.3)] {
        let mut sum = 0.0;
        for _ in 0..50 {
            let cause = series(rng, WINDOW, |_, noise| noise);
            let rest = series(rng, WINDOW, |_, noise| noise);
            let own = (1.0 - share * share).sqrt();
            let mixed = cause.iter().zip(&rest).map(|(a, b)| share * a + own * b);
            let latencies = positive(mixed.collect());
            let others: Vec<_> = Signal::ALL[1..]
                .iter()
                .map(|signal| (*signal, some(&series(rng, WINDOW, |_, noise| noise))))
                .collect();
            let signals: Vec<_> = std::iter::once((Signal::ReconcileSeconds, some(&cause)))
                .chain(others)
                .collect();
            let found = correlate(&latencies, &signals, ANY);
            assert_eq!(found[0].signal, Signal::ReconcileSeconds);
            assert!(found[0].strong, "{found:?}");
            assert!(found[0].spearman > least, "{found:?}");
            sum += found[0].pearson;
        }
        assert!((sum / 50.0 - share).abs() < 0.02, "{share}: {}", sum / 50.0);
    }
}

/// How often any signal is named in windows where none has to do with the latency.
fn named(
    seed: u64,
    length: usize,
    latency: impl Fn(&mut StdRng, usize) -> Vec<f64>,
    signal: impl Fn(&mut StdRng, usize) -> Vec<f64>,
) -> (f64, f64) {
    let trials = 12_000 / u32::try_from(length).expect("a window is small");
    let rng = &mut StdRng::seed_from_u64(seed);
    let (mut windows, mut signals) = (0, 0);
    for _ in 0..trials {
        let measured = latency(rng, length);
        let beside: Vec<_> = Signal::ALL
            .into_iter()
            .map(|one| (one, some(&signal(rng, length))))
            .collect();
        let strong = correlate(&measured, &beside, ANY)
            .iter()
            .filter(|found| found.strong)
            .count();
        windows += u32::from(strong > 0);
        signals += u32::try_from(strong).expect("there are eleven");
    }
    let share = |count: u32, all: u32| f64::from(count) / f64::from(all);
    (share(windows, trials), share(signals, trials * 11))
}

#[test]
fn what_has_nothing_to_do_with_it_is_hardly_ever_named() {
    let noise = |rng: &mut StdRng, length| series(rng, length, |_, noise| noise);
    let walk = |rng: &mut StdRng, length| series(rng, length, |last, noise| last + noise);
    let heavy = |rng: &mut StdRng, length| series(rng, length, |_, noise| (2.0 * noise).exp());
    let rare =
        |rng: &mut StdRng, length| series(rng, length, |_, noise| f64::from(u8::from(noise > 1.5)));
    let slow = |rng: &mut StdRng, length| series(rng, length, |last, noise| 0.8 * last + noise);
    for length in [MINIMUM, 60, WINDOW] {
        let cases = [
            ("noise", named(1, length, noise, noise)),
            ("random walks", named(2, length, walk, walk)),
            ("a walk beside noise", named(3, length, walk, noise)),
            ("heavy tails", named(4, length, heavy, heavy)),
            ("rare events", named(5, length, heavy, rare)),
            ("slow ones", named(6, length, slow, slow)),
        ];
        for (what, (windows, signals)) in cases {
            assert!(
                windows <= 0.05,
                "{what}, {length}: in {windows} of the windows"
            );
            assert!(
                signals <= 0.05,
                "{what}, {length}: {signals} of the signals"
            );
        }
    }
}

#[test]
fn latencies_that_hardly_differ_are_not_worth_a_name() {
    let signal: Vec<_> = (0..100).map(|at| f64::from(at * 37 % 100)).collect();
    let measured: Vec<_> = signal.iter().map(|value| 0.010 + value / 1e5).collect();
    let found = |matters| correlate(&measured, &[(Signal::QueueSeconds, some(&signal))], matters);
    assert!(found(0.0005)[0].strong);
    let found = found(0.1)[0];
    assert!(!found.strong && found.spearman > 0.99, "{found:?}");
}
