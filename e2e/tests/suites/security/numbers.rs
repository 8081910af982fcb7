//! Numbers that no honest operator or Vault tells.

use anyhow::{Result, ensure};
use e2e::scenario::{Probe, Scene};
use kube::ResourceExt as _;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use vso_prober::model::{Kind, Step};

/// A status that announces the next poll for longer than a clock can tell, until the operator polls: the run is
/// judged all the same, and its canary removed.
pub(super) async fn horizon(scene: &Scene) -> Result<()> {
    let probe = Probe::hasty("endless", &[Step::Create, Step::Update, Step::Delete]);
    let prober = scene.prober([probe.target("refreshAfter", "4s")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    let canary = scene.canary(Kind::Static, "endless").await?.name_any();
    scene.secret("endless").await?;
    let condition = |kind: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": "Synced", "message": message,
            "lastTransitionTime": "2036-01-01T00:00:00Z", "observedGeneration": 1,
        })
    };
    let status = json!({"status": {"lastGeneration": 1, "conditions": [
        condition("SecretSynced", "Secret synced, horizon=10000000000000000000s"),
        condition("Healthy", "VaultStaticSecretHealthy"),
    ]}});
    scene
        .resources(Kind::Static)
        .patch_status(&canary, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let outcome = running.ended().await?;
    ensure!(matches!(outcome.code, Some(0 | 1 | 3)), "{outcome}");
    outcome.only_run()?;
    ensure!(!outcome.stderr.contains("panicked"), "{outcome}");
    Ok(())
}
