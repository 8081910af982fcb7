//! The credential of a static role: what Vault gave, held against what the Secret holds.

use crate::model::Mark;
use crate::model::account::{Held, StaticRole};
use crate::model::proof::Proof;
use crate::model::record::{Record, StepRecord};
use crate::model::timeline::{Given, Seen};

pub(super) fn read(record: &Record, step: &StepRecord) -> Option<StaticRole> {
    let Proof::Given { old } = &step.proof else {
        return None;
    };
    let given: Vec<_> = given(record, step.left).collect();
    let last = given.last();
    let secret = step.findings.secret.get().and_then(Option::as_ref);
    Some(StaticRole {
        held: secret.map(|(_, content)| {
            let any = |is: &dyn Fn(&Given) -> bool| given.iter().any(|given| is(given));
            if any(&|given| step.proof.is_given(content, &given.content)) {
                Held::Right
            } else if any(&|given| content.covers(&given.content)) {
                Held::Earlier
            } else {
                Held::Foreign
            }
        }),
        rotated: last
            .is_some_and(|last| !old.as_ref().is_some_and(|old| old.covers(&last.content))),
        left: last.and_then(|last| last.left),
    })
}

/// How many credentials Vault gave until a moment: each is written once.
pub(super) fn count(record: &Record, to: Mark) -> usize {
    let mut contents = Vec::new();
    for given in given(record, to) {
        if !contents.contains(&&given.content) {
            contents.push(&given.content);
        }
    }
    contents.len()
}

fn given(record: &Record, to: Mark) -> impl Iterator<Item = &Given> {
    let seen = record.timeline.between(Mark::default(), to);
    seen.filter_map(|sighting| match &sighting.what {
        Seen::Given(given) => Some(given),
        _ => None,
    })
}
