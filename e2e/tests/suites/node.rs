//! Trials of the shipped overlays in real Pods on a node, unchanged but for the addresses of the lab's parts.

mod cluster;
mod owner;
mod pod_logs;
mod releases;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::lab::{Door, NAMESPACE};
use e2e::scenario::{Scene, Suite, eventually};
use k8s_openapi::api::batch::v1::{CronJob, Job};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, Pod};
use kube::ResourceExt;
use kube::api::{Api, DeleteParams, ListParams};
use vso_prober::exposition::samples;

use cluster::{Cluster, PATIENCE, reach};

/// How long a probe of a minute may take until the next of its runs has succeeded.
const RUN: Duration = Duration::from_secs(150);

/// The Lease of the shipped overlays.
const LEASE: &str = "vso-prober-default";

/// Its trials.
pub(crate) fn suite() -> Suite {
    Suite::with_node("node")
        .limit(Duration::from_secs(600))
        .trial("a_cronjob_probes_as_a_pod", cronjob)
        .trial("its_job_fails_with_the_reason", reason)
        .trial("a_replica_takes_over", takes_over)
        .trial("two_releases_keep_apart", releases::apart)
        .trial("audit_lines_from_a_pods_log", pod_logs::followed)
        .trial("a_killed_owner_leaves_nothing_of_its_node", owner::killed)
}

/// Once at once, as docs/install.md has it, and once on schedule.
async fn cronjob(scene: &Scene) -> Result<()> {
    let cluster = Cluster::start(scene).await?;
    cluster.apply("cronjob").await?;
    told(&cluster, at_once(scene, &cluster).await).await?;
    told(&cluster, on_schedule(scene, &cluster).await).await?;
    remove_cronjob(scene, &cluster).await
}

async fn at_once(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let end = run_now(scene, cluster).await?;
    ensure!(end.exit_code == 0, "{end:?}");
    let pushed = cluster.pushgateway.metrics().await?;
    let success = samples(&pushed).filter(|one| one.name == "vso_probe_success");
    let success: Vec<_> = success.map(|one| one.value).collect();
    ensure!(success == [1.0; 5], "{pushed}");
    // As itself, at both ends.
    let account = format!("system:serviceaccount:{NAMESPACE}:vso-prober");
    let audit = scene.lab().kube_audit()?;
    let created = audit.iter().any(|line| {
        line.verb == "create"
            && line.object_ref.resource == "vaultstaticsecrets"
            && line.user.username == account
            && line.user_agent.starts_with("vso-prober/")
    });
    ensure!(created, "nothing was created by {account}");
    let audit = scene.lab().vault_audit()?;
    let written = audit.iter().any(|line| {
        line.request
            .path
            .starts_with("kvv2/data/vso-prober/default/")
            && line.auth.display_name == "kubernetes-vso-probe-vso-prober"
    });
    ensure!(written, "nothing was written with a login of its own");
    Ok(())
}

/// Every 15 minutes is as shipped, and too seldom to wait for.
async fn on_schedule(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let patch = r#"{"spec": {"schedule": "* * * * *"}}"#;
    let script = format!("kubectl -n {NAMESPACE} patch cronjob vso-prober --patch '{patch}'");
    scene.shell(&script).await?;
    let jobs: Api<Job> = Api::namespaced(scene.lab().client(), NAMESPACE);
    let job = eventually("Job on schedule", PATIENCE, async || {
        let jobs = jobs.list(&ListParams::default()).await?;
        let scheduled = |job: &Job| {
            let annotations = job.annotations();
            annotations.contains_key("batch.kubernetes.io/cronjob-scheduled-timestamp")
        };
        Ok(jobs.into_iter().find(scheduled))
    })
    .await?;
    let end = end_of(cluster, &job.name_any()).await?;
    ensure!(end.exit_code == 0, "{end:?}");
    eventually("success of the Job", PATIENCE, async || {
        let status = jobs.get(&job.name_any()).await?.status;
        Ok(status
            .and_then(|status| status.succeeded)
            .filter(|succeeded| *succeeded == 1))
    })
    .await
    .map(drop)
}

async fn remove_cronjob(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let cronjobs: Api<CronJob> = Api::namespaced(scene.lab().client(), NAMESPACE);
    cronjobs
        .delete("vso-prober", &DeleteParams::default())
        .await?;
    cluster.is_empty().await
}

/// Makes a Job of the `CronJob`, as docs/install.md has it, and has how its container ended.
async fn run_now(scene: &Scene, cluster: &Cluster<'_>) -> Result<ContainerStateTerminated> {
    let name = "vso-prober-now";
    let script = format!("kubectl -n {NAMESPACE} create job --from=cronjob/vso-prober {name}");
    scene.shell(&script).await?;
    end_of(cluster, name).await
}

/// How the container of a Job ended.
async fn end_of(cluster: &Cluster<'_>, job: &str) -> Result<ContainerStateTerminated> {
    let labels = format!("batch.kubernetes.io/job-name={job}");
    eventually(&format!("end of {job}"), PATIENCE, async || {
        let pods = cluster.pods(&labels).await?;
        ensure!(pods.len() < 2, "a second try would hide what failed");
        let status = pods.into_iter().next().and_then(|pod| pod.status);
        let containers = status.and_then(|status| status.container_statuses);
        let container = containers.into_iter().flatten().next();
        Ok(container.and_then(|container| container.state?.terminated))
    })
    .await
}

