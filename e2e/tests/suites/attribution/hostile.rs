//! Hostile and wrong endpoints of metrics: none fails a probe.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::scenario::{Probe, Scene};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep};
use vso_prober::model::Step;
use vso_prober::model::run::Attribution;
use vso_prober::model::snapshot::Void;

use super::{metrics, told, went_well};

/// How much memory the prober may take, whatever it is sent, in KB: its own, and one answer at its largest.
const MEMORY: u64 = 150_000;

/// How an endpoint answers.
#[derive(Clone, Copy, Debug)]
enum Malice {
    /// With a body that never ends.
    Endless,
    /// With a line that never ends.
    EndlessLine,
    /// With a byte now and then.
    Drip,
    /// Not at all.
    Silence,
    /// With noise.
    Noise,
    /// With something else than metrics.
    Page,
    /// With metrics of something else.
    OtherMetrics,
    /// With the end of the connection, in the middle.
    Broken,
    /// With headers that never end.
    Headers,
    /// With a redirect to itself.
    Circle,
    /// With a refusal.
    Forbidden,
    /// With counters that are none, or fall.
    Nonsense,
}

impl Malice {
    const ALL: [(Self, &'static str); 11] = [
        (Self::Endless, "larger than 4 MB"),
        (Self::EndlessLine, "larger than 4 MB"),
        (Self::Drip, "did not end within 5 s"),
        (Self::Silence, "did not end within 5 s"),
        (Self::Noise, "the response has none of them"),
        (Self::Page, "the response has none of them"),
        (Self::OtherMetrics, "the response has none of them"),
        (Self::Broken, "was cut off"),
        (Self::Headers, "no answer"),
        (Self::Circle, "it answered 302"),
        (Self::Forbidden, "allow the token's ServiceAccount to get"),
    ];

    async fn answer(self, mut stream: TcpStream) -> std::io::Result<()> {
        let mut asked = [0; 4096];
        let _ = stream.read(&mut asked).await?;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n";
        match self {
            Self::Endless => {
                stream.write_all(head).await?;
                loop {
                    stream.write_all(&b"metric{label=\"value\"} 1\n".repeat(1000)).await?;
                }
            }
            Self::EndlessLine => {
                stream.write_all(head).await?;
                loop {
                    stream.write_all(&b"metric{label=\"value".repeat(1000)).await?;
                }
            }
            Self::Drip => {
                stream.write_all(head).await?;
                loop {
                    stream.write_all(b"#").await?;
                    sleep(Duration::from_millis(200)).await;
                }
            }
            Self::Silence => {
                sleep(Duration::from_secs(60)).await;
                Ok(())
            }
            Self::Noise => {
                stream.write_all(head).await?;
                let noise: Vec<u8> = (0..100_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[3]).collect();
                stream.write_all(&noise).await
            }
            Self::Page => {
                stream.write_all(head).await?;
                stream.write_all(b"<html>\n<body a=\"b\">\nhello {world} 5\n</html>\n").await
            }
            Self::OtherMetrics => {
                stream.write_all(head).await?;
                stream.write_all(b"# TYPE up gauge\nup{job=\"x\"} 1\ncontroller_runtime_reconcile_time_seconds_count{controller=\"other\"} 5\n").await
            }
            Self::Broken => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\ncontroller").await
            }
            Self::Headers => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n").await?;
                loop {
                    stream.write_all(&b"X-Header: value\r\n".repeat(100)).await?;
                }
            }
            Self::Circle => {
                stream.write_all(b"HTTP/1.1 302 Found\r\nLocation: /metrics\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await
            }
            Self::Forbidden => {
                stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await
            }
            Self::Nonsense => {
                stream.write_all(head).await?;
                let series = "controller_runtime_reconcile_time_seconds";
                // It falls for as long as there are clocks.
                let count = 10_000_000_000_000_000 - jiff::Timestamp::now().as_microsecond();
                let text = format!(
                    "{series}_count{{controller=\"vaultstaticsecret\"}} {count}\n\
                     {series}_sum{{controller=\"vaultstaticsecret\"}} NaN\n\
                     {series}_sum{{controller=\"vaultstaticsecret\"}} -5\n\
                     {series}_sum{{controller=\"vaultstaticsecret\"}} +Inf\n"
                );
                stream.write_all(text.as_bytes()).await
            }
        }
    }
}

/// An endpoint that answers so.
struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    async fn start(malice: Malice) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(malice.answer(stream));
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn endpoints(scene: &Scene) -> Result<()> {
    for (malice, said) in Malice::ALL {
        let endpoint = Endpoint::start(malice).await?;
        let peak = meet(scene, endpoint.address, Void::ScrapeFailed, &[said])
            .await
            .with_context(|| format!("{malice:?}"))?;
        tell(malice, peak);
        ensure!(peak < MEMORY, "{malice:?}: the prober took {peak} KB");
    }
    let nonsense = Endpoint::start(Malice::Nonsense).await?;
    let peak = meet(scene, nonsense.address, Void::CounterReset, &[]).await;
    tell(Malice::Nonsense, peak.context("counters that are none")?);
    // Nobody listens on a port that was just given back.
    let gone = nonsense.address;
    drop(nonsense);
    meet(scene, gone, Void::ScrapeFailed, &["is the operator up?"])
        .await
        .map(drop)
}

#[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
fn tell(malice: Malice, peak: u64) {
    println!("{malice:?}: the prober took {peak} KB at most");
}

/// Runs a probe with metrics from this address; returns the most memory that the prober took, in KB.
async fn meet(scene: &Scene, address: SocketAddr, void: Void, said: &[&str]) -> Result<u64> {
    let url = json!({"url": format!("http://{address}/metrics")});
    let probe = Probe::kv2("hostile").steps(&[Step::Create, Step::Delete]);
    let prober = scene.prober([probe]).edit(|config| metrics(config, url));
    let running = prober.start(&["probe", "-o", "json"])?;
    let status = format!("/proc/{}/status", running.id().context("it runs")?);
    let watch = async {
        let mut peak = 0;
        let mut ticks = interval(Duration::from_millis(20));
        loop {
            ticks.tick().await;
            let text = fs::read_to_string(&status).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let now = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
            let Some(now) = now else { break };
            peak = u64::max(peak, now);
        }
        peak
    };
    let (outcome, peak) = tokio::join!(running.ended(), watch);
    let outcome = outcome?.exits(0)?;
    let run = outcome.only_run()?;
    went_well(&run)?;
    for report in &run.steps {
        told(report, Attribution::None, Some(void))?;
    }
    outcome.says(said)?;
    Ok(peak)
}
