//! Secrets engines as people mount and limit them, and Vault's namespaces.

use anyhow::{Context as _, Result, ensure};
use e2e::lab::{NAMESPACE, PROBER, Vault};
use e2e::scenario::{Outcome, Probe, Scene, hashicorp};
use kube::ResourceExt as _;
use serde_json::{Value, json};
use vso_prober::model::{Kind, Step};

/// Has the policies of operator and prober grant more than they do, for as long as the trial lasts.
async fn granted(vault: &Vault, more: impl Fn(&str) -> String) -> Result<[(String, String); 2]> {
    let mut before = Vec::new();
    for name in ["vso", PROBER] {
        let path = format!("sys/policies/acl/{name}");
        let read = vault.read(&path).await?;
        let policy = read["data"]["policy"]
            .as_str()
            .context("no policy")?
            .to_owned();
        let both = format!("{policy}\n{}", more(&policy));
        vault.write(&path, json!({"policy": both})).await?;
        before.push((path, policy));
    }
    before.try_into().ok().context("two policies")
}

/// What a policy says of `kvv2`, of another mount.
fn of_mount(policy: &str, mount: &str) -> String {
    let lines = policy.lines().filter(|line| line.contains("\"kvv2/"));
    let lines = lines.map(|line| line.replace("\"kvv2/", &format!("\"{mount}/")));
    lines.collect::<Vec<_>>().join("\n")
}

/// Has them cover `mount` as they do `kvv2`.
async fn covers(vault: &Vault, mount: &str) -> Result<[(String, String); 2]> {
    granted(vault, |policy| of_mount(policy, mount)).await
}

async fn restore(vault: &Vault, before: [(String, String); 2]) -> Result<()> {
    for (path, policy) in before {
        vault.write(&path, json!({"policy": policy})).await?;
    }
    Ok(())
}

fn steps() -> [Step; 3] {
    [Step::Create, Step::Update, Step::Delete]
}

/// A mount and a path of several parts each.
pub(super) async fn long_paths(scene: &Scene) -> Result<()> {
    let (mount, path) = ("team/a/kv", "teams/payments/prod/eu");
    let vault = scene.lab().vault();
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    vault.write(&format!("sys/mounts/{mount}"), engine).await?;
    let before = granted(vault, |policy| {
        of_mount(policy, mount).replace("/vso-prober/", &format!("/{path}/"))
    })
    .await?;
    let probe = Probe::kv2("long")
        .target("mount", mount)
        .target("path", path)
        .steps(&steps());
    let prober = scene.prober([probe]);
    let works = super::way::works(&prober).await;
    restore(vault, before).await?;
    vault.delete(&format!("sys/mounts/{mount}")).await?;
    works
}

/// KV v2 that insists on check-and-set.
pub(super) async fn check_and_set(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    vault.write("sys/mounts/kvcas", engine).await?;
    // It is upgraded for a moment.
    e2e::scenario::eventually("engine", std::time::Duration::from_secs(20), async || {
        let set = vault
            .write("kvcas/config", json!({"cas_required": true}))
            .await;
        Ok(set.is_ok().then_some(()))
    })
    .await?;
    let before = covers(vault, "kvcas").await?;
    let probe = Probe::kv2("cas").steps(&steps()).target("mount", "kvcas");
    let prober = scene.prober([probe]);
    prober.probe(&[]).await?.exits(0)?;
    prober.run(&["doctor"]).await?.exits(0)?;
    restore(vault, before).await?;
    ensure!(
        vault.list("kvcas/metadata/vso-prober").await?.is_empty(),
        "left behind"
    );
    vault.delete("sys/mounts/kvcas").await.map(drop)
}

/// A mount that is a path of the engine: `doctor` says which is the root, and a run that can't delete what it wrote says so.
pub(super) async fn not_the_root(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let before = covers(vault, "kvv2/data").await?;
    let probe = Probe::kv2("deep").steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([probe.target("mount", "kvv2/data")]);
    let told = prober.run(&["doctor"]).await?.exits(1)?;
    for words in [
        "a path of the engine at `kvv2/`",
        "`static.mount`",
        "to `kvv2`",
    ] {
        ensure!(told.stdout.contains(words), "{words}: {told}");
    }
    let run = prober.probe(&[]).await?.only_run()?;
    restore(vault, before).await?;
    let left = run
        .leftovers
        .first()
        .map(String::as_str)
        .unwrap_or_default();
    ensure!(left.contains("kvv2/data/vso-prober"), "{run:#?}");
    // What is left can't be seen by the prober, and is the trial's to remove.
    let mut folders = vec!["kvv2/metadata/data/vso-prober".to_owned()];
    while let Some(folder) = folders.pop() {
        for key in vault.list(&folder).await? {
            let path = format!("{folder}/{key}");
            match path.strip_suffix('/') {
                Some(folder) => folders.push(folder.to_owned()),
                None => drop(vault.delete(&path).await?),
            }
        }
    }
    Ok(())
}

