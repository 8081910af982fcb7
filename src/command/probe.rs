//! Once: run the probes, judge, report, exit.

use std::collections::HashSet;
use std::io::Write as _;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use tokio::time::Instant;

use super::Error;
use super::run::{judged, record, sweep};
use crate::cli::{Exit, OutputFormat, ProbeArgs};
use crate::config::{Config, Probe, Push};
use crate::health::Health;
use crate::judge::correlation::Windows;
use crate::model::Verdict;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::model::run::Run;
use crate::probe::{Progress, Shell};
use crate::publish::progress::Board;
use crate::publish::{junit, table};
use crate::push;
use crate::shutdown::Shutdown;

/// How long a push may be tried, and how long if the program was told to stop.
const PUSH_LIMIT: Duration = Duration::from_secs(15);
const PUSH_LIMIT_AT_THE_END: Duration = Duration::from_secs(3);

/// What the configuration asks for that this version takes no heed of, beside what it refuses to run.
pub(super) fn unheeded(config: &Config) -> Option<&'static str> {
    let asked = config.history.is_some();
    asked.then_some("`history` is kept by `serve` alone")
}

pub(super) async fn run(config: &Config, args: &ProbeArgs) -> Result<Exit, Error> {
    let probes = select(config, &args.probes)?;
    if args.push && config.push == Push::default() {
        let text = "`--push` has nowhere to push to: write `push.pushgateway` or `push.remoteWrite` into the configuration";
        return Err(Error::Usage(text.to_owned()));
    }
    let mut output = Output::open(args)?;
    let shutdown = Shutdown::on_signals()?;
    let board = Board::new(args.output_format == OutputFormat::Table);

    if let Some(what) = unheeded(config) {
        tracing::warn!("{what}");
    }
    let begun = Instant::now();
    let shell = tokio::select! {
        shell = open(config, &probes) => shell,
        () = shutdown.wait() => Err(Obstacle {
            at: Peer::Kubernetes,
            how: Hindrance::Unreachable,
            text: "the prober was told to stop before it could begin".into(),
        }),
    };
    if let Ok(shell) = &shell {
        tokio::select! {
            () = sweep(shell, config) => {}
            () = shutdown.wait() => {}
        }
    }
    let jobs = (0..args.count).flat_map(|_| probes.iter().copied());
    let mut runs = futures::stream::iter(jobs)
        .map(|probe| one(config, probe, &shell, begun, &shutdown, &board))
        .buffer_unordered(args.parallel.into());
    let mut windows = Windows::default();
    let mut done = Vec::new();
    let mut written = Ok(());
    while let Some(run) = runs.next().await {
        let Some(mut run) = run else { continue };
        windows.observe(&mut run);
        if written.is_ok() {
            written = output.run(&run);
            if written.is_err() {
                // Nobody will read of it, but what is under way must still be cleaned up.
                shutdown.ask();
            }
        }
        done.push(run);
    }
    drop(runs);
    drop(board);
    // Side by side, runs end in any order; people read them in that of the configuration.
    done.sort_by_key(|run| {
        config
            .probes
            .iter()
            .position(|probe| probe.name == run.probe)
    });
    if let Ok(shell) = &shell {
        shell.vault.log_out().await;
    }
    let written = written.and_then(|()| output.end(&done));
    let pushed = !args.push || push(config, &done, &shutdown).await;
    written?;
    Ok(match exit(&done, &shutdown) {
        Exit::Good if !pushed => Exit::PushFailed,
        exit => exit,
    })
}

/// Pushes the runs. What failed is told and returned as false: it changes no verdict.
async fn push(config: &Config, runs: &[Run], shutdown: &Shutdown) -> bool {
    let limit = if shutdown.asked() {
        PUSH_LIMIT_AT_THE_END
    } else {
        PUSH_LIMIT
    };
    let errors = push::once(config, runs, limit).await;
    for error in &errors {
        tracing::error!("{error}");
    }
    errors.is_empty()
}

