//! The operator's error messages, word for word.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::lab::NAMESPACE;
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::time::sleep;
use vso_prober::operator::api::Condition;

use crate::Bench;
use crate::canary::{Canary, conditions, until};

const FAILED: &str = "Failed to sync the secret, horizon=";

async fn auth(bench: &Bench, word: &str, change: impl FnOnce(&mut Value)) -> Result<Canary> {
    let auth = Canary::auth(bench, word).await?;
    let mut spec = json!({"vaultConnectionRef": "probe", "method": "kubernetes", "mount": "kubernetes",
        "kubernetes": {"role": "probe", "serviceAccount": "probe", "audiences": ["vault"]}});
    change(&mut spec);
    auth.create(spec).await?;
    Ok(auth)
}

async fn created(bench: &Bench, word: &str, auth: &str) -> Result<Canary> {
    let canary = Canary::fixed(bench, word).await?;
    canary.put("one").await?;
    let mut spec = canary.minimal_static("10s");
    spec["vaultAuthRef"] = json!(auth);
    canary.create(spec).await?;
    Ok(canary)
}

/// Asserts the condition's words and the horizon's bounds, and that the resource is told unhealthy and still gets its finalizer.
async fn failed(
    canary: &Canary,
    error: &str,
    horizon: (f64, f64),
    within: f64,
) -> Result<Condition> {
    let condition = canary
        .see_condition("SecretSynced", false, FAILED, within)
        .await?;
    let said = condition.message.split_once(", err=").context("an err=")?.1;
    ensure!(said == error, "said {said:?}\nnot  {error:?}");
    let due = condition.horizon().context("a horizon")?.as_secs_f64();
    ensure!((horizon.0..=horizon.1).contains(&due), "{due}");
    ensure!(condition.reason == "Synced");
    let finalized = async || {
        Ok(canary.get().await?["metadata"]["finalizers"]
            .is_array()
            .then_some(()))
    };
    until("the finalizer", 3.0, finalized).await?;
    let words: Vec<(String, String, String)> = conditions(&canary.get().await?)
        .into_iter()
        .map(|c| (c.type_, c.status, c.reason))
        .collect();
    let expected = [
        ("SecretSynced", "False", "Synced"),
        ("Healthy", "False", "Unhealthy"),
        ("Ready", "False", "Ready"),
    ];
    ensure!(
        words
            .iter()
            .map(|(a, b, c)| (a.as_str(), b.as_str(), c.as_str()))
            .eq(expected),
        "{words:?}"
    );
    Ok(condition)
}

async fn warned(canary: &Canary, source: &str, reason: &str, message: &str) -> Result<()> {
    let told = canary.see_event(reason, "", 5.0).await?;
    ensure!(told.warning && told.source == source, "{told:?}");
    ensure!(
        told.message == message,
        "said {:?}\nnot  {message:?}",
        told.message
    );
    Ok(())
}

pub(crate) async fn a_bad_role(bench: Bench) -> Result<()> {
    let auth = auth(&bench, "badrole", |spec| {
        spec["kubernetes"]["role"] = json!("nope");
    })
    .await?;
    let canary = created(&bench, "bad-role", &auth.name).await?;
    let error = format!(
        "Error making API request.\n\nURL: PUT {}/v1/auth/kubernetes/login\nCode: 400. Errors:\n\n* invalid role name \"nope\"",
        bench.lab.vault().address()
    );
    failed(&canary, &error, (4.0, 4.5), 15.0).await?;
    warned(
        &canary,
        "VaultStaticSecret",
        "VaultClientConfigError",
        &format!("Failed to get Vault auth login: {error}"),
    )
    .await?;
    ensure!(canary.get().await?["status"]["vaultClientMeta"] == json!({}));
    ensure!(canary.secret().await?.is_none());
    let again = async || Ok((canary.events().await?[0].count >= 3).then_some(()));
    until("the same event, counted", 10.0, again).await
}

