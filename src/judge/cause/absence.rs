//! Outages of the prober, the API server or Vault that cover so much of a step that nobody else can be blamed.

use std::time::Duration;

use crate::model::cause::{Blame, Cause, Evidence, Source};
use crate::model::record::{Record, StepRecord};
use crate::model::timeline::Seen;

/// Blames the prober if it stood still for at least `share` of the step.
pub(super) fn starved(record: &Record, step: &StepRecord, share: Duration) -> Option<Blame> {
    let total = within(record, step, |seen| match seen {
        Seen::Starved(gap) => Some(*gap),
        _ => None,
    });
    let what = "the prober stood still";
    away(total, share, Cause::ProberStarved, Source::Status, what)
}

/// Gives no verdict if the API server was silent for at least `share` of the step: nothing could be seen of
/// the operator, nor could it do anything.
pub(super) fn blind(record: &Record, step: &StepRecord, share: Duration) -> Option<Blame> {
    let total = within(record, step, |seen| match seen {
        Seen::Silence(gap) => Some(*gap),
        _ => None,
    });
    let what = "the API server did not answer the prober";
    let cause = Cause::ProberKubernetesUnreachable;
    away(total, share, cause, Source::Status, what)
}

/// Clears the operator if Vault was sealed or silent for at least `share` of the step, although it may be back since.
pub(super) fn vault_away(record: &Record, step: &StepRecord, share: Duration) -> Option<Blame> {
    let sealed = within(record, step, |seen| match seen {
        Seen::VaultSealed(gap) => Some(*gap),
        _ => None,
    });
    let silent = within(record, step, |seen| match seen {
        Seen::VaultSilence(gap) => Some(*gap),
        _ => None,
    });
    let (cause, what) = if sealed >= silent {
        (Cause::VaultSealed, "Vault was sealed")
    } else {
        let what = "Vault did not answer the prober";
        (Cause::ProberVaultUnreachable, what)
    };
    away(
        sealed.saturating_add(silent),
        share,
        cause,
        Source::Vault,
        what,
    )
}

/// Blames `cause` if `total`, for which `what` is said, is at least `share`.
fn away(
    total: Duration,
    share: Duration,
    cause: Cause,
    source: Source,
    what: &str,
) -> Option<Blame> {
    (!total.is_zero() && total >= share).then(|| {
        let text = format!("{what} for {:.3} s of the step", total.as_secs_f64());
        Blame::new(cause, Evidence::new(source, text))
    })
}

/// How much of the step is covered by what `pick` takes of the sightings: each tells of a time up to its moment.
fn within(
    record: &Record,
    step: &StepRecord,
    pick: impl Fn(&Seen) -> Option<Duration>,
) -> Duration {
    record
        .timeline
        .between(step.started, step.left)
        .filter_map(|sighting| {
            let before = sighting.at.since(step.started).min(pick(&sighting.what)?);
            Some(before.saturating_sub(sighting.at.since(step.ended)))
        })
        .sum()
}
