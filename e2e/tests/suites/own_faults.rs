//! The prober's own troubles: told as its own, in time; and nothing stays behind, whatever ends it.

mod time;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, PROBER, Part};
use e2e::scenario::{Line, Outcome, Probe, Prober, Proxy, Scene, Suite, blames, eventually};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Resource, ResourceExt};
use rustix::process::Signal;
use serde_json::{Value, json};
use vso_prober::canary::{EXPIRES, INSTANCE_LABEL};
use vso_prober::model::cause::{Cause, Party};
use vso_prober::model::{Kind, Step, Verdict};

/// How much longer than the timeout of its step an invocation may take: to start, to look for
/// leftovers before and to clean up after, on a busy machine.
const SLACK: Duration = Duration::from_secs(15);
/// The timeout of [`probe`].
const TIMEOUT: Duration = Duration::from_secs(4);

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("own_faults")
        .trial("no_vault", no_vault)
        .trial("no_kubernetes", no_kubernetes)
        .trial("kubernetes_silent", kubernetes_silent)
        .trial("kubernetes_silent_in_mid_run", kubernetes_silent_midway)
        .trial("vault_token_wrong", vault_token_wrong)
        .trial("vault_token_expired", vault_token_expired)
        .trial("vault_token_missing", vault_token_missing)
        .trial("vault_role_unknown", vault_role_unknown)
        .trial("kubernetes_token_wrong", kubernetes_token_wrong)
        .trial("kubeconfig_without_the_context", no_context)
        .trial("namespace_without_rights", namespace_without_rights)
        .trial("namespace_missing", namespace_missing)
        .trial("no_right_to_create", no_right_to_create)
        .trial("no_right_to_watch", no_right_to_watch)
        .fault("a_watch_that_is_cut_leaves_no_verdict", watch_cut)
        .trial("api_server_restarted_in_mid_run", api_server_restarted)
        .trial("a_watch_that_is_too_old_is_opened_anew", watch_expired)
        .trial("stopped_for_three_seconds", time::stopped)
        .trial("a_clock_an_hour_behind", async |scene| {
            time::clock_back(scene, false).await
        })
        .trial("a_clock_set_back_by_an_hour", async |scene| {
            time::clock_back(scene, true).await
        })
        .trial("canary_removed_in_mid_run", canary_removed)
        .trial("canary_changed_in_mid_run", canary_changed)
        .trial("sigint_cleans_up", async |scene| {
            told_to_stop(scene, Signal::INT).await
        })
        .trial("sigterm_cleans_up", async |scene| {
            told_to_stop(scene, Signal::TERM).await
        })
        .trial("a_second_signal_ends_at_once", second_signal)
        .trial("sigkill_then_cleanup", sigkill_then_cleanup)
        .trial("sigkill_then_expiry", sigkill_then_expiry)
        .trial("sigkill_then_the_next_run", sigkill_then_next_run)
        .trial("instances_keep_apart", instances)
        .trial("no_crds", no_crds)
}

fn probe() -> Probe {
    Probe::hasty("own", &[Step::Create, Step::Delete])
}

/// Insists that the prober takes the blame, for this cause, in time.
async fn own(prober: Prober, cause: Cause) -> Result<Outcome> {
    let outcome = prober.probe(&[]).await?.exits(3)?;
    ensure!(outcome.took < TIMEOUT + SLACK, "{outcome}");
    let run = outcome.only_run()?;
    ensure!(run.steps.len() == 1, "{run:#?}");
    blames(&run, Step::Create, cause)?;
    ensure!(run.steps[0].party == Some(Party::Prober), "{run:#?}");
    Ok(outcome)
}

/// Insists that the evidence of the only run says this.
fn evident(outcome: &Outcome, word: &str) -> Result<()> {
    let run = outcome.only_run()?;
    let said = run
        .steps
        .iter()
        .flat_map(|step| &step.evidence)
        .any(|piece| piece.text.contains(word));
    ensure!(said, "no evidence says `{word}`: {run:#?}");
    Ok(())
}

