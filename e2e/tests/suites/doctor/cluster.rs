//! Faults of Kubernetes, and of the operator in it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Probe, Scene, eventually};
use k8s_openapi::api::core::v1::ResourceQuota;
use kube::api::Api;
use serde_json::{Value, json};
use vso_prober::model::Step;

use super::patient::{Patient, Report};

const GROUP: &str = "secrets.hashicorp.com";

/// A probe of few steps, for runs that show that a fix does more than please.
fn short(auth: &str) -> Probe {
    Probe::kv2("kv2")
        .auth(auth)
        .steps(&[Step::Create, Step::Delete])
}

pub(super) async fn unreachable(scene: &Scene) -> Result<()> {
    let mut patient = super::patient(scene, "cut-off").await?;
    let healthy = patient.prober.clone();
    let wrong = scene.kubeconfig(|cluster, _| cluster["server"] = "https://127.0.0.1:9".into())?;
    patient.prober = patient.prober.kubeconfig(&wrong);
    let report = Report::of(scene, &patient.prober, 1).await?;
    report.finding("kubernetes", "kubectl config view --minify")?;
    patient.prober = healthy;
    patient.is_well().await.map(drop)
}

pub(super) async fn token(scene: &Scene) -> Result<()> {
    let mut patient = super::patient(scene, "stranger").await?;
    let healthy = patient.prober.clone();
    let wrong = scene.kubeconfig(|_, user| user["token"] = "nonsense".into())?;
    patient.prober = patient.prober.kubeconfig(&wrong);
    let report = Report::of(scene, &patient.prober, 1).await?;
    report.finding("kubernetes", "kubectl create token")?;
    patient.prober = healthy;
    patient.is_well().await.map(drop)
}

/// Applies the fix of one finding after the other, until there is none.
async fn cured_at_last(scene: &Scene, mut patient: Patient<'_>) -> Result<Vec<String>> {
    let mut topics = Vec::new();
    for _ in 0..8 {
        let (code, report) = Report::any(scene, &patient.prober, &[]).await?;
        let Some(first) = report.found("finding").first().copied().cloned() else {
            ensure!(code == 0, "{report}");
            return Ok(topics);
        };
        topics.push(first.check);
        patient = patient.treated(&first.fix.unwrap_or_default()).await?;
    }
    let (_, report) = Report::any(scene, &patient.prober, &[]).await?;
    anyhow::bail!("not well after {topics:?}:\n{report}")
}

/// For an administrator, who may look: the namespace, then what is to be in it.
pub(super) async fn namespace(scene: &Scene) -> Result<()> {
    scene.vault_auth(NAMESPACE, "distant", json!({})).await?;
    let mut patient = Patient::new(scene, "distant", [short("vso-probe/distant")]).await?;
    patient.prober = patient.prober.kubeconfig(scene.lab().kubeconfig());
    let patient = patient.edit(|config| config["kubernetes"]["namespace"] = "elsewhere".into());
    let topics = cured_at_last(scene, patient).await?;
    ensure!(
        topics == ["namespace", "vault-auth", "service-account"],
        "{topics:?}"
    );
    scene
        .shell("kubectl delete namespace elsewhere --wait=false")
        .await
        .map(drop)
}

/// For the prober itself, who may not look and has no rights there.
pub(super) async fn no_rights(scene: &Scene) -> Result<()> {
    scene
        .vault_auth(NAMESPACE, "abroad", json!({"allowedNamespaces": ["*"]}))
        .await?;
    let patient = Patient::new(scene, "abroad", [short("vso-probe/abroad")]).await?;
    let patient = patient.edit(|config| config["kubernetes"]["namespace"] = "overseas".into());
    let topics = cured_at_last(scene, patient).await?;
    ensure!(topics[0] == "namespace", "{topics:?}");
    scene
        .shell("kubectl delete namespace overseas --wait=false")
        .await
        .map(drop)
}

pub(super) async fn admission(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "refused").await?;
    let group = "admissionregistration.k8s.io/v1";
    let policy = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "no-canaries"},
        "spec": {
            "matchConstraints": {"resourceRules": [{"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["vaultstaticsecrets"]}]},
            "validations": [{"expression": "false", "message": "no canaries here"}],
        },
    });
    let binding = json!({
        "apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "no-canaries"},
        "spec": {"policyName": "no-canaries", "validationActions": ["Deny"]},
    });
    scene.apply(policy.clone()).await?;
    scene.apply(binding.clone()).await?;
    let found = eventually("refusal", Duration::from_secs(30), async || {
        let (code, report) = Report::any(scene, &patient.prober, &[]).await?;
        Ok((code == 1).then_some(report))
    })
    .await;
    for object in [&binding, &policy] {
        let named = json!({"apiVersion": object["apiVersion"], "kind": object["kind"], "metadata": object["metadata"]});
        scene.remove(named).await?;
    }
    let report = found?;
    let check = report.finding("admission", "exempt the namespace `vso-probe`")?;
    ensure!(check.text.contains("no canaries here"), "{report}");
    patient.is_well().await.map(drop)
}

