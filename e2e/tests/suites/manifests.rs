//! Trials of the shipped manifests: kustomize and Helm render them alike, a cluster accepts them, and they work.

pub(crate) mod installed;
pub(crate) mod rendered;
pub(crate) mod shipped;
mod sidecar;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::lab::{Histograms, NAMESPACE, Prometheus, Scrape};
use e2e::scenario::{Scene, Suite, eventually};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use installed::install;
use rendered::kustomize;

/// What renders, but for the base, which runs nothing.
const OVERLAYS: [&str; 5] = [
    "overlays/deployment",
    "overlays/cronjob",
    "overlays/cronjob-push",
    "overlays/kube-prometheus-stack",
    "overlays/new-relic",
];

/// What renders beside each of them, as the chart's `audit` does.
const AUDIT: &str = "overlays/audit";

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::new("manifests")
        .trial("helm_renders_what_kustomize_does", rendered::alike)
        .trial("rights_are_those_that_doctor_prints", rendered::rights)
        .trial(
            "the_charts_rights_follow_from_its_values",
            rendered::rights_of_values,
        )
        .trial("the_configurations_are_good", rendered::configurations)
        .trial("the_first_graph", first_graph)
        .trial("a_cluster_takes_them", taken)
        .trial("their_pods_are_restricted", restricted)
        .trial("the_sidecar_fits_vaults_pod", sidecar::fits)
        .trial("the_sidecar_sends_vaults_log", sidecar::sends)
        .trial("a_reason_fits_a_termination_message", reason)
        // The last: what it installs is Helm's from then on.
        .trial("helm_takes_over", helm)
}

/// The README's commands, as they stand there, and a graph by them.
async fn first_graph(scene: &Scene) -> Result<()> {
    ensure!(shipped::commands()?.len() == 5, "{:?}", shipped::commands());
    let prober = install(scene).await?;
    prober.run(&["doctor", "--leader-elect"]).await?.exits(0)?;
    let server = prober.serve(&["--leader-elect"]).await?;
    let scrape = [Scrape {
        job: "vso-prober",
        address: server.address(),
        honor_labels: false,
    }];
    let prometheus = Prometheus::start(&scrape, Histograms::Classic).await?;
    let query = "vso_probe_success{probe=\"static-kv2\"} == 1";
    eventually("graph", Duration::from_secs(180), async || {
        Ok((prometheus.query(query).await?.len() == 5).then_some(()))
    })
    .await?;
    server.stop().await.map(drop)
}

/// The API server, with all its admission, takes every object as it is, and knows every field.
async fn taken(scene: &Scene) -> Result<()> {
    install(scene).await?;
    for folder in ["base", AUDIT].iter().chain(&OVERLAYS) {
        dry_run(scene, &kustomize(scene, folder).await?, "strict")
            .await
            .with_context(|| (*folder).to_owned())?;
    }
    Ok(())
}

/// Has the API server look at these objects as if they were applied, with this mode of `--validate`.
pub(crate) async fn dry_run(scene: &Scene, objects: &[Value], validate: &str) -> Result<()> {
    let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
    let validate = format!("--validate={validate}");
    let arguments = ["apply", "--dry-run=server", &validate, "-f", "-"];
    let said = scene.kubectl(&arguments, &list.to_string()).await?;
    let taken = said
        .lines()
        .filter(|line| line.ends_with("(server dry run)"))
        .count();
    ensure!(taken == objects.len(), "{said}");
    Ok(())
}

/// The templates of Pods in what a folder renders to.
pub(crate) fn templates(objects: &[Value]) -> Vec<&Value> {
    let spec = |object: &Value| match object["kind"].as_str() {
        Some("Deployment" | "StatefulSet") => Some("/spec/template"),
        Some("CronJob") => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    };
    let template = |object| Value::pointer(object, spec(object)?);
    objects.iter().filter_map(template).collect()
}

/// What the API server says of a Pod of this template. Pod Security speaks up about Pods alone.
pub(crate) async fn as_pod(scene: &Scene, template: &Value) -> Result<kube::Result<Pod>> {
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), NAMESPACE);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let mut pod = template.clone();
    pod["metadata"]["name"] = "tried".into();
    let pod: Pod = serde_json::from_value(pod)?;
    Ok(pods.create(&dry, &pod).await)
}

