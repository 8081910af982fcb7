//! Tests of attribution: the stages of a step from the readings around it, whatever they were.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use vso_prober::model::cause::{Cause, Source};
use vso_prober::model::promise::Promise;
use vso_prober::model::proof::Proof;
use vso_prober::model::record::{End, Findings, Record, StepRecord};
use vso_prober::model::run::{Attribution, StepReport};
use vso_prober::model::snapshot::{Connection, Controller, Reading, Snapshot, Sum, Void};
use vso_prober::model::timeline::{Resource, Seen, Sighting};
use vso_prober::model::{Kind, Stage, Step};

use super::kit::{self, CONNECTION, at, connection, judge, proof, sighting, state};

fn secret(milliseconds: u64, nonce: &str) -> Sighting {
    sighting(milliseconds, kit::secret(nonce))
}

/// The resource as it is first seen.
fn born(milliseconds: u64) -> Sighting {
    sighting(
        milliseconds,
        Seen::Resource(Resource {
            generation: 1,
            ..Resource::default()
        }),
    )
}

/// The resource after a sync: its horizon, its heartbeat, its generation, and whether the finalizer is on it.
fn synced(
    milliseconds: u64,
    horizon: u64,
    beat: &str,
    generation: i64,
    finalizer: bool,
) -> Sighting {
    let state = |message: &str, changed| state(true, message, changed);
    sighting(
        milliseconds,
        Seen::Resource(Resource {
            generation,
            last_generation: 1,
            finalizer,
            synced: state(&format!("Secret synced, horizon={horizon}ms"), "then"),
            healthy: state("Healthy", beat),
            back_in: Some(Duration::from_millis(horizon)),
            ..Resource::default()
        }),
    )
}

/// What the operator has done so far: reconciles, and the milliseconds in them.
fn numbers(reconciles: f64, milliseconds: f64) -> Snapshot {
    let sum = |count, milliseconds: f64| Sum {
        count,
        seconds: milliseconds / 1e3,
    };
    let controller = Controller {
        reconciles: sum(reconciles, milliseconds),
        queue: sum(reconciles, reconciles),
        ..Controller::default()
    };
    let connection = Connection {
        // No sum of a snapshot is infinite: `add` sees to that.
        reads: sum(reconciles, (reconciles * 2.0).clamp(f64::MIN, f64::MAX)),
        ..Connection::default()
    };
    Snapshot {
        processes: BTreeMap::from([("pod".to_owned(), 1000.0)]),
        controllers: BTreeMap::from([(Kind::Static, controller)]),
        connections: BTreeMap::from([(CONNECTION.to_owned(), connection)]),
        ..Snapshot::default()
    }
}

fn reading(milliseconds: u64, what: Snapshot) -> Reading {
    Reading {
        asked: at(milliseconds),
        received: at(milliseconds + 5),
        before: Duration::ZERO,
        what: Ok(what),
    }
}

fn step(step: Step, started: u64, submitted: u64, ended: u64) -> StepRecord {
    let proof = match step {
        Step::Delete => Proof::Gone,
        _ => proof(),
    };
    StepRecord {
        promise: if step.poll_driven() {
            Promise::NextPoll(Duration::from_secs(10))
        } else {
            Promise::AtOnce
        },
        started: at(started),
        submitted: at(submitted),
        ended: at(ended),
        left: at(ended),
        end: End::Proven,
        findings: Findings::default(),
        ..kit::step(step, proof)
    }
}

fn record(step: StepRecord, seen: Vec<Sighting>, readings: Vec<Reading>) -> Record {
    Record {
        finished: at(30_000),
        readings,
        connection: Some(connection()),
        ..kit::record(step, seen)
    }
}

fn report(record: &Record) -> StepReport {
    judge(record).steps.remove(0)
}

/// Insists on the stages, in milliseconds: submit, wait, queue, reconcile, deliver.
fn stages(report: &StepReport, expected: [f64; 5]) {
    for (stage, expected) in Stage::ALL.into_iter().zip(expected) {
        let told = report.stages.get(&stage).copied().unwrap_or_default() * 1e3;
        assert!(
            (told - expected).abs() < 1e-6,
            "{}: {told} is not {expected}: {report:#?}",
            stage.as_str()
        );
    }
}

