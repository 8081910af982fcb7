//! The evidence against an event. Anyone who may create events can make one up, so that one which clears the operator
//! is believed, without the status, only as far as the prober itself saw nothing to the contrary.

use super::Case;
use crate::judge::words;
use crate::model::cause::Cause;
use crate::model::record::{Answer, End, Event, VaultHealth};
use crate::model::timeline::Seen;

impl Case<'_> {
    /// What the prober saw that speaks against an event, if it names a cause.
    pub(super) fn doubt(&self, event: &Event) -> Option<&'static str> {
        let served = "Vault served the prober throughout the step";
        match words::classify(&event.message)? {
            Cause::VaultSealed if self.vault_served() => Some(served),
            // The way to Vault may be shut to the operator alone: then it says so again, or of its connection.
            cause @ (Cause::VaultUnreachable | Cause::VaultError)
                if self.step.end == End::TimedOut
                    && self.vault_served()
                    && self.connection_dead().is_none()
                    && self.told(cause) < 2 =>
            {
                Some(served)
            }
            Cause::DestinationConflict if self.step.findings.secret == Answer::Is(None) => {
                Some("no Secret of that name exists")
            }
            _ => None,
        }
    }

    /// Whether Vault answered the prober as one that serves, and was away at no time of the step.
    fn vault_served(&self) -> bool {
        let step = self.step;
        let mut seen = self.record.timeline.between(step.started, step.left);
        step.findings.vault == Answer::Is(VaultHealth::Active)
            && !seen.any(|sighting| {
                matches!(sighting.what, Seen::VaultSealed(_) | Seen::VaultSilence(_))
            })
    }

    /// How often events named a cause.
    fn told(&self, cause: Cause) -> i64 {
        let events = self.events().iter();
        events
            .filter(|event| event.kind == "Warning")
            .filter(|event| words::classify(&event.message) == Some(cause))
            .map(|event| i64::from(event.count.max(1)))
            .sum()
    }
}
