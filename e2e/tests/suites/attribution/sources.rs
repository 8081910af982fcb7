//! The sources of the operator's metrics: its pods, an endpoint behind TLS and a token, and Prometheus.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use axum::extract::{Query, State};
use axum::{Json, Router, routing};
use e2e::scenario::{Outcome, Probe, Scene, step};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::interval;
use vso_prober::exposition::samples;
use vso_prober::model::Step;
use vso_prober::model::run::Attribution;
use vso_prober::model::snapshot::Void;

use super::{metrics, told, went_well};

fn short(name: &str) -> Probe {
    Probe::kv2(name).steps(&[Step::Create, Step::Delete])
}

async fn run(scene: &Scene, name: &str, source: Value) -> Result<Outcome> {
    let prober = scene
        .prober([short(name)])
        .edit(|config| metrics(config, source));
    prober.probe(&[]).await?.exits(0)
}

/// Insists that each step of the only run was told like this.
fn all_told(outcome: &Outcome, attribution: Attribution, void: Option<Void>) -> Result<()> {
    let run = outcome.only_run()?;
    went_well(&run)?;
    run.steps
        .iter()
        .try_for_each(|report| told(report, attribution, void))
}

pub(super) async fn pods(scene: &Scene) -> Result<()> {
    let url = scene.lab().metrics_url().await;
    let port: u16 = url
        .trim_end_matches("/metrics")
        .rsplit(':')
        .next()
        .and_then(|port| port.parse().ok())
        .context("the URL has a port")?;
    let source = |port| json!({"pods": {"port": port, "scheme": "http"}});
    all_told(
        &run(scene, "pods", source(port)).await?,
        Attribution::Exact,
        None,
    )?;

    // Another pod that matches and does not answer makes the sum wrong.
    let (namespace, name) = ("vault-secrets-operator-system", "silent");
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"control-plane": "controller-manager"}},
        "spec": {
            "serviceAccountName": "vault-secrets-operator-controller-manager", "automountServiceAccountToken": false,
            "nodeSelector": {"vso-prober.example/lab": "none"},
            "containers": [{"name": "manager", "image": "lab.example/vault-secrets-operator:lab"}],
        },
    });
    scene.apply(pod.clone()).await?;
    let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
        kube::Api::namespaced(scene.lab().client(), namespace);
    // One that is only waiting to be scheduled is none of the operator's processes yet.
    let waiting = run(scene, "waiting", source(port)).await;
    let status = json!({"status": {"phase": "Running", "podIP": "::1", "podIPs": [{"ip": "::1"}]}});
    let params = kube::api::PatchParams::default();
    pods.patch_status(name, &params, &kube::api::Patch::Merge(status))
        .await?;
    let silent = run(scene, "silent", source(port)).await;
    pods.delete(name, &kube::api::DeleteParams::default().grace_period(0))
        .await?;
    all_told(&waiting?, Attribution::Exact, None)?;
    let silent = silent?;
    all_told(&silent, Attribution::None, Some(Void::ScrapeFailed))?;
    silent.says(&[
        &format!("http://[::1]:{port}/metrics"),
        "is the operator up?",
    ])
}

