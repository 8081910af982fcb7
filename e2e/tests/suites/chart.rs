//! Trials of the Helm chart as others install it: odd values, no Prometheus Operator, several releases, mistakes.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Scene, Suite};
use serde_json::Value;

use crate::manifests::installed::documents;
use crate::manifests::rendered::{normal, printed_roles, roles, same};
use crate::manifests::shipped::{self, root};
use crate::manifests::{as_pod, dry_run, templates};

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("chart")
        .trial("releases_keep_apart_and_leave_nothing", releases)
        .trial("odd_values_are_taken", odd)
        .trial("openshift_chooses_the_user", openshift)
        .trial("unknown_values_are_refused", refused)
}

/// The chart's folder.
fn chart() -> PathBuf {
    root().join("manifests/chart")
}

/// The files of values beside the chart.
fn values() -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in chart().join("ci").read_dir()? {
        files.push(entry?.path());
    }
    files.sort();
    ensure!(files.len() >= 12, "{files:?}");
    Ok(files)
}

/// The canaries' namespace as it is shipped: it takes restricted Pods alone.
async fn namespace(scene: &Scene) -> Result<()> {
    let namespace = shipped::read("manifests/base/namespace.yaml")?;
    let arguments = ["apply", "--filename", "-"];
    scene.kubectl(&arguments, &namespace).await.map(drop)
}

/// Of each file, the prober takes the configuration, the API server every object and every Pod, and the rights are those that
/// `doctor` prints.
async fn odd(scene: &Scene) -> Result<()> {
    namespace(scene).await?;
    shipped::prometheus_operator(scene).await?;
    // Where OLM installs operators.
    let create = "kubectl create namespace openshift-operators --dry-run=client --output yaml | kubectl apply --filename -";
    scene.shell(create).await?;
    for file in values()? {
        let named = || file.display().to_string();
        let command = format!(
            "helm template odd '{}' --namespace {NAMESPACE} --values '{}' \
             --api-versions monitoring.coreos.com/v1/ServiceMonitor",
            chart().display(),
            file.display()
        );
        let objects = documents(&scene.shell(&command).await?)?;
        taken(scene, objects).await.with_context(named)?;
    }
    Ok(())
}

async fn taken(scene: &Scene, objects: Vec<Value>) -> Result<()> {
    // The stand-in's VaultAuth has the method `kubernetes` alone.
    let (others, all): (Vec<_>, Vec<_>) = objects
        .iter()
        .cloned()
        .partition(|object| !scene.real() && object["kind"] == "VaultAuth");
    dry_run(scene, &all, "strict").await?;
    if !others.is_empty() {
        dry_run(scene, &others, "ignore").await?;
    }
    let [template] = templates(&objects)[..] else {
        anyhow::bail!("there is not one template of Pods");
    };
    pod(scene, template).await?;
    let account = template["spec"]["serviceAccountName"].as_str();
    let account = account.context("an account")?.to_owned();
    let leader = objects.iter().any(|object| object["kind"] == "Deployment");
    let objects = normal(objects)?;
    let config = objects
        .iter()
        .find(|(_, object)| !object["data"]["config.yaml"].is_null());
    let (_, config) = config.context("there is a configuration")?;
    let config = config["data"]["config.yaml"].clone();
    let prober = scene.prober([]).edit(|whole| *whole = config.clone());
    prober.run(&["config", "check"]).await?.exits(0)?;
    let granted = roles(objects);
    if granted.is_empty() {
        return Ok(());
    }
    let printed = printed_roles(scene, &config, leader, &account).await?;
    same("the rights", &granted, &printed)
}

/// A Pod of this template is taken, as if its ServiceAccount were there.
async fn pod(scene: &Scene, template: &Value) -> Result<()> {
    let mut template = template.clone();
    template["spec"]["serviceAccountName"] = "default".into();
    let taken = as_pod(scene, &template).await?;
    taken.context("as a Pod").map(drop)
}

/// There the Pod names neither a user nor a group, and is restricted all the same.
async fn openshift(scene: &Scene) -> Result<()> {
    namespace(scene).await?;
    let more = format!(
        "--values '{}'",
        chart().join("ci/openshift-values.yaml").display()
    );
    for flags in ["--api-versions security.openshift.io/v1", &more] {
        let command = format!("helm template odd '{}' {flags}", chart().display());
        let objects = documents(&scene.shell(&command).await?)?;
        let template = templates(&objects)[0];
        let security = &template["spec"]["securityContext"];
        for key in ["runAsUser", "runAsGroup", "fsGroup"] {
            ensure!(security[key].is_null(), "{flags}: {security}");
        }
        pod(scene, template).await?;
    }
    Ok(())
}

