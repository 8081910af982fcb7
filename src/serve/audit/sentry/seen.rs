//! Pods and Leases of the API server, as far as audit logs are judged by them.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use serde::Deserialize;

use crate::audit::address;
use crate::audit::tracker::{SeenLease, SeenPod};
use crate::model::time;
use crate::operator;

use super::super::notice::About;

/// For how long a Lease holds that does not say so, in seconds.
const LEASE_SECONDS: i32 = 15;

/// A Pod, as far as it says which account it uses.
#[derive(Deserialize)]
pub(super) struct UsingPod {
    pub(super) metadata: UsingMetadata,
    #[serde(default)]
    pub(super) spec: UsingSpec,
    #[serde(default)]
    status: UsingStatus,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct UsingStatus {
    phase: Option<String>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    #[serde(default, rename = "hostIPs")]
    host_ips: Vec<UsingIp>,
    #[serde(default, rename = "podIPs")]
    pod_ips: Vec<UsingIp>,
}

#[derive(Deserialize)]
struct UsingIp {
    ip: Option<String>,
}

impl UsingPod {
    /// From where its requests may come: its addresses and its node's; none of one that has ended.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let status = &self.status;
        let ended = ended(status.phase.as_deref());
        let all = status.pod_ips.iter().chain(&status.host_ips);
        let all = all.map(|ip| &ip.ip).chain([&status.host_ip]);
        let all = all.filter(move |_| !ended);
        all.filter_map(|ip| address::parse(ip.as_deref()?))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsingMetadata {
    pub(super) namespace: Option<String>,
    pub(super) creation_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsingSpec {
    pub(super) service_account_name: Option<String>,
}

/// Whether the containers of a Pod in this phase have all ended for good.
fn ended(phase: Option<&str>) -> bool {
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// A Pod of the operator's. One whose containers have all ended for good is gone, whatever else it is.
pub(super) fn seen(pod: &Pod, at: Timestamp) -> Option<SeenPod> {
    let status = pod.status.clone().unwrap_or_default();
    if ended(status.phase.as_deref()) {
        return None;
    }
    let parsed = |text: Option<String>| text.as_deref().and_then(address::parse);
    let (address, node_address) = (parsed(status.pod_ip), parsed(status.host_ip));
    let all = status.pod_ips.into_iter().flatten();
    let further = all.filter_map(|ip| address::parse(&ip.ip));
    let nodes = status.host_ips.into_iter().flatten();
    let node_further = nodes.filter_map(|ip| address::parse(&ip.ip));
    Some(SeenPod {
        further: further.filter(|ip| Some(*ip) != address).collect(),
        node_further: node_further
            .filter(|ip| Some(*ip) != node_address)
            .collect(),
        uid: pod.metadata.uid.clone()?,
        name: pod.name_any().into(),
        address,
        node_address,
        created: pod
            .metadata
            .creation_timestamp
            .as_ref()
            .map_or(at, |time| time.0),
    })
}

/// What an event is about: the Deployment of a Pod, or the Pod.
pub(super) fn about(pod: &Pod) -> About {
    match operator::deployment(pod) {
        Some(name) => About {
            version: "apps/v1",
            kind: "Deployment".to_owned(),
            name: name.to_owned(),
        },
        None => About {
            version: "v1",
            kind: "Pod".to_owned(),
            name: pod.name_any(),
        },
    }
}

/// The Lease, as far as it is held.
pub(super) fn held(lease: &Lease) -> Option<SeenLease> {
    let spec = lease.spec.as_ref()?;
    let seconds = spec.lease_duration_seconds.unwrap_or(LEASE_SECONDS);
    Some(SeenLease {
        renewed: spec.renew_time.as_ref()?.0,
        duration: time::seconds(seconds.into()),
    })
}
