//! The command `serve`: runs the probes on schedule, and serves the outcome.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::OptionFuture;
use rand::RngExt as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, interval, timeout};

use super::{Error, Settings};
use crate::cli::{Exit, Only, ServeArgs};
use crate::config::{self, Config};
use crate::health::Health;
use crate::history::History;
use crate::http::{self, Ask, AuditBoard, Budget, Names, Served};
use crate::kubernetes;
use crate::leader::Leadership;
use crate::model::standing::Standing;
use crate::model::time::Moment as _;
use crate::publish::{Fact, Publisher};
use crate::serve::{Auditor, ConfigFile, Files, RemoteWriter, Reporter, Scheduler, Unread};
use crate::shutdown::Shutdown;
use crate::tail::Sources;

pub(super) async fn run(settings: &Settings, args: &ServeArgs) -> Result<Exit, Error> {
    let (name, text) = settings.read()?;
    let config = usable(settings, &text, &name).map_err(Error::Config)?;
    let mut config_file = ConfigFile::new(settings.file(), text)?;
    let shutdown = Shutdown::on_signals()?;
    let publisher = Arc::new(Publisher::default());
    let history = Arc::new(History::default());
    let health = Health::default();
    let reporter = Reporter::new(publisher.clone(), history.clone(), health.clone());
    // Before anyone can ask: every series is there from the first scrape.
    reporter.configured(&config, None);

    let probing = args.only != Some(Only::Audit);
    has_what_it_needs(args.only, &config)?;
    let listen = config.server.listen;
    let listener = http::listen(listen)
        .with_context(|| format!("tried to listen on {listen}, the `server.listen`"))?;
    let judges = config.audit.is_some() && args.only != Some(Only::Probes);
    let board = Arc::new(AuditBoard::new(judges));
    let judged = judges.then(|| board.clone());
    let (control, mut asked) = mpsc::channel(16);
    let served = Served {
        publisher: publisher.clone(),
        history: history.clone(),
        health: health.clone(),
        control: args.web_enable_lifecycle.then_some(control),
        names: Names::new(config.server.external_url.clone()),
        budget: Budget::default(),
        audit: board.clone(),
    };
    let closing = Shutdown::default();
    let server = tokio::spawn(answer(listener, served, &health, &closing));
    tracing::info!(%listen, probes = config.probes.len(), "serving");

    if let Some(kept) = &config.history {
        recall(&history, kept, &publisher).await?;
    }
    let auditing = audit_logs(&config, args.only, board, &publisher, &health, &closing).await?;
    let leadership = contend(args.leader_elect, &config, &health).await?;
    let term = leadership.as_ref().map(Leadership::tenure).cloned();
    let mut leading = leadership
        .as_ref()
        .map_or_else(|| watch::channel(Standing::Leads).1, Leadership::leading);

    let mut remote_writer = RemoteWriter::default();
    remote_writer
        .configure(&config, &publisher, &health)
        .map_err(|error| Error::Usage(error.to_string()))?;
    let mut files = Files::of(&config).await;
    let mut scheduler = Scheduler::new(reporter, config, judged);
    publisher.publish(Fact::Reload { successful: true });
    let standing = leading.borrow_and_update().clone();
    publisher.publish(Fact::Standing(standing.clone()));
    scheduler.lead(probing && standing.leads(), term.as_ref());
    let heart = health.promise("the main loop", STUCK);
    let mut beats = interval(BEAT);
    let exit = loop {
        tokio::select! {
            () = shutdown.wait() => break Exit::Good,
            stopped = health.stopped() => {
                tracing::error!(task = stopped.who, "{stopped}; cleaning up and exiting");
                break Exit::Broken;
            }
            _ = beats.tick() => heart.renew(Instant::now().later(STUCK)),
            Ok(()) = leading.changed() => {
                let standing = leading.borrow_and_update().clone();
                publisher.publish(Fact::Standing(standing.clone()));
                scheduler.lead(probing && standing.leads(), term.as_ref());
            }
            text = config_file.changed() => {
                // Told in the log and in a metric: nobody else waits for it.
                let _ = apply(text, settings, &mut scheduler, &mut remote_writer, &publisher, &health);
                scheduler.heed(files.now(scheduler.config()).await).await;
            }
            change = files.changed() => scheduler.heed(change).await,
            Some(ask) = asked.recv() => match ask {
                Ask::Reload(reply) => {
                    let text = config_file.read().await;
                    let done = apply(text, settings, &mut scheduler, &mut remote_writer, &publisher, &health);
                    scheduler.heed(files.now(scheduler.config()).await).await;
                    let _ = reply.send(done);
                }
                Ask::Run { probe, reply } => scheduler.run_now(&probe, reply),
            },
        }
    };
    drop(heart);
    scheduler.end().await;
    let hand_over = async {
        if let Some(leadership) = leadership {
            leadership.resign().await;
        }
    };
    closing.ask();
    // A client that holds its connection open must not hold up the end.
    let kept = spawn_blocking(move || history.close());
    let (_, _, _, (), ()) = tokio::join!(
        timeout(CLOSING, server),
        timeout(CLOSING, kept),
        timeout(CLOSING, ended(auditing)),
        remote_writer.end(),
        hand_over
    );
    Ok(exit)
}

/// Answers HTTP requests until the end.
fn answer(
    listener: TcpListener,
    served: Served,
    health: &Health,
    closing: &Shutdown,
) -> impl Future<Output = ()> + use<> {
    let serving = http::serve(listener, served, closing.clone());
    let closing = closing.clone();
    let may_end = move || closing.asked();
    health
        .clone()
        .keep("the HTTP server".to_owned(), may_end, serving)
}