/// Forwards the operator's metrics, and counts how often it is asked.
pub(super) struct Counter {
    address: SocketAddr,
    count: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Counter {
    pub(super) async fn start(scene: &Scene) -> Result<Self> {
        let count: Arc<AtomicUsize> = Arc::default();
        let (kept, url) = (count.clone(), scene.lab().metrics_url().await);
        let forward = async move || {
            kept.fetch_add(1, Ordering::Relaxed);
            fetch(&url).await.unwrap_or_default()
        };
        let (address, task) = serve(Router::new().route("/metrics", routing::get(forward))).await?;
        Ok(Self {
            address,
            count,
            task,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/metrics", self.address)
    }

    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(router: Router) -> Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, task))
}

async fn fetch(url: &str) -> Result<String> {
    let client = reqwest::Client::builder()
        .timeout(Duration::from_secs(5))
        .build()?;
    Ok(client
        .get(url)
        .send()
        .await?
        .error_for_status()?
        .text()
        .await?)
}

/// An endpoint behind TLS: whoever brings the token gets `answer`, others 401.
struct Secured {
    address: SocketAddr,
    task: JoinHandle<()>,
}

const TOKEN: &str = "the-scrapers-own-token";

impl Secured {
    async fn start<A>(scene: &Scene, answer: impl Fn() -> A + Send + Sync + 'static) -> Result<Self>
    where
        A: Future<Output = String> + Send + 'static,
    {
        let acceptor = super::tls::acceptor(scene)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let _ = answer_once(stream, &answer).await;
                }
            }
        });
        Ok(Self { address, task })
    }

    fn url(&self) -> String {
        format!("https://{}/metrics", self.address)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_once<A: Future<Output = String>>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &impl Fn() -> A,
) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).to_lowercase();
    let answer = if head.contains(&format!("authorization: bearer {TOKEN}\r\n")) {
        answer().await
    } else {
        // Some servers repeat what they were sent.
        let sent = head.lines().find(|line| line.starts_with("authorization"));
        let said = format!("Unauthorized: {}", sent.unwrap_or_default());
        let length = said.len();
        format!(
            "HTTP/1.1 401 Unauthorized\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{said}"
        )
    };
    stream.write_all(answer.as_bytes()).await?;
    Ok(stream.shutdown().await?)
}

pub(super) async fn tls(scene: &Scene) -> Result<()> {
    let url = scene.lab().metrics_url().await;
    let secured = Secured::start(scene, move || {
        let url = url.clone();
        async move {
            let text = fetch(&url).await.unwrap_or_default();
            let length = text.len();
            format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{text}"
            )
        }
    })
    .await?;
    let (url, ca) = (
        secured.url(),
        scene.lab().folder().join("certificates/apiserver.crt"),
    );
    let token = scene.file(&format!("{TOKEN}\n"))?;
    let good = json!({"url": url, "caFile": ca, "bearerTokenFile": token});
    all_told(&run(scene, "tls", good).await?, Attribution::Exact, None)?;
    let skipped = json!({"url": url, "insecureSkipVerify": true, "bearerTokenFile": token});
    all_told(&run(scene, "tls", skipped).await?, Attribution::Exact, None)?;

    let wrong = scene.file("another-token")?;
    let broken = scene.file("two\nlines")?;
    let absent = scene.path("token");
    for (name, source, said) in [
        (
            "unknown CA",
            json!({"url": url, "bearerTokenFile": token}),
            "set `operator.metrics.caFile`",
        ),
        (
            "no token",
            json!({"url": url, "caFile": ca}),
            "or `operator.metrics.bearerTokenFile`",
        ),
        (
            "wrong token",
            json!({"url": url, "caFile": ca, "bearerTokenFile": wrong}),
            "401 Unauthorized: Unauthorized: authorization: bearer …",
        ),
        (
            "no line",
            json!({"url": url, "caFile": ca, "bearerTokenFile": broken}),
            "one line of printable characters without blanks",
        ),
        (
            "no file",
            json!({"url": url, "caFile": ca, "bearerTokenFile": absent}),
            "No such file",
        ),
        (
            "no CA",
            json!({"url": url, "caFile": token, "bearerTokenFile": token}),
            "holds no PEM certificates",
        ),
    ] {
        let outcome = run(scene, "refused", source).await?;
        all_told(&outcome, Attribution::None, Some(Void::ScrapeFailed)).context(name)?;
        outcome.says(&[said]).context(name)?;
        ensure!(
            !outcome.stderr.contains("another-token"),
            "a token is in the log: {outcome}"
        );
    }
    Ok(())
}

