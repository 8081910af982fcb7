//! The times for which the Secret held a credential that was refused.

use crate::model::account::Dead;
use crate::model::record::{Login, Record, StepRecord};

/// Each such time of a step, in order. A login with what had just been replaced says nothing.
pub(super) fn dead(record: &Record, step: &StepRecord) -> Vec<Dead> {
    let logins = step.findings.logins.iter();
    let dead = logins.filter_map(|logins| {
        let Login::Refused(code) = &logins.outcome else {
            return None;
        };
        let replaced = record.timeline.stay(&logins.content)?.1;
        if replaced.is_some_and(|replaced| replaced <= logins.first) {
            return None;
        }
        Some(Dead {
            from: logins.first,
            time: replaced.unwrap_or(logins.last).since(logins.first),
            count: logins.count,
            code: code.clone(),
        })
    });
    dead.collect()
}
