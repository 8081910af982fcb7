//! Faults of what audit logs are read from: Vault's devices, the logs, the listener, the right to see the operator's Pods.

use std::io::Read as _;
use std::net::TcpListener;
use std::thread;

use anyhow::{Context, Result, ensure};
use e2e::lab::OPERATOR_NAMESPACE;
use e2e::scenario::{Probe, Prober, Scene};
use reqwest::Method;
use serde_json::{Value, json};

use super::patient::{Patient, Report};

/// A prober with the lab's log, and an administrator's rights in Kubernetes and in Vault.
fn administrator(scene: &Scene, audit: &Value) -> Result<Prober> {
    let token = scene.file(scene.lab().vault().token())?;
    let prober = scene
        .prober([Probe::kv2("kv2")])
        .auth(json!({"token": {"file": token}}))
        .kubeconfig(scene.lab().kubeconfig())
        .edit(|config| {
            config["audit"] = json!({
                "state": "/state",
                "sources": [{"name": "vault-0", "file": {"path": scene.lab().vault_audit_file()}}],
            });
            for (key, value) in audit.as_object().into_iter().flatten() {
                config["audit"][key] = value.clone();
            }
        });
    Ok(prober)
}

async fn report(scene: &Scene, prober: &Prober, code: i32) -> Result<Report> {
    let (exit, report) = Report::any(scene, prober, &["--only", "audit"]).await?;
    ensure!(exit == code, "exit code {exit}:\n{report}");
    Ok(report)
}

/// What came of a topic.
fn results<'a>(report: &'a Report, topic: &str) -> Vec<(&'a str, &'a str)> {
    let checks = report.0.iter().filter(|check| check.check == topic);
    checks
        .map(|check| (check.subject.as_str(), check.result.as_str()))
        .collect()
}

pub(super) async fn as_it_is(scene: &Scene) -> Result<()> {
    let prober = administrator(scene, &json!({}))?;
    let report = report(scene, &prober, 0).await?;
    ensure!(report.found("finding").is_empty(), "{report}");
    for (topic, subject) in [
        ("audit-source", "vault-0"),
        ("audit-device", "file/"),
        ("audit-presence", OPERATOR_NAMESPACE),
    ] {
        ensure!(
            results(&report, topic) == [(subject, "good")],
            "{topic}: {report}"
        );
    }
    // Nothing that only runs need.
    for topic in ["namespace", "crd", "admission", "vault-auth", "vault-mount"] {
        ensure!(results(&report, topic).is_empty(), "{topic}: {report}");
    }
    Ok(())
}

/// Who may not read the devices is told so, and all is well; who may not see the operator's Pods is blind.
pub(super) async fn without_rights(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("kv2");
    let audit = administrator(scene, &json!({}))?;
    let audit: Value = serde_json::from_str(&audit.text())?;
    let prober = scene
        .prober([probe])
        .edit(|config| config["audit"] = audit["audit"].clone());
    let patient = Patient::with(scene, "blind", prober).await?;
    let well = patient.is_well().await?;
    ensure!(
        results(&well, "audit-device") == [("sys/audit", "skipped")],
        "{well}"
    );
    let kinds = "role/blind.vso-probe clusterrole/blind.vso-probe";
    let patch = |verbs: &str| {
        format!(
            "for kind in {kinds}; do kubectl -n {OPERATOR_NAMESPACE} get $kind -o json \
             | sed 's/\"pods\"/\"{verbs}\"/' | kubectl replace -f -; done"
        )
    };
    scene.shell(&patch("podtemplates")).await?;
    let blind = e2e::scenario::eventually(
        "word on the operator's Pods",
        std::time::Duration::from_secs(15),
        async || {
            let (_, report) = Report::any(scene, &patient.prober, &[]).await?;
            let blind = results(&report, "audit-presence") == [(OPERATOR_NAMESPACE, "finding")];
            Ok(blind.then_some(report))
        },
    )
    .await?;
    let fix = blind
        .finding("audit-presence", "kubectl apply")?
        .fix
        .clone();
    let patient = patient.treated(&fix.context("a fix")?).await?;
    // That on all Pods has a fix of its own.
    let fix = blind.finding("rbac", "ClusterRole")?.fix.clone();
    let patient = patient.treated(&fix.context("a fix")?).await?;
    patient.is_well().await.map(drop)
}

