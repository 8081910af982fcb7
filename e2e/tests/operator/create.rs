//! The creation of a canary: the order and number of events.

use std::time::Duration;

use anyhow::{Result, ensure};
use kube::ResourceExt;
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::Bench;
use crate::canary::{Canary, Sighting, conditions, encoded, in_order};

fn is(what: &'static str, verb: &'static str) -> impl Fn(&Sighting) -> bool {
    move |sighting| sighting.what == what && sighting.verb == verb
}

fn has_status(s: &Sighting) -> bool {
    s.what == "CR"
        && s.verb == "MODIFIED"
        && s.object["status"]["lastGeneration"] == 1
        && finalizers(s).is_empty()
}

fn has_finalizer(s: &Sighting) -> bool {
    s.what == "CR" && s.verb == "MODIFIED" && !finalizers(s).is_empty()
}

fn finalizers(s: &Sighting) -> Vec<Value> {
    s.object["metadata"]["finalizers"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn generation(s: &Sighting) -> i64 {
    s.object["metadata"]["generation"]
        .as_i64()
        .unwrap_or_default()
}

/// Waits until the first sync and what follows from it are over, and asserts their order.
async fn first_sync(canary: &Canary) -> Result<Vec<Sighting>> {
    canary.see("the finalizer", 15.0, has_finalizer).await?;
    sleep(Duration::from_secs(1)).await;
    let seen = canary.seen();
    in_order(
        &seen,
        &[
            ("CR ADDED", &is("CR", "ADDED")),
            ("Secret ADDED", &is("Secret", "ADDED")),
            ("CR status", &has_status),
            ("finalizer", &has_finalizer),
        ],
    )
}

pub(crate) async fn a_minimal_static_secret_is_reconciled_twice(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "twice").await?;
    canary.put("one").await?;
    canary.create(canary.minimal_static("30s")).await?;
    let steps = first_sync(&canary).await?;
    ensure!(
        generation(&steps[0]) == 1 && generation(&steps[2]) == 1,
        "{:?}",
        canary.summary()
    );
    ensure!(
        generation(&steps[3]) == 2,
        "the finalizer's write changes the spec: {:?}",
        canary.summary()
    );
    let resource = canary.get().await?;
    ensure!(
        resource["metadata"]["finalizers"]
            == json!(["vaultstaticsecret.secrets.hashicorp.com/finalizer"])
    );
    ensure!(resource["spec"]["destination"]["transformation"] == json!({}));
    ensure!(resource["spec"]["destination"]["overwrite"] == json!(false));
    ensure!(resource["status"]["lastGeneration"] == 2, "{resource}");
    check_words(&resource, "VaultStaticSecret", "Secret synced, horizon=")?;
    let horizon = conditions(&resource)[0]
        .horizon()
        .map(|h| h.as_secs_f64())
        .unwrap_or_default();
    ensure!((24.0..=27.0).contains(&horizon), "{horizon}");
    ensure!(
        resource["status"]["secretMAC"]
            .as_str()
            .is_some_and(|mac| mac.len() == 44)
    );
    let key = resource["status"]["vaultClientMeta"]["cacheKey"]
        .as_str()
        .unwrap_or_default();
    ensure!(key.len() == 33 && key.starts_with("kubernetes-"), "{key}");
    ensure!(
        resource["status"]["vaultClientMeta"]["id"]
            .as_str()
            .is_some_and(|id| id.len() == 64)
    );
    let told = canary
        .see_event("SecretSynced", "Secret synced", 5.0)
        .await?;
    ensure!(
        (told.source.as_str(), told.count, told.warning) == ("VaultStaticSecret", 2, false),
        "{told:?}"
    );
    check_secret(&canary, &resource).await
}

fn check_words(resource: &Value, kind: &str, synced: &str) -> Result<()> {
    let conditions = conditions(resource);
    let words: Vec<(&str, &str, &str)> = conditions
        .iter()
        .map(|c| (c.type_.as_str(), c.status.as_str(), c.reason.as_str()))
        .collect();
    let expected = [
        ("SecretSynced", "True", "Synced"),
        ("Healthy", "True", "Healthy"),
        ("Ready", "True", "Ready"),
    ];
    ensure!(words == expected, "{words:?}");
    ensure!(
        conditions[0].message.starts_with(synced),
        "{}",
        conditions[0].message
    );
    ensure!(
        conditions[1].message == format!("{kind}Healthy")
            && conditions[2].message == format!("{kind}Ready")
    );
    ensure!(
        conditions
            .iter()
            .all(|c| c.last_transition_time.len() == 20 && c.observed_generation.is_some())
    );
    Ok(())
}

async fn check_secret(canary: &Canary, resource: &Value) -> Result<()> {
    let secret = canary.secret().await?.expect("just synced");
    let labels = serde_json::to_value(secret.labels())?;
    ensure!(
        labels
            == json!({
                "app.kubernetes.io/name": "vault-secrets-operator",
                "app.kubernetes.io/managed-by": "hashicorp-vso",
                "app.kubernetes.io/component": "secret-sync",
                "secrets.hashicorp.com/vso-ownerRefUID": resource["metadata"]["uid"],
            }),
        "{labels}"
    );
    let owners = serde_json::to_value(secret.owner_references())?;
    ensure!(
        owners
            == json!([{
                "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": resource["kind"],
                "name": canary.name, "uid": resource["metadata"]["uid"],
            }]),
        "{owners}"
    );
    ensure!(secret.type_.as_deref() == Some("Opaque"));
    let data = secret.data.unwrap_or_default();
    ensure!(
        data.keys().collect::<Vec<_>>() == ["_raw", "nonce"],
        "{data:?}"
    );
    let raw: Value = serde_json::from_slice(&data["_raw"].0)?;
    ensure!(
        raw["data"] == json!({"nonce": "one"}) && raw["metadata"]["version"] == 1,
        "{raw}"
    );
    Ok(())
}

pub(crate) async fn a_canonical_static_secret_is_reconciled_once(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "once").await?;
    canary.put("one").await?;
    canary.create(canary.canonical_static("30s")).await?;
    let steps = first_sync(&canary).await?;
    ensure!(
        steps
            .iter()
            .filter(|s| s.what == "CR")
            .all(|s| generation(s) == 1),
        "{:?}",
        canary.summary()
    );
    ensure!(canary.seen().len() == 4, "{:?}", canary.summary());
    let told = canary
        .see_event("SecretSynced", "Secret synced", 5.0)
        .await?;
    ensure!(told.count == 1, "{told:?}");
    let mut writes: Vec<String> = Vec::new();
    for request in bench.lab.kube_audit()? {
        let mine = request.object_ref.name == canary.name
            && request.user.username.contains("controller-manager");
        if mine && request.stage == "ResponseComplete" {
            writes.push(format!(
                "{} {}/{} {}",
                request.verb,
                request.object_ref.resource,
                request.object_ref.subresource,
                request.response_status.code
            ));
        }
    }
    let expected = [
        "get secrets/ 404",
        "get secrets/ 404",
        "create secrets/ 201",
        "update vaultstaticsecrets/status 200",
        "update vaultstaticsecrets/ 200",
    ];
    ensure!(
        writes
            .iter()
            .filter(|w| !w.contains("list"))
            .eq(expected.iter()),
        "{writes:#?}"
    );
    Ok(())
}