/// Adds to an error what is known of the Pods.
async fn told<T>(cluster: &Cluster<'_>, outcome: Result<T>) -> Result<T> {
    match outcome {
        Err(error) => Err(error.context(cluster.state().await)),
        good => good,
    }
}

/// Its exit code, and what stands in the termination message.
async fn reason(scene: &Scene) -> Result<()> {
    let cluster = Cluster::start(scene).await?;
    cluster.apply("cronjob").await?;
    scene.lab().stop_operator().await?;
    let end = told(&cluster, run_now(scene, &cluster).await).await?;
    ensure!(
        end.exit_code == 1 && end.reason.as_deref() == Some("Error"),
        "{end:?}"
    );
    let message = end.message.context("it says nothing of the reason")?;
    for word in ["operator_down (responsible: operator)", "→ "] {
        ensure!(
            message.contains(word),
            "no `{word}` in the termination message: {message}"
        );
    }
    let jobs: Api<Job> = Api::namespaced(scene.lab().client(), NAMESPACE);
    eventually("failure of the Job", PATIENCE, async || {
        let status = jobs.get("vso-prober-now").await?.status;
        Ok(status
            .and_then(|status| status.failed)
            .filter(|failed| *failed == 1))
    })
    .await?;
    remove_cronjob(scene, &cluster).await
}

/// The leader's Pod is deleted, as in a rollout or when a node is drained.
async fn takes_over(scene: &Scene) -> Result<()> {
    let cluster = Cluster::start(scene).await?;
    cluster.apply("deployment").await?;
    told(&cluster, hand_over(scene, &cluster).await).await?;
    scene
        .shell(&format!(
            "kubectl -n {NAMESPACE} delete deployment vso-prober"
        ))
        .await?;
    cluster.is_empty().await
}

async fn hand_over(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let ready =
        format!("kubectl -n {NAMESPACE} rollout status deployment/vso-prober --timeout 90s");
    scene.shell(&ready).await?;
    let first = leader(scene, cluster, LEASE, "").await?;
    first.succeeds().await?;
    // As the README has it: whoever is asked finds all well.
    let doctor = format!(
        "kubectl -n {NAMESPACE} exec deploy/vso-prober -- vso-prober doctor --leader-elect"
    );
    scene.shell(&doctor).await?;
    let pods: Api<Pod> = Api::namespaced(scene.lab().client(), NAMESPACE);
    pods.delete(&first.name, &DeleteParams::default()).await?;
    let second = leader(scene, cluster, LEASE, &first.name).await?;
    second.succeeds().await?;
    scene.shell(&ready).await?;
    let pods = cluster.pods("").await?;
    let gone = pods.iter().all(|pod| pod.name_any() != first.name);
    ensure!(
        gone && pods.len() == 2,
        "{:?}",
        pods.iter().map(Pod::name_any).collect::<Vec<_>>()
    );
    Ok(())
}

/// The replica that probes.
struct Leader {
    name: String,
    door: Door,
    http: reqwest::Client,
}

/// Waits until a replica other than `former` leads, by the Lease of this name and by its own word.
async fn leader(scene: &Scene, cluster: &Cluster<'_>, lease: &str, former: &str) -> Result<Leader> {
    let leases: Api<Lease> = Api::namespaced(scene.lab().client(), NAMESPACE);
    let pod = eventually("leader", PATIENCE, async || {
        let lease = leases.get_opt(lease).await?;
        let holder = lease
            .and_then(|lease| lease.spec?.holder_identity)
            .unwrap_or_default();
        let pods = cluster.pods("").await?;
        Ok(pods.into_iter().find(|pod| {
            let name = pod.name_any();
            name != former && holder.starts_with(&name)
        }))
    })
    .await?;
    let leader = Leader {
        name: pod.name_any(),
        door: reach(scene, &pod, 9465).await?,
        http: reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()?,
    };
    eventually("word of the leader's", PATIENCE, async || {
        let metrics = leader.metrics().await?;
        let leads = samples(&metrics).any(|one| one.name == "vso_prober_leader" && one.value > 0.0);
        Ok(leads.then_some(()))
    })
    .await?;
    Ok(leader)
}

impl Leader {
    async fn metrics(&self) -> Result<String> {
        let url = format!("http://{}/metrics", self.door.address());
        Ok(self
            .http
            .get(url)
            .send()
            .await?
            .error_for_status()?
            .text()
            .await?)
    }

    /// Waits until every step has succeeded, beside the operator's metrics.
    async fn succeeds(&self) -> Result<()> {
        eventually("successful run", RUN, async || {
            let metrics = self.metrics().await?;
            let all = |name: &str| {
                let series = samples(&metrics).filter(|one| one.name == name);
                series.map(|one| one.value).collect::<Vec<_>>()
            };
            if samples(&metrics)
                .any(|one| one.name == "vso_probe_failures_total" && one.value > 0.0)
            {
                bail!("a step failed: {metrics}");
            }
            let good = all("vso_probe_success") == [1.0; 5] && all("vso_operator_up") == [1.0];
            Ok(good.then_some(()))
        })
        .await
    }
}
