//! The checks of `VaultConnection` and `VaultAuth`.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::Bench;
use crate::canary::{Canary, conditions, until};
use crate::exposition::scrape;
use e2e::lab::NAMESPACE;

pub(crate) async fn a_connection_is_checked(bench: Bench) -> Result<()> {
    let good = Canary::connection(&bench, "good").await?;
    let address = bench.lab.vault().address().to_owned();
    good.create(json!({"address": address})).await?;
    let ping = good
        .see_condition("VaultPing", true, "Vault ping, address=", 20.0)
        .await?;
    ensure!(
        (ping.message, ping.reason.as_str())
            == (format!("Vault ping, address={address}"), "Accepted")
    );
    let types: Vec<String> = conditions(&good.get().await?)
        .into_iter()
        .map(|c| c.type_)
        .collect();
    ensure!(
        types == ["VaultPing", "ResourceValidation", "Healthy", "Ready"],
        "{types:?}"
    );
    let told = good
        .see_event("Accepted", "VaultConnection accepted", 5.0)
        .await?;
    ensure!(told.source == "VaultConnection" && !told.warning);
    let bad = Canary::connection(&bench, "bad").await?;
    bad.create(json!({"address": "http://127.0.0.1:9"})).await?;
    let refused = "Get \"http://127.0.0.1:9/v1/sys/seal-status\": dial tcp 127.0.0.1:9: connect: connection refused";
    let ping = bad
        .see_condition("VaultPing", false, "Vault ping failed", 30.0)
        .await?;
    ensure!(
        ping.message == format!("Vault ping failed, address=http://127.0.0.1:9, errs={refused}"),
        "{ping:?}"
    );
    let whole = bad
        .see_condition(
            "ResourceValidation",
            false,
            "Failed to validate resource",
            5.0,
        )
        .await?;
    let expected = format!(
        "Failed to validate resource, address=http://127.0.0.1:9, errs={refused}\ninvalid VaultConnection {NAMESPACE}/{}",
        bad.name
    );
    ensure!(
        whole.message == expected && whole.reason == "InvalidConfiguration",
        "{whole:?}"
    );
    bad.see_event(
        "VaultClientError",
        &format!("Failed to check Vault seal status: {refused}"),
        5.0,
    )
    .await?;
    bad.see_event("InvalidConfiguration", "VaultConnection invalid", 5.0)
        .await?;
    for (canary, value) in [(&good, 1.0), (&bad, 0.0)] {
        let labels = [("controller", "vaultconnection"), ("name", &canary.name)];
        until("the resource's status in the metrics", 5.0, async || {
            Ok((scrape(&bench.lab)
                .await?
                .sum("controller_resource_status", &labels)
                == Some(value))
            .then_some(()))
        })
        .await?;
        canary.delete().await?;
    }
    Ok(())
}

pub(crate) async fn an_auth_is_healthy_whatever_it_says(bench: Bench) -> Result<()> {
    let auth = Canary::auth(&bench, "nonsense").await?;
    auth.create(
        json!({"vaultConnectionRef": "probe", "method": "kubernetes", "mount": "nowhere",
        "kubernetes": {"role": "nope", "serviceAccount": "ghost", "audiences": ["nobody"]}}),
    )
    .await?;
    let healthy = auth
        .see_condition("Healthy", true, "VaultAuthHealthy", 60.0)
        .await?;
    ensure!(healthy.reason == "Healthy");
    ensure!(auth.get().await?["status"]["valid"] == true);
    let told = auth
        .see_event(
            "Accepted",
            "Successfully handled VaultAuth resource request",
            5.0,
        )
        .await?;
    ensure!(
        told.source == "VaultAuth" && !told.warning && told.count == 1,
        "{told:?}"
    );
    let finalized = async || {
        Ok(auth.get().await?["metadata"]["finalizers"]
            .is_array()
            .then_some(()))
    };
    until("the finalizer", 3.0, finalized).await?;
    ensure!(
        auth.get().await?["metadata"]["finalizers"]
            == json!(["vaultauth.secrets.hashicorp.com/finalizer"])
    );
    auth.delete().await?;
    auth.see("its end", 20.0, |s| s.what == "CR" && s.verb == "DELETED")
        .await?;
    Ok(())
}

