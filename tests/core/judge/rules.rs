//! A record for each rule: every one fires on some record, and none always hides another.

use std::time::Duration;

use vso_prober::judge::rules;
use vso_prober::model::cause::Cause;
use vso_prober::model::certificate::{Aspect, Certificate, Flaw};
use vso_prober::model::name::ObjectRef;
use vso_prober::model::promise::Promise;
use vso_prober::model::proof::Proof;
use vso_prober::model::record::{
    Answer, End, Event, Hindrance, LeaseState, Obstacle, Peer, Record, Reference, StepRecord,
    VaultHealth,
};
use vso_prober::model::snapshot::{Connection, Reading, Snapshot};
use vso_prober::model::timeline::{Content, Given, Lease, Resource, Seen, Sighting};
use vso_prober::model::{Kind, Step};

use super::super::kit::{at, content, judge, pod, proof, record, secret, sighting, step};
use super::{proven, status};

/// A creation that was not proven, with a change.
fn unproven(change: impl FnOnce(&mut StepRecord)) -> Record {
    saw(change, vec![])
}

/// The same, with what was seen.
fn saw(change: impl FnOnce(&mut StepRecord), seen: Vec<Sighting>) -> Record {
    let mut unproven = step(Step::Create, proof());
    change(&mut unproven);
    record(unproven, seen)
}

fn obstacle() -> Obstacle {
    Obstacle::new(Peer::Vault, Hindrance::Unreachable, "no answer")
}

fn there(nonce: &str) -> Answer<Option<(String, Content)>> {
    Answer::Is(Some(("uid".to_owned(), content(nonce))))
}

fn reference(exists: bool, valid: Option<bool>) -> Reference {
    Reference {
        name: "VaultConnection `ns/x`".into(),
        exists: Answer::Is(exists),
        valid,
        said: None,
    }
}

fn certificate(serial: &str, flaws: Vec<Flaw>) -> Certificate {
    Certificate {
        serial: serial.into(),
        left: Duration::from_secs(60),
        flaws,
        ..Certificate::default()
    }
}

fn shown(milliseconds: u64, serial: &str) -> Sighting {
    sighting(milliseconds, Seen::Certificate(certificate(serial, vec![])))
}

fn leased(id: &str, renewable: bool) -> Seen {
    Seen::Resource(Resource {
        lease: Some(Lease {
            id: id.to_owned(),
            duration: Duration::from_secs(60),
            renewable,
        }),
        ..Resource::default()
    })
}

fn certifying(step: &mut StepRecord) {
    step.proof = Proof::Certificate;
}

fn replacing() -> Proof {
    Proof::Replaced {
        lease: "a".to_owned(),
        old: content("old"),
        empty: "nothing".to_owned(),
    }
}

fn away(what: fn(Duration) -> Seen) -> Sighting {
    sighting(5000, what(Duration::from_secs(5)))
}

/// A rotation of a static role's credential after which the Secret holds this one, where Vault gave these.
fn given(held: &str, given: &[&str]) -> Record {
    let gave = |nonce: &&str| {
        let content = content(nonce);
        sighting(
            50,
            Seen::Given(Given {
                content,
                left: None,
            }),
        )
    };
    let rotating = |step: &mut StepRecord| {
        let old = Some(content("old"));
        (step.step, step.proof) = (Step::Rotate, Proof::Given { old });
        step.findings.secret = there(held);
    };
    saw(rotating, given.iter().map(gave).collect())
}

