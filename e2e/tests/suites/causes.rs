//! Faults of the configuration and of Kubernetes, injected for real, and the cause that each must be given.

mod default_connection;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE, Part};
use e2e::scenario::{Outcome, Probe, Prober, Scene, Suite, blames, eventually};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, PostParams};
use kube::core::ObjectMeta;
use quick_junit::{Report, TestCaseStatus};
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use vso_prober::model::cause::Cause;
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

/// Its trials.
pub(crate) fn suite() -> Suite {
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
        .trial("collector_paused", collector_paused)
        .trial("advice_is_in_every_output", advice)
        .trial("path_deleted_under_it", path_deleted)
        .trial("quota_forbids_secrets", quota)
        .trial("destination_is_taken", destination_taken)
        .trial("default_connection_missing", default_connection::missing)
        .trial("default_connection_dead", default_connection::dead)
        .trial("default_connection_invalid", default_connection::invalid)
        .trial("default_connection_well", default_connection::well)
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
    let create = |name: &str| Probe::hasty(name, &[Step::Create]);
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
            .limits("3s", "4s"),
        Probe::database("mount-missing")
            .auth("mount-missing")
            .target("mount", "nowhere")
            .steps(&[Step::Create])
            .limits("3s", "4s"),
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
    let names: Vec<_> = GIVEN.iter().map(|(name, _)| *name).collect();
    let arguments = |output| {
        [
            &["probe", "--parallel", "12", "-o", output, "--probe"],
            &names[..],
        ]
        .concat()
    };
    let (of_table, of_junit) = (arguments("table"), arguments("junit"));
    let (table, junit) = tokio::try_join!(table.run(&of_table), junit.run(&of_junit))?;
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
            told.contains(&format!("{cause} (responsible: {})", cause.party())),
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
    let folder = scene.kv_folder("default").await?;
    scene
        .lab()
        .vault()
        .delete(&format!("kvv2/metadata/{folder}/{name}"))
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
        .prober([Probe::hasty("quota", &[Step::Create])])
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
    // It is another's, and not for the prober to remove.
    let deleted = scene
        .secrets()
        .delete(&name, &DeleteParams::default())
        .await;
    deleted.context("the Secret that took the name is gone")?;
    blames(&run, Step::Create, Cause::DestinationConflict)
}

async fn collector_paused(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::ControllerManager).await?;
    let outcome = scene
        .prober([Probe::hasty("uncollected", &[Step::Create, Step::Delete])])
        .probe(&[])
        .await?
        .exits(1)?;
    // The prober removed the Secret itself.
    scene.is_clean().await?;
    blames(&outcome.only_run()?, Step::Delete, Cause::NotCollected)
}
