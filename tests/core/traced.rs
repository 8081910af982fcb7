//! Tests of the stages as Vault's audit log tells them.

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use vso_prober::model::promise::Promise;
use vso_prober::model::record::{End, Record, StepRecord};
use vso_prober::model::run::{Attribution, StepReport};
use vso_prober::model::timeline::{Resource, Seen, Sighting};
use vso_prober::model::trace::{Call, Caller, Trip, VaultLog};
use vso_prober::model::{Stage, Step};

use super::kit::{self, at, judge, proof, sighting, start};

/// By how much Vault's clock is ahead of the prober's, in milliseconds.
const AHEAD: i64 = 5000;

/// A moment of the run by Vault's clock.
fn line(milliseconds: i64) -> Timestamp {
    start() + SignedDuration::from_millis(milliseconds + AHEAD)
}

fn call(by: Caller, operation: &str, asked: i64, answered: Option<i64>) -> Call {
    Call {
        id: format!("{operation}-{asked}").into(),
        operation: operation.into(),
        by,
        asked: line(asked),
        answered: answered.map(line),
    }
}

fn trip(sent: u64, received: u64) -> Trip {
    Trip {
        sent: at(sent),
        received: at(received),
    }
}

fn taken(step: Step, started: u64, submitted: u64, ended: u64) -> StepRecord {
    StepRecord {
        started: at(started),
        submitted: at(submitted),
        ended: at(ended),
        left: at(ended),
        end: End::Proven,
        ..kit::step(step, proof())
    }
}

fn heard(step: StepRecord, seen: Vec<Sighting>, trips: Vec<Trip>, calls: Vec<Call>) -> StepReport {
    let record = Record {
        finished: at(30_000),
        vault_log: VaultLog { trips, calls },
        ..kit::record(step, seen)
    };
    judge(&record).steps.remove(0)
}

/// A creation: written to Vault from 50 to 56, of which Vault took 3; asked for at 100, through at 104, echoed at 105; the Secret
/// seen at 120.
fn creation(trips: Vec<Trip>, calls: Vec<Call>) -> StepReport {
    let born = Seen::Resource(Resource {
        generation: 1,
        ..Resource::default()
    });
    let seen = vec![sighting(105, born), sighting(120, kit::secret("new"))];
    heard(taken(Step::Create, 100, 104, 120), seen, trips, calls)
}

fn near(told: Option<f64>, milliseconds: f64) -> bool {
    told.is_some_and(|told| (told * 1e3 - milliseconds).abs() < 1e-3)
}

#[test]
fn vaults_own_log_tells_where_the_time_went_whatever_its_clock() {
    let report = creation(
        vec![trip(50, 56)],
        vec![
            call(Caller::Other, "update", 52, Some(55)),
            call(Caller::Operator, "read", 110, Some(112)),
            call(Caller::Other, "delete", 200, Some(201)),
        ],
    );
    assert_eq!(report.attribution, Attribution::Traced, "{report:#?}");
    let trace = report.trace.as_ref().expect("it was traced");
    // The write's line was due from 50 to 53, and bears 52: half a millisecond off, give or take three halves and the drift.
    assert!(trace.clock_error_seconds > 0.0015 && trace.clock_error_seconds < 0.0016);
    let [read] = trace.requests.as_slice() else {
        panic!("{trace:#?}");
    };
    assert!(
        near(Some(read.at), 9.5) && near(read.seconds, 2.0),
        "{read:?}"
    );
    let stage = |stage| report.stages.get(&stage).copied();
    assert!(
        near(stage(Stage::Submit), 4.0) && near(stage(Stage::Wait), 0.0),
        "{report:#?}"
    );
    assert!(near(stage(Stage::Queue), 5.5), "{report:#?}");
    assert!(
        near(stage(Stage::Reconcile), 9.5) && near(stage(Stage::Deliver), 1.0),
        "{report:#?}"
    );
}