/// A record of a step that was not proven, on which this rule is the first to apply.
#[expect(clippy::too_many_lines, reason = "a table")]
fn of_unproven(rule: &str) -> Record {
    match rule {
        "obstacle" => unproven(|step| step.end = End::Met(obstacle())),
        "interrupted" => unproven(|step| step.end = End::Interrupted),
        "starved" => saw(|_| (), vec![away(Seen::Starved)]),
        "blind" => saw(|_| (), vec![away(Seen::Silence)]),
        "came_after_all" => saw(|_| (), vec![sighting(8150, secret("new"))]),
        "unseen" => unproven(|step| step.findings.secret = there("new")),
        "removed_by_others" => unproven(|step| step.findings.resource = Answer::Is(None)),
        "held_by_others" => unproven(|step| {
            (step.step, step.proof) = (Step::Delete, Proof::Gone);
            step.findings.resource = Answer::Is(None);
            step.findings.secret = there("old");
            step.findings.held_by = vec!["`a/b` holds the Secret".into()];
        }),
        "changed_by_others" => unproven(|step| {
            step.findings.secret = there("other");
            step.findings.changed_by = Some("kubectl-edit".into());
        }),
        "destination_taken" => unproven(|step| {
            step.findings.secret = there("another's");
            step.findings.events = Answer::Is(vec![Event {
                kind: "Warning".into(),
                reason: "SecretSyncError".into(),
                message: "not the owner of the destination Secret ns/x".into(),
                count: 1,
            }]);
        }),
        "certificate_not_written" => unproven(|step| {
            certifying(step);
            let said = status(false, "Secret sync error, err=refused", "a");
            step.findings.resource = Answer::Is(Some(said));
        }),
        "wrong_content" => unproven(|step| step.findings.secret = there("other")),
        "wrong_credential" => given("other", &["old"]),
        "credential_not_rotated" => given("old", &["old"]),
        "stale_credential" => given("old", &["old", "new"]),
        "wrong_certificate" => unproven(|step| {
            certifying(step);
            let flaw = Flaw::new(Aspect::Key, "it is another's");
            step.findings.certificate = Some(certificate("b", vec![flaw]));
        }),
        "certificate_churn" => saw(
            certifying,
            vec![
                shown(50, "a"),
                shown(1000, "b"),
                shown(2000, "c"),
                shown(3000, "d"),
            ],
        ),
        "reference_missing" => {
            unproven(|step| step.findings.references = vec![reference(false, None)])
        }
        "operators_words" => unproven(|step| {
            let said = status(false, "err=URL: GET x Code: 403. Errors:", "a");
            step.findings.resource = Answer::Is(Some(said));
        }),
        "vault_sealed" => unproven(|step| step.findings.vault = Answer::Is(VaultHealth::Sealed)),
        "operator_down" => unproven(|step| step.findings.pods = Answer::Is(vec![pod(false)])),
        "not_collected" => unproven(|step| {
            (step.step, step.proof) = (Step::Delete, Proof::Gone);
            step.findings.resource = Answer::Is(None);
            step.findings.secret = there("old");
        }),
        "vault_out_of_reach" => {
            unproven(|step| step.findings.vault = Answer::Obstructed(obstacle()))
        }
        "vault_away" => saw(|_| (), vec![away(Seen::VaultSilence)]),
        "lease_lost" => unproven(|step| step.findings.lease = Answer::Is(false)),
        "lease_not_prolonged" => saw(
            |step| {
                let (lease, renewed) = ("a".to_owned(), 0);
                step.proof = Proof::Prolonged { lease, renewed };
            },
            vec![
                sighting(50, leased("a", false)),
                sighting(4000, leased("b", false)),
            ],
        ),
        "lease_outlives_the_wait" => unproven(|step| {
            step.proof = replacing();
            step.promise = Promise::Announced {
                bound: Duration::from_secs(20),
            };
            step.findings.lease = Answer::Is(true);
        }),
        "stale_content" => saw(
            |step| {
                step.findings.secret = there("old");
                step.findings.earlier = vec![content("old")];
                step.findings.resource = Answer::Is(Some(status(true, "well", "b")));
            },
            vec![sighting(50, Seen::Resource(status(true, "well", "a")))],
        ),
        "finalizer_stuck" => unproven(|step| {
            (step.step, step.proof) = (Step::Delete, Proof::Gone);
            step.findings.resource = Answer::Is(Some(Resource {
                deleting: true,
                ..status(true, "well", "a")
            }));
        }),
        "lease_unnamed" => saw(
            |step| {
                let empty = "nothing".to_owned();
                step.proof = Proof::Credential { empty };
                step.findings.secret = there("new");
            },
            vec![sighting(200, secret("new"))],
        ),
        "certificate_unnamed" => saw(
            |step| {
                certifying(step);
                step.findings.certificate = Some(certificate("b", vec![]));
            },
            vec![shown(200, "b")],
        ),
        "connection_dead" => {
            unproven(|step| step.findings.references = vec![reference(true, Some(false))])
        }
        "login_refused" => {
            let mut record = unproven(certifying);
            record.kind = Kind::Pki;
            record.connection = Some(ObjectRef::new("ns", "x"));
            record.readings = vec![reading(50, 0.0), reading(8500, 2.0)];
            record
        }
        "obstructed" => unproven(|step| step.findings.events = Answer::Obstructed(obstacle())),
        "unknown_words" => unproven(|step| {
            let said = status(false, "the moon is full", "a");
            step.findings.resource = Answer::Is(Some(said));
        }),
        "resource_ignored" => unproven(|step| step.findings.others_reconciled = true),
        "stalled" => unproven(|_| ()),
        other => panic!("no record of a step that was not proven has the rule `{other}`"),
    }
}

/// A reading of the operator's metrics, with this many requests to Vault that failed.
fn reading(milliseconds: u64, errors: f64) -> Reading {
    let connection = Connection {
        errors,
        ..Connection::default()
    };
    Reading {
        asked: at(milliseconds),
        received: at(milliseconds + 10),
        before: Duration::ZERO,
        what: Ok(Snapshot {
            connections: [("ns/x".to_owned(), connection)].into(),
            ..Snapshot::default()
        }),
    }
}

