//! Resources of others that all come at once.

use std::time::Duration;

use anyhow::{Context, Result};
use e2e::lab::NAMESPACE;
use e2e::scenario::{Scene, eventually};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::api::{DeleteParams, ListParams, PostParams};
use serde_json::json;
use vso_prober::model::Kind;

/// How many there are, and how many are asked for at the same time.
const SIZE: usize = 300;
const ABREAST: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);
/// What they all read.
const SECRET: &str = "kvv2/data/vso-prober/crowd";

/// Resources of others.
pub(super) struct Crowd<'a>(&'a Scene);

impl<'a> Crowd<'a> {
    pub(super) async fn new(scene: &'a Scene) -> Result<Self> {
        let secret = json!({"data": {"key": "value"}});
        scene.lab().vault().write(SECRET, secret).await?;
        Ok(Self(scene))
    }

    /// Creates them all.
    pub(super) async fn comes(&self) -> Result<()> {
        let resources = self.0.resources(Kind::Static);
        stream::iter(0..SIZE)
            .map(|number| {
                let name = format!("crowd-{number}");
                let body = json!({
                    "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
                    "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"crowd": "yes"}},
                    "spec": {
                        "vaultAuthRef": "probe", "mount": "kvv2", "type": "kv-v2", "path": "vso-prober/crowd",
                        "refreshAfter": "1h", "hmacSecretData": true,
                        "destination": {"name": name, "create": true, "overwrite": false, "transformation": {}},
                    },
                });
                let resources = &resources;
                async move {
                    let object = serde_json::from_value(body)?;
                    let created = resources.create(&PostParams::default(), &object).await;
                    created.map(drop).with_context(|| format!("could not create `{name}`"))
                }
            })
            .buffer_unordered(ABREAST)
            .try_collect()
            .await
    }

    /// Deletes them, and waits until they and their Secrets have gone.
    pub(super) async fn leaves(&self) -> Result<()> {
        let all = ListParams::default().labels("crowd=yes");
        let secrets = ListParams::default().labels("secrets.hashicorp.com/vso-ownerRefUID");
        let resources = self.0.resources(Kind::Static);
        resources
            .delete_collection(&DeleteParams::default(), &all)
            .await?;
        eventually("end of the crowd", PATIENCE, async || {
            let left = resources.list_metadata(&all).await?.items.len();
            let held = self.0.secrets().list_metadata(&secrets).await?.items.len();
            Ok((left + held == 0).then_some(()))
        })
        .await
    }

    /// Removes what they read.
    pub(super) async fn gone(self) -> Result<()> {
        let secret = SECRET.replace("/data/", "/metadata/");
        self.0.lab().vault().delete(&secret).await.map(drop)
    }
}
