//! Tests of judging: a table of what was seen and what must be claimed, and properties of whatever was seen.

mod rules;

use std::time::Duration;

use proptest::prelude::*;
use vso_prober::model::cause::{Cause, Party};
use vso_prober::model::promise::Promise;
use vso_prober::model::proof::Proof;
use vso_prober::model::record::{
    Answer, End, Event, Hindrance, LeaseState, Obstacle, Peer, Record, Reference, StepRecord,
    VaultHealth,
};
use vso_prober::model::timeline::{
    Given, Lease, Resource, Rotation, Seen, Sighting, State, Timeline,
};
use vso_prober::model::{Mark, Step, Verdict};
use vso_prober::operator::{self, Reader};

use super::kit::{WITHIN, at, content, judge, pod, proof, record, secret, sighting, state, step};

/// A status as the operator leaves it after a reconcile.
fn status(ok: bool, message: &str, heartbeat: &str) -> Resource {
    let state = |message: &str| state(ok, message, heartbeat);
    Resource {
        generation: 1,
        last_generation: 1,
        finalizer: true,
        synced: state(message),
        healthy: state("heartbeat"),
        ..Resource::default()
    }
}

fn check(record: &Record, expected: Option<Cause>) {
    let run = judge(record);
    let step = &run.steps[0];
    assert_eq!(step.cause, expected, "{:#?}", step.evidence);
    assert_eq!(
        step.evidence.is_empty(),
        expected.is_none(),
        "a blame has evidence"
    );
    let verdict = expected.map_or(Verdict::Success, |cause| cause.party().verdict());
    assert_eq!((run.result, step.result), (verdict, verdict));
}

fn failing(change: impl FnOnce(&mut StepRecord), expected: Cause) {
    let mut unproven = step(Step::Create, proof());
    change(&mut unproven);
    check(&record(unproven, vec![]), Some(expected));
}

fn proven(which: Step, proof: Proof) -> StepRecord {
    StepRecord {
        end: End::Proven,
        ..step(which, proof)
    }
}

#[test]
fn a_static_roles_credential_is_right_where_vault_gives_it() {
    let gave = |milliseconds, nonce: &str| {
        let (content, left) = (content(nonce), None);
        sighting(milliseconds, Seen::Given(Given { content, left }))
    };
    let holds = |milliseconds, nonce: &str| sighting(milliseconds, secret(nonce));
    let seen = |old: Option<&str>, seen: Vec<Sighting>| {
        let old = old.map(content);
        let effect = operator::effect(&Proof::Given { old }, &seen.into_iter().collect(), at(100));
        effect.map(|proven| proven.at)
    };
    let (first, second) = (gave(50, "a"), holds(200, "a"));
    assert_eq!(
        seen(None, vec![first.clone(), second.clone()]),
        Some(at(200))
    );
    // Vault replaced it in between: the moment is that of the Secret, and not of the answer.
    assert_eq!(
        seen(None, vec![first.clone(), holds(200, "b"), gave(210, "b")]),
        Some(at(200))
    );
    assert_eq!(
        seen(None, vec![first.clone(), holds(200, "b"), gave(210, "c")]),
        None
    );
    // What was there before is no rotation, however often it is written.
    assert_eq!(seen(Some("a"), vec![first.clone(), second.clone()]), None);
    let rotated = vec![first, second, holds(290, "b"), gave(300, "b")];
    assert_eq!(seen(Some("a"), rotated), Some(at(290)));
}

#[test]
fn two_operators_are_told_by_their_signatures() {
    let signed = |milliseconds, signature: &str| {
        let resource = Resource {
            signature: Some(signature.to_owned()),
            ..status(true, "well", "a")
        };
        sighting(milliseconds, Seen::Resource(resource))
    };
    let churned = |signatures: &[&str]| {
        let marks = (1..).map(|n| n * 100);
        let signed = marks.clone().zip(signatures).map(|(at, by)| signed(at, by));
        let written = marks.take(6).map(|at| sighting(at + 1, secret("new")));
        let record = record(
            proven(Step::Create, proof()),
            signed.chain(written).collect(),
        );
        let step = judge(&record).steps.remove(0);
        assert_eq!(step.cause, Some(Cause::Churn), "{step:#?}");
        let mut evidence = step.evidence.iter();
        evidence.any(|piece| piece.text.contains("two operators"))
    };
    assert!(churned(&["a", "b", "a"]));
    assert!(
        !churned(&["a", "a", "b", "b"]),
        "a restart, or another value"
    );
}