pub(crate) async fn a_missing_service_account(bench: Bench) -> Result<()> {
    let auth = auth(&bench, "badsa", |spec| {
        spec["kubernetes"]["serviceAccount"] = json!("ghost");
    })
    .await?;
    let canary = created(&bench, "bad-sa", &auth.name).await?;
    failed(
        &canary,
        "ServiceAccount \"ghost\" not found",
        (4.0, 4.5),
        15.0,
    )
    .await?;
    let message = "Failed to get cacheKey from obj, err=ServiceAccount \"ghost\" not found";
    warned(&canary, "vaultClientFactory", "Unrecoverable", message).await?;
    let message = "Failed to get Vault auth login: ServiceAccount \"ghost\" not found";
    warned(
        &canary,
        "VaultStaticSecret",
        "VaultClientConfigError",
        message,
    )
    .await
}

pub(crate) async fn a_missing_path(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "missing").await?;
    canary.create(canary.minimal_static("10s")).await?;
    let error = format!(
        "empty response from Vault, path=\"kvv2/data/{}\"",
        canary.path()
    );
    let first = failed(&canary, &error, (2.5, 11.25), 15.0).await?;
    warned(
        &canary,
        "VaultStaticSecret",
        "VaultClientError",
        &format!("Failed to read Vault secret: {error}"),
    )
    .await?;
    ensure!(canary.get().await?["status"]["vaultClientMeta"]["id"].is_string());
    // The announced time is kept, and what then is there heals.
    let generation = canary.get().await?["metadata"]["generation"].as_i64();
    ensure!(generation == Some(2) && first.observed_generation.is_some());
    canary.put("late").await?;
    canary.see_nonce("late", 13.0).await?;
    canary
        .see_condition("SecretSynced", true, "Secret synced, horizon=", 3.0)
        .await?;
    Ok(())
}

pub(crate) async fn a_denied_path(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "denied").await?;
    let mut spec = canary.minimal_static("10s");
    spec["path"] = json!("../../sys/x");
    canary.create(spec).await?;
    let error = format!(
        "Error making API request.\n\nURL: GET {}/v1/sys/x\nCode: 403. Errors:\n\n* 1 error occurred:\n\t* permission denied\n\n",
        bench.lab.vault().address()
    );
    failed(&canary, &error, (2.5, 11.25), 15.0).await?;
    warned(
        &canary,
        "VaultStaticSecret",
        "VaultClientError",
        &format!("Failed to read Vault secret: {error}"),
    )
    .await
}

pub(crate) async fn a_missing_auth_is_silent_for_half_a_minute(bench: Bench) -> Result<()> {
    let canary = created(&bench, "ghost-auth", "ghost").await?;
    sleep(Duration::from_secs(27)).await;
    ensure!(
        canary.events().await?.is_empty(),
        "{:?}",
        canary.events().await?
    );
    ensure!(
        canary.get().await?["status"].is_null(),
        "not a word: {:?}",
        canary.summary()
    );
    let error = "VaultAuth.secrets.hashicorp.com \"ghost\" not found";
    failed(&canary, error, (4.0, 4.5), 10.0).await?;
    let message = format!("Failed to get cacheKey from obj, err={error}");
    warned(&canary, "vaultClientFactory", "Unrecoverable", &message).await?;
    let message = format!("Failed to get Vault auth login: {error}");
    warned(
        &canary,
        "VaultStaticSecret",
        "VaultClientConfigError",
        &message,
    )
    .await
}

pub(crate) async fn an_auth_that_does_not_allow_the_namespace(bench: Bench) -> Result<()> {
    let elsewhere = Canary::fixed(&bench, "elsewhere").await?;
    elsewhere.put("one").await?;
    // The auth `probe` lives in another namespace than the canary would; so ask for one in the operator's.
    let operators = e2e::lab::OPERATOR_NAMESPACE;
    let api: kube::Api<vso_prober::operator::api::VaultAuth> =
        kube::Api::namespaced(bench.lab.client(), operators);
    let auth = serde_json::from_value(json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuth", "metadata": {"name": elsewhere.name},
        "spec": {"vaultConnectionRef": format!("{NAMESPACE}/probe"), "method": "kubernetes", "mount": "kubernetes",
            "allowedNamespaces": ["nobody"], "kubernetes": {"role": "probe", "serviceAccount": "probe", "audiences": ["vault"]}},
    }))?;
    api.create(&PostParams::default(), &auth).await?;
    let mut spec = elsewhere.minimal_static("10s");
    spec["vaultAuthRef"] = json!(format!("{operators}/{}", elsewhere.name));
    elsewhere.create(spec).await?;
    let error = format!(
        "target namespace \"{NAMESPACE}\" is not allowed by kind=VaultAuth obj={operators}/{}, allowedNamespaces=[]",
        elsewhere.name
    );
    failed(&elsewhere, &error, (4.0, 4.5), 15.0).await?;
    warned(
        &elsewhere,
        "vaultClientFactory",
        "Unrecoverable",
        &format!("Failed to get cacheKey from obj, err={error}"),
    )
    .await
}

