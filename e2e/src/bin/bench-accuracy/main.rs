//! A benchmark of accuracy: what the prober measures beside the API server's own audit log, beside a bare watch, which is
//! the limit of any prober, and beside a shell loop that polls. Prints a table; asserts nothing.
#![expect(clippy::print_stdout, reason = "a command line's output")]

mod bare;
mod busy;
mod shell;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use e2e::figures::quantile;
use e2e::lab::{KubeRequest, Lab, NAMESPACE, Options};
use e2e::scenario::Relay;
use serde_json::Value;
use tokio::process::Command;
use vso_prober::model::run::Run;

use bare::BareWatch;
use busy::Busy;

/// Compares measured latencies with kube-apiserver's audit log.
#[derive(Parser)]
struct Cli {
    /// The prober's binary.
    #[arg(long, default_value = "target/release/vso-prober")]
    prober: PathBuf,
    /// How many creations each of them measures.
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// Round trips between the prober and the API server, in milliseconds: one table each.
    #[arg(long = "link", value_delimiter = ',', default_value = "0")]
    links: Vec<u64>,
    /// How many threads keep the machine busy meanwhile.
    #[arg(long, default_value_t = 0)]
    busy: usize,
}

/// By canary, in seconds.
type Measured = BTreeMap<String, f64>;

/// Who measured what, and what of the audit log is its truth.
struct Row {
    who: &'static str,
    from: From,
    measured: Measured,
}

/// Where a truth begins; it ends when the Secret's creation is completed.
#[derive(Clone, Copy)]
enum From {
    /// When the resource's creation was received.
    Received,
    /// When it was completed.
    Completed,
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let lab = Lab::start_with(Options {
        say: Some(|line| println!("{line}")),
        ..Options::from_env()?
    })
    .await?;
    let _busy = Busy::start(cli.busy);
    println!(
        "\ntruth of a latency: kube-apiserver's audit log, request received for the resource → Secret's create completed"
    );
    println!("truth of a sync: resource's create completed → Secret's create completed");
    println!("error: what was measured less the truth, without its sign");
    for millis in &cli.links {
        link(&lab, &cli, Duration::from_millis(*millis)).await?;
    }
    Ok(())
}

/// Measures over one link, and prints what came out.
async fn link(lab: &Lab, cli: &Cli, round_trip: Duration) -> Result<()> {
    let relay = Relay::far(&lab.api_server()?, round_trip / 2).await?;
    let kubeconfig = lab.folder().join("link.kubeconfig");
    let address = (!round_trip.is_zero()).then(|| relay.address());
    through(lab.prober_kubeconfig(), address, &kubeconfig)?;

    let bare = BareWatch::start(&kubeconfig).await?;
    let runs = prober(lab, cli, &kubeconfig).await?;
    let seen = bare.stop();
    let of = |pick: fn(&Run) -> Option<f64>| -> Measured {
        let named = runs
            .iter()
            .map(|run| (run.canary.name.as_str().to_owned(), pick(run)));
        named
            .filter_map(|(name, seconds)| Some((name, seconds?)))
            .collect()
    };
    let own = |name: &str| runs.iter().any(|run| *run.canary.name == *name);
    let mut rows = vec![
        Row {
            who: "vso-prober, latency",
            from: From::Received,
            measured: of(|run| Some(run.steps.first()?.latency_seconds)),
        },
        Row {
            who: "vso-prober, sync",
            from: From::Completed,
            measured: of(|run| run.steps.first()?.sync_seconds),
        },
        Row {
            who: "bare watch, sync",
            from: From::Completed,
            measured: seen.into_iter().filter(|(name, _)| own(name)).collect(),
        },
    ];
    if round_trip.is_zero() {
        rows.push(Row {
            who: "shell loop, 50 ms",
            from: From::Received,
            measured: shell::measure(lab, cli.count).await?,
        });
    }
    print(&lab.kube_audit()?, round_trip, cli.busy, &rows)
}

