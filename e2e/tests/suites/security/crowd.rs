//! Attackers at the port: a crowd that sends slowly, reads no answer, or only stays; and a browser that others control.

use std::collections::VecDeque;
use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::scenario::{Probe, SHIPPED, Scene, Server, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use vso_prober::model::{Step, Verdict};

/// How long anything may take that should come soon.
const SOON: Duration = Duration::from_secs(20);
/// How many connections of a crowd are held open at a time.
const HELD: usize = 2000;

fn quick() -> Probe {
    Probe::kv2("kv")
        .steps(&[Step::Create, Step::Delete])
        .every("1s")
}

/// Opens so many connections, says `words` on each, and holds the latest of them.
pub(super) async fn crowd(
    server: &Server,
    count: usize,
    words: &str,
) -> Result<VecDeque<TcpStream>> {
    let mut held = VecDeque::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(server.address()).await?;
        // It may have been turned away already.
        let _ = stream.write_all(words.as_bytes()).await;
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
    }
    Ok(held)
}

/// Insists that it answers, gets on with its probes, and blames nobody.
async fn is_well(server: &Server) -> Result<()> {
    let before = server.runs().await?.len();
    eventually("another run", SOON, async || {
        let (status, text) = server.get("/healthz").await?;
        ensure!(status == 200, "{status}: {text}");
        Ok((server.runs().await?.len() > before).then_some(()))
    })
    .await?;
    let runs = server.runs().await?;
    ensure!(
        runs.iter().all(|run| run.result != Verdict::Failure),
        "{runs:#?}"
    );
    Ok(())
}

/// Four thousand that never end their request, and a thousand that ask for the metrics and take none.
pub(super) async fn slow(scene: &Scene) -> Result<()> {
    let prober = scene.prober([quick()]).within(SHIPPED);
    let server = prober.serve(&[]).await?;
    let slow = crowd(&server, 4000, "GET / HTTP/1.1\r\nX-").await?;
    is_well(&server).await?;
    drop(slow);
    let deaf = crowd(
        &server,
        1000,
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n",
    )
    .await?;
    is_well(&server).await?;
    drop(deaf);
    server.stop().await.map(drop)
}

/// Eighty that only stay, where the process may open 64 files.
pub(super) async fn idle(scene: &Scene) -> Result<()> {
    let server = scene.prober([quick()]).open_files(64).serve(&[]).await?;
    let mut idle = crowd(&server, 80, "").await?;
    is_well(&server).await?;
    let reloaded = "vso_prober_config_last_reload_successful";
    ensure!(server.metric(reloaded).await? == Some(1.0), "a false alarm");
    if let Some(latest) = idle.back_mut() {
        // Nor may it stay for ever.
        let read = timeout(SOON, latest.read(&mut [0; 1])).await?;
        ensure!(!matches!(read, Ok(1)), "an answer to nothing");
    }
    server.stop().await.map(drop)
}

/// A page of others' can have neither the configuration read again nor a probe run, nor frame what is shown.
pub(super) async fn steered(scene: &Scene) -> Result<()> {
    let server = scene
        .prober([Probe::kv2("kv").every("1h")])
        .serve(&["--web.enable-lifecycle"])
        .await?;
    let ask = async |head: &str| -> Result<String> {
        let mut stream = TcpStream::connect(server.address()).await?;
        let request = format!("{head}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        timeout(SOON, stream.read_to_string(&mut answer)).await??;
        Ok(answer)
    };
    for head in [
        "POST /-/reload HTTP/1.1\r\nHost: evil.example",
        "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example",
        "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site",
        "POST /api/v1/probes/kv/run HTTP/1.1\r\nHost: evil.example",
    ] {
        let answer = ask(head).await?;
        ensure!(answer.starts_with("HTTP/1.1 403"), "{head}: {answer}");
    }
    let (status, text) = server.post("/-/reload").await?;
    ensure!(status == 200, "{status}: {text}");
    let page = ask("GET / HTTP/1.1\r\nHost: localhost").await?;
    let head = page.to_lowercase();
    for header in [
        "x-content-type-options: nosniff",
        "content-security-policy: default-src 'none'; style-src 'unsafe-inline';",
        "frame-ancestors 'none'",
    ] {
        ensure!(head.contains(header), "no `{header}` in {page}");
    }
    server.stop().await.map(drop)
}
