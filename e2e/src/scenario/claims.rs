//! Checks of what a run claims.

use anyhow::{Context, Result, ensure};
use vso_prober::model::Step;
use vso_prober::model::cause::{Cause, Source};
use vso_prober::model::run::{Run, StepReport};

/// The report on a step of a run.
pub fn step(run: &Run, step: Step) -> Result<&StepReport> {
    let found = run.steps.iter().find(|report| report.step == step);
    found.with_context(|| format!("the run has no step `{step}`: {run:#?}"))
}

/// The report on the step that decided the verdict on a run that was no success.
pub fn decisive(run: &Run) -> Result<&StepReport> {
    run.decisive()
        .with_context(|| format!("every step of the run is a success: {run:#?}"))
}

/// Insists that this step was blamed on this cause, on some evidence, and that it decided the run.
pub fn blames(run: &Run, step: Step, cause: Cause) -> Result<()> {
    let report = decisive(run)?;
    let failed = report.step;
    ensure!(
        failed == step,
        "`{failed}` and not `{step}` failed: {run:#?}"
    );
    ensure!(report.cause == Some(cause), "expected `{cause}`: {run:#?}");
    ensure!(report.party == Some(cause.party()), "{run:#?}");
    ensure!(run.result == cause.party().verdict(), "{run:#?}");
    ensure!(report.result == run.result && !report.good, "{run:#?}");
    let said = |text: &str| !text.trim().is_empty();
    ensure!(!report.evidence.is_empty(), "no evidence: {run:#?}");
    ensure!(
        report.evidence.iter().all(|piece| said(&piece.text)),
        "{run:#?}"
    );
    Ok(())
}

/// Insists that the state of the operator's pods is among the evidence.
pub fn pods_tell(run: &Run) -> Result<()> {
    let evidence = &decisive(run)?.evidence;
    let told = evidence.iter().any(|piece| piece.source == Source::Pod);
    ensure!(told, "no word of the operator's pod: {run:#?}");
    Ok(())
}
