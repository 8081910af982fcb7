//! The attribution of quiet runs, beside the audit logs of the API server and of Vault.

use std::env;
use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use e2e::lab::{KubeRequest, VaultLine};
use e2e::scenario::{Probe, Scene};
use jiff::{SignedDuration, Timestamp};
use vso_prober::model::run::{Attribution, Run, StepReport};
use vso_prober::model::{Stage, Step};

use super::{measured, told, went_well};

/// How far a stage may be from the truth, in seconds, where the machine is at rest: `make bench-attribution`
/// insists on it, for this share of all, and for the median of each stage of a step on twice as much.
const NEAR: f64 = 0.005;
const SHARE: f64 = 0.7;
/// Elsewhere a busy machine makes everything slower, so that a stage may be off by this share of what its step
/// took, if that is more.
const OF_LATENCY: f64 = 0.3;
/// What asks for [`NEAR`] whatever the step took.
const AT_REST: &str = "ATTRIBUTION_AT_REST";

/// Fifty runs of the steps that the operator answers at once.
pub(super) async fn quick_steps(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("quick").steps(&[Step::Create, Step::Recreate, Step::Delete]);
    compare(scene, probe, 50).await
}

/// Every step of a static canary.
pub(super) async fn every_step(scene: &Scene) -> Result<()> {
    compare(scene, Probe::kv2("every"), 8).await
}

/// The steps of a dynamic canary.
pub(super) async fn credentials(scene: &Scene) -> Result<()> {
    compare(scene, Probe::database("credential"), 15).await
}

/// What Vault calls the operator, by the `ServiceAccount` that it logs in with.
const OPERATOR: &str = "kubernetes-vso-probe-probe";

/// Runs a probe, and lays its stages beside the logs.
async fn compare(scene: &Scene, probe: Probe, count: usize) -> Result<()> {
    let prober = measured(scene, [probe]).await;
    // The first of all makes the operator log in.
    prober.probe(&[]).await?.exits(0)?;
    let outcome = prober
        .probe(&["--count", &count.to_string()])
        .await?
        .exits(0)?;
    let runs = outcome.runs()?;
    ensure!(runs.len() == count, "{outcome}");
    let log = Log {
        kube: scene.lab().kube_audit()?,
        vault: scene.lab().vault_audit()?,
    };
    let at_rest = env::var_os(AT_REST).is_some();
    let mut errors: Vec<Off> = Vec::new();
    let mut shared = 0;
    for run in &runs {
        went_well(run)?;
        log.reads(run)?;
        for report in &run.steps {
            // Where watches fall behind, several reconciles look like one: then the prober takes the others for somebody else's.
            if !at_rest && report.attribution == Attribution::Shared {
                shared += 1;
                continue;
            }
            told(report, Attribution::Exact, None)?;
            let truth = log.truth(run, report)?;
            let claim = |stage| report.stages.get(&stage).copied().unwrap_or_default();
            let before = claim(Stage::Wait) + claim(Stage::Queue);
            for (name, claimed, true_one) in [
                ("submit", claim(Stage::Submit), truth.submit),
                ("wait+queue", before, truth.before),
                ("reconcile", claim(Stage::Reconcile), truth.reconcile),
                ("deliver", claim(Stage::Deliver), truth.deliver),
            ] {
                let share = if at_rest { 0.0 } else { OF_LATENCY };
                errors.push(Off {
                    step: report.step,
                    stage: name,
                    seconds: (claimed - true_one).abs(),
                    near: NEAR.max(share * report.latency_seconds),
                });
            }
        }
    }
    let steps: usize = runs.iter().map(|run| run.steps.len()).sum();
    ensure!(
        shared * 10 <= steps,
        "{shared} of {steps} steps were taken to be shared with others: {outcome}"
    );
    judge(&errors, runs.len())
}

/// By how much a stage is off.
struct Off {
    step: Step,
    stage: &'static str,
    seconds: f64,
    /// Up to where that is near.
    near: f64,
}

/// Prints how far the stages are from the truth, and insists that they are near.
fn judge(errors: &[Off], runs: usize) -> Result<()> {
    let mut table = format!("{runs} runs; by how much a stage is off:\n");
    let mut far = Vec::new();
    let mut groups: Vec<(Step, &str)> = errors.iter().map(|off| (off.step, off.stage)).collect();
    groups.sort_unstable();
    groups.dedup();
    for (step, stage) in groups {
        let of = errors
            .iter()
            .filter(|error| (error.step, error.stage) == (step, stage));
        let mut off: Vec<&Off> = of.collect();
        off.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
        let near = off.iter().filter(|off| off.seconds <= NEAR).count();
        let ms = |share: f64| off[rank(off.len(), share)].seconds * 1e3;
        let _ = writeln!(
            table,
            "  {:<9}{stage:<12}p50 {:>6.2} ms   p90 {:>6.2} ms   max {:>6.2} ms   within 5 ms {near}/{}",
            step.as_str(),
            ms(0.5),
            ms(0.9),
            ms(1.0),
            off.len()
        );
        let median = off[rank(off.len(), 0.5)];
        if median.seconds > 2.0 * median.near {
            far.push(format!("{step} {stage}"));
        }
    }
    #[expect(clippy::print_stdout, reason = "figures for whoever runs the tests")]
    {
        println!("{table}");
    }
    let near = errors.iter().filter(|off| off.seconds <= off.near).count();
    ensure!(
        near > rank(errors.len(), SHARE),
        "too few are near the truth: {near} of {}\n{table}",
        errors.len()
    );
    ensure!(
        far.is_empty(),
        "too far from the truth: {}\n{table}",
        far.join(", ")
    );
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among some dozens"
)]
fn rank(count: usize, share: f64) -> usize {
    ((count as f64 * share).ceil() as usize).clamp(1, count) - 1
}

