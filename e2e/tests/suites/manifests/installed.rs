//! An installation of the shipped manifests in a lab without a node: the prober runs beside the cluster.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use e2e::lab::OPERATOR_NAMESPACE;
use e2e::scenario::{Prober, Scene};
use serde_json::{Value, json};

use super::shipped::{commands, prometheus_operator, read, root};

/// Where the shipped configuration says that Vault is.
const VAULT: &str = "http://vault.vault:8200";

/// The documents of a YAML file.
pub(crate) fn documents(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text)?;
    Ok(documents.into_iter().filter(|one| !one.is_null()).collect())
}

/// Installs what is shipped by the commands of the README, once a lab, with the lab's Vault for a user's. It comes over
/// what the lab grants its prober, and leaves no more than what is shipped.
pub(crate) async fn install(scene: &Scene) -> Result<Prober> {
    let copy = scene.lab().folder().join("shipped");
    if !copy.is_dir() {
        prometheus_operator(scene).await?;
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
    Ok(scene.prober([]).edit(|whole| *whole = config))
}
