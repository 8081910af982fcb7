//! Faults that are injected for real, and the cause that each must be given.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE, Part};
use e2e::scenario::{Outcome, Probe, Prober, Scene, Suite, decisive, eventually, step};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use kube::core::ObjectMeta;
use quick_junit::{Report, TestCaseStatus};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use vso_prober::model::cause::{Cause, Party, Source};
use vso_prober::model::run::Run;
use vso_prober::model::{Kind, Step, Verdict};

/// A fault in what the operator was given, which needs no one's misbehaviour: all of them are tried at once.
const GIVEN: [(&str, Cause); 11] = [
    ("auth-missing", Cause::AuthRefInvalid),
    ("auth-closed", Cause::AuthRefInvalid),
    ("connection-missing", Cause::AuthRefInvalid),
    ("role-unknown", Cause::LoginFailed),
    ("audience-wrong", Cause::LoginFailed),
    ("account-missing", Cause::LoginFailed),
    ("policy-denies", Cause::VaultDenied),
    ("path-missing", Cause::VaultPathMissing),
    ("mount-missing", Cause::VaultPathMissing),
    ("connection-dead", Cause::VaultUnreachable),
    ("admission-denies", Cause::SecretWriteDenied),
];

fn main() -> ExitCode {
    let batch: Arc<OnceCell<Outcome>> = Arc::default();
    let mut suite = Suite::new("causes");
    for (name, cause) in GIVEN {
        let batch = batch.clone();
        suite = suite.trial(&name.replace('-', "_"), async move |scene| {
            let outcome = batch.get_or_try_init(|| given(scene)).await?;
            let run = outcome.run_of(name)?;
            ensure!(run.leftovers.is_empty(), "{run:#?}");
            blames(&run, Step::Create, cause)
        });
    }
    suite
        .trial("the_given_faults_touch_no_other", async move |scene| {
            let outcome = batch.get_or_try_init(|| given(scene)).await?;
            let run = outcome.run_of("healthy")?;
            ensure!(run.result == Verdict::Success, "{run:#?}");
            Ok(())
        })
        .trial("advice_is_in_every_output", advice)
        .trial("path_deleted_under_it", path_deleted)
        .trial("quota_forbids_secrets", quota)
        .trial("destination_is_taken", destination_taken)
        .trial("operator_frozen", operator_frozen)
        .trial("operator_killed", operator_killed)
        .trial("operator_killed_in_mid_run", operator_killed_midway)
        .trial("collector_paused", collector_paused)
        .trial("vault_sealed_from_the_start", sealed_from_the_start)
        .trial("vault_sealed_in_mid_run", sealed_midway)
        .trial("vault_gone_for_both_from_the_start", gone_from_the_start)
        .trial("vault_gone_for_both_in_mid_run", gone_midway)
        .trial("slow_revocation_is_no_leak", slow_revocation)
        .fault("operator_hangs", operator_hangs)
        .fault("operator_writes_old_content", old_content)
        .fault("operator_writes_wrong_content", wrong_content)
        .fault("operator_ignores_one_resource", ignored)
        .fault("operator_keeps_its_finalizer", finalizer)
        .fault("operator_leaks_leases", leases)
        .fault("operator_is_slow", slow)
        .run()
}

/// Insists that a step was blamed on this cause, on some evidence, and that it decided the run.
fn blames(run: &Run, at: Step, cause: Cause) -> Result<()> {
    let report = decisive(run)?;
    ensure!(
        report.step == at,
        "`{}` and not `{at}` failed: {run:#?}",
        report.step
    );
    ensure!(report.cause == Some(cause), "expected `{cause}`: {run:#?}");
    ensure!(report.party == Some(cause.party()), "{run:#?}");
    ensure!(
        run.result == cause.party().verdict() && report.result == run.result,
        "{run:#?}"
    );
    ensure!(!report.good && !report.evidence.is_empty(), "{run:#?}");
    ensure!(
        report
            .evidence
            .iter()
            .all(|piece| !piece.text.trim().is_empty()),
        "{run:#?}"
    );
    Ok(())
}

/// A probe of these steps that is given up soon.
fn hasty(name: &str, steps: &[Step]) -> Probe {
    Probe::kv2(name).steps(steps).impatient()
}

