//! `VaultConnection` and `VaultAuth`: which is really checked.

use anyhow::{Result, ensure};
use serde_json::json;

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