pub(super) async fn quota(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "squeezed").await?;
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE}, "spec": {"hard": {"secrets": "0"}}});
    scene.apply(quota.clone()).await?;
    let quotas: Api<ResourceQuota> = Api::namespaced(scene.lab().client(), NAMESPACE);
    eventually("count", Duration::from_secs(20), async || {
        let status = quotas.get("none").await?.status;
        Ok(status.and_then(|status| status.used))
    })
    .await?;
    let cured = patient
        .cured("quota", "kubectl patch resourcequota none")
        .await;
    let ran = match &cured {
        Ok(patient) => patient
            .prober
            .probe(&[])
            .await
            .and_then(|outcome| outcome.exits(0))
            .map(drop),
        Err(_) => Ok(()),
    };
    scene.remove(json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE}})).await?;
    cured?;
    ran
}

/// What is printed is all that it takes, in Vault too: a run is green.
pub(super) async fn auth_missing(scene: &Scene) -> Result<()> {
    let patient = Patient::new(scene, "orphan", [short("made-anew")]).await?;
    let patient = patient.cured("vault-auth", "kind: VaultAuth").await?;
    patient.prober.probe(&[]).await?.exits(0).map(drop)
}

pub(super) async fn auth_forbids(scene: &Scene) -> Result<()> {
    let spec = json!({"vaultConnectionRef": "vso-probe/probe", "allowedNamespaces": ["other"]});
    scene.vault_auth(OPERATOR_NAMESPACE, "strict", spec).await?;
    let auth = format!("{OPERATOR_NAMESPACE}/strict");
    let patient = Patient::new(scene, "uninvited", [short(&auth)]).await?;
    let patient = patient
        .cured(
            "vault-auth",
            r#"{"spec":{"allowedNamespaces":["other","vso-probe"]}}"#,
        )
        .await?;
    patient.prober.probe(&[]).await?.exits(0).map(drop)
}

pub(super) async fn connection_missing(scene: &Scene) -> Result<()> {
    scene
        .vault_auth(
            NAMESPACE,
            "dangling",
            json!({"vaultConnectionRef": "made-later"}),
        )
        .await?;
    let patient = Patient::new(scene, "dangling", [short("dangling")]).await?;
    let patient = patient
        .cured("vault-connection", "kind: VaultConnection")
        .await?;
    patient.prober.probe(&[]).await?.exits(0).map(drop)
}

pub(super) async fn connection_invalid(scene: &Scene) -> Result<()> {
    let connection = json!({
        "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
        "metadata": {"name": "astray", "namespace": NAMESPACE}, "spec": {"address": "http://127.0.0.1:9"},
    });
    scene.apply(connection).await?;
    scene
        .vault_auth(NAMESPACE, "astray", json!({"vaultConnectionRef": "astray"}))
        .await?;
    let patient = Patient::new(scene, "astray", [short("astray")]).await?;
    eventually(
        "word of the operator",
        Duration::from_secs(60),
        async || {
            let (code, _) = Report::any(scene, &patient.prober, &[]).await?;
            Ok((code == 1).then_some(()))
        },
    )
    .await?;
    patient
        .cured("vault-connection", "kubectl patch vaultconnection astray")
        .await
        .map(drop)
}

pub(super) async fn account_missing(scene: &Scene) -> Result<()> {
    scene
        .vault_auth(
            NAMESPACE,
            "faceless",
            json!({"kubernetes": {"serviceAccount": "faceless-one"}}),
        )
        .await?;
    let patient = Patient::new(scene, "faceless", [short("faceless")]).await?;
    patient
        .cured(
            "service-account",
            "kubectl create serviceaccount faceless-one -n vso-probe",
        )
        .await
        .map(drop)
}

pub(super) async fn operator_stopped(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "waiting").await?;
    scene.lab().stop_operator().await?;
    let report = Report::of(scene, &patient.prober, 1).await;
    // It is no Deployment here.
    scene.lab().start_operator().await?;
    report?.finding("operator", "kubectl rollout restart deployment")?;
    patient.is_well().await.map(drop)
}

pub(super) async fn crd(scene: &Scene) -> Result<()> {
    let patient = Patient::new(scene, "kindless", [Probe::database("db")]).await?;
    let name = "vaultdynamicsecrets.secrets.hashicorp.com";
    let crd = scene
        .shell(&format!("kubectl get crd {name} -o json"))
        .await?;
    let mut crd: Value = serde_json::from_str(&crd)?;
    let metadata = json!({"name": name});
    crd["metadata"] = metadata;
    crd.as_object_mut().context("an object")?.remove("status");
    let file = scene.file(&crd.to_string())?;
    scene.shell(&format!("kubectl delete crd {name}")).await?;
    // Charts come from a registry, which a test has no need to ask.
    scene.program(
        "helm",
        &format!("[ \"$1\" != show ] || cat {}\n", file.display()),
    )?;
    let report = eventually("word", Duration::from_secs(20), async || {
        let (code, report) = Report::any(scene, &patient.prober, &[]).await?;
        Ok((code == 1).then_some(report))
    })
    .await?;
    let fix = report
        .finding("crd", "helm show crds hashicorp/vault-secrets-operator")?
        .fix
        .clone();
    patient
        .treated(&fix.unwrap_or_default())
        .await?
        .is_well()
        .await
        .map(drop)
}
