//! A benchmark of cost: memory and CPU of `serve`, its time to be ready, whether requests disturb its
//! measurements, what many canaries at once take, and what an audit log costs. Prints tables; asserts nothing.
#![expect(clippy::print_stdout, reason = "a command line's output")]

mod audit;
mod server;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::image::ENVIRONMENT;
use e2e::lab::{Lab, NAMESPACE, Options, free_port};
use jiff::Timestamp;
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use vso_prober::model::Stage;
use vso_prober::model::run::Run;

use server::{Server, kernel_says, megabytes};

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
    /// How many gigabytes of an audit log are read in one go.
    #[arg(long, default_value_t = 1)]
    gigabytes: u64,
    /// Measure the audit alone.
    #[arg(long)]
    only_audit: bool,
}

/// Requests a second under load.
const RATE: u64 = 200;

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
    if !cli.only_audit {
        quiet(&lab, &cli).await?;
        loaded(&lab, &cli).await?;
        many(&lab, &cli).await?;
    }
    audit::busy_log(&lab, &cli).await?;
    audit::long_log(&lab, &cli).await
}

/// One run of create and delete every 5 s, with nobody asking but once a minute.
async fn quiet(lab: &Lab, cli: &Cli) -> Result<()> {
    let server = serve(lab, cli, "5s").await?;
    println!(
        "serve: ready {:.2} s after its start",
        server.ready.as_secs_f64()
    );
    println!("\nMINUTE     RSS        CPU");
    let mut before = server.cpu()?;
    for minute in 1..=cli.minutes {
        sleep(Duration::from_secs(60)).await;
        server.get("/metrics").await?;
        before = server.tell_minute(minute, before)?;
    }
    println!("highest: {:.1} MB", megabytes(server.memory("VmHWM")?));
    Ok(())
}

/// A run every second: a minute in peace, then a minute under load.
async fn loaded(lab: &Lab, cli: &Cli) -> Result<()> {
    let server = serve(lab, cli, "1s").await?;
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

/// `serve`, with a run each so often.
async fn serve(lab: &Lab, cli: &Cli, every: &str) -> Result<Server> {
    let port = free_port()?;
    let config = configuration(lab, every, port).await?;
    let mut command = command(lab, cli, &config);
    command.arg("serve");
    Server::start(command, port).await
}

fn command(lab: &Lab, cli: &Cli, config: &Path) -> Command {
    let mut command = Command::new(&cli.prober);
    command
        .env("VSO_PROBER_CONFIG", config)
        .env("KUBECONFIG", lab.prober_kubeconfig())
        .env("VAULT_TOKEN", lab.vault().token())
        // As it is shipped.
        .envs(ENVIRONMENT)
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
