//! `VaultAuth`: healthy as long as its connection exists, whatever its role or `ServiceAccount`.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use vso_prober::operator::api::VaultAuth;

use super::clients::{Clients, ancestor, await_there};
use super::condition;
use super::controller::Reconcile;
use super::horizon;
use super::kind::{Kind, Writer};
use super::metrics::Metrics;

/// Handles auths.
pub(crate) struct Auths {
    /// The clients, which fall with their auth.
    pub(crate) clients: Arc<Clients>,
    /// Writes back.
    pub(crate) writer: Writer,
    /// Says which are healthy.
    pub(crate) metrics: Metrics,
}

impl Reconcile<VaultAuth> for Auths {
    fn reconcile(&self, object: VaultAuth) -> BoxFuture<'_, Result<Option<Duration>, kube::Error>> {
        self.handle(object).boxed()
    }
}

impl Auths {
    async fn handle(&self, mut o: VaultAuth) -> Result<Option<Duration>, kube::Error> {
        let name = [
            VaultAuth::CONTROLLER,
            &o.name_any(),
            &o.namespace().unwrap_or_default(),
        ]
        .map(str::to_owned);
        let labels = name.each_ref().map(String::as_str);
        let own = ancestor(&o);
        if o.metadata.deletion_timestamp.is_some() {
            let _ = self.metrics.resource_status.remove_label_values(&labels);
            self.clients
                .prune(|origin| origin.auth.uid == own.uid, false)
                .await;
            return self.writer.remove_finalizer(&mut o).await.map(|_| None);
        }
        let error = match self.clients.connection_of(&o) {
            Ok(wanted) => await_there(&self.clients.connections, &wanted).await.err(),
            Err(error) => Some(error),
        };
        if error.is_none() {
            self.clients
                .prune(
                    |origin| origin.auth.uid == own.uid && origin.auth.generation < own.generation,
                    true,
                )
                .await;
        }
        let valid = error.is_none();
        self.metrics
            .resource_status
            .with_label_values(&labels)
            .set(i64::from(valid));
        let mut status = o.status.take().unwrap_or_default();
        status.valid = Some(valid);
        status.error = error.as_ref().map(ToString::to_string);
        status.conditions = condition::merge(
            &status.conditions,
            vec![],
            valid,
            VaultAuth::KIND,
            o.metadata.generation,
            Timestamp::now(),
        );
        o.status = Some(status);
        self.writer.status(&mut o).await?;
        self.writer.add_finalizer(&mut o).await?;
        let recorder = &self.clients.recorder;
        let Some(error) = error else {
            recorder.normal(
                VaultAuth::KIND,
                &o,
                "Accepted",
                "Successfully handled VaultAuth resource request".into(),
            );
            return Ok(None);
        };
        recorder.warning(
            VaultAuth::KIND,
            &o,
            "Accepted",
            format!("Failed to handle VaultAuth resource request: err={error}"),
        );
        Ok(Some(horizon::on_error()))
    }
}
