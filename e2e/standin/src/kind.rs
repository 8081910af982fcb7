//! The common part of the five kinds: names, finalizers, and writes of their status.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use kube::api::PostParams;
use kube::{Api, Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vso_prober::operator::api::{
    VaultAuth, VaultConnection, VaultDynamicSecret, VaultPKISecret, VaultStaticSecret,
};

use super::canonical::Canonical;
use super::faults::{Place, Switchboard};

/// A custom resource of the operator.
pub(crate) trait Kind:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// Its name, which also is the source of its events.
    const KIND: &'static str;
    /// Its controller's name, in the metrics.
    const CONTROLLER: &'static str;
    /// Its finalizer, before the group.
    const FINALIZER: &'static str = Self::CONTROLLER;
    /// Whether it writes a Secret: then a change of its labels or annotations counts, too.
    const SYNCS: bool;

    /// Its spec.
    fn spec_mut(&mut self) -> &mut dyn Canonical;
}

macro_rules! kind {
    ($kind:ident, $controller:literal, $syncs:literal $(, $finalizer:literal)?) => {
        impl Kind for $kind {
            const KIND: &'static str = stringify!($kind);
            const CONTROLLER: &'static str = $controller;
            const SYNCS: bool = $syncs;
            $(const FINALIZER: &'static str = $finalizer;)?

            fn spec_mut(&mut self) -> &mut dyn Canonical {
                &mut self.spec
            }
        }
    };
}

kind!(VaultConnection, "vaultconnection", false);
kind!(VaultAuth, "vaultauth", false);
kind!(VaultStaticSecret, "vaultstaticsecret", true);
kind!(VaultDynamicSecret, "vaultdynamicsecret", true);
kind!(VaultPKISecret, "vaultpkisecret", true, "vaultpkisecrets");

/// Writes resources back.
#[derive(Clone)]
pub(crate) struct Writer {
    /// To Kubernetes.
    pub(crate) client: Client,
    /// To be slow on demand.
    pub(crate) faults: Switchboard,
}

impl Writer {
    /// Writes the status, and takes over what the API server made of it.
    pub(crate) async fn status<K: Kind>(&self, object: &mut K) -> Result<(), kube::Error> {
        self.faults.pass(Place::Status).await;
        *object = self
            .api(object)
            .replace_status(&object.name_any(), &PostParams::default(), object)
            .await?;
        Ok(())
    }

    /// Adds the finalizer if it is missing: a write of the whole object, its spec as the operator serialises it.
    pub(crate) async fn add_finalizer<K: Kind>(&self, object: &mut K) -> Result<(), kube::Error> {
        let finalizer = finalizer::<K>();
        if object.meta().deletion_timestamp.is_some() || object.finalizers().contains(&finalizer) {
            return Ok(());
        }
        self.faults.pass(Place::Finalizer).await;
        object.finalizers_mut().push(finalizer);
        self.replace(object).await
    }

    /// Removes the finalizer; false if it is to stick.
    pub(crate) async fn remove_finalizer<K: Kind>(
        &self,
        object: &mut K,
    ) -> Result<bool, kube::Error> {
        if self.faults.now().stick_finalizer {
            return Ok(false);
        }
        let finalizer = finalizer::<K>();
        if object.finalizers().contains(&finalizer) {
            self.faults.pass(Place::Finalizer).await;
            object.finalizers_mut().retain(|other| *other != finalizer);
            self.replace(object).await?;
        }
        Ok(true)
    }

    async fn replace<K: Kind>(&self, object: &mut K) -> Result<(), kube::Error> {
        object.spec_mut().canonicalise();
        *object = self
            .api(object)
            .replace(&object.name_any(), &PostParams::default(), object)
            .await?;
        Ok(())
    }

    fn api<K: Kind>(&self, object: &K) -> Api<K> {
        Api::namespaced(self.client.clone(), &object.namespace().unwrap_or_default())
    }
}

fn finalizer<K: Kind>() -> String {
    format!("{}.secrets.hashicorp.com/finalizer", K::FINALIZER)
}
