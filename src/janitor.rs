//! Leaves nothing behind: removes a run's canary at its end, and others' once they are past their
//! written expiry.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, ResourceExt as _};

use crate::canary::{self, Canary, EXPIRES, INSTANCE_LABEL};
use crate::config::{Config, KvPath};
use crate::kubernetes;
use crate::model::Kind;
use crate::model::record::{Hindrance, LeaseState, Obstacle, Peer};
use crate::observe;
use crate::operator;
use crate::vault::Vault;
use crate::wire::timeout;

/// How long a deleted resource may take to go before it is called a leftover.
const DELETION_LIMIT: Duration = Duration::from_secs(10);
/// How long the other requests of one clean-up may take.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);
/// How long after its expiry a resource that is being deleted has its finalizer taken off: the
/// operator has had its time, and only a canary of the prober's own is ever touched.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// Which canaries a sweep takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scope {
    /// Those past their expiry.
    Expired,
    /// All of this prober's.
    All,
}

/// What a sweep did, or would do.
#[derive(Debug, Default)]
pub struct Swept {
    /// What was removed.
    pub removed: Vec<String>,
    /// What could not be removed, and why.
    pub left: Vec<String>,
}

/// Removes a canary that is not known to be gone: its resource, its Secret, its secret in Vault.
/// Returns what could not be removed.
pub async fn remove(kube: &Client, vault: &Vault, canary: &Canary, gone: bool) -> Vec<String> {
    let mut left = Vec::new();
    if !gone {
        let resource = format!("{} {}", canary.kind().resource(), canary.full_name());
        let deleted = delete_resource(kube, canary.kind(), &canary.namespace, &canary.name).await;
        note(&mut left, &resource, deleted);
        let secret = format!("Secret {}", canary.full_name());
        let own = own_secret(kube, canary).await;
        let deleted = match own {
            Ok(true) => delete_secret(kube, &canary.namespace, &canary.name).await,
            Ok(false) => Ok(()),
            Err(obstacle) => Err(obstacle),
        };
        note(&mut left, &secret, deleted);
    }
    if let Some(path) = canary.kv_path() {
        let deleted = limited(Peer::Vault, "delete it", vault.kv_delete(&path)).await;
        note(&mut left, &format!("Vault {path}"), deleted);
    }
    left
}

/// Asks Vault what became of leases whose resource is gone, and revokes those that live.
pub async fn end_leases(vault: &Vault, ids: Vec<String>) -> Vec<(String, LeaseState)> {
    let mut leases = Vec::new();
    for id in ids {
        let lives = limited(Peer::Vault, "look up the lease", vault.lease_lives(&id)).await;
        let state = match lives {
            Ok(false) => LeaseState::Ended,
            Ok(true) => {
                let revoked = limited(Peer::Vault, "revoke it", vault.lease_revoke(&id)).await;
                LeaseState::Leaked {
                    revoked: revoked.is_ok(),
                }
            }
            Err(obstacle) => LeaseState::Untold(obstacle),
        };
        leases.push((id, state));
    }
    leases
}

/// Removes the leftovers of this prober in Kubernetes and in Vault.
pub async fn sweep(
    kube: &Client,
    vault: &Vault,
    config: &Config,
    scope: Scope,
    dry_run: bool,
) -> Swept {
    let broom = Broom {
        kube,
        vault,
        config,
        scope,
        dry_run,
        now: Timestamp::now(),
    };
    let mut swept = Swept::default();
    let kinds: HashSet<_> = config
        .probes
        .iter()
        .map(|probe| probe.target.kind())
        .collect();
    for kind in Kind::ALL {
        if kinds.contains(&kind) {
            broom.resources(kind, &mut swept).await;
        }
    }
    broom.secrets(&mut swept).await;
    for folder in folders(config) {
        broom.kv(&folder, &mut swept).await;
    }
    swept
}

/// The folders in Vault that hold this prober's canaries, each once.
fn folders(config: &Config) -> Vec<KvPath> {
    let mut folders = Vec::new();
    for probe in &config.probes {
        if let Some(folder) = canary::kv_folder(&probe.target, &config.instance)
            && !folders.contains(&folder)
        {
            folders.push(folder);
        }
    }
    folders
}

struct Broom<'a> {
    kube: &'a Client,
    vault: &'a Vault,
    config: &'a Config,
    scope: Scope,
    dry_run: bool,
    now: Timestamp,
}

