//! Floods at the shipped memory limit: large Secrets, large events, answers without an end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Probe, Proxy, SHIPPED, Scene, Server, blames, eventually};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Event, Secret};
use kube::ResourceExt as _;
use kube::api::{Api, DeleteParams, ListParams, ObjectMeta, PostParams};
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vso_prober::canary::INSTANCE_LABEL;
use vso_prober::model::cause::Cause;
use vso_prober::model::{Kind, Step, Verdict};

use super::{crowd, vault};

/// How long anything may take that should come soon.
const SOON: Duration = Duration::from_secs(60);
/// How many objects are created at once.
const AT_ONCE: usize = 4;

fn brief(name: &str) -> Probe {
    Probe::kv2(name).steps(&[Step::Create, Step::Delete])
}

/// Secrets that bear the canaries' label, 42 MB in all.
struct Secrets(Api<Secret>);

impl Secrets {
    async fn flood(scene: &Scene) -> Result<Self> {
        let api = scene.secrets();
        let secret = |number: usize| Secret {
            metadata: ObjectMeta {
                name: Some(format!("flood-{number}")),
                labels: Some(
                    [INSTANCE_LABEL, "flood"]
                        .map(|label| (label.to_owned(), "default".to_owned()))
                        .into(),
                ),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(
                "large".to_owned(),
                ByteString(vec![b'x'; 700_000]),
            )])),
            ..Secret::default()
        };
        let params = PostParams::default();
        stream::iter(0..60)
            .map(async |number| api.create(&params, &secret(number)).await.map(drop))
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        Ok(Self(api))
    }

    async fn ebb(self) -> Result<()> {
        let (now, all) = (
            DeleteParams::default(),
            ListParams::default().labels("flood=default"),
        );
        let deleted = self.0.delete_collection(&now, &all).await;
        deleted.map(drop).context("could not delete the Secrets")
    }
}

/// An event about a canary, as the operator's component writes it.
fn event(canary: &str, name: &str, message: &str, more: Value) -> Result<Event> {
    let mut event = json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "involvedObject": {
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
            "namespace": NAMESPACE, "name": canary,
        },
        "type": "Warning", "reason": "Flood", "message": message,
        "source": {"component": "VaultStaticSecret"},
    });
    if let (Some(event), Value::Object(more)) = (event.as_object_mut(), more) {
        event.extend(more);
    }
    serde_json::from_value(event).context("it is an event")
}

/// Large events about a canary, all of them different.
async fn events(scene: &Scene, canary: &str) -> Result<()> {
    let api = Api::<Event>::namespaced(scene.lab().client(), NAMESPACE);
    let params = PostParams::default();
    stream::iter(0..40)
        .map(async |number| {
            let message = format!("{number} {}", "x".repeat(900_000));
            let event = event(
                canary,
                &format!("flood-{canary}-{number}"),
                &message,
                json!({}),
            )?;
            api.create(&params, &event).await?;
            anyhow::Ok(())
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

pub(super) async fn large_secrets(scene: &Scene) -> Result<()> {
    let secrets = Secrets::flood(scene).await?;
    let prober = scene.prober([brief("among")]).within(SHIPPED);
    prober.probe(&[]).await?.exits(0)?;
    let server = prober.serve(&["--web.enable-lifecycle"]).await?;
    let run = server.run_now("among").await?;
    ensure!(run.result == Verdict::Success, "{run:#?}");
    server.stop().await?;
    secrets.ebb().await
}

pub(super) async fn large_events(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"hang": true})).await?;
    // The events must be there before it is given up.
    let probe = brief("told").limits("3s", "30s");
    let prober = scene.prober([probe]).within(SHIPPED);
    let running = prober.start(&["probe", "-o", "json"])?;
    let canary = scene.canary(Kind::Static, "told").await?.name_any();
    events(scene, &canary).await?;
    let outcome = running.ended().await?.exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::OperatorStalled)?;
    let evidence = &run.steps[0].evidence;
    ensure!(evidence.len() <= 9, "{run:#?}");
    ensure!(
        evidence.iter().all(|piece| piece.text.len() <= 1024),
        "{run:#?}"
    );
    let more = evidence.iter().any(|piece| piece.text.ends_with(" more"));
    ensure!(more, "{run:#?}");
    ensure!(outcome.stdout.len() < 64 << 10, "{}", outcome.stdout.len());
    Ok(())
}

