//! `VaultDynamicSecret`: a credential with a lease, renewed, replaced and at last revoked.

mod lease;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;
use serde_json::json;
use vso_prober::operator::api::{SecretLease, VaultDynamicSecret, VaultDynamicSecretStatus};

use super::clients::{Clients, Wanted};
use super::condition::{self, Said};
use super::content::{self, Data};
use super::controller::Reconcile;
use super::faults::{Content, Place};
use super::horizon::{self, Backoff, Go};
use super::kind::{Kind, Writer};
use super::secret;
use super::session::Session;
use super::static_secret::STUCK;
use super::vault;
use lease::{has_renewable_lease, lease_of, renewal_is_due, seconds, until_renewal};

type Key = ObjectRef<VaultDynamicSecret>;

/// Syncs dynamic secrets.
pub struct DynamicSecrets {
    /// The Vault clients.
    pub clients: Arc<Clients>,
    /// Writes back.
    pub writer: Writer,
    /// This pod: a resource that another one handled last is left alone until its renewal is due.
    pub pod_uid: String,
    /// What is remembered between reconciles.
    pub memory: Mutex<Memory>,
}

/// What is remembered between reconciles.
#[derive(Default)]
pub struct Memory {
    backoffs: HashMap<Key, Backoff>,
    written: HashMap<Key, Data>,
    /// To be given a new credential.
    pub forced: HashSet<Key>,
}

/// Why a credential could not be had or written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Vault(#[from] vault::Error),
    #[error(transparent)]
    Secret(#[from] secret::Error),
    #[error("{0}")]
    Data(String),
}

impl Memory {
    fn forget(&mut self, key: &Key) {
        self.backoffs.remove(key);
        self.written.remove(key);
        self.forced.remove(key);
    }
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
    fn memory(&self) -> MutexGuard<'_, Memory> {
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

