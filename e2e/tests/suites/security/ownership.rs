//! Trials of ownership: objects that are not the prober's own are left alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, Part};
use e2e::scenario::{Probe, Scene, blames, eventually};
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use reqwest::Method;
use serde_json::{Value, json};
use vso_prober::canary::{EXPIRES, INSTANCE_LABEL, PROBE_LABEL};
use vso_prober::model::cause::Cause;
use vso_prober::model::{Kind, Step};

const PAST: &str = "2020-01-01T00:00:00Z";
const FUTURE: &str = "2100-01-01T00:00:00Z";

/// An event about a canary, as anyone may make one who may create events.
async fn event(scene: &Scene, kind: Kind, canary: &str, component: &str, text: &str) -> Result<()> {
    scene
        .apply(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": format!("forged-{}", component.to_lowercase()), "namespace": NAMESPACE},
            "involvedObject": {
                "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": kind.resource(),
                "namespace": NAMESPACE, "name": canary,
            },
            "type": "Warning", "reason": "VaultClientError", "message": text,
            "source": {"component": component}, "count": 1,
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2036-01-01T00:00:00Z",
        }))
        .await
}

/// The lease of somebody else's credential.
async fn victim(scene: &Scene) -> Result<String> {
    let vault = scene.lab().vault();
    vault.database_role("victim", "10m", "1h").await?;
    let answer = vault.read("database/creds/victim").await?;
    let lease = answer["lease_id"].as_str().context("a lease")?;
    Ok(lease.to_owned())
}

/// Insists that somebody else's lease lives, and ends it.
async fn lives(scene: &Scene, lease: &str) -> Result<()> {
    let vault = scene.lab().vault();
    let body = json!({"lease_id": lease});
    let (status, answer) = vault
        .send(Method::PUT, "sys/leases/lookup", Some(&body))
        .await?;
    ensure!(status.is_success(), "the lease was revoked: {answer}");
    vault.write("sys/leases/revoke", body).await.map(drop)
}

/// Events name a foreign lease, one of them in the operator's own name.
pub(super) async fn lease_by_event(scene: &Scene) -> Result<()> {
    let lease = victim(scene).await?;
    // Time enough for the events to be there before the canary is gone.
    let slow = json!({"slow": {"at": "write", "seconds": 2.0}});
    scene.lab().faults(&slow).await?;
    let running = scene
        .prober([Probe::database("named")])
        .start(&["probe", "-o", "json"])?;
    let canary = scene.canary(Kind::Dynamic, "named").await?.name_any();
    let text = format!("Secret synced, lease_id=\"{lease}\", horizon=1s");
    for component in ["tenant", "VaultDynamicSecret"] {
        event(scene, Kind::Dynamic, &canary, component, &text).await?;
    }
    let outcome = running.ended().await?.exits(0)?;
    ensure!(!outcome.stdout.contains(&lease), "{outcome}");
    lives(scene, &lease).await
}

/// An object as a canary of the probe `left` would be, but for its name and expiry.
fn labelled(kind: &str, version: &str, name: &str, expires: &str, more: &Value) -> Value {
    let mut object = json!({
        "apiVersion": version, "kind": kind,
        "metadata": {
            "name": name, "namespace": NAMESPACE,
            "labels": {INSTANCE_LABEL: "default", PROBE_LABEL: "left"},
            "annotations": {EXPIRES: expires},
        },
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        object[key] = value.clone();
    }
    object
}

fn credential(name: &str) -> Value {
    let spec = json!({"mount": "database", "path": "creds/probe", "destination": {"name": name, "create": true}});
    let version = "secrets.hashicorp.com/v1beta1";
    labelled(
        "VaultDynamicSecret",
        version,
        name,
        PAST,
        &json!({"spec": spec}),
    )
}

/// The status of a leftover names a foreign lease.
pub(super) async fn lease_by_status(scene: &Scene) -> Result<()> {
    let lease = victim(scene).await?;
    // It would write another status.
    scene.lab().pause(Part::Operator).await?;
    let name = "vsop-left-aaaaaaaaaaaaaaaa";
    scene.apply(credential(name)).await?;
    let status = json!({"status": {"lastGeneration": 1, "lastRenewalTime": 0, "secretLease": {
        "id": lease, "duration": 600, "renewable": true, "requestID": "",
    }}});
    let api = scene.resources(Kind::Dynamic);
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    let cleaned = scene
        .prober([Probe::database("left")])
        .run(&["cleanup"])
        .await?
        .exits(0)?;
    let removed = format!("removed VaultDynamicSecret {NAMESPACE}/{name}\n");
    ensure!(cleaned.stdout.contains(&removed), "{cleaned}");
    cleaned.says(&["names a lease of none of the probes"])?;
    lives(scene, &lease).await
}

/// Objects that bear the label and are no canaries.
pub(super) async fn label_alone(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::Operator).await?;
    let foreign = [
        labelled("Secret", "v1", "tenant-secret", PAST, &json!({})),
        labelled("Secret", "v1", "vsop-left-short", PAST, &json!({})),
        credential("tenant-own"),
        // The name is a canary's, but of another probe than the label says.
        credential("vsop-other-aaaaaaaaaaaaaaaa"),
    ];
    for object in &foreign {
        scene.apply(object.clone()).await?;
    }
    let own = "vsop-left-bbbbbbbbbbbbbbbb";
    scene
        .apply(labelled("Secret", "v1", own, PAST, &json!({})))
        .await?;
    let prober = scene.prober([Probe::database("left")]);
    let mut outcomes = Vec::new();
    for arguments in [&["cleanup"][..], &["cleanup", "--all"]] {
        outcomes.push(prober.run(arguments).await?.exits(0)?);
    }
    for object in foreign {
        scene.remove(object).await?;
    }
    let alone = "left alone 4 that have the label";
    let first = &outcomes[0];
    let removed = format!("removed Secret {NAMESPACE}/{own}\n");
    ensure!(
        first.stdout.starts_with(&removed) && first.stdout.contains(alone),
        "{first}"
    );
    let second = &outcomes[1];
    ensure!(
        second.stdout.starts_with(alone) && second.stdout.ends_with("removed 0, left 0\n"),
        "{second}"
    );
    Ok(())
}

