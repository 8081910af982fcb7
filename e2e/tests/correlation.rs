//! What latencies move with, on real parts: a Vault that is slow, a crowd in the queue, and nothing at all.
//!
//! `CORRELATION_RUNS` says how many runs each window is made of.

#[path = "correlation/crowd.rs"]
mod crowd;
#[path = "correlation/window.rs"]
mod window;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Probe, Prober, Scene, Suite, Tap};
use serde_json::json;
use tokio::time::sleep;
use vso_prober::model::signal::Signal;
use vso_prober::model::{Stage, Step};

use crowd::Crowd;
use window::{Window, runs};

/// How long the slow Vault takes at most.
const SLOWEST: Duration = Duration::from_millis(800);
/// How many runs a crowd comes into, and how soon.
const BETWEEN_CROWDS: usize = 15;
const SOON: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    Suite::new("correlation")
        .trial("where_nothing_is_wrong_nothing_is_named", quiet)
        .trial("a_slow_vault_is_named", slow_vault)
        .trial("a_crowd_in_the_queue_is_named", crowds)
        .run()
}

/// Creates and deletes over a VaultConnection of the canary's own, to Vault at this address.
async fn prober(scene: &Scene, name: &str, vault: &str) -> Result<Prober> {
    scene.apply(connection(name, vault)).await?;
    let reference = json!({"vaultConnectionRef": name});
    scene.vault_auth(NAMESPACE, name, reference).await?;
    let probe = Probe::kv2(name)
        .auth(name)
        .target("refreshAfter", "1h")
        .steps(&[Step::Create, Step::Delete])
        .limits("5s", "15s");
    let url = scene.lab().metrics_url().await;
    Ok(scene
        .prober([probe])
        .edit(|config| config["operator"]["metrics"] = json!({"url": url})))
}

/// Removes what the prober's resources referred to.
async fn done(scene: &Scene, name: &str) -> Result<()> {
    let auth = json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuth",
        "metadata": {"name": name, "namespace": NAMESPACE},
    });
    scene.remove(auth).await?;
    scene.remove(connection(name, "")).await
}

fn connection(name: &str, address: &str) -> serde_json::Value {
    json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
        "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"address": address},
    })
}

async fn quiet(scene: &Scene) -> Result<()> {
    let prober = prober(scene, "quiet", scene.lab().vault().address()).await?;
    let mut window = Window::default();
    while window.len() < runs()? {
        window.take(&prober, runs()? - window.len()).await?;
    }
    done(scene, "quiet").await?;
    window.print("nothing injected");
    let named = window.named();
    ensure!(
        named.is_empty(),
        "named though nothing is wrong: {named:#?}"
    );
    Ok(())
}

async fn slow_vault(scene: &Scene) -> Result<()> {
    let tap = Tap::start(scene.lab().vault().address()).await?;
    let prober = prober(scene, "slow", &tap.address()).await?;
    tap.delay(SLOWEST);
    let mut window = Window::default();
    while window.len() < runs()? {
        window.take(&prober, runs()? - window.len()).await?;
    }
    tap.delay(Duration::ZERO);
    done(scene, "slow").await?;
    window.print("Vault slowed down by up to 800 ms");
    let read = window.of(Signal::VaultReadSeconds)?;
    ensure!(read.spearman >= 0.9 && read.strong, "{read:?}");
    let stronger: Vec<_> = window
        .create()
        .iter()
        .filter(|one| one.spearman.abs() > read.spearman)
        .filter(|one| one.signal != Signal::ReconcileSeconds)
        .collect();
    ensure!(stronger.is_empty(), "stronger than {read:?}: {stronger:?}");
    let share = window.share(Stage::Reconcile);
    ensure!(share >= 0.9, "only {share:.3} of the latency was reconcile");
    Ok(())
}

async fn crowds(scene: &Scene) -> Result<()> {
    let crowd = Crowd::new(scene).await?;
    let prober = prober(scene, "crowded", scene.lab().vault().address()).await?;
    let mut window = Window::default();
    while window.len() < runs()? {
        let count = BETWEEN_CROWDS.min(runs()? - window.len());
        let comes = async {
            sleep(SOON.mul_f64(rand::random())).await;
            crowd.comes().await
        };
        tokio::try_join!(window.take(&prober, count), comes)?;
        crowd.leaves().await?;
    }
    done(scene, "crowded").await?;
    crowd.gone().await?;
    window.print("300 others created at once, now and then");
    let strongest = window.create().first();
    ensure!(
        strongest.is_some_and(|one| one.signal == Signal::QueueSeconds && one.strong),
        "{:#?}",
        window.create()
    );
    Ok(())
}