pub(crate) async fn an_auth_without_its_connection(bench: Bench) -> Result<()> {
    let auth = auth(&bench, "noconn", |spec| {
        spec["vaultConnectionRef"] = json!("nowhere");
    })
    .await?;
    let canary = created(&bench, "no-conn", &auth.name).await?;
    let error = "VaultConnection.secrets.hashicorp.com \"nowhere\" not found";
    failed(&canary, error, (4.0, 4.5), 15.0).await?;
    warned(
        &canary,
        "vaultClientFactory",
        "Unrecoverable",
        &format!("Failed to get cacheKey from obj, err={error}"),
    )
    .await?;
    // The only worker for auths would sleep on this one for 30 s at a time.
    auth.delete().await
}

pub(crate) async fn a_taken_destination(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "taken").await?;
    canary.put("one").await?;
    let mut stranger = Secret::default();
    stranger.metadata.name = Some(canary.name.clone());
    canary
        .secrets
        .create(&PostParams::default(), &stranger)
        .await?;
    canary.create(canary.minimal_static("10s")).await?;
    let told = canary
        .see_event("SecretSyncError", "Failed to update k8s secret: ", 15.0)
        .await?;
    ensure!(
        told.warning && told.source == "VaultStaticSecret",
        "{told:?}"
    );
    let mut lines: Vec<&str> = told
        .message
        .trim_start_matches("Failed to update k8s secret: ")
        .lines()
        .collect();
    // The real one goes through its labels in no order.
    lines[..3].sort_unstable();
    let labels = ["component", "managed-by", "name"]
        .map(|key| format!("invalid owner label, key=app.kubernetes.io/{key}, present=false"));
    ensure!(lines[..3] == labels, "{lines:?}");
    ensure!(
        lines[3..]
            == [
                format!("secret {NAMESPACE}/{} has no ownerReferences", canary.name),
                format!(
                    "not the owner of the destination Secret {NAMESPACE}/{}",
                    canary.name
                ),
            ],
        "{lines:?}"
    );
    sleep(Duration::from_secs(1)).await;
    let resource = canary.get().await?;
    ensure!(
        resource["status"].is_null() && resource["metadata"].get("finalizers").is_none(),
        "{resource}"
    );
    ensure!(
        canary
            .secret()
            .await?
            .is_some_and(|secret| secret.data.is_none()),
        "left alone"
    );
    Ok(())
}

pub(crate) async fn a_dead_vault(bench: Bench) -> Result<()> {
    let connection = Canary::connection(&bench, "dead").await?;
    connection
        .create(json!({"address": "http://127.0.0.1:9"}))
        .await?;
    let auth = auth(&bench, "deadconn", |spec| {
        spec["vaultConnectionRef"] = json!(connection.name);
    })
    .await?;
    let canary = created(&bench, "dead-vault", &auth.name).await?;
    let error = "Put \"http://127.0.0.1:9/v1/auth/kubernetes/login\": dial tcp 127.0.0.1:9: connect: connection refused";
    failed(&canary, error, (4.0, 4.5), 30.0).await?;
    warned(
        &canary,
        "VaultStaticSecret",
        "VaultClientConfigError",
        &format!("Failed to get Vault auth login: {error}"),
    )
    .await?;
    for canary in [canary, auth, connection] {
        canary.delete().await?;
    }
    Ok(())
}