fn held(name: &str, expires: &str, finalizers: &[&str]) -> Value {
    let spec = json!({
        "mount": "kvv2", "type": "kv-v2", "path": "vso-prober/none",
        "destination": {"name": name, "create": true},
    });
    let version = "secrets.hashicorp.com/v1beta1";
    let mut object = labelled(
        "VaultStaticSecret",
        version,
        name,
        expires,
        &json!({"spec": spec}),
    );
    object["metadata"]["finalizers"] = json!(finalizers);
    object
}

/// A leftover goes after it was listed and before it is removed, and a canary in use has its name.
pub(super) async fn name_reused(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::Operator).await?;
    // As many as are removed at once; each holds its place until its finalizer is off.
    let holders: Vec<_> = (10..26)
        .map(|n| format!("vsop-left-{n}aaaaaaaaaaaaaa"))
        .collect();
    for name in &holders {
        scene.apply(held(name, PAST, &["example.com/held"])).await?;
    }
    let reused = "vsop-left-zzzzzzzzzzzzzzzz";
    scene.apply(held(reused, PAST, &[])).await?;
    let api = scene.resources(Kind::Static);
    let running = scene.prober([Probe::kv2("left")]).start(&["cleanup"])?;
    eventually(
        "deletion of all that hold",
        Duration::from_secs(20),
        async || {
            let all = api.list(&ListParams::default()).await?;
            let deleted = all
                .iter()
                .filter(|one| one.metadata.deletion_timestamp.is_some());
            Ok((deleted.count() == holders.len()).then_some(()))
        },
    )
    .await?;
    scene.remove(held(reused, PAST, &[])).await?;
    scene.apply(held(reused, FUTURE, &[])).await?;
    let uid = api.get(reused).await?.uid();
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    for name in &holders {
        api.patch(name, &PatchParams::default(), &free).await?;
    }
    let outcome = running.ended().await?;
    let after = api.get_opt(reused).await?.and_then(|object| object.uid());
    scene.remove(held(reused, FUTURE, &[])).await.ok();
    ensure!(
        uid.is_some() && after == uid,
        "the new one was removed: {outcome}"
    );
    outcome.exits(0).map(drop)
}

/// Names in Vault that are no canary's.
pub(super) async fn names_in_vault(scene: &Scene) -> Result<()> {
    let folder = scene.kv_folder("default").await?;
    let vault = scene.lab().vault();
    let data = json!({"data": {"nonce": "-", "expires": PAST}});
    let foreign = ["vsop-dir/inner", "vsop-left-short", "tenant"];
    let mut paths = Vec::new();
    for folder in ["vso-prober/default", &folder] {
        paths.extend(foreign.map(|name| format!("{folder}/{name}")));
    }
    for path in &paths {
        vault
            .write(&format!("kvv2/data/{path}"), data.clone())
            .await?;
    }
    let prober = scene.prober([Probe::kv2("left")]);
    let outcome = prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    for path in &paths {
        vault.read(&format!("kvv2/data/{path}")).await?;
        vault.delete(&format!("kvv2/metadata/{path}")).await?;
    }
    ensure!(outcome.stdout == "removed 0, left 0\n", "{outcome}");
    Ok(())
}

