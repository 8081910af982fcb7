//! The facts about certificates that the watches don't show: CAs and Vault's time.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use super::Journey;
use crate::model::record::{End, Peer};
use crate::model::{Mark, Step};
use crate::observe::Inspector;

/// By how much Vault's clock may differ from the prober's and still be the same.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_secs(2);

impl Journey<'_> {
    /// Has the canary's certificates, if it has some, held against the CAs that Vault itself has in the mount.
    pub(super) async fn inspect(&mut self, limit: Duration) -> Result<(), End> {
        let Some(target) = self.canary.pki() else {
            return Ok(());
        };
        let issuers = self
            .clients
            .vault
            .pki_issuers(&target.mount, target.namespace.as_deref());
        let what = "read the CAs of the mount";
        let issuers = self.bounded(Peer::Vault, what, limit, issuers).await?;
        let clock = self.issuers_clock(limit).await?;
        let inspector = Arc::new(Inspector::new(&issuers, &target.names(), clock));
        self.sightings.inspect(inspector.clone());
        self.inspector = Some(inspector);
        Ok(())
    }

    /// One moment on the monotonic clock, and by Vault's clock where that is not the prober's own.
    async fn issuers_clock(&self, limit: Duration) -> Result<(Instant, Timestamp), End> {
        let state = self.clients.vault.state();
        let asked = self.bounded(Peer::Vault, "read its time", limit, state);
        let vaults = match asked.await {
            Ok(state) => Timestamp::from_second(state.server_time_utc).ok(),
            Err(End::Met(_)) => None,
            Err(end) => return Err(end),
        };
        let (now, own) = (Instant::now(), Timestamp::now());
        // Vault tells its time by the second; 0 is no time.
        let other = vaults.filter(|vaults| {
            vaults.as_second() > 0 && own.duration_since(*vaults).abs() > CLOCK_SLACK
        });
        Ok((now, other.unwrap_or(own)))
    }

    /// When the certificate ends that a rotation, begun at `started`, is to replace.
    pub(super) fn old_ends(&self, step: Step, started: Mark) -> Option<Mark> {
        if step != Step::Rotate {
            return None;
        }
        let (seen, before) = self.timeline.certificate_at(started)?;
        Some(seen.plus(before.left))
    }
}