#[test]
fn a_proof_in_time_is_a_success() {
    let record = record(
        proven(Step::Create, proof()),
        vec![sighting(140, secret("new"))],
    );
    check(&record, None);
    let step = &judge(&record).steps[0];
    assert!(
        (step.latency_seconds - 0.04).abs() < 1e-9,
        "{}",
        step.latency_seconds
    );
}

#[test]
fn a_proof_beyond_the_threshold_is_too_slow() {
    let late = record(
        proven(Step::Create, proof()),
        vec![sighting(3000, secret("new"))],
    );
    check(&late, Some(Cause::TooSlow));
}

#[test]
fn what_polls_bring_is_judged_by_lateness() {
    let mut step = proven(Step::Update, proof());
    step.promise = Promise::NextPoll(Duration::from_secs(10));
    step.started = at(1000);
    step.submitted = at(1010);
    let before = Resource {
        back_in: Some(Duration::from_millis(8500)),
        ..status(true, "Secret synced, horizon=8.5s", "a")
    };
    let seen = vec![
        sighting(500, Seen::Resource(before)),
        sighting(9100, secret("new")),
    ];
    let record = record(step, seen);
    check(&record, None);
    let step = &judge(&record).steps[0];
    assert_eq!(step.due_seconds, Some(8.0));
    assert!(
        step.lateness_seconds
            .is_some_and(|late| (late - 0.1).abs() < 1e-9)
    );
    assert!(
        step.latency_seconds > WITHIN.as_secs_f64(),
        "the latency is told all the same"
    );
}

#[test]
fn what_replaces_a_thing_after_its_end_is_late_whatever_its_threshold() {
    let rotated = |arrival, end| {
        let mut step = proven(Step::Rotate, proof());
        step.promise = Promise::Announced {
            bound: Duration::from_secs(5),
        };
        step.findings.old_ends = Some(at(end));
        record(step, vec![sighting(arrival, secret("new"))])
    };
    let in_time = rotated(4000, 4750);
    check(&in_time, None);
    assert_eq!(judge(&in_time).steps[0].margin_seconds, Some(0.75));
    let late = rotated(4000, 3750);
    check(&late, Some(Cause::RotatedLate));
    let late = &judge(&late).steps[0];
    assert_eq!(late.margin_seconds, Some(-0.25));
    assert!(late.evidence[0].text.contains("margin -0.250 s"));
}

#[test]
fn a_proof_found_by_a_list_after_a_cut_has_no_moment() {
    let found = Sighting {
        relisted: true,
        ..sighting(140, secret("new"))
    };
    check(
        &record(proven(Step::Create, proof()), vec![found]),
        Some(Cause::ProberWatchLost),
    );
}

#[test]
fn the_probers_own_obstacles_are_its_own() {
    let cases = [
        (
            Peer::Vault,
            Hindrance::Unreachable,
            Cause::ProberVaultUnreachable,
        ),
        (Peer::Vault, Hindrance::Denied, Cause::ProberVaultDenied),
        (Peer::Vault, Hindrance::Rejected, Cause::VaultRejected),
        (Peer::Vault, Hindrance::Limited, Cause::VaultLimited),
        (Peer::Vault, Hindrance::Sealed, Cause::VaultSealed),
        (Peer::Vault, Hindrance::Failed, Cause::VaultError),
        (
            Peer::Kubernetes,
            Hindrance::Unreachable,
            Cause::ProberKubernetesUnreachable,
        ),
        (
            Peer::Kubernetes,
            Hindrance::Failed,
            Cause::ProberKubernetesUnreachable,
        ),
        (
            Peer::Kubernetes,
            Hindrance::Denied,
            Cause::ProberKubernetesDenied,
        ),
        (Peer::Kubernetes, Hindrance::Removed, Cause::CanaryRemoved),
        (
            Peer::Postgres,
            Hindrance::Unreachable,
            Cause::ProberPostgresUnreachable,
        ),
        (
            Peer::Postgres,
            Hindrance::Denied,
            Cause::ProberPostgresUnreachable,
        ),
        (Peer::Postgres, Hindrance::Unfit, Cause::ProbeUnfit),
        (Peer::Prober, Hindrance::Failed, Cause::ProberBug),
    ];
    for (at, how, cause) in cases {
        failing(
            |step| {
                step.end = End::Met(Obstacle::new(at, how, "why"));
            },
            cause,
        );
    }
    failing(|step| step.end = End::Interrupted, Cause::ProberInterrupted);
}