/// The canaries of one cluster, and those of before there was a folder a cluster, beside a prober of another that has
/// the same instance.
pub(super) async fn two_clusters(scene: &Scene) -> Result<()> {
    let folder = scene.kv_folder("default").await?;
    let vault = scene.lab().vault();
    let (one, two) = ("vsop-left-aaaaaaaaaaaaaaaa", "vsop-left-bbbbbbbbbbbbbbbb");
    let in_use = [
        format!("{folder}/{one}"),
        format!("vso-prober/default/{one}"),
    ];
    let written = [
        (in_use[0].clone(), FUTURE),
        (in_use[1].clone(), FUTURE),
        (format!("vso-prober/default/{two}"), PAST),
    ];
    for (path, expires) in &written {
        let data = json!({"data": {"nonce": "-", "expires": expires}});
        vault.write(&format!("kvv2/data/{path}"), data).await?;
    }
    // Another namespace stands for another cluster.
    let other = scene
        .prober([Probe::kv2("left")])
        .kubeconfig(scene.lab().kubeconfig())
        .edit(|config| config["kubernetes"]["namespace"] = "default".into());
    let outcome = other.run(&["cleanup", "--all"]).await?.exits(0)?;
    let expected = format!("removed Vault kvv2/vso-prober/default/{two}\nremoved 1, left 0\n");
    ensure!(outcome.stdout == expected, "{outcome}");
    for path in &in_use {
        vault.read(&format!("kvv2/data/{path}")).await?;
    }
    let own = scene.prober([Probe::kv2("left")]);
    let outcome = own.run(&["cleanup", "--all"]).await?.exits(0)?;
    let expected = format!("removed Vault kvv2/{}\nremoved 1, left 0\n", in_use[0]);
    ensure!(outcome.stdout == expected, "{outcome}");
    vault
        .delete(&format!("kvv2/metadata/{}", in_use[1]))
        .await
        .map(drop)
}

/// What the printed policy lets the prober's token do with leases: with its own, and with no others.
pub(super) async fn policy(scene: &Scene) -> Result<()> {
    let prober = scene.prober([Probe::database("narrow")]);
    let printed = prober.run(&["doctor", "--print-policy"]).await?.exits(0)?;
    let vault = scene.lab().vault();
    let policy = json!({"policy": printed.stdout});
    vault.write("sys/policies/acl/narrow", policy).await?;
    let request = json!({"policies": ["narrow"], "no_default_policy": true, "ttl": "10m"});
    let answer = vault.write("auth/token/create", request).await?;
    let token = answer["auth"]["client_token"].as_str().context("a token")?;
    let narrow = vault.with_token(token);
    let lease = victim(scene).await?;
    let foreign = |path: &str, body: Value| (path.to_owned(), body);
    let refused = [
        foreign("sys/leases/lookup", json!({"lease_id": lease})),
        foreign("sys/leases/revoke", json!({"lease_id": lease})),
        foreign(
            "sys/leases/revoke",
            json!({"lease_id": lease, "sync": true}),
        ),
        foreign("sys/leases/revoke", json!({"url_lease_id": lease})),
        foreign("sys/leases/lookup", json!({"url_lease_id": lease})),
        foreign(&format!("sys/leases/lookup/{lease}"), json!({})),
        foreign(&format!("sys/leases/revoke/{lease}"), json!({})),
        foreign(&format!("sys/revoke/{lease}"), json!({})),
        foreign("sys/leases/renew", json!({"lease_id": lease})),
        foreign("sys/leases/revoke-prefix/database/creds/victim", json!({})),
        foreign("sys/leases/revoke-force/database/creds/victim", json!({})),
        foreign("database/creds/probe", json!({})),
        foreign("database/creds/victim", json!({})),
        foreign("kvv2/data/vso-prober/default/x", json!({"data": {}})),
    ];
    for (path, body) in refused {
        let (status, answer) = narrow.send(Method::PUT, &path, Some(&body)).await?;
        ensure!(status == 403, "PUT {path} {body}: {status} {answer}");
    }
    let answer = vault.read("database/creds/probe").await?;
    let own = json!({"lease_id": answer["lease_id"]});
    narrow.write("sys/leases/lookup", own.clone()).await?;
    let waited = json!({"lease_id": answer["lease_id"], "sync": true});
    narrow.write("sys/leases/revoke", waited).await?;
    lives(scene, &lease).await
}

/// Events say that Vault is sealed, while it serves and the operator stands still.
pub(super) async fn forged_excuse(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"hang": true})).await?;
    let running = scene
        .prober([Probe::hasty("forged", &[Step::Create])])
        .start(&["probe", "-o", "json"])?;
    let canary = scene.canary(Kind::Static, "forged").await?.name_any();
    for component in ["tenant", "VaultStaticSecret"] {
        let text = format!("Vault is sealed, says {component}");
        event(scene, Kind::Static, &canary, component, &text).await?;
    }
    let run = running.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Create, Cause::OperatorStalled)?;
    let said = |word: &str| {
        let mut evidence = run.steps[0].evidence.iter();
        evidence.any(|piece| piece.text.contains(word))
    };
    ensure!(!said("says tenant"), "{run:#?}");
    ensure!(
        said("says VaultStaticSecret; but Vault served the prober throughout the step"),
        "{run:#?}"
    );
    Ok(())
}
