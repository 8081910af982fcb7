//! A benchmark of cost: memory and CPU of `serve`, its time to be ready, whether requests disturb its
//! measurements, and what many canaries at once take. Prints tables; asserts nothing.
#![expect(clippy::print_stdout, reason = "a command line's output")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::figures::quantile;
use e2e::lab::{Lab, NAMESPACE, Options, free_port};
use jiff::Timestamp;
use reqwest::Client;
use tokio::process::{Child, Command};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use vso_prober::model::run::Run;
use vso_prober::model::{Stage, Step};

/// Measures what the prober costs.
#[derive(Parser)]
struct Cli {
    /// The prober's binary.
    #[arg(long, default_value = "target/release/vso-prober")]
    prober: PathBuf,
    /// How many minutes `serve` is watched.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// How many canaries `probe` takes.
    #[arg(long, default_value_t = 2000)]
    canaries: u32,
    /// How many of them at once.
    #[arg(long, default_value_t = 200)]
    parallel: u32,
}

/// Requests a second under load.
const RATE: u64 = 200;
/// The kernel's clock ticks a second, which CPU time is counted in on every Linux there is.
const TICKS: f64 = 100.0;

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let size = fs::metadata(&cli.prober)
        .with_context(|| format!("tried to read {}; build it first", cli.prober.display()))?
        .len();
    let lab = Lab::start_with(Options {
        say: Some(|line| println!("{line}")),
        ..Options::from_env()?
    })
    .await?;
    println!("\nbinary: {:.1} MB", megabytes(size));
    quiet(&lab, &cli).await?;
    loaded(&lab, &cli).await?;
    many(&lab, &cli).await
}

/// One run of create and delete every 5 s, with nobody asking but once a minute.
async fn quiet(lab: &Lab, cli: &Cli) -> Result<()> {
    let server = Server::start(lab, cli, "5s").await?;
    println!(
        "serve: ready {:.2} s after its start",
        server.ready.as_secs_f64()
    );
    println!("\nMINUTE     RSS        CPU");
    let mut before = server.cpu()?;
    for minute in 1..=cli.minutes {
        sleep(Duration::from_secs(60)).await;
        server.get("/metrics").await?;
        let cpu = server.cpu()?;
        println!(
            "{minute:>6}   {:>5.1} MB   {:.2} % of a core",
            megabytes(server.memory("VmRSS")?),
            (cpu - before) / 60.0 * 100.0
        );
        before = cpu;
    }
    println!("highest: {:.1} MB", megabytes(server.memory("VmHWM")?));
    Ok(())
}

/// A run every second: a minute in peace, then a minute under load.
async fn loaded(lab: &Lab, cli: &Cli) -> Result<()> {
    let server = Server::start(lab, cli, "1s").await?;
    println!("\nCREATE, IN A MINUTE              RUNS      P50        P99       RSS");
    let begun = Timestamp::now();
    sleep(Duration::from_secs(60)).await;
    let peace = server.creates(begun).await?;
    server.tell("in peace", &peace)?;
    let begun = Timestamp::now();
    let load = async {
        let mut ticks = interval(Duration::from_secs(1) / u32::try_from(RATE)?);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let until = Instant::now() + Duration::from_secs(60);
        let mut requests = tokio::task::JoinSet::new();
        let mut answered = 0;
        for number in 0.. {
            if ticks.tick().await > until {
                break;
            }
            let path = ["/metrics", "/api/v1/runs", "/api/v1/probes"][number % 3];
            let (http, url) = (server.http.clone(), server.url(path));
            requests.spawn(async move { http.get(url).send().await?.bytes().await });
            while let Some(done) = requests.try_join_next() {
                answered += u64::from(done?.is_ok());
            }
        }
        for done in requests.join_all().await {
            answered += u64::from(done.is_ok());
        }
        anyhow::Ok(answered)
    };
    let answered = load.await?;
    let under = server.creates(begun).await?;
    server.tell(&format!("under {RATE} requests a second"), &under)?;
    println!("answered: {answered} requests");
    Ok(())
}

