//! Tests of every cause as it reaches people: one record of a run for each, judged, and shown as table, JSON and JUnit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use vso_prober::model::cause::{Cause, Source};
use vso_prober::model::promise::Promise;
use vso_prober::model::proof::Proof;
use vso_prober::model::record::{
    Answer, End, Event, Findings, Hindrance, LeaseState, Obstacle, Peer, Pod, Record, Reference,
};
use vso_prober::model::run::Run;
use vso_prober::model::snapshot::{Connection, Controller, Reading, Snapshot, Sum};
use vso_prober::model::timeline::{Content, Lease, Resource, Seen};
use vso_prober::model::{Kind, Step};
use vso_prober::publish::{junit, table};

use super::kit::{
    self, CONNECTION, DIGEST, at, connection, content, judge, proof, secret, sighting, state, step,
};

/// The canary's lease.
const LEASE: &str = "database/creds/probe/1";
fn there(nonce: &str) -> Answer<Option<(String, Content)>> {
    Answer::Is(Some(("uid".to_owned(), content(nonce))))
}

/// What the operator has on the resource after a reconcile that failed with this, or did not.
fn status(error: Option<&str>, beat: &str) -> Resource {
    let ok = error.is_none();
    Resource {
        generation: 1,
        last_generation: 1,
        finalizer: true,
        synced: state(ok, error.unwrap_or("Secret synced, horizon=8.5s"), "then"),
        healthy: state(ok, "Healthy", beat),
        ..Resource::default()
    }
}

/// The operator's own numbers: its reconciles and their seconds, its reads of Vault, and what failed.
fn numbers(reconciles: f64, seconds: f64, reads: f64, failed: f64) -> Snapshot {
    let sum = |count, seconds| Sum { count, seconds };
    let controller = Controller {
        reconciles: sum(reconciles, seconds),
        queue: sum(reconciles, reconciles / 1e3),
        errors: failed,
        ..Controller::default()
    };
    let connection = Connection {
        reads: sum(reads, seconds * 0.9),
        errors: failed,
        ..Connection::default()
    };
    Snapshot {
        processes: BTreeMap::from([("operator".to_owned(), 1000.0)]),
        controllers: BTreeMap::from([(Kind::Static, controller), (Kind::Dynamic, controller)]),
        connections: BTreeMap::from([(CONNECTION.to_owned(), connection)]),
        ..Snapshot::default()
    }
}

/// The metrics as they were before the step and after it.
fn measured(record: &mut Record, after: Snapshot) {
    let reading = |asked, what| Reading {
        asked: at(asked),
        received: at(asked + 10),
        before: Duration::ZERO,
        what: Ok(what),
    };
    record.readings = vec![
        reading(50, numbers(0.0, 0.0, 0.0, 0.0)),
        reading(8500, after),
    ];
}

/// A step that was begun at 100 ms and given up at 8.1 s, with nobody to blame but a silent operator.
fn unproven(which: Step, kind: Kind) -> Record {
    let proof = match (which, kind) {
        (Step::Delete, _) => Proof::Gone,
        (Step::Rotate, _) => Proof::Replaced {
            lease: LEASE.to_owned(),
            old: content("old"),
            empty: format!("{DIGEST}nothing"),
        },
        _ => proof(),
    };
    let mut record = Record {
        kind,
        connection: Some(connection()),
        ..kit::record(step(which, proof), Vec::new())
    };
    measured(&mut record, numbers(0.0, 0.0, 0.0, 0.0));
    record
}

/// The same, proven by what was seen.
fn proven(which: Step, kind: Kind, seen: impl IntoIterator<Item = (u64, Seen)>) -> Record {
    let mut record = saw(unproven(which, kind), seen);
    record.steps[0].end = End::Proven;
    record.steps[0].findings = Findings::default();
    record
}

fn saw(mut record: Record, seen: impl IntoIterator<Item = (u64, Seen)>) -> Record {
    let seen = seen.into_iter().map(|(at, what)| sighting(at, what));
    record.timeline = seen.collect();
    record
}