async fn no_vault(scene: &Scene) -> Result<()> {
    let prober = scene.prober([probe()]).vault("http://127.0.0.1:9");
    let outcome = own(prober, Cause::ProberVaultUnreachable).await?;
    ensure!(
        outcome
            .only_run()?
            .leftovers
            .iter()
            .all(|left| left.starts_with("Vault ")),
        "{outcome}"
    );
    evident(&outcome, "http://127.0.0.1:9")
}

async fn no_kubernetes(scene: &Scene) -> Result<()> {
    let kubeconfig =
        scene.kubeconfig(|cluster, _| cluster["server"] = "https://127.0.0.1:9".into())?;
    let prober = scene.prober([probe()]).kubeconfig(&kubeconfig);
    let outcome = own(prober, Cause::ProberKubernetesUnreachable).await?;
    evident(&outcome, "refused")
}

async fn kubernetes_silent(scene: &Scene) -> Result<()> {
    scene.lab().pause(Part::ApiServer).await?;
    let told = own(scene.prober([probe()]), Cause::ProberKubernetesUnreachable).await;
    scene.lab().resume(Part::ApiServer).await?;
    told.map(drop)
}

async fn kubernetes_silent_midway(scene: &Scene) -> Result<()> {
    let (prober, running) = under_way(scene, "default").await?;
    scene.lab().pause(Part::ApiServer).await?;
    let outcome = running.ended().await;
    scene.lab().resume(Part::ApiServer).await?;
    let run = outcome?.exits(3)?.only_run()?;
    blames(&run, Step::Update, Cause::ProberKubernetesUnreachable)?;
    ensure!(!run.leftovers.is_empty(), "{run:#?}");
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

async fn vault_token_wrong(scene: &Scene) -> Result<()> {
    let prober = scene
        .prober([probe()])
        .auth(json!({"token": {"env": "TOKEN"}}))
        .env("TOKEN", "s.nosuchtoken");
    own(prober, Cause::ProberVaultDenied).await.map(drop)
}

async fn vault_token_expired(scene: &Scene) -> Result<()> {
    let token = scene.expired_token().await?;
    let prober = scene
        .prober([probe()])
        .auth(json!({"token": {"env": "TOKEN"}}))
        .env("TOKEN", &token);
    own(prober, Cause::ProberVaultDenied).await.map(drop)
}

async fn vault_token_missing(scene: &Scene) -> Result<()> {
    let lost = scene.path("jwt");
    let file = json!({"kubernetes": {"mount": "kubernetes", "role": PROBER, "tokenFile": lost}});
    let outcome = own(scene.prober([probe()]).auth(file), Cause::ProberVaultDenied).await?;
    evident(&outcome, &lost.display().to_string())?;
    let unset = json!({"token": {"env": "NO_SUCH_VARIABLE"}});
    let outcome = own(
        scene.prober([probe()]).auth(unset),
        Cause::ProberVaultDenied,
    )
    .await?;
    evident(&outcome, "NO_SUCH_VARIABLE")
}

async fn vault_role_unknown(scene: &Scene) -> Result<()> {
    let file = scene.lab().prober_token_file();
    let auth = json!({"kubernetes": {"mount": "kubernetes", "role": "absent", "tokenFile": file}});
    own(scene.prober([probe()]).auth(auth), Cause::ProberVaultDenied)
        .await
        .map(drop)
}

async fn kubernetes_token_wrong(scene: &Scene) -> Result<()> {
    let kubeconfig = scene.kubeconfig(|_, user| user["token"] = "nonsense".into())?;
    let outcome = own(
        scene.prober([probe()]).kubeconfig(&kubeconfig),
        Cause::ProberKubernetesDenied,
    )
    .await?;
    evident(&outcome, "its token is not valid")
}

async fn no_context(scene: &Scene) -> Result<()> {
    let prober = scene
        .prober([probe()])
        .edit(|config| config["kubernetes"]["context"] = "absent".into());
    own(prober, Cause::ProberKubernetesDenied).await.map(drop)
}

async fn namespace_without_rights(scene: &Scene) -> Result<()> {
    let prober = scene
        .prober([probe()])
        .edit(|config| config["kubernetes"]["namespace"] = "default".into());
    let outcome = own(prober, Cause::ProberKubernetesDenied).await?;
    evident(&outcome, "`default`").or_else(|_| evident(&outcome, "\"default\""))
}

async fn namespace_missing(scene: &Scene) -> Result<()> {
    // An admin may do everything, but not that.
    let prober = scene.prober([probe()]).kubeconfig(scene.lab().kubeconfig());
    let prober = prober.edit(|config| config["kubernetes"]["namespace"] = "absent".into());
    let outcome = own(prober, Cause::ProberKubernetesDenied).await?;
    evident(&outcome, "namespaces \"absent\" not found")
}

/// A kubeconfig for an account that may do just this with canaries and Secrets.
async fn account(
    scene: &Scene,
    name: &str,
    canaries: &[&str],
    secrets: &[&str],
) -> Result<std::path::PathBuf> {
    let object = |kind: &str, version: &str, rest: Value| {
        let mut object = json!({"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": NAMESPACE}});
        for (key, value) in rest.as_object().into_iter().flatten() {
            object[key] = value.clone();
        }
        object
    };
    let rbac = "rbac.authorization.k8s.io/v1";
    let rules = json!([
        {"apiGroups": ["secrets.hashicorp.com"], "resources": ["vaultstaticsecrets"], "verbs": canaries},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": secrets},
        {"apiGroups": [""], "resources": ["namespaces"], "resourceNames": [NAMESPACE], "verbs": ["get"]},
    ]);
    scene
        .apply(object("ServiceAccount", "v1", json!({})))
        .await?;
    scene
        .apply(object("Role", rbac, json!({"rules": rules})))
        .await?;
    let binding = json!({
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "namespace": NAMESPACE, "name": name}],
    });
    scene.apply(object("RoleBinding", rbac, binding)).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(scene.lab().client(), NAMESPACE);
    let request = TokenRequest {
        spec: TokenRequestSpec::default(),
        ..TokenRequest::default()
    };
    let answer = accounts
        .create_token_request(name, &PostParams::default(), &request)
        .await?;
    let token = answer.status.context("no token came back")?.token;
    scene.kubeconfig(|_, user| user["token"] = token.into())
}

