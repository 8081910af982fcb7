//! The Pod and the Lease that stand for the operator's process, which runs outside the cluster.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod as KubePod;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use kube::{Client, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use vso_prober::operator::LEADER_LEASE;

use crate::lab::OPERATOR_NAMESPACE;
use crate::lab::cluster::{OPERATOR, create};

/// The name of the Pod.
pub(super) const NAME: &str = "vault-secrets-operator-controller-manager-lab";

/// What its container would run, as far as its image's name tells.
const IMAGE: &str = "lab.example/vault-secrets-operator:lab";

/// How often a leader renews its Lease, and for how long it holds (client-go's defaults).
const RENEW: Duration = Duration::from_secs(2);
const LEASE_SECONDS: u32 = 15;

/// A Pod that is never scheduled and whose status the lab writes.
pub(super) struct Pod {
    client: Client,
    uid: String,
    restarts: u32,
    started: Timestamp,
    /// What its status says: how the process ended, if it has, and whether it is ready.
    shown: Option<(Option<ExitStatus>, bool)>,
    /// How the process before this one ended.
    last: Value,
    /// Where others reach it: on loopback, or from Pods at the node's address.
    address: Ipv4Addr,
    renewed: Option<Timestamp>,
    /// Whether it was deleted.
    removed: bool,
}

/// The object.
fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": NAME, "labels": {
            "control-plane": "controller-manager", "app.kubernetes.io/name": "vault-secrets-operator",
        }},
        "spec": {
            "serviceAccountName": OPERATOR, "automountServiceAccountToken": false,
            // No scheduler heeds it: the process runs beside the cluster.
            "schedulerName": "none",
            "containers": [{"name": "manager", "image": IMAGE}],
        },
    })
}

fn uid(created: &Value) -> Result<String> {
    let uid = created["metadata"]["uid"].as_str();
    Ok(uid.context("a Pod has a UID")?.to_owned())
}

impl Pod {
    pub(super) async fn create(client: Client, address: Ipv4Addr) -> Result<Self> {
        let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods");
        let uid = uid(&create(&client, &path, &pod()).await?)?;
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": LEADER_LEASE},
            "spec": {"holderIdentity": format!("{NAME}_{uid}"), "leaseDurationSeconds": LEASE_SECONDS},
        });
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{OPERATOR_NAMESPACE}/leases");
        create(&client, &path, &lease).await?;
        Ok(Self {
            client,
            uid,
            restarts: 0,
            started: Timestamp::now(),
            shown: None,
            last: json!({}),
            address,
            renewed: None,
            removed: false,
        })
    }

    /// Deletes it, as a Deployment does that is scaled down.
    pub(super) async fn remove(&mut self) -> Result<()> {
        if std::mem::replace(&mut self.removed, true) {
            return Ok(());
        }
        let pods: Api<KubePod> = self.api();
        let now = DeleteParams::default().grace_period(0);
        let deleted = pods.delete(NAME, &now).await;
        deleted.context("could not delete the operator's Pod")?;
        Ok(())
    }

    /// Makes another in its place, if it was deleted.
    pub(super) async fn replace(&mut self) -> Result<()> {
        if self.removed {
            let path = format!("/api/v1/namespaces/{OPERATOR_NAMESPACE}/pods");
            self.uid = uid(&create(&self.client, &path, &pod()).await?)?;
            (self.removed, self.restarts, self.last) = (false, 0, json!({}));
        }
        Ok(())
    }

    pub(super) fn uid(&self) -> &str {
        &self.uid
    }

    /// Counts a restart of the container.
    pub(super) fn restarted(&mut self) {
        if let Some((Some(exit), _)) = self.shown {
            self.last = self.terminated(exit);
        }
        self.restarts += 1;
        self.started = Timestamp::now();
        self.shown = None;
    }

    /// Writes the status if it says something else by now, and renews the Lease while ready.
    pub(super) async fn show(&mut self, exit: Option<ExitStatus>, ready: bool) -> Result<()> {
        if self.removed {
            return Ok(());
        }
        if self.shown != Some((exit, ready)) {
            let pods: Api<KubePod> = self.api();
            let patch = Patch::Merge(self.status(exit, ready));
            pods.patch_status(NAME, &PatchParams::default(), &patch)
                .await
                .context("could not write the status of the operator's Pod")?;
            self.shown = Some((exit, ready));
        }
        let now = Timestamp::now();
        let due = self
            .renewed
            .is_none_or(|renewed| now.duration_since(renewed).unsigned_abs() >= RENEW);
        if ready && due {
            let leases: Api<Lease> = self.api();
            let time = now.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string();
            let patch = Patch::Merge(json!({"spec": {"renewTime": time}}));
            leases
                .patch(LEADER_LEASE, &PatchParams::default(), &patch)
                .await
                .context("could not renew the operator's Lease")?;
            self.renewed = Some(now);
        }
        Ok(())
    }

    fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + DeserializeOwned,
    {
        Api::namespaced(self.client.clone(), OPERATOR_NAMESPACE)
    }

    fn status(&self, exit: Option<ExitStatus>, ready: bool) -> Value {
        let now = seconds(Timestamp::now());
        let truth = |value: bool| if value { "True" } else { "False" };
        let condition = |kind: &str, value: bool| json!({"type": kind, "status": truth(value), "lastTransitionTime": now});
        let state = match exit {
            Some(exit) => self.terminated(exit),
            // A merge keeps what it is not told to drop.
            None => json!({"running": {"startedAt": seconds(self.started)}, "terminated": null}),
        };
        let container = json!({
            "name": "manager", "image": IMAGE, "imageID": "", "ready": ready, "started": exit.is_none(),
            "restartCount": self.restarts, "state": state, "lastState": self.last,
        });
        json!({"status": {
            "phase": "Running", "podIP": self.address, "podIPs": self.addresses(), "startTime": seconds(self.started),
            "conditions": [condition("Ready", ready), condition("ContainersReady", ready), condition("PodScheduled", true)],
            "containerStatuses": [container],
        }})
    }

    /// Of two stacks, where it is on this machine's own network.
    fn addresses(&self) -> Value {
        if self.address.is_loopback() {
            json!([{"ip": self.address}, {"ip": Ipv6Addr::LOCALHOST}])
        } else {
            json!([{"ip": self.address}])
        }
    }

    fn terminated(&self, exit: ExitStatus) -> Value {
        let code = exit
            .code()
            .or_else(|| exit.signal().map(|signal| 128 + signal))
            .unwrap_or(255);
        let reason = if code == 0 { "Completed" } else { "Error" };
        json!({"terminated": {
            "exitCode": code, "reason": reason,
            "startedAt": seconds(self.started), "finishedAt": seconds(Timestamp::now()),
        }})
    }
}

fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
