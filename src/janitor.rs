//! Leaves nothing behind: removes a run's canary at its end, and others' once they are past their
//! written expiry.

mod sweep;

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams};
use kube::core::DynamicObject;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt as _};
use tokio::time::Instant;

use crate::canary::{Canary, INSTANCE_LABEL};
use crate::kubernetes;
use crate::model::Kind;
use crate::model::record::{Hindrance, LeaseState, Obstacle, Peer};
use crate::model::time::Moment as _;
use crate::operator;
use crate::retry::Retry;
use crate::vault::Vault;
use crate::vault::lease::Life;
use crate::wire;

pub use sweep::{Scope, Swept, sweep};

/// How long a deleted resource may take to go before it is called a leftover.
const DELETION_LIMIT: Duration = Duration::from_secs(10);
/// How long the other requests of one clean-up may take, and Vault to revoke a lease.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// Removes a canary: its resource and its Secret unless they are known to be `gone`, and its secret
/// in Vault if it was ever `written`. Returns what could not be removed.
pub async fn remove(
    kube: &Client,
    vault: &Vault,
    canary: &Canary,
    gone: bool,
    written: bool,
) -> Vec<String> {
    let mut left = Vec::new();
    if !gone {
        let resource = format!("{} {}", canary.kind().resource(), canary.full_name());
        let deleted = delete_resource(kube, canary.kind(), &canary.namespace, &canary.name).await;
        let secret = match &deleted {
            Ok(()) => match own_secret(kube, canary).await {
                Ok(true) => delete_secret(kube, &canary.namespace, &canary.name).await,
                Ok(false) => Ok(()),
                Err(obstacle) => Err(obstacle),
            },
            // As long as the resource is there, the operator would only make its Secret anew.
            Err(_) => Ok(()),
        };
        note(&mut left, &resource, deleted);
        note(&mut left, &format!("Secret {}", canary.full_name()), secret);
    }
    if let Some(path) = canary.kv_path().filter(|_| written) {
        let deleted = limited(Peer::Vault, "delete it", vault.kv_delete(&path)).await;
        note(&mut left, &format!("Vault {path}"), deleted);
    }
    left
}

/// Asks Vault what became of leases whose resource is gone, and revokes those that live. Of those that were
/// `replaced` the operator lets the rest of their time run out, so that they may.
pub async fn end_leases(
    vault: &Vault,
    ids: Vec<String>,
    replaced: &[String],
) -> Vec<(String, LeaseState)> {
    let mut leases = Vec::new();
    for id in ids {
        let state = match end_lease(vault, &id).await {
            Ok(LeaseState::Leaked { revoked }) if replaced.contains(&id) => {
                LeaseState::Replaced { revoked }
            }
            Ok(state) => state,
            Err(obstacle) => LeaseState::Untold(obstacle),
        };
        leases.push((id, state));
    }
    leases
}

async fn end_lease(vault: &Vault, id: &str) -> Result<LeaseState, Obstacle> {
    let deadline = Instant::now().later(REQUEST_LIMIT);
    let mut retry = Retry::default();
    loop {
        match limited(Peer::Vault, "look up the lease", vault.lease_life(id)).await? {
            Life::Ended => return Ok(LeaseState::Ended),
            Life::Lives(_) => {
                let revoked = limited(Peer::Vault, "revoke it", vault.lease_revoke(id)).await;
                return Ok(LeaseState::Leaked {
                    revoked: revoked.is_ok(),
                });
            }
            Life::Ending if Instant::now() >= deadline => return Ok(LeaseState::Ending),
            Life::Ending => retry.wait().await,
        }
    }
}

fn resources(kube: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(kube.clone(), namespace, &operator::api_resource(kind))
}

/// Deletes a resource and waits until it is gone. One that is not there is as good.
async fn delete_resource(
    kube: &Client,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Result<(), Obstacle> {
    let api = resources(kube, kind, namespace);
    let what = format!("delete {} `{namespace}/{name}`", kind.resource());
    let deleted = limited(Peer::Kubernetes, &what, async {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(deleted) => Ok(deleted.left().and_then(|object| object.uid())),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(kubernetes::obstacle(&what, &error)),
        }
    })
    .await?;
    let Some(uid) = deleted else { return Ok(()) };
    let gone = await_condition(api, name, conditions::is_deleted(&uid));
    match tokio::time::timeout(DELETION_LIMIT, gone).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Obstacle {
            at: Peer::Kubernetes,
            how: Hindrance::Unreachable,
            text: format!("tried to {what}: can't see whether it is gone: {error}").into(),
        }),
        Err(_) => Err(Obstacle {
            at: Peer::Kubernetes,
            how: Hindrance::Failed,
            text: format!(
                "tried to {what}: it is still there after {} s, held by the operator's finalizer",
                DELETION_LIMIT.as_secs()
            )
            .into(),
        }),
    }
}

/// Whether the Secret of the canary's name is the canary's: someone else may have taken the name.
async fn own_secret(kube: &Client, canary: &Canary) -> Result<bool, Obstacle> {
    let api = Api::<Secret>::namespaced(kube.clone(), &canary.namespace);
    let what = format!("get Secret `{}`", canary.full_name());
    limited(Peer::Kubernetes, &what, async {
        let found = api.get_metadata_opt(&canary.name).await;
        let found = found.map_err(|error| kubernetes::obstacle(&what, &error))?;
        let instance = found
            .as_ref()
            .and_then(|secret| secret.labels().get(INSTANCE_LABEL));
        Ok(instance == Some(&canary.instance))
    })
    .await
}

async fn delete_secret(kube: &Client, namespace: &str, name: &str) -> Result<(), Obstacle> {
    let api = Api::<Secret>::namespaced(kube.clone(), namespace);
    let what = format!("delete Secret `{namespace}/{name}`");
    limited(Peer::Kubernetes, &what, async {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => Ok(()),
            Err(error) if absent(&error) => Ok(()),
            Err(error) => Err(kubernetes::obstacle(&what, &error)),
        }
    })
    .await
}

/// Whether an object, or its whole kind, is not there.
fn absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

fn note(left: &mut Vec<String>, what: &str, done: Result<(), Obstacle>) {
    if let Err(obstacle) = done {
        tracing::warn!(leftover = what, reason = %obstacle.text, "something is left behind");
        left.push(what.to_owned());
    }
}

/// A request of a clean-up, no longer than [`REQUEST_LIMIT`].
async fn limited<T>(
    at: Peer,
    what: &str,
    request: impl Future<Output = Result<T, Obstacle>>,
) -> Result<T, Obstacle> {
    wire::limited(at, what, REQUEST_LIMIT, request).await
}