/// One event whose time no program of Kubernetes' can have, and one whose message is longer on the way than it may be.
pub(super) async fn odd_event(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"hang": true})).await?;
    let prober = scene.prober([brief("odd").limits("3s", "6s")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    let canary = scene.canary(Kind::Static, "odd").await?.name_any();
    scene
        .kubectl(&["create", "-f", "-"], &odd(&canary).to_string())
        .await?;
    let long = "\u{1}".repeat(450_000);
    let events = Api::<Event>::namespaced(scene.lab().client(), NAMESPACE);
    let event = event(&canary, &format!("long-{canary}"), &long, json!({}))?;
    events.create(&PostParams::default(), &event).await?;
    let run = running.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Create, Cause::OperatorStalled)
}

fn odd(canary: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": format!("odd-{canary}"), "namespace": NAMESPACE},
        "involvedObject": {
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
            "namespace": NAMESPACE, "name": canary,
        },
        "type": "Normal", "reason": "Odd", "message": "odd", "action": "odd",
        "source": {"component": "VaultStaticSecret"},
        "reportingComponent": "VaultStaticSecret", "reportingInstance": "odd",
        "eventTime": "9999-12-31T23:59:59.999999Z",
    })
}

/// Answers each request with this head and then, for as long as it is read, with this piece, again and again.
async fn answering(
    head: String,
    piece: &'static str,
    end: bool,
) -> Result<(String, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}", listener.local_addr()?);
    let task = tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let head = head.clone();
            tokio::spawn(async move {
                let mut asked = vec![0; 64 << 10];
                let _ = near.read(&mut asked).await;
                let _ = near.write_all(head.as_bytes()).await;
                while !end && near.write_all(piece.as_bytes()).await.is_ok() {}
            });
        }
    });
    Ok((address, task))
}

/// A push target that never comes to the end of its refusal.
pub(super) async fn endless_refusal(scene: &Scene) -> Result<()> {
    let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\n\r\n".to_owned();
    let piece =
        "no more of that, no more of that, no more of that, no more of that, no more of that ";
    let (address, task) = answering(head, piece, false).await?;
    let prober = scene
        .prober([brief("pushed")])
        .edit(|config| config["push"] = json!({"pushgateway": {"url": address}}))
        .within(SHIPPED);
    let outcome = prober.probe(&["--push"]).await?.exits(4)?;
    task.abort();
    outcome.says(&["no more of that"])
}

/// A plugin of the kubeconfig's that hangs: the end does not wait for it.
pub(super) async fn hanging_plugin(scene: &Scene) -> Result<()> {
    let kubeconfig = scene.kubeconfig(|_, user| {
        *user = json!({"exec": {
            "apiVersion": "client.authentication.k8s.io/v1", "command": "sleep", "args": ["30"],
            "interactiveMode": "Never",
        }});
    })?;
    let prober = scene.prober([brief("plugin")]).kubeconfig(&kubeconfig);
    let running = prober.start(&["probe", "-o", "json"])?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    running.signal(Signal::TERM)?;
    let outcome = running.ended().await?.exits(3)?;
    ensure!(outcome.took < Duration::from_secs(10), "{outcome}");

    let server = prober.serve(&[]).await?;
    server.signal(Signal::TERM)?;
    let outcome = server.ended().await?.exits(0)?;
    ensure!(outcome.took < Duration::from_secs(28), "{outcome}");
    Ok(())
}

/// What is no file of runs where they are kept.
pub(super) async fn odd_history(scene: &Scene) -> Result<()> {
    let folder = tempfile::tempdir()?;
    std::fs::create_dir(folder.path().join("2026-01-01.jsonl"))?;
    std::fs::write(folder.path().join("20260102.jsonl"), "odd")?;
    let prober = scene.prober([brief("kept")]).edit(|config| {
        config["history"] = json!({"path": folder.path(), "retention": "1d"});
    });
    let server = prober.serve(&["--web.enable-lifecycle"]).await?;
    server.run_now("kept").await?;
    let outcome = server.stop().await?;
    outcome.says(&["2026-01-01.jsonl"])?;
    ensure!(
        !outcome.stderr.contains("could not store the run"),
        "{outcome}"
    );
    let server = prober.serve(&[]).await?;
    ensure!(!server.runs().await?.is_empty(), "nothing was kept");
    server.stop().await.map(drop)
}