/// Reads and judges audit logs from now on, if they are configured.
async fn audit_logs(
    config: &Config,
    only: Option<Only>,
    board: Arc<AuditBoard>,
    publisher: &Arc<Publisher>,
    health: &Health,
    closing: &Shutdown,
) -> Result<Option<JoinHandle<()>>, Error> {
    let audit = config.audit.as_ref().filter(|_| only != Some(Only::Probes));
    let Some(audit) = audit else {
        return Ok(None);
    };
    let folder = audit.state.display();
    let opened = Sources::open(&audit.state, health, closing);
    let (mut sources, batches) =
        opened.with_context(|| format!("tried to open {folder}, the `audit.state`"))?;
    for source in &audit.sources {
        sources.add(source, &config.kubernetes);
    }
    let intake = sources.intake();
    let intake =
        if intake.is_empty() {
            None
        } else {
            let listen = audit.server.listen;
            let intake = intake.listen(&audit.server, closing.clone()).await;
            Some(intake.with_context(|| {
                format!("tried to listen on {listen}, the `audit.server.listen`")
            })?)
        };
    let statuses = sources.statuses().clone();
    let opened = Auditor::open(config, audit, statuses, board, publisher.clone()).await;
    let auditor = opened.map_err(|error| Error::Obstacle(error.to_string()))?;
    let closing = closing.clone();
    let judging = {
        let closing = closing.clone();
        async move {
            let intake = OptionFuture::from(intake);
            tokio::join!(auditor.run(batches, closing), intake);
            sources.end().await;
        }
    };
    let who = "the judge of audit logs".to_owned();
    let may_end = move || closing.asked();
    let kept = health.clone().keep(who, may_end, judging);
    Ok(Some(tokio::spawn(kept)))
}

/// Whether what is asked for is configured.
fn has_what_it_needs(only: Option<Only>, config: &Config) -> Result<(), Error> {
    if only == Some(Only::Audit) && config.audit.is_none() {
        let text = "`--only audit` needs `audit` with its `sources` in the configuration; `vso-prober config example` has one";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(())
}

/// Waits for a task, if there is one.
async fn ended(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        let _ = task.await;
    }
}

/// How often the main loop says that it moves, and how long it may not.
const BEAT: Duration = Duration::from_secs(5);
const STUCK: Duration = Duration::from_secs(30);
/// How long requests under way may take at the end.
const CLOSING: Duration = Duration::from_secs(2);

/// How long it may take to read the runs that were kept.
const RECALL: Duration = Duration::from_secs(10);

/// Keeps runs from now on, and recalls those that were kept. The disk may hang: then nobody waits for it.
async fn recall(
    history: &Arc<History>,
    kept: &config::History,
    publisher: &Arc<Publisher>,
) -> Result<(), Error> {
    let tried = || {
        format!(
            "tried to store runs in {}, the `history.path`",
            kept.path.display()
        )
    };
    let (publisher, history, config) = (publisher.clone(), history.clone(), kept.clone());
    let recalled = spawn_blocking(move || {
        history.open(&config, |run| {
            publisher.publish(Fact::Recalled(run.clone()));
        })
    });
    let recalled = timeout(RECALL, recalled).await;
    recalled
        .with_context(tried)?
        .with_context(tried)?
        .with_context(tried)
        .map_err(Error::from)
}

/// Contends for the Lease of this instance, if it is `wanted`.
async fn contend(
    wanted: bool,
    config: &Config,
    health: &Health,
) -> Result<Option<Leadership>, Error> {
    if !wanted {
        return Ok(None);
    }
    let client = kubernetes::connect(&config.kubernetes).await?;
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "vso-prober".to_owned());
    // A container that starts again in its Pod is another one.
    let identity = format!("{host}_{:08x}", rand::rng().random::<u32>());
    let name = format!("vso-prober-{}", config.instance);
    let namespace = &config.kubernetes.namespace;
    let leadership = Leadership::contend(&client, namespace, &name, &identity, health);
    Ok(Some(leadership))
}

/// Puts a configuration in force, or keeps the one that is and says why.
fn apply(
    text: Result<String, Unread>,
    settings: &Settings,
    scheduler: &mut Scheduler,
    remote_writer: &mut RemoteWriter,
    publisher: &Arc<Publisher>,
    health: &Health,
) -> Result<(), String> {
    let name = settings.name();
    if let Err(unread) = &text
        && unread.own
    {
        // Nothing is known of the configuration: it is read again at the next look.
        let why = unread.why.as_str();
        tracing::warn!(
            file = name,
            why,
            "reload failed: the configuration can't be read now"
        );
        return Err(unread.why.clone());
    }
    let config = text.map_err(|unread| unread.why).and_then(|text| {
        let config = usable(settings, &text, &name)?;
        let sends = remote_writer.configure(&config, publisher, health);
        sends.map_err(|error| error.to_string())?;
        Ok(config)
    });
    publisher.publish(Fact::Reload {
        successful: config.is_ok(),
    });
    match config {
        Ok(config) => {
            scheduler.configure(config);
            tracing::info!(file = name, "reloaded the configuration");
            Ok(())
        }
        Err(problems) => {
            tracing::error!(
                file = name,
                problems,
                "reload failed; keeping the previous configuration"
            );
            Err(problems)
        }
    }
}

/// The configuration, if all of it can be run.
fn usable(settings: &Settings, text: &str, name: &str) -> Result<Config, String> {
    settings
        .check(text, name)
        .map_err(|problems| format!("the configuration can't be used\n{problems}"))
}