/// Whoever throws clients away waits for the login that hangs, and all who want a client wait behind.
pub(crate) async fn a_dead_vault_stalls_all(bench: Bench) -> Result<()> {
    let connection = Canary::connection(&bench, "dead").await?;
    connection
        .create(json!({"address": "http://127.0.0.1:9"}))
        .await?;
    let dead = auth(&bench, "deadconn", |spec| {
        spec["vaultConnectionRef"] = json!(connection.name);
    })
    .await?;
    dead.see_condition("Healthy", true, "", 40.0).await?;
    let victim = Canary::fixed(&bench, "stalled").await?;
    victim.put("one").await?;
    let culprit = created(&bench, "culprit", &dead.name).await?;
    sleep(Duration::from_millis(300)).await;
    let bystander = auth(&bench, "bystander", |_| {}).await?;
    sleep(Duration::from_millis(300)).await;
    let began = victim.create(victim.canonical_static("60s")).await?;
    let took = (victim.see_nonce("one", 20.0).await?.at - began).as_secs_f64();
    ensure!((1.0..6.0).contains(&took), "{took}");
    for canary in [culprit, dead, connection, bystander] {
        canary.delete().await?;
    }
    Ok(())
}

pub(crate) async fn dynamic_secrets_tell_less(bench: Bench) -> Result<()> {
    let auth = auth(&bench, "badrole", |spec| {
        spec["kubernetes"]["role"] = json!("nope");
    })
    .await?;
    let canary = Canary::dynamic(&bench, "untold").await?;
    let mut spec = canary.minimal_dynamic("probe");
    spec["vaultAuthRef"] = json!(auth.name);
    canary.create(spec).await?;
    let told = canary
        .see_event(
            "VaultClientConfigError",
            "Failed to get Vault client: Error making API request.",
            15.0,
        )
        .await?;
    ensure!(told.warning && told.source == "VaultDynamicSecret");
    ensure!(
        canary.get().await?["status"].is_null(),
        "an event, but no status"
    );
    let canary = Canary::dynamic(&bench, "no-role").await?;
    canary.create(canary.minimal_dynamic("nope")).await?;
    let condition = canary
        .see_condition("SecretSynced", false, FAILED, 15.0)
        .await?;
    ensure!(
        condition
            .message
            .contains("Code: 400. Errors:\n\n* unknown role: nope"),
        "{condition:?}"
    );
    let told = canary.see_event("SecretSyncError", FAILED, 5.0).await?;
    ensure!(
        told.warning && told.message.contains("unknown role: nope"),
        "{told:?}"
    );
    Ok(())
}

pub(crate) async fn a_sealed_vault(bench: Bench) -> Result<()> {
    // A client of its own: who shares one waits while each of the others finds out that Vault is sealed.
    let auth = auth(&bench, "sealed", |_| {}).await?;
    auth.see_condition("Healthy", true, "", 40.0).await?;
    let canary = Canary::fixed(&bench, "sealed").await?;
    canary.put("one").await?;
    let mut spec = canary.canonical_static("3s");
    spec["vaultAuthRef"] = json!(auth.name);
    canary.create(spec).await?;
    canary.see_nonce("one", 15.0).await?;
    bench.lab.vault().seal().await?;
    let error = format!(
        "Error making API request.\n\nURL: GET {}/v1/kvv2/data/{}\nCode: 503. Errors:\n\n* Vault is sealed",
        bench.lab.vault().address(),
        canary.path()
    );
    let result = failed(&canary, &error, (2.5, 11.25), 15.0).await;
    let event = canary
        .see_event(
            "VaultClientError",
            "Failed to read Vault secret: Error making API request.",
            5.0,
        )
        .await;
    let sealed = canary.seen();
    bench.lab.vault().unseal().await?;
    result?;
    event?;
    let before = sealed.last().context("seen")?.revision;
    let healthy = |s: &crate::canary::Sighting| {
        s.revision > before
            && s.what == "CR"
            && conditions(&s.object)
                .iter()
                .any(|c| c.type_ == "Healthy" && c.status == "True")
    };
    let back = canary.see("the return", 25.0, healthy).await?;
    let told = conditions(&back.object);
    ensure!(
        told[0].status == "False",
        "after an outage without a change, SecretSynced stays False: {told:?}"
    );
    Ok(())
}
