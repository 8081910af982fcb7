//! Tests of correlation: beside a statistics library, on known relations, and on none.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng as _};
use statrs::statistics::{Data, OrderStatistics as _, RankTieBreaker, Statistics as _};
use vso_prober::judge::correlation::{MINIMUM, WINDOW, Windows, correlate};
use vso_prober::model::correlation::Coefficient;
use vso_prober::model::delta::OperatorDelta;
use vso_prober::model::run::{Attribution, Run, StepReport};
use vso_prober::model::signal::Signal;
use vso_prober::model::snapshot::Void;
use vso_prober::model::{Step, Verdict};

use super::kit::{self, report};

/// Any spread is worth explaining.
const ANY: f64 = 0.0;

fn some(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().copied().map(Some).collect()
}

/// The coefficients of signals, all told over the same time.
fn related(
    measured: &[f64],
    signals: &[(Signal, Vec<Option<f64>>)],
    matters: f64,
) -> Vec<Coefficient> {
    correlate(measured, &vec![1.0; measured.len()], signals, matters)
}

/// The coefficient of one signal, if it has one.
fn one(measured: &[f64], values: &[f64]) -> Option<Coefficient> {
    related(measured, &[(Signal::QueueSeconds, some(values))], ANY)
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
        let told = found.pearson.expect("both vary");
        prop_assert!((told - pearson(&logarithms, &values)).abs() < 1e-9);
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
        let signals = [(Signal::CpuSeconds, values.clone()), (Signal::VaultErrors, values)];
        for found in correlate(&measured, &measured, &signals, ANY) {
            prop_assert!(found.spearman.is_finite() && found.pearson.is_none_or(f64::is_finite));
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
    assert!(related(&measured, &[(Signal::QueueSeconds, gaps)], ANY).is_empty());
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
            let found = related(&latencies, &signals, ANY);
            assert_eq!(found[0].signal, Signal::ReconcileSeconds);
            assert!(found[0].strong, "{found:?}");
            assert!(found[0].spearman > least, "{found:?}");
            sum += found[0].pearson.expect("both vary");
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
        let strong = related(&measured, &beside, ANY)
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

/// How many events fall into a time at this rate (Knuth's way, for small numbers).
fn events(rng: &mut StdRng, mean: f64) -> f64 {
    let (limit, mut product, mut count) = ((-mean).exp(), 1.0, -1.0);
    while product > limit {
        product *= rng.random::<f64>();
        count += 1.0;
    }
    count
}

/// How often a count of errors, logins, misses or refusals is named after windows of `length` log-normal latencies; with
/// `extra`, slow ones have so many more events for each second above the median.
fn counts_named(seed: u64, length: usize, rate: f64, extra: f64) -> f64 {
    let counts = [
        Signal::VaultErrors,
        Signal::VaultLogins,
        Signal::CacheMisses,
        Signal::ApiThrottled,
    ];
    let trials = 100_u32;
    let rng = &mut StdRng::seed_from_u64(seed);
    let mut named = 0_u32;
    for _ in 0..trials {
        let latencies = positive(series(rng, length, |_, noise| 4.0 * noise));
        let times: Vec<_> = latencies.iter().map(|latency| latency + 0.05).collect();
        let beside: Vec<_> = counts
            .into_iter()
            .map(|signal| {
                let mut count =
                    |time: &f64| events(rng, rate * time + extra * (time - 1.0).max(0.0));
                let values: Vec<_> = times.iter().map(&mut count).collect();
                (signal, some(&values))
            })
            .collect();
        let found = correlate(&latencies, &times, &beside, ANY);
        named += u32::try_from(found.iter().filter(|one| one.strong).count()).expect("four");
    }
    f64::from(named) / f64::from(trials * 4)
}

/// What goes on all the time is the more the longer a step takes, and has nothing to do with it.
#[test]
fn a_background_of_events_is_hardly_ever_named() {
    for (seed, rate) in (20..).zip([0.05, 0.2, 1.0, 5.0]) {
        for length in [60, WINDOW] {
            let named = counts_named(seed, length, rate, 0.0);
            assert!(named <= 0.03, "{rate} a second, {length}: {named}");
        }
        let named = counts_named(seed, WINDOW, rate, 1.0);
        let least = if rate < 0.5 { 0.9 } else { 0.1 };
        assert!(named >= least, "a cause beside {rate} a second: {named}");
    }
}

/// A wait of milliseconds that is the longer the longer it is looked at has not made a step longer by half a second.
#[test]
fn a_wait_is_named_only_if_it_explains_its_part() {
    let rng = &mut StdRng::seed_from_u64(13);
    let latencies: Vec<f64> = (0..WINDOW).map(|_| rng.random_range(0.1..1.0)).collect();
    for (share, strong) in [(0.002, false), (0.05, false), (0.3, true)] {
        let mut wait = |latency: &f64| Some(share * latency * rng.random_range(0.9..1.1));
        let waits = latencies.iter().map(&mut wait).collect();
        let found = related(&latencies, &[(Signal::QueueSeconds, waits)], ANY)[0];
        assert_eq!(found.strong, strong, "{share}: {found:?}");
        assert!(found.spearman > 0.8, "{found:?}");
    }
}

/// Each run looks at the window again: what was strong in one look alone is not named.
#[test]
fn a_name_is_told_once_it_has_held() {
    let rng = &mut StdRng::seed_from_u64(12);
    let mut windows = Windows::default();
    let mut first = None;
    for number in 1..=60 {
        let read = rng.random_range(0.0..0.8);
        let (_, named) = observe(&mut windows, reads(rng, read));
        first = first.or(named.map(|_| number));
    }
    assert_eq!(first, Some(MINIMUM + 2));
}

#[test]
fn latencies_that_hardly_differ_are_not_worth_a_name() {
    let signal: Vec<_> = (0..100).map(|at| f64::from(at * 37 % 100)).collect();
    let measured: Vec<_> = signal.iter().map(|value| 0.010 + value / 1e5).collect();
    let found = |matters| related(&measured, &[(Signal::QueueSeconds, some(&signal))], matters);
    assert!(found(0.0005)[0].strong);
    let found = found(0.1)[0];
    assert!(!found.strong && found.spearman > 0.99, "{found:?}");
}

/// A run of one step, over which an operator did this.
fn run(latency: f64, operator: OperatorDelta) -> Run {
    let step = StepReport {
        stages: BTreeMap::new(),
        attribution: Attribution::Exact,
        operator: Some(operator),
        ..report(Step::Create, latency)
    };
    kit::run("kv", vec![step])
}

/// One reconcile with one read of Vault that took so long.
fn reads(rng: &mut StdRng, read: f64) -> Run {
    let mut noise = || rng.random_range(0.001..0.01);
    let reconcile = read + noise();
    let latency = reconcile + noise();
    let window = latency + 0.03 + noise();
    let delta = OperatorDelta {
        window_seconds: window,
        reconciles: 1.0,
        reconcile_seconds: reconcile,
        queued: 1.0,
        queue_seconds: noise(),
        vault_reads: 1.0,
        vault_read_seconds: read,
        // Its own work, and what it burns all the time.
        cpu_seconds: 0.01 + noise() + 0.02 * window,
        ..OperatorDelta::default()
    };
    run(latency, delta)
}

fn observe(windows: &mut Windows, mut run: Run) -> (Vec<Coefficient>, Option<Coefficient>) {
    let coefficients = windows.observe(&mut run).remove(&Step::Create);
    (coefficients.expect("of its step"), run.steps[0].moves_with)
}

/// A rate over the step falls as the step gets longer, and what adds up over it rises, whatever made it long.
#[test]
fn what_is_told_over_the_latency_is_not_what_it_moves_with() {
    let rng = &mut StdRng::seed_from_u64(7);
    let mut windows = Windows::default();
    let mut last = (Vec::new(), None);
    for _ in 0..120 {
        let read = rng.random_range(0.0..0.8);
        last = observe(&mut windows, reads(rng, read));
    }
    let (coefficients, named) = last;
    let strong: Vec<_> = coefficients
        .iter()
        .filter(|one| one.strong)
        .map(|one| one.signal)
        .collect();
    let own = [Signal::ReconcileSeconds, Signal::VaultReadSeconds];
    assert!(
        strong.len() == 2 && own.iter().all(|one| strong.contains(one)),
        "{coefficients:#?}"
    );
    assert_eq!(named, Some(coefficients[0]));
    let rate = coefficients.last().expect("some have one");
    assert!(
        rate.signal == Signal::ReconcileRate && rate.spearman < -0.9,
        "{rate:?}"
    );
    let gone = [
        Signal::VaultErrors,
        Signal::QueueDepth,
        Signal::ActiveWorkers,
    ];
    assert!(
        !coefficients.iter().any(|one| gone.contains(&one.signal)),
        "{coefficients:#?}"
    );
}

#[test]
fn the_latest_make_the_window() {
    let rng = &mut StdRng::seed_from_u64(8);
    let mut windows = Windows::default();
    let taken = |found: &[Coefficient]| found.iter().map(|one| one.samples).fold(0.0, f64::max);
    for number in 1..=WINDOW + 100 {
        let (found, _) = observe(&mut windows, reads(rng, 0.1));
        assert_eq!(found.is_empty(), number < MINIMUM, "after {number}");
        assert!(taken(&found) <= f64::from(u16::try_from(WINDOW).expect("a window is small")));
    }
    // What Vault did before has left the window, and is no more told.
    for _ in 0..WINDOW {
        observe(&mut windows, reads(rng, 0.2));
    }
    let (found, _) = observe(&mut windows, reads(rng, 0.2));
    assert!(
        !found
            .iter()
            .any(|one| one.signal == Signal::VaultReadSeconds),
        "{found:#?}"
    );
    windows.retain(|probe| probe != "kv");
    assert!(observe(&mut windows, reads(rng, 0.2)).0.is_empty());
}

#[test]
fn what_says_nothing_gives_no_sample() {
    let rng = &mut StdRng::seed_from_u64(9);
    let mut windows = Windows::default();
    for _ in 0..WINDOW {
        let mut void = reads(rng, 0.1);
        void.steps[0].operator = None;
        void.steps[0].void = Some(Void::Restart);
        assert!(observe(&mut windows, void).0.is_empty());
        let mut unknown = reads(rng, 0.1);
        unknown.steps[0].result = Verdict::Unknown;
        assert!(observe(&mut windows, unknown).0.is_empty());
    }
}

/// A step that was given up ranks above all that were proven, however soon it was given up.
#[test]
fn what_was_given_up_ranks_top() {
    let rng = &mut StdRng::seed_from_u64(10);
    let mut windows = Windows::default();
    let mut found = Vec::new();
    for number in 0..MINIMUM {
        let failed = number % 4 == 0;
        let mut run = reads(rng, if failed { 0.5 } else { 0.01 });
        let step = &mut run.steps[0];
        if failed {
            (step.result, step.proven, step.good) = (Verdict::Failure, false, false);
            step.latency_seconds = 0.001;
        }
        found = observe(&mut windows, run).0;
    }
    let read = found
        .iter()
        .find(|one| one.signal == Signal::VaultReadSeconds);
    assert!(
        read.is_some_and(|read| read.spearman > 0.7 && read.pearson.is_some_and(|one| one > 0.9)),
        "{found:#?}"
    );
}

/// What a full window takes is printed; the limit is for a debug build on a busy machine.
#[test]
fn a_run_is_taken_in_at_once() {
    let rng = &mut StdRng::seed_from_u64(11);
    let mut windows = Windows::default();
    let mut full = (0..WINDOW + 100).map(|_| {
        let read = rng.random_range(0.0..1.0);
        reads(rng, read)
    });
    for run in full.by_ref().take(WINDOW) {
        observe(&mut windows, run);
    }
    let rest: Vec<_> = full.collect();
    let begun = Instant::now();
    for run in rest {
        observe(&mut windows, run);
    }
    let each = begun.elapsed() / 100;
    println!("{each:?} a run");
    assert!(each < Duration::from_millis(500), "{each:?}");
}