async fn checked(scene: &Scene, probe: Probe) -> Result<Outcome> {
    scene.prober([probe]).run(&["config", "check"]).await
}

/// What can't be supported is refused before a run, with what is meant.
pub(super) async fn refused(scene: &Scene) -> Result<()> {
    let auth = json!({"kubernetes": {"mount": "auth/kubernetes", "role": PROBER}});
    let prober = scene.prober([Probe::kv2("doubled")]).auth(auth);
    let outcome = prober.run(&["config", "check"]).await?.exits(2)?;
    outcome.says(&["Vault adds `auth/` itself", "`kubernetes`"])?;
    let nameless = Probe::pki("nameless").target("commonName", Value::Null);
    let outcome = checked(scene, nameless).await?.exits(2)?;
    outcome.says(&["neither `commonName` nor `altNames`"])?;
    let days = Probe::pki("days")
        .target("ttl", "90d")
        .target("notAfter", Value::Null);
    checked(scene, days).await?.exits(0)?;
    let text = Probe::kv2("default").target("authRef", Value::Null);
    checked(scene, text).await?.exits(0).map(drop)
}

/// A certificate without a common name.
pub(super) async fn other_names(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let role = json!({
        "allow_any_name": true, "enforce_hostnames": false, "require_cn": false, "key_type": "ec", "key_bits": 256, "ttl": "1h",
    });
    vault.write("pki/roles/nameless", role).await?;
    let probe = Probe::pki("named")
        .target("role", "nameless")
        .target("commonName", Value::Null)
        .target("altNames", json!(["one.example", "two.example"]));
    scene.prober([probe]).probe(&[]).await?.exits(0).map(drop)
}

/// An engine that is asked by a write, with parameters, and answers with a lease.
pub(super) async fn parameters(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let role = json!({
        "allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "key_bits": 256, "ttl": "1h",
        "generate_lease": true,
    });
    vault.write("pki/roles/leased", role).await?;
    let before = granted(vault, |policy| {
        policy.replace("database/creds/*", "pki/issue/leased/*")
    })
    .await?;
    let probe = Probe::database("written")
        .target("mount", "pki")
        .target("path", "issue/leased")
        .target("params", json!({"common_name": "written.example"}))
        .target("requestHTTPMethod", "POST");
    let prober = scene.prober([probe]);
    let outcome = prober.probe(&[]).await;
    let told = prober.run(&["doctor"]).await;
    restore(vault, before).await?;
    let run = outcome?.exits(0)?.only_run()?;
    ensure!(
        (run.leases.issued, run.leases.revoked) == (1, 1),
        "{run:#?}"
    );
    told?.exits(0)?;
    let left = vault.list("sys/leases/lookup/pki/issue/leased").await?;
    ensure!(left.is_empty(), "{left:?}");
    vault.delete("pki/roles/leased").await.map(drop)
}

/// A certificate that lasts for days, as people write it.
pub(super) async fn days(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let role = json!({
        "allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "key_bits": 256, "max_ttl": "100d",
    });
    vault.write("pki/roles/long", role).await?;
    let life = if hashicorp() { "ttl" } else { "notAfter" };
    let probe = Probe::pki("long")
        .target("role", "long")
        .target(life, "90d");
    let run = scene.prober([probe]).probe(&[]).await?.exits(0)?;
    ensure!(run.only_run()?.steps[0].proven, "{run}");
    vault.delete("pki/roles/long").await.map(drop)
}

