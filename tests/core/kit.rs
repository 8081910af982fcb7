//! The fixtures of these tests: a record, a run and their parts, each as plain as can be.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use vso_prober::model::cause::Cause;
use vso_prober::model::name::ObjectRef;
use vso_prober::model::promise::Promise;
use vso_prober::model::proof::Proof;
use vso_prober::model::record::{Answer, End, Findings, Pod, Record, StepRecord, VaultHealth};
use vso_prober::model::run::{Attribution, Context, Leases, Run, SCHEMA, StepReport};
use vso_prober::model::timeline::{Content, Resource, Seen, Sighting, State};
use vso_prober::model::trace::VaultLog;
use vso_prober::model::{Kind, Mark, Stage, Step, Verdict};
use vso_prober::operator;

/// The threshold of every step.
pub(super) const WITHIN: Duration = Duration::from_secs(2);
/// How each digest of a content begins.
pub(super) const DIGEST: &str = "digest-of-";
/// The VaultConnection that the canary uses.
pub(super) const CONNECTION: &str = "vso-probe/probe";

/// The same, as it stands in a record.
pub(super) fn connection() -> ObjectRef {
    ObjectRef::new("vso-probe", "probe")
}

/// Judges a record by its account.
pub(super) fn judge(record: &Record) -> Run {
    vso_prober::judge::judge(record, &operator::account(record))
}

/// The moment at which every record and run begins.
pub(super) fn start() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().expect("a timestamp")
}

pub(super) fn at(milliseconds: u64) -> Mark {
    Mark::new(Duration::from_millis(milliseconds))
}

pub(super) fn content(nonce: &str) -> Content {
    Content([("nonce".to_owned(), format!("{DIGEST}{nonce}"))].into())
}

/// What proves that the content is the new one.
pub(super) fn proof() -> Proof {
    Proof::Content {
        expected: content("new"),
        not_uid: None,
        after: None,
    }
}

pub(super) fn sighting(milliseconds: u64, what: Seen) -> Sighting {
    Sighting {
        at: at(milliseconds),
        relisted: false,
        what,
    }
}

pub(super) fn secret(nonce: &str) -> Seen {
    Seen::Secret {
        uid: "uid".to_owned(),
        content: content(nonce),
    }
}

/// A condition of the operator's resource.
#[expect(clippy::unnecessary_wraps, reason = "as a resource has it")]
pub(super) fn state(ok: bool, message: &str, changed: &str) -> Option<State> {
    Some(State {
        ok,
        message: message.into(),
        changed: changed.to_owned(),
    })
}

/// A pod of the operator's.
pub(super) fn pod(ready: bool) -> Pod {
    Pod {
        name: "operator-0".into(),
        state: "Running, ready".into(),
        ready,
    }
}

/// A step that was begun at 100 ms and given up at 8.1 s, with nobody to blame but a silent operator.
pub(super) fn step(step: Step, proof: Proof) -> StepRecord {
    StepRecord {
        step,
        within: WITHIN,
        timeout: Duration::from_secs(8),
        proof,
        promise: Promise::AtOnce,
        started: at(100),
        submitted: at(110),
        ended: at(8100),
        left: at(8200),
        end: End::TimedOut,
        findings: Findings {
            secret: Answer::Is(None),
            resource: Answer::Is(Some(Resource::default())),
            pods: Answer::Is(vec![pod(true)]),
            vault: Answer::Is(VaultHealth::Active),
            ..Findings::default()
        },
    }
}

/// A record of one step.
pub(super) fn record(step: StepRecord, seen: Vec<Sighting>) -> Record {
    Record {
        probe: "probe".into(),
        kind: Kind::Static,
        run: "0123456789abcdef".into(),
        canary: ObjectRef::new("vso-probe", "vsop-probe-0123456789abcdef"),
        context: Context::default(),
        started: start(),
        finished: at(9000),
        steps: vec![step],
        timeline: seen.into_iter().collect(),
        readings: Vec::new(),
        vault_log: VaultLog::default(),
        connection: None,
        leases: Vec::new(),
        leftovers: Vec::new(),
    }
}

/// A step that was good.
pub(super) fn report(step: Step, latency: f64) -> StepReport {
    StepReport {
        step,
        result: Verdict::Success,
        started: start(),
        latency_seconds: latency,
        due_seconds: None,
        lateness_seconds: None,
        margin_seconds: None,
        dead_seconds: None,
        within_seconds: 5.0,
        timeout_seconds: 30.0,
        proven: true,
        good: true,
        stages: BTreeMap::from([(Stage::Deliver, latency)]),
        attribution: Attribution::None,
        operator: None,
        void: None,
        trace: None,
        explained_ratio: None,
        moves_with: None,
        watch_delay_seconds: None,
        watch_delay_most_seconds: None,
        sync_seconds: None,
        cause: None,
        party: None,
        rule: None,
        advice: None,
        evidence: Vec::new(),
    }
}

/// The same, but not good.
pub(super) fn blamed(report: StepReport, cause: Cause) -> StepReport {
    StepReport {
        result: cause.party().verdict(),
        good: false,
        proven: false,
        cause: Some(cause),
        party: Some(cause.party()),
        ..report
    }
}

/// A run that took four seconds.
pub(super) fn run(probe: &str, steps: Vec<StepReport>) -> Run {
    let mut results = steps.iter().map(|step| step.result);
    let bad = results.find(|result| *result != Verdict::Success);
    Run {
        schema: SCHEMA.to_owned(),
        probe: probe.into(),
        kind: Kind::Static,
        run: "0123456789abcdef".into(),
        canary: ObjectRef::new("vso-probe", format!("vsop-{probe}-0123456789abcdef")),
        context: Context::default(),
        started: start(),
        finished: start() + SignedDuration::from_secs(4),
        result: bad.unwrap_or(Verdict::Success),
        steps,
        secret_writes: 1,
        leases: Leases::default(),
        leftovers: Vec::new(),
    }
}
