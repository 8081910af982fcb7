//! The sidecar for Vault's Pod, as values for Vault's chart: it fits a Pod as that chart makes it, and its command sends Vault's log.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::free_port;
use e2e::scenario::{Probe, Scene, eventually};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::{Value, json};

use super::as_pod;
use super::installed::documents;
use super::shipped::read;

const FILE: &str = "manifests/sidecar/vault-values.yaml";
/// Where the kubelet mounts a `ServiceAccount`'s token.
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

fn values() -> Result<Value> {
    Ok(documents(&read(FILE)?)?.remove(0)["server"].take())
}

/// A Pod as Vault's chart makes it of the values, where the namespace is restricted.
fn vaults_pod(server: &Value) -> Result<Value> {
    ensure!(server["auditStorage"]["enabled"] == true, "{server}");
    let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
    let mut containers = vec![json!({
        "name": "vault", "image": "hashicorp/vault", "securityContext": restricted,
        "volumeMounts": [
            {"name": "audit", "mountPath": "/vault/audit"},
            {"name": "data", "mountPath": "/vault/data"},
            {"name": "home", "mountPath": "/home/vault"},
        ],
    })];
    containers.extend(
        server["extraContainers"]
            .as_array()
            .cloned()
            .context("containers")?,
    );
    let mut volumes = vec![json!({"name": "home", "emptyDir": {}})];
    volumes.extend(server["volumes"].as_array().cloned().context("volumes")?);
    // Those that the StatefulSet claims.
    volumes.extend(["audit", "data"].map(|name| json!({"name": name, "emptyDir": {}})));
    Ok(json!({"spec": {
        "serviceAccountName": "default", "containers": containers, "volumes": volumes,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 100, "runAsGroup": 1000, "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }}))
}

/// It is let in beside Vault, and has no token of Vault's `ServiceAccount`, which Vault itself has. It writes to no part of the
/// audit volume but its own.
pub(super) async fn fits(scene: &Scene) -> Result<()> {
    super::install(scene).await?;
    let pod = as_pod(scene, &vaults_pod(&values()?)?).await?;
    let pod = serde_json::to_value(pod.context("it is let in")?)?;
    let tokens = |container: &Value| {
        let mounts = container["volumeMounts"].as_array().into_iter().flatten();
        let mut names = mounts.filter(|mount| mount["mountPath"] == TOKEN);
        names.any(|mount| {
            let name = mount["name"].as_str().unwrap_or_default();
            name.starts_with("kube-api-access")
        })
    };
    let [vault, sidecar] = [0, 1].map(|place| &pod["spec"]["containers"][place]);
    ensure!(sidecar["name"] == "audit-forward", "{sidecar}");
    ensure!(tokens(vault), "Vault's own token is gone: {vault}");
    ensure!(!tokens(sidecar), "it has a token: {sidecar}");
    let mounts = sidecar["volumeMounts"].as_array().into_iter().flatten();
    for mount in mounts.filter(|mount| mount["readOnly"] != true) {
        ensure!(
            mount["name"] == "audit" && mount["subPath"] == "vso-prober",
            "it may write to {mount}"
        );
    }
    let security = &sidecar["securityContext"];
    ensure!(
        security["readOnlyRootFilesystem"] == true && security["runAsUser"].is_null(),
        "{security}"
    );
    // In a namespace whose Pods are restricted, whatever Vault's chart says of the whole Pod.
    ensure!(
        security["seccompProfile"]["type"] == "RuntimeDefault"
            && security["allowPrivilegeEscalation"] == false
            && security["capabilities"]["drop"] == json!(["ALL"]),
        "{security}"
    );
    Ok(())
}

/// Its command as it stands there, with the trial's paths for the Pod's: the judge has the lines of Vault's log.
pub(super) async fn sends(scene: &Scene) -> Result<()> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
    let certificate = certificate.signed_by(&key, &authority)?;
    let token = scene.file("a-token-that-both-have")?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let states = [scene.path("state"), scene.path("sent")];
    for state in &states {
        fs::create_dir_all(state)?;
    }
    let audit = json!({
        "state": states[0], "sources": [{"name": "vault-0", "http": {}}],
        "server": {
            "listen": listen, "bearerTokenFile": token,
            "tls": {"certFile": scene.file(&certificate.pem())?, "keyFile": scene.file(&key.serialize_pem())?},
        },
    });
    let prober = scene
        .prober([Probe::kv2("kv2")])
        .kubeconfig(scene.lab().kubeconfig())
        .edit(|config| config["audit"] = audit);
    let judge = prober.serve(&["--only", "audit"]).await?;
    let shown = |path: &std::path::Path| path.display().to_string();
    let ours: BTreeMap<&str, String> = [
        ("--source", "vault-0".to_owned()),
        ("--file", shown(scene.lab().vault_audit_file())),
        ("--to", format!("https://{listen}")),
        ("--state", shown(&states[1])),
        ("--token-file", shown(&token)),
        ("--ca-file", shown(&scene.file(&authority.pem())?)),
    ]
    .into();
    let server = values()?;
    let arguments = server["extraContainers"][0]["args"].as_array();
    let mut command = Vec::new();
    for argument in arguments
        .context("arguments")?
        .iter()
        .filter_map(Value::as_str)
    {
        command.push(match argument.split_once('=') {
            Some((flag, _)) => format!("{flag}={}", ours.get(flag).context(flag.to_owned())?),
            None => argument.to_owned(),
        });
    }
    ensure!(command.len() == 2 + ours.len(), "{command:?}");
    let command: Vec<_> = command.iter().map(String::as_str).collect();
    let sidecar = scene.prober([]).start(&command)?;
    // By the line that the judge's own request leaves in Vault's log.
    let last = std::sync::Mutex::new(Value::Null);
    let known = eventually("line of its own", Duration::from_secs(40), async || {
        let told = judge.json("/api/v1/audit/sources").await.ok();
        let source = told.map_or(Value::Null, |told| told["sources"][0].clone());
        let known = source["up"] == true && source["clock_offset_seconds"].is_number();
        if let Ok(mut last) = last.lock() {
            *last = source;
        }
        Ok(known.then_some(()))
    });
    if let Err(error) = known.await {
        sidecar.signal(rustix::process::Signal::TERM)?;
        let said = sidecar.ended().await?.stderr;
        let last = last.into_inner().unwrap_or_default();
        return Err(error.context(format!("{last}\n{said}")));
    }
    sidecar.signal(rustix::process::Signal::TERM)?;
    sidecar.ended().await?.exits(0)?;
    judge.stop().await.map(drop)
}