/// An API server, or what stands before it, whose words look like lines of the log.
pub(super) async fn forged_log(scene: &Scene) -> Result<()> {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Forbidden", "code": 403,
        "message": "no\n2026-01-01T00:00:00Z  INFO vso_prober: forged log line\u{1b}[2J",
    })
    .to_string();
    let head = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{status}",
        status.len()
    );
    let (address, task) = answering(head, "", true).await?;
    let kubeconfig = scene.kubeconfig(|cluster, _| *cluster = json!({"server": address}))?;
    let prober = scene.prober([brief("forged")]).kubeconfig(&kubeconfig);
    let probed = prober
        .run(&["-v", "probe", "-o", "table"])
        .await?
        .exits(3)?;
    let cleaned = prober.run(&["cleanup"]).await?.exits(3)?;
    let server = prober.serve(&[]).await?;
    let served = server.stop().await?;
    task.abort();
    for outcome in [probed, cleaned, served] {
        let forged = |line: &str| line.starts_with("2026-01-01") || line.contains('\u{1b}');
        let shown = outcome.stdout.lines().chain(outcome.stderr.lines());
        let forged: Vec<_> = shown.filter(|line| forged(line)).collect();
        ensure!(forged.is_empty(), "{forged:?}: {outcome}");
    }
    Ok(())
}

/// One prober with three probes under one flood after the other: it lives, and blames nobody. All the while the operator's
/// metrics and a push target's refusals have no end.
pub(super) async fn all_of_them(scene: &Scene) -> Result<()> {
    let probes = [
        brief("first").every("2s"),
        Probe::database("second").every("3s"),
        Probe::kv1("third")
            .steps(&[Step::Create, Step::Delete])
            .every("2s"),
    ];
    let head = |status| format!("HTTP/1.1 {status}\r\nContent-Type: text/plain\r\n\r\n");
    let (metrics, measured) = answering(head("200 OK"), "metric 1\n", false).await?;
    let (target, pushed) = answering(head("400 Bad Request"), "no more of that ", false).await?;
    let endless = Arc::new(AtomicBool::default());
    let without_end = endless.clone();
    let vault = Proxy::taught(scene.lab().vault().address(), move |request| {
        let asked = request.uri.path().starts_with("/v1/kvv");
        (asked && without_end.load(Ordering::Relaxed)).then(vault::endless)
    })
    .await?;
    let prober = scene
        .prober(probes)
        .vault(&vault.address())
        .edit(|config| {
            config["operator"]["metrics"] = json!({"url": metrics});
            config["push"] = json!({"pushgateway": {"url": target}});
        })
        .within(SHIPPED);
    let server = prober.serve(&[]).await?;
    let flooded = flooded(scene, &server, &endless).await;
    let peak = server.peak()? >> 20;
    // It may have been killed.
    let _ = server.signal(Signal::TERM);
    let outcome = server.ended().await?;
    flooded.with_context(|| format!("{peak} MiB at most: {outcome}"))?;
    outcome.exits(0)?;
    ensure!(vault.answered() > 0, "Vault's answers had an end");
    measured.abort();
    pushed.abort();
    // What was written while nothing of it could be removed.
    prober.run(&["cleanup", "--all"]).await.map(drop)
}

async fn flooded(scene: &Scene, server: &Server, endless: &AtomicBool) -> Result<()> {
    more(server, 3).await?;

    let secrets = Secrets::flood(scene).await?;
    let among = more(server, 3).await;
    secrets.ebb().await?;
    among?;

    let slow = crowd::crowd(server, 4000, "GET / HTTP/1.1\r\nX-").await?;
    more(server, 3).await?;
    drop(slow);
    let deaf = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let deaf = crowd::crowd(server, 1000, deaf).await?;
    more(server, 3).await?;
    drop(deaf);

    endless.store(true, Ordering::Relaxed);
    more(server, 3).await?;
    endless.store(false, Ordering::Relaxed);
    more(server, 3).await?;

    let canary = scene.canary(Kind::Static, "first").await?.name_any();
    events(scene, &canary).await?;
    more(server, 3).await?;

    let runs = server.runs().await?;
    let blamed: Vec<_> = runs
        .iter()
        .filter(|run| run.result == Verdict::Failure)
        .collect();
    ensure!(blamed.is_empty(), "{blamed:#?}");
    Ok(())
}

/// Waits until so many more runs have come to an end.
async fn more(server: &Server, count: usize) -> Result<()> {
    let before = server.runs().await?;
    eventually("end of more runs", SOON, async || {
        let runs = server.runs().await?;
        let new = runs.iter().filter(|run| !before.contains(run));
        Ok((new.count() >= count).then_some(()))
    })
    .await
}
