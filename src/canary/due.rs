//! When the effect of a step is due, and how long a run may take.

use std::time::Duration;

use crate::config::{PkiTarget, Probe, Target};
use crate::model::Step;
use crate::model::promise::Promise;

/// How long it may take to clean up after a run.
const CLEAN_UP_LIMIT: Duration = Duration::from_secs(30);
/// The life of a certificate for which neither `ttl` nor `notAfter` is written: the role's own, which the
/// prober does not know.
const UNKNOWN_LIFE: Duration = Duration::from_secs(24 * 3600);

/// When the effect of a step is due.
pub(super) fn promise(probe: &Probe, step: Step) -> Promise {
    match &probe.target {
        Target::Static(target) if step.poll_driven() => target
            .refresh_after
            .as_ref()
            .map_or(Promise::AtOnce, |refresh| Promise::NextPoll(refresh.period)),
        Target::Pki(target) if step == Step::Rotate => Promise::BeforeEnd(offset(target)),
        Target::Static(_) | Target::Dynamic(_) | Target::Pki(_) => Promise::AtOnce,
    }
}

fn offset(target: &PkiTarget) -> Duration {
    target
        .expiry_offset
        .as_ref()
        .map_or(Duration::ZERO, |offset| offset.period)
}

/// How long a run of this probe takes at the most, cleaning up included.
pub fn longest_run(probe: &Probe) -> Duration {
    let steps = probe.steps.keys().map(|step| {
        probe.timeout
            + match (promise(probe, *step), &probe.target) {
                (Promise::AtOnce, _) => Duration::ZERO,
                (Promise::NextPoll(period), _) => period,
                (Promise::Announced { bound }, _) => bound,
                (Promise::BeforeEnd(_), Target::Pki(target)) => {
                    target.life().unwrap_or(UNKNOWN_LIFE)
                }
                (Promise::BeforeEnd(_), Target::Static(_) | Target::Dynamic(_)) => UNKNOWN_LIFE,
            }
    });
    steps.sum::<Duration>() + CLEAN_UP_LIMIT
}
