//! The sweep before a round, and from time to time: what earlier runs left behind is removed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::config::Config;
use crate::janitor::{self, Scope};
use crate::probe::Clients;

/// How long leftovers are waited for.
const SWEEP_LIMIT: Duration = Duration::from_secs(20);

/// Removes what earlier runs left behind, as far as that goes within a while: it must not keep the
/// probes from saying what is wrong now.
pub async fn sweep(clients: &Clients, config: &Config) {
    let sweep = janitor::sweep(&clients.kube, &clients.vault, config, Scope::Expired, false);
    let Ok(swept) = tokio::time::timeout(SWEEP_LIMIT, sweep).await else {
        tracing::warn!("could not remove everything that earlier runs left behind in time");
        return;
    };
    for what in swept.removed {
        tracing::info!(leftover = what, "removed what an earlier run left behind");
    }
    for what in swept.left {
        tracing::warn!(
            leftover = what,
            "could not remove what an earlier run left behind"
        );
    }
    let count = swept.strangers;
    if count > clients.strangers.swap(count, Ordering::Relaxed) {
        tracing::warn!(
            count,
            "some objects have the label of this prober's canaries but are none: they are left alone"
        );
    }
    for why in swept.unseen {
        tracing::warn!(
            reason = why,
            "could not look for what earlier runs left behind"
        );
    }
}
