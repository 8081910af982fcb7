//! A storm: the prober runs while a plan is carried out, then its blames are checked.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, Part};
use e2e::scenario::{Line, Outcome, Probe, Prober, Running, Scene, eventually};
use futures::future::join_all;
use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use vso_prober::model::cause::{Cause, Party};
use vso_prober::model::run::{Run, StepReport};
use vso_prober::model::{Step, Verdict};

use super::fault::Fault;
use super::others;
use super::plan::{Plan, Spell};

/// The VaultAuth, the role and the policy of these canaries: their own, so that they can be spoiled.
const AUTH: &str = "storm";
const POLICY: &str = "sys/policies/acl/storm";
/// Where Vault lists the leases.
const LEASES: &str = "sys/leases/";
/// How long each way takes over a long line to the API server.
const FAR: Duration = Duration::from_millis(60);
/// How long it may take until all that a storm left behind is gone.
const AFTERMATH: Duration = Duration::from_secs(90);

/// What a storm needs, and how it was before.
struct Storm<'a> {
    scene: &'a Scene,
    policy: Value,
    to_kubernetes: Line,
    to_vault: Line,
}

/// A fault that was there, by the wall clock.
struct Past {
    fault: Fault,
    from: Timestamp,
}

/// Has the plan of this number come true, and insists on what must hold whatever happens.
pub(crate) async fn weather(scene: &Scene, seed: u64) -> Result<()> {
    let plan = Plan::draw(seed, scene.real());
    let told = format!("CHAOS_SEED={seed}: {plan}");
    run(scene, &plan).await.context(told)
}

async fn run(scene: &Scene, plan: &Plan) -> Result<()> {
    let storm = Storm::begin(scene).await?;
    let prober = storm.prober()?;
    let running = prober.start(&["probe", "-o", "json", "--parallel", "2"])?;
    let pid = running.id();
    let (over, end) = watch::channel(());
    let spells = plan.0.iter();
    let spells = spells.map(|spell| storm.spell(spell, &running, end.clone()));
    let past = {
        let spells = join_all(spells);
        tokio::pin!(spells);
        // Whoever is frozen when the prober ends is let go at once; what has not begun by then stays away.
        tokio::select! {
            past = &mut spells => past,
            () = gone(pid) => {
                drop(over);
                spells.await
            }
        }
    };
    let past: Vec<_> = past.into_iter().collect::<Result<Vec<_>>>()?;
    let past: Vec<_> = past.into_iter().flatten().collect();
    let outcome = running.ended().await?;
    let judged = judge(&outcome, &past, scene.real()).with_context(|| outcome.to_string());
    let clean = storm.clear_up(plan).await;
    judged?;
    clean
}

