//! The echoes of the prober's own writes on its watches: how late these tell, and a start for the operator's own time.

use std::time::Duration;

use crate::model::Step;
use crate::model::account::Echo;
use crate::model::proof::Proven;
use crate::model::record::{End, Record, StepRecord};
use crate::model::timeline::{Seen, Sighting};

/// When the watch echoed the stimulus of a step, if it did live.
fn echoed<'a>(record: &'a Record, step: &StepRecord) -> Option<&'a Sighting> {
    if matches!(step.end, End::Met(_)) {
        return None;
    }
    let own = |what: &Seen| match step.step {
        Step::Create => matches!(what, Seen::Resource(_)),
        Step::Tamper => {
            matches!(what, Seen::Secret { content, .. } if Some(content) == step.proof.after())
        }
        Step::Recreate => *what == Seen::SecretGone,
        Step::Delete => match what {
            Seen::Resource(resource) => resource.deleting,
            what => *what == Seen::ResourceGone,
        },
        Step::Update | Step::Renew | Step::Rotate => false,
    };
    let mut seen = record.timeline.between(step.started, step.left);
    let echo = seen.find(|sighting| own(&sighting.what))?;
    Some(echo).filter(|echo| !echo.relisted)
}

/// How long the watch took to echo the stimulus: the write itself was at some moment between the request and its answer.
pub(super) fn of(record: &Record, step: &StepRecord) -> Option<Echo> {
    let at = echoed(record, step)?.at;
    Some(Echo {
        least: at.since(step.submitted),
        most: at.since(step.started),
    })
}

/// How long after the echo of the stimulus the effect came or, failing that, the step was given up: both were told by
/// the same watches, so that the way to them is in neither.
pub(super) fn to_effect(
    record: &Record,
    step: &StepRecord,
    effect: Option<Proven>,
) -> Option<Duration> {
    let from = echoed(record, step)?.at;
    let effect = effect.filter(|_| step.end == End::Proven);
    if effect.is_some_and(|effect| effect.relisted) {
        return None;
    }
    let until = effect.map_or(step.ended, |effect| effect.at);
    Some(until.since(from))
}

/// How long a delivery takes, as the latest echo up to this step tells.
pub(super) fn delivery(record: &Record, step: &StepRecord) -> Duration {
    let steps = record.steps.iter().rev();
    steps
        .filter(|earlier| earlier.started <= step.started)
        .find_map(|earlier| of(record, earlier))
        .map_or(Duration::ZERO, |echo| echo.least)
}
