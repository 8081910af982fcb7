//! What is shipped for clusters: `manifests/`, as files, as they render, and as they are installed in a lab.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use e2e::lab::OPERATOR_NAMESPACE;
use e2e::scenario::{Prober, Scene};
use serde_json::{Value, json};

/// Where the shipped configuration says that Vault is.
const VAULT: &str = "http://vault.vault:8200";

/// The root folder of the project.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file, by its path from there.
pub(crate) fn read(path: &str) -> Result<String> {
    fs::read_to_string(root().join(path)).with_context(|| format!("could not read `{path}`"))
}

/// The documents of a YAML file.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|one| !one.is_null()).collect())
}

/// The commands that the README gives to install with.
pub(crate) fn commands() -> Result<Vec<String>> {
    let readme = read("README.md")?;
    let (_, rest) = readme
        .split_once("## To the first graph")
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

/// A definition of Prometheus Operator's monitors of Services that takes what is written, whatever it is.
async fn service_monitors(scene: &Scene) -> Result<()> {
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    scene
        .apply(json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": "servicemonitors.monitoring.coreos.com"},
            "spec": {
                "group": "monitoring.coreos.com", "scope": "Namespaced",
                "names": {"kind": "ServiceMonitor", "plural": "servicemonitors", "singular": "servicemonitor"},
                "versions": [{
                    "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                }],
            },
        }))
        .await?;
    let wait = "kubectl wait --for=condition=Established crd/servicemonitors.monitoring.coreos.com --timeout=20s";
    scene.shell(wait).await.map(drop)
}

/// Installs what is shipped by the commands of the README, once a lab, with the lab's Vault for a user's. It comes over
/// what the lab grants its prober, and leaves no more than what is shipped.
pub(crate) async fn install(scene: &Scene) -> Result<Prober> {
    let copy = scene.lab().folder().join("shipped");
    if !copy.is_dir() {
        service_monitors(scene).await?;
        copy_folder(
            &root().join("manifests"),
            &copy.join("manifests"),
            scene.lab().vault().address(),
        )?;
        for command in commands()? {
            scene
                .shell(&format!("cd '{}'\n{command}", copy.display()))
                .await?;
        }
    }
    prober(scene).await
}

/// Copies a folder, with another address of Vault.
fn copy_folder(from: &Path, to: &Path, vault: &str) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in from.read_dir()? {
        let (path, to) = {
            let entry = entry?;
            (entry.path(), to.join(entry.file_name()))
        };
        if path.is_dir() {
            copy_folder(&path, &to, vault)?;
        } else {
            fs::write(to, fs::read_to_string(&path)?.replace(VAULT, vault))?;
        }
    }
    Ok(())
}

/// The prober with the shipped configuration, as the ServiceAccount of that name; it finds what a Pod would find elsewhere.
async fn prober(scene: &Scene) -> Result<Prober> {
    let mut config = documents(&read("manifests/base/config.yaml")?)?.remove(0);
    ensure!(config["operator"]["namespace"] == OPERATOR_NAMESPACE);
    config["vault"]["address"] = scene.lab().vault().address().into();
    config["vault"]["auth"]["kubernetes"]["tokenFile"] = json!(scene.lab().prober_token_file());
    let url = scene.lab().metrics_url().await;
    let port = url.trim_end_matches("/metrics").rsplit(':').next();
    let port: u16 = port.context("the URL has a port")?.parse()?;
    let metrics = &mut config["operator"]["metrics"];
    metrics["pods"] = json!({"port": port, "scheme": "http"});
    metrics["bearerTokenFile"] = json!(scene.file(&scene.token("vso-prober", None).await?)?);
    Ok(scene.prober([]).edit(|whole| *whole = config))
}
