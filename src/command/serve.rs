//! The command `serve`: runs the probes on schedule, and serves the outcome.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rand::RngExt as _;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
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
use crate::serve::{
    Auditing, Change, ConfigFile, Files, RemoteWriter, Reporter, Scheduler, Unread,
};
use crate::shutdown::{Shutdown, Tenure};

pub(super) async fn run(settings: &Settings, args: &ServeArgs) -> Result<Exit, Error> {
    let (name, text) = settings.read()?;
    let config = usable(settings, &text, &name).map_err(Error::Config)?;
    let config_file = ConfigFile::new(settings.file(), text)?;
    let shutdown = Shutdown::on_signals()?;
    let publisher = Arc::new(Publisher::default());
    let history = Arc::new(History::default());
    let health = Health::default();
    let reporter = Reporter::new(publisher.clone(), history.clone(), health.clone());
    // Before anyone can ask: every series is there from the first scrape, and none of what another process does.
    let audits = args.only == Some(Only::Audit);
    if audits {
        publisher.publish(Fact::Standing(Standing::Audits));
    }
    reporter.configured(&config, None);

    has_what_it_needs(args.only, &config)?;
    let listen = config.server.listen;
    let listener = http::listen(listen)
        .with_context(|| format!("tried to listen on {listen}, the `server.listen`"))?;
    let board = Arc::new(AuditBoard::default());
    let judged = (args.only != Some(Only::Probes)).then(|| board.clone());
    let (control, asked) = mpsc::channel(16);
    let served = Served {
        publisher: publisher.clone(),
        history: history.clone(),
        health: health.clone(),
        control: args.web_enable_lifecycle.then_some(control),
        names: Names::new(config.server.external_url.clone()),
        budget: Budget::default(),
        audit: board,
    };
    let closing = Shutdown::default();
    let server = tokio::spawn(answer(listener, served, &health, &closing));
    tracing::info!(%listen, probes = config.probes.len(), "serving");

    if let Some(kept) = &config.history {
        recall(&history, kept, &publisher).await?;
    }
    let mut auditing = judged
        .clone()
        .map(|board| Auditing::new(board, publisher.clone(), health.clone()));
    if let Some(auditing) = &mut auditing {
        auditing.begin(&config).await?;
    }
    // Who holds the Lease runs the probes.
    let leadership = contend(args.leader_elect && !audits, &config, &health).await?;
    let alone = if audits {
        Standing::Audits
    } else {
        Standing::Leads
    };
    let leading = leadership
        .as_ref()
        .map_or_else(|| watch::channel(alone).1, Leadership::leading);
    let mut remote_writer = RemoteWriter::default();
    remote_writer
        .configure(&config, &publisher, &health)
        .map_err(|error| Error::Usage(error.to_string()))?;
    let mut service = Service {
        settings,
        only: args.only,
        term: leadership.as_ref().map(Leadership::tenure).cloned(),
        leading,
        config_file,
        files: Files::of(&config).await,
        scheduler: Scheduler::new(reporter, config, judged),
        remote_writer,
        auditing,
        publisher,
        health,
    };
    let exit = service.work(&shutdown, asked).await;
    let Service {
        scheduler,
        remote_writer,
        auditing,
        ..
    } = service;
    scheduler.end().await;
    let hand_over = async {
        if let Some(leadership) = leadership {
            leadership.resign().await;
        }
    };
    let judged = async {
        if let Some(mut auditing) = auditing {
            auditing.end().await;
        }
    };
    closing.ask();
    // A client that holds its connection open must not hold up the end.
    let kept = spawn_blocking(move || history.close());
    let (_, _, (), (), ()) = tokio::join!(
        timeout(CLOSING, server),
        timeout(CLOSING, kept),
        judged,
        remote_writer.end(),
        hand_over
    );
    Ok(exit)
}

/// What does the work, as configured.
struct Service<'a> {
    settings: &'a Settings,
    only: Option<Only>,
    /// Whether this replica leads, and until when at most.
    leading: watch::Receiver<Standing>,
    term: Option<Tenure>,
    config_file: ConfigFile,
    files: Files,
    scheduler: Scheduler,
    remote_writer: RemoteWriter,
    auditing: Option<Auditing>,
    publisher: Arc<Publisher>,
    health: Health,
}