async fn auth_with(bench: &Bench, role: &str) -> Result<Canary> {
    let auth = Canary::auth(bench, "own").await?;
    auth.create(
        json!({"vaultConnectionRef": "probe", "method": "kubernetes", "mount": "kubernetes",
        "kubernetes": {"role": role, "serviceAccount": "probe", "audiences": ["vault"]}}),
    )
    .await?;
    Ok(auth)
}

async fn users(bench: &Bench, auth: &Canary) -> Result<(Canary, Canary)> {
    let (fixed, dynamic) = (
        Canary::fixed(bench, "user").await?,
        Canary::dynamic(bench, "user").await?,
    );
    fixed.put("one").await?;
    let mut specs = [
        fixed.canonical_static("300s"),
        dynamic.canonical_dynamic("probe"),
    ];
    for spec in &mut specs {
        spec["vaultAuthRef"] = json!(auth.name);
    }
    let [of_fixed, of_dynamic] = specs;
    fixed.create(of_fixed).await?;
    dynamic.create(of_dynamic).await?;
    fixed
        .see_condition("SecretSynced", true, "Secret synced", 15.0)
        .await?;
    dynamic
        .see_condition("SecretSynced", true, "Secret synced", 15.0)
        .await?;
    Ok((fixed, dynamic))
}

pub(crate) async fn a_changed_auth_wakes_its_users(bench: Bench) -> Result<()> {
    let auth = auth_with(&bench, "probe").await?;
    let (fixed, dynamic) = users(&bench, &auth).await?;
    sleep(Duration::from_secs(2)).await;
    let meta = async |canary: &Canary| {
        Ok::<_, anyhow::Error>(canary.get().await?["status"]["vaultClientMeta"].clone())
    };
    let (of_fixed, of_dynamic) = (meta(&fixed).await?, meta(&dynamic).await?);
    ensure!(
        of_fixed == of_dynamic,
        "both use one client: {of_fixed} {of_dynamic}"
    );
    auth.patch(json!({"spec": {"kubernetes": {"tokenExpirationSeconds": 700}}}))
        .await?;
    // Another case's auth may keep the only worker for half a minute.
    for (canary, before) in [(&fixed, &of_fixed), (&dynamic, &of_dynamic)] {
        until("another client", 45.0, async || {
            let now = meta(canary).await?;
            Ok((now["cacheKey"] != before["cacheKey"] && now["id"] != before["id"]).then_some(()))
        })
        .await?;
    }
    dynamic
        .see_event("SecretRotated", "sync_reason=\"ForceSync\"", 5.0)
        .await?;
    let writes = fixed.seen().iter().filter(|s| s.what == "Secret").count();
    ensure!(
        writes == 1,
        "the static one is not written again: {:?}",
        fixed.summary()
    );
    auth.delete().await
}

pub(crate) async fn a_tokens_end_reissues_dynamic_secrets(bench: Bench) -> Result<()> {
    let role = format!("brief-{:08x}", rand::random::<u32>());
    let body = json!({"bound_service_account_names": ["probe"], "bound_service_account_namespaces": [NAMESPACE],
        "audience": "vault", "token_policies": ["vso"], "token_ttl": "6s", "token_max_ttl": "12s"});
    bench
        .lab
        .vault()
        .write(&format!("auth/kubernetes/role/{role}"), body)
        .await?;
    let auth = auth_with(&bench, &role).await?;
    let (fixed, dynamic) = users(&bench, &auth).await?;
    let began = Instant::now();
    let before = fixed.get().await?["status"]["vaultClientMeta"]["id"].clone();
    let told = dynamic
        .see_event("SecretRotated", "sync_reason=\"ForceSync\"", 16.0)
        .await?;
    let took = began.elapsed().as_secs_f64();
    ensure!((6.0..14.0).contains(&took), "{took} {told:?}");
    until("another client", 3.0, async || {
        Ok((fixed.get().await?["status"]["vaultClientMeta"]["id"] != before).then_some(()))
    })
    .await?;
    for canary in [&fixed, &dynamic, &auth] {
        canary.delete().await?;
    }
    Ok(())
}
