//! The three kinds that write Secrets, where something happens to all of them at once.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use tokio::sync::{mpsc, watch};
use vso_prober::operator::api::{VaultDynamicSecret, VaultPKISecret, VaultStaticSecret};

use super::controller::Controller;
use super::dynamic_secret::DynamicSecrets;
use super::faults::Switchboard;
use super::horizon;
use super::kind::Kind;
use super::pki_secret::PkiSecrets;
use super::queue::Queue;
use super::secret;
use super::static_secret::StaticSecrets;

/// One kind.
pub(crate) struct Part<K: Kind, R> {
    /// What the watch holds.
    pub(crate) store: Store<K>,
    /// Where reconciles are asked for.
    pub(crate) queue: Queue<K>,
    /// Who does them.
    pub(crate) reconciler: Arc<R>,
}

impl<K: Kind, R> Part<K, R> {
    /// The part that `controller` serves and `reconciler` does.
    pub(crate) fn new(controller: &Controller<K>, reconciler: R) -> Self {
        Self {
            store: controller.store.clone(),
            queue: controller.queue.clone(),
            reconciler: Arc::new(reconciler),
        }
    }
}

impl<K: Kind, R> Clone for Part<K, R> {
    fn clone(&self) -> Self {
        Self {
            store: self.store.clone(),
            queue: self.queue.clone(),
            reconciler: self.reconciler.clone(),
        }
    }
}

/// All three.
#[derive(Clone)]
pub(crate) struct Secrets {
    /// The static ones.
    pub(crate) statics: Part<VaultStaticSecret, StaticSecrets>,
    /// The dynamic ones.
    pub(crate) dynamics: Part<VaultDynamicSecret, DynamicSecrets>,
    /// The certificates.
    pub(crate) pkis: Part<VaultPKISecret, PkiSecrets>,
}

impl Secrets {
    /// Runs all that happens to many at once.
    pub(crate) async fn run(
        self,
        client: Client,
        synced: watch::Sender<bool>,
        ends: mpsc::UnboundedReceiver<String>,
        faults: Switchboard,
    ) {
        tokio::join!(
            self.clone().wake_owners(client, synced),
            self.clone().wake_users(ends),
            self.clone().reconsider(faults.clone()),
            self.rewrite(faults),
        );
    }

    /// Measures the queues.
    pub(crate) fn measure(&self) {
        self.statics.queue.measure();
        self.dynamics.queue.measure();
        self.pkis.queue.measure();
    }

    /// Wakes the owner of each labelled Secret that goes, within 0.1 s.
    async fn wake_owners(self, client: Client, synced: watch::Sender<bool>) {
        // All of them: with a selector, a Secret whose labels are touched would seem to go.
        let api: Api<PartialObjectMeta<Secret>> = Api::all(client);
        let mut events = std::pin::pin!(watcher(api, Config::default()).default_backoff());
        while let Some(event) = events.next().await {
            match event {
                Ok(Event::InitDone) => _ = synced.send_replace(true),
                Ok(Event::Delete(gone)) if secret::is_labelled(gone.labels()) => {
                    wake(&gone, &self.statics.queue);
                    wake(&gone, &self.dynamics.queue);
                    wake(&gone, &self.pkis.queue);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, "watch of Secrets failed"),
            }
        }
    }

    /// A client's end wakes all who used it, within 0.2 s; a dynamic secret gets a new credential.
    async fn wake_users(self, mut ends: mpsc::UnboundedReceiver<String>) {
        while let Some(key) = ends.recv().await {
            let delay = || Duration::from_secs_f64(horizon::jitter(0.2, &mut rand::rng()));
            for user in self.statics.store.state() {
                if user
                    .status
                    .as_ref()
                    .is_some_and(|status| status.vault_client_meta.cache_key.as_ref() == Some(&key))
                {
                    self.statics
                        .queue
                        .add_after(ObjectRef::from_obj(&*user), delay());
                }
            }
            for user in self.dynamics.store.state() {
                if user
                    .status
                    .as_ref()
                    .is_some_and(|status| status.vault_client_meta.cache_key.as_ref() == Some(&key))
                {
                    self.force_new(&user);
                    self.dynamics
                        .queue
                        .add_after(ObjectRef::from_obj(&*user), delay());
                }
            }
        }
    }

    fn force_new(&self, object: &VaultDynamicSecret) {
        let mut memory = self.dynamics.reconciler.memory();
        memory.forced.insert(ObjectRef::from_obj(object));
    }

    /// Asks again for what was passed over, whenever other faults are put in force.
    async fn reconsider(self, faults: Switchboard) {
        let mut changes = faults.subscribe();
        while changes.changed().await.is_ok() {
            let faults = changes.borrow_and_update().clone();
            self.statics.queue.reconsider(&faults);
            self.dynamics.queue.reconsider(&faults);
            self.pkis.queue.reconsider(&faults);
        }
    }

    /// Writes every Secret again and again while told so.
    async fn rewrite(self, faults: Switchboard) {
        let mut changes = faults.subscribe();
        loop {
            let told = changes
                .wait_for(|faults| faults.rewrite_every.is_some())
                .await;
            let Some(every) = told.ok().and_then(|faults| faults.rewrite_every) else {
                return std::future::pending().await;
            };
            tokio::time::sleep(every).await;
            for object in self.statics.store.state() {
                let key = ObjectRef::from_obj(&*object);
                self.statics.reconciler.memory().forced.insert(key.clone());
                self.statics.queue.add(key);
            }
            for object in self.dynamics.store.state() {
                self.force_new(&object);
                self.dynamics.queue.add(ObjectRef::from_obj(&*object));
            }
            for object in self.pkis.store.state() {
                let key = ObjectRef::from_obj(&*object);
                self.pkis.reconciler.memory().forced.insert(key.clone());
                self.pkis.queue.add(key);
            }
        }
    }
}

fn wake<K: Kind>(gone: &PartialObjectMeta<Secret>, queue: &Queue<K>) {
    let mine =
        |owner: &&OwnerReference| owner.kind == K::KIND && owner.api_version == K::api_version(&());
    for owner in gone.owner_references().iter().filter(mine) {
        let key = ObjectRef::new(&owner.name).within(&gone.namespace().unwrap_or_default());
        let delay = Duration::from_secs_f64(horizon::jitter(0.1, &mut rand::rng()));
        queue.add_after(key, delay);
    }
}