#[test]
fn absence_is_confirmed_a_second_way() {
    let there = Answer::Is(Some(("uid".to_owned(), content("new"))));
    failing(|step| step.findings.secret = there, Cause::ProberWatchLost);
    let denied = Obstacle::new(Peer::Kubernetes, Hindrance::Denied, "forbidden");
    let denied = Answer::Obstructed(denied);
    failing(
        |step| step.findings.secret = denied,
        Cause::ProberKubernetesDenied,
    );
}

#[test]
fn the_operators_own_words_name_the_cause() {
    let told = |message: &str, cause| {
        let failed = format!("Failed to sync the secret, horizon=4.1s, err={message}");
        let resource = Answer::Is(Some(status(false, &failed, "a")));
        failing(|step| step.findings.resource = resource, cause);
        let event = Event {
            kind: "Warning".into(),
            reason: "VaultClientError".into(),
            message: message.into(),
            count: 3,
        };
        failing(
            |step| {
                (step.findings.secret, step.findings.vault) = (Answer::NotAsked, Answer::NotAsked);
                step.findings.events = Answer::Is(vec![event]);
            },
            cause,
        );
    };
    told(
        "URL: PUT http://v/v1/auth/kubernetes/login\nCode: 400. Errors:",
        Cause::LoginFailed,
    );
    told(
        "URL: GET http://v/v1/kvv2/data/x\nCode: 403. Errors:",
        Cause::VaultDenied,
    );
    told(
        "empty response from Vault, path=\"kvv2/data/x\"",
        Cause::VaultPathMissing,
    );
    told(
        "dial tcp 127.0.0.1:8299: connect: connection refused",
        Cause::VaultUnreachable,
    );
    told("Code: 503. Errors: * Vault is sealed", Cause::VaultSealed);
    told(
        "URL: GET http://v/v1/x Code: 502. Errors:",
        Cause::VaultError,
    );
    told(
        "not the owner of the destination Secret ns/x",
        Cause::DestinationConflict,
    );
    told(
        "secrets \"x\" is forbidden: exceeded quota: none",
        Cause::SecretWriteDenied,
    );
}

/// Anyone who may create events can make up an excuse: the prober saw that Vault served, and that there is no Secret.
#[test]
fn an_event_excuses_nobody_against_what_the_prober_saw() {
    let told = |message: &str, count: i32, seen: Vec<Sighting>, expected| {
        let mut step = step(Step::Create, proof());
        step.findings.events = Answer::Is(vec![Event {
            kind: "Warning".into(),
            reason: "VaultClientError".into(),
            message: message.into(),
            count,
        }]);
        check(&record(step, seen), Some(expected));
    };
    let sealed = "Code: 503. Errors: * Vault is sealed";
    let refused = "dial tcp 127.0.0.1:8299: connect: connection refused";
    let taken = "not the owner of the destination Secret ns/x";
    told(sealed, 9, vec![], Cause::OperatorStalled);
    told(refused, 1, vec![], Cause::OperatorStalled);
    told(taken, 9, vec![], Cause::OperatorStalled);
    // The way to Vault may be shut to the operator alone, which then says so again.
    told(refused, 2, vec![], Cause::VaultUnreachable);
    let away = |what: fn(Duration) -> Seen| vec![sighting(1000, what(Duration::from_millis(200)))];
    told(sealed, 1, away(Seen::VaultSealed), Cause::VaultSealed);
    told(
        refused,
        1,
        away(Seen::VaultSilence),
        Cause::VaultUnreachable,
    );
}

#[test]
fn the_content_of_a_secret_that_is_not_the_operators_is_not_its_fault() {
    let event = Event {
        kind: "Warning".into(),
        reason: "SecretSyncError".into(),
        message: "not the owner of the destination Secret ns/x".into(),
        count: 1,
    };
    failing(
        |step| {
            step.findings.secret = Answer::Is(Some(("uid".to_owned(), content("another's"))));
            step.findings.events = Answer::Is(vec![event]);
        },
        Cause::DestinationConflict,
    );
}

#[test]
fn an_old_error_of_a_healthy_resource_says_nothing() {
    // After an outage `SecretSynced` stays False with the old error, while `Healthy` is True again.
    let mut resource = status(false, "err=Code: 503. Errors: * Vault is sealed", "a");
    resource.healthy = Some(State {
        ok: true,
        message: "".into(),
        changed: "a".into(),
    });
    failing(
        |step| step.findings.resource = Answer::Is(Some(resource)),
        Cause::OperatorStalled,
    );
}

