//! The account of a run, from its record: the one place where what was seen is read with what is known of the operator.

mod certificates;
mod echo;
mod refusals;
mod static_role;
mod trace;
mod window;
mod words;
mod writes;

use std::time::Duration;

use super::reader::{self, Effect};
use super::reconciles::{self, WAKE};
use crate::model::account::{Account, Away, Hold, Standing, StepAccount};
use crate::model::record::{Answer, End, Record, StepRecord};
use crate::model::text::Text;
use crate::model::timeline::{Content, Resource, Seen};
use crate::model::{Mark, Step};

/// The operator counts the time to its next poll from when a reconcile returns, and that is up to so much
/// later than the status that announces it is seen.
const RETURN: Duration = Duration::from_millis(10);
/// How far from a poll an absence counts as one at the poll: its moment is told by the status, which may be late.
const ABOUT_A_POLL: Duration = Duration::from_secs(1);

/// Reads a record.
pub fn account(record: &Record) -> Account {
    let steps = record.steps.iter().map(|step| of_step(record, step));
    Account {
        steps: steps.collect(),
        secret_writes: record.timeline.secret_writes(&own_contents(record)),
    }
}

fn of_step(record: &Record, step: &StepRecord) -> StepAccount {
    let timeline = &record.timeline;
    let proof = Effect::read(&step.proof, timeline, step.started);
    let (effect, foiled) = (proof.proven(), proof.foiled);
    let proof = effect.filter(|_| step.end == End::Proven);
    let proof = proof.map(|proven| proven.at);
    let until = proof.unwrap_or(step.ended);
    let due = reader::due(step.promise, timeline, step.submitted, until);
    let came = effect.map_or(step.ended, |effect| effect.at);
    let resource = resource(record, step);
    StepAccount {
        effect,
        shown: shown(record, step),
        foiled,
        due,
        soonest: writes::soonest(record, step, due),
        idle: idle(step, due, until),
        words: words::read(record, step, resource),
        rivals: rivals(record, step),
        resource: resource.map(|resource| standing(record, step, resource)),
        writes: writes::until(record, step.left),
        writes_before: record
            .steps
            .iter()
            .rfind(|earlier| earlier.started < step.started)
            .map(|before| writes::until(record, before.left)),
        lease: timeline.leases().last().map(|lease| lease.id.clone()),
        renewal: words::renewal(record, step),
        dead: refusals::dead(record, step),
        certificates: certificates::read(record, step),
        static_role: static_role::read(record, step),
        released: timeline
            .between(step.started, Mark::new(Duration::MAX))
            .find(|sighting| sighting.what == Seen::ResourceGone)
            .map(|sighting| sighting.at),
        held: held(record, step),
        away: away(record, step, due, until),
        cuts: cuts(record, step),
        window: window::around(record, step, proof, until),
        trace: trace::of(record, step, proof),
        in_vault: window::in_vault(record, step, came),
        echo: echo::of(record, step),
        sync: echo::to_effect(record, step, effect),
        delivery: echo::delivery(record, step),
    }
}

/// The contents that the prober itself put into the Secret.
fn own_contents(record: &Record) -> Vec<&Content> {
    let steps = record.steps.iter();
    steps.filter_map(|step| step.proof.after()).collect()
}

/// The resource as asked for directly or, failing that, as last seen.
fn resource<'a>(record: &'a Record, step: &'a StepRecord) -> Option<&'a Resource> {
    match &step.findings.resource {
        Answer::Is(resource) => resource.as_ref(),
        Answer::NotAsked | Answer::Obstructed(_) => record.timeline.resource_at(step.ended),
    }
}

/// Whether the status bore one operator's signature, then another's, and then the first one's again: a restart, or a
/// change of what is in Vault, brings a new one and never one that was there.
fn rivals(record: &Record, step: &StepRecord) -> bool {
    let mut signatures: Vec<&str> = Vec::new();
    for sighting in record.timeline.between(Mark::default(), step.left) {
        let Seen::Resource(resource) = &sighting.what else {
            continue;
        };
        let Some(signature) = resource.signature.as_deref() else {
            continue;
        };
        if signatures.last() == Some(&signature) {
            continue;
        }
        if signatures.contains(&signature) {
            return true;
        }
        signatures.push(signature);
    }
    false
}