pub(crate) async fn a_minimal_dynamic_secret_gets_two_leases(bench: Bench) -> Result<()> {
    let canary = Canary::dynamic(&bench, "two-leases").await?;
    canary.create(canary.minimal_dynamic("probe")).await?;
    let steps = first_sync(&canary).await?;
    ensure!(generation(&steps[3]) == 2, "{:?}", canary.summary());
    let resource = canary.get().await?;
    check_words(&resource, "VaultDynamicSecret", "Secret synced")?;
    ensure!(conditions(&resource)[0].message == "Secret synced");
    ensure!(
        resource["spec"].get("revoke").is_none(),
        "`revoke: false` is dropped: {}",
        resource["spec"]
    );
    ensure!(resource["spec"]["renewalPercent"] == 67);
    let first = canary
        .see_event("SecretSynced", "sync_reason=\"InitialSync\"", 5.0)
        .await?;
    let second = canary
        .see_event("SecretRotated", "sync_reason=\"ResourceUpdated\"", 5.0)
        .await?;
    for told in [&first, &second] {
        ensure!(
            told.message
                .starts_with("Secret synced, lease_id=\"database/creds/probe/"),
            "{told:?}"
        );
        ensure!(
            told.source == "VaultDynamicSecret"
                && !told.warning
                && told.message.contains(", horizon=")
        );
    }
    // Event and status of the second come in either order.
    let named = |lease: &Value| {
        let id = lease["id"].as_str();
        id.is_some_and(|id| second.message.contains(id))
    };
    let renamed = |s: &Sighting| s.what == "CR" && named(&s.object["status"]["secretLease"]);
    let resource = canary.see("the second lease", 5.0, renamed).await?.object;
    let lease = resource["status"]["secretLease"].clone();
    let id = lease["id"].as_str().unwrap_or_default();
    ensure!(!first.message.contains(id), "{lease}");
    ensure!(
        lease["duration"] == 600
            && lease["renewable"] == true
            && lease["requestID"].as_str().is_some_and(|r| r.len() == 36)
    );
    ensure!(
        resource["status"]["lastRenewalTime"]
            .as_i64()
            .is_some_and(|t| t > 1_700_000_000)
    );
    let live = canary.live_leases("probe").await?;
    let alive = |message: &str| live.iter().any(|lease| message.contains(lease.as_str()));
    ensure!(
        alive(&first.message) && alive(&second.message),
        "the first lease is orphaned, not revoked: {live:?}"
    );
    Ok(())
}

