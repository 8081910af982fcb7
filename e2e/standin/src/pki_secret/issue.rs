//! A certificate's beginning and end: asked for, written, and at last revoked where that is wished.

use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};
use vso_prober::operator::api::VaultPKISecret;

use super::{Key, PkiSecrets, renewal};
use crate::condition::Said;
use crate::content::{self, Data};
use crate::faults::Place;
use crate::horizon::{self, Go};
use crate::secret;
use crate::session::Session;
use crate::static_secret::STUCK;
use crate::vault;

impl PkiSecrets {
    /// Asks for a certificate and writes it.
    pub(super) async fn issue(
        &self,
        key: &Key,
        mut o: VaultPKISecret,
        session: &Session,
    ) -> Result<Option<Duration>, kube::Error> {
        let raw = match self.ask(&o, session).await {
            Ok(raw) => raw,
            Err(error) => {
                if error.is_forbidden() {
                    session.taint();
                }
                let message = format!("Failed to issue certificate from Vault: {error}");
                let delay = {
                    let mut memory = self.memory();
                    memory.forced.insert(key.clone());
                    memory.failed(key)
                };
                let why = format!(
                    "Failed to sync the secret, horizon={}, err={error}",
                    Go(delay)
                );
                return self
                    .give_up(o, "K8sClientError", Some(message), Some(why), delay)
                    .await;
            }
        };
        self.memory().succeeded(key);
        let issued = Issued::of(&raw);
        let data = if issued.serial.is_empty() {
            Err("Invalid Vault secret data, serial_number cannot be empty".to_owned())
        } else {
            data_of(&o, &raw)
                .map_err(|error| format!("Failed to marshal Vault secret data: {error}"))
        };
        let fresh = match data {
            Ok(data) => data,
            Err(message) => {
                let delay = horizon::on_error();
                return self
                    .give_up(o, "K8sClientError", Some(message), None, delay)
                    .await;
            }
        };
        let content = self.writer.faults.now().content;
        let data = self.memory().distorted(key, fresh, content);
        o.status.get_or_insert_default().secret_mac = Some(self.mac.of(&data));
        self.writer.faults.pass(Place::Write).await;
        let destination = o.spec.destination.clone();
        let written = secret::sync(&self.writer.client, &o, &destination, data.clone(), false);
        if let Err(error) = written.await {
            tracing::warn!(%key, %error, "Secret not written");
            let delay = horizon::on_error();
            // The reason is left to the log.
            let why = format!("Secret sync error, horizon={}", Go(delay));
            return self
                .give_up(o, "SecretSyncError", None, Some(why), delay)
                .await;
        }
        self.memory().wrote(key.clone(), data);
        self.written(key, o, session, issued).await
    }

    /// Tells that a certificate was written, and revokes the one before it where that is wished.
    async fn written(
        &self,
        key: &Key,
        mut o: VaultPKISecret,
        session: &Session,
        issued: Issued,
    ) -> Result<Option<Duration>, kube::Error> {
        let status = o.status.clone().unwrap_or_default();
        let reason = if status.serial_number.is_empty() {
            "SecretSynced"
        } else {
            "SecretRotated"
        };
        if o.spec.revoke == Some(true)
            && !status.serial_number.is_empty()
            && let Err(error) = revoke(&o, session).await
        {
            tracing::warn!(%key, %error, "certificate not revoked");
            return Ok(Some(horizon::on_error()));
        }
        // By the certificate before this one: the operator announces its look a second later, not the renewal.
        let (delay, _) = renewal(&o);
        let status = o.status.get_or_insert_default();
        status.valid = Some(true);
        status.error = String::new();
        status.serial_number = issued.serial;
        status.expiration = issued.expiration;
        status.last_rotation = Timestamp::now().as_second();
        let message = format!("Secret synced, horizon={}", Go(delay));
        let said = vec![Said::synced(true, message.clone())];
        self.tell(&mut o, said, true).await?;
        self.memory().forced.remove(key);
        self.record(&o, reason, message);
        Ok(Some(delay))
    }

