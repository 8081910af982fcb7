//! The rule on canaries and decoys.

use super::super::finding::Confidence;
use super::super::trap::{Kind, Touch};
use super::{Case, Said};

/// A canary or a decoy was touched, granted or refused, by somebody who has no reason to.
pub(super) fn honey(case: &Case<'_>) -> Said {
    let (trap, touch) = case.context.touched(case.entry)?;
    let may = case.context.own(case.entry) || case.context.reader(case.entry);
    let syncs = trap.kind == Kind::Canary && case.identity.is_some_and(|identity| identity.probe);
    if may || syncs {
        return None;
    }
    if trap.kind == Kind::Canary && case.context.identities.is_empty() {
        // It may be the operator.
        return None;
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
