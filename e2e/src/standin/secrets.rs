//! The two kinds that write Secrets, where something happens to all of them at once.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use tokio::sync::mpsc;
use vso_prober::operator::api::{VaultDynamicSecret, VaultStaticSecret};

use super::dynamic_secret::DynamicSecrets;
use super::faults::{Faults, Switchboard};
use super::horizon;
use super::queue::Queue;
use super::static_secret::StaticSecrets;

/// A kind's store, queue and reconciler.
pub type Part<K, R> = (Store<K>, Queue<K>, Arc<R>);

/// The two kinds that write Secrets.
#[derive(Clone)]
pub struct Secrets {
    /// The static ones.
    pub statics: Part<VaultStaticSecret, StaticSecrets>,
    /// The dynamic ones.
    pub dynamics: Part<VaultDynamicSecret, DynamicSecrets>,
}

impl Secrets {
    /// A client's end wakes all who used it, within 0.2 s; a dynamic secret gets a new credential.
    pub async fn wake_users(self, mut ends: mpsc::UnboundedReceiver<String>) {
        while let Some(key) = ends.recv().await {
            let delay = || Duration::from_secs_f64(horizon::jitter(0.2, &mut rand::rng()));
            for user in self.statics.0.state() {
                if user
                    .status
                    .as_ref()
                    .is_some_and(|status| status.vault_client_meta.cache_key.as_ref() == Some(&key))
                {
                    self.statics
                        .1
                        .add_after(ObjectRef::from_obj(&*user), delay());
                }
            }
            for user in self.dynamics.0.state() {
                if user
                    .status
                    .as_ref()
                    .is_some_and(|status| status.vault_client_meta.cache_key.as_ref() == Some(&key))
                {
                    self.force_new(&user);
                    self.dynamics
                        .1
                        .add_after(ObjectRef::from_obj(&*user), delay());
                }
            }
        }
    }

    fn force_new(&self, object: &VaultDynamicSecret) {
        let mut memory = self.dynamics.2.memory.lock().expect("no holder panics");
        memory.forced.insert(ObjectRef::from_obj(object));
    }

    /// Asks again for what was passed over, whenever faults change.
    pub async fn reconsider(self, faults: Switchboard) {
        let mut changes = faults.subscribe();
        let mut before = faults.now();
        while changes.changed().await.is_ok() {
            let now = changes.borrow_and_update().clone();
            // Counting down is no change.
            let counted = Faults {
                ignore_next: now.ignore_next,
                ..before
            };
            if counted != now
                || now.ignore_next == 0 && now.ignore.is_empty() && before.ignore_next == 0
            {
                self.statics.1.reconsider();
                self.dynamics.1.reconsider();
            }
            before = now;
        }
    }

    /// Writes every Secret again and again while told so.
    pub async fn rewrite(self, faults: Switchboard) {
        let mut changes = faults.subscribe();
        loop {
            let told = changes
                .wait_for(|faults| faults.rewrite_every.is_some())
                .await;
            let Some(every) = told.ok().and_then(|faults| faults.rewrite_every) else {
                return std::future::pending().await;
            };
            tokio::time::sleep(every).await;
            for object in self.statics.0.state() {
                let key = ObjectRef::from_obj(&*object);
                self.statics
                    .2
                    .memory
                    .lock()
                    .expect("no holder panics")
                    .forced
                    .insert(key.clone());
                self.statics.1.add(key);
            }
            for object in self.dynamics.0.state() {
                self.force_new(&object);
                self.dynamics.1.add(ObjectRef::from_obj(&*object));
            }
        }
    }
}
