//! Fuzz tests of every parser of what comes from outside, given what nobody would send: it answers, in bounded time, and does
//! not panic.
//!
//! A case is a sample of `tests/fuzz/corpus/TARGET` with some of it changed. `FUZZ_CASES=1000000` has that many of
//! each (`make fuzz`); `FUZZ_CASE=17` has one again. Cases are drawn from their number, so that they are the same everywhere.
//! What a parser once fell over is kept as a sample.

#[path = "fuzz/harness.rs"]
mod harness;
#[path = "fuzz/mutation.rs"]
mod mutation;

use harness::{fuzz, text};
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::core::DynamicObject;
use tokio::time::Instant;
use vso_prober::config::check;
use vso_prober::judge::judge;
use vso_prober::model::Kind;
use vso_prober::model::record::Record;
use vso_prober::model::run::Run;
use vso_prober::model::text::Text;
use vso_prober::observe::Inspector;
use vso_prober::operator::{self, api, exposition};
use vso_prober::publish::{Publisher, junit, table};

#[test]
fn expositions() {
    fuzz("exposition", |case| {
        let Some(snapshot) = exposition::read(&text(case), "operator") else {
            return;
        };
        let version = snapshot.version.unwrap_or_default();
        assert!(version.len() <= 64 && version.is_ascii(), "{version:?}");
        assert!(snapshot.cpu_seconds.is_finite() && snapshot.cpu_seconds >= 0.0);
    });
}

#[test]
fn durations_and_sentences() {
    fuzz("duration", |case| {
        let text = text(case);
        let _ = api::go_duration(&text);
        let _ = operator::back_in(&text);
        let _ = operator::lease_in(&text);
        let safe = Text::new(&text);
        assert!(safe.len() <= 1024 && !safe.contains(['\n', '\u{1b}', '\u{202e}']));
    });
}

#[test]
fn statuses() {
    fuzz("status", |case| {
        let Ok(object) = serde_json::from_slice::<DynamicObject>(case) else {
            return;
        };
        for kind in Kind::ALL {
            let _ = operator::resource(kind, object.clone());
        }
    });
}

#[test]
fn certificates() {
    let now = (Instant::now(), Timestamp::UNIX_EPOCH);
    fuzz("certificate", |case| {
        let pem = text(case);
        let inspector = Inspector::new(&[pem.clone().into_owned()], &["canary.example"], now);
        let values = ["certificate", "private_key", "issuing_ca"];
        let secret = Secret {
            data: Some(
                values
                    .map(|key| (key.to_owned(), ByteString(case.to_vec())))
                    .into(),
            ),
            ..Secret::default()
        };
        let told = inspector.certificate(&secret, now.0);
        assert!(told.flaws.iter().all(|flaw| !flaw.why.contains('\u{1b}')));
    });
}

#[test]
fn records() {
    fuzz("record", |case| {
        let Ok(record) = serde_json::from_slice::<Record>(case) else {
            return;
        };
        let run = judge(&record, &operator::account(&record));
        for step in &run.steps {
            assert_eq!(step.cause.is_some(), !step.evidence.is_empty());
            assert!(step.latency_seconds >= 0.0, "{}", step.latency_seconds);
        }
        shown(&run);
    });
}

#[test]
fn runs() {
    fuzz("run", |case| {
        if let Ok(run) = serde_json::from_slice::<Run>(case) {
            shown(&run);
        }
    });
}

/// Shows a run in every way. What it says in evidence of others' steers no terminal.
fn shown(run: &Run) {
    let evidence = run.steps.iter().flat_map(|step| &step.evidence);
    for piece in evidence {
        assert!(
            !piece.text.contains(['\u{1b}', '\u{7}', '\u{202e}']),
            "{piece:?}"
        );
    }
    let _ = table::render(std::slice::from_ref(run));
    let _ = junit::render(std::slice::from_ref(run));
}

#[test]
fn configurations() {
    fuzz("config", |case| {
        if let Err(problems) = check::load(&text(case), "case.yaml", |_| None) {
            assert!(!problems.to_string().is_empty());
        }
    });
}

#[test]
fn accepts() {
    let publisher = Publisher::default();
    fuzz("accept", |case| {
        let exposition = publisher.expose(Some(&text(case)));
        assert!(!exposition.content_type.is_empty());
    });
}