/// The batch of probes that each meet another fault, and one that meets none.
async fn batch(scene: &Scene, instance: &str) -> Result<Prober> {
    for (name, spec) in [
        (
            "connection-missing",
            json!({"vaultConnectionRef": "absent"}),
        ),
        ("role-unknown", json!({"kubernetes": {"role": "absent"}})),
        (
            "audience-wrong",
            json!({"kubernetes": {"audiences": ["nobody"]}}),
        ),
        (
            "account-missing",
            json!({"kubernetes": {"serviceAccount": "absent"}}),
        ),
        ("policy-denies", json!({"kubernetes": {"role": "blind"}})),
        ("mount-missing", json!({"kubernetes": {"role": "wide"}})),
        ("connection-dead", json!({"vaultConnectionRef": "dead"})),
    ] {
        scene.vault_auth(NAMESPACE, name, spec).await?;
    }
    scene
        .vault_auth(
            OPERATOR_NAMESPACE,
            "closed",
            json!({"allowedNamespaces": ["elsewhere"]}),
        )
        .await?;
    scene
        .apply(json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultConnection",
            "metadata": {"name": "dead", "namespace": NAMESPACE}, "spec": {"address": "http://127.0.0.1:9"},
        }))
        .await?;
    let vault = scene.lab().vault();
    vault
        .write(
            "sys/policies/acl/wide",
            json!({"policy": "path \"*\" { capabilities = [\"read\"] }"}),
        )
        .await?;
    for (role, policy) in [("blind", "default"), ("wide", "wide")] {
        let role_of = json!({
            "bound_service_account_names": ["probe"], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": [policy], "token_ttl": "1h",
        });
        vault
            .write(&format!("auth/kubernetes/role/{role}"), role_of)
            .await?;
    }
    let create = |name: &str| hasty(name, &[Step::Create]);
    let probes = [
        create("auth-missing").auth("absent"),
        create("auth-closed").auth(&format!("{OPERATOR_NAMESPACE}/closed")),
        create("connection-missing").auth("connection-missing"),
        create("role-unknown").auth("role-unknown"),
        create("audience-wrong").auth("audience-wrong"),
        create("account-missing").auth("account-missing"),
        create("policy-denies").auth("policy-denies"),
        Probe::database("path-missing")
            .target("path", "creds/absent")
            .steps(&[Step::Create])
            .impatient(),
        Probe::database("mount-missing")
            .auth("mount-missing")
            .target("mount", "nowhere")
            .steps(&[Step::Create])
            .impatient(),
        // Vault's own client tries thrice before it gives up.
        create("connection-dead")
            .auth("connection-dead")
            .limits("7s", "8s"),
        create("admission-denies"),
        Probe::kv2("healthy").steps(&[Step::Create, Step::Update, Step::Delete]),
    ];
    Ok(scene.prober(probes).instance(instance))
}

/// Denies the Secrets of one probe, as a cluster's policy might.
fn policy() -> [Value; 2] {
    let name = json!({"name": "scenario"});
    let rule = json!({"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["secrets"]});
    [
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": name,
            "spec": {
                "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
                "validations": [{
                    "expression": "!has(object.metadata.labels) || !('vso-prober/probe' in object.metadata.labels) || object.metadata.labels['vso-prober/probe'] != 'admission-denies'",
                    "message": "this Secret is not wanted",
                }],
            },
        }),
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding", "metadata": name,
            "spec": {"policyName": "scenario", "validationActions": ["Deny"]},
        }),
    ]
}

