//! The cache of Vault clients: one for each `VaultAuth` and `ServiceAccount`, made when first asked for.

mod source;
mod storage;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Secret, ServiceAccount};
use kube::api::PostParams;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::Store;
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::{RwLock, mpsc};
use vso_prober::operator::api::{VaultAuth, VaultConnection, go_duration};

use super::faults::{Place, Switchboard};
use super::kind::Kind;
use super::metrics::{self, Operation};
use super::recorder::Recorder;
use super::secret::words;
use super::session::{Origin, Session};
use super::vault::{Error, Reach, Vault};
use source::Source;
pub(crate) use source::{ancestor, await_there};
pub(crate) use storage::Storage;

/// Makes and keeps clients.
pub(crate) struct Clients {
    /// To Kubernetes.
    pub(crate) client: Client,
    /// The `VaultAuth`s.
    pub(crate) auths: Store<VaultAuth>,
    /// The `VaultConnection`s.
    pub(crate) connections: Store<VaultConnection>,
    /// The `ServiceAccount`s, by name only.
    pub(crate) accounts: Store<PartialObjectMeta<ServiceAccount>>,
    /// Events.
    pub(crate) recorder: Recorder,
    /// Counts.
    pub(crate) series: metrics::Vault,
    /// Misbehaviour.
    pub(crate) faults: Switchboard,
    /// The operator's namespace, where defaults are looked for.
    pub(crate) namespace: String,
    /// Where tokens are kept, if they are.
    pub(crate) storage: Option<Storage>,
    /// Hears the key of each client that came to its end.
    pub(crate) ended: mpsc::UnboundedSender<String>,
    /// Held for reading while a client is asked for, for writing while some are thrown away: one dead Vault stalls all.
    pub(crate) gate: RwLock<()>,
    /// The clients.
    pub(crate) cache: Mutex<HashMap<String, Cached>>,
    /// One login at a time for each key.
    pub(crate) locks: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

/// A client and the task that keeps its token alive.
pub(crate) struct Cached {
    session: Session,
    keeper: tokio::task::AbortHandle,
}

/// Which client is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// `spec.vaultAuthRef`.
    pub(crate) auth: Option<&'a str>,
    /// `spec.namespace`.
    pub(crate) vault_namespace: Option<&'a str>,
}

impl Clients {
    /// The client for `consumer`.
    pub(crate) async fn get<K: Kind>(
        self: &Arc<Self>,
        consumer: &K,
        wanted: Wanted<'_>,
    ) -> Result<Session, Error> {
        let began = Instant::now();
        let result = self.find_or_make(consumer, wanted).await;
        self.series.factory(began, result.is_err());
        result.map(|session| match wanted.vault_namespace {
            Some(namespace) => session.within(namespace),
            None => session,
        })
    }

    async fn find_or_make<K: Kind>(
        self: &Arc<Self>,
        consumer: &K,
        wanted: Wanted<'_>,
    ) -> Result<Session, Error> {
        let namespace = consumer.namespace().unwrap_or_default();
        let source = self
            .source(&namespace, wanted.auth)
            .await
            .inspect_err(|error| {
                let message = format!("Failed to get cacheKey from obj, err={error}");
                self.recorder
                    .warning("vaultClientFactory", consumer, "Unrecoverable", message);
            })?;
        let key = source.origin.key.clone();
        let _gate = self.gate.read().await;
        let lock = self
            .locks
            .lock()
            .expect("no holder panics")
            .entry(key.clone())
            .or_default()
            .clone();
        let _lock = lock.lock().await;
        let cached = self.cache().get(&key).map(|cached| cached.session.clone());
        if let Some(session) = cached {
            self.series.hits.inc();
            if session.is_valid().await {
                return Ok(session);
            }
            self.remove(&key);
            self.forget(&key).await;
            let _ = self.ended.send(key.clone());
        } else {
            self.series.misses.inc();
        }
        let session = match self.restore(&source).await {
            Some(session) => session,
            None => self.login(&namespace, source).await?,
        };
        let keeper = tokio::spawn({
            let (session, clients) = (session.clone(), Arc::downgrade(self));
            async move {
                session.keep_alive().await;
                if let Some(clients) = clients.upgrade() {
                    clients.cache().remove(&session.origin.key);
                    clients.forget(&session.origin.key).await;
                    let _ = clients.ended.send(session.origin.key.clone());
                }
            }
        });
        self.cache().insert(
            key,
            Cached {
                session: session.clone(),
                keeper: keeper.abort_handle(),
            },
        );
        Ok(session)
    }

