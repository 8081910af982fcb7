//! The folder in Vault of the canaries of the lab's cluster.

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::Api;

use super::Scene;
use crate::lab::NAMESPACE;

impl Scene {
    /// The folder of an instance's canaries under a mount, e.g. `vso-prober/default/5f0c…`.
    pub async fn kv_folder(&self, instance: &str) -> Result<String> {
        let namespaces: Api<Namespace> = Api::all(self.lab().client());
        let uid = namespaces.get(NAMESPACE).await?.metadata.uid;
        let uid = uid.context("a namespace has a UID")?;
        Ok(format!("vso-prober/{instance}/{uid}"))
    }
}
