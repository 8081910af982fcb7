//! `VaultStaticSecret`: polled, compared by HMAC, written when it differs.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use vso_prober::operator::api::{VaultStaticSecret, VaultStaticSecretStatus, go_duration};

use super::clients::{Clients, Wanted};
use super::condition::{self, Said};
use super::content::{self, Data, MacKey};
use super::controller::Reconcile;
use super::faults::Place;
use super::horizon::{self, Go};
use super::kind::{Kind, Writer};
use super::memory::Memory;
use super::secret;
use super::session::Session;
use super::vault;

/// With HMAC and without `refreshAfter`, it is polled as if this stood there.
const DEFAULT_PERIOD: Duration = Duration::from_secs(60);
/// A finalizer that is to stick is looked at again this often.
pub(crate) const STUCK: Duration = Duration::from_secs(1);

type Key = ObjectRef<VaultStaticSecret>;

/// Syncs static secrets.
pub(crate) struct StaticSecrets {
    /// The Vault clients.
    clients: Arc<Clients>,
    /// Writes back.
    writer: Writer,
    /// The HMACs' key.
    mac: MacKey,
    /// What is remembered between reconciles.
    memory: Mutex<Memory<Key>>,
}

impl Reconcile<VaultStaticSecret> for StaticSecrets {
    fn reconcile(
        &self,
        object: VaultStaticSecret,
    ) -> BoxFuture<'_, Result<Option<Duration>, kube::Error>> {
        self.sync(object).boxed()
    }
}

impl StaticSecrets {
    /// A reconciler that remembers nothing yet.
    pub(crate) fn new(clients: Arc<Clients>, writer: Writer, mac: MacKey) -> Self {
        Self {
            clients,
            writer,
            mac,
            memory: Mutex::default(),
        }
    }