/// A creation: asked at 100, through at 104, the Secret seen at 120, the status at 125, the finalizer at 128.
fn creation(readings: Vec<Reading>) -> Record {
    let seen = vec![
        born(105),
        secret(120, "new"),
        synced(125, 8000, "a", 1, false),
        synced(128, 8000, "a", 1, true),
    ];
    record(step(Step::Create, 100, 104, 120), seen, readings)
}

#[test]
fn a_reconcile_alone_is_the_canarys() {
    // 18 ms in all, 8 of which came after the Secret's write; 1 ms in the queue.
    let report = report(&creation(vec![
        reading(90, numbers(50.0, 400.0)),
        reading(140, numbers(51.0, 418.0)),
    ]));
    assert_eq!(
        (report.attribution, report.void),
        (Attribution::Exact, None)
    );
    stages(&report, [4.0, 0.0, 1.0, 10.0, 5.0]);
    let delta = report.operator.expect("it was told");
    assert!((delta.reconciles - 1.0).abs() < 1e-9 && (delta.vault_reads - 1.0).abs() < 1e-9);
    assert!((delta.window_seconds - 0.05).abs() < 1e-9);
    assert!(
        report
            .explained_ratio
            .is_some_and(|ratio| (ratio - 0.75).abs() < 1e-9)
    );
    assert!(
        report
            .watch_delay_seconds
            .is_some_and(|delay| (delay - 0.001).abs() < 1e-9)
    );
}

#[test]
fn what_vault_took_is_not_the_operators() {
    let late = |in_vault: f64| {
        let mut after = numbers(51.0, 3600.0);
        let reads = Sum {
            count: 51.0,
            seconds: 0.1 + in_vault,
        };
        let connection = after.connections.get_mut(CONNECTION);
        connection.expect("it has one").reads = reads;
        let seen = vec![
            born(105),
            secret(3300, "new"),
            synced(3310, 8000, "a", 1, true),
        ];
        let step = step(Step::Create, 100, 104, 3300);
        let readings = vec![reading(90, numbers(50.0, 400.0)), reading(3320, after)];
        report(&record(step, seen, readings))
    };
    // Late by 1.2 s.
    let vaults = late(3.0);
    assert_eq!(vaults.cause, Some(Cause::VaultUnreachable), "{vaults:#?}");
    assert_eq!(vaults.evidence[0].source, Source::Metrics);
    let own = late(1.0);
    assert_eq!(own.cause, Some(Cause::TooSlow), "{own:#?}");
    let told = "1 read took 1.000 s in Vault";
    assert!(own.evidence[1].text.contains(told), "{own:#?}");
}

#[test]
fn more_than_the_canary_accounts_for_are_others() {
    let report = report(&creation(vec![
        reading(90, numbers(50.0, 400.0)),
        reading(140, numbers(54.0, 448.0)),
    ]));
    assert_eq!(
        (report.attribution, report.void),
        (Attribution::Shared, None)
    );
    // A mean of 12 ms, of which 8 are taken to have come after the write.
    stages(&report, [4.0, 0.0, 1.0, 4.0, 11.0]);
}

#[test]
fn a_reconcile_that_the_finalizer_sets_off_is_the_canarys_too() {
    let mut both = creation(vec![
        reading(90, numbers(50.0, 400.0)),
        reading(160, numbers(52.0, 430.0)),
    ]);
    let mut second = synced(140, 8500, "a", 2, true);
    if let Seen::Resource(resource) = &mut second.what {
        resource.last_generation = 2;
    }
    both.timeline.push(second);
    let report = report(&both);
    assert_eq!(report.attribution, Attribution::Exact);
    // 30 ms in both, 20 of them after the write.
    stages(&report, [4.0, 0.0, 1.0, 10.0, 5.0]);
}

#[test]
fn without_any_reconcile_nothing_is_attributed() {
    let none = vec![
        reading(90, numbers(50.0, 400.0)),
        reading(140, numbers(50.0, 400.0)),
    ];
    let report = report(&creation(none));
    assert_eq!((report.attribution, report.void), (Attribution::None, None));
    stages(&report, [4.0, 0.0, 0.0, 0.0, 16.0]);
    assert!(report.operator.is_some() && report.explained_ratio.is_none());
}

