//! Faults of Vault and of the login to it.

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Probe, Scene};
use serde_json::json;

use super::patient::{Patient, Report};

/// A Vault that is not found is asked after where the operator finds it, and a person has to say so.
async fn elsewhere(scene: &Scene, address: &str, topic: &str) -> Result<()> {
    let patient = super::patient(scene, "lost").await?;
    let patient = patient.edit(|config| config["vault"]["address"] = address.into());
    let report = Report::of(scene, &patient.prober, 1).await?;
    let right = scene.lab().vault().address().to_owned();
    let question = format!("or is Vault at {right}, as in the VaultConnection");
    report.finding(topic, &question)?;
    let patient = patient.edit(|config| config["vault"]["address"] = right.into());
    patient.is_well().await.map(drop)
}

pub(super) async fn address(scene: &Scene) -> Result<()> {
    elsewhere(scene, "http://127.0.0.1:9", "vault-tcp").await
}

pub(super) async fn name(scene: &Scene) -> Result<()> {
    elsewhere(scene, "http://vault.invalid:8200", "vault-name").await
}

/// The operator's metrics answer where Vault should.
pub(super) async fn no_vault(scene: &Scene) -> Result<()> {
    let url = scene.lab().metrics_url().await;
    elsewhere(scene, url.trim_end_matches("/metrics"), "vault-state").await
}

pub(super) async fn sealed(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "sealed").await?;
    scene.lab().vault().seal().await?;
    let report = Report::of(scene, &patient.prober, 1).await;
    // The command asks for a share of the key at a terminal.
    scene.lab().vault().unseal().await?;
    report?.finding("vault-state", "vault operator unseal")?;
    patient.is_well().await.map(drop)
}

pub(super) async fn role_unknown(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "nobody").await?;
    patient
        .edit(|config| config["vault"]["auth"]["kubernetes"]["role"] = "unheard-of".into())
        .cured(
            "vault-login",
            "vault write auth/kubernetes/role/unheard-of bound_service_account_names=nobody",
        )
        .await
        .map(drop)
}

pub(super) async fn method_unknown(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "nobody").await?;
    let patient =
        patient.edit(|config| config["vault"]["auth"]["kubernetes"]["mount"] = "k8s".into());
    let report = Report::of(scene, &patient.prober, 1).await?;
    let fix = report
        .finding("vault-login", "vault auth enable -path=k8s kubernetes")?
        .fix
        .clone();
    let fix = fix.context("a finding has a fix")?;
    // The lab's API server is not where a pod finds it.
    let config = scene.lab().vault().read("auth/kubernetes/config").await?;
    let host = config["data"]["kubernetes_host"]
        .as_str()
        .context("a host")?;
    let ca = scene.file(
        config["data"]["kubernetes_ca_cert"]
            .as_str()
            .context("a CA")?,
    )?;
    let account = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "nobody-reviews"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": "nobody"}]});
    scene.apply(account).await?;
    let reviewer = scene.token("nobody", None).await?;
    let own = format!(
        "kubernetes_host={host} kubernetes_ca_cert=@{} token_reviewer_jwt={reviewer} disable_local_ca_jwt=true",
        ca.display()
    );
    ensure!(
        fix.contains("kubernetes_host=https://kubernetes.default.svc"),
        "{fix}"
    );
    let fix = fix.replace("kubernetes_host=https://kubernetes.default.svc", &own);
    patient.treated(&fix).await?.is_well().await?;
    scene.lab().vault().delete("sys/auth/k8s").await.map(drop)
}

pub(super) async fn approle(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "nobody").await?;
    let (role, secret) = (scene.file("no-such-role")?, scene.file("no-such-secret")?);
    let auth = json!({"appRole": {"mount": "approle", "roleIdFile": role, "secretIdFile": secret}});
    patient
        .edit(|config| config["vault"]["auth"] = auth)
        .cured("vault-login", "vault write -f -field=secret_id")
        .await
        .map(drop)
}

