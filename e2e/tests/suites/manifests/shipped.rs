//! The shipped manifests as files, and the commands that install them.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use e2e::scenario::Scene;
use serde_json::json;

/// The root folder of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file, by its path from there.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("could not read `{path}`"))
}

/// The commands that the README gives to install with.
pub(crate) fn commands() -> Result<Vec<String>> {
    let readme = read("README.md")?;
    let (_, rest) = readme
        .split_once("## Install")
        .context("the README tells how to install")?;
    let block = rest
        .split("```sh\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let block = block.context("with commands")?;
    let joined = block.replace("\\\n", " ");
    Ok(joined
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect())
}

/// Definitions of Prometheus Operator's kinds that take what is written, whatever it is.
pub(crate) async fn prometheus_operator(scene: &Scene) -> Result<()> {
    for kind in ["ServiceMonitor", "PrometheusRule"] {
        definition(scene, kind).await?;
    }
    Ok(())
}

async fn definition(scene: &Scene, kind: &str) -> Result<()> {
    let singular = kind.to_lowercase();
    let plural = format!("{singular}s");
    let name = format!("{plural}.monitoring.coreos.com");
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    scene
        .apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": name},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"kind": kind, "plural": plural, "singular": singular},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                }],
            },
        }))
        .await?;
    let wait = format!("kubectl wait --for=condition=Established crd/{name} --timeout=20s");
    scene.shell(&wait).await.map(drop)
}
