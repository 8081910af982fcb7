//! A Vault whose answers are not Vault's, never end, or hold numbers without a bound.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use e2e::scenario::{Probe, Proxy, SHIPPED, Scene, blames, eventually};
use futures::stream;
use serde_json::json;
use vso_prober::model::cause::{Cause, Party};
use vso_prober::model::run::Run;
use vso_prober::model::{Step, Verdict};

/// Insists that the operator is not blamed, and nothing of Vault's is called leaked.
fn blameless(run: &Run) -> Result<()> {
    let parties = run.steps.iter().filter_map(|report| report.party);
    ensure!(
        parties.into_iter().all(|party| party == Party::Prober) && run.leases.leaked == 0,
        "{run:#?}"
    );
    Ok(())
}

/// A page that says nothing, in Vault's place, with the status of a good answer.
pub(super) async fn maintenance(scene: &Scene) -> Result<()> {
    let page = || {
        (
            [(CONTENT_TYPE, "text/html")],
            "<h1>Down for maintenance</h1>",
        )
    };
    let proxy = Proxy::taught(scene.lab().vault().address(), move |request| {
        let leases = request.uri.path().starts_with("/v1/sys/leases/");
        leases.then(|| page().into_response())
    })
    .await?;
    let prober = scene
        .prober([Probe::database("maintained")])
        .vault(&proxy.address());
    let outcome = prober.probe(&[]).await?;
    ensure!(proxy.answered() > 0 && outcome.code != Some(1), "{outcome}");
    blameless(&outcome.only_run()?)?;
    ensure!(!outcome.stdout.contains("maintenance"), "{outcome}");

    // Neither is anything said of a Vault whose health is such a page.
    let proxy = Proxy::taught(scene.lab().vault().address(), move |_| {
        Some((StatusCode::SERVICE_UNAVAILABLE, page()).into_response())
    })
    .await?;
    let probe = Probe::hasty("maintained", &[Step::Create]);
    let prober = scene.prober([probe]).vault(&proxy.address());
    let outcome = prober.probe(&[]).await?.exits(3)?;
    blames(
        &outcome.only_run()?,
        Step::Create,
        Cause::ProberVaultUnreachable,
    )
}

fn json_of(body: impl Into<Body>) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.into()).into_response()
}

/// A body that never ends.
pub(super) fn endless() -> Response {
    let piece = Bytes::from(vec![b'x'; 64 * 1024]);
    json_of(Body::from_stream(stream::repeat_with(move || {
        Ok::<_, std::convert::Infallible>(piece.clone())
    })))
}

/// 200 MB of JSON.
fn huge() -> Response {
    let pieces = std::iter::once("[\"".to_owned())
        .chain(std::iter::repeat_n("x".repeat(1 << 20), 200))
        .chain(std::iter::once("\"]".to_owned()));
    let pieces = pieces.map(Ok::<_, std::convert::Infallible>);
    json_of(Body::from_stream(stream::iter(pieces)))
}

/// Answers without an end, to whatever is asked, within the memory of the shipped manifests.
pub(super) async fn without_end(scene: &Scene) -> Result<()> {
    for (answer, only) in [
        (endless as fn() -> Response, "/v1/kvv2/"),
        (huge, "/v1/kvv2/"),
        (endless, "/v1/auth/"),
    ] {
        let proxy = Proxy::taught(scene.lab().vault().address(), move |request| {
            request.uri.path().starts_with(only).then(answer)
        })
        .await?;
        let probe = Probe::hasty("endless", &[Step::Create, Step::Delete]);
        let prober = scene
            .prober([probe])
            .vault(&proxy.address())
            .within(SHIPPED);
        let outcome = prober.probe(&[]).await?;
        ensure!(proxy.answered() > 0, "{outcome}");
        let run = outcome.only_run()?;
        blameless(&run)?;
        ensure!(run.result == Verdict::Unknown, "{run:#?}");
        ensure!(outcome.stdout.contains("larger than 1 MB"), "{outcome}");
    }
    scene
        .prober([Probe::kv2("endless")])
        .run(&["cleanup", "--all"])
        .await
        .map(drop)
}