    /// What is remembered.
    pub(crate) fn memory(&self) -> MutexGuard<'_, Memory<Key>> {
        self.memory.lock().expect("no holder panics")
    }

    fn warn(&self, o: &VaultStaticSecret, reason: &'static str, message: String) {
        self.clients
            .recorder
            .warning(VaultStaticSecret::KIND, o, reason, message);
    }

    async fn sync(&self, mut o: VaultStaticSecret) -> Result<Option<Duration>, kube::Error> {
        let key = ObjectRef::from_obj(&o);
        if o.metadata.deletion_timestamp.is_some() {
            self.memory().forget(&key);
            return Ok((!self.writer.remove_finalizer(&mut o).await?).then_some(STUCK));
        }
        let spec = o.spec.clone();
        let wanted = Wanted {
            auth: spec.vault_auth_ref.as_deref(),
            vault_namespace: spec.namespace.as_deref(),
        };
        let session = match self.clients.get(&o, wanted).await {
            Ok(session) => session,
            Err(error) => {
                self.warn(
                    &o,
                    "VaultClientConfigError",
                    format!("Failed to get Vault auth login: {error}"),
                );
                return self.give_up(o, &error, horizon::on_error()).await;
            }
        };
        let namespace = o.namespace().unwrap_or_default();
        let found = secret::find(&self.writer.client, &namespace, &spec.destination.name)
            .await
            .unwrap_or(None);
        if !spec.destination.create && found.is_none() {
            return Ok(Some(horizon::ON_ERROR));
        }
        let meta = &mut o.status.get_or_insert_default().vault_client_meta;
        meta.cache_key = Some(session.origin.key.clone());
        meta.id = Some(session.id.clone());
        let data = match self.read(&key, &session, &o).await {
            Ok(data) => data,
            Err(error) => {
                if error.is_forbidden() {
                    session.taint();
                }
                self.warn(
                    &o,
                    "VaultClientError",
                    format!("Failed to read Vault secret: {error}"),
                );
                let delay = self.memory().failed(&key);
                return self.give_up(o, &error, delay).await;
            }
        };
        self.memory().succeeded(&key);
        let data = match data {
            Ok(data) => {
                let content = self.writer.faults.now().content;
                self.memory().distorted(&key, data, content)
            }
            Err(error) => {
                self.warn(
                    &o,
                    "SecretDataBuilderError",
                    format!("Failed to build K8s secret data: {error}"),
                );
                return self.give_up(o, &error, horizon::on_error()).await;
            }
        };
        self.deliver(key, o, found, data).await
    }

    /// Asks Vault; the inner error is of what it answered.
    async fn read(
        &self,
        key: &Key,
        session: &Session,
        o: &VaultStaticSecret,
    ) -> Result<Result<Data, String>, vault::Error> {
        let spec = &o.spec;
        let kv2 = spec.type_ == "kv-v2";
        let path = if kv2 {
            vault::join(&[&spec.mount, "data", &spec.path])
        } else {
            vault::join(&[&spec.mount, &spec.path])
        };
        let answer = session.read_slowly(&path).await?;
        tracing::debug!(%key, path, "read");
        let raw = answer.data.unwrap_or_default();
        let values = if kv2 { content::kv2(&raw) } else { Some(&raw) };
        let exclude_raw = spec
            .destination
            .transformation
            .as_ref()
            .and_then(|t| t.exclude_raw)
            .unwrap_or(false);
        Ok(content::data(values, &raw, exclude_raw))
    }

    /// Writes the Secret if it has to be written, and says so.
    async fn deliver(
        &self,
        key: Key,
        mut o: VaultStaticSecret,
        found: Option<Secret>,
        data: Data,
    ) -> Result<Option<Duration>, kube::Error> {
        let mut period = o.spec.refresh_after.as_deref().and_then(go_duration);
        let mut due = true;
        if o.spec.hmac_secret_data {
            period = period.or(Some(DEFAULT_PERIOD));
            let mac = self.mac.of(&data);
            let same = self.is_same(&o, found, &mac);
            let status = o.status.get_or_insert_default();
            if Some(status.last_generation) == o.metadata.generation {
                due = !same;
            }
            status.secret_mac = Some(mac);
        }
        let next = period.map(|period| horizon::poll(period, &mut rand::rng()));
        let forced = self.memory().forced.remove(&key);
        let mut said = Vec::new();
        if due || forced {
            self.writer.faults.pass(Place::Write).await;
            let written = secret::sync(
                &self.writer.client,
                &o,
                &o.spec.destination,
                data.clone(),
                forced && !due,
            )
            .await;
            if let Err(error) = written {
                self.warn(
                    &o,
                    "SecretSyncError",
                    format!("Failed to update k8s secret: {error}"),
                );
                return Ok(Some(horizon::on_error()));
            }
            self.memory().wrote(key, data);
            said.push(Said::synced(
                true,
                format!("Secret synced, horizon={}", Go(next.unwrap_or_default())),
            ));
            self.clients.recorder.normal(
                VaultStaticSecret::KIND,
                &o,
                "SecretSynced",
                "Secret synced".into(),
            );
        }
        self.tell(&mut o, said, true).await?;
        Ok(next)
    }

    /// Whether neither Vault's data nor the Secret's has changed since the last write.
    fn is_same(&self, o: &VaultStaticSecret, found: Option<Secret>, mac: &str) -> bool {
        let last = o
            .status
            .as_ref()
            .and_then(|status| status.secret_mac.as_deref());
        let held = found.filter(secret::is_visible);
        let held = held.map(|secret| self.mac.of(&secret.data.unwrap_or_default()));
        last == Some(mac) && held.as_deref() == Some(mac)
    }

    async fn give_up(
        &self,
        mut o: VaultStaticSecret,
        error: &impl ToString,
        delay: Duration,
    ) -> Result<Option<Duration>, kube::Error> {
        let message = format!(
            "Failed to sync the secret, horizon={}, err={}",
            Go(delay),
            error.to_string()
        );
        self.tell(&mut o, vec![Said::synced(false, message)], false)
            .await?;
        Ok(Some(delay))
    }

    async fn tell(
        &self,
        o: &mut VaultStaticSecret,
        said: Vec<Said<'_>>,
        healthy: bool,
    ) -> Result<(), kube::Error> {
        let generation = o.metadata.generation;
        let status: &mut VaultStaticSecretStatus = o.status.get_or_insert_default();
        status.last_generation = generation.unwrap_or_default();
        status.conditions = condition::merge(
            &status.conditions,
            said,
            healthy,
            VaultStaticSecret::KIND,
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