/// Sets a device up beside the lab's own, looks, and removes it; `None` if this Vault takes no such device.
async fn device(
    scene: &Scene,
    device: &Value,
    prober: &Prober,
    code: i32,
) -> Result<Option<Report>> {
    let (vault, path) = (scene.lab().vault(), "sys/audit/odd");
    let (status, said) = vault.send(Method::PUT, path, Some(device)).await?;
    if status == 400 {
        return Ok(None);
    }
    ensure!(status.is_success(), "{device}: {status} {said}");
    let looked = report(scene, prober, code).await;
    vault.delete(path).await?;
    looked.map(Some)
}

/// A device by which Vault's log is of no use. `OpenBao` knows `jsonx` no more, and Vault takes a prefix only where it is told to.
pub(super) async fn devices(scene: &Scene) -> Result<()> {
    let prober = administrator(scene, &json!({}))?;
    let file = scene.path("log");
    let mut tried = 0;
    for (options, words) in [
        (json!({"log_raw": "true"}), "in clear text"),
        (json!({"format": "jsonx"}), "jsonx"),
        (json!({"prefix": "{x} "}), "a `prefix` with a brace"),
    ] {
        let mut options = options;
        options["file_path"] = json!(file);
        let odd = json!({"type": "file", "options": options});
        let report = device(scene, &odd, &prober, 1).await;
        let Some(report) = report.with_context(|| options.to_string())? else {
            continue;
        };
        let found = report.finding("audit-device", "set the device up")?;
        ensure!(
            found.subject == "odd/" && found.text.contains(words),
            "{report}"
        );
        tried += 1;
    }
    ensure!(tried >= 2, "{tried} devices");
    let fine = json!({"type": "file", "options": {
        "file_path": file, "elide_list_responses": "true", "hmac_accessor": "false",
    }});
    let report = device(scene, &fine, &prober, 0).await?;
    let report = report.context("a device that all take")?;
    ensure!(
        results(&report, "audit-device") == [("file/", "good"), ("odd/", "good")],
        "{report}"
    );
    Ok(())
}

/// Vault is to write to the prober itself: to where its lines arrive, and where it serves.
pub(super) async fn to_the_prober(scene: &Scene) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    // It takes what comes, so that Vault goes on.
    thread::spawn(move || {
        for mut connection in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut taken = [0; 4096];
                while connection.read(&mut taken).is_ok_and(|read| read > 0) {}
            });
        }
    });
    let intake = administrator(
        scene,
        &json!({"sources": [{"name": "vault-0", "http": {}}], "server": {"listen": address}}),
    )?;
    let served = administrator(scene, &json!({}))?.edit(|config| {
        config["server"]["listen"] = address.clone().into();
    });
    for prober in [intake, served] {
        let socket =
            json!({"type": "socket", "options": {"address": address, "socket_type": "tcp"}});
        let report = device(scene, &socket, &prober, 1).await?;
        let report = report.context("a device that all take")?;
        let found = report.finding("audit-device", "vso-prober audit forward")?;
        ensure!(
            found.text.contains("where the prober itself listens"),
            "{report}"
        );
    }
    Ok(())
}

/// There is no log, and where it should be is nothing; lines arrive in clear text.
pub(super) async fn sources(scene: &Scene) -> Result<()> {
    let nowhere = json!([{"name": "vault-0", "file": {"path": scene.path("log")}}]);
    let prober = administrator(scene, &json!({"sources": nowhere}))?;
    let told = report(scene, &prober, 1).await?;
    told.finding("audit-source", "vso-prober audit forward")?;
    let prober = administrator(
        scene,
        &json!({
            "sources": [{"name": "vault-0", "http": {}}],
            "server": {"listen": "0.0.0.0:9466", "bearerTokenFile": scene.file("secret")?},
        }),
    )?;
    let told = report(scene, &prober, 0).await?;
    ensure!(
        results(&told, "audit-server") == [("0.0.0.0:9466", "warning")],
        "{told}"
    );
    let prober = prober.edit(|config| {
        let files = json!({"certFile": "/no/such.crt", "keyFile": "/no/such.key"});
        config["audit"]["server"]["tls"] = files;
    });
    let told = report(scene, &prober, 1).await?;
    told.finding("file", "a certificate for the name that senders use")?;
    // A token of the source's own, in place of the server's.
    let prober = prober.edit(|config| {
        let own = json!({"bearerTokenFile": "/no/such-token"});
        config["audit"]["sources"][0]["http"] = own;
    });
    let told = report(scene, &prober, 1).await?;
    told.finding("file", "write a token of your own to /no/such-token")?;
    Ok(())
}
