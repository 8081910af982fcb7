//! `VaultConnection`: the only kind whose health means something, since Vault is asked.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use reqwest::Method;
use vso_prober::operator::api::{VaultConnection, VaultConnectionStatus};

use super::clients::{Clients, ancestor};
use super::condition::{self, Said};
use super::controller::Reconcile;
use super::horizon;
use super::kind::{Kind, Writer};
use super::metrics::Metrics;
use super::vault::Error;

/// Checks connections.
pub(crate) struct Connections {
    /// The clients, which fall with their connection.
    pub(crate) clients: Arc<Clients>,
    /// Writes back.
    pub(crate) writer: Writer,
    /// Says which are healthy.
    pub(crate) metrics: Metrics,
}

impl Reconcile<VaultConnection> for Connections {
    fn reconcile(
        &self,
        object: VaultConnection,
    ) -> BoxFuture<'_, Result<Option<Duration>, kube::Error>> {
        self.check(object).boxed()
    }
}

impl Connections {
    #[expect(
        clippy::too_many_lines,
        reason = "what the operator says, in its order"
    )]
    async fn check(&self, mut o: VaultConnection) -> Result<Option<Duration>, kube::Error> {
        let name = [
            VaultConnection::CONTROLLER,
            &o.name_any(),
            &o.namespace().unwrap_or_default(),
        ]
        .map(str::to_owned);
        let own = ancestor(&o);
        if o.metadata.deletion_timestamp.is_some() {
            let _ = self
                .metrics
                .resource_status
                .remove_label_values(&name.each_ref().map(String::as_str));
            self.clients
                .prune(|origin| origin.connection.uid == own.uid, false)
                .await;
            return self.writer.remove_finalizer(&mut o).await.map(|_| None);
        }
        let address = o.spec.address.clone();
        let recorder = &self.clients.recorder;
        let mut said = Vec::new();
        let ping = self.ping(&o).await;
        match &ping {
            Ok(()) => said.push(told(
                "VaultPing",
                true,
                format!("Vault ping, address={address}"),
            )),
            Err(Unwell::Unmade(error)) => {
                recorder.warning(
                    VaultConnection::KIND,
                    &o,
                    "VaultClientError",
                    format!("Failed to construct Vault client: {error}"),
                );
                said.push(told(
                    "VaultClient",
                    false,
                    format!("Failed to setup Vault client, address={address}, err={error}"),
                ));
            }
            Err(Unwell::Silent(error)) => {
                recorder.warning(
                    VaultConnection::KIND,
                    &o,
                    "VaultClientError",
                    format!("Failed to check Vault seal status: {error}"),
                );
                said.push(told(
                    "VaultPing",
                    false,
                    format!("Vault ping failed, address={address}, errs={error}"),
                ));
            }
        }
        self.clients
            .prune(
                |origin| {
                    origin.connection.uid == own.uid
                        && origin.connection.generation < own.generation
                },
                true,
            )
            .await;
        let mut due = None;
        if let Err(Unwell::Unmade(error) | Unwell::Silent(error)) = &ping {
            let errors = format!("{error}\ninvalid VaultConnection {}/{}", name[2], name[1]);
            recorder.warning(
                VaultConnection::KIND,
                &o,
                "InvalidConfiguration",
                "VaultConnection invalid".into(),
            );
            said.push(told(
                "ResourceValidation",
                false,
                format!("Failed to validate resource, address={address}, errs={errors}"),
            ));
            due = Some(horizon::on_error());
        } else {
            recorder.normal(
                VaultConnection::KIND,
                &o,
                "Accepted",
                "VaultConnection accepted".into(),
            );
            said.push(told(
                "ResourceValidation",
                true,
                format!("Successfully validated resource, address={address}"),
            ));
        }
        let labels = name.each_ref().map(String::as_str);
        self.metrics
            .resource_status
            .with_label_values(&labels)
            .set(i64::from(ping.is_ok()));
        let conditions = condition::merge(
            &[],
            said,
            ping.is_ok(),
            VaultConnection::KIND,
            o.metadata.generation,
            Timestamp::now(),
        );
        o.status = Some(VaultConnectionStatus {
            valid: Some(ping.is_ok()),
            conditions,
        });
        self.writer.status(&mut o).await?;
        self.writer.add_finalizer(&mut o).await?;
        Ok(due)
    }

    async fn ping(&self, o: &VaultConnection) -> Result<(), Unwell> {
        let vault = self.clients.vault(o, None).await.map_err(Unwell::Unmade)?;
        let answer = vault.request(Method::GET, "sys/seal-status", None, None);
        answer.await.map(drop).map_err(Unwell::Silent)
    }
}

/// Why a connection is not well.
enum Unwell {
    /// There can be no client.
    Unmade(Error),
    /// Vault does not answer it.
    Silent(Error),
}

fn told(type_: &'static str, holds: bool, message: String) -> Said<'static> {
    Said {
        type_,
        reason: if holds {
            "Accepted"
        } else {
            "InvalidConfiguration"
        },
        holds,
        message,
    }
}