/// Returns once there is no such process, or it waits to be asked how it ended.
async fn gone(pid: Option<u32>) {
    let Some(pid) = pid else { return };
    loop {
        let stat = tokio::fs::read_to_string(format!("/proc/{pid}/stat")).await;
        let lives = stat.is_ok_and(|stat| !stat.contains(") Z "));
        if !lives {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// Both runs came to a verdict, and each blames only those who had a fault before the step was over.
fn judge(outcome: &Outcome, past: &[Past], real: bool) -> Result<()> {
    let runs = outcome.runs()?;
    ensure!(runs.len() == 2, "{} runs, not 2", runs.len());
    for run in &runs {
        let Some(step) = run.decisive() else {
            ensure!(
                run.result == Verdict::Success,
                "no step tells why: {run:#?}"
            );
            continue;
        };
        let (cause, party) = (step.cause, step.party);
        let party = party.context("nobody is blamed")?;
        ensure!(!step.evidence.is_empty(), "no evidence");
        ensure!(run.result == party.verdict(), "another verdict than blame");
        let ended = end_of(run, step);
        let possible: Vec<Party> = past
            .iter()
            .filter(|past| past.from <= ended)
            .flat_map(|past| past.fault.parties(real))
            .copied()
            .collect();
        let run_of = &run.probe;
        // Locked out of Vault, the operator lets its resource go and the lease live: that is its own doing.
        let locked_out = past.iter().any(|past| past.fault.locks_out());
        let leaked = cause == Some(Cause::LeaseLeaked) && locked_out;
        ensure!(
            leaked || possible.contains(&party),
            "the innocent was blamed: {cause:?} of {party} in {} of {run_of}, where only {possible:?} could be: {:#?}",
            step.step,
            step.evidence
        );
    }
    let any = |verdict| runs.iter().any(|run: &Run| run.result == verdict);
    let code = match () {
        () if any(Verdict::Failure) => 1,
        () if any(Verdict::Unknown) => 3,
        () => 0,
    };
    ensure!(outcome.code == Some(code), "the exit code should be {code}");
    Ok(())
}

/// A step ends when the next begins: what comes after its proof, as the look at its lease, is part of it.
fn end_of(run: &Run, step: &StepReport) -> Timestamp {
    let later = run.steps.iter().map(|step| step.started);
    later
        .filter(|started| *started > step.started)
        .min()
        .unwrap_or(run.finished)
}

impl<'a> Storm<'a> {
    async fn begin(scene: &'a Scene) -> Result<Self> {
        let vault = scene.lab().vault();
        let policy = vault.read("sys/policies/acl/vso").await?["data"]["policy"].take();
        let role = json!({
            "bound_service_account_names": ["probe"], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": [AUTH], "token_ttl": "1h",
        });
        vault
            .write(&format!("auth/kubernetes/role/{AUTH}"), role)
            .await?;
        let storm = Self {
            scene,
            policy,
            to_kubernetes: Line::start(&scene.lab().api_server()?).await?,
            to_vault: Line::start(vault.address()).await?,
        };
        storm.give_policy().await?;
        storm.give_role(AUTH).await?;
        Ok(storm)
    }

    fn prober(&self) -> Result<Prober> {
        let all = Probe::kv2("static").auth(AUTH).limits("3s", "4s");
        let leases = Probe::database("dynamic").auth(AUTH).limits("3s", "4s");
        let line = self.to_kubernetes.address();
        let kubeconfig = self.scene.kubeconfig_by(&line)?;
        Ok(self
            .scene
            .prober([all, leases])
            .kubeconfig(&kubeconfig)
            .vault(&self.to_vault.address()))
    }

    /// Brings a fault about when it is time and takes it back; nothing if the end comes before.
    async fn spell(
        &self,
        spell: &Spell,
        running: &Running,
        mut end: watch::Receiver<()>,
    ) -> Result<Option<Past>> {
        let Spell { fault, from, until } = *spell;
        if timeout(from, end.changed()).await.is_ok() {
            return Ok(None);
        }
        let since = Timestamp::now();
        self.bring(fault, running)
            .await
            .with_context(|| format!("could not bring about {fault:?}"))?;
        let _ = timeout(until.saturating_sub(from), end.changed()).await;
        self.take_back(fault, running)
            .await
            .with_context(|| format!("could not take back {fault:?}"))?;
        Ok(Some(Past { fault, from: since }))
    }

    async fn bring(&self, fault: Fault, running: &Running) -> Result<()> {
        let lab = self.scene.lab();
        if let Some(misbehaviour) = fault.misbehaviour() {
            return lab.faults(&misbehaviour).await;
        }
        match fault {
            Fault::OperatorFrozen => lab.pause(Part::Operator).await,
            Fault::OperatorKilled => lab.kill_operator().await,
            Fault::VaultFrozen => lab.pause(Part::Vault).await,
            Fault::VaultSealed => lab.vault().seal().await,
            Fault::PolicyTaken => self.take_policy().await,
            Fault::RoleUnknown => self.give_role("absent").await,
            Fault::SecretsForbidden => self.scene.apply(quota()).await,
            Fault::CollectorFrozen => lab.pause(Part::ControllerManager).await,
            Fault::ApiServerFrozen => lab.pause(Part::ApiServer).await,
            Fault::ProberFrozen => {
                signal(running, Signal::STOP);
                Ok(())
            }
            Fault::ProberCutFromKubernetes => {
                self.to_kubernetes.cut();
                Ok(())
            }
            Fault::ProberCutFromVault => {
                self.to_vault.cut();
                Ok(())
            }
            Fault::ProberFarFromKubernetes => {
                self.to_kubernetes.stretch(FAR);
                Ok(())
            }
            Fault::ProbersTokensRevoked => others::revoke_tokens(self.scene).await,
            Fault::VaultLimitsRequests => others::limit(self.scene).await,
            Fault::OthersAnnotate => others::annotate(self.scene).await,
            Fault::OthersDeleteSecrets => others::delete(self.scene).await,
            Fault::OthersHoldSecrets => others::hold(self.scene, true).await,
            told => unreachable!("{told:?} is told to the stand-in"),
        }
    }

    async fn take_back(&self, fault: Fault, running: &Running) -> Result<()> {
        let lab = self.scene.lab();
        if fault.misbehaviour().is_some() {
            return lab.faults(&json!({})).await;
        }
        match fault {
            Fault::OperatorFrozen => lab.resume(Part::Operator).await,
            Fault::OperatorKilled => lab.start_operator().await,
            Fault::VaultFrozen => lab.resume(Part::Vault).await,
            Fault::VaultSealed => lab.vault().unseal().await,
            Fault::PolicyTaken => self.give_policy().await,
            Fault::RoleUnknown => self.give_role(AUTH).await,
            Fault::SecretsForbidden => self.scene.remove(quota()).await,
            Fault::CollectorFrozen => lab.resume(Part::ControllerManager).await,
            Fault::ApiServerFrozen => lab.resume(Part::ApiServer).await,
            Fault::ProberFrozen => {
                signal(running, Signal::CONT);
                Ok(())
            }
            Fault::ProberCutFromKubernetes => {
                self.to_kubernetes.mend();
                Ok(())
            }
            Fault::ProberCutFromVault => {
                self.to_vault.mend();
                Ok(())
            }
            Fault::ProberFarFromKubernetes => {
                self.to_kubernetes.stretch(Duration::ZERO);
                Ok(())
            }
            Fault::VaultLimitsRequests => others::unlimit(self.scene).await,
            Fault::OthersHoldSecrets => others::hold(self.scene, false).await,
            // What was done is done.
            Fault::ProbersTokensRevoked | Fault::OthersAnnotate | Fault::OthersDeleteSecrets => {
                Ok(())
            }
            told => unreachable!("{told:?} is told to the stand-in"),
        }
    }

    async fn give_role(&self, role: &str) -> Result<()> {
        let spec = json!({"kubernetes": {"role": role}});
        self.scene.vault_auth(NAMESPACE, AUTH, spec).await
    }

    async fn give_policy(&self) -> Result<()> {
        let policy = json!({"policy": self.policy});
        let vault = self.scene.lab().vault();
        vault.write(POLICY, policy).await.map(drop)
    }

    async fn take_policy(&self) -> Result<()> {
        let nothing = json!({"policy": "path \"nothing\" { capabilities = [\"read\"] }"});
        let vault = self.scene.lab().vault();
        vault.write(POLICY, nothing).await.map(drop)
    }

    /// Waits until the operator serves again, and until nothing is left of the storm.
    async fn clear_up(&self, plan: &Plan) -> Result<()> {
        let scene = self.scene;
        let lost = plan.0.iter().any(|spell| spell.fault.loses_leases());
        let prober = scene.prober([
            Probe::kv2("static").steps(&[Step::Create]),
            Probe::database("dynamic"),
        ]);
        let until = Instant::now() + AFTERMATH;
        let mut served = false;
        loop {
            prober.run(&["cleanup", "--all"]).await?;
            let left = scene.left_behind().await?;
            if left.is_empty() && served {
                return Ok(());
            }
            ensure!(
                Instant::now() < until || left.is_empty(),
                "left behind: {}",
                left.join(", ")
            );
            if left.is_empty() {
                // What it was about to do when the storm ended, it has done by then.
                eventually("operator that serves", AFTERMATH, async || {
                    Ok(scene.serves().await.ok())
                })
                .await?;
                served = true;
            } else if lost && left.iter().all(|what| what.starts_with(LEASES)) {
                let prefix = "sys/leases/revoke-prefix/database/creds";
                scene.lab().vault().write(prefix, json!({})).await?;
            }
        }
    }
}

/// Forbids Secrets, as a cluster's administrator might.
fn quota() -> Value {
    json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "storm", "namespace": NAMESPACE},
        "spec": {"hard": {"count/secrets": "0"}},
    })
}

/// Signals the prober, unless it has ended: then there is nothing to be frozen.
fn signal(running: &Running, signal: Signal) {
    let _ = running.signal(signal);
}
