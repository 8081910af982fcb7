//! A shell loop around kubectl that polls, as a team would script it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::lab::{Lab, NAMESPACE, Tools};
use tokio::process::Command;

use crate::Measured;

/// What a team would script: apply, then ask every 50 ms until the Secret is there.
const SHELL_LOOP: &str = r#"
start=$(date +%s%N)
kubectl create -f "$1" >/dev/null || exit 1
until kubectl get secret "$2" >/dev/null 2>&1; do sleep 0.05; done
echo $(( $(date +%s%N) - start ))
"#;

/// Runs the shell loop; by resource, the time that it claims.
pub(crate) async fn measure(lab: &Lab, count: u32) -> Result<Measured> {
    lab.vault()
        .write(
            "kvv2/data/vso-prober/shell",
            serde_json::json!({ "data": { "nonce": "shell" } }),
        )
        .await?;
    let kubectl = Tools::find()?.kubectl()?;
    let folder = kubectl.parent().context("kubectl lies in a folder")?;
    let path = format!(
        "{}:{}",
        folder.display(),
        std::env::var("PATH").unwrap_or_default()
    );
    let mut measured = BTreeMap::new();
    for number in 0..count {
        let name = format!("shell-{number}");
        let manifest = manifest(lab.folder(), &name)?;
        let output = Command::new("sh")
            .args(["-c", SHELL_LOOP, "sh"])
            .arg(&manifest)
            .arg(&name)
            .env("PATH", &path)
            .env("KUBECONFIG", lab.prober_kubeconfig())
            .output()
            .await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let nanoseconds: f64 = text.trim().parse().with_context(|| {
            format!(
                "the shell loop failed: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        measured.insert(name, nanoseconds / 1e9);
    }
    Ok(measured)
}

/// Writes the resource for one turn of the shell loop, as most people write it but for what would
/// make the operator reconcile it twice.
fn manifest(folder: &Path, name: &str) -> Result<PathBuf> {
    let file = folder.join("shell.json");
    let resource = serde_json::json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1",
        "kind": "VaultStaticSecret",
        "metadata": { "name": name, "namespace": NAMESPACE },
        "spec": {
            "vaultAuthRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": "vso-prober/shell",
            "refreshAfter": "1h",
            "destination": { "name": name, "create": true, "overwrite": false, "transformation": {} },
        },
    });
    std::fs::write(&file, resource.to_string())?;
    Ok(file)
}