    /// Leaves an event and a condition, as far as there is one, and comes back later.
    async fn give_up(
        &self,
        mut o: VaultPKISecret,
        reason: &'static str,
        event: Option<String>,
        condition: Option<String>,
        delay: Duration,
    ) -> Result<Option<Duration>, kube::Error> {
        reason.clone_into(&mut o.status.get_or_insert_default().error);
        if let Some(message) = event {
            self.record(&o, reason, message);
        }
        let said = condition.map(|message| Said::synced(false, message));
        self.tell(&mut o, said.into_iter().collect(), false).await?;
        Ok(Some(delay))
    }

    async fn ask(
        &self,
        o: &VaultPKISecret,
        session: &Session,
    ) -> Result<Map<String, Value>, vault::Error> {
        let spec = &o.spec;
        let path = match spec.issuer_ref.as_deref() {
            None | Some("") => format!("{}/issue/{}", spec.mount, spec.role),
            Some(issuer) => format!("{}/issuer/{issuer}/{}", spec.mount, spec.role),
        };
        let mut body = json!({
            "common_name": spec.common_name.as_deref().unwrap_or_default(),
            "alt_names": spec.alt_names.as_deref().unwrap_or_default().join(","),
            "ip_sans": "", "uri_sans": "", "other_sans": "", "user_ids": "",
            "ttl": spec.ttl.as_deref().unwrap_or_default(),
            "not_after": spec.not_after.as_deref().unwrap_or_default(),
            "exclude_cn_from_sans": spec.exclude_cn_from_sans.unwrap_or_default(),
            "remove_roots_from_chain": true,
        });
        if self.writer.faults.now().omit_not_after
            && spec.not_after.is_none()
            && let Some(body) = body.as_object_mut()
        {
            body.remove("not_after");
        }
        self.writer.faults.pass(Place::Read).await;
        let answer = session.write(&path, Some(&body)).await?;
        Ok(answer.data.unwrap_or_default())
    }

    /// Lets the resource go, then revokes its certificate where that is wished.
    pub(super) async fn end(
        &self,
        key: &Key,
        mut o: VaultPKISecret,
    ) -> Result<Option<Duration>, kube::Error> {
        self.memory().forget(key);
        if !self.writer.remove_finalizer(&mut o).await? {
            return Ok(Some(STUCK));
        }
        if o.spec.revoke == Some(true) {
            let revoked = match self.client(&o).await {
                Ok(session) => revoke(&o, &session).await,
                Err(error) => Err(error),
            };
            if let Err(error) = revoked {
                tracing::warn!(%key, %error, "certificate not revoked");
            }
        }
        Ok(None)
    }
}

/// What the operator reads of an answer.
struct Issued {
    serial: String,
    expiration: i64,
}

impl Issued {
    fn of(raw: &Map<String, Value>) -> Self {
        let text = |key: &str| raw.get(key).and_then(Value::as_str).unwrap_or_default();
        Self {
            serial: text("serial_number").to_owned(),
            expiration: raw
                .get("expiration")
                .and_then(Value::as_i64)
                .unwrap_or_default(),
        }
    }
}

/// The Secret's data: a chain of CAs is written as PEM, all else as ever.
fn data_of(o: &VaultPKISecret, raw: &Map<String, Value>) -> Result<Data, String> {
    let transformation = o.spec.destination.transformation.as_ref();
    let exclude_raw = transformation.and_then(|t| t.exclude_raw).unwrap_or(false);
    let mut data = content::data(Some(raw), raw, exclude_raw)?;
    if let Some(chain) = raw.get("ca_chain").and_then(Value::as_array) {
        let chain: Vec<_> = chain.iter().filter_map(Value::as_str).collect();
        let chain = ByteString(chain.join("\n").into_bytes());
        data.insert("ca_chain".to_owned(), chain);
    }
    Ok(data)
}

async fn revoke(o: &VaultPKISecret, session: &Session) -> Result<(), vault::Error> {
    let serial = o.status.as_ref().map(|status| &status.serial_number);
    let path = format!("{}/revoke", o.spec.mount);
    let body = json!({"serial_number": serial});
    session.write(&path, Some(&body)).await.map(drop)
}