impl Service<'_> {
    /// Works until it is told to stop, or something is broken.
    async fn work(&mut self, shutdown: &Shutdown, mut asked: mpsc::Receiver<Ask>) -> Exit {
        self.publisher.publish(Fact::Reload { successful: true });
        self.lead();
        let heart = self.health.promise("the main loop", STUCK);
        let mut beats = interval(BEAT);
        loop {
            tokio::select! {
                () = shutdown.wait() => return Exit::Good,
                stopped = self.health.stopped() => {
                    tracing::error!(task = stopped.who, "{stopped}; cleaning up and exiting");
                    return Exit::Broken;
                }
                _ = beats.tick() => heart.renew(Instant::now().later(STUCK)),
                Ok(()) = self.leading.changed() => self.lead(),
                text = self.config_file.changed() => {
                    // Told in the log and in a metric: nobody else waits for it.
                    let _ = self.apply(text).await;
                }
                change = self.files.changed() => self.heed(change).await,
                Some(ask) = asked.recv() => match ask {
                    Ask::Reload(reply) => {
                        let text = self.config_file.read().await;
                        let _ = reply.send(self.apply(text).await);
                    }
                    Ask::Run { probe, reply } => self.scheduler.run_now(&probe, reply),
                },
            }
        }
    }

    /// Runs probes, or does not, as this replica leads or follows.
    fn lead(&mut self) {
        let standing = self.leading.borrow_and_update().clone();
        self.publisher.publish(Fact::Standing(standing.clone()));
        self.scheduler.lead(standing.leads(), self.term.as_ref());
    }

    /// Puts a configuration in force, and the files that it names, or keeps the one that is and says why.
    async fn apply(&mut self, text: Result<String, Unread>) -> Result<(), String> {
        let name = self.settings.name();
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
        let configured = match text {
            Ok(text) => self.configure(&text, &name).await,
            Err(unread) => Err(unread.why),
        };
        self.publisher.publish(Fact::Reload {
            successful: configured.is_ok(),
        });
        match &configured {
            Ok(()) => tracing::info!(file = name, "reloaded the configuration"),
            Err(problems) => tracing::error!(
                file = name,
                problems,
                "reload failed; keeping the previous configuration"
            ),
        }
        let change = self.files.now(self.scheduler.config()).await;
        self.heed(change).await;
        configured
    }

    async fn configure(&mut self, text: &str, name: &str) -> Result<(), String> {
        let config = usable(self.settings, text, name)?;
        has_what_it_needs(self.only, &config).map_err(|error| error.to_string())?;
        let before = self.scheduler.config().clone();
        if let Some(auditing) = &mut self.auditing {
            let judged = auditing.configure(&before, &config).await;
            judged.map_err(|error| format!("{error:#}"))?;
        }
        let sent = self
            .remote_writer
            .configure(&config, &self.publisher, &self.health);
        if let Err(error) = sent {
            if let Some(auditing) = &mut self.auditing {
                let _ = auditing.configure(&config, &before).await;
            }
            return Err(error.to_string());
        }
        self.scheduler.configure(config);
        Ok(())
    }

    /// Heeds that files hold something else than before which the configuration names.
    async fn heed(&mut self, change: Change) {
        if self.scheduler.heed(change).await
            && let Some(auditing) = &mut self.auditing
        {
            auditing.renew(self.scheduler.config()).await;
        }
    }
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

/// Whether what is asked for is configured.
fn has_what_it_needs(only: Option<Only>, config: &Config) -> Result<(), Error> {
    if only == Some(Only::Audit) && config.audit.is_none() {
        let text = "`--only audit` needs `audit` with its `sources` in the configuration; `vso-prober config example` has one";
        return Err(Error::Usage(text.to_owned()));
    }
    Ok(())
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

/// The configuration, if all of it can be run.
fn usable(settings: &Settings, text: &str, name: &str) -> Result<Config, String> {
    settings
        .check(text, name)
        .map_err(|problems| format!("the configuration can't be used\n{problems}"))
}