#[test]
fn a_window_that_says_nothing_is_void() {
    let (from, to) = (numbers(50.0, 400.0), numbers(51.0, 418.0));
    let void = |readings: Vec<Reading>, expected: Option<Void>| {
        let report = report(&creation(readings));
        assert_eq!(
            (report.attribution, report.void),
            (Attribution::None, expected)
        );
        assert!(report.operator.is_none() && report.explained_ratio.is_none());
        stages(&report, [4.0, 0.0, 0.0, 0.0, 16.0]);
    };
    let failed = |at| Reading {
        what: Err("tried and failed".into()),
        ..reading(at, Snapshot::default())
    };
    let restarted = Snapshot {
        processes: BTreeMap::from([("pod".to_owned(), 2000.0)]),
        ..to.clone()
    };
    void(vec![], None);
    void(
        vec![reading(90, from.clone()), failed(140)],
        Some(Void::ScrapeFailed),
    );
    void(
        vec![failed(90), reading(140, to.clone())],
        Some(Void::ScrapeFailed),
    );
    void(
        vec![reading(90, from.clone()), reading(140, restarted)],
        Some(Void::Restart),
    );
    void(
        vec![reading(90, to.clone()), reading(140, from.clone())],
        Some(Void::CounterReset),
    );
    void(vec![reading(90, from.clone())], Some(Void::NotEnclosed));
    void(vec![reading(140, to.clone())], Some(Void::NotEnclosed));
    // A reading that overlaps the step may or may not hold its reconcile.
    void(
        vec![reading(98, from.clone()), reading(140, to.clone())],
        Some(Void::NotEnclosed),
    );
    void(
        vec![reading(90, from), reading(119, to)],
        Some(Void::NotEnclosed),
    );
}

/// An update: the poll before at 1000 announced 8500 ms, the value was written at 2000 and through at 2003.
fn update(silent: bool, proof: u64) -> Record {
    let mut seen = vec![
        born(900),
        secret(990, "old"),
        synced(1000, 8500, "a", 1, true),
    ];
    if silent {
        seen.push(synced(1500, 8500, "b", 1, true));
    }
    seen.push(secret(proof, "new"));
    seen.push(synced(proof + 4, 8100, "c", 1, true));
    let readings = vec![
        reading(1900, numbers(50.0, 400.0)),
        reading(proof + 20, numbers(51.0, 415.0)),
    ];
    record(step(Step::Update, 2000, 2003, proof), seen, readings)
}

#[test]
fn a_poll_is_waited_for_until_it_was_announced() {
    // Due at 9500; the poll took 15 ms, 4 of them after the write.
    let report = report(&update(false, 9513));
    assert_eq!(report.attribution, Attribution::Exact);
    stages(&report, [3.0, 7498.0, 1.0, 11.0, 0.0]);
}

#[test]
fn a_poll_may_come_before_its_latest_moment() {
    // The one before was silent: this one may come from 1500 + 8000 to 1500 + 9000.
    let report = report(&update(true, 9700));
    stages(&report, [3.0, 7685.0, 1.0, 11.0, 0.0]);
}

#[test]
fn lateness_is_nobodys_wait() {
    let report = report(&update(false, 12_000));
    assert!(
        report
            .lateness_seconds
            .is_some_and(|late| (late - 2.5).abs() < 1e-9)
    );
    // Ten milliseconds beyond the announced moment are left to the way from the status to the timer.
    stages(&report, [3.0, 7507.0, 1.0, 11.0, 2478.0]);
}

#[test]
fn a_deletion_counts_what_looks_for_the_gone() {
    let gone = |at: u64, what: Seen| sighting(at, what);
    let deleting = |at: u64| {
        let mut leaving = synced(at, 8000, "a", 2, true);
        if let Seen::Resource(resource) = &mut leaving.what {
            resource.deleting = true;
        }
        leaving
    };
    let seen = vec![
        born(50),
        secret(60, "new"),
        synced(70, 8000, "a", 1, true),
        deleting(106),
        deleting(108),
        gone(115, Seen::ResourceGone),
        gone(130, Seen::SecretGone),
    ];
    let told = |reconciles: f64| {
        let readings = vec![
            reading(90, numbers(50.0, 400.0)),
            reading(250, numbers(50.0 + reconciles, 407.0)),
        ];
        report(&record(
            step(Step::Delete, 100, 105, 130),
            seen.clone(),
            readings,
        ))
    };
    for own in [1.0, 2.0, 3.0] {
        let report = told(own);
        assert_eq!(report.attribution, Attribution::Exact);
        stages(&report, [5.0, 0.0, 1.0, 7.0, 17.0]);
    }
    assert_eq!(told(4.0).attribution, Attribution::Shared);
}

