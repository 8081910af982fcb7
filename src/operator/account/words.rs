//! The operator's words on a resource, in its status and in events.

use super::super::messages::{
    HARMLESS, LEASE_NOT_FOUND, TRUNCATED, UNWRITTEN, by_reason, classify, lost_race,
};
use crate::model::account::{Refusal, Renewal, Said, Words};
use crate::model::cause::{Cause, Evidence, Source};
use crate::model::record::{Event, Record, Reference, StepRecord};
use crate::model::text::Text;
use crate::model::timeline::{Resource, Seen};

pub(super) fn read(record: &Record, step: &StepRecord, resource: Option<&Resource>) -> Words {
    let mut seen = record.timeline.between(step.started, step.ended);
    let events = step.findings.events.get().map_or(&[][..], Vec::as_slice);
    let warnings = events.iter().filter(|event| event.kind == "Warning");
    Words {
        status: resource.and_then(by_status),
        meanwhile: seen.find_map(|sighting| match &sighting.what {
            Seen::Resource(resource) => by_status(resource),
            _ => None,
        }),
        unknown: resource.and_then(unknown),
        unclear: events
            .iter()
            .rev()
            .find(|event| is_unclear(event))
            .map(by_event),
        warnings: warnings.map(by_event).collect(),
        connection: step.findings.references.iter().find_map(of_connection),
        unwritten: resource.and_then(unwritten),
    }
}

/// What a status says that is not good.
fn complaint(resource: &Resource) -> Option<&Text> {
    let unhealthy = resource.healthy.as_ref().is_none_or(|state| !state.ok);
    let synced = resource.synced.as_ref().filter(|state| !state.ok)?;
    unhealthy.then_some(&synced.message)
}

/// What a status that is not good says of who is at fault.
fn by_status(resource: &Resource) -> Option<Said> {
    let complaint = complaint(resource)?;
    Some(Said {
        cause: Some(classify(complaint)?),
        evidence: Evidence::new(Source::Status, complaint.clone()),
        times: 1,
    })
}

/// What a status that is not good says, of which nothing is known.
fn unknown(resource: &Resource) -> Option<Text> {
    let complaint = complaint(resource)?;
    let unknown = classify(complaint).is_none() && !complaint.is_empty();
    unknown.then(|| complaint.clone())
}

/// The cause that an event names, by its message or else by its reason.
fn named_by(event: &Event) -> Option<Cause> {
    classify(&event.message).or_else(|| by_reason(&event.reason, &event.message))
}

/// Whether an event warns of something of which nothing is known. One that says that a status was not written is harmless.
fn is_unclear(event: &Event) -> bool {
    let known = named_by(event);
    let harmless = event.reason == HARMLESS || lost_race(&event.message);
    event.kind == "Warning" && known.is_none() && !harmless
}

/// What the operator says of a VaultConnection that it calls invalid.
fn of_connection(reference: &Reference) -> Option<Said> {
    let said = reference
        .said
        .as_ref()
        .filter(|_| reference.valid == Some(false))?;
    Some(Said {
        cause: classify(said),
        evidence: Evidence::new(Source::Status, said.clone()),
        times: 1,
    })
}

fn by_event(event: &Event) -> Said {
    let times = if event.count > 1 {
        format!(" ({} times)", event.count)
    } else {
        String::new()
    };
    let text = format!("{}: {}{times}", event.reason, event.message);
    Said {
        cause: named_by(event),
        evidence: Evidence::new(Source::Event, text),
        times: event.count.max(1).into(),
    }
}

/// That the operator could not write the Secret, where it does not say why.
fn unwritten(resource: &Resource) -> Option<Text> {
    let synced = resource.synced.as_ref().filter(|state| !state.ok)?;
    let unwritten = synced.message.starts_with(UNWRITTEN);
    unwritten.then(|| synced.message.clone())
}

/// What became of the lease that was to be prolonged.
pub(super) fn renewal(record: &Record, step: &StepRecord) -> Renewal {
    let timeline = &record.timeline;
    let Some(id) = step.proof.lease() else {
        return Renewal::default();
    };
    let mut seen = timeline.between(step.started, step.left);
    let refusal = seen.find_map(|sighting| match &sighting.what {
        Seen::Resource(resource) => resource.renewal.as_ref().filter(|renewal| !renewal.ok),
        _ => None,
    });
    let leases = timeline.leases();
    Renewal {
        renewable: leases.iter().any(|lease| lease.id == id && lease.renewable),
        refusal: refusal.map(|renewal| (refused(&renewal.message), renewal.message.clone())),
    }
}

fn refused(message: &str) -> Refusal {
    if message.contains(TRUNCATED) {
        return Refusal::CutShort;
    }
    if message.contains(LEASE_NOT_FOUND) {
        return Refusal::Gone;
    }
    classify(message).map_or(Refusal::Unclear, Refusal::For)
}