pub(super) async fn redirect(scene: &Scene) -> Result<()> {
    let plain = Counter::start(scene).await?;
    let target = plain.url();
    let secured = Secured::start(scene, move || {
        std::future::ready(format!("HTTP/1.1 302 Found\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
    })
    .await?;
    let token = scene.file(TOKEN)?;
    let source =
        json!({"url": secured.url(), "insecureSkipVerify": true, "bearerTokenFile": token});
    let outcome = run(scene, "redirected", source).await?;
    all_told(&outcome, Attribution::None, Some(Void::ScrapeFailed))?;
    outcome.says(&["302", "a token must not go"])?;
    ensure!(plain.count() == 0, "it was sent out of TLS: {outcome}");
    Ok(())
}

/// What a Prometheus has read: when, how long that took, and what.
type Scrapes = Arc<Mutex<Vec<(Timestamp, Duration, String)>>>;

/// A Prometheus that scrapes the operator every second, as far as a query for a range goes.
struct Prometheus {
    address: SocketAddr,
    tasks: [JoinHandle<()>; 2],
}

impl Prometheus {
    async fn start(scene: &Scene) -> Result<Self> {
        let scrapes = Scrapes::default();
        let (kept, url) = (scrapes.clone(), scene.lab().metrics_url().await);
        let scraping = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                let began = Timestamp::now();
                let Ok(text) = fetch(&url).await else {
                    continue;
                };
                let took = Timestamp::now().duration_since(began).unsigned_abs();
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                kept.push((began, took, text));
            }
        });
        let router = Router::new()
            .route("/api/v1/query", routing::get(answer))
            .with_state(scrapes);
        let (address, serving) = serve(router).await?;
        Ok(Self {
            address,
            tasks: [scraping, serving],
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn answer(
    State(scrapes): State<Scrapes>,
    Query(asked): Query<BTreeMap<String, String>>,
) -> Json<Value> {
    let query = asked.get("query").map_or("", String::as_str);
    let time: f64 = asked
        .get("time")
        .and_then(|time| time.parse().ok())
        .unwrap_or_default();
    let names = query.split('"').nth(1).unwrap_or_default();
    let wanted = |name: &str| names.split('|').any(|one| one == name);
    if !query.starts_with("{__name__=~\"") || !query.contains("\",job=\"vso\"}[") {
        return Json(
            json!({"status": "error", "errorType": "bad_data", "error": "unexpected query"}),
        );
    }
    let mut series: BTreeMap<BTreeMap<String, String>, Vec<Value>> = BTreeMap::new();
    let scrapes = scrapes
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    for (began, took, text) in scrapes {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of today")]
        let at = began.as_millisecond() as f64 / 1e3;
        if at > time {
            continue;
        }
        let mut add = |name: &str, labels: BTreeMap<String, String>, value: f64| {
            let target = [
                ("__name__", name),
                ("job", "vso"),
                ("instance", "operator:8080"),
            ];
            let target = target.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let labels = labels.into_iter().chain(target).collect();
            series
                .entry(labels)
                .or_default()
                .push(json!([at, value.to_string()]));
        };
        add(
            "scrape_duration_seconds",
            BTreeMap::new(),
            took.as_secs_f64(),
        );
        for sample in samples(&text).filter(|sample| wanted(sample.name)) {
            let labels = sample
                .labels()
                .map(|(name, value)| (name.to_owned(), value.into_owned()));
            add(sample.name, labels.collect(), sample.value);
        }
    }
    let result: Vec<_> = series
        .into_iter()
        .map(|(metric, values)| json!({"metric": metric, "values": values}))
        .collect();
    Json(json!({"status": "success", "data": {"resultType": "matrix", "result": result}}))
}

pub(super) async fn prometheus(scene: &Scene) -> Result<()> {
    let prometheus = Prometheus::start(scene).await?;
    // One scrape must lie before the run.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let source = |selector| json!({"prometheus": {"url": format!("http://{}/", prometheus.address), "selector": selector}});
    let probe = Probe::kv2("past").steps(&[Step::Create, Step::Update, Step::Delete]);
    let prober = scene
        .prober([probe])
        .edit(|config| metrics(config, source("{job=\"vso\"}")));
    let outcome = prober.probe(&[]).await?.exits(0)?;
    let run = outcome.only_run()?;
    went_well(&run)?;
    for report in &run.steps {
        told(report, Attribution::Exact, None)?;
    }
    let update = step(&run, Step::Update)?
        .operator
        .context("it was told exactly")?;
    ensure!(
        update.window_seconds > 1.0 && update.vault_reads >= 1.0,
        "{run:#?}"
    );

    let wrong = self::run(scene, "unknown", source("{job=\"other\"}")).await?;
    all_told(&wrong, Attribution::None, Some(Void::ScrapeFailed))?;
    wrong.says(&["Prometheus"])
}