/// Times that no clock can hold.
pub(super) async fn numbers(scene: &Scene) -> Result<()> {
    let token = scene.lab().vault().token().to_owned();
    let proxy = Proxy::taught(scene.lab().vault().address(), move |request| {
        let auth = json!({"client_token": token, "lease_duration": u64::MAX, "renewable": true});
        let login = json!({"request_id": "1", "auth": auth});
        let told = json!({"request_id": "1", "data": {"ttl": u64::MAX, "renewable": true}});
        match request.uri.path() {
            "/v1/auth/kubernetes/login" => Some(json_of(login.to_string())),
            "/v1/auth/token/lookup-self" => Some(json_of(told.to_string())),
            // The token is the lab's own.
            "/v1/auth/token/revoke-self" => Some(StatusCode::NO_CONTENT.into_response()),
            _ => None,
        }
    })
    .await?;
    let probe = Probe::kv2("numbers").steps(&[Step::Create, Step::Delete]);
    let by_login = scene.prober([probe]).vault(&proxy.address());
    by_login.probe(&[]).await?.exits(0)?;
    let file = scene.file(scene.lab().vault().token())?;
    let by_token = by_login.auth(json!({"token": {"file": file}}));
    by_token.probe(&[]).await?.exits(0)?;
    ensure!(proxy.answered() >= 2, "nothing was answered so");
    Ok(())
}

/// A token that Vault knows no more is replaced, and nobody notices.
pub(super) async fn dead_token(scene: &Scene) -> Result<()> {
    let used: Arc<Mutex<String>> = Arc::default();
    let latest = used.clone();
    let proxy = Proxy::taught(scene.lab().vault().address(), move |request| {
        let token = request.headers.get("x-vault-token")?.to_str().ok()?;
        token.clone_into(&mut latest.lock().unwrap_or_else(PoisonError::into_inner));
        None
    })
    .await?;
    let probe = Probe::kv2("revoked")
        .steps(&[Step::Create, Step::Delete])
        .every("1h");
    let server = scene
        .prober([probe])
        .vault(&proxy.address())
        .serve(&["--web.enable-lifecycle"])
        .await?;
    let good = server.run_now("revoked").await?;
    ensure!(good.result == Verdict::Success, "{good:#?}");
    // A younger token is not taken for dead.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let dead = used.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let vault = scene.lab().vault();
    vault
        .write("auth/token/revoke", json!({"token": dead}))
        .await?;
    let good = server.run_now("revoked").await?;
    ensure!(good.result == Verdict::Success, "{good:#?}");
    server.stop().await.map(drop)
}

/// Another token in its file is in force within seconds.
pub(super) async fn token_file(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let token = async || -> Result<String> {
        let body = json!({"policies": ["root"], "ttl": "1h"});
        let made = vault.write("auth/token/create", body).await?;
        Ok(made["auth"]["client_token"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let (old, new) = (token().await?, token().await?);
    let seen: Arc<AtomicBool> = Arc::default();
    let (tell, wanted) = (seen.clone(), new.clone());
    let proxy = Proxy::taught(vault.address(), move |request| {
        let bears = request.headers.get("x-vault-token");
        if bears.is_some_and(|token| token.as_bytes() == wanted.as_bytes()) {
            tell.store(true, Ordering::Relaxed);
        }
        None
    })
    .await?;
    let file = scene.file(&old)?;
    let probe = Probe::kv2("renamed").steps(&[Step::Create, Step::Delete]);
    let server = scene
        .prober([probe.every("1h")])
        .vault(&proxy.address())
        .auth(json!({"token": {"file": file}}))
        .serve(&["--web.enable-lifecycle"])
        .await?;
    server.post("/api/v1/probes/renamed/run").await?;
    ensure!(!seen.load(Ordering::Relaxed), "nobody told it");
    std::fs::write(&file, &new)?;
    eventually(
        "use of the new token",
        Duration::from_secs(15),
        async || Ok(seen.load(Ordering::Relaxed).then_some(())),
    )
    .await?;
    server.stop().await.map(drop)
}
