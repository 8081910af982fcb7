//! The least rights of the judge of audit logs, as they are shipped: with them no rule is off, without any one something is told.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Prober, Scene, eventually};
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule, Role};
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};

use super::{Check, Lesser, PATIENCE, checks, lesser, log_in_as, resources, write_policy};
use crate::manifests::installed::{documents, install};
use crate::manifests::shipped::{read, root};

/// Its account, and its role outside the canaries' namespace.
const ACCOUNT: &str = "vso-prober-audit";
const OUTSIDE: &str = "vso-prober-audit.vso-probe";

/// The judge beside the shipped prober, with the shipped rights, what is printed as its policy, and the lab's log. Returns the
/// prober, too.
async fn judge(scene: &Scene) -> Result<(Prober, Prober)> {
    let prober = install(scene).await?;
    let accounts = root().join("manifests/overlays/audit/accounts.yaml");
    let apply = format!("kubectl apply --filename '{}'", accounts.display());
    scene.shell(&apply).await?;
    let [kubeconfig, token] = log_in_as(scene, ACCOUNT).await?;
    let shipped = documents(&read("manifests/overlays/audit/config.yaml")?)?.remove(0);
    let log = scene.lab().vault_audit_file();
    let state = scene.path("state");
    std::fs::create_dir_all(&state)?;
    let judge = prober.clone().config_file(&scene.path("yaml"));
    let judge = judge.kubeconfig(&kubeconfig).edit(|config| {
        config["vault"]["auth"] = shipped["vault"]["auth"].clone();
        config["vault"]["auth"]["kubernetes"]["tokenFile"] = json!(token);
        config["audit"] = json!({
            "state": state, "lag": "5s", "readers": shipped["audit"]["readers"],
            "sources": [{"name": "vault-0", "file": {"path": log}}],
            "decoys": [{"mount": "kvv2", "path": "aws/prod-root"}],
        });
    });
    write_policy(scene, ACCOUNT, &policy(&judge).await?).await?;
    Ok((judge, prober))
}

async fn policy(judge: &Prober) -> Result<String> {
    let printed = judge
        .run(&["doctor", "--only", "audit", "--print-policy"])
        .await?;
    Ok(printed.exits(0)?.stdout)
}

async fn examined(judge: &Prober) -> Result<(i32, Vec<Check>)> {
    checks(judge, &["doctor", "--only", "audit", "-o", "json"]).await
}

/// Waits until `doctor` misses something of a topic.
async fn missed(judge: &Prober, topic: &str, words: &[&str]) -> Result<()> {
    eventually(&format!("word on {words:?}"), PATIENCE, async || {
        let (code, checks) = examined(judge).await?;
        let told = checks.iter().any(|check| {
            let text = format!("{} {}", check.subject, check.text);
            check.check == topic
                && check.result == "finding"
                && words.iter().all(|word| text.contains(word))
        });
        Ok((told && code == 1).then_some(()))
    })
    .await
}

async fn well(judge: &Prober) -> Result<()> {
    eventually("health", PATIENCE, async || {
        let (code, checks) = examined(judge).await?;
        let well = checks
            .iter()
            .all(|check| check.is_well() || check.result == "skipped");
        Ok((code == 0 && well).then_some(()))
    })
    .await
}