/// A creation that was not proven, with other findings.
fn found(change: impl FnOnce(&mut Findings)) -> Record {
    let mut record = unproven(Step::Create, Kind::Static);
    change(&mut record.steps[0].findings);
    record
}

/// A creation of which the operator says, in its status and in an event, that this stood in its way.
fn told(reason: &str, message: &str) -> Record {
    let mut record = found(|findings| {
        let status = status(Some(&format!("Failed to sync, err={message}")), "now");
        findings.resource = Answer::Is(Some(status));
        (findings.secret, findings.vault) = (Answer::NotAsked, Answer::NotAsked);
        findings.events = Answer::Is(vec![Event {
            kind: "Warning".into(),
            reason: reason.into(),
            message: message.into(),
            count: 2,
        }]);
    });
    measured(&mut record, numbers(2.0, 0.2, 2.0, 2.0));
    record
}

/// A creation that ended as the prober itself met an obstacle.
fn met(at: Peer, how: Hindrance, text: &str) -> Record {
    let mut record = unproven(Step::Create, Kind::Static);
    let step = &mut record.steps[0];
    step.findings = Findings::default();
    step.end = End::Met(Obstacle::new(at, how, text));
    record
}

fn leased(id: &str, renewable: bool) -> Resource {
    Resource {
        lease: Some(Lease {
            id: id.to_owned(),
            duration: Duration::from_secs(60),
            renewable,
        }),
        ..status(None, id)
    }
}

