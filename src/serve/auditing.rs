//! The task that reads and judges audit logs, begun anew when the configuration of it changes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures::future::OptionFuture;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::audit::Auditor;
use crate::config::Config;
use crate::health::Health;
use crate::http::AuditBoard;
use crate::publish::{Fact, Publisher};
use crate::shutdown::Shutdown;
use crate::tail::Sources;

/// How long it may take to store what was taken, at the end.
const CLOSING: Duration = Duration::from_secs(2);

/// The task, if audit logs are judged now.
pub struct Auditing {
    board: Arc<AuditBoard>,
    publisher: Arc<Publisher>,
    health: Health,
    running: Option<(JoinHandle<()>, Shutdown)>,
}

impl Auditing {
    /// Nothing is judged yet. What is judged later is told on the board and published.
    pub const fn new(board: Arc<AuditBoard>, publisher: Arc<Publisher>, health: Health) -> Self {
        Self {
            board,
            publisher,
            health,
            running: None,
        }
    }

    /// Begins as this configuration says.
    ///
    /// # Errors
    /// The state can't be used, the address can't be listened on, or a client can't be made.
    pub async fn begin(&mut self, config: &Config) -> anyhow::Result<()> {
        self.board.expect(config.audit.is_some());
        let Some(audit) = &config.audit else {
            self.publisher.publish(Fact::Audit(None));
            return Ok(());
        };
        let over = Shutdown::default();
        let folder = audit.state.display();
        let opened = Sources::open(&audit.state, &self.health, &over);
        let (mut sources, batches) =
            opened.with_context(|| format!("tried to open {folder}, the `audit.state`"))?;
        for source in &audit.sources {
            sources.add(source, &config.kubernetes);
        }
        let intake = sources.intake();
        let intake = if intake.is_empty() {
            None
        } else {
            let listen = audit.server.listen;
            let intake = intake.listen(&audit.server, over.clone()).await;
            Some(intake.with_context(|| {
                format!("tried to listen on {listen}, the `audit.server.listen`")
            })?)
        };
        let statuses = sources.statuses().clone();
        let (board, publisher) = (self.board.clone(), self.publisher.clone());
        let auditor = Auditor::open(config, audit, statuses, board, publisher).await?;
        let judging = {
            let (health, over) = (self.health.clone(), over.clone());
            async move {
                let intake = OptionFuture::from(intake);
                tokio::join!(auditor.run(batches, health, over), intake);
                sources.end().await;
            }
        };
        let may_end = {
            let over = over.clone();
            move || over.asked()
        };
        let who = "the judge of audit logs".to_owned();
        let kept = self.health.clone().keep(who, may_end, judging);
        self.running = Some((tokio::spawn(kept), over));
        Ok(())
    }

    /// Goes on as another configuration says: from where it is in each log, with all that it knows.
    ///
    /// # Errors
    /// That can't be done: it goes on as before, and if that can't be done any more either, the program ends.
    pub async fn configure(&mut self, before: &Config, config: &Config) -> anyhow::Result<()> {
        if heeded(before) == heeded(config) {
            return Ok(());
        }
        self.end().await;
        let begun = self.begin(config).await;
        if begun.is_err() {
            self.go_on(before).await;
        }
        begun
    }

    /// Begins anew as before, with new clients.
    pub async fn renew(&mut self, config: &Config) {
        if self.running.is_some() {
            self.end().await;
            self.go_on(config).await;
        }
    }

    /// Goes on as before. Where that can't be done, the program ends, as it would at its start.
    async fn go_on(&mut self, config: &Config) {
        if let Err(error) = self.begin(config).await {
            let why = format!("{error:#}");
            tracing::error!(why, "audit logs can't be judged any more");
            let who = "the judge of audit logs".to_owned();
            let broken = self.health.clone().keep(who, || false, async {});
            self.running = Some((tokio::spawn(broken), Shutdown::default()));
        }
    }

    /// Stores what was taken, and ends. A disk that hangs holds up nobody.
    pub async fn end(&mut self) {
        let Some((mut task, over)) = self.running.take() else {
            return;
        };
        over.ask();
        if timeout(CLOSING, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// What the judgement of audit logs goes by.
fn heeded(config: &Config) -> Option<impl PartialEq> {
    config.audit.as_ref().map(|audit| {
        (
            audit,
            &config.vault,
            &config.kubernetes,
            &config.operator,
            &config.probes,
            &config.instance,
        )
    })
}