async fn no_right_to_create(scene: &Scene) -> Result<()> {
    let watch = ["get", "list", "watch", "delete"];
    let kubeconfig = account(scene, "reader", &watch, &watch).await?;
    let outcome = own(
        scene.prober([probe()]).kubeconfig(&kubeconfig),
        Cause::ProberKubernetesDenied,
    )
    .await?;
    ensure!(outcome.only_run()?.leftovers.is_empty(), "{outcome}");
    evident(&outcome, "cannot create resource")
}

async fn no_right_to_watch(scene: &Scene) -> Result<()> {
    let all = ["get", "list", "watch", "create", "delete"];
    let kubeconfig = account(scene, "blind", &all, &["delete"]).await?;
    let outcome = own(
        scene.prober([probe()]).kubeconfig(&kubeconfig),
        Cause::ProberKubernetesDenied,
    )
    .await?;
    evident(&outcome, "cannot list resource")
}

/// The Secret comes while the watch is cut: it is there and right, but nobody can say since when.
async fn watch_cut(scene: &Scene) -> Result<()> {
    // Long enough for the cut to come first on a slow machine too.
    let slow = json!({"slow": {"at": "write", "seconds": 4.0}});
    scene.lab().faults(&slow).await?;
    let line = Line::start(&scene.lab().api_server()?).await?;
    let kubeconfig = scene.kubeconfig_by(&line.address())?;
    let cut = Probe::kv2("cut")
        .steps(&[Step::Create, Step::Delete])
        .limits("8s", "16s");
    let prober = scene.prober([cut]).kubeconfig(&kubeconfig);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.canary(Kind::Static, "cut").await?;
    // The answer to its creation is still on its way to the prober.
    tokio::time::sleep(Duration::from_secs(1)).await;
    line.cut();
    scene.secret("cut").await?;
    line.mend();
    let run = running.ended().await?.exits(3)?.only_run()?;
    blames(&run, Step::Create, Cause::ProberWatchLost)
}

