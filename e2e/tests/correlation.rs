//! What a latency moves with: where Vault is slow, where others crowd the queue, and where nothing is the matter.

use std::env;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Crowd, Probe, Relay, Scene, Suite, eventually};
use kube::api::Api;
use serde_json::{Value, json};
use vso_prober::model::run::Run;
use vso_prober::model::{Step, Verdict};
use vso_prober::operator::api::VaultAuth;

/// How many runs each trial takes; the variable `CORRELATION_RUNS` says otherwise.
const RUNS: usize = 60;
/// How many runs one process takes.
const BATCH: usize = 20;
/// How long a request to Vault is held back at most.
const DELAY: Duration = Duration::from_millis(800);
/// How many resources of others come at once.
const BURST: usize = 300;

fn main() -> ExitCode {
    Suite::new("correlation")
        .trial("a_slow_vault_is_told_by_its_reads", slow_vault)
        .trial("a_crowd_is_told_by_the_queue", crowd)
        .trial("where_nothing_is_the_matter_nothing_is_strong", quiet)
        .run()
}

fn count() -> Result<usize> {
    match env::var("CORRELATION_RUNS") {
        Ok(count) => count.parse().context("CORRELATION_RUNS is no number"),
        Err(_) => Ok(RUNS),
    }
}

/// Runs a probe again and again.
async fn take(scene: &Scene, name: &str, auth: &str) -> Result<Vec<Run>> {
    let probe = Probe::kv2(name)
        .auth(auth)
        .target("refreshAfter", "1h")
        .steps(&[Step::Create, Step::Delete]);
    let url = scene.lab().metrics_url().await;
    let prober = scene
        .prober([probe])
        .edit(|config| config["operator"]["metrics"] = json!({"url": url}));
    // The first of all makes the operator log in.
    prober.probe(&[]).await?.exits(0)?;
    let mut runs = Vec::new();
    let count = count()?;
    while runs.len() < count {
        let batch = BATCH.min(count - runs.len()).to_string();
        let outcome = prober
            .probe(&["--count", &batch, "--parallel", "1"])
            .await?
            .exits(0)?;
        runs.extend(outcome.runs()?);
    }
    ensure!(
        runs.iter().all(|run| run.result == Verdict::Success),
        "{runs:#?}"
    );
    if let Ok(folder) = env::var("CORRELATION_DUMP") {
        let lines: Vec<String> = runs
            .iter()
            .map(|run| serde_json::to_string(run).unwrap())
            .collect();
        let real = if scene.real() { "real" } else { "standin" };
        std::fs::write(format!("{folder}/{name}-{real}.jsonl"), lines.join("\n"))?;
    }
    Ok(runs)
}

/// A VaultConnection to there, and a VaultAuth over it.
struct Way<'a> {
    scene: &'a Scene,
    name: &'a str,
}

impl<'a> Way<'a> {
    async fn lay(scene: &'a Scene, name: &'a str, address: &str) -> Result<Self> {
        let way = Self { scene, name };
        let mut connection = way.object("VaultConnection");
        connection["spec"] = json!({"address": address});
        scene.apply(connection).await?;
        let over = json!({"vaultConnectionRef": name});
        scene.vault_auth(NAMESPACE, name, over).await?;
        Ok(way)
    }

    async fn clear(self) -> Result<()> {
        self.scene.remove(self.object("VaultAuth")).await?;
        let auths = Api::<VaultAuth>::namespaced(self.scene.lab().client(), NAMESPACE);
        eventually(
            "end of the VaultAuth",
            Duration::from_secs(30),
            async || Ok(auths.get_opt(self.name).await?.is_none().then_some(())),
        )
        .await?;
        self.scene.remove(self.object("VaultConnection")).await
    }

    fn object(&self, kind: &str) -> Value {
        json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": kind,
            "metadata": {"name": self.name, "namespace": NAMESPACE},
        })
    }
}

async fn slow_vault(scene: &Scene) -> Result<()> {
    let relay = Relay::slow(scene.lab().vault().address(), DELAY).await?;
    let way = Way::lay(scene, "delayed", &relay.address()).await?;
    let runs = take(scene, "delayed", "delayed").await?;
    way.clear().await?;
    ensure!(!runs.is_empty());
    Ok(())
}

async fn crowd(scene: &Scene) -> Result<()> {
    let way = Way::lay(scene, "crowd", scene.lab().vault().address()).await?;
    let crowd = Crowd::new(scene, "crowd").await?;
    let over = AtomicBool::new(false);
    let bursts = async {
        while !over.load(Ordering::Relaxed) {
            let pause = Duration::from_secs(6).mul_f64(rand::random());
            tokio::time::sleep(pause).await;
            let t = std::time::Instant::now();
            crowd.gather(BURST, "1h").await?;
            let g = t.elapsed();
            crowd.leave().await?;
            eprintln!("pause {pause:?} gather {g:?} leave {:?}", t.elapsed() - g);
        }
        crowd.disband().await
    };
    let runs = async {
        let runs = take(scene, "crowded", "probe").await;
        over.store(true, Ordering::Relaxed);
        runs
    };
    let (runs, ended) = tokio::join!(runs, bursts);
    ended?;
    let runs = runs?;
    way.clear().await?;
    ensure!(!runs.is_empty());
    Ok(())
}

async fn quiet(scene: &Scene) -> Result<()> {
    let runs = take(scene, "quiet", "probe").await?;
    ensure!(!runs.is_empty());
    Ok(())
}
