//! The lifecycle of a resource: first sync, polls, repairs, renewals, rotations, deletion.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use e2e::lab::Lab;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::sleep;
use vso_prober::operator::POLL_JITTER;

use crate::Bench;
use crate::canary::{Canary, Sighting, conditions, encoded, until};

/// Time for the first sync to be over, its second reconcile included.
const SETTLED: Duration = Duration::from_millis(1500);
/// How much later than promised things may be seen on a machine under load.
const SLACK: f64 = 1.5;

async fn created(bench: &Bench, word: &str, refresh: &str) -> Result<Canary> {
    let canary = Canary::fixed(bench, word).await?;
    canary.put("one").await?;
    canary.create(canary.canonical_static(refresh)).await?;
    canary.see_nonce("one", 15.0).await?;
    sleep(SETTLED).await;
    Ok(canary)
}

async fn issued(bench: &Bench, word: &str, role: &str) -> Result<Canary> {
    let canary = Canary::dynamic(bench, word).await?;
    canary.create(canary.canonical_dynamic(role)).await?;
    canary
        .see_condition("SecretSynced", true, "Secret synced", 15.0)
        .await?;
    sleep(SETTLED).await;
    Ok(canary)
}

fn lease(resource: &Value) -> String {
    resource["status"]["secretLease"]["id"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

pub(crate) async fn an_update_arrives_within_the_horizon(bench: Bench) -> Result<()> {
    let canary = created(&bench, "update", "6s").await?;
    let first = canary.see_nonce("one", 1.0).await?.at;
    let horizon = conditions(&canary.get().await?)[0]
        .horizon()
        .context("a horizon")?
        .as_secs_f64();
    ensure!(
        (6.0 * POLL_JITTER.0..=6.0 * POLL_JITTER.1).contains(&horizon),
        "{horizon}"
    );
    canary.put("two").await?;
    let second = canary.see_nonce("two", 6.0 + SLACK).await?.at;
    let took = (second - first).as_secs_f64();
    ensure!(
        (horizon - 0.5..horizon + SLACK).contains(&took),
        "announced {horizon}, took {took}"
    );
    let told = canary
        .see_event("SecretSynced", "Secret synced", 2.0)
        .await?;
    until("the event's count", 3.0, async || {
        Ok((canary.events().await?[0].count == 2).then_some(()))
    })
    .await?;
    ensure!(told.source == "VaultStaticSecret");
    Ok(())
}

pub(crate) async fn each_poll_leaves_a_heartbeat(bench: Bench) -> Result<()> {
    let canary = created(&bench, "heartbeat", "3s").await?;
    let before = canary.seen().len();
    sleep(Duration::from_secs(9)).await;
    let beats: Vec<Sighting> = canary.seen().split_off(before);
    ensure!((2..=4).contains(&beats.len()), "{:?}", canary.summary());
    let time = |s: &Sighting, type_: &str| {
        let all = conditions(&s.object);
        all.into_iter()
            .find(|c| c.type_ == type_)
            .map(|c| c.last_transition_time)
            .unwrap_or_default()
    };
    for pair in beats.windows(2) {
        ensure!(pair.iter().all(|s| s.what == "CR" && s.verb == "MODIFIED"));
        ensure!(
            time(&pair[0], "Healthy") != time(&pair[1], "Healthy"),
            "the heartbeat moves"
        );
        ensure!(
            time(&pair[0], "SecretSynced") == time(&pair[1], "SecretSynced"),
            "the sync's time stays"
        );
        let gap = (pair[1].at - pair[0].at).as_secs_f64();
        ensure!((2.3..2.7 + SLACK).contains(&gap), "{gap}");
    }
    Ok(())
}

pub(crate) async fn a_deleted_secret_is_put_back_at_once(bench: Bench) -> Result<()> {
    let canary = created(&bench, "recreate", "60s").await?;
    canary
        .secrets
        .delete(&canary.name, &DeleteParams::default())
        .await?;
    let gone = canary
        .see("the deletion", 3.0, |s| {
            s.what == "Secret" && s.verb == "DELETED"
        })
        .await?;
    let back = canary
        .see("the return", 3.0, |s| {
            s.what == "Secret" && s.verb == "ADDED" && s.revision > gone.revision
        })
        .await?;
    ensure!(
        (back.at - gone.at).as_secs_f64() < 1.0,
        "{:?}",
        canary.summary()
    );
    ensure!(back.object["data"]["nonce"] == encoded("one"));
    Ok(())
}

pub(crate) async fn an_edited_secret_is_put_right_at_the_next_poll(bench: Bench) -> Result<()> {
    let canary = created(&bench, "tamper", "6s").await?;
    let edit = json!({"data": {"nonce": encoded("edited")}});
    canary
        .secrets
        .patch(&canary.name, &PatchParams::default(), &Patch::Merge(edit))
        .await?;
    let edited = canary.see_nonce("edited", 2.0).await?;
    let right = canary
        .see("the repair", 6.0 + SLACK, |s| {
            s.what == "Secret"
                && s.revision > edited.revision
                && s.object["data"]["nonce"] == encoded("one")
        })
        .await?;
    ensure!(
        (right.at - edited.at).as_secs_f64() > 1.0,
        "not before the poll: {:?}",
        canary.summary()
    );
    Ok(())
}

pub(crate) async fn touched_owner_labels_are_never_put_right(bench: Bench) -> Result<()> {
    let canary = created(&bench, "relabel", "3s").await?;
    let edit = json!({"metadata": {"labels": {"app.kubernetes.io/name": null}}});
    canary
        .secrets
        .patch(&canary.name, &PatchParams::default(), &Patch::Merge(edit))
        .await?;
    let told = canary.see_event("SecretSyncError", "Failed to update k8s secret: invalid owner label, key=app.kubernetes.io/name, present=false", 6.0).await?;
    ensure!(told.message.lines().count() == 2, "{told:?}");
    canary.put("two").await?;
    sleep(Duration::from_secs(6)).await;
    let held = canary
        .secret()
        .await?
        .and_then(|secret| secret.data)
        .unwrap_or_default();
    ensure!(held["nonce"].0 == b"one");
    Ok(())
}

pub(crate) async fn a_deleted_version_empties_the_secret(bench: Bench) -> Result<()> {
    let canary = created(&bench, "emptied", "3s").await?;
    bench
        .lab
        .vault()
        .delete(&format!("kvv2/data/{}", canary.path()))
        .await?;
    let emptied = canary
        .see("the emptied Secret", 6.0, |s| {
            s.what == "Secret" && s.object["data"].get("nonce").is_none()
        })
        .await?;
    let raw = canary
        .secret()
        .await?
        .and_then(|s| s.data)
        .and_then(|mut d| d.remove("_raw"))
        .context("`_raw` stays")?;
    let raw: Value = serde_json::from_slice(&raw.0)?;
    ensure!(
        raw.get("data") == Some(&Value::Null) && raw["metadata"]["version"] == 1,
        "{raw} {}",
        emptied.object
    );
    canary
        .see_condition("SecretSynced", true, "Secret synced, horizon=", 2.0)
        .await?;
    Ok(())
}

pub(crate) async fn a_changed_spec_is_synced_at_once(bench: Bench) -> Result<()> {
    let canary = created(&bench, "respec", "60s").await?;
    canary.put("two").await?;
    canary
        .patch(json!({"spec": {"refreshAfter": "50s"}}))
        .await?;
    canary.see_nonce("two", 3.0).await?;
    let synced = async || {
        let resource = canary.get().await?;
        let fresh = resource["status"]["lastGeneration"] == 2;
        Ok(fresh
            .then(|| conditions(&resource)[0].horizon().map(|h| h.as_secs_f64()))
            .flatten())
    };
    let horizon = until("the new generation", 3.0, synced).await?;
    ensure!((40.0..=45.0).contains(&horizon), "{horizon}");
    Ok(())
}

pub(crate) async fn a_label_gives_a_dynamic_secret_a_new_credential(bench: Bench) -> Result<()> {
    let canary = issued(&bench, "label", "probe").await?;
    let before = lease(&canary.get().await?);
    canary
        .patch(json!({"metadata": {"labels": {"touched": "yes"}}}))
        .await?;
    let told = canary
        .see_event("SecretRotated", "sync_reason=\"ForceSync\"", 5.0)
        .await?;
    ensure!(!told.message.contains(&before));
    Ok(())
}

pub(crate) async fn a_static_secret_is_deleted(bench: Bench) -> Result<()> {
    let canary = created(&bench, "delete", "60s").await?;
    canary.delete().await?;
    let resource = canary
        .see("the resource's end", 5.0, |s| {
            s.what == "CR" && s.verb == "DELETED"
        })
        .await?;
    let secret = canary
        .see("the Secret's end", 20.0, |s| {
            s.what == "Secret" && s.verb == "DELETED"
        })
        .await?;
    ensure!(
        resource.revision < secret.revision,
        "the Secret goes by garbage collection: {:?}",
        canary.summary()
    );
    sleep(Duration::from_millis(500)).await;
    ensure!(canary.secret().await?.is_none(), "it does not come back");
    Ok(())
}

pub(crate) async fn a_dynamic_secret_is_deleted_and_its_lease_revoked(bench: Bench) -> Result<()> {
    let canary = issued(&bench, "revoke", "probe").await?;
    let id = lease(&canary.get().await?);
    ensure!(is_live(&bench.lab, &id).await?);
    canary.delete().await?;
    canary
        .see("the resource's end", 5.0, |s| {
            s.what == "CR" && s.verb == "DELETED"
        })
        .await?;
    let told = canary
        .see_event("SecretLeaseRevoke", &format!("Lease revoked: {id}"), 3.0)
        .await?;
    ensure!(told.source == "VaultDynamicSecret" && !told.warning);
    ensure!(!is_live(&bench.lab, &id).await?, "revoked");
    canary
        .see("the Secret's end", 20.0, |s| {
            s.what == "Secret" && s.verb == "DELETED"
        })
        .await?;
    Ok(())
}

async fn is_live(lab: &Lab, id: &str) -> Result<bool> {
    let (status, _) = lab
        .vault()
        .send(
            reqwest::Method::PUT,
            "sys/leases/lookup",
            Some(&json!({"lease_id": id})),
        )
        .await?;
    Ok(status.is_success())
}

pub(crate) async fn a_deleted_dynamic_secret_is_replaced_and_its_lease_left(
    bench: Bench,
) -> Result<()> {
    let canary = issued(&bench, "orphan", "probe").await?;
    let before = lease(&canary.get().await?);
    canary
        .secrets
        .delete(&canary.name, &DeleteParams::default())
        .await?;
    let told = canary
        .see_event(
            "SecretRotated",
            "sync_reason=\"InexistentDestination\"",
            5.0,
        )
        .await?;
    ensure!(!told.message.contains(&before));
    ensure!(is_live(&bench.lab, &before).await?, "the old lease is left");
    Ok(())
}

pub(crate) async fn a_lease_is_renewed_then_replaced(bench: Bench) -> Result<()> {
    let role = format!("brief-{:08x}", rand::random::<u32>());
    let vault = bench.lab.vault();
    vault.database_role(&role, "8s", "14s").await?;
    let canary = Canary::dynamic(&bench, "renew").await?;
    let mut spec = canary.canonical_dynamic(&role);
    spec["renewalPercent"] = json!(50);
    canary.create(spec).await?;
    let synced = canary
        .see_event("SecretSynced", "InitialSync", 10.0)
        .await?;
    let first = canary
        .see("the status", 3.0, |s| {
            s.what == "CR" && !lease(&s.object).is_empty()
        })
        .await?;
    let id = lease(&first.object);
    let renewed = canary
        .see_event(
            "SecretLeaseRenewal",
            &format!("Renewed lease, lease_id={id}, horizon="),
            4.8 + SLACK,
        )
        .await?;
    ensure!(!renewed.warning && synced.message.contains(&id));
    let since = first.object["status"]["lastRenewalTime"].as_i64();
    let second = canary
        .see("the renewal", 2.0, |s| {
            s.what == "CR" && s.object["status"]["lastRenewalTime"].as_i64() > since
        })
        .await?;
    let gap = (second.at - first.at).as_secs_f64();
    ensure!((3.9..4.8 + SLACK).contains(&gap), "{gap}");
    ensure!(lease(&second.object) == id);
    let condition = conditions(&second.object)
        .into_iter()
        .find(|c| c.type_ == "LeaseRenewal")
        .context("LeaseRenewal")?;
    ensure!(
        (condition.status.as_str(), condition.reason.as_str()) == ("True", "SecretLeaseRenewal"),
        "{condition:?}"
    );
    ensure!(condition.message == "Successfully renewed lease");
    // At the next renewal, less than 8 s are left of the 14: truncated, so a new credential.
    let told = canary
        .see_event(
            "SecretLeaseRenewal",
            "Lease renewal duration was truncated from 8s to ",
            12.0,
        )
        .await?;
    ensure!(told.message.ends_with(", requesting new credentials") && !told.warning);
    let rotated = canary
        .see_event(
            "SecretRotated",
            "sync_reason=\"SecretLeaseRenewalError\"",
            3.0,
        )
        .await?;
    ensure!(!rotated.message.contains(&id));
    let fresh = until("the new lease", 3.0, async || {
        let resource = canary.get().await?;
        Ok((lease(&resource) != id).then_some(resource))
    })
    .await?;
    let condition = conditions(&fresh)
        .into_iter()
        .find(|c| c.type_ == "LeaseRenewal")
        .context("LeaseRenewal")?;
    ensure!(
        (condition.status.as_str(), condition.reason.as_str())
            == ("False", "SecretLeaseRenewalError"),
        "{condition:?}"
    );
    ensure!(condition.message.starts_with(
        "Could not renew lease, err=lease renewal duration was truncated from 8s to "
    ));
    Ok(())
}

pub(crate) async fn a_restart_disturbs_nothing(bench: Bench) -> Result<()> {
    let fixed = created(&bench, "restart", "60s").await?;
    let dynamic = issued(&bench, "restart", "probe").await?;
    let (secrets, before) = (versions(&fixed).await?, lease(&dynamic.get().await?));
    let beat = conditions(&fixed.get().await?)[1]
        .last_transition_time
        .clone();
    bench.lab.stop_operator().await?;
    bench.lab.start_operator().await?;
    let moved = async || {
        Ok((conditions(&fixed.get().await?)[1].last_transition_time != beat).then_some(()))
    };
    until("the poll after the restart", 15.0, moved).await?;
    ensure!(
        versions(&fixed).await? == secrets,
        "an unchanged Secret is not written again"
    );
    let rotated = dynamic
        .see_event("SecretRotated", "sync_reason=\"VaultTokenRotated\"", 10.0)
        .await?;
    ensure!(
        !rotated.message.contains(&before),
        "a new token means a new credential"
    );
    Ok(())
}

async fn versions(canary: &Canary) -> Result<Option<String>> {
    Ok(canary
        .secret()
        .await?
        .and_then(|secret| secret.metadata.resource_version))
}