#[test]
fn a_silent_operator_is_not_blamed_while_vault_is_silent_too() {
    let silent = || {
        Answer::Obstructed(Obstacle::new(
            Peer::Vault,
            Hindrance::Unreachable,
            "no answer",
        ))
    };
    failing(
        |step| step.findings.vault = silent(),
        Cause::ProberVaultUnreachable,
    );
    // It is if it is not there at all.
    failing(
        |step| {
            step.findings.vault = silent();
            step.findings.pods = Answer::Is(vec![pod(false)]);
        },
        Cause::OperatorDown,
    );
}

#[test]
fn objects_and_pods_name_the_cause() {
    let missing = Reference {
        name: "VaultAuth `ns/x`".into(),
        exists: Answer::Is(false),
        valid: None,
        said: None,
    };
    failing(
        |step| step.findings.references = vec![missing],
        Cause::AuthRefInvalid,
    );
    failing(
        |step| step.findings.vault = Answer::Is(VaultHealth::Sealed),
        Cause::VaultSealed,
    );
    failing(
        |step| step.findings.pods = Answer::Is(vec![]),
        Cause::OperatorDown,
    );
    failing(
        |step| step.findings.pods = Answer::Is(vec![pod(false)]),
        Cause::OperatorDown,
    );
    failing(
        |step| step.findings.others_reconciled = true,
        Cause::ResourceIgnored,
    );
    failing(|_| (), Cause::OperatorStalled);
}

#[test]
fn a_connection_that_the_operator_calls_dead_is_vaults() {
    let dead = Reference {
        name: "VaultConnection `ns/x`".into(),
        exists: Answer::Is(true),
        valid: Some(false),
        said: None,
    };
    failing(
        |step| {
            step.findings.references = vec![dead];
            step.findings.others_reconciled = true;
        },
        Cause::VaultUnreachable,
    );
}

#[test]
fn content_names_the_cause() {
    let other = Answer::Is(Some(("uid".to_owned(), content("other"))));
    failing(|step| step.findings.secret = other, Cause::WrongContent);

    let update = |now: &str| {
        let mut update = step(Step::Update, proof());
        update.findings.secret = Answer::Is(Some(("uid".into(), content("old"))));
        update.findings.earlier = vec![content("old")];
        update.findings.resource = Answer::Is(Some(status(true, "Secret synced", now)));
        let before = status(true, "Secret synced", "a");
        record(update, vec![sighting(50, Seen::Resource(before))])
    };
    check(&update("b"), Some(Cause::StaleContent));
    // No poll since the change: the operator stands still.
    check(&update("a"), Some(Cause::OperatorStalled));
}

#[test]
fn a_deletion_that_does_not_end_names_who_holds_it() {
    let deleting = Resource {
        deleting: true,
        ..status(true, "Secret synced", "a")
    };
    let mut stuck = step(Step::Delete, Proof::Gone);
    stuck.findings.resource = Answer::Is(Some(deleting));
    check(&record(stuck, vec![]), Some(Cause::FinalizerStuck));

    let mut left = step(Step::Delete, Proof::Gone);
    left.findings.resource = Answer::Is(None);
    left.findings.secret = Answer::Is(Some(("uid".into(), content("old"))));
    check(&record(left, vec![]), Some(Cause::NotCollected));
}

#[test]
fn every_lease_is_followed_to_its_end() {
    let gone = |leases: Vec<LeaseState>| {
        let seen = vec![
            sighting(200, Seen::ResourceGone),
            sighting(210, Seen::SecretGone),
        ];
        let leases = leases
            .into_iter()
            .enumerate()
            .map(|(n, state)| (n.to_string(), state));
        let gone = record(proven(Step::Delete, Proof::Gone), seen);
        Record {
            leases: leases.collect(),
            ..gone
        }
    };
    check(&gone(vec![LeaseState::Ended]), None);

    let leaked = gone(vec![
        LeaseState::Ended,
        LeaseState::Leaked { revoked: true },
    ]);
    check(&leaked, Some(Cause::LeaseLeaked));
    let leases = judge(&leaked).leases;
    assert_eq!((leases.issued, leases.revoked, leases.leaked), (2, 1, 1));

    check(&gone(vec![LeaseState::Ending]), Some(Cause::VaultError));
    let obstacle = Obstacle::new(Peer::Vault, Hindrance::Denied, "403");
    check(
        &gone(vec![LeaseState::Untold(obstacle)]),
        Some(Cause::ProberVaultDenied),
    );

    let mut lost = proven(Step::Create, proof());
    lost.findings.lease = Answer::Is(false);
    check(
        &record(lost, vec![sighting(140, secret("new"))]),
        Some(Cause::LeaseLost),
    );
}

