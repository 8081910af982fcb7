//! `VaultDynamicSecret`: a credential with a lease, renewed, replaced and at last revoked.

mod issue;
mod lease;
mod renewal;
mod static_role;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use vso_prober::operator::api::{VaultDynamicSecret, VaultDynamicSecretStatus};

use super::clients::{Clients, Wanted};
use super::condition::{self, Said};
use super::content::MacKey;
use super::controller::Reconcile;
use super::horizon;
use super::kind::{Kind, Writer};
use super::memory::Memory;
use super::secret;
use super::session::Session;
use super::vault;
use lease::{has_renewable_lease, renewal_is_due};

type Key = ObjectRef<VaultDynamicSecret>;

/// Syncs dynamic secrets.
pub(crate) struct DynamicSecrets {
    /// The Vault clients.
    clients: Arc<Clients>,
    /// Writes back.
    writer: Writer,
    /// The HMACs' key.
    mac: MacKey,
    /// This pod: a resource that another one handled last is left alone until its renewal is due.
    pod_uid: String,
    /// What is remembered between reconciles.
    memory: Mutex<Memory<Key>>,
}

impl Reconcile<VaultDynamicSecret> for DynamicSecrets {
    fn reconcile(
        &self,
        object: VaultDynamicSecret,
    ) -> BoxFuture<'_, Result<Option<Duration>, kube::Error>> {
        self.sync(object).boxed()
    }

    fn relabelled(&self, object: &Key) {
        self.memory().forced.insert(object.clone());
    }
}

impl DynamicSecrets {
    /// A reconciler that remembers nothing yet.
    pub(crate) fn new(clients: Arc<Clients>, writer: Writer, mac: MacKey, pod_uid: String) -> Self {
        Self {
            clients,
            writer,
            mac,
            pod_uid,
            memory: Mutex::default(),
        }
    }

    /// What is remembered.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory<Key>> {
        self.memory.lock().expect("no holder panics")
    }

    fn warn(&self, o: &VaultDynamicSecret, reason: &'static str, message: String) {
        self.clients
            .recorder
            .warning(VaultDynamicSecret::KIND, o, reason, message);
    }

    fn say(&self, o: &VaultDynamicSecret, reason: &'static str, message: String) {
        self.clients
            .recorder
            .normal(VaultDynamicSecret::KIND, o, reason, message);
    }

    async fn client(&self, o: &VaultDynamicSecret) -> Result<Session, vault::Error> {
        let wanted = Wanted {
            auth: o.spec.vault_auth_ref.as_deref(),
            vault_namespace: o.spec.namespace.as_deref(),
        };
        self.clients.get(o, wanted).await
    }

    async fn sync(&self, mut o: VaultDynamicSecret) -> Result<Option<Duration>, kube::Error> {
        let key = ObjectRef::from_obj(&o);
        if o.metadata.deletion_timestamp.is_some() {
            return self.end(&key, o).await;
        }
        let namespace = o.namespace().unwrap_or_default();
        let found = secret::find(&self.writer.client, &namespace, &o.spec.destination.name)
            .await
            .unwrap_or(None);
        if !o.spec.destination.create && found.is_none() {
            return Ok(Some(horizon::ON_ERROR));
        }
        let session = match self.client(&o).await {
            Ok(session) => session,
            Err(error) => {
                self.warn(
                    &o,
                    "VaultClientConfigError",
                    format!("Failed to get Vault client: {error}"),
                );
                return Ok(Some(horizon::on_error()));
            }
        };
        let reason = self.reason(&key, &o, found.is_some(), &session);
        let status = o.status.get_or_insert_default();
        status.vault_client_meta.cache_key = Some(session.origin.key.clone());
        status.vault_client_meta.id = Some(session.id.clone());
        let mut said = Vec::new();
        let reason = match reason {
            Some(reason) => reason,
            None if self.is_foreign(&o) && !renewal_is_due(&o) => return self.adopt(o).await,
            None if has_renewable_lease(&o) => match self.renew(&mut o, &session).await {
                Ok(delay) => {
                    if delay.is_some() {
                        said.push(Said::renewal(
                            "SecretLeaseRenewal",
                            true,
                            "Successfully renewed lease".into(),
                        ));
                        self.tell(&mut o, said, true).await?;
                        self.say_renewed(&o, delay.unwrap_or_default());
                    }
                    return Ok(delay);
                }
                Err(message) => {
                    said.push(Said::renewal(
                        "SecretLeaseRenewalError",
                        false,
                        format!("Could not renew lease, err={message}"),
                    ));
                    "SecretLeaseRenewalError"
                }
            },
            None => "",
        };
        self.issue(&key, o, &session, reason, said).await
    }

    /// Why a new credential is needed, if it is.
    fn reason(
        &self,
        key: &Key,
        o: &VaultDynamicSecret,
        found: bool,
        session: &Session,
    ) -> Option<&'static str> {
        let status = o.status.clone().unwrap_or_default();
        let changed = |last: Option<&String>, now: &str| {
            last.is_some_and(|last| !last.is_empty() && last != now)
        };
        let meta = &status.vault_client_meta;
        if status.last_generation == 0 {
            Some("InitialSync")
        } else if self.memory().forced.contains(key) {
            Some("ForceSync")
        } else if o.metadata.generation != Some(status.last_generation) {
            Some("ResourceUpdated")
        } else if o.spec.destination.create && !found {
            Some("InexistentDestination")
        } else if changed(meta.cache_key.as_ref(), &session.origin.key) {
            Some("VaultClientConfigChanged")
        } else if changed(meta.id.as_ref(), &session.id) {
            Some("VaultTokenRotated")
        } else {
            None
        }
    }

    /// Whether another pod handled it last.
    fn is_foreign(&self, o: &VaultDynamicSecret) -> bool {
        let last = o
            .status
            .as_ref()
            .and_then(|status| status.last_runtime_pod_uid.as_deref());
        !self.pod_uid.is_empty() && last != Some(&self.pod_uid)
    }

    /// When it comes back for a lease.
    fn horizon(&self, lease: Duration, percent: i32) -> Duration {
        let late = self.writer.faults.now().rotate_late;
        late.map_or_else(
            || horizon::renewal(lease, percent, &mut rand::rng()),
            |late| lease + late,
        )
    }

    async fn tell(
        &self,
        o: &mut VaultDynamicSecret,
        said: Vec<Said<'_>>,
        healthy: bool,
    ) -> Result<(), kube::Error> {
        let generation = o.metadata.generation;
        let status: &mut VaultDynamicSecretStatus = o.status.get_or_insert_default();
        if !self.pod_uid.is_empty() {
            status.last_runtime_pod_uid = Some(self.pod_uid.clone());
        }
        status.last_generation = generation.unwrap_or_default();
        status.conditions = condition::merge(
            &status.conditions,
            said,
            healthy,
            VaultDynamicSecret::KIND,
            generation,
            Timestamp::now(),
        );
        if let Err(error) = self.writer.status(o).await {
            let words = secret::words(&error);
            self.warn(
                o,
                "StatusUpdateError",
                format!("Failed to update the resource's status, err={words}"),
            );
        }
        self.writer.add_finalizer(o).await
    }
}
