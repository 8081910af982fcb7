//! The rendered manifests, checked without a cluster.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use e2e::scenario::Scene;
use serde_json::{Value, json};

use super::installed::documents;
use super::shipped::{read, root};
use super::{AUDIT, OVERLAYS};

/// What the chart ships with `audit` alone.
const AUDIT_ALERTS: &str = "PrometheusRule vso-probe vso-prober-audit";

/// What a folder of `manifests` renders to.
pub(super) async fn kustomize(scene: &Scene, folder: &str) -> Result<Vec<Value>> {
    let folder = root().join("manifests").join(folder);
    let text = scene
        .kubectl(&["kustomize", &folder.display().to_string()], "")
        .await?;
    documents(&text)
}

/// Objects by their kind, namespace and name, without what only one of the tools writes.
pub(crate) type Objects = BTreeMap<String, Value>;

pub(crate) fn normal(objects: Vec<Value>) -> Result<Objects> {
    let mut normal = Objects::new();
    for mut object in objects {
        let name = [
            &object["kind"],
            &object["metadata"]["namespace"],
            &object["metadata"]["name"],
        ];
        let name = name.map(|part| part.as_str().unwrap_or("-")).join(" ");
        if let Some(Value::Object(labels)) = object.pointer_mut("/metadata/labels") {
            labels.retain(|label, _| {
                !matches!(
                    label.as_str(),
                    "helm.sh/chart" | "app.kubernetes.io/managed-by"
                )
            });
        }
        if let Some(text) = object["data"]["config.yaml"].as_str() {
            object["data"]["config.yaml"] = documents(text)?.remove(0);
        }
        ensure!(
            normal.insert(name.clone(), object).is_none(),
            "twice: {name}"
        );
    }
    Ok(normal)
}

/// What the chart renders to with these values.
async fn helm(scene: &Scene, values: &Value) -> Result<Objects> {
    let chart = root().join("manifests/chart");
    let file = scene.file(&values.to_string())?;
    let command = format!(
        "helm template vso-prober '{}' --namespace vso-probe --values '{}' \
         --api-versions monitoring.coreos.com/v1/ServiceMonitor --api-versions monitoring.coreos.com/v1/PrometheusRule",
        chart.display(),
        file.display()
    );
    normal(documents(&scene.shell(&command).await?)?)
}

/// Insists that both are the same.
pub(crate) fn same(what: &str, one: &Objects, other: &Objects) -> Result<()> {
    let names = |objects: &Objects| objects.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(one) == names(other),
        "{what}: {:?} and {:?}",
        names(one),
        names(other)
    );
    for (name, object) in one {
        ensure!(
            *object == other[name],
            "{what}: {name}: {object} and {}",
            other[name]
        );
    }
    Ok(())
}

/// Each overlay is the chart with some values, but for the namespace, which Helm wants to be there before.
pub(super) async fn alike(scene: &Scene) -> Result<()> {
    let push = |folder: &str| -> Result<Value> {
        let text = read(&format!("manifests/overlays/{folder}/config.yaml"))?;
        Ok(documents(&text)?.remove(0)["push"].take())
    };
    let values = [
        json!({}),
        json!({"mode": "cronjob"}),
        json!({"mode": "cronjob", "config": {"push": push("cronjob-push")?}}),
        json!({
            "serviceMonitor": {"labels": {"release": "kube-prometheus-stack"}},
            "prometheusRule": {"enabled": true, "labels": {"release": "kube-prometheus-stack"}},
            "dashboards": {"enabled": true},
        }),
        json!({
            "config": {"push": push("new-relic")?},
            "serviceMonitor": {"enabled": false},
            "volumes": [{"name": "new-relic", "secret": {"secretName": "new-relic"}}],
            "volumeMounts": [{"name": "new-relic", "mountPath": "/var/run/secrets/new-relic", "readOnly": true}],
        }),
    ];
    for (folder, values) in OVERLAYS.into_iter().zip(values) {
        let mut objects = normal(kustomize(scene, folder).await?)?;
        objects
            .remove("Namespace - vso-probe")
            .context("a namespace")?;
        // Where the chart has it, see below.
        objects.remove(AUDIT_ALERTS);
        same_but_for_order(folder, objects, helm(scene, &values).await?)?;
    }
    audit(scene).await?;
    let guard = normal(kustomize(scene, "guard").await?)?;
    let mut chart = helm(scene, &json!({"guard": {"enabled": true}})).await?;
    chart.retain(|name, _| guard.contains_key(name));
    same("guard", &guard, &chart)?;
    let chart = root().join("manifests/chart");
    let lint = format!("helm lint --strict '{}'", chart.display());
    scene.shell(&lint).await.map(drop)
}