/// Many canaries at once, by `probe`.
async fn many(lab: &Lab, cli: &Cli) -> Result<()> {
    println!("\n{} canaries, {} at once", cli.canaries, cli.parallel);
    let config = configuration(lab, "60s", free_port()?).await?;
    let idle = one_shot(lab, cli, &config, 1, 1).await?;
    let full = one_shot(lab, cli, &config, cli.canaries, cli.parallel).await?;
    let spent = full.memory.saturating_sub(idle.memory);
    println!(
        "memory: highest {:.1} MB, {:.1} KB for each that is under way (alone: {:.1} MB)",
        megabytes(full.memory),
        megabytes(spent) * 1000.0 / f64::from(cli.parallel),
        megabytes(idle.memory)
    );
    let bad = full.runs.iter().filter(|run| run.decisive().is_some());
    println!(
        "time: {:.1} s, {:.0} canaries a second; {} not good",
        full.took.as_secs_f64(),
        f64::from(cli.canaries) / full.took.as_secs_f64(),
        bad.count()
    );
    let steps = || full.runs.iter().flat_map(|run| &run.steps);
    let latency: f64 = steps().map(|step| step.latency_seconds).sum();
    let wall: f64 = full
        .runs
        .iter()
        .map(|run| run.finished.duration_since(run.started).as_secs_f64())
        .sum();
    for stage in Stage::ALL {
        let spent: f64 = steps().filter_map(|step| step.stages.get(&stage)).sum();
        println!(
            "  {:<10} {:>5.1} % of the runs' wall time",
            stage.as_str(),
            spent / wall * 100.0
        );
    }
    println!(
        "  between    {:>5.1} % (writes to Vault, waiting until the operator has finished, readings, cleaning up)",
        (wall - latency) / wall * 100.0
    );
    Ok(())
}

struct OneShot {
    runs: Vec<Run>,
    took: Duration,
    memory: u64,
}

async fn one_shot(
    lab: &Lab,
    cli: &Cli,
    config: &Path,
    count: u32,
    parallel: u32,
) -> Result<OneShot> {
    let output = lab.folder().join("bench-runs.json");
    let begun = Instant::now();
    let mut child = command(lab, cli, config)
        .args(["probe", "-o", "json", "--count", &count.to_string()])
        .args(["--parallel", &parallel.to_string(), "--output-file"])
        .arg(&output)
        .spawn()?;
    let pid = child.id().context("the prober has ended already")?;
    let mut memory = 0;
    let mut ticks = interval(Duration::from_millis(50));
    let status = loop {
        tokio::select! {
            status = child.wait() => break status?,
            _ = ticks.tick() => memory = memory.max(kernel_says(pid, "VmHWM").unwrap_or_default()),
        }
    };
    if ![Some(0), Some(1), Some(3)].contains(&status.code()) {
        bail!("the prober ended with {status}");
    }
    let took = begun.elapsed();
    let text = fs::read_to_string(&output)?;
    let runs = text.lines().map(serde_json::from_str);
    Ok(OneShot {
        runs: runs.collect::<Result<_, _>>()?,
        took,
        memory,
    })
}

/// The prober, serving.
struct Server {
    child: Child,
    http: Client,
    port: u16,
    ready: Duration,
}

impl Server {
    async fn start(lab: &Lab, cli: &Cli, every: &str) -> Result<Self> {
        let port = free_port()?;
        let config = configuration(lab, every, port).await?;
        let begun = Instant::now();
        let child = command(lab, cli, &config).arg("serve").spawn()?;
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

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    async fn get(&self, path: &str) -> Result<String> {
        let answer = self.http.get(self.url(path)).send().await?;
        Ok(answer.error_for_status()?.text().await?)
    }

    fn pid(&self) -> Result<u32> {
        self.child.id().context("the prober has ended")
    }

    /// A line of the kernel's about its memory, in bytes.
    fn memory(&self, line: &str) -> Result<u64> {
        kernel_says(self.pid()?, line)
    }

    /// The CPU time that it has used, in seconds.
    fn cpu(&self) -> Result<f64> {
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

    /// The latencies of `create` of the runs that it keeps from then on, the latest first.
    async fn creates(&self, from: Timestamp) -> Result<Vec<f64>> {
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

    fn tell(&self, when: &str, creates: &[f64]) -> Result<()> {
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

fn command(lab: &Lab, cli: &Cli, config: &Path) -> Command {
    let mut command = Command::new(&cli.prober);
    command
        .env("VSO_PROBER_CONFIG", config)
        .env("KUBECONFIG", lab.prober_kubeconfig())
        .env("VAULT_TOKEN", lab.vault().token())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

async fn configuration(lab: &Lab, every: &str, port: u16) -> Result<PathBuf> {
    let file = lab.folder().join("bench.yaml");
    let text = format!(
        "vault: {{address: '{}', auth: {{token: {{env: VAULT_TOKEN}}}}}}\n\
         kubernetes: {{namespace: {NAMESPACE}}}\n\
         operator: {{metrics: {{url: '{}'}}}}\n\
         server: {{listen: '127.0.0.1:{port}'}}\n\
         probes:\n\
         - name: footprint\n  \
           static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 1h}}\n  \
           steps: {{create: 30s, delete: 30s}}\n  \
           timeout: 60s\n  \
           every: {every}\n",
        lab.vault().address(),
        lab.metrics_url().await,
    );
    fs::write(&file, text).context("tried to write the bench's configuration")?;
    Ok(file)
}

/// A line of `/proc/PID/status` that is in kB, in bytes.
fn kernel_says(pid: u32, line: &str) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let value = status
        .lines()
        .find_map(|text| text.strip_prefix(line)?.strip_prefix(':'))
        .with_context(|| format!("the kernel does not tell {line}"))?;
    let kilobytes: u64 = value.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
