//! An operator that is down, stands still, or misbehaves, and the cause that each must be given.

use std::time::Duration;

use anyhow::{Result, ensure};
use e2e::lab::{OPERATOR_NAMESPACE, Part};
use e2e::scenario::{Probe, Scene, Suite, blames, eventually, pods_tell, step};
use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use kube::ResourceExt;
use kube::api::{Api, ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use vso_prober::model::cause::Cause;
use vso_prober::model::{Kind, Step, Verdict};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("operator_faults")
        .trial("frozen", operator_frozen)
        .trial("without_rights_to_its_resources", without_rights)
        .trial("killed", operator_killed)
        .trial("killed_in_mid_run", operator_killed_midway)
        .fault("hangs", operator_hangs)
        .fault("writes_old_content", old_content)
        .fault("writes_wrong_content", wrong_content)
        .fault("ignores_one_resource", ignored)
        .fault("keeps_its_finalizer", finalizer)
        .fault("leaks_leases", leases)
        .fault("is_slow", slow)
}

async fn operator_frozen(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::Operator).await?;
    let outcome = scene
        .prober([Probe::hasty("frozen", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    scene.lab().resume(Part::Operator).await?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::OperatorDown)?;
    pods_tell(&run)?;
    scene.serves().await
}

/// Started with a `ClusterRole` that says nothing of its own resources, the operator serves nobody. The real one calls
/// itself ready all the same, the stand-in does not.
async fn without_rights(scene: &Scene) -> Result<()> {
    let group = "secrets.hashicorp.com";
    let account = "vault-secrets-operator-controller-manager";
    let roles: Api<ClusterRole> = Api::all(scene.lab().client());
    let whole = roles.get(account).await?.rules.unwrap_or_default();
    let mut rest = whole.clone();
    rest.retain(|rule| {
        let groups = rule.api_groups.as_deref().unwrap_or_default();
        groups.iter().all(|of| of != group)
    });
    let grant = async |rules: &[PolicyRule]| {
        let patch = Patch::Merge(json!({"rules": rules}));
        roles.patch(account, &PatchParams::default(), &patch).await
    };
    scene.lab().kill_operator().await?;
    grant(&rest).await?;
    let reviews: Api<SubjectAccessReview> = Api::all(scene.lab().client());
    let review: SubjectAccessReview = serde_json::from_value(json!({"spec": {
        "user": format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{account}"),
        "resourceAttributes": {"group": group, "resource": "vaultstaticsecrets", "verb": "list"},
    }}))?;
    eventually("refusal", Duration::from_secs(20), async || {
        let answer = reviews.create(&PostParams::default(), &review).await?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        Ok((!allowed).then_some(()))
    })
    .await?;
    let tried = async {
        let prober = scene.prober([Probe::hasty("rightless", &[Step::Create])]);
        let outcome = prober.probe(&[]).await;
        grant(&whole).await?;
        outcome
    };
    // It may never become ready.
    let (_, outcome) = tokio::join!(scene.lab().start_operator(), tried);
    let run = outcome?.exits(1)?.only_run()?;
    let cause = if scene.real() {
        Cause::OperatorStalled
    } else {
        Cause::OperatorDown
    };
    blames(&run, Step::Create, cause)?;
    pods_tell(&run)?;
    scene.lab().kill_operator().await?;
    scene.lab().start_operator().await?;
    scene.serves().await
}

async fn operator_killed(scene: &Scene) -> Result<()> {
    scene.lab().kill_operator().await?;
    let outcome = scene
        .prober([Probe::hasty("killed", &[Step::Create])])
        .probe(&[])
        .await?
        .exits(1)?;
    scene.lab().start_operator().await?;
    let run = outcome.only_run()?;
    blames(&run, Step::Create, Cause::OperatorDown)?;
    pods_tell(&run)?;
    scene.serves().await
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
        let canaries = api.list(&ListParams::default()).await?;
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
            .list(&ListParams::default())
            .await?
            .items
            .is_empty()
            .then_some(()))
    })
    .await?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn operator_hangs(scene: &Scene) -> Result<()> {
    scene.lab().faults(&json!({"hang": true})).await?;
    let outcome = scene
        .prober([Probe::hasty("hanging", &[Step::Create])])
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
        .prober([Probe::hasty("old", &[Step::Create, Step::Update])])
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
        .prober([Probe::hasty("wrong", &[Step::Create])])
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
    let probes = [Probe::hasty("ignored", &[Step::Create]), served];
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
    let prober = scene.prober([Probe::hasty("stuck", &[Step::Create, Step::Delete])]);
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
    ensure!(run.steps.len() == 2, "{run:#?}");
    Ok(())
}