fn print(audit: &[KubeRequest], round_trip: Duration, busy: usize, rows: &[Row]) -> Result<()> {
    println!(
        "\nround trip {} ms, {busy} busy threads",
        round_trip.as_millis()
    );
    let head = [
        "MEASURED BY",
        "N",
        "TRUTH P50",
        "ERROR P50",
        "ERROR P99",
        "ERROR MAX",
    ];
    println!("{}", line(&head.map(str::to_owned)));
    for row in rows {
        let compared = compare(audit, row)?;
        let truth: Vec<_> = compared.iter().map(|(truth, _)| *truth).collect();
        let error = compared
            .iter()
            .map(|(truth, measured)| (measured - truth).abs());
        let error: Vec<_> = error.collect();
        let ms = |seconds: f64| format!("{:.2} ms", seconds * 1e3);
        println!(
            "{}",
            line(&[
                row.who.to_owned(),
                compared.len().to_string(),
                ms(quantile(&truth, 0.5)),
                ms(quantile(&error, 0.5)),
                ms(quantile(&error, 0.99)),
                ms(quantile(&error, 1.0)),
            ])
        );
    }
    Ok(())
}

/// Writes a kubeconfig that goes by another address to the same server.
fn through(kubeconfig: &Path, address: Option<String>, to: &Path) -> Result<()> {
    let mut config: Value = serde_json::from_str(&std::fs::read_to_string(kubeconfig)?)?;
    if let Some(address) = address {
        config["clusters"][0]["cluster"]["server"] = address.replace("http://", "https://").into();
    }
    std::fs::write(to, config.to_string()).context("tried to write a kubeconfig")
}

/// Runs the prober.
async fn prober(lab: &Lab, cli: &Cli, kubeconfig: &Path) -> Result<Vec<Run>> {
    let config = lab.folder().join("bench.yaml");
    let text = format!(
        "vault: {{address: '{}', auth: {{token: {{env: VAULT_TOKEN}}}}}}\n\
         kubernetes: {{namespace: {NAMESPACE}}}\n\
         probes:\n\
         - name: accuracy\n  \
           static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 1h}}\n  \
           steps: {{create: 10s, delete: 20s}}\n",
        lab.vault().address(),
    );
    std::fs::write(&config, text).context("tried to write the bench's configuration")?;
    let output = Command::new(&cli.prober)
        .args([
            "probe",
            "-o",
            "json",
            "--count",
            &cli.count.to_string(),
            "--config",
        ])
        .arg(&config)
        .env("KUBECONFIG", kubeconfig)
        .env("VAULT_TOKEN", lab.vault().token())
        .stderr(Stdio::inherit())
        .output()
        .await
        .with_context(|| format!("tried to run {}; build it first", cli.prober.display()))?;
    if !output.status.success() {
        bail!("the prober ended with {}", output.status);
    }
    let text = String::from_utf8(output.stdout)?;
    let runs = text.lines().map(|line| Ok(serde_json::from_str(line)?));
    runs.collect()
}

/// The truth and what was measured, in seconds.
fn compare(audit: &[KubeRequest], row: &Row) -> Result<Vec<(f64, f64)>> {
    let find = |resource: &str, name: &str| {
        audit.iter().find(|request| {
            request.verb == "create"
                && request.stage == "ResponseComplete"
                && request.object_ref.resource == resource
                && request.object_ref.name == name
        })
    };
    let compared = row.measured.iter().map(|(name, measured)| {
        let asked = find("vaultstaticsecrets", name)
            .with_context(|| format!("the audit log has no creation of {name}"))?;
        let made = find("secrets", name)
            .with_context(|| format!("the audit log has no Secret for {name}"))?;
        let from = match row.from {
            From::Received => asked.request_received_timestamp,
            From::Completed => asked.stage_timestamp,
        };
        let truth = made.stage_timestamp.duration_since(from);
        Ok((truth.as_secs_f64(), *measured))
    });
    compared.collect()
}

fn line(cells: &[String; 6]) -> String {
    let [first, rest @ ..] = cells;
    rest.iter().fold(format!("{first:<20}"), |line, cell| {
        format!("{line}{cell:>12}")
    })
}