/// Helm says what is wrong, and renders nothing.
async fn refused(scene: &Scene) -> Result<()> {
    for (flags, words) in [
        (
            "--set mode=daemon",
            "value must be one of 'deployment', 'cronjob'",
        ),
        (
            "--set replica=3",
            "additional properties 'replica' not allowed",
        ),
        (
            "--set config.vault.adress=x",
            "additional properties 'adress' not allowed",
        ),
        (
            "--set config.vault.auth.approle.role=x",
            "additional properties 'approle' not allowed",
        ),
        (
            "--set config.operator.metrics.serviceAccount=x",
            "missing property 'pods'",
        ),
        (
            "--set canaries.auth.kubernetes.audience=vault",
            "additional properties 'audience' not allowed",
        ),
        (
            "--set canaries.auth.jwt.role=x,canaries.auth.aws.role=x",
            "choose one",
        ),
        (
            "--set networkPolicy.ports.vault=8201",
            "additional properties 'ports' not allowed",
        ),
        (
            "--set image.tag=1,serviceMonitor.enabled=maybe",
            "value must be one of 'auto', true, false",
        ),
    ] {
        let command = format!("helm template odd '{}' {flags} 2>&1", chart().display());
        let said = scene.shell(&command).await;
        let said = said.err().with_context(|| format!("{flags} is taken"))?;
        ensure!(said.to_string().contains(words), "{flags}: {said}");
    }
    Ok(())
}

/// Installs two releases in one namespace and one of the same name in another, in a cluster without Prometheus Operator. What
/// is uninstalled is gone.
async fn releases(scene: &Scene) -> Result<()> {
    namespace(scene).await?;
    let crds = scene.shell("kubectl get crds --output name").await?;
    ensure!(!crds.contains("monitoring.coreos.com"), "{crds}");
    scene.shell("kubectl create namespace other").await?;
    let places = [("one", NAMESPACE), ("two", NAMESPACE), ("one", "other")];
    for (release, namespace) in places {
        let command = format!(
            "helm install {release} '{}' --namespace {namespace} --set guard.enabled=true",
            chart().display()
        );
        let said = scene.shell(&command).await?;
        for words in [
            "STATUS: deployed".to_owned(),
            "The cluster has no Prometheus Operator".to_owned(),
            format!("the instance `{release}-vso-prober`"),
        ] {
            ensure!(said.contains(&words), "no `{words}` in {said}");
        }
    }
    for (place, (release, namespace)) in places.into_iter().enumerate() {
        ensure!(owned(scene, release, namespace).await? > 10);
        let command = format!("helm uninstall {release} --namespace {namespace} --wait");
        scene.shell(&command).await?;
        let left = owned(scene, release, namespace).await?;
        ensure!(
            left == 0,
            "{left} objects of {release} in {namespace} are left"
        );
        for (release, namespace) in &places[place + 1..] {
            let owned = owned(scene, release, namespace).await?;
            ensure!(owned > 10, "{owned} objects of {release} in {namespace}");
        }
    }
    scene
        .shell("kubectl delete namespace other --wait=false")
        .await
        .map(drop)
}

/// How many objects a release owns, wherever they are.
async fn owned(scene: &Scene, release: &str, namespace: &str) -> Result<usize> {
    let kinds = "all,configmaps,serviceaccounts,leases,networkpolicies,poddisruptionbudgets,roles,rolebindings,clusterroles,\
                 clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,vaultauths,vaultconnections";
    let command = format!(
        "kubectl get {kinds} --all-namespaces --ignore-not-found --selector helm.sh/chart --output json"
    );
    let list = scene.shell(&command).await?;
    if list.is_empty() {
        return Ok(0);
    }
    let list: Value = serde_json::from_str(&list)?;
    let items = list["items"].as_array().context("a list")?;
    let own = items.iter().filter(|item| {
        let annotations = &item["metadata"]["annotations"];
        annotations["meta.helm.sh/release-name"] == release
            && annotations["meta.helm.sh/release-namespace"] == namespace
    });
    let outside = own.clone().any(|item| {
        let place = &item["metadata"]["namespace"];
        !place.is_null() && place != namespace && place != OPERATOR_NAMESPACE
    });
    ensure!(!outside, "{release} has objects elsewhere");
    Ok(own.count())
}