/// The overlay that judges audit logs is what the chart adds for `audit`, with its alerts where there are any.
async fn audit(scene: &Scene) -> Result<()> {
    let added = async |values: Value| -> Result<Objects> {
        let without = helm(scene, &values).await?;
        let mut values = values;
        values["audit"] = json!({"enabled": true});
        let mut with = helm(scene, &values).await?;
        with.retain(|name, _| !without.contains_key(name));
        // Another configuration makes another Pod: here by this, in the overlay by the name of the ConfigMap.
        let set = with.get_mut("StatefulSet vso-probe vso-prober-audit");
        let template = &mut set.context("a StatefulSet")?["spec"]["template"]["metadata"];
        let annotations = template
            .as_object_mut()
            .and_then(|all| all.remove("annotations"));
        let annotations = annotations.context("the checksum of the configuration")?;
        ensure!(annotations["checksum/config"].is_string(), "{annotations}");
        Ok(with)
    };
    let overlay = audit_overlay(scene).await?;
    same_but_for_order(AUDIT, overlay.clone(), added(json!({})).await?)?;
    let mut stack = normal(kustomize(scene, "overlays/kube-prometheus-stack").await?)?;
    let labels = json!({"release": "kube-prometheus-stack"});
    let mut chart = added(json!({"prometheusRule": {"enabled": true, "labels": labels}})).await?;
    let shipped = chart
        .remove(AUDIT_ALERTS)
        .context("the chart has its alerts")?;
    ensure!(
        stack.remove(AUDIT_ALERTS) == Some(shipped),
        "{AUDIT_ALERTS}"
    );
    same_but_for_order(AUDIT, overlay, chart)
}

/// What the overlay that judges audit logs renders to, with the name of its `ConfigMap` without a hash.
async fn audit_overlay(scene: &Scene) -> Result<Objects> {
    let objects = kustomize(scene, AUDIT).await?;
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap");
    let hashed = map.and_then(|map| map["metadata"]["name"].as_str());
    let hashed = hashed.context("a ConfigMap")?;
    let (name, _) = hashed.rsplit_once('-').context("a hash")?;
    let text = serde_json::to_string(&objects)?;
    let quoted = |name: &str| format!("\"{name}\"");
    let text = text.replace(&quoted(hashed), &quoted(name));
    normal(serde_json::from_str(&text)?)
}

/// Insists that both are the same. Neither says in which order volumes come.
fn same_but_for_order(what: &str, mut one: Objects, mut other: Objects) -> Result<()> {
    for objects in [&mut one, &mut other] {
        objects.values_mut().for_each(sort);
    }
    same(what, &one, &other)
}