    /// Takes a resource over from another pod and waits for its renewal.
    async fn adopt(&self, mut o: VaultDynamicSecret) -> Result<Option<Duration>, kube::Error> {
        let left = Duration::try_from_secs_f64(until_renewal(&o))
            .unwrap_or_default()
            .max(Duration::from_secs(1));
        let delay = left.mul_f64(1.0 - horizon::jitter(0.05, &mut rand::rng()));
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.id.clone())
            .unwrap_or_default();
        let horizon = Go(delay);
        self.say(&o, "SecretLeaseRenewal", format!(
            "Not in renewal window after transitioning to a new leader/pod, lease_id={lease}, horizon={horizon}"
        ));
        let message = format!(
            "Not in rotation period after transitioning to a new leader/pod, horizon={horizon}"
        );
        self.tell(
            &mut o,
            vec![Said::renewal("SecretLeaseRenewal", false, message)],
            true,
        )
        .await?;
        Ok(Some(delay))
    }

    /// Prolongs the lease. `Ok(None)`: it came back unrenewable, and that is the end. `Err`: a new credential is needed.
    async fn renew(
        &self,
        o: &mut VaultDynamicSecret,
        session: &Session,
    ) -> Result<Option<Duration>, String> {
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.clone())
            .unwrap_or_default();
        let body = json!({"lease_id": lease.id, "increment": lease.duration});
        let answer = session
            .write("/sys/leases/renew", Some(&body))
            .await
            .map_err(|error| {
                if !error.is_lease_not_found() {
                    self.warn(
                        o,
                        "SecretLeaseRenewalError",
                        format!("Could not renew lease, lease_id={}, err={error}", lease.id),
                    );
                }
                error.to_string()
            })?;
        let renewed = lease_of(&answer);
        let (expected, actual) = (lease.duration, renewed.duration);
        if actual < expected {
            let words = format!("truncated from {expected}s to {actual}s");
            self.say(
                o,
                "SecretLeaseRenewal",
                format!("Lease renewal duration was {words}, requesting new credentials"),
            );
            return Err(format!("lease renewal duration was {words}"));
        }
        if !renewed.renewable {
            self.warn(
                o,
                "SecretLeaseRenewal",
                format!("Lease is not renewable, staticCreds=false, info={renewed:?}"),
            );
            return Ok(None);
        }
        let duration = seconds(renewed.duration).max(Duration::from_secs(1));
        let delay = horizon::renewal(duration, o.spec.renewal_percent, &mut rand::rng());
        let status = o.status.get_or_insert_default();
        status.secret_lease = renewed;
        status.last_renewal_time = Timestamp::now().as_second();
        Ok(Some(delay))
    }

    fn say_renewed(&self, o: &VaultDynamicSecret, delay: Duration) {
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.id.as_str())
            .unwrap_or_default();
        self.say(
            o,
            "SecretLeaseRenewal",
            format!("Renewed lease, lease_id={lease}, horizon={}", Go(delay)),
        );
    }

    /// Asks for a credential and writes it.
    async fn issue(
        &self,
        key: &Key,
        mut o: VaultDynamicSecret,
        session: &Session,
        sync_reason: &str,
        mut said: Vec<Said<'_>>,
    ) -> Result<Option<Duration>, kube::Error> {
        let first = o
            .status
            .as_ref()
            .is_none_or(|status| status.last_generation == 0);
        let lease = match self.fetch(key, &o, session).await {
            Ok(lease) => lease,
            Err(error) => {
                if matches!(&error, Error::Vault(error) if error.is_forbidden()) {
                    session.taint();
                }
                let delay = {
                    let mut memory = self.memory();
                    memory.forced.insert(key.clone());
                    memory
                        .backoffs
                        .entry(key.clone())
                        .or_default()
                        .next(&mut rand::rng())
                };
                let message = format!(
                    "Failed to sync the secret, horizon={}, err={error}",
                    Go(delay)
                );
                self.warn(&o, "SecretSyncError", message.clone());
                said.push(Said::synced(false, message));
                self.tell(&mut o, said, false).await?;
                return Ok(Some(delay));
            }
        };
        self.memory().backoffs.remove(key);
        let delay = horizon::renewal(
            seconds(lease.duration),
            o.spec.renewal_percent,
            &mut rand::rng(),
        );
        self.say(
            &o,
            if first {
                "SecretSynced"
            } else {
                "SecretRotated"
            },
            format!(
                "Secret synced, lease_id=\"{}\", horizon={}, sync_reason=\"{sync_reason}\"",
                lease.id,
                Go(delay)
            ),
        );
        let status = o.status.get_or_insert_default();
        status.secret_lease = lease;
        status.last_renewal_time = Timestamp::now().as_second();
        self.memory().forced.remove(key);
        said.push(Said::synced(true, "Secret synced".into()));
        self.tell(&mut o, said, true).await?;
        Ok((!delay.is_zero()).then_some(delay))
    }

    async fn fetch(
        &self,
        key: &Key,
        o: &VaultDynamicSecret,
        session: &Session,
    ) -> Result<SecretLease, Error> {
        let answer = session
            .read_slowly(&vault::join(&[&o.spec.mount, &o.spec.path]))
            .await?;
        let lease = lease_of(&answer);
        let raw = answer.data.unwrap_or_default();
        let exclude_raw = o
            .spec
            .destination
            .transformation
            .as_ref()
            .and_then(|t| t.exclude_raw)
            .unwrap_or(false);
        let fresh = content::data(Some(&raw), &raw, exclude_raw).map_err(Error::Data)?;
        let data = match self.writer.faults.now().content {
            None => fresh,
            Some(Content::Wrong) => content::spoil(&fresh),
            Some(Content::Old) => self.memory().written.get(key).cloned().unwrap_or(fresh),
        };
        self.writer.faults.pass(Place::Write).await;
        secret::sync(
            &self.writer.client,
            o,
            &o.spec.destination,
            data.clone(),
            false,
        )
        .await?;
        self.memory().written.insert(key.clone(), data);
        Ok(lease)
    }

    /// Revokes the lease, whatever `spec.revoke` says, and lets the resource go.
    async fn end(
        &self,
        key: &Key,
        mut o: VaultDynamicSecret,
    ) -> Result<Option<Duration>, kube::Error> {
        let faults = self.writer.faults.now();
        if faults.stick_finalizer {
            return Ok(Some(STUCK));
        }
        if !faults.leak_leases {
            self.revoke(&o).await;
        }
        self.memory().forget(key);
        self.writer.remove_finalizer(&mut o).await.map(|_| None)
    }

    async fn revoke(&self, o: &VaultDynamicSecret) {
        let lease = o
            .status
            .as_ref()
            .map(|status| status.secret_lease.id.clone())
            .unwrap_or_default();
        let session = match self.client(o).await {
            Ok(session) => session,
            Err(error) => return tracing::warn!(lease, %error, "no client to revoke with"),
        };
        match session
            .write("/sys/leases/revoke", Some(&json!({"lease_id": lease})))
            .await
        {
            Ok(_) => self.say(o, "SecretLeaseRevoke", format!("Lease revoked: {lease}")),
            Err(error) => self.warn(
                o,
                "SecretLeaseRevoke",
                format!("Failed to revoke lease: {error}"),
            ),
        }
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
