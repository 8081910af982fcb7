//! What every run has in common, whoever asks for it: its record, and the removal of what others left behind.

use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use crate::canary::{Canary, Cluster};
use crate::config::{Config, Probe};
use crate::janitor::{self, Scope};
use crate::model::record::{Obstacle, Record};
use crate::probe::{self, Progress, Shell};
use crate::shutdown::Shutdown;

/// How long leftovers are waited for.
const SWEEP_LIMIT: Duration = Duration::from_secs(20);

/// Runs a canary of `probe`, or records why that can't be begun: then `begun` says since when it was tried.
pub(super) async fn record(
    config: &Config,
    probe: &Probe,
    shell: Result<&Shell, Obstacle>,
    begun: Instant,
    shutdown: &Shutdown,
    tell: impl Fn(Progress),
) -> Record {
    let site = match shell {
        Ok(shell) => shell.cluster().await.map(|cluster| (shell, cluster)),
        Err(obstacle) => Err(obstacle),
    };
    let nowhere = Cluster::unknown();
    let canary = Canary::new(
        probe,
        &config.kubernetes.namespace,
        &config.instance,
        site.as_ref().map_or(&nowhere, |(_, cluster)| cluster),
        Timestamp::now(),
        &mut rand::rng(),
    );
    match site {
        Ok((shell, _)) => probe::run(&canary, shell, shutdown, tell).await,
        Err(obstacle) => {
            let waited = Instant::now().saturating_duration_since(begun);
            probe::not_begun(&canary, obstacle, waited)
        }
    }
}

/// Removes what earlier runs left behind, as far as that goes within a while: it must not keep the
/// probes from saying what is wrong now.
pub(super) async fn sweep(shell: &Shell, config: &Config) {
    let sweep = janitor::sweep(&shell.kube, &shell.vault, config, Scope::Expired, false);
    let Ok(swept) = tokio::time::timeout(SWEEP_LIMIT, sweep).await else {
        tracing::warn!("could not remove all that earlier runs left behind in time");
        return;
    };
    for what in swept.removed {
        tracing::info!(
            leftover = what,
            "removed what an earlier run had left behind"
        );
    }
    for what in swept.left {
        tracing::warn!(
            leftover = what,
            "could not remove what an earlier run left behind"
        );
    }
    let count = swept.strangers;
    if count > shell.strangers.swap(count, Ordering::Relaxed) {
        tracing::warn!(
            count,
            "objects bear the label of this prober's canaries without being any: they are left alone"
        );
    }
    for why in swept.unseen {
        tracing::warn!(
            reason = why,
            "could not look for what earlier runs left behind"
        );
    }
}
