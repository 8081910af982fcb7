//! Whose slowness it was, of what came out right but late.

use std::time::Duration;

use crate::judge::stages;
use crate::model::Mark;
use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::record::{Record, StepRecord};

/// Blames Vault, if the operator's metrics say that all would have been in time but for the wait for Vault;
/// else the operator. The effect came at `proof`, and is judged by `measured`.
pub(super) fn blame(
    record: &Record,
    step: &StepRecord,
    proof: Mark,
    measured: Duration,
    text: String,
) -> Blame {
    let late = Evidence::new(Source::Status, text);
    let in_vault = stages::in_vault(record, step, proof)
        .filter(|in_vault| measured.saturating_sub(*in_vault) <= step.within);
    let Some(in_vault) = in_vault else {
        return Blame::new(Cause::TooSlow, late);
    };
    let text = format!(
        "a sync of the operator's waited {:.3} s for Vault's answers, without which it would have been in time",
        in_vault.as_secs_f64()
    );
    Blame::new(
        Cause::VaultUnreachable,
        Evidence::new(Source::Metrics, text),
    )
    .and([late])
}