/// Sorts the volumes of a template, and where they are mounted, by name.
fn sort(object: &mut Value) {
    match object {
        Value::Object(fields) => {
            for (key, value) in fields {
                if let ("volumes" | "volumeMounts", Value::Array(items)) =
                    (key.as_str(), &mut *value)
                {
                    items.sort_by_key(|item| item["name"].to_string());
                }
                sort(value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(sort),
        _ => {}
    }
}

/// The roles and bindings among objects, without their labels.
pub(crate) fn roles(objects: Objects) -> Objects {
    let rbac = objects
        .into_iter()
        .filter(|(_, object)| object["apiVersion"] == "rbac.authorization.k8s.io/v1");
    rbac.map(|(name, mut object)| {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            metadata.remove("labels");
        }
        (name, object)
    })
    .collect()
}

/// What `doctor` prints for a configuration.
async fn printed(scene: &Scene, config: &Value, arguments: &[&str]) -> Result<String> {
    let prober = scene.prober([]).edit(|whole| *whole = config.clone());
    let outcome = prober.run(&[&["doctor"], arguments].concat()).await?;
    Ok(outcome.exits(0)?.stdout)
}

/// The roles that `doctor` prints for a configuration and a process with these arguments, for this ServiceAccount.
pub(crate) async fn printed_roles(
    scene: &Scene,
    config: &Value,
    process: &[&str],
    account: &str,
) -> Result<Objects> {
    let arguments = ["--print-rbac", "--service-account", account];
    let printed = printed(scene, config, &[&arguments, process].concat()).await?;
    normal(documents(&printed)?)
}

/// What is shipped is what `doctor` prints for the configuration that is shipped, and no more.
pub(super) async fn rights(scene: &Scene) -> Result<()> {
    for folder in ["base"].iter().chain(&OVERLAYS) {
        let objects = normal(kustomize(scene, folder).await?)?;
        let config = objects["ConfigMap vso-probe vso-prober"]["data"]["config.yaml"].clone();
        let leads = objects.contains_key("Deployment vso-probe vso-prober");
        let process: &[_] = if leads { &["--leader-elect"] } else { &[] };
        same(
            folder,
            &roles(objects),
            &printed_roles(scene, &config, process, "vso-prober").await?,
        )?;
        let policy = printed(scene, &config, &["--print-policy"]).await?;
        let shipped = read("manifests/vault/policy.hcl")?;
        let shipped = shipped.split_once('\n').context("a remark")?.1;
        ensure!(
            shipped == policy,
            "{folder}: the policy is\n{shipped}and should be\n{policy}"
        );
    }
    let objects = audit_overlay(scene).await?;
    let config = objects["ConfigMap vso-probe vso-prober-audit"]["data"]["config.yaml"].clone();
    let account = "vso-prober-audit";
    let mut printed = printed_roles(scene, &config, &["--only", "audit"], account).await?;
    // The base has these.
    for kind in ["ClusterRole", "ClusterRoleBinding"] {
        let metrics = printed.remove(&format!("{kind} - vso-prober-metrics.vso-probe"));
        metrics.context("the right to the operator's metrics")?;
    }
    same(AUDIT, &roles(objects), &printed)
}

/// Whatever the values, the chart grants what `doctor` prints for the configuration in them.
pub(super) async fn rights_of_values(scene: &Scene) -> Result<()> {
    let dynamic = json!({"name": "postgres", "dynamic": {"authRef": "probe", "mount": "database", "path": "creds/probe"}, "steps": {"create": "5s"}});
    let pki = json!({
        "name": "pki", "steps": {"create": "5s"},
        "pki": {"authRef": "other", "mount": "pki", "role": "probe", "commonName": "canary.example", "ttl": "1h", "expiryOffset": "10m"},
    });
    let kv = json!({"name": "kv", "static": {"authRef": "probe", "mount": "kv", "type": "kv-v1", "path": "a"}, "steps": {"create": "5s"}});
    let usual = json!({"name": "kv", "static": {"mount": "kv", "type": "kv-v2", "path": "a", "refreshAfter": "9s"}});
    let url = json!({"url": "http://10.0.0.1:8080/stats", "bearerTokenFile": "/token"});
    let prometheus =
        json!({"prometheus": {"url": "http://prometheus:9090", "selector": "{job=\"vso\"}"}});
    let configs = [
        json!({"probes": [dynamic, kv, pki], "instance": "blue"}),
        json!({"probes": [pki], "operator": {"metrics": {}, "namespace": "vso"}}),
        json!({"probes": [dynamic], "operator": {"metrics": url}}),
        json!({"probes": [kv], "operator": {"metrics": prometheus}}),
        json!({"probes": [usual], "operator": {"metrics": {"pods": {}, "serviceAccount": "reader"}}}),
        json!({"operator": {"metrics": {"pods": {"scheme": "http"}}}}),
    ];
    for config in configs {
        for mode in ["deployment", "cronjob"] {
            let objects = helm(scene, &json!({"mode": mode, "config": config})).await?;
            let config = objects["ConfigMap vso-probe vso-prober"]["data"]["config.yaml"].clone();
            let process: &[_] = match mode {
                "deployment" => &["--leader-elect"],
                _ => &[],
            };
            let wanted = printed_roles(scene, &config, process, "vso-prober").await?;
            same(&config.to_string(), &roles(objects), &wanted)?;
        }
    }
    Ok(())
}

/// The configurations pass the check, differ in where they push to alone, and reach Vault where the operator does.
pub(super) async fn configurations(scene: &Scene) -> Result<()> {
    let base = normal(kustomize(scene, "base").await?)?;
    let base_config = &base["ConfigMap vso-probe vso-prober"]["data"]["config.yaml"];
    for folder in ["base"].iter().chain(&OVERLAYS) {
        let objects = normal(kustomize(scene, folder).await?)?;
        let mut config = objects["ConfigMap vso-probe vso-prober"]["data"]["config.yaml"].clone();
        let prober = scene.prober([]).edit(|whole| *whole = config.clone());
        prober.run(&["config", "check"]).await?.exits(0)?;
        let address = &objects["VaultConnection vso-probe vso-prober-canaries"]["spec"]["address"];
        ensure!(
            *address == config["vault"]["address"],
            "{folder}: {address}"
        );
        if let Some(config) = config.as_object_mut() {
            config.remove("push");
        }
        ensure!(config == *base_config, "{folder}: {config}");
    }
    let objects = audit_overlay(scene).await?;
    let config = &objects["ConfigMap vso-probe vso-prober-audit"]["data"]["config.yaml"];
    let prober = scene.prober([]).edit(|whole| *whole = config.clone());
    prober.run(&["config", "check"]).await?.exits(0)?;
    for key in ["kubernetes", "operator", "probes", "server"] {
        ensure!(config[key] == base_config[key], "{AUDIT}: {key}: {config}");
    }
    Ok(())
}
