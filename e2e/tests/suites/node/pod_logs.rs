//! A trial of Vault's audit log as a Pod writes it to stdout: nothing is lost over the container's restart and the prober's.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::Vault;
use e2e::scenario::{ATTACKER, Probe, Scene, Server, eventually};
use serde_json::{Value, json};
use vso_prober::model::Step;

use super::cluster::{PATIENCE, node};
use crate::audit_impostor::{auditor, findings};

/// A namespace whose Pods may have what is the node's.
const NAMESPACE: &str = "vault-stdout";
/// Prints each line of the log that it has not printed yet, whenever it starts, with what Vault itself would print between.
const SCRIPT: &str = r#"
echo '==> Vault server started! Log data will stream in below:'
done=$(cat /audit/done)
tail -n +$((done + 1)) -F /audit/vault-audit.log | while read -r line; do
  printf '%s\n' "$line"
  done=$((done + 1)); echo $done >/audit/done
done
"#;

pub(crate) async fn followed(scene: &Scene) -> Result<()> {
    node(scene)?;
    writer(scene).await?;
    let probe = Probe::kv2("stdout")
        .steps(&[Step::Create, Step::Delete])
        .limits("10s", "20s")
        .every("2s");
    let state = scene.path("state");
    let prober = auditor(scene, [probe], &state).await?.edit(|config| {
        let audit = &mut config["audit"];
        audit["sources"] = json!([{
            "name": "stdout", "podLogs": {"namespace": NAMESPACE, "selector": "app=vault", "container": "vault"},
        }]);
        audit["decoys"] = json!([{"mount": "kvv2", "path": "vso-prober/decoy"}]);
    });
    let server = prober.serve(&[]).await?;
    up(&server).await?;
    let thief = scene.lab().vault().from(ATTACKER)?.with_token("");
    steals(&server, &thief, 1).await?;

    // The container begins anew while lines are written.
    scene
        .shell("pkill -KILL -f 'tail -n [^ ]* -F /audit/vault-audit.log'")
        .await?;
    steals(&server, &thief, 2).await?;
    again(scene).await?;

    server.signal(rustix::process::Signal::KILL)?;
    server.ended().await?;
    asks(&thief).await?;
    let server = prober.serve(&[]).await?;
    up(&server).await?;
    counted(&server, 3).await?;
    let gaps = "vso_audit_gaps_total{source=\"stdout\",reason=\"vanished\"}";
    ensure!(server.metric(gaps).await? == Some(0.0), "there was a gap");
    let torn = "vso_audit_lines_total{source=\"stdout\",result=\"torn\"}";
    ensure!(
        server.metric(torn).await? == Some(0.0),
        "what Vault prints was taken for a line"
    );
    server.stop().await?;
    let end = format!("kubectl delete namespace {NAMESPACE} --wait=true");
    scene.shell(&end).await?;
    let vault = scene.lab().vault();
    vault.delete("kvv2/metadata/vso-prober/decoy").await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// Waits until the log of the Pod is read, and the prober's own line has come with it.
async fn up(server: &Server) -> Result<()> {
    eventually("source that is up", PATIENCE, async || {
        let Ok(told) = server.json("/api/v1/audit/sources").await else {
            return Ok(None);
        };
        let sources = told["sources"].as_array().context("sources")?;
        let up = |source: &Value| {
            source["name"] == "stdout"
                && source["up"] == true
                && source["clock_error_seconds"].is_number()
        };
        Ok(sources.iter().any(up).then_some(()))
    })
    .await
}

/// Somebody without a token asks for the decoy.
async fn asks(thief: &Vault) -> Result<()> {
    let refused = thief.read("kvv2/data/vso-prober/decoy").await;
    ensure!(refused.is_err(), "nobody may read without a token");
    Ok(())
}

/// The thief asks, and has been found to so many times.
async fn steals(server: &Server, thief: &Vault, times: u64) -> Result<()> {
    asks(thief).await?;
    counted(server, times).await
}

async fn counted(server: &Server, times: u64) -> Result<()> {
    let what = format!("finding of {times} requests");
    eventually(&what, PATIENCE, async || {
        let found = findings(server, "?rule=honey").await?;
        let count = |found: &Value| found["count"].as_u64();
        let counts: Vec<_> = found.iter().filter_map(count).collect();
        Ok((counts == [times]).then_some(()))
    })
    .await
}

/// A Pod that stands for Vault's: it prints what Vault writes to its audit log from now on.
async fn writer(scene: &Scene) -> Result<()> {
    let folder = scene
        .lab()
        .vault_audit_file()
        .parent()
        .context("a folder")?;
    let lines = fs::read_to_string(scene.lab().vault_audit_file())?;
    let lines = lines.lines().count();
    fs::write(folder.join("done"), lines.to_string())?;
    let host = |name: &str, path: &str| json!({"name": name, "hostPath": {"path": path}});
    let folders = [
        ("bin", "/bin"),
        ("lib", "/lib"),
        ("lib64", "/lib64"),
        ("usr", "/usr"),
    ];
    let mut volumes = vec![host("audit", &folder.display().to_string())];
    let mut mounts = vec![json!({"name": "audit", "mountPath": "/audit"})];
    for (name, path) in folders {
        volumes.push(host(name, path));
        mounts.push(json!({"name": name, "mountPath": path, "readOnly": true}));
    }
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "vault-0", "namespace": NAMESPACE, "labels": {"app": "vault"}},
        "spec": {
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "volumes": volumes,
            "containers": [{
                "name": "vault", "image": e2e::lab::PAUSE, "imagePullPolicy": "Never",
                "command": ["/bin/sh", "-c", SCRIPT], "volumeMounts": mounts,
                "securityContext": {"runAsUser": 0},
            }],
        },
    });
    scene
        .shell(&format!("kubectl create namespace {NAMESPACE}"))
        .await?;
    scene
        .kubectl(&["apply", "--filename", "-"], &pod.to_string())
        .await?;
    let ready =
        format!("kubectl -n {NAMESPACE} wait --for=condition=Ready --timeout=60s pod/vault-0");
    scene.shell(&ready).await.map(drop)
}

/// Waits until the container has begun anew.
async fn again(scene: &Scene) -> Result<()> {
    let restarts = format!(
        "kubectl -n {NAMESPACE} get pod vault-0 -o jsonpath='{{.status.containerStatuses[0].restartCount}}'"
    );
    eventually(
        "restart of the container",
        Duration::from_secs(60),
        async || Ok((scene.shell(&restarts).await?.trim() == "1").then_some(())),
    )
    .await
}
