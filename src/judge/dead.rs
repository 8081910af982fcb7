//! The time for which the Secret held a credential that was refused.

use std::time::Duration;

use crate::model::Mark;
use crate::model::record::{Login, Record, StepRecord};

/// A time for which the Secret held a credential that was refused.
pub(super) struct Dead<'a> {
    /// When the first login was refused.
    pub(super) from: Mark,
    /// Until it was replaced or, failing that, was refused last.
    pub(super) time: Duration,
    /// How often it was refused.
    pub(super) count: u32,
    /// The SQLSTATE.
    pub(super) code: &'a str,
}

/// Each such time of a step, in order. A login with what had just been replaced says nothing.
pub(super) fn times<'a>(
    record: &'a Record,
    step: &'a StepRecord,
) -> impl Iterator<Item = Dead<'a>> {
    step.findings.logins.iter().filter_map(|logins| {
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
            code,
        })
    })
}

/// For how long in all; none if nothing could be told of any login.
pub(super) fn seconds(record: &Record, step: &StepRecord) -> Option<f64> {
    let told = |outcome: &Login| !matches!(outcome, Login::Untold(_));
    let logins = &step.findings.logins;
    logins.iter().any(|logins| told(&logins.outcome)).then(|| {
        let total: Duration = times(record, step).map(|dead| dead.time).sum();
        total.as_secs_f64()
    })
}
