//! Faults and habits of others, none of which may be laid to the operator, and a fault of its own over a long link.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Outcome, Probe, Relay, Scene, Suite, blames, eventually, step};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use vso_prober::model::cause::Cause;
use vso_prober::model::{Step, Verdict};

/// One way of the long link.
const WAYS: [Duration; 2] = [Duration::from_millis(60), Duration::from_millis(125)];
/// More issuers than a mount has in years of rotation.
const ISSUERS: usize = 24;

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("innocent")
        .trial("others_annotate", others_annotate)
        .trial("others_delete_the_secret", others_delete)
        .trial("others_hold_the_secret", others_hold)
        .trial("a_quota_of_vaults", quota_of_vaults)
        .trial("a_path_to_be_written_to", written_to)
        .trial("a_ca_secret_that_is_absent", ca_absent)
        .trial("a_mount_with_many_issuers", many_issuers)
        .fault("late_stays_late_over_a_long_link", long_link)
}

/// A run that takes some seconds, between whose first two steps others have their way with the Secret.
async fn meddled<F>(scene: &Scene, name: &str, meddle: impl FnOnce(Secret) -> F) -> Result<Outcome>
where
    F: Future<Output = Result<()>>,
{
    let probe = Probe::kv2(name)
        .target("refreshAfter", "5s")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .limits("4s", "8s");
    let running = scene.prober([probe]).start(&["probe", "-o", "json"])?;
    let secret = scene.secret(name).await?;
    meddle(secret).await?;
    running.ended().await
}

async fn others_annotate(scene: &Scene) -> Result<()> {
    let secrets = scene.secrets();
    let outcome = meddled(scene, "annotated", async |secret| {
        for key in ["first", "second", "third"] {
            let patch = Patch::Merge(json!({"metadata": {"annotations": {key: "1"}}}));
            let params = PatchParams {
                field_manager: Some("replicator".to_owned()),
                ..PatchParams::default()
            };
            secrets.patch(&secret.name_any(), &params, &patch).await?;
            // The managers' times are whole seconds.
            tokio::time::sleep(Duration::from_millis(1100)).await;
        }
        Ok(())
    });
    let run = outcome.await?.exits(0)?.only_run()?;
    ensure!(run.result == Verdict::Success, "{run:#?}");
    ensure!(run.secret_writes <= 3, "{run:#?}");
    Ok(())
}

async fn others_delete(scene: &Scene) -> Result<()> {
    let secrets = scene.secrets();
    let outcome = meddled(scene, "pruned", async |secret| {
        let name = secret.name_any();
        secrets.delete(&name, &DeleteParams::default()).await?;
        Ok(())
    });
    let run = outcome.await?.exits(0)?.only_run()?;
    ensure!(run.result == Verdict::Success, "{run:#?}");
    Ok(())
}

async fn others_hold(scene: &Scene) -> Result<()> {
    let secrets = scene.secrets();
    let mut held = None;
    let outcome = meddled(scene, "held", async |secret| {
        let name = secret.name_any();
        let patch = Patch::Merge(json!({"metadata": {"finalizers": ["example.com/hold"]}}));
        secrets
            .patch(&name, &PatchParams::default(), &patch)
            .await?;
        held = Some(name);
        Ok(())
    });
    let run = outcome.await?.exits(3)?.only_run()?;
    let name = held.context("it was not held")?;
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    secrets
        .patch(&name, &PatchParams::default(), &patch)
        .await?;
    blames(&run, Step::Delete, Cause::CanaryRemoved)?;
    let told = &step(&run, Step::Delete)?.evidence[0].text;
    ensure!(told.contains("example.com/hold"), "{told}");
    eventually("end of the Secret", Duration::from_secs(10), async || {
        Ok(secrets.get_opt(&name).await?.is_none().then_some(()))
    })
    .await
}

async fn quota_of_vaults(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let quota = json!({"path": "database", "rate": 0.02, "interval": "60s"});
    vault.write("sys/quotas/rate-limit/scenario", quota).await?;
    let probe = Probe::database("limited")
        .steps(&[Step::Create])
        .limits("3s", "8s");
    // The first requests may be what uses it up.
    let mut found = None;
    for _ in 0..4 {
        let outcome = scene.prober([probe.clone()]).probe(&[]).await?;
        let run = outcome.only_run()?;
        if run.result != Verdict::Success {
            found = Some(run);
            break;
        }
    }
    vault.delete("sys/quotas/rate-limit/scenario").await?;
    let run = found.context("it was never refused")?;
    let decisive = run.decisive().context("it has a verdict")?;
    ensure!(decisive.cause == Some(Cause::VaultLimited), "{run:#?}");
    let prober = scene.prober([probe]);
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn written_to(scene: &Scene) -> Result<()> {
    let probe = Probe::database("written")
        .target("mount", "pki")
        .target("path", "issue/probe")
        .auth("wide")
        .steps(&[Step::Create])
        .limits("3s", "4s");
    grant_all(scene).await?;
    let outcome = scene.prober([probe]).probe(&[]).await?.exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::VaultRejected)
}