/// Fixes are by the engine's type: words for one that is no database, and none that mounts a database in another's place.
pub(super) async fn other_engines(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    vault
        .write("sys/mounts/rabbitmq", json!({"type": "rabbitmq"}))
        .await?;
    vault
        .write("sys/mounts/signing", json!({"type": "ssh"}))
        .await?;
    let token = scene.file(vault.token())?;
    let told = async |mount: &str, path: &str| -> Result<Outcome> {
        let probe = Probe::database("other")
            .target("mount", mount)
            .target("path", path);
        let prober = scene
            .prober([probe])
            .auth(json!({"token": {"file": token}}));
        prober.run(&["doctor"]).await?.exits(1)
    };
    let absent = told("rabbitmq", "creds/nope").await?;
    ensure!(!absent.stdout.contains("CREATE ROLE"), "{absent}");
    ensure!(
        absent
            .stdout
            .contains("create the role `rabbitmq/roles/nope`"),
        "{absent}"
    );
    let unmounted = told("ldap", "creds/nope").await?;
    ensure!(!unmounted.stdout.contains("database"), "{unmounted}");
    let leaseless = told("signing", "sign/x").await?;
    ensure!(
        leaseless.stdout.contains("gives nothing with a lease"),
        "{leaseless}"
    );
    for mount in ["rabbitmq", "signing"] {
        vault.delete(&format!("sys/mounts/{mount}")).await?;
    }
    Ok(())
}

/// A login in one namespace of Vault's, and the secrets of each kind in one below it.
pub(super) async fn namespaces(scene: &Scene) -> Result<()> {
    if hashicorp() {
        return Ok(());
    }
    let vault = scene.lab().vault();
    vault.write("sys/namespaces/app", json!({})).await?;
    let engine = json!({"type": "kv", "options": {"version": "2"}});
    vault.write("app/sys/mounts/kv", engine).await?;
    vault
        .write("app/sys/mounts/pki", json!({"type": "pki"}))
        .await?;
    let root = json!({"common_name": "app", "ttl": "87600h", "key_type": "ec", "key_bits": 256});
    vault.write("app/pki/root/generate/internal", root).await?;
    let role = json!({"allow_any_name": true, "key_type": "ec", "key_bits": 256, "ttl": "1h"});
    vault.write("app/pki/roles/probe", role).await?;
    let before = granted(vault, |policy| {
        let pki = "path \"app/pki/*\" { capabilities = [\"create\", \"update\", \"read\"] }";
        format!("{}\n{pki}", of_mount(policy, "app/kv"))
    })
    .await?;
    let fixed = Probe::kv2("inner")
        .steps(&steps())
        .target("mount", "kv")
        .within("app");
    let signed = Probe::pki("inner-signed").within("app");
    let prober = scene.prober([fixed, signed]);
    let outcome = prober.probe(&[]).await;
    let told = prober.run(&["doctor"]).await;
    let printed = prober.run(&["doctor", "--print-policy"]).await;
    restore(vault, before).await?;
    let outcome = outcome?;
    ensure!(outcome.code == Some(0), "{outcome}");
    let told = told?;
    ensure!(told.code == Some(0), "{told}");
    let printed = printed?;
    ensure!(
        printed
            .stdout
            .contains("path \"app/kv/data/vso-prober/default/*\""),
        "{printed}"
    );
    ensure!(
        vault
            .list("app/kv/metadata/vso-prober/default")
            .await?
            .is_empty(),
        "left behind"
    );
    vault.delete("sys/namespaces/app").await.map(drop)
}

/// Labels and annotations that policies demand are on the resource and on its Secret, which stay the canary's.
pub(super) async fn marks(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("marked").steps(&[Step::Create, Step::Tamper, Step::Delete]);
    let prober = scene.prober([probe]).edit(|config| {
        config["canaries"] = json!({
            "labels": {"team": "platform"}, "annotations": {"example.com/contact": "platform, on call"},
        });
    });
    let running = prober.start(&["probe", "-o", "json"])?;
    let resource = scene.canary(Kind::Static, "marked").await?;
    let secret = scene.secret("marked").await?;
    let run = running.ended().await?.exits(0)?;
    for (labels, annotations) in [
        (resource.labels(), resource.annotations()),
        (secret.labels(), secret.annotations()),
    ] {
        ensure!(
            labels.get("team").is_some_and(|team| team == "platform"),
            "{labels:?} {run}"
        );
        ensure!(
            annotations.contains_key("example.com/contact"),
            "{annotations:?} {run}"
        );
    }
    let own = scene.prober([Probe::kv2("marked")]).edit(|config| {
        config["canaries"] = json!({"labels": {"vso-prober/instance": "other", "a": "no blanks"}});
    });
    let refused = own.run(&["config", "check"]).await?.exits(2)?;
    refused.says(&["canaries.labels.vso-prober/instance", "canaries.labels.a"])?;
    ensure!(
        secret.namespace().as_deref() == Some(NAMESPACE),
        "{refused}"
    );
    Ok(())
}