/// The template with a volume for each claim, as a `StatefulSet` gives its Pods.
pub(crate) fn with_claims(template: &Value, objects: &[Value]) -> Value {
    let mut template = template.clone();
    let claims = objects
        .iter()
        .filter_map(|object| object["spec"]["volumeClaimTemplates"].as_array());
    if let Some(volumes) = template["spec"]["volumes"].as_array_mut() {
        let names = claims.flatten().map(|claim| &claim["metadata"]["name"]);
        volumes.extend(names.map(|name| json!({"name": name, "emptyDir": {}})));
    }
    template
}

/// Each template is tried as a Pod.
async fn restricted(scene: &Scene) -> Result<()> {
    install(scene).await?;
    for folder in OVERLAYS.into_iter().chain([AUDIT]) {
        let objects = kustomize(scene, folder).await?;
        let [template] = templates(&objects)[..] else {
            anyhow::bail!("{folder} has not one template");
        };
        // No Pod is let in whose account is not there.
        for account in objects.iter().filter(|one| one["kind"] == "ServiceAccount") {
            scene.apply(account.clone()).await?;
        }
        let template = &with_claims(template, &objects);
        as_pod(scene, template)
            .await?
            .with_context(|| folder.to_owned())?;
        let loosened = [
            ("/spec/securityContext/runAsNonRoot", json!(false)),
            (
                "/spec/securityContext/seccompProfile/type",
                json!("Unconfined"),
            ),
            ("/spec/containers/0/securityContext/capabilities", json!({})),
            (
                "/spec/containers/0/securityContext",
                json!({"privileged": true}),
            ),
        ];
        for (pointer, value) in loosened {
            let mut loose = template.clone();
            *loose.pointer_mut(pointer).context(pointer)? = value;
            let refused = as_pod(scene, &loose).await?;
            let refused = refused
                .err()
                .with_context(|| format!("{folder}: {pointer} is let in"))?;
            ensure!(
                refused
                    .to_string()
                    .contains("violates PodSecurity \"restricted:latest\""),
                "{pointer}: {refused}"
            );
        }
    }
    Ok(())
}

/// The end of what a failed run of the job says, which the kubelet puts into the termination message where the Pod asks
/// for it, tells who is to blame.
async fn reason(scene: &Scene) -> Result<()> {
    let objects = kustomize(scene, "overlays/cronjob-push").await?;
    let template = templates(&objects)[0];
    let container = &template["spec"]["containers"][0];
    ensure!(container["terminationMessagePolicy"] == "FallbackToLogsOnError");
    let arguments: Vec<_> = container["args"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    ensure!(arguments == ["probe", "--push", "--output", "table"]);
    let prober = install(scene).await?.edit(|config| {
        config["probes"][0]["timeout"] = "11s".into();
        // Nobody listens there, and what that says comes after the reason.
        config["push"] = json!({"pushgateway": {"url": "http://127.0.0.1:9"}});
    });
    // The operator may read nothing for the canaries any more.
    let (vault, policy) = (scene.lab().vault(), "sys/policies/acl/vso-prober-canaries");
    vault
        .write(
            policy,
            json!({"policy": "path \"none\" { capabilities = [\"read\"] }"}),
        )
        .await?;
    let outcome = prober.run(&arguments).await?;
    let shipped = shipped::read("manifests/vault/canaries.hcl")?;
    vault.write(policy, json!({"policy": shipped})).await?;
    let outcome = outcome.exits(1)?;
    let log = format!("{}{}", outcome.stdout, outcome.stderr);
    let lines: Vec<_> = log.lines().rev().take(80).collect();
    let lines = lines.into_iter().rev().collect::<Vec<_>>().join("\n");
    let end = lines
        .char_indices()
        .rev()
        .find(|(at, _)| lines.len() - at >= 2048);
    let message = &lines[end.map_or(0, |(at, _)| at)..];
    for word in ["vault_denied (responsible: configuration)", "→ "] {
        ensure!(
            message.contains(word),
            "no `{word}` in the termination message: {message}"
        );
    }
    Ok(())
}

/// Who has installed by kustomize can go on with Helm: the chart takes over what is there, and the prober works on.
async fn helm(scene: &Scene) -> Result<()> {
    let prober = install(scene).await?;
    let command = format!(
        "helm upgrade --install vso-prober '{}/manifests/chart' --namespace {NAMESPACE} --take-ownership \
         --set config.vault.address='{}'",
        shipped::root().display(),
        scene.lab().vault().address()
    );
    let said = scene.shell(&command).await?;
    ensure!(said.contains("STATUS: deployed"), "{said}");
    prober.run(&["doctor", "--leader-elect"]).await?.exits(0)?;
    scene.serves().await
}