/// A run that must be given this cause. A new one has to be answered here.
#[expect(clippy::too_many_lines, reason = "a table")]
fn example(cause: Cause) -> Record {
    match cause {
        Cause::OperatorDown => {
            let mut record = found(|findings| {
                findings.pods = Answer::Is(vec![Pod {
                    name: "operator-0".into(),
                    state: "Running, not ready: CrashLoopBackOff".into(),
                    ready: false,
                }]);
            });
            record.readings[1].what = Err("no answer".into());
            record
        }
        Cause::OperatorStalled => unproven(Step::Create, Kind::Static),
        Cause::ResourceIgnored => {
            let mut record = unproven(Step::Create, Kind::Static);
            measured(&mut record, numbers(12.0, 0.3, 0.0, 0.0));
            record.steps[0].findings.others_reconciled = true;
            record
        }
        Cause::StaleContent => {
            let mut record = saw(
                unproven(Step::Update, Kind::Static),
                [(60, Seen::Resource(status(None, "before")))],
            );
            let findings = &mut record.steps[0].findings;
            findings.secret = there("old");
            findings.earlier = vec![content("old")];
            findings.resource = Answer::Is(Some(status(None, "after")));
            measured(&mut record, numbers(3.0, 0.03, 3.0, 0.0));
            record
        }
        Cause::WrongContent => found(|findings| findings.secret = there("other")),
        Cause::Churn => {
            let writes = (0..5).map(|number| (200 + 100 * number, secret("new")));
            let mut record = proven(Step::Create, Kind::Static, writes);
            measured(&mut record, numbers(5.0, 0.1, 5.0, 0.0));
            record
        }
        Cause::LeaseLeaked => {
            let gone = [(200, Seen::ResourceGone), (210, Seen::SecretGone)];
            let mut record = proven(Step::Delete, Kind::Dynamic, gone);
            record.leases = vec![(LEASE.to_owned(), LeaseState::Leaked { revoked: true })];
            record
        }
        Cause::LeaseLost => {
            let seen = [
                (140, secret("new")),
                (150, Seen::Resource(leased(LEASE, true))),
            ];
            let mut record = proven(Step::Create, Kind::Dynamic, seen);
            record.steps[0].findings.lease = Answer::Is(false);
            record
        }
        Cause::RotatedLate => {
            let seen = [
                (60, Seen::Resource(leased(LEASE, true))),
                (70, secret("old")),
                (4000, secret("new")),
                (4010, Seen::Resource(leased("database/creds/probe/2", true))),
            ];
            let mut record = proven(Step::Rotate, Kind::Dynamic, seen);
            record.steps[0].promise = Promise::Announced {
                bound: Duration::from_secs(5),
            };
            record.steps[0].findings.old_ends = Some(at(3750));
            measured(&mut record, numbers(1.0, 0.02, 1.0, 0.0));
            record
        }
        Cause::TransformationFailed => {
            let message =
                "Failed to transform the secret: template: :1: function \"upcase\" not defined";
            told("TransformationError", message)
        }
        Cause::FinalizerStuck => {
            let mut record = unproven(Step::Delete, Kind::Static);
            let deleting = Resource {
                deleting: true,
                ..status(None, "before")
            };
            record.steps[0].findings.resource = Answer::Is(Some(deleting));
            measured(&mut record, numbers(1.0, 0.01, 0.0, 0.0));
            record
        }
        Cause::TooSlow => {
            let seen = [
                (3200, secret("new")),
                (3210, Seen::Resource(status(None, "now"))),
            ];
            let mut record = proven(Step::Create, Kind::Static, seen);
            measured(&mut record, numbers(1.0, 0.5, 1.0, 0.0));
            record
        }
        Cause::VaultSealed => told(
            "VaultClientError",
            "Error making API request. URL: GET http://vault/v1/kvv2/data/x Code: 503. Errors: * Vault is sealed",
        ),
        // Not in time, as the metrics tell; that it is gone, the operator says itself.
        Cause::VaultUnreachable => {
            let seen = [
                (3200, secret("new")),
                (3210, Seen::Resource(status(None, "now"))),
            ];
            let mut record = proven(Step::Create, Kind::Static, seen);
            measured(&mut record, numbers(1.0, 3.0, 1.0, 0.0));
            record
        }
        Cause::VaultError => told(
            "VaultClientError",
            "Error making API request. URL: GET http://vault/v1/kvv2/data/x Code: 500. Errors: * internal error",
        ),
        Cause::SecretWriteDenied => told(
            "SecretSyncError",
            "Failed to update k8s secret: secrets \"x\" is forbidden: exceeded quota: none",
        ),
        Cause::NotCollected => {
            let mut record = unproven(Step::Delete, Kind::Static);
            let findings = &mut record.steps[0].findings;
            findings.resource = Answer::Is(None);
            findings.secret = there("old");
            record
        }
        Cause::AuthRefInvalid => found(|findings| {
            findings.references = vec![Reference {
                name: "VaultAuth `vso-probe/probe`".into(),
                exists: Answer::Is(false),
                valid: None,
                said: None,
            }];
        }),
        Cause::LoginFailed => told(
            "VaultClientConfigError",
            "Error making API request. URL: PUT http://vault/v1/auth/kubernetes/login Code: 400. Errors: * invalid role name \"nope\"",
        ),
        Cause::VaultDenied => told(
            "VaultClientError",
            "Error making API request. URL: GET http://vault/v1/kvv2/data/x Code: 403. Errors: * permission denied",
        ),
        Cause::VaultRejected => told(
            "VaultClientError",
            "Error making API request. URL: GET http://vault/v1/ssh/sign/x Code: 405. Errors: * unsupported operation",
        ),
        Cause::VaultLimited => told(
            "VaultClientError",
            "Error making API request. URL: GET http://vault/v1/database/creds/x Code: 429. Errors: * rate limit quota exceeded",
        ),
        Cause::VaultPathMissing => told(
            "VaultClientError",
            "empty response from Vault, path=\"kvv2/data/x\"",
        ),
        Cause::DestinationConflict => told(
            "SecretSyncError",
            "not the owner of the destination Secret vso-probe/x",
        ),
        Cause::ProbeUnfit => {
            let mut record = saw(
                unproven(Step::Renew, Kind::Dynamic),
                [
                    (60, Seen::Resource(leased(LEASE, false))),
                    (
                        4000,
                        Seen::Resource(leased("database/creds/probe/2", false)),
                    ),
                ],
            );
            record.steps[0].proof = Proof::Prolonged {
                lease: LEASE.to_owned(),
                renewed: 0,
            };
            record
        }
        Cause::ProberVaultUnreachable => met(
            Peer::Vault,
            Hindrance::Unreachable,
            "tried to log in (kubernetes) on Vault at http://vault: no answer",
        ),
        Cause::ProberVaultDenied => met(
            Peer::Vault,
            Hindrance::Denied,
            "tried to write `kvv2/data/x` on Vault at http://vault: it answered 403: permission denied",
        ),
        Cause::ProberKubernetesUnreachable => met(
            Peer::Kubernetes,
            Hindrance::Unreachable,
            "tried to create VaultStaticSecret `vso-probe/x`: connection refused",
        ),
        Cause::ProberKubernetesDenied => met(
            Peer::Kubernetes,
            Hindrance::Denied,
            "tried to create VaultStaticSecret `vso-probe/x`: it answered 403: cannot create resource",
        ),
        Cause::ProberWatchLost => found(|findings| findings.secret = there("new")),
        Cause::ProberStarved => saw(
            unproven(Step::Create, Kind::Static),
            [(5000, Seen::Starved(Duration::from_secs(5)))],
        ),
        Cause::ProberInterrupted => {
            let mut record = unproven(Step::Create, Kind::Static);
            record.steps[0].end = End::Interrupted;
            record
        }
        Cause::ProberPostgresUnreachable => met(
            Peer::Postgres,
            Hindrance::Unreachable,
            "tried to log in to PostgreSQL at postgres:5432, database `postgres`, sslMode require: no answer within 5 s",
        ),
        Cause::ProberBug => met(
            Peer::Prober,
            Hindrance::Failed,
            "the prober panicked at src/probe.rs:1: a bug; please report it",
        ),
        Cause::CanaryRemoved => found(|findings| findings.resource = Answer::Is(None)),
    }
}

