//! The janitor: removes a run's canary at its end, and those of earlier runs once they have expired.

mod cluster;
mod own;
mod sweep;

use std::time::Duration;

use kube::Client;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use crate::canary::Canary;
use crate::config::KvPath;
use crate::model::record::{Hindrance, LeaseState, Obstacle, Peer};
use crate::model::time::Moment as _;
use crate::retry::Retry;
use crate::vault::lease::Life;
use crate::vault::{OwnLease, Vault};
use crate::wire;

pub use cluster::cluster;
pub use sweep::{Scope, Swept, sweep};

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
        let resource = format!("{} {}", canary.kind().resource(), canary.object());
        let deleted = own::remove_resource(kube, canary).await;
        let secret = match &deleted {
            Ok(()) => own::remove_secret(kube, canary).await,
            // As long as the resource is there, the operator would only make its Secret anew.
            Err(_) => Ok(()),
        };
        note(&mut left, &resource, deleted);
        note(&mut left, &format!("Secret {}", canary.object()), secret);
    }
    if let Some(path) = canary.kv_path().filter(|_| written) {
        let deleted = limited(Peer::Vault, "delete it", vault.kv_delete(&path)).await;
        let deleted = match deleted {
            Ok(()) => gone_from(vault, &path).await,
            failed => failed,
        };
        note(&mut left, &format!("Vault {path}"), deleted);
    }
    left
}

/// Insists that a secret that Vault says is deleted can't be read any more: below a mount that is not the engine's own root,
/// a deletion meets another path than the write did.
async fn gone_from(vault: &Vault, path: &KvPath) -> Result<(), Obstacle> {
    let read = vault.kv_read::<IgnoredAny>(path);
    match limited(Peer::Vault, "read it", read).await {
        Ok(Some(_)) => Err(Obstacle::new(
            Peer::Vault,
            Hindrance::Unfit,
            format!(
                "tried to delete `{path}` in Vault: it is still there; is `{}` the root of a KV engine?",
                path.mount
            ),
        )),
        // Who may not read it was told that it is deleted.
        Ok(None) | Err(_) => Ok(()),
    }
}

/// Asks Vault what became of leases whose resource is gone, and revokes those that live. Of those that were
/// `replaced` the operator lets the rest of their time run out, so that they may.
pub async fn end_leases(
    vault: &Vault,
    own: Vec<OwnLease>,
    replaced: &[String],
) -> Vec<(String, LeaseState)> {
    let mut leases = Vec::new();
    for lease in own {
        let id = lease.id().to_owned();
        let state = match end_lease(vault, &lease).await {
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

async fn end_lease(vault: &Vault, lease: &OwnLease) -> Result<LeaseState, Obstacle> {
    let deadline = Instant::now().later(REQUEST_LIMIT);
    let mut retry = Retry::default();
    loop {
        match limited(Peer::Vault, "look up the lease", vault.lease_life(lease)).await? {
            Life::Ended => return Ok(LeaseState::Ended),
            Life::Lives(_) => {
                let revoked = limited(Peer::Vault, "revoke it", vault.lease_revoke(lease)).await;
                return Ok(LeaseState::Leaked {
                    revoked: revoked.is_ok(),
                });
            }
            Life::Ending if Instant::now() >= deadline => return Ok(LeaseState::Ending),
            Life::Ending => retry.wait().await,
        }
    }
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
