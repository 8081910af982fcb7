//! The CRDs of the operator: its own, or made from this project's types.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use kube::core::Request;
use kube::core::params::GetParams;
use kube::{Client, CustomResourceExt};
use serde_json::Value;
use tokio::time::{Instant, interval, timeout};
use vso_prober::operator::api::{
    VaultAuth, VaultAuthGlobal, VaultConnection, VaultDynamicSecret, VaultPKISecret,
    VaultStaticSecret,
};

use super::post;

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// For so long after a CRD was established the API server makes each creation of its resources wait,
/// for the sake of its replicas. A canary's first creation must not be measured with it.
const PAUSE: Duration = Duration::from_secs(2);

/// Creates the CRDs, a real operator's or the project's own, and waits until they are served. Returns
/// when the API server's [`PAUSE`] is over.
pub(super) async fn create(client: &Client, crds: Option<&Path>) -> Result<Instant> {
    let bodies = match crds {
        Some(folder) => read_yaml(folder)?,
        None => [
            VaultConnection::crd(),
            VaultAuth::crd(),
            VaultAuthGlobal::crd(),
            VaultStaticSecret::crd(),
            VaultDynamicSecret::crd(),
            VaultPKISecret::crd(),
        ]
        .iter()
        .map(serde_json::to_vec)
        .collect::<Result<_, _>>()?,
    };
    try_join_all(bodies.into_iter().map(|body| definition(client, body))).await?;
    Ok(Instant::now() + PAUSE)
}

fn read_yaml(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let tried = || {
        format!(
            "could not read the operator's CRDs in `{}`",
            folder.display()
        )
    };
    let mut bodies = Vec::new();
    for entry in folder.read_dir().with_context(tried)? {
        let path = entry.with_context(tried)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            bodies.push(fs::read(&path).with_context(tried)?);
        }
    }
    if bodies.is_empty() {
        bail!(
            "there is no .yaml in `{}`, where VSO_CRDS says the operator's CRDs are",
            folder.display()
        );
    }
    Ok(bodies)
}

async fn definition(client: &Client, body: Vec<u8>) -> Result<()> {
    let created = post(client, CRDS, body).await?;
    let name = created["metadata"]["name"]
        .as_str()
        .context("a CRD has a name")?
        .to_owned();
    let served = async {
        let mut tick = interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let request = Request::new(CRDS).get(&name, &GetParams::default())?;
            let crd: Value = client.request(request).await?;
            let conditions = crd["status"]["conditions"].as_array();
            let established = |condition: &Value| {
                condition["type"] == "Established" && condition["status"] == "True"
            };
            if conditions.is_some_and(|all| all.iter().any(established)) {
                return Ok(());
            }
        }
    };
    let limit = Duration::from_secs(20);
    timeout(limit, served)
        .await
        .with_context(|| format!("the CRD `{name}` was not served within {limit:?}"))?
}
