//! The clients and watches that all runs of one configuration share, opened when first needed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::config::Config;
use crate::health::Health;
use crate::model::Kind;
use crate::model::record::Obstacle;
use crate::probe::Clients;

/// Clients and watches, for as long as the configuration of these stays the same.
pub(super) struct SharedClients {
    config: Config,
    health: Health,
    opened: Mutex<Option<Arc<Clients>>>,
}

impl SharedClients {
    /// `health` is told of a task that stops.
    pub(super) fn new(config: &Config, health: &Health) -> Self {
        Self {
            config: config.clone(),
            health: health.clone(),
            opened: Mutex::default(),
        }
    }

    /// Whether this configuration can go on with the same clients and watches.
    pub(super) fn serves(&self, config: &Config) -> bool {
        let Config {
            vault,
            kubernetes,
            operator,
            instance,
            ..
        } = &self.config;
        *vault == config.vault
            && *kubernetes == config.kubernetes
            && *operator == config.operator
            && *instance == config.instance
            && kinds(&self.config).is_superset(&kinds(config))
    }

    /// The clients, with the watches open and synced.
    ///
    /// # Errors
    /// They can't be made, or the watches were not synced within `limit`. The next call tries again.
    pub(super) async fn opened(&self, limit: Duration) -> Result<Arc<Clients>, Obstacle> {
        let mut slot = self.opened.lock().await;
        let clients = if let Some(clients) = &*slot {
            clients.clone()
        } else {
            let opened = Clients::open(&self.config, &kinds(&self.config), &self.health).await?;
            slot.insert(Arc::new(opened)).clone()
        };
        drop(slot);
        clients.observer.synced(limit).await?;
        Ok(clients)
    }

    /// Logs in to Vault anew, if there is a session.
    pub(super) async fn log_in_anew(&self) {
        let clients = self.opened.lock().await.clone();
        if let Some(clients) = clients
            && let Err(obstacle) = clients.vault.log_in_anew().await
        {
            let error = obstacle.text;
            tracing::warn!(%error, "login with the new credentials for Vault failed; keeping the current session");
        }
    }

    /// Ends the session with Vault.
    pub(super) async fn close(&self) {
        let clients = self.opened.lock().await.take();
        if let Some(clients) = clients {
            clients.vault.log_out().await;
        }
    }
}

fn kinds(config: &Config) -> HashSet<Kind> {
    config
        .probes
        .iter()
        .map(|probe| probe.target.kind())
        .collect()
}
