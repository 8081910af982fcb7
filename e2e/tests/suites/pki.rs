//! Certificates: created, replaced before their end or too late, one after the other in a storm, and refused.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, VaultLine};
use e2e::scenario::{Probe, Scene, Suite, blames, eventually, hashicorp, step};
use k8s_openapi::api::core::v1::Secret;
use kube::api::PostParams;
use kube::core::ObjectMeta;
use serde_json::{Value, json};
use vso_prober::model::cause::{Cause, Source};
use vso_prober::model::run::Run;
use vso_prober::model::{Kind, Step, Verdict};

/// Its trials.
pub(crate) fn suite() -> Suite {
    let mut suite = Suite::new("pki")
        .trial("one_is_created_and_deleted", created)
        .trial("written_otherwise_it_is_issued_twice", minimal)
        .trial("refusals_have_their_causes", refused)
        .trial("a_secret_that_can_not_be_written", unwritten)
        .trial("a_fixed_end_brings_a_storm", storm)
        .fault("a_wrong_secret_is_told", wrong)
        .fault("one_is_replaced_in_time", replaced)
        .fault("one_is_replaced_too_late", replaced_late)
        .fault("one_is_replaced_over_and_over", rewritten);
    if hashicorp() {
        suite = suite.trial("margins_are_those_of_the_offset", margins);
    }
    suite
}

const BOTH: [Step; 2] = [Step::Create, Step::Delete];
const ALL: [Step; 3] = [Step::Create, Step::Rotate, Step::Delete];

fn name(run: &Run) -> &str {
    run.canary.name.as_str()
}

fn went_well(run: &Run, steps: &[Step]) -> Result<()> {
    let taken: Vec<_> = run.steps.iter().map(|report| report.step).collect();
    ensure!(run.result == Verdict::Success && taken == steps, "{run:#?}");
    ensure!(
        run.kind == Kind::Pki && run.leftovers.is_empty(),
        "{run:#?}"
    );
    Ok(())
}

/// How many certificates the operator has asked for.
fn issued(scene: &Scene) -> Result<usize> {
    let issue = |line: &VaultLine| {
        line.kind == "response"
            && line.request.path == "pki/issue/probe"
            && line.auth.display_name == "kubernetes-vso-probe-probe"
    };
    Ok(scene.lab().vault_audit()?.into_iter().filter(issue).count())
}

async fn created(scene: &Scene) -> Result<()> {
    let recording = scene.record().await?;
    let before = issued(scene)?;
    let prober = scene.prober([Probe::pki("pki")]);
    let outcome = prober.probe(&["--count", "2"]).await?.exits(0)?;
    for run in outcome.runs()? {
        went_well(&run, &BOTH)?;
        ensure!(run.secret_writes == 1, "{run:#?}");
        let generation = recording.generation(name(&run));
        ensure!(generation == Some(1), "generation {generation:?}: {run:#?}");
    }
    let issued = issued(scene)? - before;
    ensure!(issued == 2, "two runs were issued {issued} certificates");
    Ok(())
}

async fn minimal(scene: &Scene) -> Result<()> {
    let recording = scene.record().await?;
    let before = issued(scene)?;
    let prober = scene.prober([Probe::pki("minimal").minimal()]);
    let run = prober.probe(&[]).await?.exits(0)?.only_run()?;
    went_well(&run, &BOTH)?;
    ensure!(recording.generation(name(&run)) == Some(2), "{run:#?}");
    let issued = issued(scene)? - before;
    ensure!(issued == 2, "{issued} certificates: {run:#?}");
    Ok(())
}

/// Gives up after four seconds: for what is meant to fail.
fn hasty(name: &str) -> Probe {
    Probe::pki(name).steps(&[Step::Create]).limits("3s", "4s")
}

async fn refused(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    let blind = json!({
        "bound_service_account_names": ["probe"], "bound_service_account_namespaces": [NAMESPACE],
        "audience": "vault", "token_policies": ["default"], "token_ttl": "1h",
    });
    vault.write("auth/kubernetes/role/blind", blind).await?;
    let narrow = json!({"allowed_domains": ["narrow.example"], "key_type": "ec", "key_bits": 256});
    vault.write("pki/roles/narrow", narrow).await?;
    for (name, role) in [("policy-denies", "blind"), ("login-refused", "absent")] {
        let spec = json!({"kubernetes": {"role": role}});
        scene.vault_auth(NAMESPACE, name, spec).await?;
    }
    let url = scene.lab().metrics_url().await;
    let prober = scene
        .prober([
            hasty("role-unknown").target("role", "absent"),
            hasty("name-refused").target("role", "narrow"),
            hasty("policy-denies").auth("policy-denies"),
            hasty("auth-missing").auth("absent"),
        ])
        .probe(&["--parallel", "4"])
        .await?
        .exits(1)?;
    for (probe, cause) in [
        ("role-unknown", Cause::VaultPathMissing),
        ("name-refused", Cause::VaultRejected),
        ("policy-denies", Cause::VaultDenied),
        ("auth-missing", Cause::AuthRefInvalid),
    ] {
        blames(&prober.run_of(probe)?, Step::Create, cause)?;
    }
    // Of a login that fails the operator leaves nothing on the resource: its metrics alone tell.
    let run = scene
        .prober([hasty("login-refused").auth("login-refused")])
        .edit(|config| config["operator"]["metrics"] = json!({"url": url}))
        .probe(&[])
        .await?
        .exits(1)?
        .only_run()?;
    blames(&run, Step::Create, Cause::LoginFailed)
}

