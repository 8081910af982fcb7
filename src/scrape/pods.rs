//! The metrics of every pod of the operator, summed: a Service would answer with now one, now another.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::{Client, ResourceExt as _};

use super::fetch::Fetch;
use super::{Error, read};
use crate::config::{self, Scheme};
use crate::kubernetes;
use crate::model::snapshot::Snapshot;
use crate::operator::{self, LEADER_LEASE};

/// How many pods are asked at once.
const AT_ONCE: usize = 4;

/// The operator's pods.
pub(super) struct Pods {
    fetch: Fetch,
    api: Api<Pod>,
    leases: Api<Lease>,
    namespace: String,
    selector: String,
    port: u16,
    scheme: Scheme,
    /// Those under the selector that are not the operator's, as far as they were told.
    foreign: Mutex<Vec<String>>,
}

impl Pods {
    pub(super) fn new(
        operator: &config::Operator,
        kube: &Client,
        fetch: Fetch,
        port: u16,
        scheme: Scheme,
    ) -> Self {
        let namespace = operator.namespace.clone();
        Self {
            fetch,
            api: Api::namespaced(kube.clone(), &namespace),
            leases: Api::namespaced(kube.clone(), &namespace),
            namespace,
            selector: operator.pod_selector.clone(),
            port,
            scheme,
            foreign: Mutex::default(),
        }
    }

    /// Reads them all. One that can't be read makes the sum wrong, so there is none then.
    pub(super) async fn read(&self) -> Result<Snapshot, Error> {
        let (listed, leader) = tokio::join!(self.list(), self.leader());
        let pods = operator::Pods::tell(listed?, leader.as_deref());
        self.tell(&pods.foreign);
        let running: Vec<_> = pods
            .own
            .iter()
            .filter_map(|pod| Some((pod.name_any(), self.url(address(pod)?))))
            .collect();
        let mut whole: Option<Snapshot> = None;
        let mut parts = futures::stream::iter(running)
            .map(|(name, url)| async move { read(&self.fetch, &url, &name).await })
            .buffered(AT_ONCE);
        while let Some(part) = parts.try_next().await? {
            match &mut whole {
                None => whole = Some(part),
                Some(whole) => whole.add(part),
            }
        }
        let mut whole = whole.ok_or_else(|| {
            let text = format!(
                "tried to read the metrics of the operator's pods: no running pod of the operator matches `{}` in \
                 `{}`; is `operator.podSelector` right, and is the operator up?",
                self.selector, self.namespace
            );
            Error::new(None, text)
        })?;
        whole.leader = leader;
        Ok(whole)
    }

    /// Says of each Pod once that it is left out.
    fn tell(&self, foreign: &[String]) {
        let mut told = self.foreign.lock().unwrap_or_else(PoisonError::into_inner);
        for pod in foreign.iter().filter(|pod| !told.contains(pod)) {
            tracing::warn!(
                pod,
                selector = self.selector,
                "skipping a pod that matches `operator.podSelector`: it is not the operator's"
            );
        }
        foreign.clone_into(&mut told);
    }

    /// The pods under the selector, whoever's they are.
    async fn list(&self) -> Result<Vec<Pod>, Error> {
        let params = ListParams::default().labels(&self.selector);
        let pods = self.api.list(&params).await.map_err(|error| {
            kubernetes::obstacle(&format!("list pods in `{}`", self.namespace), &error)
        })?;
        Ok(pods.items)
    }

    fn url(&self, address: IpAddr) -> String {
        let host = SocketAddr::new(address, self.port);
        format!("{}://{host}/metrics", self.scheme.as_str())
    }

    /// The pod that holds the Lease, if it may be asked who does.
    async fn leader(&self) -> Option<String> {
        let lease = match self.leases.get_opt(LEADER_LEASE).await {
            Ok(lease) => lease?,
            Err(error) => {
                let what = format!("get the Lease `{}/{LEADER_LEASE}`", self.namespace);
                let error = kubernetes::obstacle(&what, &error).text;
                tracing::debug!(%error, "can't determine the operator's leader");
                return None;
            }
        };
        operator::holder(&lease).map(str::to_owned)
    }
}

impl fmt::Display for Pods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the pods `{}` in `{}`", self.selector, self.namespace)
    }
}

/// The address of a pod, if one of its containers runs.
fn address(pod: &Pod) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let runs = status.container_statuses.as_ref().is_none_or(|containers| {
        let mut states = containers.iter().filter_map(|one| one.state.as_ref());
        states.any(|state| state.running.is_some())
    });
    let address = status.pod_ip.as_ref()?.parse().ok()?;
    (runs && status.phase.as_deref() == Some("Running")).then_some(address)
}
