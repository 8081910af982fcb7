//! The command `probe`: runs the probes once, judges, reports, exits.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use futures::StreamExt as _;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, timeout};

use super::Error;
use super::output::{Output, exit};
use crate::cli::{Exit, OutputFormat, ProbeArgs};
use crate::config::{Config, Probe, Push};
use crate::health::Health;
use crate::history::records::Records;
use crate::judge::correlation::Windows;
use crate::model::record::{Hindrance, Obstacle, Peer, Record};
use crate::model::run::Run;
use crate::probe::{Clients, Progress};
use crate::publish::progress::Board;
use crate::push;
use crate::round::{AuditLog, Outcome, Round, context, sweep};
use crate::serve::Traces;
use crate::shutdown::Shutdown;

/// How long a push may be tried, and how long if the program was told to stop.
const PUSH_LIMIT: Duration = Duration::from_secs(15);
const PUSH_LIMIT_AT_THE_END: Duration = Duration::from_secs(3);

/// How long it may take to save a record.
const SAVE_LIMIT: Duration = Duration::from_secs(10);

/// What the configuration asks for that this version takes no heed of, beside what it refuses to run.
pub(super) fn unheeded(config: &Config) -> impl Iterator<Item = &'static str> {
    let history = config.history.is_some();
    let history = history.then_some("only `serve` keeps a `history`");
    let audit = config.audit.is_some();
    let audit = audit.then_some("only `serve` judges the logs of `audit`");
    history.into_iter().chain(audit)
}

pub(super) async fn run(config: &Config, args: &ProbeArgs) -> Result<Exit, Error> {
    let probes = select(config, &args.probes)?;
    if args.push && config.push == Push::default() {
        let text = "`--push` has no receiver: set `push.pushgateway` or `push.remoteWrite` in the configuration";
        return Err(Error::Usage(text.to_owned()));
    }
    let mut output = Output::open(&args.output)?;
    let records = args.record.as_deref().map(open_records).transpose()?;
    let shutdown = Shutdown::on_signals()?;
    let board = Board::new(args.output.output == OutputFormat::Table);

    for what in unheeded(config) {
        tracing::warn!("{what}");
    }
    let begun = Instant::now();
    let clients = tokio::select! {
        clients = open(config, &probes) => clients,
        () = shutdown.wait() => Err(Obstacle::new(Peer::Kubernetes, Hindrance::Unreachable, "the prober was stopped before it could begin")),
    };
    if let Ok(clients) = &clients {
        tokio::select! {
            () = sweep(clients, config) => {}
            () = shutdown.wait() => {}
        }
    }
    let windows = Mutex::<Windows>::default();
    let traces = Traces::of(config, None).map_err(Error::Usage)?;
    let round = Round {
        config,
        context: context(config),
        clients: clients.as_ref().map_err(Clone::clone),
        begun,
        log: traces.as_ref().map(|traces| traces as &dyn AuditLog),
        windows: &windows,
    };
    let jobs = (0..args.count).flat_map(|_| probes.iter().copied());
    let mut runs = futures::stream::iter(jobs)
        .map(|probe| one(&round, probe, &shutdown, &board, records.as_ref()))
        .buffer_unordered(args.parallel.into());
    let mut done = Vec::new();
    let (mut written, mut recorded) = (Ok(()), Ok(()));
    while let Some(run) = runs.next().await {
        let Some((run, saved)) = run else {
            continue;
        };
        recorded = recorded.and(saved);
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
            .position(|probe| run.probe == probe.name.as_str())
    });
    if let Ok(clients) = &clients {
        clients.vault.log_out().await;
    }
    let written = written.and_then(|()| output.end(&done));
    let pushed = !args.push || push(config, &done, &shutdown).await;
    written.and(recorded)?;
    Ok(match exit(&done) {
        Exit::Good if shutdown.asked() => Exit::Unknown,
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
                "there is no probe `{name}`; the probes are {}",
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
async fn open(config: &Config, probes: &[&Probe]) -> Result<Clients, Obstacle> {
    let kinds: HashSet<_> = probes.iter().map(|probe| probe.target.kind()).collect();
    let clients = Clients::open(config, &kinds, &Health::default()).await?;
    let limit = probes
        .iter()
        .map(|probe| probe.timeout)
        .min()
        .unwrap_or_default();
    clients.observer.synced(limit).await?;
    Ok(clients)
}

/// One run, judged, and whether its record could be saved; `None` if the program was told to stop before it began.
async fn one(
    round: &Round<'_>,
    probe: &Probe,
    shutdown: &Shutdown,
    board: &Board,
    records: Option<&Records>,
) -> Option<(Run, anyhow::Result<()>)> {
    if shutdown.asked() {
        return None;
    }
    let line = board.line(&probe.name);
    let tell = |progress| match progress {
        Progress::Begun(step) => line.begun(step),
        Progress::CleaningUp => line.cleaning_up(),
    };
    let Outcome { run, record, .. } = round.run(probe, shutdown, tell).await;
    let saved = match records {
        Some(records) => save(records, record).await,
        None => Ok(()),
    };
    Some((run, saved))
}

/// Opens the folder of the records before anything is run, so that none is lost for a bad path.
fn open_records(folder: &Path) -> Result<Records, Error> {
    Records::open(folder).map_err(|error| {
        let folder = folder.display();
        Error::Usage(format!("tried to save records in {folder}: {error}"))
    })
}

/// Saves a record. The disk may hang: then it is not waited for.
async fn save(records: &Records, record: Record) -> anyhow::Result<()> {
    let run = record.run.clone();
    let records = records.clone();
    let saved = spawn_blocking(move || records.save(&record));
    let saved = async { anyhow::Ok(timeout(SAVE_LIMIT, saved).await???) };
    let (file, _) = saved
        .await
        .with_context(|| format!("tried to save the record of the run {run}"))?;
    tracing::info!(file = %file.display(), "saved the run's record");
    Ok(())
}
