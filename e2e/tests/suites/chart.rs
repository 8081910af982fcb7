//! Trials of the Helm chart as others install it: odd values, no Prometheus Operator, several releases, mistakes.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, OPERATOR_NAMESPACE};
use e2e::scenario::{Scene, Suite};
use serde_json::Value;

use crate::manifests::installed::documents;
use crate::manifests::rendered::{Objects, normal, printed_roles, roles, same};
use crate::manifests::shipped::{self, root};
use crate::manifests::{as_pod, dry_run, templates, with_claims};

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
    // Where OLM installs operators, and where Vault is.
    for namespace in ["openshift-operators", "vault"] {
        let create = format!(
            "kubectl create namespace {namespace} --dry-run=client --output yaml | kubectl apply --filename -"
        );
        scene.shell(&create).await?;
    }
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
    let templates = templates(&objects);
    ensure!(!templates.is_empty(), "there is no template of Pods");
    let by_name = normal(objects.clone())?;
    let mut printed = Objects::new();
    for template in templates {
        pod(scene, &with_claims(template, &objects)).await?;
        printed.extend(printed_for(scene, template, &by_name).await?);
    }
    let granted = roles(by_name);
    if granted.is_empty() {
        return Ok(());
    }
    same("the rights", &granted, &printed)
}

/// The rights that `doctor` prints for a Pod of this template, whose configuration is good.
async fn printed_for(scene: &Scene, template: &Value, objects: &Objects) -> Result<Objects> {
    let spec = &template["spec"];
    let account = spec["serviceAccountName"].as_str().context("an account")?;
    let volumes = spec["volumes"].as_array().into_iter().flatten();
    let mut maps = volumes.filter_map(|volume| volume["configMap"]["name"].as_str());
    let name = maps.next().context("there is a configuration")?;
    let map = objects.get(&format!("ConfigMap {NAMESPACE} {name}"));
    let config = &map.context("it is there")?["data"]["config.yaml"];
    let prober = scene.prober([]).edit(|whole| *whole = config.clone());
    prober.run(&["config", "check"]).await?.exits(0)?;
    let arguments = spec["containers"][0]["args"].as_array();
    let arguments = arguments.into_iter().flatten().filter_map(Value::as_str);
    // What `doctor` knows as well as `serve`.
    let process: Vec<_> = arguments
        .filter(|one| ["--leader-elect", "--only", "audit"].contains(one))
        .collect();
    printed_roles(scene, config, &process, account).await
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
        (
            "--set audit.enable=true",
            "additional properties 'enable' not allowed",
        ),
        (
            "--set audit.config.server.port=1",
            "additional properties 'port' not allowed",
        ),
        (
            "--set audit.persistence.class=fast",
            "additional properties 'class' not allowed",
        ),
        (
            "--set-json config.audit.sources='[{\"name\":\"a\",\"http\":{}}]'",
            "set audit.enabled and audit.config",
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
            "helm install {release} '{}' --namespace {namespace} --set guard.enabled=true,audit.enabled=true",
            chart().display()
        );
        let said = scene.shell(&command).await?;
        for words in [
            "STATUS: deployed".to_owned(),
            "The cluster has no Prometheus Operator".to_owned(),
            format!("the instance `{release}-vso-prober`"),
            format!("The StatefulSet {release}-vso-prober-audit judges"),
        ] {
            ensure!(said.contains(&words), "no `{words}` in {said}");
        }
    }
    select_their_own(scene).await?;
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

/// What selects Pods in the namespace selects those of one template each, and no two the same.
async fn select_their_own(scene: &Scene) -> Result<()> {
    let get = format!("kubectl --namespace {NAMESPACE} get deployments,statefulsets --output json");
    let list: Value = serde_json::from_str(&scene.shell(&get).await?)?;
    let workloads = list["items"].as_array().context("a list")?;
    ensure!(workloads.len() == 4, "{} workloads", workloads.len());
    for one in workloads {
        let selector = one["spec"]["selector"]["matchLabels"].as_object();
        let selector = selector.context("a selector")?;
        let selected = workloads.iter().filter(|other| {
            let labels = &other["spec"]["template"]["metadata"]["labels"];
            selector.iter().all(|(key, value)| labels[key] == *value)
        });
        ensure!(selected.count() == 1, "{selector:?} selects others too");
    }
    Ok(())
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
