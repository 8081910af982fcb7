//! The prober while it serves, and what the kernel says of it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use e2e::figures::quantile;
use jiff::Timestamp;
use reqwest::Client;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};
use vso_prober::model::Step;
use vso_prober::model::run::Run;

/// The kernel's clock ticks a second, which CPU time is counted in on every Linux there is.
const TICKS: f64 = 100.0;

/// The prober, serving.
pub(crate) struct Server {
    child: Child,
    pub(crate) http: Client,
    port: u16,
    /// How long it took to be ready.
    pub(crate) ready: Duration,
}

impl Server {
    /// Starts it, and waits until it is ready.
    pub(crate) async fn start(mut command: Command, port: u16) -> Result<Self> {
        let begun = Instant::now();
        let child = command.spawn()?;
        let mut server = Self {
            child,
            http: Client::builder().timeout(Duration::from_secs(10)).build()?,
            port,
            ready: Duration::ZERO,
        };
        while server.get("/readyz").await.is_err() {
            if begun.elapsed() > Duration::from_secs(30) {
                bail!("the prober was not ready within 30 s");
            }
            sleep(Duration::from_millis(10)).await;
        }
        server.ready = begun.elapsed();
        Ok(server)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<String> {
        let answer = self.http.get(self.url(path)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the prober has ended")
    }

    /// A line of the kernel's about its memory, in bytes.
    pub(crate) fn memory(&self, line: &str) -> Result<u64> {
        kernel_says(self.pid()?, line)
    }

    /// The CPU time that it has used, in seconds.
    pub(crate) fn cpu(&self) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid()?))?;
        let fields: Vec<_> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .collect();
        let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
        let (user, system) = (ticks(11), ticks(12));
        Ok((user.context("utime")? + system.context("stime")?) / TICKS)
    }

    /// Prints a line of a table of minutes, and returns the CPU time until now.
    pub(crate) fn tell_minute(&self, minute: u64, before: f64) -> Result<f64> {
        let cpu = self.cpu()?;
        println!(
            "{minute:>6}   {:>5.1} MB   {:.2} % of a core",
            megabytes(self.memory("VmRSS")?),
            (cpu - before) / 60.0 * 100.0
        );
        Ok(cpu)
    }

    /// The latencies of `create` of the runs that it keeps from then on, the latest first.
    pub(crate) async fn creates(&self, from: Timestamp) -> Result<Vec<f64>> {
        let text = self.get("/api/v1/runs?limit=1000").await?;
        let mut answer: serde_json::Value = serde_json::from_str(&text)?;
        let runs: Vec<Run> = serde_json::from_value(answer["runs"].take())?;
        let create = |run: &Run| {
            let step = run.steps.iter().find(|step| step.step == Step::Create)?;
            Some(step.latency_seconds)
        };
        let late = runs.iter().filter(|run| run.started >= from);
        Ok(late.filter_map(create).collect())
    }

    pub(crate) fn tell(&self, when: &str, creates: &[f64]) -> Result<()> {
        println!(
            "{when:<30} {:>6} {:>6.1} ms {:>7.1} ms {:>6.1} MB",
            creates.len(),
            quantile(creates, 0.5) * 1e3,
            quantile(creates, 0.99) * 1e3,
            megabytes(self.memory("VmRSS")?)
        );
        Ok(())
    }
}

/// A line of `/proc/PID/status` that is in kB, in bytes.
pub(crate) fn kernel_says(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .with_context(|| format!("the kernel does not tell {line}"))?;
    let kilobytes: u64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
pub(crate) fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
