//! Trials of the shipped admission policy: the writers of objects with the canaries' label, and of events about canaries.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Probe, Scene, eventually};
use serde_json::json;
use vso_prober::model::{Step, Verdict};

/// A tenant with what Kubernetes' own role `edit` has, and with the operator's resources.
const TENANT: &str = "tenant";

/// What the policy says to whom it refuses.
const LABEL: &str =
    "which only the prober and Vault Secrets Operator may write or delete; leave the label off";
const EVENT: &str = "of which only Vault Secrets Operator tells";

/// With the policy a tenant can't make what looks like a canary, nor tell of one, and canaries live and go as ever.
pub(super) async fn label(scene: &Scene) -> Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../manifests/guard");
    let folder = folder.display();
    let kubectl = tenant(scene).await?;
    scene.shell(&format!("kubectl apply -k '{folder}'")).await?;
    let tried = tries(scene, &kubectl).await;
    scene
        .shell(&format!("kubectl delete -k '{folder}'"))
        .await?;
    scene
        .shell(&format!(
            "kubectl delete secret own -n {NAMESPACE} --ignore-not-found"
        ))
        .await?;
    tried
}

async fn tries(scene: &Scene, kubectl: &str) -> Result<()> {
    let secret = |name: &str| {
        json!({"apiVersion": "v1", "kind": "Secret", "metadata": {
            "name": name, "namespace": NAMESPACE, "labels": {"vso-prober/instance": "default"},
        }})
    };
    // A policy is in force a moment after it was written.
    let dry = format!(
        "{kubectl} create --dry-run=server -f - <<'EOF' 2>&1\n{}\nEOF",
        secret("early")
    );
    eventually("policy in force", Duration::from_secs(30), async || {
        Ok(scene.shell(&dry).await.err())
    })
    .await?;
    let event = |api: &str, about: &str, canary: &str| {
        let mut event = json!({
            "apiVersion": api, "kind": "Event", "type": "Warning", "reason": "Forged",
            "metadata": {"name": format!("{canary}.1"), "namespace": NAMESPACE},
        });
        event[about] = json!({"kind": "VaultStaticSecret", "namespace": NAMESPACE, "name": canary});
        if about == "regarding" {
            event["note"] = "Vault is sealed".into();
            event["action"] = "Forged".into();
            event["eventTime"] = "2026-01-01T00:00:00.000000Z".into();
            event["reportingController"] = "VaultStaticSecret".into();
            event["reportingInstance"] = "VaultStaticSecret".into();
        } else {
            event["message"] = "Vault is sealed".into();
        }
        event
    };
    let resource = json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
        "metadata": {"name": "vsop-a-b", "namespace": NAMESPACE, "labels": {"vso-prober/instance": "default"}},
        "spec": {"mount": "kvv2", "type": "kv-v2", "path": "a", "destination": {"name": "a", "create": true}},
    });
    let apply =
        |object: &serde_json::Value| format!("{kubectl} create -f - <<'EOF' 2>&1\n{object}\nEOF");
    scene
        .shell(&format!(
            "{kubectl} create secret generic own -n {NAMESPACE}"
        ))
        .await?;
    scene
        .shell(&apply(&event("v1", "involvedObject", "other")))
        .await?;
    scene
        .shell(&apply(&event("events.k8s.io/v1", "regarding", "another")))
        .await?;
    for (command, words) in [
        (apply(&secret("vsop-a-b")), LABEL),
        (apply(&resource), LABEL),
        (
            format!("{kubectl} label secret own vso-prober/instance=default -n {NAMESPACE} 2>&1"),
            LABEL,
        ),
        (apply(&event("v1", "involvedObject", "vsop-a-b")), EVENT),
        (
            apply(&event("events.k8s.io/v1", "regarding", "vsop-a-c")),
            EVENT,
        ),
    ] {
        let refused = scene.shell(&command).await.err();
        let refused = refused.with_context(|| format!("`{command}` is let in"))?;
        ensure!(refused.to_string().contains(words), "{refused:#}");
    }
    a_canary_in_use(scene, kubectl).await
}

/// One that the tenant tries to change while it is there.
async fn a_canary_in_use(scene: &Scene, kubectl: &str) -> Result<()> {
    let steps = [
        Step::Create,
        Step::Update,
        Step::Tamper,
        Step::Recreate,
        Step::Delete,
    ];
    let probe = Probe::kv2("guarded")
        .target("refreshAfter", "5s")
        .steps(&steps);
    let prober = scene.prober([probe]);
    let running = prober.start(&["probe", "-o", "json"])?;
    let canary = scene
        .secret("guarded")
        .await?
        .metadata
        .name
        .context("a name")?;
    for command in [
        format!("label secret {canary} vso-prober/instance- -n {NAMESPACE}"),
        format!("delete secret {canary} -n {NAMESPACE}"),
        format!("annotate vaultstaticsecret {canary} a=b -n {NAMESPACE}"),
    ] {
        let refused = scene
            .shell(&format!("{kubectl} {command} 2>&1"))
            .await
            .err();
        let refused = refused.with_context(|| format!("`{command}` is let in"))?;
        ensure!(refused.to_string().contains(LABEL), "{refused:#}");
    }
    let run = running.ended().await?.exits(0)?.only_run()?;
    ensure!(run.leftovers.is_empty() && run.steps.len() == 5, "{run:#?}");
    ensure!(
        run.steps.iter().all(|step| step.result == Verdict::Success),
        "{run:#?}"
    );
    scene
        .shell(&format!("kubectl delete events --all -n {NAMESPACE}"))
        .await
        .map(drop)
}

/// The command by which the tenant speaks to the API server.
async fn tenant(scene: &Scene) -> Result<String> {
    let metadata = json!({"name": TENANT, "namespace": NAMESPACE});
    let subjects = json!([{"kind": "ServiceAccount", "name": TENANT, "namespace": NAMESPACE}]);
    let rbac = "rbac.authorization.k8s.io";
    scene
        .apply(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
        .await?;
    scene
        .apply(json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata,
            "rules": [{"apiGroups": ["secrets.hashicorp.com"], "resources": ["*"], "verbs": ["*"]},
                      {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["*"]}],
        }))
        .await?;
    for (name, kind, role) in [
        (TENANT, "Role", TENANT),
        ("tenant-edits", "ClusterRole", "system:aggregate-to-edit"),
        ("tenant-views", "ClusterRole", "system:aggregate-to-view"),
    ] {
        scene
            .apply(json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": name, "namespace": NAMESPACE},
                "roleRef": {"apiGroup": rbac, "kind": kind, "name": role}, "subjects": subjects,
            }))
            .await?;
    }
    let token = scene.token(TENANT, None).await?;
    let kubeconfig = scene.kubeconfig(|_, user| user["token"] = token.into())?;
    Ok(format!("kubectl --kubeconfig '{}'", kubeconfig.display()))
}