async fn unwritten(scene: &Scene) -> Result<()> {
    let quota = json!({
        "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE},
        "spec": {"hard": {"secrets": "0"}},
    });
    scene.apply(quota.clone()).await?;
    let tried = Secret {
        metadata: ObjectMeta {
            name: Some("tried".into()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    };
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let secrets = scene.secrets();
    let refused = eventually("refusal", Duration::from_secs(20), async || {
        Ok(secrets.create(&dry, &tried).await.err())
    });
    refused.await?;
    let outcome = scene.prober([hasty("quota")]).probe(&[]).await;
    scene.remove(quota).await?;
    let run = outcome?.exits(1)?.only_run()?;
    blames(&run, Step::Create, Cause::SecretWriteDenied)
}

/// A fixed end three seconds off, five before which the next is issued: from then on one a second.
async fn storm(scene: &Scene) -> Result<()> {
    let probe = Probe::pki("storm")
        .target("ttl", Value::Null)
        .target("notAfter", "11s")
        .target("expiryOffset", "8s")
        .steps(&ALL)
        .limits("4s", "5s");
    let run = scene
        .prober([probe])
        .probe(&[])
        .await?
        .exits(1)?
        .only_run()?;
    blames(&run, Step::Rotate, Cause::Churn)?;
    tell(&step(&run, Step::Rotate)?.evidence[0].text);
    ensure!(run.secret_writes >= 4, "{run:#?}");
    Ok(())
}

async fn wrong(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"content": "wrong"})).await?;
    let run = scene.prober([hasty("wrong")]).probe(&[]).await?;
    let run = run.exits(1)?.only_run()?;
    blames(&run, Step::Create, Cause::WrongContent)?;
    let evidence = &step(&run, Step::Create)?.evidence[0];
    ensure!(
        evidence.source == Source::Status && evidence.text.contains("form"),
        "{run:#?}"
    );
    Ok(())
}

/// Certificates of a few seconds, as Vault issues them and OpenBao does if nothing is said of their end.
fn short(name: &str) -> Probe {
    Probe::pki(name)
        .target("notAfter", Value::Null)
        .target("ttl", "8s")
        .target("expiryOffset", "5s")
        .steps(&ALL)
}

fn margin(run: &Run) -> Result<f64> {
    let margin = step(run, Step::Rotate)?.margin_seconds;
    margin.with_context(|| format!("no margin: {run:#?}"))
}

async fn replaced(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"omitNotAfter": true})).await?;
    let run = scene.prober([short("short")]).probe(&[]).await?;
    let run = run.exits(0)?.only_run()?;
    went_well(&run, &ALL)?;
    // The offset, and a second: what is due within one is replaced at once.
    let margin = margin(&run)?;
    ensure!((0.0..=6.0).contains(&margin), "{run:#?}");
    Ok(())
}

async fn replaced_late(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"omitNotAfter": true})).await?;
    let run = scene
        .prober([short("late")])
        .start(&["probe", "-o", "json"])?;
    scene.secret("late").await?;
    let slow = json!({"omitNotAfter": true, "slow": {"at": "write", "seconds": 7}});
    scene.lab().faults(&slow).await?;
    let run = run.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Rotate, Cause::RotatedLate)?;
    ensure!(margin(&run)? < 0.0, "{run:#?}");
    let evidence = &step(&run, Step::Rotate)?.evidence;
    ensure!(evidence[0].text.contains("margin -"), "{run:#?}");
    Ok(())
}

async fn rewritten(scene: &Scene) -> Result<()> {
    let faults = json!({"omitNotAfter": true, "rewriteEvery": "2s"});
    scene.lab().faults(&faults).await?;
    let probe = short("rewritten").target("ttl", "1h");
    let run = scene.prober([probe]).probe(&[]).await?;
    blames(&run.exits(1)?.only_run()?, Step::Rotate, Cause::Churn)
}

/// With an offset of less than the operator's jitter certificates end before they are replaced; with more, none.
async fn margins(scene: &Scene) -> Result<()> {
    for (offset, all_in_time) in [("1s", false), ("10s", true)] {
        let probe = short("margins")
            .target("ttl", "60s")
            .target("expiryOffset", offset);
        let outcome = scene
            .prober([probe])
            .probe(&["--count", "12", "--parallel", "12"])
            .await?;
        let (mut late, mut named) = (0, 0);
        for run in outcome.runs()? {
            let margin = margin(&run)?;
            tell(&format!(
                "expiryOffset {offset}: margin {margin:.3} s, {}",
                run.result
            ));
            if margin < 0.0 {
                late += 1;
                // One that stood still for longer than that may have seen it late itself, and says so.
                if step(&run, Step::Rotate)?.cause != Some(Cause::ProberStarved) {
                    blames(&run, Step::Rotate, Cause::RotatedLate)?;
                    named += 1;
                }
            } else {
                went_well(&run, &ALL)?;
            }
        }
        tell(&format!(
            "expiryOffset {offset}: {late} of 12 too late, {named} named so"
        ));
        ensure!(
            (late == 0) == all_in_time && (named == 0) == all_in_time,
            "offset {offset}: {late} too late, {named} named so"
        );
    }
    Ok(())
}

#[expect(clippy::print_stderr, reason = "figures for whoever runs the tests")]
fn tell(text: &str) {
    eprintln!("{text}");
}