impl Broom<'_> {
    fn takes(&self, expires: Option<&str>) -> bool {
        self.scope == Scope::All || expired(expires, self.now)
    }

    fn selector(&self) -> ListParams {
        ListParams::default().labels(&format!("{INSTANCE_LABEL}={}", self.config.instance))
    }

    async fn resources(&self, kind: Kind, swept: &mut Swept) {
        let namespace = &self.config.kubernetes.namespace;
        let api = resources(self.kube, kind, namespace);
        let what = format!("list {}s in `{namespace}`", kind.resource());
        let listed = limited(Peer::Kubernetes, &what, async {
            api.list(&self.selector())
                .await
                .map_err(|error| kubernetes::obstacle(&what, &error))
        })
        .await;
        let objects = match listed {
            Ok(objects) => objects,
            Err(obstacle) => return swept.left.push(obstacle.text),
        };
        for object in objects {
            let expires = object.annotations().get(EXPIRES).cloned();
            if !self.takes(expires.as_deref()) {
                continue;
            }
            let name = object.name_any();
            let label = format!("{} {namespace}/{name}", kind.resource());
            let done = if self.dry_run {
                Ok(())
            } else {
                self.resource(kind, object).await
            };
            swept.note(label, done);
        }
    }

    /// Removes one resource, by force if the operator had its time and did not let it go.
    async fn resource(&self, kind: Kind, object: DynamicObject) -> Result<(), Obstacle> {
        let namespace = &self.config.kubernetes.namespace;
        let name = object.name_any();
        let patience_ended = object
            .metadata
            .deletion_timestamp
            .as_ref()
            .is_some_and(|deleted| deleted.0 + PATIENCE < self.now);
        let forced = patience_ended
            && expired(
                object.annotations().get(EXPIRES).map(String::as_str),
                self.now,
            );
        if forced {
            let lease = observe::resource(kind, object)
                .ok()
                .and_then(|resource| resource.lease);
            end_leases(
                self.vault,
                lease.into_iter().map(|lease| lease.id).collect(),
            )
            .await;
            let what = format!(
                "take the finalizer off {} `{namespace}/{name}`",
                kind.resource()
            );
            let patch = Patch::Merge(serde_json::json!({ "metadata": { "finalizers": null } }));
            limited(Peer::Kubernetes, &what, async {
                let api = resources(self.kube, kind, namespace);
                let patched = api.patch(&name, &PatchParams::default(), &patch).await;
                patched
                    .map(drop)
                    .map_err(|error| kubernetes::obstacle(&what, &error))
            })
            .await?;
        }
        delete_resource(self.kube, kind, namespace, &name).await
    }

    async fn secrets(&self, swept: &mut Swept) {
        let namespace = &self.config.kubernetes.namespace;
        let api = Api::<Secret>::namespaced(self.kube.clone(), namespace);
        let what = format!("list Secrets in `{namespace}`");
        let listed = limited(Peer::Kubernetes, &what, async {
            let listed = api.list_metadata(&self.selector()).await;
            listed.map_err(|error| kubernetes::obstacle(&what, &error))
        })
        .await;
        let objects = match listed {
            Ok(objects) => objects,
            Err(obstacle) => return swept.left.push(obstacle.text),
        };
        for object in objects {
            if self.takes(object.annotations().get(EXPIRES).map(String::as_str)) {
                let name = object.name_any();
                let done = if self.dry_run {
                    Ok(())
                } else {
                    delete_secret(self.kube, namespace, &name).await
                };
                swept.note(format!("Secret {namespace}/{name}"), done);
            }
        }
    }

    async fn kv(&self, folder: &KvPath, swept: &mut Swept) {
        let names = match limited(Peer::Vault, "list it", self.vault.kv_list(folder)).await {
            Ok(names) => names,
            Err(obstacle) => return swept.left.push(obstacle.text),
        };
        for name in names.into_iter().filter(|name| name.starts_with("vsop-")) {
            let path = KvPath {
                path: format!("{}/{name}", folder.path),
                ..folder.clone()
            };
            let done = match self.takes_kv(&path).await {
                Ok(false) => continue,
                Ok(true) if self.dry_run => Ok(()),
                Ok(true) => limited(Peer::Vault, "delete it", self.vault.kv_delete(&path)).await,
                Err(obstacle) => Err(obstacle),
            };
            swept.note(format!("Vault {path}"), done);
        }
    }

    async fn takes_kv(&self, path: &KvPath) -> Result<bool, Obstacle> {
        if self.scope == Scope::All {
            return Ok(true);
        }
        let read = self
            .vault
            .kv_read::<BTreeMap<String, serde_json::Value>>(path);
        let data = limited(Peer::Vault, "read it", read).await?;
        let expires = data.as_ref().and_then(|data| data.get("expires")?.as_str());
        // A secret without data is one whose versions were deleted; nobody uses it.
        Ok(data.is_none() || expired(expires, self.now))
    }
}

impl Swept {
    fn note(&mut self, what: String, done: Result<(), Obstacle>) {
        match done {
            Ok(()) => self.removed.push(what),
            Err(obstacle) => self.left.push(format!("{what}: {}", obstacle.text)),
        }
    }
}

/// Whether the moment written on a canary is past. Without one that can be read it never is.
fn expired(expires: Option<&str>, now: Timestamp) -> bool {
    expires
        .and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|expires| expires < now)
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
            text: format!("tried to {what}: can't see whether it is gone: {error}"),
        }),
        Err(_) => Err(Obstacle {
            at: Peer::Kubernetes,
            how: Hindrance::Failed,
            text: format!(
                "tried to {what}: it is still there after {} s, held by the operator's finalizer",
                DELETION_LIMIT.as_secs()
            ),
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

async fn limited<T>(
    at: Peer,
    what: &str,
    request: impl Future<Output = Result<T, Obstacle>>,
) -> Result<T, Obstacle> {
    tokio::time::timeout(REQUEST_LIMIT, request)
        .await
        .unwrap_or_else(|_| Err(timeout(at, what, REQUEST_LIMIT)))
}