/// `doctor` is content, and `serve --only audit` knows all that it goes by: after three canaries no rule is off but those that
/// want the API server's log, or two readings of the operator's metrics a minute apart.
pub(super) async fn all_works(scene: &Scene) -> Result<()> {
    let (judge, prober) = judge(scene).await?;
    well(&judge).await?;
    let server = judge.serve(&["--only", "audit"]).await?;
    prober.probe(&["--count", "3"]).await?.exits(0)?;
    let last = std::sync::Mutex::new(Value::Null);
    let known = eventually("rules that are on", Duration::from_secs(60), async || {
        let Ok(told) = server.json("/api/v1/audit/sources").await else {
            return Ok(None);
        };
        let source = told["sources"][0].clone();
        let off = source["off"].as_array().into_iter().flatten();
        let lacks = off.filter(|off| {
            let rule = off["rule"].as_str().unwrap_or_default();
            !["unbacked", "issuer", "books"].contains(&rule)
        });
        let well = source["up"] == true && lacks.count() == 0;
        if let Ok(mut last) = last.lock() {
            *last = source;
        }
        Ok(well.then_some(()))
    });
    known
        .await
        .with_context(|| last.into_inner().unwrap_or_default().to_string())?;
    let outcome = server.stop().await?;
    for words in ["can't look at", "could not read the operator's metrics"] {
        ensure!(!outcome.stderr.contains(words), "{}", outcome.stderr);
    }
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// What a change of a role's rules does. The right on the operator's Pods is in that on all Pods, too.
struct Rights {
    roles: Api<Role>,
    wide: Api<ClusterRole>,
}

impl Rights {
    fn in_namespace(scene: &Scene, namespace: &str) -> Self {
        Self {
            roles: Api::namespaced(scene.lab().client(), namespace),
            wide: Api::all(scene.lab().client()),
        }
    }

    async fn set(&self, name: &str, rules: &[PolicyRule]) -> Result<()> {
        let patch = Patch::Merge(json!({"rules": rules}));
        let params = PatchParams::default();
        self.roles.patch(name, &params, &patch).await?;
        Ok(())
    }

    async fn set_wide(&self, rules: &[PolicyRule]) -> Result<()> {
        let patch = Patch::Merge(json!({"rules": rules}));
        let params = PatchParams::default();
        self.wide.patch(OUTSIDE, &params, &patch).await?;
        Ok(())
    }
}

fn without(rules: &[PolicyRule], resource: &str) -> Vec<PolicyRule> {
    let others = rules.iter().filter(|rule| resources(rule) != [resource]);
    others.cloned().collect()
}

/// Takes each rule away in its turn: `doctor` misses it.
pub(super) async fn each_rule(scene: &Scene) -> Result<()> {
    let (judge, _) = judge(scene).await?;
    well(&judge).await?;
    let mut tried = 0;
    for (namespace, name) in [(NAMESPACE, ACCOUNT), (OPERATOR_NAMESPACE, OUTSIDE)] {
        let rights = Rights::in_namespace(scene, namespace);
        let whole = rights.roles.get(name).await?.rules.unwrap_or_default();
        let wide = rights.wide.get(OUTSIDE).await?.rules.unwrap_or_default();
        for rule in &whole {
            let resource = resources(rule).join("");
            rights.set(name, &without(&whole, &resource)).await?;
            if resource == "pods" {
                rights.set_wide(&without(&wide, "pods")).await?;
                missed(&judge, "audit-presence", &[namespace]).await?;
            }
            ensure!(rule.verbs.len() == 1, "{rule:?}");
            let place = format!(" in {namespace}");
            missed(&judge, "rbac", &[&resource, &place, &rule.verbs[0]])
                .await
                .with_context(|| format!("without {resource} in {namespace}"))?;
            rights.set(name, &whole).await?;
            rights.set_wide(&wide).await?;
            well(&judge).await?;
            tried += 1;
        }
    }
    let rights = Rights::in_namespace(scene, NAMESPACE);
    let wide = rights.wide.get(OUTSIDE).await?.rules.unwrap_or_default();
    for rule in &wide {
        let resource = resources(rule).join("");
        rights.set_wide(&without(&wide, &resource)).await?;
        missed(&judge, "rbac", &[&resource, "in all namespaces", "list"]).await?;
        rights.set_wide(&wide).await?;
        well(&judge).await?;
        tried += 1;
    }
    ensure!(tried == 7, "{tried} rules");
    Ok(())
}

/// Without what it can't do without, `serve` says so, and which of its sources it can't rely on.
pub(super) async fn each_is_told(scene: &Scene) -> Result<()> {
    let (judge, _) = judge(scene).await?;
    let rights = Rights::in_namespace(scene, OPERATOR_NAMESPACE);
    let whole = rights.roles.get(OUTSIDE).await?.rules.unwrap_or_default();
    let wide = rights.wide.get(OUTSIDE).await?.rules.unwrap_or_default();
    for (resource, words, blind) in [
        ("vaultauths", "the VaultAuths", true),
        ("pods", "the operator's Pods", true),
        ("pods", "the ServiceAccounts of all Pods", false),
    ] {
        rights.set_wide(&without(&wide, resource)).await?;
        if blind {
            rights.set(OUTSIDE, &without(&whole, resource)).await?;
        }
        missed(&judge, "rbac", &[resource]).await?;
        // What an earlier one saw of the Pods is of no use to it.
        let state = scene.path("state");
        let judge = judge
            .clone()
            .edit(|config| config["audit"]["state"] = json!(state));
        let server = judge.serve(&["--only", "audit"]).await?;
        let down = eventually("word on the source", Duration::from_secs(30), async || {
            let told = server.json("/api/v1/audit/sources").await.ok();
            let source = told.map(|told| told["sources"][0].clone());
            let source = source.filter(|source| !source.is_null());
            // At first, nothing is known yet.
            Ok(source.filter(|source| blind || source["up"] == true))
        })
        .await?;
        ensure!(blind != (down["up"] == true), "without {resource}: {down}");
        // A source that is down for another reason comes up meanwhile.
        tokio::time::sleep(Duration::from_secs(3)).await;
        let told = server.json("/api/v1/audit/sources").await?;
        ensure!(
            blind == (told["sources"][0]["up"] == false),
            "without {resource}: {told}"
        );
        let outcome = server.stop().await?;
        ensure!(
            outcome.stderr.contains(words),
            "no `{words}`: {}",
            outcome.stderr
        );
        rights.set(OUTSIDE, &whole).await?;
        rights.set_wide(&wide).await?;
        well(&judge).await?;
    }
    Ok(())
}

/// Takes each capability in Vault away in its turn, those on decoys among them.
pub(super) async fn each_capability(scene: &Scene) -> Result<()> {
    let (judge, _) = judge(scene).await?;
    let policy = policy(&judge).await?;
    let mut tried = Vec::new();
    for Lesser { path, gone, rest } in lesser(&policy)? {
        write_policy(scene, ACCOUNT, &rest).await?;
        if path == "sys/capabilities-self" {
            let (code, checks) = examined(&judge).await?;
            ensure!(code == 0, "{checks:?}");
        } else {
            missed(&judge, "vault-policy", &[path, gone])
                .await
                .with_context(|| format!("without {gone} on {path}"))?;
        }
        tried.push(format!("{gone} {path}"));
    }
    write_policy(scene, ACCOUNT, &policy).await?;
    tried.sort_unstable();
    ensure!(
        tried
            == [
                "create kvv2/data/aws/prod-root",
                "read auth/token/lookup-self",
                "read kvv2/data/aws/prod-root",
                "update auth/token/renew-self",
                "update auth/token/revoke-self",
                "update sys/capabilities-self",
            ],
        "{tried:?}"
    );
    well(&judge).await
}

/// What its account must not be able to do.
pub(super) async fn nothing_else(scene: &Scene) -> Result<()> {
    judge(scene).await?;
    let token = scene.token(ACCOUNT, None).await?;
    let kubeconfig = scene.kubeconfig(|_, user| user["token"] = token.into())?;
    for command in [
        "get secrets -A",
        "get secrets -n vso-probe",
        "get secret vso-prober-audit -n vso-probe",
        &format!("get secrets -n {OPERATOR_NAMESPACE}"),
        "get configmaps -n vso-probe",
        "get events -A",
        &format!("get events -n {OPERATOR_NAMESPACE}"),
        &format!("get leases -n {OPERATOR_NAMESPACE}"),
        "get vaultstaticsecrets.secrets.hashicorp.com -A",
        "get vaultconnections.secrets.hashicorp.com -A",
        "create token default -n vso-probe",
        "create token vso-prober -n vso-probe",
        "create token vso-prober-audit -n vso-probe",
        &format!("delete pods --all -n {OPERATOR_NAMESPACE}"),
        "get --raw /metrics",
    ] {
        let script = format!(
            "kubectl --kubeconfig '{}' {command} 2>&1",
            kubeconfig.display()
        );
        let refusal = scene.shell(&script).await.err();
        let refusal = refusal.with_context(|| format!("`{command}` is allowed"))?;
        ensure!(
            refusal.to_string().contains("orbidden"),
            "{command}: {refusal}"
        );
    }
    Ok(())
}
