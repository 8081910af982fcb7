//! The opening of the auditor, as it was when it last ran.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinSet, spawn_blocking};

use super::counts::Counts;
use super::decoys::Decoys;
use super::disk::{Disk, Note};
use super::keep::{Journal, Owed};
use super::known::known;
use super::notice::Notice;
use super::own::Own;
use super::readings::Readings;
use super::sentry::Sentry;
use super::{Auditor, Sight};
use crate::audit::Judge;
use crate::audit::presence::Presence;
use crate::audit::tracker::Tracker;
use crate::config::{self, Audit, Config, Feed, KUBERNETES};
use crate::http::AuditBoard;
use crate::kubernetes;
use crate::model::name::SourceName;
use crate::model::record::Obstacle;
use crate::publish::Publisher;
use crate::serve::prober;
use crate::tail::Status;

/// Why there is no auditor.
#[derive(Debug, thiserror::Error)]
pub(in crate::serve) enum Unopened {
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
    pub(in crate::serve) async fn open(
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
        let mut context = known(config, audit);
        let was = kept.map(|kept| {
            board.drill_found(kept.drilled);
            context.workloads = kept.workloads;
            (Judge::resumed(kept.judge), kept.presence, kept.seen)
        });
        let (mut judge, mut presence, mut seen) = was.unwrap_or_default();
        let mut replayed = Vec::new();
        let mut newer = true;
        for note in journal {
            match note {
                Note::Taken(source, entry) => replayed.push((source, *entry)),
                // What was to go once the whole was written may still be there.
                Note::Seen(at) => {
                    newer = seen.is_none_or(|seen| at >= seen);
                    seen = seen.max(Some(at));
                }
                Note::Presence(lines) if newer => presence = lines,
                Note::Presence(_) => {}
            }
        }
        let tracker = Tracker::resumed(&Presence::new(presence), seen);
        let mut counts = Counts::default();
        let events = audit
            .sources
            .iter()
            .find(|source| source.name == KUBERNETES);
        match events.map(|source| &source.feed) {
            None => judge.unwatch_events(),
            // Nobody knows what was sent while nobody listened.
            Some(Feed::Http { .. }) => judge.events_missed(Timestamp::now()),
            Some(_) => judge.watch_events(Timestamp::now()),
        }
        for source in &audit.sources {
            counts.sources.entry(source.name.to_string()).or_default();
        }
        let mut auditor = Self {
            context,
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
            owed: Owed::default(),
            readings: Readings::default(),
            weighed: None,
            own: Own::new(prober(&config.vault).into_iter().collect()),
            logins: match audit.identities {
                config::Identities::Auto => None,
                config::Identities::Listed(_) => Some(Vec::new()),
            },
            shared: None,
            looked: false,
            told: None,
            home: config.kubernetes.namespace.clone(),
        };
        auditor.identify();
        Ok(auditor)
    }
}
