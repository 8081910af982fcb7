//! What has to be known of certificates beside what the watches show.

use std::sync::Arc;
use std::time::Duration;

use super::Walk;
use crate::model::record::{End, Peer};
use crate::model::{Mark, Step};
use crate::observe::Inspector;

impl Walk<'_> {
    /// Has the canary's certificates, if it has some, held against the CAs that Vault itself has in the mount.
    pub(super) async fn inspect(&mut self, limit: Duration) -> Result<(), End> {
        let Some(target) = self.canary.pki() else {
            return Ok(());
        };
        let issuers = self.shell.vault.pki_issuers(&target.mount);
        let what = "read the CAs of the mount";
        let issuers = self.bounded(Peer::Vault, what, limit, issuers).await?;
        let inspector = Arc::new(Inspector::new(&issuers, &target.common_name));
        self.sightings.inspect(inspector.clone());
        self.inspector = Some(inspector);
        Ok(())
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
