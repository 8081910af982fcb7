//! Trials of traces: the stages of a step, and the operator's requests in it, against Vault's own audit log.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::figures::quantile;
use e2e::lab::VaultLine;
use e2e::scenario::{Probe, Scene, Server, Suite, eventually, step};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use vso_prober::model::run::{Attribution, Run, StepReport};
use vso_prober::model::{Stage, Step, Verdict};

use crate::audit_impostor::{auditor, knows};

/// The steps in which the operator reads the canary's secret.
const READ: [Step; 4] = [Step::Create, Step::Update, Step::Tamper, Step::Recreate];
/// So many runs are taken.
const RUNS: usize = 4;
/// How long they may take.
const WHILE: Duration = Duration::from_secs(150);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("audit_trace")
        .trial("stages_are_those_of_vaults_log", here)
        .trial("a_judge_elsewhere_is_asked", elsewhere)
        .trial("without_the_judge_runs_go_on", nobody)
}

fn probe(name: &str) -> Probe {
    Probe::kv2(name)
        .target("refreshAfter", "3s")
        .steps(&[READ.as_slice(), &[Step::Delete]].concat())
        .limits("20s", "30s")
        .every("1s")
}

async fn runs(server: &Server) -> Result<Vec<Run>> {
    eventually("runs", WHILE, async || {
        let runs = server.runs().await?;
        Ok((runs.len() >= RUNS).then_some(runs))
    })
    .await
}

/// Insists that a step is told by Vault's log, and as that has it. The prober, Vault and trial share one clock. Returns how far the
/// prober was off, and by how much it said that it might be, in milliseconds.
fn traced(report: &StepReport, log: &[VaultLine]) -> Result<(f64, f64)> {
    ensure!(report.attribution == Attribution::Traced, "{report:#?}");
    let trace = report.trace.as_ref().context("it was traced")?;
    let mut off: f64 = 0.0;
    for request in &trace.requests {
        let of = |kind: &str| {
            let line = log
                .iter()
                .find(|line| line.kind == kind && request.id == *line.request.id);
            line.with_context(|| format!("Vault wrote no {kind} of {request:?}"))
        };
        let (asked, answered) = (of("request")?, of("response")?);
        ensure!(
            asked.request.operation == "read" && asked.auth.display_name.contains("-probe-"),
            "{asked:?}"
        );
        let told = report.started + SignedDuration::from_secs_f64(request.at);
        off = off.max(between(told, asked.time).abs());
        let took = between(asked.time, answered.time);
        let told = request.seconds.context("it was answered")?;
        ensure!((took - told).abs() < 1e-6, "{took} {told}");
    }
    ensure!(off <= trace.clock_error_seconds + 1e-3, "{off} {report:#?}");
    let reconcile = report.stages.get(&Stage::Reconcile).copied();
    let first = trace.requests.first().and_then(|request| request.seconds);
    ensure!(
        reconcile >= first,
        "a reconcile without its read: {report:#?}"
    );
    Ok((off * 1e3, trace.clock_error_seconds * 1e3))
}

fn between(from: Timestamp, to: Timestamp) -> f64 {
    to.duration_since(from).as_secs_f64()
}

async fn here(scene: &Scene) -> Result<()> {
    let prober = auditor(scene, [probe("traced")], &scene.path("state")).await?;
    let server = prober.serve(&[]).await?;
    knows(&server).await?;
    let before = server.runs().await?.len();
    let runs = eventually("runs", WHILE, async || {
        let runs = server.runs().await?;
        Ok((runs.len() >= before + RUNS).then_some(runs))
    })
    .await?;
    server.stop().await?;
    let log = scene.lab().vault_audit()?;
    let mut figures = Vec::new();
    for run in &runs[..RUNS - 1] {
        ensure!(run.result == Verdict::Success, "{run:#?}");
        for taken in READ {
            figures.push(traced(step(run, taken)?, &log)?);
        }
        let delete = step(run, Step::Delete)?;
        ensure!(delete.trace.is_none(), "{delete:#?}");
    }
    let (off, error): (Vec<_>, Vec<_>) = figures.into_iter().unzip();
    #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
    {
        println!(
            "traced {} steps: off by {:.3} ms at p50, {:.3} ms at most; said to be off by {:.3} ms at p50",
            off.len(),
            quantile(&off, 0.5),
            quantile(&off, 1.0),
            quantile(&error, 0.5),
        );
    }
    Ok(())
}

/// The probes run in one process, which asks another that judges the logs.
async fn elsewhere(scene: &Scene) -> Result<()> {
    let prober = auditor(scene, [probe("elsewhere")], &scene.path("state-2")).await?;
    let judge = prober.clone();
    let judge = judge.serve(&["--only", "audit", "--leader-elect"]).await?;
    let url = format!("http://{}", judge.address());
    let asking = scene
        .prober([probe("elsewhere")])
        .edit(|config| config["audit"] = json!({"url": url}));
    // The judge contends for no Lease, or nobody would probe.
    let server = asking.serve(&["--leader-elect"]).await?;
    let runs = runs(&server).await?;
    server.stop().await?;
    let told = asking.run(&["doctor"]).await?.exits(0)?;
    ensure!(told.stdout.contains("judges audit logs"), "{told}");
    // Of what another process does it has nothing to tell, or alerts would fire on what it does not do.
    let (_, metrics) = judge.get("/metrics").await?;
    let others = ["vso_probe_", "vso_operator_", "vso_prober_leader"];
    let mut lines = metrics.lines();
    let told = lines.find(|line| others.iter().any(|name| line.starts_with(name)));
    ensure!(told.is_none(), "{told:?}");
    ensure!(metrics.contains("\nvso_audit_up{"), "{metrics}");
    judge.stop().await?;
    let log = scene.lab().vault_audit()?;
    // The first may have been before the judge knew whose lines are to be heeded.
    let run = runs.first().context("a run")?;
    ensure!(run.result == Verdict::Success, "{run:#?}");
    for taken in READ {
        traced(step(run, taken)?, &log)?;
    }
    Ok(())
}

/// Who can't be asked is told of once, and keeps no run waiting for long.
async fn nobody(scene: &Scene) -> Result<()> {
    let quick = Probe::kv2("nobody")
        .steps(&[Step::Create, Step::Delete])
        .every("1s");
    let asking = scene
        .prober([quick])
        .edit(|config| config["audit"] = json!({"url": "http://127.0.0.1:1"}));
    let told = asking.run(&["doctor"]).await?.exits(1)?;
    ensure!(told.stdout.contains("set `audit.url`"), "{told}");
    let server = asking.serve(&[]).await?;
    let runs = runs(&server).await?;
    let outcome = server.stop().await?;
    let untraced = |run: &Run| {
        run.result == Verdict::Success && run.steps.iter().all(|step| step.trace.is_none())
    };
    ensure!(runs.iter().all(untraced), "{runs:#?}");
    let told = outcome
        .stderr
        .matches("no traces of Vault's audit log")
        .count();
    ensure!(told == 1, "{outcome}");
    Ok(())
}
