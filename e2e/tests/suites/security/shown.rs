//! Text that others wrote, on its way to a person's terminal.

use anyhow::{Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Probe, Scene};
use kube::ResourceExt as _;
use serde_json::json;
use vso_prober::model::{Kind, Step};

/// An event in the operator's name about a canary that stays without a Secret: its text reaches the table, and
/// what steers a terminal in it does not.
pub(super) async fn escapes(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"hang": true})).await?;
    let probe = Probe::hasty("shown", &[Step::Create, Step::Delete]);
    let prober = scene.prober([probe]);
    let running = prober.start(&["probe", "-o", "table"])?;
    let canary = scene.canary(Kind::Static, "shown").await?.name_any();
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": "steers", "namespace": NAMESPACE},
            "involvedObject": {
                "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
                "namespace": NAMESPACE, "name": canary,
            },
            "type": "Warning", "reason": "VaultClientError",
            "message": "\u{1b}]0;OWNED\u{7}\u{1b}[2Jempty response from Vault\r\nforged\u{202e}line",
            "source": {"component": "VaultStaticSecret"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2036-01-01T00:00:00Z",
            "count": 1,
        }))
        .await?;
    let outcome = running.ended().await?;
    ensure!(outcome.stdout.contains("OWNED"), "{outcome}");
    ensure!(
        !outcome
            .stdout
            .contains(['\u{1b}', '\u{7}', '\u{202e}', '\r']),
        "{:?}",
        outcome.stdout
    );
    ensure!(!outcome.stderr.contains('\u{1b}'), "{:?}", outcome.stderr);
    ensure!(
        !outcome
            .stdout
            .lines()
            .any(|line| line.starts_with("forged")),
        "{outcome}"
    );
    Ok(())
}