#[test]
fn what_the_prober_may_not_ask_is_not_the_operators_fault() {
    let denied = || Obstacle::new(Peer::Kubernetes, Hindrance::Denied, "events is forbidden");
    let cause = Cause::ProberKubernetesDenied;
    failing(
        |step| step.findings.events = Answer::Obstructed(denied()),
        cause,
    );
    failing(
        |step| step.findings.pods = Answer::Obstructed(denied()),
        cause,
    );
    let unread = Reference {
        name: "VaultAuth `ns/x`".into(),
        exists: Answer::Obstructed(denied()),
        valid: None,
        said: None,
    };
    failing(|step| step.findings.references = vec![unread], cause);
    let removed = Answer::Is(None);
    failing(
        |step| step.findings.resource = removed,
        Cause::CanaryRemoved,
    );
}

#[test]
fn an_effect_after_the_deadline_is_late_and_not_unseen() {
    let mut step = step(Step::Create, proof());
    step.findings.secret = Answer::Is(Some(("uid".into(), content("new"))));
    check(
        &record(step.clone(), vec![sighting(8150, secret("new"))]),
        Some(Cause::TooSlow),
    );
    // Later still, the prober cleans up, and what is seen is its own doing.
    check(
        &record(step, vec![sighting(8250, secret("new"))]),
        Some(Cause::ProberWatchLost),
    );
}

#[test]
fn what_goes_back_to_what_it_was_must_first_have_been_something_else() {
    let repaired = || Proof::Content {
        expected: content("new"),
        not_uid: None,
        after: Some(content("tampered")),
    };
    let seen = |nonces: &[&str]| -> Timeline {
        let seen = nonces.iter().zip(200..);
        seen.map(|(nonce, at)| sighting(at, secret(nonce)))
            .collect()
    };
    let effect = |nonces: &[&str]| operator::effect(&repaired(), &seen(nonces), at(100));
    assert_eq!(effect(&["new"]), None);
    assert_eq!(effect(&["new", "tampered"]), None);
    let proven = effect(&["new", "tampered", "new"]);
    assert_eq!(proven.map(|proven| proven.at), Some(at(202)));
    // The prober's own edit is no write of the operator's; the same once more is one.
    let timeline = seen(&["new", "tampered", "new", "new"]);
    assert_eq!(timeline.secret_writes(&[&content("tampered")]), 3);
}

#[test]
fn a_late_effect_that_the_watch_brought_is_late_whatever_befell_the_watch_before() {
    let late = |relisted| {
        let seen = vec![
            sighting(150, Seen::WatchLost("Secrets: cut".into())),
            Sighting {
                relisted,
                ..sighting(3000, secret("new"))
            },
        ];
        record(proven(Step::Create, proof()), seen)
    };
    check(&late(false), Some(Cause::TooSlow));
    check(&late(true), Some(Cause::ProberWatchLost));
}

/// A creation that came late by 1 s, with an absence at another time than that.
#[test]
fn an_absence_excuses_nothing_that_came_late_after_it() {
    let mut step = proven(Step::Update, proof());
    step.promise = Promise::NextPoll(Duration::from_secs(4));
    let poll = |milliseconds, beat| {
        sighting(
            milliseconds,
            Seen::Resource(status(true, "Secret synced, horizon=3s", beat)),
        )
    };
    for what in [Seen::Starved, Seen::Silence, Seen::VaultSilence] {
        let seen = |away_at| {
            vec![
                poll(90, "a"),
                sighting(away_at, what(Duration::from_millis(1500))),
                sighting(6500, secret("new")),
            ]
        };
        let judged = |away_at| judge(&record(step.clone(), seen(away_at))).steps[0].cause;
        // Due at about 3.7 s at the latest, so late from 5.7 s on.
        assert_eq!(
            judged(2800),
            Some(Cause::TooSlow),
            "it was over when the effect was due"
        );
        assert_ne!(judged(6400), Some(Cause::TooSlow), "it was not");
    }
}