/// Both audit logs.
struct Log {
    kube: Vec<KubeRequest>,
    vault: Vec<VaultLine>,
}

/// Where a step's time went, in seconds.
struct Truth {
    submit: f64,
    before: f64,
    reconcile: f64,
    deliver: f64,
}

impl Log {
    fn truth(&self, run: &Run, report: &StepReport) -> Result<Truth> {
        let canary = run.canary.name.as_str();
        let started = report.started;
        let proof = started + SignedDuration::try_from_secs_f64(report.latency_seconds)?;
        let asked: Vec<&KubeRequest> = self
            .kube
            .iter()
            .filter(|request| request.object_ref.name == canary)
            .filter(|request| request.stage == "ResponseComplete")
            .collect();
        let by = |request: &KubeRequest, who: &str| request.user.username.contains(who);
        let operator = |request: &&&KubeRequest| by(request, "vault-secrets-operator");
        let (submitted_from, submitted) = if report.step == Step::Update {
            self.vault_write(canary, started)
        } else {
            let mut own = asked.iter().filter(|request| by(request, "vso-prober"));
            own.find(|request| request.request_received_timestamp >= started)
                .map(|request| (request.request_received_timestamp, request.stage_timestamp))
        }
        .with_context(|| format!("the audit logs have no stimulus of {report:#?}"))?;
        // What the operator wrote last before the proof; the log may be a little late, and later where the machine is busy.
        let slack = SignedDuration::from_millis(20);
        let own = |request: &&&KubeRequest| match report.step {
            Step::Delete => request.verb == "update" && request.object_ref.subresource.is_empty(),
            _ => request.object_ref.resource == "secrets" && request.verb != "get",
        };
        let before = |request: &&&KubeRequest| {
            request.request_received_timestamp >= submitted_from
                && request.request_received_timestamp <= proof
        };
        let written = || asked.iter().filter(operator).filter(own).filter(before);
        let written = written()
            .rfind(|request| request.stage_timestamp <= proof + slack)
            .or_else(|| written().next_back())
            .with_context(|| format!("the audit log has no write for {report:#?}"))?;
        let written_at = written.stage_timestamp.min(proof);
        // The reconcile begins with its first request after the one before has ended.
        let ended_before = asked
            .iter()
            .filter(operator)
            .filter(|request| {
                request.object_ref.subresource == "status" || request.verb == "update"
            })
            .filter(|request| request.object_ref.resource != "secrets")
            .map(|request| request.stage_timestamp)
            .filter(|ended| *ended < written.request_received_timestamp)
            .max()
            .unwrap_or(submitted_from)
            .max(submitted_from);
        let first = asked
            .iter()
            .filter(operator)
            .map(|request| request.request_received_timestamp)
            .chain(self.read_by_operator(canary))
            .filter(|at| *at > ended_before)
            .min()
            .unwrap_or(written.request_received_timestamp);
        let submitted = submitted.min(proof);
        let begun = first.max(submitted);
        let seconds =
            |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs_f64().max(0.0);
        Ok(Truth {
            submit: seconds(started, submitted),
            before: seconds(submitted, begun),
            reconcile: seconds(begun, written_at),
            deliver: seconds(written_at, proof),
        })
    }

    /// Insists that the operator's metrics and Vault's log agree on how often a canary's secret was read.
    fn reads(&self, run: &Run) -> Result<()> {
        let canary = run.canary.name.as_str();
        let read = |line: &&VaultLine| {
            line.kind == "response"
                && line.request.operation == "read"
                && line.request.path.ends_with(canary)
                // The prober reads it too, to see that it is gone.
                && line.auth.display_name == OPERATOR
        };
        let truth = self.vault.iter().filter(read).count();
        let deltas = run.steps.iter().filter_map(|report| report.operator);
        let told: f64 = deltas.map(|delta| delta.vault_reads).sum();
        ensure!(
            truth == 0 || (told - f64::from(u32::try_from(truth)?)).abs() < 0.5,
            "{told} reads told, {truth} in Vault's log: {run:#?}"
        );
        Ok(())
    }

    /// When the operator asked Vault for a canary's secret.
    fn read_by_operator<'a>(&'a self, canary: &'a str) -> impl Iterator<Item = Timestamp> + 'a {
        let own = move |line: &&VaultLine| {
            // A lease has no name of the canary's.
            let path = &line.request.path;
            line.auth.display_name == OPERATOR
                && (path.ends_with(canary) || !path.starts_with("kv"))
        };
        self.vault.iter().filter(own).map(|line| line.time)
    }

    /// When the prober's write of a canary's secret began and ended in Vault.
    fn vault_write(&self, canary: &str, after: Timestamp) -> Option<(Timestamp, Timestamp)> {
        let lines = || {
            self.vault.iter().filter(|line| {
                line.time >= after
                    && line.request.path.ends_with(canary)
                    && line.request.operation != "read"
            })
        };
        let from = lines().find(|line| line.kind == "request")?.time;
        let to = lines().find(|line| line.kind == "response")?.time;
        Some((from, to))
    }
}