pub(crate) async fn a_canonical_dynamic_secret_gets_one_lease(bench: Bench) -> Result<()> {
    let canary = Canary::dynamic(&bench, "one-lease").await?;
    canary.create(canary.canonical_dynamic("probe")).await?;
    let steps = first_sync(&canary).await?;
    ensure!(
        steps
            .iter()
            .filter(|s| s.what == "CR")
            .all(|s| generation(s) == 1),
        "{:?}",
        canary.summary()
    );
    let events = canary.events().await?;
    ensure!(
        events.len() == 1 && events[0].reason == "SecretSynced" && events[0].count == 1,
        "{events:?}"
    );
    let data = canary
        .secret()
        .await?
        .expect("just synced")
        .data
        .unwrap_or_default();
    ensure!(
        data.keys().collect::<Vec<_>>() == ["_raw", "password", "username"],
        "{:?}",
        data.keys()
    );
    let raw: Value = serde_json::from_slice(&data["_raw"].0)?;
    ensure!(raw["username"].as_str().map(str::as_bytes) == Some(data["username"].0.as_slice()));
    let pod = &canary.get().await?["status"]["lastRuntimePodUID"];
    ensure!(pod.as_str().is_some_and(|uid| uid.len() == 36), "{pod}");
    Ok(())
}

pub(crate) async fn kv1_and_destination_labels(bench: Bench) -> Result<()> {
    let canary = Canary::fixed(&bench, "kv1").await?;
    let path = format!("kvv1/{}", canary.path());
    bench
        .lab
        .vault()
        .write(
            &path,
            json!({"nonce": "one", "number": 7, "nested": {"a": "<&>"}}),
        )
        .await?;
    let mut spec = canary.minimal_static("30s");
    spec["mount"] = json!("kvv1");
    spec["type"] = json!("kv-v1");
    spec["destination"]["labels"] = json!({"probe": "yes"});
    spec["destination"]["annotations"] = json!({"note": "kept"});
    canary.create(spec).await?;
    let secret = canary.see_nonce("one", 15.0).await?.object;
    ensure!(
        secret["data"]["number"] == encoded("7"),
        "{}",
        secret["data"]
    );
    ensure!(
        secret["data"]["nested"] == encoded("{\"a\":\"\\u003c\\u0026\\u003e\"}"),
        "{}",
        secret["data"]
    );
    ensure!(
        secret["data"]["_raw"]
            == encoded(
                "{\"nested\":{\"a\":\"\\u003c\\u0026\\u003e\"},\"nonce\":\"one\",\"number\":7}"
            )
    );
    ensure!(
        secret["metadata"]["labels"]["probe"] == "yes"
            && secret["metadata"]["annotations"] == json!({"note": "kept"})
    );
    Ok(())
}