/// Waits until Secrets of this probe can't be created.
async fn forbidden(scene: &Scene, probe: &str) -> Result<()> {
    let secret = Secret {
        metadata: ObjectMeta {
            name: Some("tried".into()),
            labels: Some([("vso-prober/probe".to_owned(), probe.to_owned())].into()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    };
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let secrets = scene.secrets();
    eventually("refusal of Secrets", Duration::from_secs(20), async || {
        Ok(match secrets.create(&dry, &secret).await {
            Err(kube::Error::Api(status)) if status.code == 403 || status.code == 422 => Some(()),
            Err(error) => return Err(error.into()),
            Ok(_) => None,
        })
    })
    .await
}

async fn given(scene: &Scene) -> Result<Outcome> {
    for object in policy() {
        scene.apply(object).await?;
    }
    forbidden(scene, "admission-denies").await?;
    batch(scene, "default")
        .await?
        .probe(&["--parallel", "12"])
        .await?
        .exits(1)
}

async fn advice(scene: &Scene) -> Result<()> {
    for object in policy() {
        scene.apply(object).await?;
    }
    forbidden(scene, "admission-denies").await?;
    let (table, junit) = (batch(scene, "table").await?, batch(scene, "junit").await?);
    let (table, junit) = tokio::try_join!(
        table.run(&["probe", "-o", "table", "--parallel", "12"]),
        junit.run(&["probe", "-o", "junit", "--parallel", "12"]),
    )?;
    let (table, junit) = (table.exits(1)?, junit.exits(1)?);
    for object in policy() {
        scene.remove(object).await?;
    }
    let report = Report::deserialize_from_str(&junit.stdout).with_context(|| junit.to_string())?;
    for (name, cause) in GIVEN {
        let told = format!("{name} create of {NAMESPACE}/vsop-{name}-");
        let told = table
            .stdout
            .split(&told)
            .nth(1)
            .with_context(|| format!("nothing of `{name}`: {table}"))?;
        let told = told.split("\n\n").next().unwrap_or_default();
        ensure!(
            told.contains(&format!("{cause} (concerns: {})", cause.party())),
            "{name}: {table}"
        );
        ensure!(
            told.contains(&format!("→ {}", cause.advice())),
            "{name}: {table}"
        );
        let suite = report
            .test_suites
            .iter()
            .find(|suite| suite.name.as_str() == name);
        let case = suite
            .and_then(|suite| suite.test_cases.first())
            .with_context(|| junit.to_string())?;
        let TestCaseStatus::NonSuccess {
            ty, description, ..
        } = &case.status
        else {
            anyhow::bail!("`{name}` is no failure: {junit}");
        };
        ensure!(ty.as_deref() == Some(cause.as_str()), "{name}: {junit}");
        let told = description.as_deref().unwrap_or_default();
        ensure!(
            told.lines().count() >= 2 && told.contains(cause.advice()),
            "{name}: {junit}"
        );
    }
    Ok(())
}

async fn path_deleted(scene: &Scene) -> Result<()> {
    // Between the creation and the poll, which comes after four seconds at the earliest.
    let probe = Probe::kv2("deleted")
        .target("refreshAfter", "5s")
        .steps(&[Step::Create, Step::Tamper])
        .limits("3s", "6s");
    let running = scene.prober([probe]).start(&["probe", "-o", "json"])?;
    let name = scene.secret("deleted").await?.name_any();
    scene
        .lab()
        .vault()
        .delete(&format!("kvv2/metadata/vso-prober/default/{name}"))
        .await?;
    let run = running.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Tamper, Cause::VaultPathMissing)
}

async fn quota(scene: &Scene) -> Result<()> {
    let quota = || {
        json!({
            "apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none", "namespace": NAMESPACE},
            "spec": {"hard": {"count/secrets": "0"}},
        })
    };
    scene.apply(quota()).await?;
    forbidden(scene, "quota").await?;
    let outcome = scene
        .prober([hasty("quota", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    scene.remove(quota()).await?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::SecretWriteDenied)?;
    ensure!(
        run.steps[0]
            .evidence
            .iter()
            .any(|piece| piece.text.contains("exceeded quota")),
        "{run:#?}"
    );
    Ok(())
}

async fn destination_taken(scene: &Scene) -> Result<()> {
    // The name is the canary's own: only while the operator stands still can it be taken.
    scene.lab().pause(Part::Operator).await?;
    let probe = Probe::kv2("taken")
        .steps(&[Step::Create])
        .limits("7s", "8s");
    let running = scene.prober([probe]).start(&["probe", "-o", "json"])?;
    let name = scene.canary(Kind::Static, "taken").await?.name_any();
    let squatter = Secret {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    };
    scene
        .secrets()
        .create(&PostParams::default(), &squatter)
        .await?;
    scene.lab().resume(Part::Operator).await?;
    let run = running.ended().await?.exits(1)?.only_run()?;
    let _ = scene
        .secrets()
        .delete(&name, &DeleteParams::default())
        .await;
    blames(&run, Step::Create, Cause::DestinationConflict)
}

/// Insists that the operator's pods speak against it.
fn pods_tell(run: &Run) -> Result<()> {
    let told = decisive(run)?
        .evidence
        .iter()
        .any(|piece| piece.source == Source::Pod);
    ensure!(told, "no word of the operator's pod: {run:#?}");
    Ok(())
}

/// Insists that the operator serves again.
async fn serves(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("again")
        .steps(&[Step::Create, Step::Delete])
        .limits("25s", "26s");
    scene.prober([probe]).probe(&[]).await?.exits(0).map(drop)
}

async fn operator_frozen(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::Operator).await?;
    let outcome = scene
        .prober([hasty("frozen", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    scene.lab().resume(Part::Operator).await?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::OperatorDown)?;
    pods_tell(&run)?;
    serves(scene).await
}

async fn operator_killed(scene: &Scene) -> Result<()> {
    scene.lab().kill_operator().await?;
    let outcome = scene
        .prober([hasty("killed", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    scene.lab().start_operator().await?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::OperatorDown)?;
    pods_tell(&run)?;
    serves(scene).await
}

async fn operator_killed_midway(scene: &Scene) -> Result<()> {
    let probe = Probe::kv2("midway")
        .target("refreshAfter", "5s")
        .steps(&[Step::Create, Step::Update])
        .limits("1s", "2s");
    let prober = scene.prober([probe]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("midway").await?;
    let api = scene.resources(Kind::Static);
    eventually("finalizer", Duration::from_secs(10), async || {
        let canaries = api.list(&Default::default()).await?;
        Ok(canaries
            .iter()
            .any(|canary| !canary.finalizers().is_empty())
            .then_some(()))
    })
    .await?;
    scene.lab().kill_operator().await?;
    let run = running.ended().await?.exits(1)?.only_run()?;
    blames(&run, Step::Update, Cause::OperatorDown)?;
    // Without the operator its finalizer holds the resource, which is said and not hidden.
    ensure!(
        run.leftovers
            .iter()
            .any(|left| left.contains("VaultStaticSecret")),
        "{run:#?}"
    );
    scene.lab().start_operator().await?;
    eventually("end of the canary", Duration::from_secs(20), async || {
        Ok(api
            .list(&Default::default())
            .await?
            .items
            .is_empty()
            .then_some(()))
    })
    .await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn collector_paused(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::ControllerManager).await?;
    let outcome = scene
        .prober([hasty("uncollected", &[Step::Create, Step::Delete])])
        .probe(&[])
        .await?
        .exits(1)?;
    // The prober removed the Secret itself.
    scene.is_clean().await?;
    blames(&outcome.only_run()?, Step::Delete, Cause::NotCollected)
}

async fn sealed_from_the_start(scene: &Scene) -> Result<()> {
    let vault = scene.lab().vault();
    vault.seal().await?;
    let outcome = scene
        .prober([hasty("sealed", &[Step::Create])])
        .probe(&[])
        .await?;
    vault.unseal().await?;
    let run = outcome.exits(1)?.only_run()?;
    blames(&run, Step::Create, Cause::VaultSealed)?;
    serves(scene).await
}

/// A run whose step `tamper`, which needs nothing of Vault from the prober, starts four seconds at
/// least before the operator reads Vault again.
fn patient(name: &str) -> Probe {
    Probe::kv2(name)
        .target("refreshAfter", "5s")
        .steps(&[Step::Create, Step::Tamper])
        .limits("3s", "4s")
}

async fn sealed_midway(scene: &Scene) -> Result<()> {
    let prober = scene.prober([patient("sealed")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("sealed").await?;
    scene.lab().vault().seal().await?;
    let outcome = running.ended().await?;
    scene.lab().vault().unseal().await?;
    let run = outcome.exits(1)?.only_run()?;
    blames(&run, Step::Tamper, Cause::VaultSealed)?;
    // What is in Vault can't be removed from a sealed one, which is said and not hidden.
    ensure!(
        run.leftovers.iter().any(|left| left.starts_with("Vault ")),
        "{run:#?}"
    );
    prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    serves(scene).await
}

async fn gone_from_the_start(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::Vault).await?;
    let outcome = scene
        .prober([hasty("gone", &[Step::Create])])
        .probe(&[])
        .await?;
    scene.lab().resume(Part::Vault).await?;
    let outcome = outcome.exits(3)?;
    ensure!(outcome.took < Duration::from_secs(30), "{outcome}");
    blames(
        &outcome.only_run()?,
        Step::Create,
        Cause::ProberVaultUnreachable,
    )
}

async fn gone_midway(scene: &Scene) -> Result<()> {
    let prober = scene.prober([patient("gone")]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("gone").await?;
    scene.lab().pause(Part::Vault).await?;
    let outcome = running.ended().await?;
    scene.lab().resume(Part::Vault).await?;
    let run = outcome.only_run()?;
    // The operator may or may not have had the time to say so itself; it is never its own fault.
    let cause = decisive(&run)?.cause;
    if cause == Some(Cause::VaultUnreachable) {
        blames(&run, Step::Tamper, Cause::VaultUnreachable)?;
    } else {
        blames(&run, Step::Tamper, Cause::ProberVaultUnreachable)?;
        outcome.exits(3)?;
    }
    prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    serves(scene).await
}

async fn slow_revocation(scene: &Scene) -> Result<()> {
    // Vault takes the operator's word that the lease is to end, and ends it when the database lets it.
    let probe = Probe::database("slowly").steps(&[Step::Create, Step::Delete]);
    let running = scene.prober([probe]).start(&["probe", "-o", "json"])?;
    scene.secret("slowly").await?;
    scene.lab().pause(Part::Postgres).await?;
    let ended = running.ended();
    let resumed = async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        scene.lab().resume(Part::Postgres).await
    };
    let (outcome, ()) = tokio::try_join!(ended, resumed)?;
    let run = outcome.only_run()?;
    ensure!(run.leases.leaked == 0, "{run:#?}");
    Ok(())
}

async fn operator_hangs(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"hang": true})).await?;
    let outcome = scene
        .prober([hasty("hanging", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::OperatorStalled)?;
    pods_tell(&run)
}

async fn old_content(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"content": "old"})).await?;
    let outcome = scene
        .prober([hasty("old", &[Step::Create, Step::Update])])
        .probe(&[])
        .await?
        .exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Update, Cause::StaleContent)?;
    // Given up counts with the time until then.
    let report = step(&run, Step::Update)?;
    ensure!(
        report.lateness_seconds.is_some_and(|late| late >= 3.9),
        "{run:#?}"
    );
    Ok(())
}

async fn wrong_content(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"content": "wrong"})).await?;
    let outcome = scene
        .prober([hasty("wrong", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::WrongContent)?;
    ensure!(
        run.steps[0].evidence[0].text.contains("`nonce`"),
        "{run:#?}"
    );
    Ok(())
}

async fn ignored(scene: &Scene) -> Result<()> {
    scene
        .lab()
        .faults(&json!({"ignore": ["vsop-ignored-"]}))
        .await?;
    let served =
        Probe::kv2("served").steps(&[Step::Create, Step::Update, Step::Tamper, Step::Delete]);
    let probes = [hasty("ignored", &[Step::Create]), served];
    let outcome = scene
        .prober(probes)
        .probe(&["--parallel", "2"])
        .await?
        .exits(1)?;
    blames(
        &outcome.run_of("ignored")?,
        Step::Create,
        Cause::ResourceIgnored,
    )?;
    let served = outcome.run_of("served")?;
    ensure!(served.result == Verdict::Success, "{served:#?}");
    Ok(())
}

async fn finalizer(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"stickFinalizer": true})).await?;
    let prober = scene.prober([hasty("stuck", &[Step::Create, Step::Delete])]);
    let outcome = prober.probe(&[]).await?.exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Delete, Cause::FinalizerStuck)?;
    ensure!(
        run.leftovers
            .iter()
            .any(|left| left.contains("VaultStaticSecret")),
        "{run:#?}"
    );
    let text = "the operator's finalizer";
    ensure!(
        run.steps[1]
            .evidence
            .iter()
            .any(|piece| piece.text.contains(text)),
        "{run:#?}"
    );
    scene.lab().faults(&json!({})).await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn leases(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"leakLeases": true})).await?;
    let probe = Probe::database("leaking").limits("5s", "6s");
    let outcome = scene.prober([probe]).probe(&[]).await?.exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Delete, Cause::LeaseLeaked)?;
    let leases = run.leases;
    ensure!(
        (leases.issued, leases.revoked, leases.leaked) == (1, 0, 1),
        "{run:#?}"
    );
    Ok(())
}

async fn slow(scene: &Scene) -> Result<()> {
    scene
        .lab()
        .faults(&json!({"slow": {"at": "write", "seconds": 1.5}}))
        .await?;
    let probe = Probe::kv2("slow")
        .steps(&[Step::Create, Step::Delete])
        .limits("1s", "8s");
    let outcome = scene.prober([probe]).probe(&[]).await?.exits(1)?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::TooSlow)?;
    ensure!(step(&run, Step::Create)?.latency_seconds >= 1.5, "{run:#?}");
    ensure!(
        Cause::TooSlow.party() == Party::Operator && run.steps.len() == 2,
        "{run:#?}"
    );
    Ok(())
}