/// A creation that was proven by what was seen.
fn created(seen: Vec<Sighting>) -> Record {
    record(proven(Step::Create, proof()), seen)
}

/// A rotation whose effect came at 4 s.
fn rotated(change: impl FnOnce(&mut StepRecord)) -> Record {
    let mut step = proven(Step::Rotate, proof());
    step.promise = Promise::Announced {
        bound: Duration::from_secs(5),
    };
    change(&mut step);
    record(step, vec![sighting(4000, secret("new"))])
}

/// A record of a step that was proven, on which this rule is the first to apply.
fn of_proven(rule: &str) -> Record {
    match rule {
        "late_while_starved" => created(vec![away(Seen::Starved), sighting(5100, secret("new"))]),
        "late_while_blind" => created(vec![away(Seen::Silence), sighting(5100, secret("new"))]),
        "found_by_a_list" => created(vec![Sighting {
            relisted: true,
            ..sighting(140, secret("new"))
        }]),
        "lease_lost" => {
            let mut record = created(vec![sighting(140, secret("new"))]);
            record.steps[0].findings.lease = Answer::Is(false);
            record
        }
        "rotated_late" => rotated(|step| step.findings.old_ends = Some(at(3750))),
        "rotated_early" => {
            let mut step = proven(Step::Rotate, Proof::Certificate);
            step.promise = Promise::BeforeEnd(Duration::from_secs(10));
            let replaced = Certificate {
                not_after: "2027-01-01T00:00:00Z".parse().expect("a time"),
                ..certificate("b", vec![])
            };
            let named = Resource {
                serial: Some("b".to_owned()),
                ..Resource::default()
            };
            let seen = vec![
                shown(50, "a"),
                sighting(4000, Seen::Certificate(replaced)),
                sighting(4010, Seen::Resource(named)),
            ];
            record(step, seen)
        }
        "lease_leaked" => {
            let gone = vec![
                sighting(200, Seen::ResourceGone),
                sighting(210, Seen::SecretGone),
            ];
            let gone = record(proven(Step::Delete, Proof::Gone), gone);
            Record {
                leases: vec![("a".to_owned(), LeaseState::Leaked { revoked: true })],
                ..gone
            }
        }
        "written_too_often" => created((2..7).map(|n| sighting(n * 100, secret("new"))).collect()),
        "late_while_held" => {
            let seen = vec![
                sighting(200, Seen::ResourceGone),
                sighting(210, Seen::SecretHeld("example.com/a".into())),
                sighting(3000, Seen::SecretGone),
            ];
            record(proven(Step::Delete, Proof::Gone), seen)
        }
        "too_slow" => created(vec![sighting(3000, secret("new"))]),
        other => panic!("no record of a step that was proven has the rule `{other}`"),
    }
}

#[test]
fn every_rule_fires_and_none_always_hides_another() {
    let [unproven, proven] = rules();
    let records = unproven.iter().map(|rule| (rule, of_unproven(rule)));
    let records = records.chain(proven.iter().map(|rule| (rule, of_proven(rule))));
    for (rule, record) in records {
        let run = judge(&record);
        let step = &run.steps[0];
        assert_eq!(step.rule.as_deref(), Some(*rule), "{step:#?}");
    }
}

/// Whoever held the Secret that the prober had deleted, held up the one that was to come.
#[test]
fn what_was_held_comes_anew_later() {
    let of = |held: u64| {
        let seen = vec![
            sighting(210, Seen::SecretHeld("example.com/a".into())),
            sighting(held, Seen::SecretGone),
            sighting(3000, secret("new")),
        ];
        let run = judge(&record(proven(Step::Recreate, proof()), seen));
        run.steps[0].rule.clone()
    };
    assert_eq!(of(2900).as_deref(), Some("late_while_held"));
    assert_eq!(of(300).as_deref(), Some("too_slow"));
}

/// What came while the questions were asked was late by those whom the operator named meanwhile.
#[test]
fn what_came_after_all_is_laid_to_whom_the_operator_named() {
    let login = |step: &mut StepRecord| {
        step.findings.events = Answer::Is(vec![Event {
            kind: "Warning".into(),
            reason: "VaultClientConfigError".into(),
            message: "Failed to get Vault auth login: Error making API request. URL: PUT http://vault/v1/auth/kubernetes/login Code: 400. Errors: * invalid role name \"absent\"".into(),
            count: 1,
        }]);
    };
    let run = judge(&saw(login, vec![sighting(8150, secret("new"))]));
    let step = &run.steps[0];
    assert_eq!(step.rule.as_deref(), Some("came_after_all"));
    assert_eq!(step.cause, Some(Cause::LoginFailed), "{step:#?}");
    let told: Vec<_> = step.evidence.iter().map(|one| one.text.as_str()).collect();
    assert!(
        told.iter().any(|text| text.contains("already timed out")),
        "{told:?}"
    );
}