/// The probes to run, all of which this version can run.
fn select<'a>(config: &'a Config, names: &[String]) -> Result<Vec<&'a Probe>, Error> {
    let known = || {
        config
            .probes
            .iter()
            .map(|probe| format!("`{}`", probe.name))
            .collect::<Vec<_>>()
    };
    for name in names {
        if config.probe(name).is_none() {
            let text = format!(
                "there is no probe `{name}`; there are {}",
                known().join(", ")
            );
            return Err(Error::Usage(text));
        }
    }
    let chosen = |probe: &&Probe| names.is_empty() || names.contains(&probe.name);
    let probes: Vec<_> = config.probes.iter().filter(chosen).collect();
    Ok(probes)
}

/// Makes the clients and waits until the watches are synced: no stimulus is sent before.
async fn open(config: &Config, probes: &[&Probe]) -> Result<Shell, Obstacle> {
    let kinds: HashSet<_> = probes.iter().map(|probe| probe.target.kind()).collect();
    let shell = Shell::open(config, &kinds, &Health::default()).await?;
    let limit = probes
        .iter()
        .map(|probe| probe.timeout)
        .min()
        .unwrap_or_default();
    shell.observer.synced(limit).await?;
    Ok(shell)
}

/// One run, judged; `None` if the program was told to stop before it began.
async fn one(
    config: &Config,
    probe: &Probe,
    shell: &Result<Shell, Obstacle>,
    begun: Instant,
    shutdown: &Shutdown,
    board: &Board,
) -> Option<Run> {
    if shutdown.asked() {
        return None;
    }
    let line = board.line(&probe.name);
    let tell = |progress| match progress {
        Progress::Begun(step) => line.begun(step),
        Progress::CleaningUp => line.cleaning_up(),
    };
    let shell = shell.as_ref().map_err(Clone::clone);
    let record = record(config, probe, shell, begun, shutdown, tell).await;
    let run = judged(&record);
    tracing::debug!(probe = run.probe, run = run.run, result = %run.result, "the run is over");
    Some(run)
}

/// Failure goes before unknown: one step that surely failed is enough to stop a rollout.
fn exit(runs: &[Run], shutdown: &Shutdown) -> Exit {
    let any = |verdict| runs.iter().any(|run| run.result == verdict);
    if any(Verdict::Failure) {
        Exit::Failed
    } else if any(Verdict::Unknown) || runs.is_empty() || shutdown.asked() {
        Exit::Unknown
    } else {
        Exit::Good
    }
}

/// Where the outcome goes.
struct Output {
    format: OutputFormat,
    writer: Box<dyn std::io::Write>,
    name: String,
}

impl Output {
    /// Opens the output before anything is run, so that no outcome is lost for a bad path.
    fn open(args: &ProbeArgs) -> Result<Self, Error> {
        let (writer, name): (Box<dyn std::io::Write>, _) = match &args.output {
            None => (Box::new(std::io::stdout()), "stdout".to_owned()),
            Some(file) => {
                let name = file.display().to_string();
                let writer = std::fs::File::create(file)
                    .map_err(|error| Error::Usage(format!("tried to create {name}: {error}")))?;
                (Box::new(writer), name)
            }
        };
        Ok(Self {
            format: args.output_format,
            writer,
            name,
        })
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        self.writer
            .write_all(text.as_bytes())
            .and_then(|()| self.writer.flush())
            .with_context(|| format!("tried to write the outcome to {}", self.name))
    }

    fn run(&mut self, run: &Run) -> anyhow::Result<()> {
        match self.format {
            OutputFormat::Json => {
                let line = serde_json::to_string(run).context("can't write the run as JSON")?;
                self.write(&(line + "\n"))
            }
            OutputFormat::Table | OutputFormat::Junit => Ok(()),
        }
    }

    fn end(&mut self, runs: &[Run]) -> anyhow::Result<()> {
        match self.format {
            OutputFormat::Table => self.write(&table::render(runs)),
            OutputFormat::Junit => self.write(&junit::render(runs)),
            OutputFormat::Json => Ok(()),
        }
    }
}
