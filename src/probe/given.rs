//! The questions to Vault what the credential of a static role is, by which what the Secret holds is told to be right.

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::Journey;
use crate::model::Step;
use crate::model::record::{End, Peer, StepRecord};
use crate::model::timeline::{Given, Seen, Sighting};

impl Journey<'_> {
    /// Has Vault give the credential that the canary's Secret is to hold, if it is a static role's: it goes into the timeline
    /// as a digest, like what the Secret holds.
    pub(super) async fn ask_given(&mut self, limit: Duration) -> Result<(), End> {
        let target = self.canary.dynamic().filter(|target| target.static_role);
        let Some(target) = target else {
            return Ok(());
        };
        let given = self.clients.vault.static_credential(target);
        let what = "read the credential of the static role";
        let given = self.bounded(Peer::Vault, what, limit, given).await?;
        let data = given.data.iter();
        let data = data.map(|(key, value)| (key, value.expose_secret().as_bytes()));
        let content = self.canary.salt().content(data);
        let left = given.left;
        self.note(Sighting {
            at: self.now(),
            relisted: false,
            what: Seen::Given(Given { content, left }),
        });
        Ok(())
    }

    /// Asks once more after a step that was not proven, so that whoever did not replace the credential can be told.
    pub(super) async fn ask_given_after(&mut self, step: &StepRecord) -> Result<(), End> {
        if step.end == End::TimedOut && step.step != Step::Delete {
            return self.ask_given(step.timeout).await;
        }
        Ok(())
    }
}
