//! The auditor: it judges the lines of audit logs as they come, keeps what a restart must not lose, and tells its findings.

mod counts;
mod decoys;
mod disk;
mod keep;
mod known;
mod notice;
mod open;
mod own;
mod readings;
mod sentry;
mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::audit::context::{Context, Persistence};
use crate::audit::entry::{Entry, Torn, parse};
use crate::audit::finding::Finding;
use crate::audit::identity::{Identities, Identity, fits};
use crate::audit::tracker::Tracker;
use crate::audit::{Judge, Taken};
use crate::config::{self, Audit, KUBERNETES};
use crate::health::Health;
use crate::http::AuditBoard;
use crate::model::name::SourceName;
use crate::model::time::Moment as _;
use crate::operator::LoginIdentity;
use crate::publish::Publisher;
use crate::shutdown::Shutdown;
use crate::tail::{Batch, Piece, Status};
use crate::vault::Vault;
use counts::{Counts, VOID};
use decoys::Decoys;
use disk::Disk;
use keep::{Journal, Owed};
use known::login;
use notice::Notice;
use own::Own;
use readings::Readings;
use sentry::{News, Sentry};

/// How often what came is judged, kept and acknowledged.
const TICK: Duration = Duration::from_millis(250);
/// How long it may take until it is again, at most.
const STUCK: Duration = Duration::from_secs(60);

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
    owed: Owed,
    own: Own,
    readings: Readings,
    /// Up to when the operator's count was compared with the log.
    weighed: Option<Timestamp>,
    /// What the operator logs in as; `None` if that is not known yet.
    logins: Option<Vec<LoginIdentity>>,
    /// The accounts that others use; `None` if that is not known; and whether anybody tried to look.
    shared: Option<BTreeSet<String>>,
    looked: bool,
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

impl Auditor {
    /// Judges what comes until the sources end, or the shutdown.
    pub(super) async fn run(
        mut self,
        mut batches: mpsc::Receiver<Batch>,
        health: Health,
        shutdown: Shutdown,
    ) {
        let heart = health.promise("the judge of audit logs", STUCK);
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
                    if self.owed.is_much() {
                        self.settle();
                    }
                }
                Some(news) = self.news.recv() => self.heed(news),
                _ = ticks.tick() => self.settle(),
                Some(ended) = self.tasks.join_next() => {
                    // Without what it looks at, nothing can be judged: the program ends, and says why.
                    if let Err(error) = ended && let Ok(panic) = error.try_into_panic() {
                        resume_unwind(panic);
                    }
                }
                () = shutdown.wait() => break,
            }
            heart.renew(Instant::now().later(STUCK));
        }
        self.journal.end();
        self.settle();
        self.tasks.shutdown().await;
        self.vault.log_out().await;
        self.notice.end().await;
    }

    /// Whether it is known what the operator logs in as, where it is, and who uses the same: by looks of its own, for what was
    /// kept may be old.
    fn ready(&self) -> bool {
        self.sight != Sight::None && self.logins.is_some() && self.looked
    }

    fn take(&mut self, batch: Batch) {
        let at = Timestamp::now();
        let name = batch.source.to_string();
        for piece in &batch.pieces {
            match piece {
                Piece::Line(line) => self.take_line(&name, line, at),
                Piece::TooLong { .. } => self.torn(&name, Torn::NotWhole, at),
                Piece::Gap(gap) => {
                    self.counts.source(&name).gap(gap.as_str());
                    self.missed(&name, at);
                }
            }
        }
        self.changed
            .extend(self.judge.make_room(&self.context, Some(at)));
        let bytes = batch.pieces.iter().map(Piece::bytes).sum();
        self.owed.add(batch.receipt, bytes);
    }

    fn take_line(&mut self, name: &str, line: &[u8], at: Timestamp) {
        self.counts.source(name).line(line.len());
        let entry = match parse(line) {
            Ok(entry) if matches!(entry, Entry::Kube(_)) == (name == KUBERNETES) => entry,
            // Who may tell the one must not tell the other.
            Ok(_) => return self.torn(name, Torn::NotAnEntry, at),
            Err(torn) => return self.torn(name, torn, at),
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

    fn torn(&mut self, name: &str, torn: Torn, at: Timestamp) {
        self.counts.source(name).torn(torn, at);
        self.missed(name, at);
    }

    /// Lines of a source may be missing. What the API server's log does not hold is no proof then.
    fn missed(&mut self, name: &str, at: Timestamp) {
        if name == KUBERNETES {
            self.judge.events_missed(at);
        }
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
                self.looked = true;
                self.shared = accounts.map(|(at, accounts)| {
                    self.context.see_workloads(&accounts, at);
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
