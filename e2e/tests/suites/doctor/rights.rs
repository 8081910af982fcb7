//! The least rights: enough for every run, and none too many.

use anyhow::{Context, Result, ensure};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Probe, Scene};
use k8s_openapi::api::rbac::v1::{ClusterRole, Role};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use super::patient::{Patient, Report};

fn probes() -> [Probe; 3] {
    [Probe::kv2("kv2"), Probe::kv1("kv1"), Probe::database("db")]
}

/// With nothing but what is printed, every step of every kind is green, and so is the clean-up.
pub(super) async fn what_is_printed_is_enough(scene: &Scene) -> Result<()> {
    let patient = Patient::new(scene, "enough", probes()).await?;
    let report = patient.is_well().await?;
    ensure!(report.found("warning").is_empty(), "{report}");
    patient.prober.probe(&[]).await?.exits(0)?;
    patient
        .prober
        .run(&["cleanup", "--all"])
        .await?
        .exits(0)
        .map(drop)
}

/// Without any one verb of any one rule, that is found, or warned of where `doctor` alone needs it; and the
/// printed fix brings it back.
pub(super) async fn each_rule(scene: &Scene) -> Result<()> {
    let url = scene.lab().metrics_url().await;
    let file = scene.file("token")?;
    let prober = scene.prober(probes()).edit(|config| {
        config["operator"]["metrics"] = json!({"url": url, "bearerTokenFile": file});
    });
    let patient = Patient::with(scene, "ruled", prober).await?;
    patient.is_well().await?;
    let mut missed = 0;
    for (namespace, names) in [
        (NAMESPACE, &["ruled", "ruled-doctor"][..]),
        (e2e::lab::OPERATOR_NAMESPACE, &["ruled.vso-probe"]),
    ] {
        for name in names {
            let roles: Api<Role> = Api::namespaced(scene.lab().client(), namespace);
            let role = roles.get(name).await?;
            let rules = role.rules.clone().context("a role has rules")?;
            for place in 0..rules.len() {
                let mut less = roles.get(name).await?;
                let rule = less.rules.as_mut().context("rules")?.remove(place);
                let resource = rule.resources.unwrap_or_default().join("");
                roles.replace(name, &PostParams::default(), &less).await?;
                let alone = *name == "ruled-doctor";
                let seen = missed_rule(scene, &patient, &resource, alone).await?;
                ensure!(
                    seen.1 == i32::from(!alone),
                    "{resource}: exit code {}",
                    seen.1
                );
                shell_apply(scene, &seen.0).await?;
                let back = roles.get(name).await?;
                ensure!(back.rules.as_ref() == Some(&rules), "{back:?}");
                missed += 1;
            }
        }
    }
    let roles: Api<ClusterRole> = Api::all(scene.lab().client());
    let none = json!({"rules": []});
    roles
        .patch(
            "ruled-metrics.vso-probe",
            &PatchParams::default(),
            &Patch::Merge(none),
        )
        .await?;
    let (fix, _) = missed_rule(scene, &patient, "nonResourceURL", false).await?;
    shell_apply(scene, &fix).await?;
    patient.is_well().await?;
    ensure!(missed == 14, "{missed} rules");
    let left: Vec<_> = roles
        .list(&kube::api::ListParams::default())
        .await?
        .iter()
        .map(ResourceExt::name_any)
        .filter(|name| name.starts_with("ruled"))
        .collect();
    ensure!(left == ["ruled-metrics.vso-probe"], "{left:?}");
    Ok(())
}

async fn shell_apply(scene: &Scene, fix: &str) -> Result<()> {
    scene.shell(fix).await.map(drop)
}

/// Waits until a rule is missed: the fix, and the exit code. The API server takes a moment to heed a change.
async fn missed_rule(
    scene: &Scene,
    patient: &Patient<'_>,
    resource: &str,
    alone: bool,
) -> Result<(String, i32)> {
    let result = if alone { "warning" } else { "finding" };
    e2e::scenario::eventually(
        &format!("word on `{resource}`"),
        std::time::Duration::from_secs(15),
        async || {
            let (code, report) = Report::any(scene, &patient.prober, &[]).await?;
            let found = report.found(result);
            let found = found
                .iter()
                .find(|check| check.check == "rbac" && check.subject.starts_with(resource));
            Ok(found.and_then(|check| Some((check.fix.clone()?, code))))
        },
    )
    .await
}

/// Without any one path of the policy, that is found; and the printed fix brings it back.
pub(super) async fn each_path(scene: &Scene) -> Result<()> {
    let patient = Patient::new(scene, "pathed", probes()).await?;
    let policy = patient.policy().await?;
    // One on a line, or on several up to a brace on a line of its own.
    let mut paths: Vec<String> = Vec::new();
    for line in policy.lines() {
        if line.starts_with("path ") {
            paths.push(line.to_owned());
        } else if let Some(path) = paths.last_mut()
            && (path.ends_with('{') || (path.contains('\n') && !path.ends_with("\n}")))
        {
            path.push('\n');
            path.push_str(line);
        }
    }
    ensure!(paths.len() >= 8, "{policy}");
    let mut patient = patient;
    for path in &paths {
        patient.write_policy(&policy.replace(path, "")).await?;
        let (code, report) = Report::any(scene, &patient.prober, &[]).await?;
        let name = path.split('"').nth(1).context("a path")?;
        let told = report.0.iter().find(|check| {
            check.check == "vault-policy" && check.subject == name && check.fix.is_some()
        });
        let fix = told.and_then(|check| check.fix.clone());
        let fix = fix.with_context(|| format!("not a word on `{name}`:\n{report}"))?;
        // Where no run needs it, it is but a warning.
        let alone = policy
            .find("# For")
            .is_some_and(|at| policy.find(path) > Some(at));
        ensure!(
            code == i32::from(!alone),
            "{name}: exit code {code}:\n{report}"
        );
        patient = patient.treated(&fix).await?;
        let well = patient.is_well().await?;
        ensure!(well.found("warning").is_empty(), "{well}");
    }
    Ok(())
}

/// `serve --leader-elect` needs a Lease of its own.
pub(super) async fn leader(scene: &Scene) -> Result<()> {
    let patient = Patient::new(scene, "leader", [Probe::kv2("kv2")]).await?;
    patient.is_well().await?;
    let (code, report) = Report::any(scene, &patient.prober, &["--leader-elect"]).await?;
    ensure!(code == 1, "{report}");
    report.finding("rbac", "vso-prober-default")?;
    scene
        .kubectl(
            &["apply", "-f", "-"],
            &patient.rbac(&["--leader-elect"]).await?,
        )
        .await?;
    let (code, report) = Report::any(scene, &patient.prober, &["--leader-elect"]).await?;
    ensure!(code == 0, "{report}");
    Ok(())
}