#[test]
fn each_is_told_with_its_evidence_and_what_to_do() {
    for cause in Cause::ALL {
        let runs = [judge(&example(*cause))];
        let [run] = &runs;
        let step = &run.steps[0];
        assert_eq!(step.cause, Some(*cause), "{:#?}", step.evidence);
        let json = serde_json::to_string_pretty(run).expect("a run is plain data");
        let (table, junit) = (table::render(&runs), junit::render(&runs));
        let read: Run = serde_json::from_str(&json).expect("what was written can be read");
        assert_eq!(&read, run, "{cause}");
        for text in [&table, &json, &junit] {
            assert!(!text.contains(DIGEST), "{cause}: a digest is told: {text}");
        }
        insta::assert_snapshot!(cause.as_str(), format!("{table}\n{json}\n\n{junit}"));
    }
}

#[test]
fn there_is_a_snapshot_of_each_and_none_of_others() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/core/snapshots");
    let files = fs::read_dir(folder).expect("the folder of the snapshots");
    let names = files.map(|file| file.expect("a file").file_name().display().to_string());
    let kept: BTreeSet<_> = names
        .filter_map(|name| {
            Some(
                name.strip_prefix("core__evidence__")?
                    .strip_suffix(".snap")?
                    .to_owned(),
            )
        })
        .collect();
    let causes = Cause::ALL.iter().map(|cause| cause.as_str().to_owned());
    assert_eq!(kept, causes.collect());
}

/// What the operator's metrics say is evidence for each of these, in figures.
#[test]
fn metrics_speak_for_what_they_can_tell() {
    for (cause, words) in [
        (
            Cause::OperatorStalled,
            "no reconcile of a VaultStaticSecret in 8.5 s",
        ),
        (
            Cause::ResourceIgnored,
            "12 reconciles of a VaultStaticSecret",
        ),
        (Cause::StaleContent, "3 reconciles"),
        (Cause::TooSlow, "1 read took 0.450 s in Vault"),
        (
            Cause::VaultUnreachable,
            "waited 2.700 s for Vault's answers",
        ),
        (Cause::VaultError, "2 requests to Vault that failed"),
        (
            Cause::SecretWriteDenied,
            "2 reconciles of a VaultStaticSecret that failed",
        ),
    ] {
        let run = judge(&example(cause));
        let evidence = &run.steps[0].evidence;
        let mut told = evidence
            .iter()
            .filter(|piece| piece.source == Source::Metrics);
        assert!(
            told.any(|piece| piece.text.contains(words)),
            "{cause}: {evidence:#?}"
        );
    }
}
