//! A second operator in the cluster.

use anyhow::{Result, ensure};
use e2e::scenario::{Probe, Scene};
use jiff::Timestamp;
use serde_json::{Value, json};
use vso_prober::operator::LEADER_LEASE;

/// Where the second one runs.
const ELSEWHERE: &str = "other-operator";

fn namespace() -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ELSEWHERE}})
}

/// The second one's Lease, held now.
fn lease() -> Value {
    let now = Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.6fZ");
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": LEADER_LEASE, "namespace": ELSEWHERE},
        "spec": {
            "holderIdentity": "second-0_8d3e1f2c", "leaseDurationSeconds": 3600, "renewTime": now.to_string(),
        },
    })
}

/// `doctor` names the second one where it may look, and says where it may not.
pub(super) async fn named(scene: &Scene) -> Result<()> {
    scene.apply(namespace()).await?;
    scene.apply(lease()).await?;
    let prober = scene.prober([Probe::kv2("alone")]);
    let narrow = prober.run(&["doctor"]).await;
    let admin = scene.lab().kubeconfig().display().to_string();
    let broad = ["doctor", "--kubeconfig", &admin];
    let told = prober.run(&broad).await;
    scene.remove(lease()).await?;
    let alone = prober.run(&broad).await;
    let narrow = narrow?.exits(0)?;
    ensure!(narrow.stdout.contains("in all namespaces"), "{narrow}");
    let told = told?.exits(1)?;
    for words in [ELSEWHERE, "second-0", "uninstall"] {
        ensure!(told.stdout.contains(words), "{words}: {told}");
    }
    let alone = alone?.exits(0)?;
    ensure!(alone.stdout.contains("no other operator"), "{alone}");
    Ok(())
}