#[test]
fn what_was_gone_before_it_had_to_go_is_gone() {
    let delete = || proven(Step::Delete, Proof::Gone);
    let gone = vec![
        sighting(50, secret("new")),
        sighting(60, Seen::SecretGone),
        sighting(300, Seen::ResourceGone),
    ];
    check(&record(delete(), gone.clone()), None);
    let mut back = gone;
    back.insert(2, sighting(80, secret("new")));
    assert_eq!(
        operator::effect(&Proof::Gone, &back.into_iter().collect(), at(100)),
        None
    );
}

#[test]
fn what_others_touched_is_no_write_of_the_operators() {
    let touched = |milliseconds| sighting(milliseconds, Seen::SecretTouched("kubectl".into()));
    let seen: Timeline = [sighting(140, secret("new")), touched(150), touched(160)]
        .into_iter()
        .collect();
    assert_eq!(seen.secret_writes(&[]), 1);
}

#[test]
fn what_the_operator_says_and_nobody_knows_is_not_the_operators_fault() {
    let event = |reason: &str, message: &str| Event {
        kind: "Warning".into(),
        reason: reason.into(),
        message: message.into(),
        count: 1,
    };
    let told = |events: Vec<Event>, cause| {
        failing(|step| step.findings.events = Answer::Is(events), cause);
    };
    told(
        vec![event(
            "VaultClientConfigError",
            "Failed to get Vault auth login: secrets \"approle\" not found",
        )],
        Cause::LoginFailed,
    );
    told(
        vec![event("VaultClientError", "the moon is full")],
        Cause::VaultRejected,
    );
    // An event alone that says nothing known is easily made up.
    told(
        vec![event("Odd", "the moon is full")],
        Cause::OperatorStalled,
    );
    failing(
        |step| {
            let said = status(false, "the moon is full", "a");
            step.findings.resource = Answer::Is(Some(said));
        },
        Cause::ProbeUnfit,
    );
}

#[test]
fn a_prober_that_stood_still_blames_itself() {
    let starved = |at, seconds| sighting(at, Seen::Starved(Duration::from_secs(seconds)));
    let unproven = record(step(Step::Create, proof()), vec![starved(5000, 5)]);
    check(&unproven, Some(Cause::ProberStarved));
    let late = vec![starved(3200, 3), sighting(3300, secret("new"))];
    check(
        &record(proven(Step::Create, proof()), late),
        Some(Cause::ProberStarved),
    );
}

#[test]
fn an_api_server_that_was_silent_clears_the_operator() {
    let silent = |at, seconds| sighting(at, Seen::Silence(Duration::from_secs(seconds)));
    let unproven = |told| record(step(Step::Create, proof()), vec![told]);
    check(
        &unproven(silent(5000, 3)),
        Some(Cause::ProberKubernetesUnreachable),
    );
    check(&unproven(silent(5000, 1)), Some(Cause::OperatorStalled));
    let late = vec![silent(3200, 3), sighting(3300, secret("new"))];
    check(
        &record(proven(Step::Create, proof()), late),
        Some(Cause::ProberKubernetesUnreachable),
    );
}

#[test]
fn what_was_away_before_or_after_the_step_does_not_count() {
    // Of ten seconds up to 1.1 s, one is the step's own; of eight up to 8.2 s, all but the last tenth.
    let told = |at, seconds| {
        let what = Seen::Silence(Duration::from_secs(seconds));
        let unproven = step(Step::Create, proof());
        judge(&record(unproven, vec![sighting(at, what)])).steps[0].clone()
    };
    assert_eq!(told(1100, 10).cause, Some(Cause::OperatorStalled));
    let silent = told(8200, 9);
    assert_eq!(silent.cause, Some(Cause::ProberKubernetesUnreachable));
    let text = &silent.evidence[0].text;
    assert!(text.contains("for 8.000 s of the step"), "{text}");
}

#[test]
fn a_vault_that_was_away_clears_the_operator_although_it_is_back() {
    let away = |what| vec![sighting(5000, what)];
    let sealed = || away(Seen::VaultSealed(Duration::from_secs(3)));
    let silent = || away(Seen::VaultSilence(Duration::from_secs(3)));
    let unproven = |seen| record(step(Step::Create, proof()), seen);
    check(&unproven(sealed()), Some(Cause::VaultSealed));
    check(&unproven(silent()), Some(Cause::ProberVaultUnreachable));
    let late = |mut seen: Vec<Sighting>| {
        seen.push(sighting(5100, secret("new")));
        record(proven(Step::Create, proof()), seen)
    };
    check(&late(sealed()), Some(Cause::VaultSealed));
    check(&late(silent()), Some(Cause::ProberVaultUnreachable));
    // Shorter than what it came late by: it does not explain it.
    let moment = Seen::VaultSilence(Duration::from_millis(800));
    check(&late(away(moment)), Some(Cause::TooSlow));
}

