//! The stages of a step's latency, from the operator's own metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::delta::OperatorDelta;
use crate::model::reconciles::{self, Own, WAKE_JITTER};
use crate::model::record::{End, Record, StepRecord};
use crate::model::run::Attribution;
use crate::model::snapshot::{Reading, Void};
use crate::model::timeline::Seen;
use crate::model::{Mark, Stage, Step};

/// The operator counts the time to its next poll from when a reconcile returns, and that is up to so much
/// later than the status that announces it is seen.
const RETURN: Duration = Duration::from_millis(10);

/// What is told of a step's latency.
pub(super) struct Told {
    pub(super) stages: BTreeMap<Stage, f64>,
    pub(super) attribution: Attribution,
    pub(super) operator: Option<OperatorDelta>,
    pub(super) void: Option<Void>,
    pub(super) explained_ratio: Option<f64>,
}

/// Tells where the time up to the `proof`, or to the step's end, went. `due` is the moment by which the
/// operator had promised to act.
pub(super) fn tell(
    record: &Record,
    step: &StepRecord,
    proof: Option<Mark>,
    due: Option<Mark>,
) -> Told {
    let until = proof.unwrap_or(step.ended);
    let submitted = step.submitted.min(until);
    let announced = due.map(|due| due.min(until).since(submitted));
    let mut split = Split::new(until.since(step.started));
    split.take(Stage::Submit, submitted.since(step.started));
    let window = window(record, step, until);
    let attribution = window.as_ref().map_or(Attribution::None, |window| {
        window
            .as_ref()
            .map_or(Attribution::None, Window::attribution)
    });
    match &window {
        Ok(Some(window)) if attribution != Attribution::None => {
            let sync = Sync::of(record, step, proof, window.to);
            let share = match attribution {
                Attribution::Exact => sync.share(record, step, window),
                Attribution::Shared | Attribution::None => 1.0 / window.delta.reconciles,
            };
            let reconcile = seconds(window.delta.reconcile_seconds * share);
            split.take(Stage::Reconcile, reconcile.saturating_sub(sync.after_proof));
            let queue = seconds(window.delta.queue_seconds / window.delta.queued);
            split.take(Stage::Queue, queue);
            // A poll may come before the latest moment announced; a deleted Secret's owner is woken at random.
            let bound = match announced {
                Some(announced) => announced.saturating_add(RETURN),
                None if step.step == Step::Recreate => WAKE_JITTER,
                None => Duration::ZERO,
            };
            let left = split.rest.saturating_sub(delivery(record, step));
            split.take(Stage::Wait, bound.min(left));
            split.keep(Stage::Deliver);
        }
        _ => {
            if let Some(announced) = announced {
                split.take(Stage::Wait, announced);
            }
            split.keep(Stage::Deliver);
        }
    }
    let whole = until.since(step.started).as_secs_f64();
    let explained = (attribution != Attribution::None && whole > 0.0)
        .then(|| 1.0 - split.rest.as_secs_f64() / whole);
    Told {
        stages: split.stages,
        attribution,
        explained_ratio: explained,
        void: window.as_ref().err().copied(),
        operator: window.ok().flatten().map(|window| window.delta),
    }
}

/// How many of the operator's requests to Vault failed over the step, of the canary's own connection. None
/// where that was not read.
pub(super) fn vault_errors(record: &Record, step: &StepRecord) -> Option<f64> {
    let window = window(record, step, step.ended).ok()??;
    record.connection.as_ref()?;
    Some(window.delta.vault_errors)
}

/// How long one sync waited for Vault over a step that ended at `until`, on average: a read, and a login where
/// there was one. None where that was not read.
pub(super) fn in_vault(record: &Record, step: &StepRecord, until: Mark) -> Option<Duration> {
    let numbers = window(record, step, until).ok()??.delta;
    record.connection.as_ref()?;
    let read = seconds(numbers.vault_read_seconds / numbers.vault_reads);
    let login = seconds(numbers.login_seconds / numbers.logins);
    Some(read.saturating_add(login))
}

/// Whether others of the kind were reconciled over the step, by the operator's own count.
pub(super) fn others_reconciled(record: &Record, step: &StepRecord) -> bool {
    let window = window(record, step, step.ended);
    matches!(window, Ok(Some(window)) if window.attribution() == Attribution::Shared)
}

/// How long the watch took to echo the prober's own write, once that was acknowledged.
pub(super) fn echo(record: &Record, step: &StepRecord) -> Option<Duration> {
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
    let echo = record
        .timeline
        .between(step.started, step.left)
        .find(|sighting| own(&sighting.what))?;
    (!echo.relisted).then(|| echo.at.since(step.submitted))
}

/// How long a delivery takes, as the latest echo up to this step tells.
fn delivery(record: &Record, step: &StepRecord) -> Duration {
    let steps = record.steps.iter().rev();
    steps
        .filter(|earlier| earlier.started <= step.started)
        .find_map(|earlier| echo(record, earlier))
        .unwrap_or_default()
}

/// The time between two readings that enclose a step.
struct Window {
    from: Mark,
    to: Mark,
    delta: OperatorDelta,
    own: Own,
}

impl Window {
    fn attribution(&self) -> Attribution {
        match self.delta.reconciles {
            none if none < 0.5 => Attribution::None,
            own if own < f64::from(self.own.at_most()) + 0.5 => Attribution::Exact,
            _ => Attribution::Shared,
        }
    }
}

/// The narrowest window around a step; none where nothing was read.
fn window(record: &Record, step: &StepRecord, until: Mark) -> Result<Option<Window>, Void> {
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
    Ok(Some(Window {
        from,
        to,
        delta: opening.delta(closing, record.kind, record.connection.as_deref())?,
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

    /// The share of the window's reconciles, by their number, that belong to the step.
    fn share(&self, record: &Record, step: &StepRecord, window: &Window) -> f64 {
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

/// A time, and the parts that were taken of it.
struct Split {
    rest: Duration,
    stages: BTreeMap<Stage, f64>,
}

impl Split {
    const fn new(whole: Duration) -> Self {
        Self {
            rest: whole,
            stages: BTreeMap::new(),
        }
    }

    /// Gives a stage its time, as far as there is any left.
    fn take(&mut self, stage: Stage, time: Duration) {
        let time = time.min(self.rest);
        self.rest -= time;
        self.stages.insert(stage, time.as_secs_f64());
    }

    /// Gives a stage what is left.
    fn keep(&mut self, stage: Stage) {
        self.stages.insert(stage, self.rest.as_secs_f64());
    }
}

/// A number of seconds as a time; none, for a mean of nothing, is no time.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or_default()
}