    /// The client whose token was kept, if one was.
    async fn restore(&self, source: &Source) -> Option<Session> {
        let auth = self.storage.as_ref()?.restore(&source.origin.key).await?;
        let vault = self.vault(&source.connection, source.auth.spec.namespace.clone());
        Some(Session::restored(
            vault.await.ok()?,
            source.origin.clone(),
            &auth,
            self.series.clone(),
            self.faults.clone(),
        ))
    }

    /// Keeps the token of this client no more.
    async fn forget(&self, key: &str) {
        if let Some(storage) = &self.storage {
            storage.forget(key).await;
        }
    }

    async fn login(&self, namespace: &str, source: Source) -> Result<Session, Error> {
        self.faults.pass(Place::Login).await;
        let began = Instant::now();
        let label = source.origin.label.clone();
        let result = self.log_in(namespace, source).await;
        self.series
            .operation(Operation::Login, &label, began, result.is_err());
        let session = result?;
        if let Some(storage) = &self.storage {
            storage.keep(&session.origin.key, &session.auth()).await;
        }
        Ok(session)
    }

    async fn log_in(&self, namespace: &str, source: Source) -> Result<Session, Error> {
        let vault = self
            .vault(&source.connection, source.auth.spec.namespace.clone())
            .await?;
        let spec = source
            .auth
            .spec
            .methods
            .kubernetes
            .clone()
            .unwrap_or_default();
        let request = TokenRequest {
            spec: TokenRequestSpec {
                audiences: spec.audiences.unwrap_or_default(),
                expiration_seconds: spec.token_expiration_seconds.or(Some(600)),
                bound_object_ref: None,
            },
            ..TokenRequest::default()
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), namespace);
        let name = spec.service_account.unwrap_or_default();
        let issued = accounts
            .create_token_request(&name, &PostParams::default(), &request)
            .await;
        let issued = issued.map_err(|error| Error::Other(words(&error)))?.status;
        let token = issued.map(|issued| issued.token);
        let credentials = json!({"role": spec.role, "jwt": token});
        let path = format!(
            "auth/{}/login",
            source.auth.spec.mount.as_deref().unwrap_or_default()
        );
        Session::login(
            vault,
            source.origin,
            &path,
            &credentials,
            self.series.clone(),
            self.faults.clone(),
        )
        .await
    }

    /// A client to that Vault that is not logged in.
    pub(crate) async fn vault(
        &self,
        connection: &VaultConnection,
        namespace: Option<String>,
    ) -> Result<Vault, Error> {
        let spec = &connection.spec;
        let mut ca = None;
        if let Some(name) = &spec.ca_cert_secret_ref {
            let secrets: Api<Secret> = Api::namespaced(
                self.client.clone(),
                &connection.namespace().unwrap_or_default(),
            );
            let secret = secrets
                .get(name)
                .await
                .map_err(|error| Error::Other(words(&error)))?;
            ca = secret
                .data
                .unwrap_or_default()
                .remove("ca.crt")
                .map(|bytes| bytes.0);
        }
        Vault::new(Reach {
            address: spec.address.clone(),
            ca,
            skip_verify: spec.skip_tls_verify,
            timeout: spec.timeout.as_deref().and_then(go_duration),
            namespace,
        })
    }

    /// Throws away the clients that `stale` picks; who used one is woken if `wake`.
    pub(crate) async fn prune(&self, stale: impl Fn(&Origin) -> bool, wake: bool) {
        let _gate = self.gate.write().await;
        let keys: Vec<String> = self
            .cache()
            .values()
            .map(|c| &c.session.origin)
            .filter(|o| stale(o))
            .map(|o| o.key.clone())
            .collect();
        for key in keys {
            self.remove(&key);
            if wake {
                let _ = self.ended.send(key);
            }
        }
    }

    /// Sets `vso_client_cache_length`.
    pub(crate) fn measure(&self) {
        let length = u32::try_from(self.cache().len()).unwrap_or(u32::MAX);
        self.series.length.set(f64::from(length));
    }

    fn remove(&self, key: &str) {
        if let Some(cached) = self.cache().remove(key) {
            cached.keeper.abort();
        }
    }

    fn cache(&self) -> MutexGuard<'_, HashMap<String, Cached>> {
        self.cache.lock().expect("no holder panics")
    }
}