#[test]
fn a_secret_that_is_collected_late_is_not_the_operators_fault() {
    let deleted = |resource, secret| {
        let seen = vec![
            sighting(resource, Seen::ResourceGone),
            sighting(secret, Seen::SecretGone),
        ];
        record(proven(Step::Delete, Proof::Gone), seen)
    };
    check(&deleted(500, 900), None);
    check(&deleted(500, 4000), Some(Cause::NotCollected));
    check(&deleted(3500, 4000), Some(Cause::TooSlow));
}

#[test]
fn what_the_operator_said_meanwhile_explains_a_late_effect() {
    let message = "Failed to update k8s secret: secrets \"x\" is forbidden: exceeded quota: none";
    let event = Event {
        kind: "Warning".into(),
        reason: "SecretSyncError".into(),
        message: message.into(),
        count: 2,
    };
    let mut by_event = proven(Step::Create, proof());
    by_event.findings.events = Answer::Is(vec![event]);
    let came = || sighting(5100, secret("new"));
    check(
        &record(by_event, vec![came()]),
        Some(Cause::SecretWriteDenied),
    );
    let said = sighting(2000, Seen::Resource(status(false, message, "a")));
    let by_status = record(proven(Step::Create, proof()), vec![said.clone(), came()]);
    check(&by_status, Some(Cause::SecretWriteDenied));
    // In time is in time, whatever was said.
    let in_time = vec![said, sighting(2050, secret("new"))];
    check(&record(proven(Step::Create, proof()), in_time), None);
}

prop_compose! {
    fn any_resource()(
        generation in 1..3_i64,
        last_generation in 0..3_i64,
        finalizer: bool,
        deleting: bool,
        state in prop::option::of((any::<bool>(), "[a-z =.0-9]{0,30}", "[ab]")),
        horizon in prop::option::of(0..20_000_u64),
        lease in prop::option::of("[ab]"),
        serial in prop::option::of("[ab]"),
        renewed in 0..9_i64,
        rotated in prop::option::of(1..9_i64),
        signature in prop::option::of("[ab]"),
    ) -> Resource {
        let state = state.map(|(ok, message, changed)| State { ok, message: message.into(), changed });
        Resource {
            generation, last_generation, finalizer, deleting,
            synced: state.clone(), healthy: state.clone(), renewal: state, renewed,
            back_in: horizon.map(Duration::from_millis),
            lease: lease.map(|id| Lease { id, duration: Duration::from_secs(60), renewable: true }),
            rotation: rotated.map(|last| Rotation { last, left: Duration::from_secs(5) }),
            serial, signature,
        }
    }
}

fn any_seen() -> impl Strategy<Value = Seen> {
    prop_oneof![
        "(new|old|other)".prop_map(|nonce| secret(&nonce)),
        "(new|old|other)".prop_map(|nonce| {
            let (content, left) = (content(&nonce), None);
            Seen::Given(Given { content, left })
        }),
        Just(Seen::SecretGone),
        any_resource().prop_map(Seen::Resource),
        Just(Seen::ResourceGone),
        Just(Seen::WatchLost("cut".into())),
        (any_absence(), 0..10_000_u64).prop_map(|(kind, gap)| kind(Duration::from_millis(gap))),
    ]
}

fn any_absence() -> impl Strategy<Value = fn(Duration) -> Seen> {
    prop_oneof![
        Just(Seen::Starved as fn(Duration) -> Seen),
        Just(Seen::Silence as fn(Duration) -> Seen),
        Just(Seen::VaultSilence as fn(Duration) -> Seen),
        Just(Seen::VaultSealed as fn(Duration) -> Seen),
    ]
}

fn any_obstacle() -> impl Strategy<Value = Obstacle> {
    let peer = prop_oneof![
        Just(Peer::Vault),
        Just(Peer::Kubernetes),
        Just(Peer::Postgres),
        Just(Peer::Prober)
    ];
    let how = prop_oneof![
        Just(Hindrance::Unreachable),
        Just(Hindrance::Denied),
        Just(Hindrance::Sealed),
        Just(Hindrance::Failed),
        Just(Hindrance::Removed),
        Just(Hindrance::Unfit)
    ];
    (peer, how).prop_map(|(at, how)| Obstacle::new(at, how, "why"))
}

