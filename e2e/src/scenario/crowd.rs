//! A crowd of other resources, which keeps the operator busy.

use std::time::Duration;

use anyhow::{Context, Result};
use futures::{StreamExt, TryStreamExt, stream};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::core::DynamicObject;
use serde_json::json;
use tokio::time::sleep;
use vso_prober::model::Kind;

use super::{Scene, eventually};
use crate::lab::NAMESPACE;

/// The label of what is the crowd's.
const LABEL: &str = "crowd=yes";
/// The secret that they all read.
const PATH: &str = "vso-prober/crowd";
/// How many requests are under way at once.
const AT_ONCE: usize = 50;
/// How often it is looked whether they are there: a look costs as much as many of them.
const GLANCE: Duration = Duration::from_millis(200);
/// How long the operator may take with all of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// `VaultStaticSecret`s that are no canaries.
#[derive(Debug)]
pub struct Crowd<'a> {
    scene: &'a Scene,
    auth: &'a str,
}

impl<'a> Crowd<'a> {
    /// Nobody yet; they will refer to this VaultAuth.
    pub async fn new(scene: &'a Scene, auth: &'a str) -> Result<Self> {
        let secret = json!({"data": {"key": "value"}});
        let vault = scene.lab().vault();
        vault.write(&format!("kvv2/data/{PATH}"), secret).await?;
        Ok(Self { scene, auth })
    }

    /// Creates so many at once, and waits until the operator has done with each.
    pub async fn gather(&self, size: usize, refresh: &str) -> Result<()> {
        let resources = self.scene.resources(Kind::Static);
        stream::iter(0..size)
            .map(async |number| {
                let object = self.member(number, refresh)?;
                let created = resources.create(&PostParams::default(), &object).await;
                created.map(drop).context("could not add to the crowd")
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await?;
        let all = ListParams::default().labels(LABEL);
        eventually("finalizer on each of the crowd", PATIENCE, async || {
            sleep(GLANCE).await;
            let list = resources.list_metadata(&all).await?;
            let done = list.iter().filter(|one| !one.finalizers().is_empty());
            Ok((done.count() >= size).then_some(()))
        })
        .await
    }

    /// Deletes them all, and waits until they have gone with their Secrets.
    pub async fn leave(&self) -> Result<()> {
        let all = ListParams::default().labels(LABEL);
        let (resources, secrets) = (self.scene.resources(Kind::Static), self.scene.secrets());
        let any = all.clone().limit(1);
        let now = DeleteParams::default();
        resources.delete_collection(&now, &all).await?;
        eventually("end of the crowd", PATIENCE, async || {
            sleep(GLANCE).await;
            let left = resources.list_metadata(&any).await?.items;
            Ok(left.is_empty().then_some(()))
        })
        .await?;
        // Kubernetes itself would collect no more than 20 a second.
        secrets.delete_collection(&now, &all).await?;
        // Each Secret that goes wakes the operator once more.
        sleep(Duration::from_millis(500)).await;
        Ok(())
    }

    /// Has them leave for good, and with them what they read.
    pub async fn disband(self) -> Result<()> {
        self.leave().await?;
        let vault = self.scene.lab().vault();
        vault
            .delete(&format!("kvv2/metadata/{PATH}"))
            .await
            .map(drop)
    }

    fn member(&self, number: usize, refresh: &str) -> Result<DynamicObject> {
        let name = format!("crowd-{number}");
        let object = json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultStaticSecret",
            "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"crowd": "yes"}},
            "spec": {
                "vaultAuthRef": self.auth, "mount": "kvv2", "type": "kv-v2", "path": PATH,
                "refreshAfter": refresh, "hmacSecretData": true,
                "destination": {
                    "name": name, "create": true, "labels": {"crowd": "yes"}, "overwrite": false, "transformation": {},
                },
            },
        });
        serde_json::from_value(object).context("it is an object")
    }
}