/// A VaultAuth `wide` by which the operator may do all in Vault.
async fn grant_all(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let policy = "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"list\"] }";
    vault
        .write("sys/policies/acl/everything", json!({"policy": policy}))
        .await?;
    let role = json!({
        "bound_service_account_names": ["probe"], "bound_service_account_namespaces": [NAMESPACE],
        "audience": "vault", "token_policies": ["everything"], "token_ttl": "1h",
    });
    vault.write("auth/kubernetes/role/everything", role).await?;
    let spec = json!({"kubernetes": {"role": "everything"}});
    scene.vault_auth(NAMESPACE, "wide", spec).await
}

async fn ca_absent(scene: &Scene) -> Result<()> {
    let address = scene.lab().vault().address();
    let spec =
        json!({"address": address.replace("http://", "https://"), "caCertSecretRef": "absent-ca"});
    apply(scene, "VaultConnection", "without-ca", spec).await?;
    let auth = json!({"vaultConnectionRef": "without-ca"});
    scene.vault_auth(NAMESPACE, "without-ca", auth).await?;
    let probe = Probe::hasty("without-ca", &[Step::Create]).auth("without-ca");
    let outcome = scene.prober([probe]).probe(&[]).await?.exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::AuthRefInvalid)?;
    names(&run.steps[0].evidence, "absent-ca")
}

async fn apply(scene: &Scene, kind: &str, name: &str, spec: Value) -> Result<()> {
    scene
        .apply(json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": kind,
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec,
        }))
        .await
}

fn names(evidence: &[vso_prober::model::cause::Evidence], word: &str) -> Result<()> {
    let named = evidence.iter().any(|piece| piece.text.contains(word));
    ensure!(named, "`{word}` is not named: {evidence:#?}");
    Ok(())
}

/// The default issuer of the mount is the last of many.
async fn many_issuers(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let before = vault.read("pki/config/issuers").await?;
    let mut last = Value::Null;
    for number in 0..ISSUERS {
        let root = json!({"common_name": format!("root {number}"), "ttl": "24h", "key_type": "ec", "issuer_name": format!("root-{number}")});
        let made = vault
            .write("pki/issuers/generate/root/internal", root)
            .await?;
        last = made["data"]["issuer_id"].clone();
    }
    vault
        .write("pki/config/issuers", json!({"default": last}))
        .await?;
    let probe = Probe::pki("issuers").steps(&[Step::Create, Step::Delete]);
    let outcome = scene.prober([probe]).probe(&[]).await;
    let default = before["data"]["default"].clone();
    vault
        .write("pki/config/issuers", json!({"default": default}))
        .await?;
    for number in 0..ISSUERS {
        vault.delete(&format!("pki/issuer/root-{number}")).await?;
    }
    outcome?.exits(0).map(drop)
}

/// The operator is slow to read at a poll, and the API server is far away: that is late, by as much as without the link.
async fn long_link(scene: &Scene) -> Result<()> {
    for one_way in WAYS {
        over_a_link(scene, one_way)
            .await
            .with_context(|| format!("{one_way:?}"))?;
        scene.lab().faults(&json!({})).await?;
    }
    Ok(())
}

async fn over_a_link(scene: &Scene, one_way: Duration) -> Result<()> {
    let server = scene.lab().api_server()?;
    let relay = Relay::far(&server, one_way).await?;
    let kubeconfig = scene.kubeconfig_by(&relay.address())?;
    let probe = |name: &str| {
        Probe::kv2(name)
            .target("refreshAfter", "5s")
            .steps(&[
                Step::Create,
                Step::Update,
                Step::Tamper,
                Step::Recreate,
                Step::Delete,
            ])
            .limits("2s", "8s")
    };
    let well = scene.prober([probe("far")]).kubeconfig(&kubeconfig);
    let run = well.probe(&[]).await?.exits(0)?.only_run()?;
    let create = step(&run, Step::Create)?;
    let sync = create.sync_seconds.context("its echo was seen")?;
    ensure!(
        create.latency_seconds - sync >= one_way.as_secs_f64(),
        "{create:#?}"
    );
    let bar = create
        .watch_delay_most_seconds
        .context("its echo was seen")?;
    ensure!(bar >= 2.0 * one_way.as_secs_f64(), "{create:#?}");

    let slow = json!({"slow": {"at": "read", "seconds": 4.0}});
    let late = scene.prober([probe("far-late")]).kubeconfig(&kubeconfig);
    let running = late.start(&["probe", "-o", "json"])?;
    scene.secret("far-late").await?;
    scene.lab().faults(&slow).await?;
    let run = running.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Update, Cause::TooSlow)
}
