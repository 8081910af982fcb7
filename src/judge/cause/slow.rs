//! The party responsible for an effect that was right but late.

use std::time::Duration;

use crate::judge::stages;
use crate::model::Mark;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::proof::Proof;
use crate::model::record::{Record, StepRecord};
use crate::model::timeline::Seen;

/// Blames the cluster, if what is gone was out of the operator's hands in time; Vault, if the operator's metrics say
/// that all would have been in time but for the wait for Vault; else the operator. The effect came at `proof`, and is
/// judged by `measured`.
pub(super) fn blame(
    record: &Record,
    step: &StepRecord,
    proof: Mark,
    measured: Duration,
    text: String,
) -> Blame {
    let late = Evidence::new(Source::Status, text);
    if let Some(collected) = collected_late(record, step, proof) {
        return Blame::new(Cause::NotCollected, collected).and([late]);
    }
    let in_vault = stages::in_vault(record, step, proof)
        .filter(|in_vault| measured.saturating_sub(*in_vault) <= step.within);
    let Some(in_vault) = in_vault else {
        return Blame::new(Cause::TooSlow, late);
    };
    let text = format!(
        "the operator waited {:.3} s for Vault's answers; without that wait the step would have been in time",
        in_vault.as_secs_f64()
    );
    Blame::new(
        Cause::VaultUnreachable,
        Evidence::new(Source::Metrics, text),
    )
    .and([late])
}

/// The operator let the resource go in time, and the Secret that it owned went when the cluster came to it.
fn collected_late(record: &Record, step: &StepRecord, proof: Mark) -> Option<Evidence> {
    let mut seen = record.timeline.between(step.started, proof);
    let resource = seen
        .find(|sighting| sighting.what == Seen::ResourceGone)?
        .at;
    let took = resource.since(step.started);
    (step.proof == Proof::Gone && took <= step.within).then(|| {
        let text = format!(
            "the resource was gone after {:.3} s, its Secret {:.3} s later",
            took.as_secs_f64(),
            proof.since(resource).as_secs_f64()
        );
        Evidence::new(Source::Status, text)
    })
}
