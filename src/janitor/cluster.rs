//! The identity of the cluster that the canaries are in.

use kube::Client;

use crate::canary::Cluster;
use crate::kubernetes;
use crate::model::record::{Hindrance, Obstacle, Peer};

/// Asks for the cluster's ID, which the canaries' folder in Vault is called by.
///
/// # Errors
/// The API server does not tell it, or tells one that is no name in Vault.
pub async fn cluster(kube: &Client, namespace: &str) -> Result<Cluster, Obstacle> {
    let uid = kubernetes::namespace_uid(kube, namespace).await?;
    Cluster::of(&uid).ok_or_else(|| Obstacle::new(Peer::Kubernetes, Hindrance::Failed, format!("tried to get the UID of Namespace `{namespace}` for a folder in Vault: `{uid}` is not a UID")))
}