fn any_end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Proven),
        Just(End::TimedOut),
        any_obstacle().prop_map(End::Met),
        Just(End::Interrupted)
    ]
}

prop_compose! {
    fn any_record()(
        seen in prop::collection::vec((0..30_000_u64, any::<bool>(), any_seen()), 0..12),
        end in any_end(),
        which in prop_oneof![Just(Step::Create), Just(Step::Update), Just(Step::Delete)],
        started in 0..10_000_u64,
        submit in 0..1_000_u64,
        waited in 0..20_000_u64,
        period in prop::option::of(1_000..20_000_u64),
        secret in prop::option::of("(new|old|other)"),
        resource in prop::option::of(any_resource()),
        others_reconciled: bool,
        obstructed in prop::option::of(any_obstacle()),
    ) -> Record {
        let proof = if which == Step::Delete { Proof::Gone } else { proof() };
        let mut step = step(which, proof);
        step.end = end;
        step.started = at(started);
        step.submitted = at(started + submit);
        step.ended = at(started + submit + waited);
        step.left = step.ended;
        step.promise = period.map_or(Promise::AtOnce, |period| {
            Promise::NextPoll(Duration::from_millis(period))
        });
        step.findings.secret = match obstructed {
            Some(obstacle) => Answer::Obstructed(obstacle),
            None => Answer::Is(secret.map(|nonce| ("uid".to_owned(), content(&nonce)))),
        };
        step.findings.resource = Answer::Is(resource);
        step.findings.earlier = vec![content("old")];
        step.findings.others_reconciled = others_reconciled;
        let seen = seen
            .into_iter()
            .map(|(at, relisted, what)| Sighting { relisted, ..sighting(at, what) });
        record(step, seen.collect())
    }
}

proptest! {
    #[test]
    fn whatever_was_seen_is_judged_fairly(record in any_record()) {
        let run = judge(&record);
        let step = &run.steps[0];
        prop_assert_eq!(step.cause.is_some(), !step.evidence.is_empty());
        prop_assert_eq!(step.cause.map(Cause::party), step.party);
        prop_assert_eq!(step.good, step.result == Verdict::Success);
        prop_assert_eq!(step.result == Verdict::Unknown, step.party == Some(Party::Prober));
        prop_assert!(step.lateness_seconds.is_none_or(|lateness| lateness >= 0.0));
        prop_assert!(step.due_seconds.is_none_or(|due| due >= 0.0));
        let sum: f64 = step.stages.values().sum();
        prop_assert!((sum - step.latency_seconds).abs() < 1e-6);
        prop_assert!(step.stages.values().all(|stage| *stage >= 0.0));
    }

    #[test]
    fn what_the_prober_met_is_never_blamed_on_the_operator(
        mut record in any_record(),
        obstacle in any_obstacle(),
    ) {
        record.steps[0].end = End::Met(obstacle);
        prop_assert_ne!(judge(&record).steps[0].party, Some(Party::Operator));
    }

    #[test]
    fn a_saved_record_is_judged_alike(record in any_record()) {
        let saved = serde_json::to_string(&record).expect("a record is plain data");
        let read: Record = serde_json::from_str(&saved).expect("what was written can be read");
        prop_assert_eq!(judge(&read), judge(&record));
    }

    #[test]
    fn what_is_read_as_it_comes_is_what_is_read_at_the_end(record in any_record()) {
        let (step, timeline) = (&record.steps[0], &record.timeline);
        let mut reader = Reader::new(&step.proof, step.promise, step.started, step.submitted);
        for sighting in timeline.iter() {
            reader.take(sighting);
        }
        let effect = operator::effect(&step.proof, timeline, step.started);
        let due = operator::due(step.promise, timeline, step.submitted, Mark::new(Duration::MAX));
        prop_assert_eq!((reader.effect(), reader.due()), (effect, due));
        let again = reader.again(timeline);
        prop_assert_eq!((again.effect(), again.due()), (effect, due));
    }

    #[test]
    fn a_timeline_is_in_order(marks in prop::collection::vec(0..1000_u64, 0..20)) {
        let mut timeline = Timeline::default();
        for mark in marks {
            timeline.push(sighting(mark, Seen::SecretGone));
        }
        let marks: Vec<_> = timeline.iter().map(|sighting| sighting.at).collect();
        prop_assert!(marks.is_sorted());
    }
}
