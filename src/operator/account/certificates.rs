//! The certificates that the Secret of a canary held.

use std::collections::BTreeSet;

use crate::model::account::Certificates;
use crate::model::proof::Proof;
use crate::model::record::{Record, StepRecord};

pub(super) fn read(record: &Record, step: &StepRecord) -> Certificates {
    if step.proof != Proof::Certificate {
        return Certificates::default();
    }
    let timeline = &record.timeline;
    let seen = || Some(timeline.certificates().next_back()?.1);
    let now = step.findings.certificate.as_ref().or_else(seen);
    let before = timeline.certificate_at(step.started);
    let followed: BTreeSet<_> = timeline
        .certificates()
        .filter(|(at, _)| step.started < *at && *at <= step.ended)
        .map(|(_, seen)| &seen.serial)
        .filter(|serial| before.is_some_and(|(_, before)| before.serial != **serial))
        .collect();
    Certificates {
        shown: now.is_some_and(|now| {
            timeline
                .certificates()
                .any(|(_, seen)| seen.serial == now.serial)
        }),
        any: timeline.certificates().next().is_some(),
        now: now.cloned(),
        followed: followed.len(),
        before: before.map(|(since, before)| (since, before.clone())),
    }
}