prop_compose! {
    fn any_snapshot()(
        reconciles in prop_oneof![0.0..20.0_f64, any::<f64>()],
        milliseconds in prop_oneof![0.0..1e5_f64, any::<f64>()],
        process in 0..3_u32,
        leader in prop::option::of("[ab]"),
    ) -> Snapshot {
        let mut snapshot = numbers(reconciles.round(), milliseconds);
        snapshot.processes = BTreeMap::from([("pod".to_owned(), f64::from(process / 2))]);
        snapshot.leader = leader;
        snapshot
    }
}

prop_compose! {
    fn any_reading()(
        asked in 0..20_000_u64,
        took in 0..200_u64,
        what in prop_oneof![9 => any_snapshot().prop_map(Ok), 1 => Just(Err("failed".to_owned()))],
    ) -> Reading {
        Reading { asked: at(asked), received: at(asked + took), before: Duration::ZERO, what: what.map_err(Into::into) }
    }
}

fn any_sighting() -> impl Strategy<Value = Sighting> {
    let resource = (
        0..20_000_u64,
        0..20_000_u64,
        "[ab]",
        1..3_i64,
        any::<bool>(),
        any::<bool>(),
    );
    let resource = resource.prop_map(|(at, horizon, beat, generation, finalizer, deleting)| {
        let mut seen = synced(at, horizon, &beat, generation, finalizer);
        if let Seen::Resource(resource) = &mut seen.what {
            resource.deleting = deleting;
        }
        seen
    });
    let secret = (0..20_000_u64, "(new|old)").prop_map(|(at, nonce)| self::secret(at, &nonce));
    let gone = (0..20_000_u64, any::<bool>()).prop_map(|(at, which)| {
        sighting(
            at,
            if which {
                Seen::SecretGone
            } else {
                Seen::ResourceGone
            },
        )
    });
    prop_oneof![resource, secret, gone]
}

prop_compose! {
    fn any_record()(
        which in prop_oneof![Just(Step::Create), Just(Step::Update), Just(Step::Recreate), Just(Step::Delete)],
        started in 0..10_000_u64,
        submit in 0..1000_u64,
        waited in 0..10_000_u64,
        end in prop_oneof![3 => Just(End::Proven), 1 => Just(End::TimedOut), 1 => Just(End::Interrupted)],
        seen in prop::collection::vec(any_sighting(), 0..12),
        mut readings in prop::collection::vec(any_reading(), 0..6),
    ) -> Record {
        readings.sort_by_key(|reading| reading.asked);
        let mut step = step(which, started, started + submit, started + submit + waited);
        step.end = end;
        record(step, seen, readings)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_was_read_the_stages_add_up(record in any_record()) {
        let report = report(&record);
        let sum: f64 = report.stages.values().sum();
        prop_assert!((sum - report.latency_seconds).abs() < 1e-6);
        prop_assert!(report.stages.values().all(|stage| *stage >= 0.0));
        prop_assert!(report.explained_ratio.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)));
        prop_assert_eq!(report.explained_ratio.is_some() && report.attribution == Attribution::None, false);
        prop_assert!(report.operator.is_none() || report.void.is_none());
        prop_assert!(report.operator.is_some() || report.attribution == Attribution::None);
        prop_assert_eq!(record.readings.is_empty() && report.void.is_some(), false);
        prop_assert!(report.watch_delay_seconds.is_none_or(|delay| delay >= 0.0));
        let saved = serde_json::to_string(&record).expect("a record is plain data");
        let read: Record = serde_json::from_str(&saved).expect("what was written can be read");
        prop_assert_eq!(self::report(&read), report);
    }

    #[test]
    fn reconciles_are_told_apart_by_their_number(own in 0..2_u32, foreign in 0..50_u32, each in 1.0..50.0_f64) {
        let more = f64::from(own + foreign);
        let report = report(&creation(vec![
            reading(90, numbers(50.0, 400.0)),
            reading(140, numbers(50.0 + more, 400.0 + more * each)),
        ]));
        let expected = match own + foreign {
            0 => Attribution::None,
            1 => Attribution::Exact,
            _ => Attribution::Shared,
        };
        prop_assert_eq!(report.attribution, expected);
    }
}
