//! The prober's token: revoked in Vault, not renewable, or of the kind that Vault does not store.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::lab::PROBER;
use e2e::scenario::{Probe, Prober, Proxy, Scene};
use serde_json::{Value, json};
use vso_prober::model::{Step, Verdict};

/// How often each of Vault's paths was asked.
#[derive(Clone, Default)]
struct Asked {
    logins: Arc<AtomicUsize>,
    renewals: Arc<AtomicUsize>,
    revocations: Arc<AtomicUsize>,
}

impl Asked {
    async fn counting(&self, address: &str) -> Result<Proxy> {
        let counts = self.clone();
        Proxy::taught(address, move |request| {
            let path = request.uri.path();
            let count = if path.ends_with("/login") {
                &counts.logins
            } else if path.ends_with("token/renew-self") {
                &counts.renewals
            } else if path.ends_with("token/revoke-self") {
                &counts.revocations
            } else {
                return None;
            };
            count.fetch_add(1, Ordering::Relaxed);
            None
        })
        .await
    }
}

/// Logs in by an AppRole of its own, of this name, with these settings.
async fn by_role(scene: &Scene, prober: Prober, name: &str, settings: Value) -> Result<Prober> {
    let vault = scene.lab().vault();
    let role = format!("auth/approle/role/{name}");
    vault.write(&role, settings).await?;
    let field = |answer: Value, key: &str| -> Result<String> {
        let value = answer["data"][key].as_str().map(str::to_owned);
        value.with_context(|| format!("no `{key}`"))
    };
    let role_id = field(vault.read(&format!("{role}/role-id")).await?, "role_id")?;
    let made = vault.write(&format!("{role}/secret-id"), json!({})).await?;
    let secret_id = field(made, "secret_id")?;
    Ok(prober.auth(json!({"appRole": {
        "mount": "approle", "roleIdFile": scene.file(&role_id)?, "secretIdFile": scene.file(&secret_id)?,
    }})))
}

/// After all of its logins were revoked in Vault, the next run of each kind is good.
pub(super) async fn revoked(scene: &Scene) -> Result<()> {
    let static_probe = Probe::kv2("fixed").steps(&[Step::Create, Step::Delete]);
    let probes = [static_probe, Probe::database("lent"), Probe::pki("signed")];
    let prober = scene.prober(probes.map(|probe| probe.every("1h")));
    let (role_id, secret_id) = scene.lab().approle_files();
    let auth =
        json!({"appRole": {"mount": "approle", "roleIdFile": role_id, "secretIdFile": secret_id}});
    let server = prober.auth(auth).serve(&["--web.enable-lifecycle"]).await?;
    let good = async |name: &str| -> Result<()> {
        let run = server.run_now(name).await?;
        ensure!(run.result == Verdict::Success, "{run:#?}");
        Ok(())
    };
    good("fixed").await?;
    for name in ["fixed", "lent", "signed"] {
        // A younger token is not taken for dead.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let all = "sys/leases/revoke-prefix/auth/approle/login";
        scene.lab().vault().write(all, json!({})).await?;
        good(name).await?;
    }
    server.stop().await.map(drop)
}

/// A token whose policy lets it not renew itself is replaced in time; it is asked for once a token, not at each request.
pub(super) async fn not_renewable(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let policy = vault.read(&format!("sys/policies/acl/{PROBER}")).await?;
    let policy = policy["data"]["policy"].as_str().context("no policy")?;
    let kept: Vec<_> = policy
        .lines()
        .filter(|line| !line.contains("renew-self"))
        .collect();
    let written = json!({"policy": kept.join("\n")});
    vault
        .write("sys/policies/acl/not-renewable", written)
        .await?;
    let asked = Asked::default();
    let proxy = asked.counting(vault.address()).await?;
    let probe = Probe::kv2("held").steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([probe.every("1s")]).vault(&proxy.address());
    let settings = json!({
        "token_policies": ["not-renewable"], "token_no_default_policy": true, "token_ttl": "12s",
    });
    let prober = by_role(scene, prober, "not-renewable", settings).await?;
    let server = prober.serve(&[]).await?;
    tokio::time::sleep(Duration::from_secs(22)).await;
    let runs = server.runs().await?;
    let outcome = server.stop().await?;
    ensure!(runs.len() > 4, "{} runs", runs.len());
    ensure!(
        runs.iter().all(|run| run.result == Verdict::Success),
        "{runs:#?}"
    );
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    let (logins, renewals) = (count(&asked.logins), count(&asked.renewals));
    ensure!(
        (2..=5).contains(&logins) && renewals <= logins,
        "{logins} logins, {renewals} renewals: {outcome}"
    );
    let warned = outcome.stderr.matches("may not renew itself").count();
    ensure!(
        (1..=logins).contains(&warned),
        "{warned} warnings: {outcome}"
    );
    Ok(())
}

/// A batch token is neither renewed nor revoked, and nobody warns of that.
pub(super) async fn batch(scene: &Scene) -> Result<()> {
    let asked = Asked::default();
    let proxy = asked.counting(scene.lab().vault().address()).await?;
    let probe = Probe::kv2("batch").steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([probe]).vault(&proxy.address());
    let settings = json!({"token_policies": [PROBER], "token_type": "batch", "token_ttl": "20m"});
    let prober = by_role(scene, prober, "batch", settings).await?;
    prober.probe(&[]).await?.exits(0)?;
    let told = prober.run(&["doctor"]).await?.exits(0)?;
    ensure!(!told.stdout.contains("can't be renewed"), "{told}");
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    ensure!(
        count(&asked.logins) == 2 && count(&asked.renewals) == 0 && count(&asked.revocations) == 0,
        "{told}"
    );
    Ok(())
}
