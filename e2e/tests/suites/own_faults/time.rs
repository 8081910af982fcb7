//! Time that goes wrong for the prober alone: it is stopped for a while, or its clock is set back.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::scenario::{Probe, Scene, eventually, hashicorp};
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::process::Command;
use vso_prober::model::cause::Cause;
use vso_prober::model::run::Run;
use vso_prober::model::{Step, Verdict};

/// For how long the prober is stopped: longer than it is until the operator polls.
const STOPPED: Duration = Duration::from_secs(3);
/// By how much its clock is set back, and how much of that must show.
const AN_HOUR: SignedDuration = SignedDuration::from_hours(1);
const MOST_OF_IT: SignedDuration = SignedDuration::from_mins(50);

/// Waits until a run has begun its second step: Vault has a second version by then.
pub(crate) async fn updated(scene: &Scene, probe: &str) -> Result<()> {
    let name = scene.secret(probe).await?.name_any();
    let folder = scene.kv_folder("default").await?;
    let path = format!("kvv2/metadata/{folder}/{name}");
    eventually("second version", Duration::from_secs(10), async || {
        let metadata = scene.lab().vault().read(&path).await?;
        Ok((metadata["data"]["current_version"] == 2).then_some(()))
    })
    .await
}

pub(crate) async fn stopped(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("stopped").steps(&[Step::Create, Step::Update, Step::Delete]);
    let prober = scene
        .prober([probe])
        .edit(|config| config["probes"][0]["steps"]["update"] = "1s".into());
    let running = prober.start(&["probe", "-o", "json"])?;
    updated(scene, "stopped").await?;
    running.signal(Signal::STOP)?;
    tokio::time::sleep(STOPPED).await;
    running.signal(Signal::CONT)?;
    let run = running.ended().await?.only_run()?;
    // The poll may have come between the write and the signal.
    let cause = run.decisive().and_then(|report| report.cause);
    ensure!(
        matches!(cause, None | Some(Cause::ProberStarved)),
        "{run:#?}"
    );
    Ok(())
}

/// What sets the clock of a program back, once the file is there that is named.
async fn shim(scene: &Scene) -> Result<PathBuf> {
    let library = scene.path("so");
    let source = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/suites/own_faults/clock.c"
    );
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .arg(&library)
        .arg(source)
        .status()
        .await
        .context("could not run `cc`, which links every Rust program")?;
    ensure!(built.success(), "`cc` could not build `{source}`: {built}");
    Ok(library)
}

/// Certificates too, as they alone are of a wall clock, and their rotation where they can be short.
async fn certificates(scene: &Scene) -> Result<Probe> {
    let probe = Probe::pki("clock-pki");
    if scene.real() && !hashicorp() {
        return Ok(probe);
    }
    if !scene.real() {
        scene.lab().faults(&json!({"omitNotAfter": true})).await?;
    }
    Ok(probe
        .target("notAfter", Value::Null)
        .target("ttl", "20s")
        .target("expiryOffset", "14s")
        .steps(&[Step::Create, Step::Rotate, Step::Delete]))
}

/// Sets the clock back before the prober starts, or as soon as it has its first Secret.
pub(crate) async fn clock_back(scene: &Scene, midway: bool) -> Result<()> {
    let (library, switch) = (shim(scene).await?, scene.path("back"));
    let probes = [
        Probe::kv2("clock"),
        Probe::database("clock-lease"),
        certificates(scene).await?,
    ];
    let prober = scene
        .prober(probes)
        .env("LD_PRELOAD", library)
        .env("CLOCK_BACK", &switch);
    if !midway {
        fs::write(&switch, "")?;
    }
    let begun = Timestamp::now();
    let running = prober.start(&["probe", "-o", "json", "--parallel", "3", "--count", "2"])?;
    if midway {
        scene.secret("clock").await?;
        fs::write(&switch, "")?;
    }
    let outcome = running.ended().await?.exits(0)?;
    let runs = outcome.runs()?;
    for run in &runs {
        ensure!(run.result == Verdict::Success, "{run:#?}");
        right(run, outcome.took)?;
    }
    // It was set back indeed.
    let earliest = runs.iter().map(|run| run.started).min();
    let back = begun.duration_since(earliest.context("no run")?);
    ensure!(MOST_OF_IT < back && back < AN_HOUR, "set back by {back:?}");
    Ok(())
}

/// Insists that no time of a run is longer than it can be, or negative.
fn right(run: &Run, took: Duration) -> Result<()> {
    let latencies: f64 = run.steps.iter().map(|step| step.latency_seconds).sum();
    let whole = run.finished.duration_since(run.started).as_secs_f64();
    ensure!(
        latencies <= whole && whole <= took.as_secs_f64(),
        "{run:#?}"
    );
    let positive = run.steps.iter().all(|step| step.latency_seconds > 0.0);
    ensure!(positive, "{run:#?}");
    Ok(())
}