#[test]
fn what_the_log_does_not_bear_out_is_not_traced() {
    let write = || call(Caller::Other, "update", 52, Some(55));
    let read = || call(Caller::Operator, "read", 110, Some(112));
    let untraced = |trips: Vec<Trip>, calls: Vec<Call>| {
        let report = creation(trips, calls);
        assert_eq!(report.attribution, Attribution::None, "{report:#?}");
        assert!(report.trace.is_none());
    };
    let one = || vec![trip(50, 56)];
    untraced(one(), vec![]);
    untraced(one(), vec![write()]);
    // The clocks are not bound: a write left no line, or somebody else wrote too.
    untraced(one(), vec![read()]);
    untraced(vec![], vec![write(), read()]);
    untraced(one(), vec![write(), write(), read()]);
    // A line that can't be of that write.
    untraced(vec![trip(50, 51)], vec![write(), read()]);
    // Somebody else read; the operator read before the write, before the step, and after the proof.
    untraced(one(), vec![write(), call(Caller::Other, "read", 110, None)]);
    untraced(
        one(),
        vec![write(), call(Caller::Operator, "read", 51, None)],
    );
    untraced(
        one(),
        vec![write(), call(Caller::Operator, "read", 90, None)],
    );
    untraced(
        one(),
        vec![write(), call(Caller::Operator, "read", 130, None)],
    );
}

#[test]
fn a_poll_is_waited_for_until_the_operator_asks() {
    let step = StepRecord {
        promise: Promise::NextPoll(std::time::Duration::from_secs(8)),
        ..taken(Step::Update, 2000, 2006, 9513)
    };
    let seen = vec![
        sighting(990, kit::secret("old")),
        sighting(9513, kit::secret("new")),
    ];
    let calls = vec![
        call(Caller::Other, "update", 52, Some(55)),
        call(Caller::Operator, "read", 985, Some(986)),
        call(Caller::Other, "update", 2002, Some(2004)),
        call(Caller::Operator, "read", 9505, Some(9508)),
    ];
    let report = heard(step, seen, vec![trip(50, 56), trip(2000, 2006)], calls);
    assert_eq!(report.attribution, Attribution::Traced, "{report:#?}");
    let told: f64 = [Stage::Wait, Stage::Queue]
        .iter()
        .filter_map(|stage| report.stages.get(stage))
        .sum();
    assert!((told - 7.499).abs() < 0.01, "{report:#?}");
    assert_eq!(report.trace.map(|trace| trace.requests.len()), Some(1));
}

prop_compose! {
    fn any_call()(
        operator: bool,
        operation in "(read|update|create|delete)",
        asked in -100..20_000_i64,
        took in prop::option::of(-10..100_i64),
    ) -> Call {
        let by = if operator { Caller::Operator } else { Caller::Other };
        call(by, &operation, asked, took.map(|took| asked + took))
    }
}

proptest! {
    #[test]
    fn whatever_the_log_says_the_stages_add_up(
        which in prop_oneof![Just(Step::Create), Just(Step::Update), Just(Step::Tamper), Just(Step::Recreate), Just(Step::Delete)],
        started in 0..10_000_u64,
        submit in 0..1000_u64,
        waited in 0..10_000_u64,
        proven: bool,
        trips in prop::collection::vec((0..20_000_u64, 0..100_u64), 0..3),
        mut calls in prop::collection::vec(any_call(), 0..8),
    ) {
        calls.sort_by_key(|call| call.asked);
        let ended = started + submit + waited;
        let mut step = taken(which, started, started + submit, ended);
        if !proven {
            step.end = End::TimedOut;
        }
        let trips = trips.into_iter().map(|(sent, took)| trip(sent, sent + took)).collect();
        let report = heard(step, vec![sighting(ended, kit::secret("new"))], trips, calls);
        let sum: f64 = report.stages.values().sum();
        prop_assert!((sum - report.latency_seconds).abs() < 1e-6);
        prop_assert!(report.stages.values().all(|stage| *stage >= 0.0));
        prop_assert_eq!(report.trace.is_some(), report.attribution == Attribution::Traced);
        if let Some(trace) = report.trace {
            let within = |at: f64| (-1e-9..=report.latency_seconds + 1e-9).contains(&at);
            prop_assert!(trace.requests.iter().all(|request| within(request.at)));
            prop_assert!(trace.requests.iter().all(|request| request.seconds.is_none_or(|took| took >= 0.0)));
        }
    }
}
