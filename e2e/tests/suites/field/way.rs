//! The way to Vault: under a path, by TLS of every kind, behind a gateway.

use anyhow::{Result, ensure};
use axum::http::StatusCode;
use axum::response::IntoResponse as _;
use e2e::scenario::{Probe, Prober, Proxy, Scene};
use serde_json::json;
use vso_prober::model::Step;

use crate::security::tls::{Authority, Front};

pub(super) fn prober(scene: &Scene) -> Prober {
    let probe = Probe::kv2("way").steps(&[Step::Create, Step::Delete]);
    scene.prober([probe])
}

/// Insists that a run and `doctor` go well.
pub(super) async fn works(prober: &Prober) -> Result<()> {
    let run = prober.probe(&[]).await?.exits(0)?;
    ensure!(!run.stderr.contains("ERROR"), "{run}");
    prober.run(&["doctor"]).await?.exits(0).map(drop)
}

/// `https://host/vault`.
pub(super) async fn path(scene: &Scene) -> Result<()> {
    let front = Proxy::under(scene.lab().vault().address(), "/vault").await?;
    works(&prober(scene).vault(&format!("{}/vault/", front.address()))).await
}

/// A balancer leads to a standby, whose health is 429 and which forwards what it is asked.
pub(super) async fn standby(scene: &Scene) -> Result<()> {
    let front = Proxy::taught(scene.lab().vault().address(), |request| {
        let health =
            json!({"initialized": true, "sealed": false, "standby": true, "version": "1.21.0", "server_time_utc": jiff::Timestamp::now().as_second()});
        let asked = request.uri.path() == "/v1/sys/health";
        asked.then(|| (StatusCode::TOO_MANY_REQUESTS, axum::Json(health)).into_response())
    })
    .await?;
    works(&prober(scene).vault(&front.address())).await?;
    ensure!(front.answered() > 0, "nobody asked for its health");
    Ok(())
}

/// An address that is not in the certificate: the CA is good, and left as it is; `tlsServerName` is what lacks.
pub(super) async fn other_name(scene: &Scene) -> Result<()> {
    let authority = Authority::of("ca", &["vault.corp.example"])?;
    let front = Front::start(scene.lab().vault().address(), &authority).await?;
    let file = scene.file(&authority.pem)?;
    let prober = prober(scene)
        .vault(&format!("https://127.0.0.1:{}", front.port))
        .edit(|config| config["vault"]["caFile"] = json!(file));
    let told = prober.run(&["doctor"]).await?.exits(1)?;
    for word in ["vault-tls", "vault.corp.example", "vault.tlsServerName"] {
        ensure!(told.stdout.contains(word), "{word}: {told}");
    }
    ensure!(!told.stdout.contains("openssl"), "{told}");
    ensure!(std::fs::read_to_string(&file)? == authority.pem, "{told}");
    works(&prober.edit(|config| config["vault"]["tlsServerName"] = json!("vault.corp.example")))
        .await
}

/// `openssl req -x509`: one certificate that is CA and server at once, and pinned.
pub(super) async fn its_own_ca(scene: &Scene) -> Result<()> {
    let authority = Authority::its_own()?;
    let front = Front::start(scene.lab().vault().address(), &authority).await?;
    let file = scene.file(&authority.pem)?;
    let prober = prober(scene).vault(&format!("https://127.0.0.1:{}", front.port));
    let pinned = prober
        .clone()
        .edit(|config| config["vault"]["caFile"] = json!(file));
    works(&pinned).await?;
    let other = scene.file(&Authority::its_own()?.pem)?;
    let strange = prober.edit(|config| config["vault"]["caFile"] = json!(other));
    let told = strange.run(&["doctor"]).await?.exits(1)?;
    ensure!(!told.stderr.contains("ERROR"), "{told}");
    ensure!(told.stdout.contains("vault-tls"), "{told}");
    Ok(())
}

/// A gateway that lets nobody through without a header.
pub(super) async fn gateway(scene: &Scene) -> Result<()> {
    let front = Proxy::taught(scene.lab().vault().address(), |request| {
        let passes = request
            .headers
            .get("x-gateway")
            .is_some_and(|value| value == "let me in");
        (!passes).then(|| (StatusCode::FORBIDDEN, "<h1>no entry</h1>").into_response())
    })
    .await?;
    let prober = prober(scene).vault(&front.address());
    prober.probe(&[]).await?.exits(3)?;
    let file = scene.file("let me in\n")?;
    let header = json!({"X-Gateway": {"file": file}});
    let by_file = prober
        .clone()
        .edit(|config| config["vault"]["headers"] = header);
    works(&by_file).await?;
    let header = json!({"X-Gateway": {"env": "GATEWAY"}});
    let by_variable = prober
        .clone()
        .edit(|config| config["vault"]["headers"] = header);
    let told = by_variable.run(&["doctor"]).await?.exits(1)?;
    ensure!(told.stdout.contains("`GATEWAY` is not set"), "{told}");
    works(&by_variable.env("GATEWAY", "let me in")).await?;
    let taken = json!({"X-Vault-Token": {"value": "hidden"}});
    let refused = prober.edit(|config| config["vault"]["headers"] = taken);
    let told = refused.run(&["config", "check"]).await?.exits(2)?;
    ensure!(!told.stderr.contains("hidden"), "{told}");
    Ok(())
}

/// `http://` to a TLS port, and `https://` to a plain one: said for what it is, and TLS is never given up.
pub(super) async fn mixed_up(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault().address();
    let front = Front::start(vault, &Authority::new("ca")?).await?;
    let plain = prober(scene).vault(&format!("http://127.0.0.1:{}", front.port));
    let told = plain.run(&["doctor"]).await?.exits(1)?;
    let secure = format!("set `vault.address` to https://127.0.0.1:{}", front.port);
    ensure!(told.stdout.contains(&secure), "{told}");
    let tls = prober(scene).vault(&vault.replacen("http://", "https://", 1));
    let told = tls.run(&["doctor"]).await?.exits(1)?;
    ensure!(told.stdout.contains("leads to a TLS port"), "{told}");
    ensure!(!told.stdout.contains(&format!("to {vault}")), "{told}");
    Ok(())
}
