//! The rule on canaries and decoys.

use std::time::Duration;

use super::super::finding::Confidence;
use super::super::trap::{Kind, Touch};
use super::{Case, Said};
use crate::model::time::Moment as _;

/// Whose token it was may stand in the log of another node or device, which is read a moment later.
const MOMENT: Duration = Duration::from_secs(2);

/// A canary or a decoy was touched, granted or refused, by somebody who has no reason to.
pub(super) fn honey(case: &Case<'_>) -> Said {
    let (trap, touch) = case.context.touched(case.entry)?;
    if case.context.probers.is_empty() {
        // It may be the prober.
        return None;
    }
    let may = case.context.own(case.entry) || case.context.reader(case.entry);
    let syncs = trap.kind == Kind::Canary && case.identity.is_some_and(|identity| identity.probe);
    if may || syncs {
        return None;
    }
    if trap.kind == Kind::Canary && case.context.identities.is_empty() {
        // It may be the operator.
        return None;
    }
    if case.entry.of_nobody() {
        let early = case.now.is_some_and(|now| now < case.at.later(MOMENT));
        // A token of the prober's or of the operator's that ran out, was revoked, or met a node that was not active any more.
        if early || trap.kind == Kind::Canary && known_from_there(case) {
            return None;
        }
    }
    let (deed, from) = (case.deed(), case.from());
    Some(match (touch, trap.kind) {
        (Touch::Secret, Kind::Canary) => (
            Confidence::High,
            format!("{deed} from {from}: a canary of the prober's"),
        ),
        (Touch::Secret, Kind::Decoy) => (
            Confidence::High,
            format!("{deed} from {from}: a decoy, which nobody has a reason to touch"),
        ),
        (Touch::Folder, Kind::Canary) => (
            Confidence::Medium,
            format!("{deed} from {from}: the folder of the prober's canaries"),
        ),
        (Touch::Folder, Kind::Decoy) => (
            Confidence::Medium,
            format!("{deed} from {from}: the folder of a decoy"),
        ),
    })
}

/// Whether the prober or the operator used this token before from this address.
fn known_from_there(case: &Case<'_>) -> bool {
    let token = case.entry.token;
    let mut uses = token.into_iter().flat_map(|token| case.facts.uses(token));
    uses.any(|(from, _)| Some(from) == case.entry.address)
}
