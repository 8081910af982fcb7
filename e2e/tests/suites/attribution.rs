//! Trials of attribution by the operator's own metrics: beside the audit logs, under load, over a
//! restart, and from every source that there is.

mod hostile;
mod sources;
pub(crate) mod tls;
mod truth;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::scenario::{Crowd, Probe, Prober, Scene, Suite, step};
use serde_json::{Value, json};
use vso_prober::model::run::{Attribution, Run, StepReport};
use vso_prober::model::snapshot::Void;
use vso_prober::model::{Stage, Step, Verdict};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("attribution")
        .trial("quiet_runs_are_told_exactly", truth::quick_steps)
        .trial("every_step_is_told_exactly", truth::every_step)
        .trial("a_credential_is_told_exactly", truth::credentials)
        .trial("a_second_reconcile_is_the_canarys_own", minimal)
        .trial("foreign_load_is_shared", foreign_load)
        .trial("a_restart_voids_the_window", restart)
        .trial("without_metrics_nothing_is_attributed", without)
        .trial("runs_side_by_side_share_their_scrapes", side_by_side)
        .trial("every_pod_is_read_by_its_address", sources::pods)
        .trial("a_token_and_a_ca_open_the_door", sources::tls)
        .trial("a_token_stays_within_tls", sources::redirect)
        .trial("prometheus_is_asked_for_the_past", sources::prometheus)
        .trial("hostile_endpoints_fail_no_probe", hostile::endpoints)
}

/// The prober with these probes, and the operator's metrics by their URL.
async fn measured(scene: &Scene, probes: impl IntoIterator<Item = Probe>) -> Prober {
    let url = scene.lab().metrics_url().await;
    scene
        .prober(probes)
        .edit(|config| metrics(config, json!({"url": url})))
}

/// Has the operator's metrics read like this.
fn metrics(config: &mut Value, source: Value) {
    config["operator"]["metrics"] = source;
}

/// Insists on a success that hangs together.
fn went_well(run: &Run) -> Result<()> {
    ensure!(run.result == Verdict::Success, "no success: {run:#?}");
    for report in &run.steps {
        adds_up(report)?;
    }
    Ok(())
}

fn adds_up(report: &StepReport) -> Result<()> {
    let sum: f64 = report.stages.values().sum();
    ensure!(
        (sum - report.latency_seconds).abs() < 1e-6,
        "stages do not add up: {report:#?}"
    );
    ensure!(
        report.stages.values().all(|stage| *stage >= 0.0),
        "{report:#?}"
    );
    let explained = report
        .explained_ratio
        .is_none_or(|ratio| (0.0..=1.0).contains(&ratio));
    ensure!(explained, "{report:#?}");
    Ok(())
}

/// Insists that a step was told like this.
fn told(report: &StepReport, attribution: Attribution, void: Option<Void>) -> Result<()> {
    let is = (report.attribution, report.void);
    ensure!(
        is == (attribution, void),
        "expected {attribution:?} and {void:?}: {report:#?}"
    );
    ensure!(
        report.operator.is_some() == (attribution != Attribution::None),
        "{report:#?}"
    );
    ensure!(
        report.explained_ratio.is_some() == (attribution != Attribution::None),
        "{report:#?}"
    );
    let queue = report.stages.contains_key(&Stage::Queue);
    ensure!(queue == (attribution != Attribution::None), "{report:#?}");
    Ok(())
}

async fn minimal(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("minimal")
        .minimal()
        .steps(&[Step::Create, Step::Delete]);
    let outcome = measured(scene, [probe])
        .await
        .probe(&["--count", "5"])
        .await?
        .exits(0)?;
    for run in outcome.runs()? {
        went_well(&run)?;
        let create = step(&run, Step::Create)?;
        told(create, Attribution::Exact, None)?;
        let delta = create.operator.context("it was told exactly")?;
        ensure!(
            (delta.reconciles - 2.0).abs() + (delta.vault_reads - 2.0).abs() < 1e-6,
            "{create:#?}"
        );
    }
    Ok(())
}

async fn foreign_load(scene: &Scene) -> Result<()> {
    let crowd = Crowd::new(scene, "probe").await?;
    crowd.gather(40, "1s").await?;
    let probe = Probe::kv2("crowded").steps(&[Step::Create, Step::Update, Step::Delete]);
    let outcome = measured(scene, [probe])
        .await
        .probe(&["--count", "5"])
        .await?;
    crowd.disband().await?;
    for run in outcome.exits(0)?.runs()? {
        went_well(&run)?;
        // Over the seconds of a poll, some of the crowd come for certain.
        let update = step(&run, Step::Update)?;
        told(update, Attribution::Shared, None)?;
        ensure!(
            update.operator.is_some_and(|delta| delta.reconciles > 10.0),
            "{update:#?}"
        );
    }
    Ok(())
}

async fn restart(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("restarted")
        .target("refreshAfter", "10s")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .limits("30s", "31s");
    let running = measured(scene, [probe])
        .await
        .start(&["probe", "-o", "json"])?;
    scene.secret("restarted").await?;
    // The poll that the update waits for is eight seconds away.
    tokio::time::sleep(Duration::from_secs(1)).await;
    scene.lab().kill_operator().await?;
    scene.lab().start_operator().await?;
    let run = running.ended().await?.exits(0)?.only_run()?;
    went_well(&run)?;
    told(step(&run, Step::Create)?, Attribution::Exact, None)?;
    told(
        step(&run, Step::Update)?,
        Attribution::None,
        Some(Void::Restart),
    )
}

async fn without(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("without").steps(&[Step::Create, Step::Delete]);
    let asked = scene.lab().kube_audit()?.len();
    let run = scene
        .prober([probe])
        .probe(&[])
        .await?
        .exits(0)?
        .only_run()?;
    went_well(&run)?;
    for report in &run.steps {
        told(report, Attribution::None, None)?;
    }
    let audit = scene.lab().kube_audit()?;
    let references = audit
        .iter()
        .skip(asked)
        .filter(|request| request.user_agent.starts_with("vso-prober/"))
        .filter(|request| request.object_ref.resource == "vaultauths");
    ensure!(
        references.count() == 0,
        "the VaultAuth was asked for, which nothing needs"
    );
    Ok(())
}

async fn side_by_side(scene: &Scene) -> Result<()> {
    let counter = sources::Counter::start(scene).await?;
    let probes = (0..4)
        .map(|number| Probe::kv2(&format!("beside-{number}")).steps(&[Step::Create, Step::Delete]));
    let prober = scene
        .prober(probes)
        .edit(|config| metrics(config, json!({"url": counter.url()})));
    let outcome = prober
        .probe(&["--parallel", "4", "--count", "5"])
        .await?
        .exits(0)?;
    let runs = outcome.runs()?;
    runs.iter().try_for_each(went_well)?;
    // Each run asks three times at least.
    let (asked, scrapes) = (runs.len() * 3, counter.count());
    #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
    {
        println!("{scrapes} scrapes served {asked} readings or more");
    }
    ensure!(scrapes < asked, "{scrapes} scrapes for {asked} readings");
    let own_alone = runs.iter().flat_map(|run| &run.steps);
    let exact = own_alone
        .filter(|step| step.attribution == Attribution::Exact)
        .count();
    ensure!(
        exact < runs.len() * 2,
        "runs side by side took each other's reconciles for their own"
    );
    Ok(())
}
