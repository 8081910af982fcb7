//! The cost of judging Vault's audit log: of one that grows as a busy cluster's does, and of a long one in one go.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use e2e::lab::{Lab, NAMESPACE, free_port};
use e2e::scenario::eventually;
use jiff::Timestamp;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::server::{Server, megabytes};
use super::{Cli, command};

/// Lines a second of a busy cluster.
const RATE: u32 = 50;
/// How often a second they are written.
const BEATS: u32 = 5;
/// Over how many seconds a long log was written.
const SPAN: u64 = 24 * 3600;
/// The operator's role in what is recorded, and somebody else's.
const ROLE: &str = r#""role":"probe""#;
const OTHER: &str = r#""role":"other""#;
/// What the operator left in a log of OpenBao's.
const RECORDED: &str = include_str!("../../../../tests/audit/recorded/openbao-operator.jsonl");

/// Requests, one after the other, and their responses: the operator's, or one of ten of them.
struct Traffic {
    recorded: Vec<Recorded>,
    /// Whether nine of ten are somebody else's.
    crowd: bool,
    /// When the operator's token was issued.
    issued: String,
    /// How many requests there were.
    requests: u64,
}

/// A recorded line, and what of it is another each time.
struct Recorded {
    text: &'static str,
    time: String,
    id: String,
    issued: String,
}

impl Traffic {
    fn begin(crowd: bool) -> Result<Self> {
        let recorded = RECORDED.lines().map(|text| {
            let line: Value = serde_json::from_str(text)?;
            let field = |at: &str| Some(line.pointer(at)?.as_str()?.to_owned());
            Ok(Recorded {
                text,
                time: field("/time").context("a time")?,
                id: field("/request/id").context("an ID")?,
                // The lines of a login have none.
                issued: field("/auth/token_issue_time").unwrap_or_default(),
            })
        });
        let recorded: Vec<_> = recorded.collect::<Result<_>>()?;
        Ok(Self {
            recorded: recorded
                .into_iter()
                .filter(|line| !line.issued.is_empty())
                .collect(),
            crowd,
            issued: format!("{:.0}", Timestamp::now()),
            requests: 0,
        })
    }

    /// Writes so many lines, and says how many bytes they have.
    fn write(&mut self, log: &mut impl Write, lines: u32, now: Timestamp) -> Result<u64> {
        let mut bytes = 0;
        for _ in 0..lines / 2 {
            let number = self.requests;
            let pair = usize::try_from(number)? % (self.recorded.len() / 2);
            let id = format!("{number:08x}-0000-4000-8000-000000000000");
            for line in &self.recorded[2 * pair..2 * pair + 2] {
                let mut text = line
                    .text
                    .replace(&line.time, &format!("{now:.9}"))
                    .replace(&line.id, &id)
                    .replace(&line.issued, &self.issued);
                if self.crowd && !number.is_multiple_of(10) {
                    text = text.replace(ROLE, OTHER);
                }
                writeln!(log, "{text}")?;
                bytes += text.len() as u64 + 1;
            }
            self.requests += 1;
        }
        Ok(bytes)
    }
}

/// Logs that grow by [`RATE`] lines a second: of which a tenth is the operator's, and all.
pub(crate) async fn busy_log(lab: &Lab, cli: &Cli) -> Result<()> {
    for (crowd, whose) in [
        (true, "of which a tenth is the operator's"),
        (false, "all the operator's"),
    ] {
        let log = lab.folder().join("busy.log");
        let mut writer = File::create(&log)?;
        let server = serve(lab, cli, &log).await?;
        println!("\naudit, {RATE} lines a second, {whose}\nMINUTE     RSS        CPU");
        let mut traffic = Traffic::begin(crowd)?;
        let mut ticks = interval(Duration::from_secs(1) / BEATS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut before = server.cpu()?;
        for minute in 1..=cli.minutes {
            for _ in 0..60 * BEATS {
                ticks.tick().await;
                traffic.write(&mut writer, RATE / BEATS, Timestamp::now())?;
            }
            before = server.tell_minute(minute, before)?;
        }
        settled(&server, 2 * traffic.requests).await?;
        drop(server);
        clear(&log)?;
    }
    Ok(())
}

/// A log that is long when it is first read.
pub(crate) async fn long_log(lab: &Lab, cli: &Cli) -> Result<()> {
    let log = lab.folder().join("long.log");
    let mut writer = BufWriter::new(File::create(&log)?);
    let mut traffic = Traffic::begin(true)?;
    let (now, mut bytes) = (Timestamp::now(), 0);
    let whole = cli.gigabytes * 1_000_000_000;
    while bytes < whole {
        let age = Duration::from_secs(SPAN - SPAN * bytes / whole);
        bytes += traffic.write(&mut writer, 1000, now - age)?;
    }
    writer.flush()?;
    drop(writer);
    let begun = Instant::now();
    let server = serve(lab, cli, &log).await?;
    settled(&server, 2 * traffic.requests).await?;
    let (took, cpu) = (begun.elapsed(), server.cpu()?);
    println!(
        "\naudit, a log of {:.1} GB, of which a tenth is the operator's, in one go: {:.1} s, {:.1} s of CPU, {:.0} MB a second of CPU; highest {:.1} MB",
        megabytes(bytes) / 1e3,
        took.as_secs_f64(),
        cpu,
        megabytes(bytes) / cpu,
        megabytes(server.memory("VmHWM")?)
    );
    clear(&log)
}

/// Removes a log, and what was kept of it.
fn clear(log: &Path) -> Result<()> {
    fs::remove_file(log)?;
    Ok(fs::remove_dir_all(log.with_extension("state"))?)
}

/// Waits until so many lines were read.
async fn settled(server: &Server, lines: u64) -> Result<()> {
    let all = async || {
        // Whoever asks for metrics costs too.
        sleep(Duration::from_millis(500)).await;
        let metrics = server.get("/metrics").await?;
        let counts = metrics.lines().filter_map(|line| {
            let (_, count) = line
                .strip_prefix("vso_audit_lines_total{")?
                .split_once("} ")?;
            count.parse::<u64>().ok()
        });
        let read: u64 = counts.sum();
        Ok((read >= lines).then_some(()))
    };
    eventually("end of the log", Duration::from_secs(1800), all).await
}

async fn serve(lab: &Lab, cli: &Cli, log: &Path) -> Result<Server> {
    let port = free_port()?;
    let config = configuration(lab, log, port)?;
    let mut command: Command = command(lab, cli, &config);
    // It reads more than probes do: the operator's Pods, its VaultAuths.
    command.env("KUBECONFIG", lab.kubeconfig());
    command.args(["serve", "--only", "audit"]);
    Server::start(command, port).await
}

fn configuration(lab: &Lab, log: &Path, port: u16) -> Result<PathBuf> {
    let file = lab.folder().join("bench-audit.yaml");
    let text = format!(
        "vault: {{address: '{}', auth: {{token: {{env: VAULT_TOKEN}}}}}}\n\
         kubernetes: {{namespace: {NAMESPACE}}}\n\
         server: {{listen: '127.0.0.1:{port}'}}\n\
         audit:\n  \
           state: '{}'\n  \
           sources: [{{name: vault-0, file: {{path: '{}', from: beginning}}}}]\n\
         probes:\n\
         - name: footprint\n  \
           static: {{authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober, refreshAfter: 1h}}\n  \
           every: 1h\n",
        lab.vault().address(),
        log.with_extension("state").display(),
        log.display(),
    );
    fs::write(&file, text).context("tried to write the bench's configuration")?;
    Ok(file)
}
