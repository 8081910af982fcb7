//! The auditor: it judges the lines of audit logs as they come, keeps what a restart must not lose, and tells its findings.

mod counts;
mod decoys;
mod disk;
mod keep;
mod known;
mod notice;
mod own;
mod readings;
mod sentry;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

use crate::audit::context::{Context, Persistence};
use crate::audit::entry::{Entry, Torn, parse};
use crate::audit::finding::Finding;
use crate::audit::identity::{Identities, Identity, fits};
use crate::audit::presence::Presence;
use crate::audit::tracker::Tracker;
use crate::audit::{Judge, Taken};
use crate::config::{self, Audit, Config, KUBERNETES};
use crate::http::AuditBoard;
use crate::kubernetes;
use crate::model::name::SourceName;
use crate::model::record::Obstacle;
use crate::operator::LoginIdentity;
use crate::publish::Publisher;
use crate::serve::prober;
use crate::shutdown::Shutdown;
use crate::tail::{Batch, Piece, Receipt, Status};
use crate::vault::Vault;
use counts::{Counts, VOID};
use decoys::Decoys;
use disk::{Disk, Note};
use keep::{BATCHES, Journal};
use known::{known, login};
use notice::Notice;
use own::Own;
use readings::Readings;
use sentry::{News, Sentry};

/// How often what came is judged, kept and acknowledged.
const TICK: Duration = Duration::from_millis(250);

/// A judge of audit logs while they are written.
pub(super) struct Auditor {
    config: Audit,
    judge: Judge,
    tracker: Tracker,
    context: Context,
    counts: Counts,
    /// How the sources are read.
    statuses: BTreeMap<SourceName, watch::Receiver<Status>>,
    disk: Disk,
    board: Arc<AuditBoard>,
    publisher: Arc<Publisher>,
    sentry: Option<Sentry>,
    /// Those that are not placed yet.
    decoys: Option<Decoys>,
    tasks: JoinSet<()>,
    vault: Arc<Vault>,
    news: mpsc::Receiver<News>,
    notice: Notice,
    sight: Sight,
    /// When it was judged last, and the findings that changed since.
    judged: Option<Timestamp>,
    changed: Vec<Finding>,
    journal: Journal,
    /// What was taken before a crash, until it can be taken again.
    replayed: Vec<(String, Entry)>,
    receipts: Vec<Receipt>,
    own: Own,
    readings: Readings,
    /// Up to when the operator's count was compared with the log.
    weighed: Option<Timestamp>,
    /// What the operator logs in as; `None` if that is not known yet.
    logins: Option<Vec<LoginIdentity>>,
    /// The accounts that others use; `None` if that is not known.
    shared: Option<BTreeSet<String>>,
    told: Option<Timestamp>,
    home: String,
}

/// Whether the operator's Pods are seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sight {
    /// Not since the start.
    None,
    /// At the last look.
    Now,
    /// Not at the last look.
    Lost,
}

/// Why there is no auditor.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unopened {
    /// A client can't be made.
    #[error("{}", .0.text)]
    Client(Obstacle),
    /// The state can't be used.
    #[error("tried to open {folder}, the `audit.state`: {error}")]
    State {
        /// The folder.
        folder: String,
        /// Why not.
        error: io::Error,
    },
}

impl Auditor {
    /// An auditor, as it was when it last ran.
    ///
    /// # Errors
    /// Its state can't be read, or a client can't be made.
    pub(super) async fn open(
        config: &Config,
        audit: &Audit,
        statuses: BTreeMap<SourceName, watch::Receiver<Status>>,
        board: Arc<AuditBoard>,
        publisher: Arc<Publisher>,
    ) -> Result<Self, Unopened> {
        let (teller, news) = mpsc::channel(64);
        let client = kubernetes::connect(&config.kubernetes).await;
        let client = client.map_err(Unopened::Client)?;
        let notice = Notice::new(client.clone(), &config.operator.namespace);
        let sentry = Sentry::new(config, client, teller).await;
        let sentry = sentry.map_err(Unopened::Client)?;
        let folder = audit.state.clone();
        let opened = spawn_blocking(move || {
            let disk = Disk::open(&folder)?;
            let (kept, journal) = (disk.read()?, disk.journal()?);
            io::Result::Ok((disk, kept, journal))
        });
        let opened = opened
            .await
            .map_err(io::Error::other)
            .and_then(|opened| opened);
        let (disk, kept, journal) = opened.map_err(|error| Unopened::State {
            folder: audit.state.display().to_string(),
            error,
        })?;
        let was = kept.map(|kept| {
            board.drill_found(kept.drilled);
            (Judge::resumed(kept.judge), kept.presence, kept.seen)
        });
        let (mut judge, mut presence, mut seen) = was.unwrap_or_default();
        let mut replayed = Vec::new();
        for note in journal {
            match note {
                Note::Taken(source, entry) => replayed.push((source, *entry)),
                Note::Seen(at) => seen = Some(at),
                Note::Presence(lines) => presence = lines,
            }
        }
        let tracker = Tracker::resumed(&Presence::new(presence), seen);
        let mut counts = Counts::default();
        if audit.sources.iter().any(|source| source.name == KUBERNETES) {
            judge.watch_events(Timestamp::now());
        }
        for source in &audit.sources {
            counts.sources.entry(source.name.to_string()).or_default();
        }
        let mut auditor = Self {
            context: known(config, audit),
            config: audit.clone(),
            judge,
            tracker,
            counts,
            statuses,
            disk,
            board,
            publisher,
            decoys: Some(Decoys::new(sentry.vault(), &audit.decoys)),
            tasks: JoinSet::new(),
            vault: sentry.vault(),
            sentry: Some(sentry),
            news,
            notice,
            sight: Sight::None,
            judged: None,
            changed: Vec::new(),
            journal: Journal::default(),
            replayed,
            receipts: Vec::new(),
            readings: Readings::default(),
            weighed: None,
            own: Own::new(prober(&config.vault).into_iter().collect()),
            logins: match audit.identities {
                config::Identities::Auto => None,
                config::Identities::Listed(_) => Some(Vec::new()),
            },
            shared: None,
            told: None,
            home: config.kubernetes.namespace.clone(),
        };
        auditor.identify();
        Ok(auditor)
    }

