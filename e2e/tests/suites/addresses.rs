//! Trials of other ways to Vault than from a Pod's one address of IPv4: the prober works, and of `serve` that judges Vault's audit log
//! honest work is never a confirmed finding.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{ATTACKER, Probe, Relay, Scene, Server, Suite, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use vso_prober::model::Step;

use crate::audit_impostor::{auditor, findings, knows_as};
use crate::audit_innocent::innocent;

/// Where a proxy is, and a tenant's Pod.
const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 7));
const TENANT: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 8));
/// In this time the Pods of others are looked at anew.
const LOOKED: Duration = Duration::from_secs(13);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("addresses")
        .listeners()
        .trial("vault_by_ipv6", vault_by_ipv6)
        .trial("behind_a_proxy", behind_a_proxy)
        .trial("proxy_protocol", proxy_protocol)
        .trial("ipv6", ipv6)
        .trial("a_workload_that_shares_the_account", shared_account)
}

/// Prober and operator reach Vault by IPv6.
async fn vault_by_ipv6(scene: &Scene) -> Result<()> {
    let address = scene.lab().vault().six()?;
    connection(scene, "by-six", &address).await?;
    let probe = Probe::kv2("six").auth("by-six");
    let prober = scene.prober([probe]).vault(&address);
    prober.probe(&[]).await?.exits(0)?;
    prober.run(&["doctor"]).await?.exits(0).map(drop)
}

/// A VaultAuth whose connection has this address.
pub(crate) async fn connection(scene: &Scene, name: &str, address: &str) -> Result<()> {
    scene
        .apply(json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
            "metadata": {"name": name, "namespace": NAMESPACE}, "spec": {"address": address},
        }))
        .await?;
    let auth = json!({"vaultConnectionRef": name});
    scene.vault_auth(NAMESPACE, name, auth).await
}

/// A server whose operator reaches Vault at `address`, once it is known as which address Vault sees it.
async fn by(scene: &Scene, name: &str, address: &str, mode: &str) -> Result<Server> {
    connection(scene, name, address).await?;
    let probe = Probe::kv2(name)
        .auth(name)
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .target("refreshAfter", "5s")
        .limits("20s", "30s")
        .every("2s");
    let prober = auditor(scene, [probe], &scene.path("state")).await?;
    let prober = prober.edit(|config| config["audit"]["trusted"] = json!([PROXY]));
    let server = prober.serve(&[]).await?;
    knows_as(&server, mode).await?;
    Ok(server)
}

/// Restarts the operator under the server's eyes, and insists that nothing was found.
async fn well(scene: &Scene, server: Server) -> Result<()> {
    scene.lab().stop_operator().await?;
    scene.lab().start_operator().await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    innocent(server).await
}

/// Vault sees the proxy, which is trusted: no address says anything.
async fn behind_a_proxy(scene: &Scene) -> Result<()> {
    let proxy = Relay::seen_from(scene.lab().vault().address(), PROXY).await?;
    let server = by(scene, "proxied", &proxy.address(), "proxy").await?;
    let told = server.json("/api/v1/audit/sources").await?;
    let off = told["sources"][0]["off"].to_string();
    ensure!(off.contains("address") && off.contains("moved"), "{told:#}");
    well(scene, server).await
}

/// The proxy says who is there, and Vault believes it.
async fn proxy_protocol(scene: &Scene) -> Result<()> {
    let proxy = Relay::proxy_protocol(&scene.lab().vault().proxied()?, PROXY).await?;
    let server = by(scene, "announced", &proxy.address(), "pod").await?;
    well(scene, server).await
}

/// A Pod of two stacks, that reaches Vault by its second address.
async fn ipv6(scene: &Scene) -> Result<()> {
    let server = by(scene, "six", &scene.lab().vault().six()?, "pod").await?;
    well(scene, server).await
}

/// A tenant's Pod logs in with the account that the operator takes too. From elsewhere, nobody may.
async fn shared_account(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let server = by(scene, "tenanted", vault.address(), "pod").await?;
    tenant(scene).await?;
    vault
        .write(
            "kvv2/data/vso-prober/app",
            json!({"data": {"key": "value"}}),
        )
        .await?;
    tokio::time::sleep(LOOKED).await;
    let read = async |from: IpAddr| {
        let tenant = scene.impostor(from).await?;
        tenant.read("kvv2/data/vso-prober/app").await.map(drop)
    };
    read(TENANT).await?;
    tokio::time::sleep(Duration::from_secs(6)).await;
    let found = findings(&server, "").await?;
    ensure!(found.is_empty(), "{found:#?}");
    read(ATTACKER).await?;
    let found = eventually("finding", Duration::from_secs(20), async || {
        let found = findings(&server, "?rule=address&state=confirmed").await?;
        Ok(found.into_iter().next())
    })
    .await?;
    ensure!(
        found["shared"] == true && found["confidence"] == "medium",
        "{found:#}"
    );
    server.stop().await?;
    vault
        .delete("kvv2/metadata/vso-prober/app")
        .await
        .map(drop)?;
    scene.remove(pod()).await
}

fn pod() -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tenant", "namespace": NAMESPACE}})
}

/// A Pod that uses the operator's ServiceAccount.
async fn tenant(scene: &Scene) -> Result<()> {
    let mut whole = pod();
    whole["spec"] = json!({
        "serviceAccountName": "probe", "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "app", "image": "example.com/app"}],
    });
    scene.apply(whole).await?;
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), NAMESPACE);
    let status =
        json!({"status": {"phase": "Running", "podIP": TENANT, "podIPs": [{"ip": TENANT}]}});
    let params = PatchParams::default();
    pods.patch_status("tenant", &params, &Patch::Merge(status))
        .await?;
    Ok(())
}