pub(super) async fn jwt(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "nobody").await?;
    let file = scene.file(&scene.token("nobody", Some("vault")).await?)?;
    let auth = json!({"jwt": {"mount": "jwt", "role": "unheard", "tokenFile": file}});
    patient
        .edit(|config| config["vault"]["auth"] = auth)
        .cured(
            "vault-login",
            "bound_subject=system:serviceaccount:vso-probe:nobody bound_audiences=vault",
        )
        .await
        .map(drop)
}

pub(super) async fn token_expired(scene: &Scene) -> Result<()> {
    let token = scene.expired_token().await?;
    let patient = super::patient(scene, "late").await?;
    let file = scene.file(&token)?;
    patient
        .edit(|config| config["vault"]["auth"] = json!({"token": {"file": file}}))
        .cured("vault-login", "vault token create -policy=vso-prober")
        .await
        .map(drop)
}

pub(super) async fn token_missing(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "without").await?;
    let file = scene.path("token");
    patient
        .edit(|config| config["vault"]["auth"] = json!({"token": {"file": file}}))
        .cured("file", "vault token create -policy=vso-prober")
        .await
        .map(drop)
}

pub(super) async fn variable(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "without").await?;
    let mut patient = patient
        .edit(|config| config["vault"]["auth"] = json!({"token": {"env": "TOKEN_OF_VAULT"}}));
    let report = Report::of(scene, &patient.prober, 1).await?;
    let fix = report
        .finding("file", "export TOKEN_OF_VAULT=")?
        .fix
        .clone();
    let script = format!("{}\nprintf %s \"$TOKEN_OF_VAULT\"", fix.unwrap_or_default());
    let token = scene.shell(&script).await?;
    patient.prober = patient.prober.env("TOKEN_OF_VAULT", token);
    patient.is_well().await.map(drop)
}

/// A role whose policies do not have the prober's is given it beside them.
pub(super) async fn policy(scene: &Scene) -> Result<()> {
    let patient = super::patient(scene, "poor").await?;
    let role = json!({"token_policies": ["other"], "token_no_default_policy": false});
    scene
        .lab()
        .vault()
        .write("auth/kubernetes/role/poor", role)
        .await?;
    let patient = patient
        .cured("vault-policy", "token_policies=other,poor")
        .await?;
    patient
        .prober
        .probe(&["--count", "1"])
        .await?
        .exits(0)
        .map(drop)
}

pub(super) async fn version(scene: &Scene) -> Result<()> {
    let wrong = Probe::kv2("kv2").target("mount", "kvv1");
    // The policy is for what is configured, so it has to be known at the mount for Vault to tell of it.
    let patient = Patient::new(scene, "versed", [wrong]).await?;
    let report = Report::of(scene, &patient.prober, 1).await?;
    let fix = report
        .finding("vault-mount", "kv-v1")?
        .fix
        .clone()
        .unwrap_or_default();
    let patient = patient.treated(&fix).await?;
    // Another version has other paths.
    patient
        .cured("vault-policy", "kvv1/vso-prober/default/*")
        .await
        .map(drop)
}

pub(super) async fn mount(scene: &Scene) -> Result<()> {
    let patient = Patient::new(
        scene,
        "unmounted",
        [Probe::kv2("kv2").target("mount", "absent")],
    )
    .await?;
    patient
        .cured(
            "vault-mount",
            "vault secrets enable -path=absent -version=2 kv",
        )
        .await?;
    scene
        .lab()
        .vault()
        .delete("sys/mounts/absent")
        .await
        .map(drop)
}

pub(super) async fn database_role(scene: &Scene) -> Result<()> {
    let wrong = Probe::database("db").target("path", "creds/fresh");
    let patient = Patient::new(scene, "roleless", [wrong]).await?;
    let patient = patient
        .cured("vault-role", "vault write database/roles/fresh")
        .await?;
    patient.prober.probe(&[]).await?.exits(0).map(drop)
}
