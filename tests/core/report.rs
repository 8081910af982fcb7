//! Tests of reports: the table, JSON and JUnit of a success, a failure and an unknown.

use vso_prober::model::cause::{Cause, Evidence, Source};
use vso_prober::model::run::{Attribution, Run, StepReport};
use vso_prober::model::{Kind, Stage, Step};
use vso_prober::publish::{junit, table};

use super::kit::{self, report};

fn step(step: Step, started: &str, stages: &[(Stage, f64)]) -> StepReport {
    let poll_driven = step.poll_driven();
    StepReport {
        started: started.parse().expect("a timestamp"),
        latency_seconds: stages.iter().map(|(_, seconds)| seconds).sum(),
        due_seconds: poll_driven.then_some(3.0),
        lateness_seconds: poll_driven.then_some(0.014),
        stages: stages.iter().copied().collect(),
        ..report(step, 0.0)
    }
}

fn blamed(step: StepReport, cause: Cause, evidence: &[(Source, &str)]) -> StepReport {
    let evidence = evidence.iter();
    StepReport {
        evidence: evidence
            .map(|(source, text)| Evidence::new(*source, *text))
            .collect(),
        ..kit::blamed(step, cause)
    }
}

fn run(probe: &str, kind: Kind, steps: Vec<StepReport>) -> Run {
    Run {
        kind,
        ..kit::run(probe, steps)
    }
}

fn runs() -> Vec<Run> {
    let create = |latency| {
        step(
            Step::Create,
            "2026-01-01T00:00:00.010Z",
            &[(Stage::Submit, 0.003), (Stage::Deliver, latency)],
        )
    };
    let update = step(
        Step::Update,
        "2026-01-01T00:00:00.1Z",
        &[
            (Stage::Submit, 0.002),
            (Stage::Wait, 2.998),
            (Stage::Deliver, 0.014),
        ],
    );
    let delete = step(
        Step::Delete,
        "2026-01-01T00:00:03.9Z",
        &[(Stage::Submit, 0.004), (Stage::Deliver, 0.02)],
    );
    let denied = blamed(
        create(3.9),
        Cause::VaultDenied,
        &[
            (
                Source::Status,
                "Failed to sync the secret, err=Code: 403. Errors: permission denied",
            ),
            (
                Source::Event,
                "VaultClientError: Failed to read Vault secret: Code: 403 (3 times)",
            ),
        ],
    );
    let unreachable = blamed(
        create(2.0),
        Cause::ProberVaultUnreachable,
        &[(
            Source::Vault,
            "tried to log in (kubernetes) on Vault at http://127.0.0.1:1: no answer",
        )],
    );
    let mut failed = run("denied", Kind::Static, vec![denied]);
    failed.leftovers = vec!["VaultStaticSecret vso-probe/vsop-denied-0123456789abcdef".to_owned()];
    vec![
        run(
            "static-kv2",
            Kind::Static,
            vec![create(0.012), update, delete],
        ),
        failed,
        run("postgres", Kind::Dynamic, vec![unreachable]),
    ]
}

#[test]
fn a_table_for_people() {
    insta::assert_snapshot!(table::render(&runs()));
}

#[test]
fn a_table_shows_what_the_operators_metrics_tell() {
    let mut create = step(
        Step::Create,
        "2026-01-01T00:00:00.5Z",
        &[
            (Stage::Submit, 0.5),
            (Stage::Wait, 0.0),
            (Stage::Queue, 0.5),
            (Stage::Reconcile, 1.0),
            (Stage::Deliver, 0.5),
        ],
    );
    create.attribution = Attribution::Exact;
    let runs = [run("static-kv2", Kind::Static, vec![create])];
    insta::assert_snapshot!(table::render(&runs));
}

#[test]
fn many_runs_are_told_in_figures() {
    let many: Vec<_> = std::iter::repeat_with(|| runs().remove(0))
        .take(8)
        .collect();
    insta::assert_snapshot!(table::render(&many));
}

#[test]
fn junit_for_ci() {
    insta::assert_snapshot!(junit::render(&runs()));
}

#[test]
fn json_for_programs() {
    let lines: Vec<_> = runs()
        .iter()
        .map(|run| serde_json::to_string_pretty(run).expect("a run is plain data"))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

/// Every cause is told with its evidence and with what to do, in the table and in JUnit.
#[test]
fn every_cause_is_told_with_its_advice() {
    for cause in Cause::ALL {
        let step = step(
            Step::Create,
            "2026-01-01T00:00:00Z",
            &[(Stage::Deliver, 1.0)],
        );
        let step = blamed(step, *cause, &[(Source::Status, "this speaks for it")]);
        let runs = [run("probe", Kind::Static, vec![step])];
        let words = [cause.as_str(), cause.party().as_str(), "this speaks for it"];
        for word in words.into_iter().chain([cause.advice()]) {
            assert!(
                table::render(&runs).contains(word),
                "{cause}: the table lacks {word}"
            );
        }
        for word in words {
            assert!(
                junit::render(&runs).contains(word),
                "{cause}: JUnit lacks {word}"
            );
        }
    }
}

/// A rotation is told with the margin that it had, wherever a step is told.
#[test]
fn a_margin_is_told() {
    let rotation = |margin| {
        let mut step = step(Step::Rotate, "2026-01-01T00:00:00Z", &[(Stage::Wait, 3.0)]);
        step.margin_seconds = Some(margin);
        run("postgres", Kind::Dynamic, vec![step])
    };
    let runs = [rotation(4.25), rotation(-0.5)];
    let told = "rotation margin of postgres: the new one arrived 500.0 ms after the old one ended";
    assert!(
        table::render(&runs).contains(told),
        "{}",
        table::render(&runs)
    );
    assert!(table::render(&runs[..1]).contains("4.250 s before the old one ended"));
    assert!(junit::render(&runs).contains("-0.500"));
}