    /// Judges what comes until the sources end, or the shutdown.
    pub(super) async fn run(mut self, mut batches: mpsc::Receiver<Batch>, shutdown: Shutdown) {
        if let Some(sentry) = self.sentry.take() {
            self.tasks.spawn(sentry.keep_watch());
        }
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Not before it is known whose lines are to be heeded.
                batch = batches.recv(), if self.ready() => {
                    let Some(batch) = batch else {
                        break;
                    };
                    self.take(batch);
                    if self.receipts.len() >= BATCHES {
                        self.settle().await;
                    }
                }
                Some(news) = self.news.recv() => self.heed(news),
                _ = ticks.tick() => self.settle().await,
                () = shutdown.wait() => break,
            }
        }
        self.journal.end();
        self.settle().await;
        self.tasks.shutdown().await;
        self.vault.log_out().await;
    }

    /// Whether it is known what the operator logs in as, and where it is: by a look of its own, for what was kept may be old.
    fn ready(&self) -> bool {
        self.sight != Sight::None && self.logins.is_some()
    }

    fn take(&mut self, batch: Batch) {
        let at = Timestamp::now();
        let name = batch.source.to_string();
        for piece in &batch.pieces {
            match piece {
                Piece::Line(line) => self.take_line(&name, line, at),
                Piece::TooLong { .. } => self.counts.source(&name).torn(Torn::NotWhole, at),
                Piece::Gap(gap) => self.counts.source(&name).gap(gap.as_str()),
            }
        }
        self.changed.extend(self.judge.make_room(&self.context));
        self.receipts.push(batch.receipt);
    }

    fn take_line(&mut self, name: &str, line: &[u8], at: Timestamp) {
        self.counts.source(name).line(line.len());
        let entry = match parse(line) {
            Ok(entry) => entry,
            Err(torn) => return self.counts.source(name).torn(torn, at),
        };
        if let Entry::Vault(entry) = &entry {
            self.counts.source(name).pair(entry);
            if self.own.line(entry) {
                self.context.probers = self.own.people();
            }
            self.board.heard(entry, &self.context);
        }
        let time = entry.time();
        let taken = self.judge.take(name, entry, &self.context);
        if let Taken::Used(entry) = taken {
            self.journal.taken(name, entry);
        }
        self.counts.source(name).entry(time, &taken, at);
    }

    fn heed(&mut self, news: News) {
        match news {
            News::Pods {
                at,
                pods,
                lease,
                account,
                about,
            } => {
                self.tracker.see(at, &pods, lease, self.sight == Sight::Now);
                self.sight = Sight::Now;
                self.context.account = account.or(self.context.account.take());
                self.notice.about(about);
            }
            News::Unseen if self.sight == Sight::Now => self.sight = Sight::Lost,
            News::Unseen => {}
            News::Identities(logins) => {
                self.logins = Some(logins);
                self.identify();
            }
            News::Accounts(accounts) => {
                let at = Timestamp::now();
                self.shared = accounts.map(|accounts| {
                    for (account, addresses) in &accounts {
                        let identities = &self.context.identities;
                        // At first it may not be known yet whose accounts they are.
                        if identities.is_empty() || identities.of_account(account).is_some() {
                            let addresses = addresses.iter();
                            addresses
                                .for_each(|from| self.context.workloads.see(account, *from, at));
                        }
                    }
                    accounts.into_keys().collect()
                });
                self.identify();
            }
            News::Metrics {
                asked,
                at,
                snapshot,
            } => {
                let keeps = snapshot.keeps_tokens;
                self.context.persistence = keeps.map(|keeps| {
                    if keeps {
                        Persistence::Direct
                    } else {
                        Persistence::None
                    }
                });
                if !self.readings.reading((asked, at), &snapshot) {
                    self.counts.window(VOID);
                }
                self.context.windows = self.readings.windows();
            }
            News::Line { id, sent, received } => {
                if self.own.asked(id, sent, received) {
                    self.context.probers = self.own.people();
                }
            }
        }
    }

    /// Says which identities only the operator takes.
    fn identify(&mut self) {
        let listed = match &self.config.identities {
            config::Identities::Auto => self.logins.clone().unwrap_or_default(),
            config::Identities::Listed(listed) => listed.iter().map(login).collect(),
        };
        let own = format!("{}/", self.home);
        let all = listed.into_iter().map(|login| {
            let account = &login.service_account;
            let shared = !account.is_empty()
                && self
                    .shared
                    .as_ref()
                    .is_none_or(|shared| shared.iter().any(|used| fits(account, used)));
            Identity {
                probe: account.starts_with(&own) || account.starts_with("*/"),
                shared,
                mount: login.mount,
                role: login.role,
                service_account: login.service_account,
                namespace: login.namespace,
            }
        });
        self.context.identities = Identities::new(all);
    }
}
