//! The site: clients and watches that all runs of one configuration share, opened when first needed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::config::Config;
use crate::health::Health;
use crate::model::Kind;
use crate::model::record::Obstacle;
use crate::probe::Shell;

/// Clients and watches, for as long as the configuration of these stays the same.
pub(super) struct Site {
    config: Config,
    health: Health,
    shell: Mutex<Option<Arc<Shell>>>,
}

impl Site {
    /// `health` is told of a task that stops.
    pub(super) fn new(config: &Config, health: &Health) -> Self {
        Self {
            config: config.clone(),
            health: health.clone(),
            shell: Mutex::default(),
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
    pub(super) async fn shell(&self, limit: Duration) -> Result<Arc<Shell>, Obstacle> {
        let mut slot = self.shell.lock().await;
        let shell = if let Some(shell) = &*slot {
            shell.clone()
        } else {
            let opened = Shell::open(&self.config, &kinds(&self.config), &self.health).await?;
            slot.insert(Arc::new(opened)).clone()
        };
        drop(slot);
        shell.observer.synced(limit).await?;
        Ok(shell)
    }

    /// Logs in to Vault anew, if there is a session.
    pub(super) async fn log_in_anew(&self) {
        let shell = self.shell.lock().await.clone();
        if let Some(shell) = shell
            && let Err(obstacle) = shell.vault.log_in_anew().await
        {
            let error = obstacle.text;
            tracing::warn!(%error, "login with the new credentials for Vault failed; keeping the current session");
        }
    }

    /// Ends the session with Vault.
    pub(super) async fn close(&self) {
        let shell = self.shell.lock().await.take();
        if let Some(shell) = shell {
            shell.vault.log_out().await;
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
