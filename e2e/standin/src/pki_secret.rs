//! `VaultPKISecret`: a certificate, issued anew before it ends.

mod issue;

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use vso_prober::operator::api::{VaultPKISecret, VaultPKISecretStatus, go_duration};

use super::clients::{Clients, Wanted};
use super::condition::{self, Said};
use super::content::MacKey;
use super::controller::Reconcile;
use super::horizon;
use super::kind::{Kind, Writer};
use super::memory::Memory;
use super::metrics::Metrics;
use super::secret;
use super::session::Session;
use super::vault;

type Key = ObjectRef<VaultPKISecret>;

/// Syncs certificates.
pub(crate) struct PkiSecrets {
    /// The Vault clients.
    clients: Arc<Clients>,
    /// Writes back.
    writer: Writer,
    /// The HMACs' key.
    mac: MacKey,
    /// Says which are valid.
    metrics: Metrics,
    /// What is remembered between reconciles.
    memory: Mutex<Memory<Key>>,
}

impl Reconcile<VaultPKISecret> for PkiSecrets {
    fn reconcile(
        &self,
        object: VaultPKISecret,
    ) -> BoxFuture<'_, Result<Option<Duration>, kube::Error>> {
        self.sync(object).boxed()
    }

    fn relabelled(&self, object: &Key) {
        self.memory().forced.insert(object.clone());
    }
}

impl PkiSecrets {
    /// A reconciler that remembers nothing yet.
    pub(crate) fn new(
        clients: Arc<Clients>,
        writer: Writer,
        mac: MacKey,
        metrics: Metrics,
    ) -> Self {
        Self {
            clients,
            writer,
            mac,
            metrics,
            memory: Mutex::default(),
        }
    }

    /// What is remembered.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory<Key>> {
        self.memory.lock().expect("no holder panics")
    }

    /// An event, which is a warning as long as the status is not valid.
    fn record(&self, o: &VaultPKISecret, reason: &'static str, message: String) {
        let valid = o.status.as_ref().and_then(|status| status.valid) == Some(true);
        let recorder = &self.clients.recorder;
        if valid {
            recorder.normal(VaultPKISecret::KIND, o, reason, message);
        } else {
            recorder.warning(VaultPKISecret::KIND, o, reason, message);
        }
    }

    async fn client(&self, o: &VaultPKISecret) -> Result<Session, vault::Error> {
        let wanted = Wanted {
            auth: o.spec.vault_auth_ref.as_deref(),
            vault_namespace: o.spec.namespace.as_deref(),
        };
        self.clients.get(o, wanted).await
    }

    async fn sync(&self, mut o: VaultPKISecret) -> Result<Option<Duration>, kube::Error> {
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
        if !self.must_issue(&key, &o, found) {
            let (delay, due) = renewal(&o);
            if !due {
                // Nothing is told of it.
                return Ok(Some(delay));
            }
        }
        o.status.get_or_insert_default().valid = Some(false);
        match self.client(&o).await {
            Ok(session) => self.issue(&key, o, &session).await,
            Err(error) => {
                // Neither an event nor a condition: the log alone has it.
                tracing::warn!(%key, %error, "no client for Vault");
                Ok(Some(horizon::on_error()))
            }
        }
    }

    /// Whether a certificate is needed, however long the one that there is still lasts.
    fn must_issue(&self, key: &Key, o: &VaultPKISecret, found: Option<Secret>) -> bool {
        let status = o.status.clone().unwrap_or_default();
        if status.serial_number.is_empty()
            || self.memory().forced.contains(key)
            || o.metadata.generation != Some(status.last_generation)
        {
            return true;
        }
        let Some(found) = found else {
            return true;
        };
        let mac = self.mac.of(&found.data.unwrap_or_default());
        status.secret_mac.is_some_and(|last| last != mac)
    }

    async fn tell(
        &self,
        o: &mut VaultPKISecret,
        said: Vec<Said<'_>>,
        healthy: bool,
    ) -> Result<(), kube::Error> {
        let generation = o.metadata.generation;
        let (name, namespace) = (o.name_any(), o.namespace().unwrap_or_default());
        let status: &mut VaultPKISecretStatus = o.status.get_or_insert_default();
        status.last_generation = generation.unwrap_or_default();
        status.conditions = condition::merge(
            &status.conditions,
            said,
            healthy,
            VaultPKISecret::KIND,
            generation,
            Timestamp::now(),
        );
        // The series of one that is deleted stays.
        self.metrics
            .resource_status
            .with_label_values(&[VaultPKISecret::CONTROLLER, &name, &namespace])
            .set(i64::from(status.valid == Some(true)));
        if let Err(error) = self.writer.status(o).await {
            let words = secret::words(&error);
            let message = format!("Failed to update the resource's status: {words}");
            self.record(o, "StatusUpdateError", message);
            return Err(error);
        }
        self.writer.add_finalizer(o).await
    }
}

/// When the certificate that the status names is to be replaced, and whether that is now.
fn renewal(o: &VaultPKISecret) -> (Duration, bool) {
    let ends = o.status.as_ref().map_or(0, |status| status.expiration);
    let offset = o.spec.expiry_offset.as_deref().and_then(go_duration);
    let offset = offset.unwrap_or_default();
    let left = ends.saturating_mul(1000) - Timestamp::now().as_millisecond();
    let left = Duration::from_millis(u64::try_from(left).unwrap_or_default());
    horizon::certificate(left, offset, &mut rand::rng())
}
