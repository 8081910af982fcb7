//! The operator's own numbers around a step, and how much of them belongs to it.

use std::time::Duration;

use super::super::reconciles::{self, Own};
use crate::model::account::Window;
use crate::model::delta::OperatorDelta;
use crate::model::record::{Record, StepRecord};
use crate::model::run::Attribution;
use crate::model::snapshot::{Reading, Void};
use crate::model::timeline::Seen;
use crate::model::{Mark, Step};

/// How far a count that is read as a fraction may be off and still be that number.
const ROUNDING: f64 = 0.5;

/// The numbers of the narrowest window around a step whose effect came, or which ended, at `until`; none where nothing
/// was read.
pub(super) fn around(
    record: &Record,
    step: &StepRecord,
    proof: Option<Mark>,
    until: Mark,
) -> Result<Option<Window>, Void> {
    let Some(between) = between(record, step, until)? else {
        return Ok(None);
    };
    let attribution = between.attribution();
    let sync = Sync::of(record, step, proof, between.to);
    Ok(Some(Window {
        delta: between.delta,
        attribution,
        share: match attribution {
            Attribution::Exact => sync.share(record, step, &between),
            Attribution::Shared => 1.0 / between.delta.reconciles,
            Attribution::Traced | Attribution::None => 0.0,
        },
        tries: match attribution {
            Attribution::Exact => sync.tries(record, step, &between),
            Attribution::Traced | Attribution::Shared | Attribution::None => 1.0,
        },
        after_proof: sync.after_proof,
        own_connection: record.connection.is_some(),
    }))
}

/// How long one sync waited for Vault over a step up to `until`, on average: a read, and a login where
/// there was one. None where that was not read.
pub(super) fn in_vault(record: &Record, step: &StepRecord, until: Mark) -> Option<Duration> {
    let numbers = between(record, step, until).ok()??.delta;
    record.connection.as_ref()?;
    let read = seconds(numbers.vault_read_seconds / numbers.vault_reads);
    let login = seconds(numbers.login_seconds / numbers.logins);
    Some(read.saturating_add(login))
}

/// The time between two readings that enclose a step.
struct Between {
    from: Mark,
    to: Mark,
    delta: OperatorDelta,
    own: Own,
}

impl Between {
    fn attribution(&self) -> Attribution {
        match self.delta.reconciles {
            none if none < ROUNDING => Attribution::None,
            own if own < f64::from(self.own.at_most()) + ROUNDING => Attribution::Exact,
            _ => Attribution::Shared,
        }
    }
}

fn between(record: &Record, step: &StepRecord, until: Mark) -> Result<Option<Between>, Void> {
    let readings = &record.readings;
    if readings.is_empty() {
        return Ok(None);
    }
    let opening = readings
        .iter()
        .rfind(|reading| reading.received <= step.started);
    let closing = readings.iter().find(|reading| reading.asked >= until);
    let failed = |reading: &Reading| reading.what.is_err();
    if opening.is_some_and(failed) || closing.is_some_and(failed) {
        return Err(Void::ScrapeFailed);
    }
    let (opening, closing) = opening.zip(closing).ok_or(Void::NotEnclosed)?;
    let (from, to) = (opening.asked, closing.received);
    let connection = record.connection.as_ref().map(ToString::to_string);
    Ok(Some(Between {
        from,
        to,
        delta: opening.delta(closing, record.kind, connection.as_deref())?,
        own: Own::counted(&record.timeline, from, to),
    }))
}

/// The reconcile that brought the proof, and what followed directly upon it.
struct Sync {
    /// When its outcome was seen in the status, and the last thing that belongs to it.
    seen: Option<(Mark, Mark)>,
    /// How long it went on after the proof: it writes the status, and a finalizer that is missing.
    after_proof: Duration,
}

impl Sync {
    fn of(record: &Record, step: &StepRecord, proof: Option<Mark>, to: Mark) -> Self {
        let none = Self {
            seen: None,
            after_proof: Duration::ZERO,
        };
        let Some(proof) = proof.filter(|_| step.step != Step::Delete) else {
            return none;
        };
        let timeline = &record.timeline;
        let later = || {
            reconciles::completed(timeline).filter(|done| step.started < done.at && done.at <= to)
        };
        let Some(outcome) = later().find(|done| done.announced) else {
            return none;
        };
        let finalized = timeline
            .between(outcome.at, to)
            .filter(|_| !outcome.resource.finalizer)
            .find(|sighting| matches!(&sighting.what, Seen::Resource(state) if state.finalizer));
        // That write may change the generation, which sets off another reconcile at once.
        let generation = outcome.resource.generation;
        let direct =
            later().find(|done| done.at > outcome.at && done.resource.generation > generation);
        let ends = [
            finalized.map(|sighting| sighting.at),
            direct.map(|done| done.at),
        ];
        let last = ends.into_iter().flatten().fold(outcome.at, Mark::max);
        Self {
            seen: Some((outcome.at, last)),
            after_proof: last.since(proof),
        }
    }

    /// How often the resource was taken from the queue up to the proof: failed tries before it count where they are a part
    /// of the latency.
    fn tries(&self, record: &Record, step: &StepRecord, window: &Between) -> f64 {
        let Some((outcome, _)) = self.seen.filter(|_| !step.step.poll_driven()) else {
            return 1.0;
        };
        let from = window.from.max(step.started);
        let tries = reconciles::completed(&record.timeline)
            .filter(|done| from < done.at && done.at <= outcome)
            .count();
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let tries = tries.max(1) as f64;
        tries.min(window.delta.queued.max(1.0))
    }

    /// The share of the window's reconciles, by their number, that belong to the step.
    fn share(&self, record: &Record, step: &StepRecord, window: &Between) -> f64 {
        let in_window = || {
            reconciles::completed(&record.timeline)
                .filter(|done| window.from < done.at && done.at <= window.to)
        };
        let syncs = in_window().count();
        let own = window.own.shown as usize;
        let belonging = match (step.step, self.seen) {
            (Step::Delete, _) => own.saturating_sub(syncs),
            // Those that failed before the one that brought it are part of its time, too.
            (_, Some((outcome, last))) => in_window()
                .filter(|done| {
                    let first = if step.step.poll_driven() {
                        outcome..
                    } else {
                        step.started..
                    };
                    first.contains(&done.at) && done.at <= last
                })
                .count(),
            (step_of, None) if step_of.poll_driven() => 1,
            (_, None) => in_window().filter(|done| done.at > step.started).count(),
        };
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let share = belonging.max(1) as f64 / own.max(1) as f64;
        share.min(1.0)
    }
}

/// A number of seconds as a time; none, for a mean of nothing, is no time.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
