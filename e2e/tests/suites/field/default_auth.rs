//! The operator's default VaultAuth.

use anyhow::{Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Probe, Scene};
use serde_json::{Value, json};
use vso_prober::model::Step;

/// Without `authRef` the operator's default VaultAuth is meant, which any namespace may use.
pub(super) async fn is_meant(scene: &Scene) -> Result<()> {
    let spec = json!({
        "vaultConnectionRef": format!("{NAMESPACE}/probe"), "allowedNamespaces": null,
    });
    scene
        .vault_auth(OPERATOR_NAMESPACE, "default", spec)
        .await?;
    let steps = [Step::Create, Step::Update, Step::Delete];
    let probe = Probe::kv2("by-default")
        .target("authRef", Value::Null)
        .steps(&steps);
    let prober = scene.prober([probe]);
    let checked = prober.run(&["config", "check"]).await?;
    let outcome = prober.probe(&[]).await;
    // The lab's prober may not look there.
    let admin = scene.lab().kubeconfig().display().to_string();
    let told = prober.run(&["doctor", "--kubeconfig", &admin]).await;
    let auth = json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuth",
        "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE},
    });
    scene.remove(auth).await?;
    checked.exits(0)?;
    outcome?.exits(0)?;
    let told = told?.exits(0)?;
    ensure!(told.stdout.contains("/default"), "{told}");
    Ok(())
}
