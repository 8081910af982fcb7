//! A credential's beginning and end: asked for, written, and at last revoked.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use vso_prober::operator::api::{SecretLease, StaticCreds, VaultDynamicSecret};

use super::lease::{lease_of, seconds};
use super::{DynamicSecrets, Key, static_role};
use crate::condition::Said;
use crate::content;
use crate::faults::Place;
use crate::horizon::Go;
use crate::secret;
use crate::session::Session;
use crate::static_secret::STUCK;
use crate::vault::{self, Answer};

/// Why a credential could not be had or written.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Vault(#[from] vault::Error),
    #[error(transparent)]
    Secret(#[from] secret::Error),
    #[error("{0}")]
    Data(String),
}

/// A credential that was written.
struct Issued {
    lease: SecretLease,
    /// Its schedule and its HMAC, if it is a static role's.
    role: Option<(StaticCreds, String)>,
}

impl DynamicSecrets {
    /// Asks for a credential and writes it.
    pub(super) async fn issue(
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
        let Issued { lease, role } = match self.fetch(key, &o, session).await {
            Ok(issued) => issued,
            Err(error) => {
                if matches!(&error, Error::Vault(error) if error.is_forbidden()) {
                    session.taint();
                }
                let delay = {
                    let mut memory = self.memory();
                    memory.forced.insert(key.clone());
                    memory.failed(key)
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
        self.memory().succeeded(key);
        let delay = match &role {
            Some((schedule, _)) => static_role::horizon(schedule),
            None if o.spec.allow_static_creds == Some(true) => Duration::ZERO,
            None => self.horizon(seconds(lease.duration), o.spec.renewal_percent),
        };
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
        if let Some((schedule, mac)) = role {
            status.static_creds_meta_data = schedule;
            status.secret_mac = Some(mac);
        }
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
    ) -> Result<Issued, Error> {
        let mut answer = self.request(o, session).await?;
        let lease = lease_of(&answer);
        let is_role = o.spec.allow_static_creds == Some(true) && !lease.renewable;
        if is_role {
            answer = self.replaced(o, session, answer).await?;
        }
        let schedule = static_role::schedule(&answer).filter(|_| is_role);
        let raw = answer.data.unwrap_or_default();
        let exclude_raw = o
            .spec
            .destination
            .transformation
            .as_ref()
            .and_then(|t| t.exclude_raw)
            .unwrap_or(false);
        let fresh = content::data(Some(&raw), &raw, exclude_raw).map_err(Error::Data)?;
        let content = self.writer.faults.now().content;
        let (mac, same) = match &schedule {
            Some(_) => self.compared(o, &fresh).await,
            None => (String::new(), false),
        };
        let role = schedule.map(|schedule| (schedule, mac));
        if same {
            return Ok(Issued { lease, role });
        }
        let data = self.memory().distorted(key, fresh, content);
        self.writer.faults.pass(Place::Write).await;
        secret::sync(
            &self.writer.client,
            o,
            &o.spec.destination,
            data.clone(),
            false,
        )
        .await?;
        self.memory().wrote(key.clone(), data);
        Ok(Issued { lease, role })
    }

    /// Asks Vault by the method that the resource names: `PUT` wherever there are parameters.
    pub(super) async fn request(
        &self,
        o: &VaultDynamicSecret,
        session: &Session,
    ) -> Result<Answer, Error> {
        let path = vault::join(&[&o.spec.mount, &o.spec.path]);
        let params = o.spec.params.as_ref().filter(|params| !params.is_empty());
        let method = o.spec.request_http_method.as_deref().unwrap_or("GET");
        Ok(match params {
            Some(params) => session.write(&path, Some(&json!(params))).await?,
            None if method == "GET" => session.read_slowly(&path).await?,
            None => session.write(&path, None).await?,
        })
    }

    /// Revokes the lease, whatever `spec.revoke` says, and lets the resource go.
    pub(super) async fn end(
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
}