/// An API server that dies under a run and comes back: the run goes on, or says why it can't, and blames no one.
async fn api_server_restarted(scene: &Scene) -> Result<()> {
    let waiting = Probe::kv2("restarted")
        .target("refreshAfter", "5s")
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .limits("20s", "30s");
    let prober = scene.prober([waiting]);
    let running = prober.start(&["probe", "-o", "json"])?;
    scene.secret("restarted").await?;
    scene.lab().restart_api_server().await?;
    let outcome = running.ended().await?;
    let run = outcome.only_run()?;
    ensure!(run.result != Verdict::Failure, "{outcome}");
    // One that has just restarted refuses all until it has read the roles; the next run finds all as it was.
    prober.probe(&[]).await?.exits(0)?;
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// The API server ends the watches in mid-run, as it no longer has what came since they began: 410.
async fn watch_expired(scene: &Scene) -> Result<()> {
    let mut cluster = Value::Null;
    scene.kubeconfig(|whole, _| cluster = whole.clone())?;
    let proxy = Proxy::watching(&cluster).await?;
    let kubeconfig =
        scene.kubeconfig(|cluster, _| *cluster = json!({"server": proxy.address()}))?;
    let probe = Probe::kv2("expired").steps(&[Step::Create, Step::Update, Step::Delete]);
    let prober = scene.prober([probe]).kubeconfig(&kubeconfig);
    let running = prober.start(&["probe", "-o", "json"])?;
    time::updated(scene, "expired").await?;
    proxy.expire();
    let outcome = running.ended().await?;
    ensure!(proxy.answered() >= 2, "no watch was ended: {outcome}");
    let run = outcome.only_run()?;
    // The poll may fall between the end of one watch and the opening of the next.
    let cause = run.decisive().and_then(|report| report.cause);
    ensure!(
        matches!(cause, None | Some(Cause::ProberWatchLost)),
        "{run:#?}"
    );
    Ok(())
}

/// A run that waits in its second step for a poll, and removes its canary after it.
async fn awaiting_a_poll(
    scene: &Scene,
    name: &str,
    poll: &str,
) -> Result<(e2e::scenario::Running, String)> {
    let waiting = Probe::kv2(name)
        .target("refreshAfter", poll)
        .steps(&[Step::Create, Step::Update, Step::Delete])
        .limits("3s", "4s");
    let running = scene.prober([waiting]).start(&["probe", "-o", "json"])?;
    time::updated(scene, name).await?;
    let canary = scene.canary(Kind::Static, name).await?.name_any();
    Ok((running, canary))
}

/// Somebody else deletes the canary's resource: that says nothing of the operator.
async fn canary_removed(scene: &Scene) -> Result<()> {
    // However slow the machine is, the poll comes after it.
    let (running, canary) = awaiting_a_poll(scene, "removed", "20s").await?;
    let api = scene.resources(Kind::Static);
    api.delete(&canary, &DeleteParams::default()).await?;
    let run = running.ended().await?.exits(3)?.only_run()?;
    blames(&run, Step::Update, Cause::CanaryRemoved)
}

/// Somebody else takes the prober's label off the canary's resource: it is the prober's to delete no longer.
async fn canary_changed(scene: &Scene) -> Result<()> {
    let (running, canary) = awaiting_a_poll(scene, "changed", "5s").await?;
    let api = scene.resources(Kind::Static);
    let unlabelled = json!({"metadata": {"labels": {INSTANCE_LABEL: null}}});
    api.patch(&canary, &PatchParams::default(), &Patch::Merge(&unlabelled))
        .await?;
    let outcome = running.ended().await?;
    api.delete(&canary, &DeleteParams::default()).await?;
    eventually("end of the canary", Duration::from_secs(20), async || {
        Ok(scene.left_behind().await?.is_empty().then_some(()))
    })
    .await?;
    let run = outcome.exits(3)?.only_run()?;
    blames(&run, Step::Delete, Cause::CanaryRemoved)
}

/// A run that has taken its first step, and waits in its second for a poll that is far off.
async fn under_way(scene: &Scene, instance: &str) -> Result<(Prober, e2e::scenario::Running)> {
    let name = format!("way-{instance}");
    let waiting = Probe::kv2(&name)
        .target("refreshAfter", "30s")
        .steps(&[Step::Create, Step::Update])
        .limits("3s", "4s");
    let prober = scene
        .prober([waiting, Probe::database("unused")])
        .instance(instance);
    let running = prober.start(&["probe", "-o", "json", "--probe", &name])?;
    let secret = scene.secret(&name).await?;
    // The second step is begun once Vault has a second version.
    let folder = scene.kv_folder(instance).await?;
    let path = format!("kvv2/metadata/{folder}/{}", secret.name_any());
    eventually("second version", Duration::from_secs(10), async || {
        let metadata = scene.lab().vault().read(&path).await?;
        Ok((metadata["data"]["current_version"] == 2).then_some(()))
    })
    .await?;
    Ok((prober, running))
}

async fn told_to_stop(scene: &Scene, signal: Signal) -> Result<()> {
    let (_, running) = under_way(scene, "default").await?;
    running.signal(signal)?;
    let outcome = running.ended().await?.exits(3)?;
    scene.is_clean().await?;
    let run = outcome.only_run()?;
    ensure!(
        run.steps.len() == 2 && run.steps[0].result == Verdict::Success,
        "{run:#?}"
    );
    blames(&run, Step::Update, Cause::ProberInterrupted)?;
    ensure!(run.leftovers.is_empty(), "{run:#?}");
    outcome.says(&["shutting down"])
}

async fn second_signal(scene: &Scene) -> Result<()> {
    let (prober, running) = under_way(scene, "default").await?;
    // Without the operator the resource can't go, so that the clean-up takes its time.
    scene.lab().pause(Part::Operator).await?;
    running.signal(Signal::INT)?;
    let api = scene.resources(Kind::Static);
    eventually("deletion", Duration::from_secs(10), async || {
        let canaries = api.list(&ListParams::default()).await?;
        Ok(canaries
            .iter()
            .any(|canary| canary.meta().deletion_timestamp.is_some())
            .then_some(()))
    })
    .await?;
    running.signal(Signal::INT)?;
    let outcome = running.ended().await?;
    scene.lab().resume(Part::Operator).await?;
    let outcome = outcome.exits(130)?;
    ensure!(outcome.stdout.is_empty(), "{outcome}");
    prober.run(&["cleanup", "--all"]).await?.exits(0).map(drop)
}

/// Kills a run in its second step.
async fn killed(scene: &Scene, instance: &str) -> Result<Prober> {
    let (prober, running) = under_way(scene, instance).await?;
    running.signal(Signal::KILL)?;
    let outcome = running.ended().await?;
    ensure!(outcome.signal == Some(9), "{outcome}");
    let left = scene.left_behind().await?;
    ensure!(
        left.len() >= 3,
        "a killed run leaves its resource, its Secret and its secret in Vault: {left:?}"
    );
    Ok(prober)
}

async fn sigkill_then_cleanup(scene: &Scene) -> Result<()> {
    let prober = killed(scene, "default").await?;
    let left = scene.left_behind().await?;

    // In use, for all that anyone knows: nothing is removed before it expires.
    let early = prober.run(&["cleanup"]).await?.exits(0)?;
    ensure!(early.stdout == "removed 0, left 0\n", "{early}");
    let dry = prober
        .run(&["cleanup", "--all", "--dry-run"])
        .await?
        .exits(0)?;
    ensure!(
        dry.stdout.lines().count() == 4 && dry.stdout.ends_with("would remove 3, left 0\n"),
        "{dry}"
    );
    ensure!(
        scene.left_behind().await? == left,
        "a dry run removed something"
    );

    let all = prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    ensure!(
        all.stdout
            .contains("removed VaultStaticSecret vso-probe/vsop-way-default-"),
        "{all}"
    );
    let folder = scene.kv_folder("default").await?;
    ensure!(
        all.stdout
            .contains(&format!("removed Vault kvv2/{folder}/vsop-way-default-")),
        "{all}"
    );
    scene.is_clean().await?;
    let again = prober.run(&["cleanup", "--all"]).await?.exits(0)?;
    ensure!(again.stdout == "removed 0, left 0\n", "{again}");
    Ok(())
}

/// Writes on everything there is that its time was up long ago.
async fn expire(scene: &Scene) -> Result<()> {
    let past = "2020-01-01T00:00:00Z";
    let annotations = json!({"annotations": {EXPIRES: past}});
    // The operator writes it on the Secret: it would take back what was written there by others.
    let patch = json!({"metadata": annotations, "spec": {"destination": annotations}});
    let (resources, secrets) = (scene.resources(Kind::Static), scene.secrets());
    for canary in resources.list(&ListParams::default()).await? {
        let name = canary.name_any();
        let instance = canary
            .labels()
            .get(INSTANCE_LABEL)
            .context("a canary names its prober")?;
        let folder = scene.kv_folder(instance).await?;
        let path = format!("kvv2/data/{folder}/{name}");
        let data = json!({"data": {"nonce": "-", "expires": past}});
        scene.lab().vault().write(&path, data).await?;
        resources
            .patch(&name, &PatchParams::default(), &Patch::Merge(&patch))
            .await?;
        eventually(
            "expiry on the Secret",
            Duration::from_secs(10),
            async || {
                let secret = secrets.get(&name).await?;
                Ok(
                    (secret.annotations().get(EXPIRES).map(String::as_str) == Some(past))
                        .then_some(()),
                )
            },
        )
        .await?;
    }
    Ok(())
}

async fn sigkill_then_expiry(scene: &Scene) -> Result<()> {
    let prober = killed(scene, "default").await?;
    expire(scene).await?;
    let dry = prober.run(&["cleanup", "--dry-run"]).await?.exits(0)?;
    ensure!(dry.stdout.ends_with("would remove 3, left 0\n"), "{dry}");
    prober.run(&["cleanup"]).await?.exits(0)?;
    scene.is_clean().await
}

async fn sigkill_then_next_run(scene: &Scene) -> Result<()> {
    killed(scene, "default").await?;
    expire(scene).await?;
    let outcome = scene.prober([probe()]).probe(&[]).await?.exits(0)?;
    outcome.says(&["removed what an earlier run left behind"])?;
    scene.is_clean().await
}

async fn instances(scene: &Scene) -> Result<()> {
    let one = killed(scene, "one").await?;
    let two = killed(scene, "two").await?;
    expire(scene).await?;
    let of = |name: &str, left: &[String]| {
        left.iter()
            .filter(|what| what.contains(&format!("vsop-way-{name}-")))
            .count()
    };
    one.run(&["cleanup", "--all"]).await?.exits(0)?;
    let left = scene.left_behind().await?;
    ensure!(of("one", &left) == 0 && of("two", &left) == 3, "{left:?}");
    // A run of the one does not sweep the other's, expired as they are.
    scene
        .prober([probe()])
        .instance("one")
        .probe(&[])
        .await?
        .exits(0)?;
    let left = scene.left_behind().await?;
    ensure!(of("two", &left) == 3 && left.len() == 3, "{left:?}");
    two.run(&["cleanup"]).await?.exits(0)?;
    scene.is_clean().await
}

async fn no_crds(scene: &Scene) -> Result<()> {
    let mut kinds = Vec::new();
    for plural in ["vaultstaticsecrets", "vaultdynamicsecrets"] {
        let get = format!("kubectl get crd {plural}.secrets.hashicorp.com -o json");
        let mut kind: Value = serde_json::from_str(&scene.shell(&get).await?)?;
        kind["metadata"] = json!({"name": kind["metadata"]["name"]});
        kind["status"] = Value::Null;
        scene.remove(kind.clone()).await?;
        kinds.push(kind);
    }
    let api = scene.resources(Kind::Static);
    eventually("end of the kind", Duration::from_secs(20), async || {
        let gone = matches!(api.list(&ListParams::default()).await, Err(kube::Error::Api(status)) if status.code == 404);
        Ok(gone.then_some(()))
    })
    .await?;
    let outcome = own(scene.prober([probe()]), Cause::ProberKubernetesDenied).await;
    // Other trials may come after this one.
    for kind in kinds {
        scene.apply(kind).await?;
    }
    eventually("the kind again", Duration::from_secs(20), async || {
        Ok(api.list(&ListParams::default()).await.is_ok().then_some(()))
    })
    .await?;
    scene.serves().await?;
    evident(&outcome?, "CRDs")
}