fn standing(record: &Record, step: &StepRecord, resource: &Resource) -> Standing {
    let heartbeat = |of: &Resource| (of.healthy.clone(), of.synced.clone(), of.last_generation);
    let before = record.timeline.resource_at(step.submitted).map(heartbeat);
    Standing {
        told: resource.synced.is_some(),
        reconciled: before != Some(heartbeat(resource)) && resource.healthy.is_some(),
        held: resource.deleting && resource.finalizer,
        serial: resource.serial.clone(),
    }
}

/// Whether the watch showed a Secret that would be the proof.
fn shown(record: &Record, step: &StepRecord) -> bool {
    let mut seen = record.timeline.between(step.started, step.ended);
    seen.any(|sighting| {
        matches!(&sighting.what, Seen::Secret { uid, content } if step.proof.holds(uid, content))
    })
}

/// A poll may come before the latest moment announced; a deleted Secret's owner is woken at random.
fn idle(step: &StepRecord, due: Option<Mark>, until: Mark) -> Duration {
    let submitted = step.submitted.min(until);
    match due {
        Some(due) => due.min(until).since(submitted).saturating_add(RETURN),
        None if step.step == Step::Recreate => WAKE,
        None => Duration::ZERO,
    }
}

fn held(record: &Record, step: &StepRecord) -> Option<Hold> {
    let mut seen = record.timeline.between(step.started, step.left);
    let (since, by) = seen.find_map(|sighting| match &sighting.what {
        Seen::SecretHeld(by) => Some((sighting.at, by.clone())),
        _ => None,
    })?;
    let gone = seen.find(|sighting| sighting.what == Seen::SecretGone);
    Some(Hold {
        since,
        until: gone.map_or(step.left, |gone| gone.at),
        by,
    })
}

/// For how long somebody was away when it counted.
fn away(record: &Record, step: &StepRecord, due: Option<Mark>, until: Mark) -> Away {
    let times = in_question(record, step, due, until);
    let within = |pick: fn(&Seen) -> Option<Duration>| within(record, step, &times, pick);
    let mut seen = record.timeline.between(step.started, step.left);
    Away {
        prober: within(|seen| match seen {
            Seen::Starved(gap) => Some(*gap),
            _ => None,
        }),
        kubernetes: within(|seen| match seen {
            Seen::Silence(gap) => Some(*gap),
            _ => None,
        }),
        sealed: within(|seen| match seen {
            Seen::VaultSealed(gap) => Some(*gap),
            _ => None,
        }),
        silent: within(|seen| match seen {
            Seen::VaultSilence(gap) => Some(*gap),
            _ => None,
        }),
        vault: seen
            .any(|sighting| matches!(sighting.what, Seen::VaultSealed(_) | Seen::VaultSilence(_))),
    }
}

/// The times in which an absence can have made a step late that ended at `until`: from when its effect was due, or from
/// the stimulus; and about the last poll before that, from which it is told when the effect is due.
fn in_question(
    record: &Record,
    step: &StepRecord,
    due: Option<Mark>,
    until: Mark,
) -> Vec<(Mark, Mark)> {
    let Some(due) = due.filter(|due| *due < until) else {
        return vec![(step.started, until)];
    };
    let polls = reconciles::completed(&record.timeline).filter(|poll| poll.at <= due);
    let around = |poll: Mark| (poll.less(ABOUT_A_POLL), poll.plus(ABOUT_A_POLL).min(due));
    let poll = polls.last().map(|poll| around(poll.at));
    poll.into_iter().chain([(due, until)]).collect()
}

/// How much of these times is covered by what `pick` takes of the sightings: each tells of a time up to its moment.
fn within(
    record: &Record,
    step: &StepRecord,
    times: &[(Mark, Mark)],
    pick: impl Fn(&Seen) -> Option<Duration>,
) -> Duration {
    let seen = record.timeline.between(Mark::default(), step.left);
    let gaps = seen.filter_map(|sighting| {
        let gap = pick(&sighting.what)?;
        Some((sighting.at.less(gap), sighting.at))
    });
    let covered = gaps.flat_map(|(from, to)| {
        let overlap = move |(begins, ends): &(Mark, Mark)| to.min(*ends).since(from.max(*begins));
        times.iter().map(overlap)
    });
    covered.sum()
}

/// Interruptions of the watches during the step.
fn cuts(record: &Record, step: &StepRecord) -> Vec<Text> {
    let seen = record.timeline.between(step.started, step.ended);
    seen.filter_map(|sighting| match &sighting.what {
        Seen::WatchLost(why) => Some(why.clone()),
        _ => None,
    })
    .collect()
}
