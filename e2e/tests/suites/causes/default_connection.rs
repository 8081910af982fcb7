//! A `VaultAuth` that names no `VaultConnection` means the default one of the operator's namespace: missing, dead, invalid
//! and well, by a canary of each kind.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Outcome, Probe, Scene, blames, eventually};
use serde_json::{Value, json};
use vso_prober::model::cause::Cause;
use vso_prober::model::{Step, Verdict};

/// The probes, one a kind, all of a `VaultAuth` that names no connection.
const PROBES: [&str; 3] = ["default-static", "default-dynamic", "default-pki"];

/// How long the operator may take to let the connection go.
const PATIENCE: Duration = Duration::from_secs(30);

/// The default connection, which this holds.
fn connection(spec: &Value) -> Value {
    json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
        "metadata": {"name": "default", "namespace": OPERATOR_NAMESPACE}, "spec": spec,
    })
}

/// Runs a probe of each kind, given up after so long, with a default connection or without one.
async fn run(
    scene: &Scene,
    spec: Option<Value>,
    exit: i32,
    (within, timeout): (&str, &str),
) -> Result<Outcome> {
    // Written out both ways, it means the same.
    for (name, reference) in [("unnamed", json!(null)), ("empty", json!(""))] {
        let spec = json!({"vaultConnectionRef": reference});
        scene.vault_auth(NAMESPACE, name, spec).await?;
    }
    if let Some(spec) = &spec {
        scene.apply(connection(spec)).await?;
        // What the operator says of it comes only after it has tried, several times where nobody answers.
        let said = format!(
            "kubectl -n {OPERATOR_NAMESPACE} get vaultconnection default -o 'jsonpath={{.status.valid}}'"
        );
        eventually("word on the connection", PATIENCE, async || {
            let valid = scene.shell(&said).await?;
            Ok((!valid.trim().is_empty()).then_some(()))
        })
        .await?;
    }
    let [first, second, third] = PROBES;
    let probes = [
        Probe::kv2(first)
            .auth("unnamed")
            .steps(&[Step::Create, Step::Delete]),
        Probe::database(second).auth("empty"),
        Probe::pki(third).auth("unnamed"),
    ];
    let probes = probes.map(|probe| probe.limits(within, timeout));
    let ran = scene.prober(probes).probe(&["--parallel", "3"]).await;
    if let Some(spec) = &spec {
        // The operator has a finalizer on it: it is gone once there is nothing left to delete.
        eventually("end of the connection", PATIENCE, async || {
            Ok(scene.remove(connection(spec)).await.is_err().then_some(()))
        })
        .await?;
    }
    ran?.exits(exit)
}

/// Insists that every kind is given this cause.
fn all_blame(outcome: &Outcome, cause: Cause, word: &str) -> Result<()> {
    for name in PROBES {
        let run = outcome.run_of(name)?;
        blames(&run, Step::Create, cause)?;
        let mut evidence = run.steps.iter().flat_map(|step| &step.evidence);
        ensure!(
            evidence.any(|piece| piece.text.contains(word)),
            "no evidence says `{word}`: {run:#?}"
        );
    }
    Ok(())
}

pub(super) async fn missing(scene: &Scene) -> Result<()> {
    let outcome = run(scene, None, 1, ("3s", "4s")).await?;
    let word = format!("VaultConnection `{OPERATOR_NAMESPACE}/default` does not exist");
    all_blame(&outcome, Cause::AuthRefInvalid, &word)
}

pub(super) async fn dead(scene: &Scene) -> Result<()> {
    let spec = json!({"address": "http://127.0.0.1:9"});
    // Vault's own client tries thrice before it gives up.
    let outcome = run(scene, Some(spec), 1, ("7s", "8s")).await?;
    all_blame(&outcome, Cause::VaultUnreachable, "")
}

pub(super) async fn invalid(scene: &Scene) -> Result<()> {
    let address = scene.lab().vault().address();
    let spec = json!({"address": address.replace("http://", "https://")});
    let outcome = run(scene, Some(spec), 1, ("7s", "8s")).await?;
    all_blame(&outcome, Cause::AuthRefInvalid, "")
}

pub(super) async fn well(scene: &Scene) -> Result<()> {
    let spec = json!({"address": scene.lab().vault().address()});
    let outcome = run(scene, Some(spec), 0, ("19s", "20s")).await?;
    for name in PROBES {
        let run = outcome.run_of(name)?;
        ensure!(run.result == Verdict::Success, "{run:#?}");
    }
    Ok(())
}
