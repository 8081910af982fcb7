//! Trials of redirects by Vault, and of the files that a client uses.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::http::{StatusCode, header::LOCATION};
use axum::response::IntoResponse;
use e2e::scenario::{Probe, Proxy, Scene, blames, eventually};
use serde_json::json;
use vso_prober::model::cause::Cause;
use vso_prober::model::{Step, Verdict};

use super::tls::{Authority, Front};

/// Sends everything on to the same path at `to`.
async fn sends_on(scene: &Scene, status: u16, to: String) -> Result<Proxy> {
    let status = StatusCode::from_u16(status)?;
    Proxy::taught(scene.lab().vault().address(), move |request| {
        let path = request
            .uri
            .path_and_query()
            .map_or("/", |path| path.as_str());
        Some((status, [(LOCATION, format!("{to}{path}"))]).into_response())
    })
    .await
}

/// The same server by another name.
fn renamed(address: &str) -> String {
    address.replace("127.0.0.1", "localhost")
}

fn probe() -> Probe {
    Probe::hasty("sent-on", &[Step::Create, Step::Delete]).limits("14s", "15s")
}

/// In the clear a redirect leads to the same host alone, unless another is named: neither the JWT nor a token
/// gets there.
pub(super) async fn in_the_clear(scene: &Scene) -> Result<()> {
    // `localhost` and `127.0.0.1` are two hosts by their names.
    let other = Proxy::taught(scene.lab().vault().address(), |_| None).await?;
    let counted = Proxy::taught(&other.address(), |_| {
        Some(StatusCode::IM_A_TEAPOT.into_response())
    })
    .await?;
    for status in [301, 302, 303, 307, 308] {
        let front = sends_on(scene, status, renamed(&counted.address())).await?;
        let prober = scene.prober([probe()]).vault(&front.address());
        let outcome = prober.probe(&[]).await?.exits(3)?;
        let run = outcome.only_run()?;
        blames(&run, Step::Create, Cause::ProberVaultUnreachable)?;
        for word in ["localhost", "vault.redirectHosts"] {
            ensure!(outcome.stdout.contains(word), "{word}: {outcome}");
        }
    }
    ensure!(counted.answered() == 0, "a request was sent on");
    let front = sends_on(scene, 307, renamed(&other.address())).await?;
    let prober = scene.prober([probe()]).vault(&front.address());
    let named = prober.edit(|config| config["vault"]["redirectHosts"] = json!(["localhost"]));
    named.probe(&[]).await?.exits(0).map(drop)
}

/// A redirect to the same host is followed with method and body, whatever its status says of these, but only once.
pub(super) async fn same_host(scene: &Scene) -> Result<()> {
    for status in [301, 302, 303, 307, 308] {
        let front = sends_on(scene, status, scene.lab().vault().address().to_owned()).await?;
        let prober = scene.prober([probe()]).vault(&front.address());
        prober.probe(&[]).await?.exits(0)?;
        ensure!(front.answered() > 0, "nothing was sent on");
    }
    let inner = sends_on(scene, 307, scene.lab().vault().address().to_owned()).await?;
    let outer = sends_on(scene, 307, inner.address()).await?;
    let prober = scene.prober([probe()]).vault(&outer.address());
    let outcome = prober.probe(&[]).await?.exits(3)?;
    ensure!(outcome.stdout.contains("one redirect"), "{outcome}");
    Ok(())
}

/// A standby sends on to the active node by another name, over TLS that verifies; never without TLS.
pub(super) async fn by_tls(scene: &Scene) -> Result<()> {
    let authority = Authority::new("first")?;
    let file = scene.file(&authority.pem)?;
    let active = Front::start(scene.lab().vault().address(), &authority).await?;
    let standby = async |to: String| -> Result<(Proxy, Front)> {
        let plain = sends_on(scene, 307, to).await?;
        let front = Front::start(&plain.address(), &authority).await?;
        Ok((plain, front))
    };
    let prober = |front: &Front| {
        let address = format!("https://127.0.0.1:{}", front.port);
        let prober = scene.prober([probe()]).vault(&address);
        prober.edit(|config| config["vault"]["caFile"] = json!(file))
    };
    let (_plain, front) = standby(format!("https://localhost:{}", active.port)).await?;
    prober(&front).probe(&[]).await?.exits(0)?;
    let narrowed = prober(&front).edit(|config| config["vault"]["redirectHosts"] = json!([]));
    let outcome = narrowed.probe(&[]).await?.exits(3)?;
    ensure!(outcome.stdout.contains("vault.redirectHosts"), "{outcome}");
    let strange = Front::start(scene.lab().vault().address(), &Authority::new("other")?).await?;
    let (_plain, front) = standby(format!("https://localhost:{}", strange.port)).await?;
    let outcome = prober(&front).probe(&[]).await?.exits(3)?;
    ensure!(outcome.stdout.contains("certificate"), "{outcome}");
    let (_plain, front) = standby(scene.lab().vault().address().to_owned()).await?;
    let outcome = prober(&front).probe(&[]).await?.exits(3)?;
    ensure!(outcome.stdout.contains("without TLS"), "{outcome}");
    Ok(())
}

/// A CA that is put beside the first, and then signs: the prober goes on, without a word from anyone.
pub(super) async fn rotated_authority(scene: &Scene) -> Result<()> {
    let (first, second) = (Authority::new("first")?, Authority::new("second")?);
    let front = Front::start(scene.lab().vault().address(), &first).await?;
    let file = scene.file(&first.pem)?;
    let server = scene
        .prober([probe().every("1h")])
        .vault(&format!("https://127.0.0.1:{}", front.port))
        .edit(|config| config["vault"]["caFile"] = json!(file))
        .serve(&["--web.enable-lifecycle"])
        .await?;
    let good = server.run_now("sent-on").await?;
    ensure!(good.result == Verdict::Success, "{good:#?}");
    fs::write(&file, format!("{}{}", first.pem, second.pem))?;
    front.rotate(&second);
    eventually(
        "good run by the new CA",
        Duration::from_secs(60),
        async || {
            let run = server.run_now("sent-on").await;
            Ok(run.ok().filter(|run| run.result == Verdict::Success))
        },
    )
    .await?;
    // A file that is no CA's any more changes nothing, and neither does one that is gone for a moment.
    fs::write(&file, "nonsense")?;
    let (status, _) = server.post("/-/reload").await?;
    ensure!(status.is_success(), "{status}");
    let good = server.run_now("sent-on").await?;
    ensure!(good.result == Verdict::Success, "{good:#?}");
    fs::remove_file(&file)?;
    let good = server.run_now("sent-on").await?;
    ensure!(good.result == Verdict::Success, "{good:#?}");
    server.stop().await.map(drop)
}
