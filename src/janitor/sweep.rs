//! Removes what earlier runs left behind, in Kubernetes and in Vault.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Client, ResourceExt as _};

use super::{delete_resource, delete_secret, end_leases, limited, resources};
use crate::canary::{self, EXPIRES, EXPIRES_KEY};
use crate::config::{Config, KvPath};
use crate::kubernetes;
use crate::model::Kind;
use crate::model::record::{Hindrance, LeaseState, Obstacle, Peer};
use crate::observe;
use crate::operator;
use crate::vault::Vault;

/// How long after its expiry a resource that is being deleted has its finalizer taken off: the
/// operator has had its time, and only a canary of the prober's own is ever touched.
const PATIENCE: SignedDuration = SignedDuration::from_secs(60);
/// How many leftovers are removed at once.
const AT_ONCE: usize = 16;

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
    /// Where the prober itself was hindered from looking.
    pub unseen: Vec<String>,
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
    let mut held: Result<_, Obstacle> = Ok(HashSet::new());
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let more = broom.resources(kind, &mut swept).await;
        held = held.and_then(|held: HashSet<String>| Ok(&held | &more?));
    }
    // The Secret of a resource that is still there would only be made anew, with another lease.
    match held {
        Ok(held) => broom.secrets(&held, &mut swept).await,
        Err(obstacle) => swept.hindered(obstacle),
    }
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
    fn namespace(&self) -> &str {
        &self.config.kubernetes.namespace
    }

    fn takes(&self, expires: Option<&str>) -> bool {
        self.scope == Scope::All || expired(expires, self.now)
    }

    fn selector(&self) -> ListParams {
        ListParams::default().labels(&canary::selector(&self.config.instance))
    }

    /// Removes the resources of a kind; returns the names of those that are still there.
    async fn resources(&self, kind: Kind, swept: &mut Swept) -> Result<HashSet<String>, Obstacle> {
        let namespace = self.namespace();
        let api = resources(self.kube, kind, namespace);
        let what = format!("list {}s in `{namespace}`", kind.resource());
        let listed = limited(Peer::Kubernetes, &what, async {
            api.list(&self.selector())
                .await
                .map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let leftovers = listed
            .await?
            .items
            .into_iter()
            .filter(|object| self.takes(object.annotations().get(EXPIRES).map(String::as_str)));
        let removals = stream::iter(leftovers).map(|object| async move {
            let name = object.name_any();
            let done = if self.dry_run {
                Ok(())
            } else {
                self.resource(kind, object).await
            };
            (name, done)
        });
        let mut removals = removals.buffer_unordered(AT_ONCE);
        let mut held = HashSet::new();
        while let Some((name, done)) = removals.next().await {
            if done.is_err() {
                held.insert(name.clone());
            }
            swept.note(format!("{} {namespace}/{name}", kind.resource()), done);
        }
        Ok(held)
    }

    /// Removes one resource, by force if the operator had its time and did not let it go, and sees to
    /// it that its lease ends with it.
    async fn resource(&self, kind: Kind, object: DynamicObject) -> Result<(), Obstacle> {
        let namespace = self.namespace();
        let name = object.name_any();
        let lease = observe::resource(kind, object.clone())
            .ok()
            .and_then(|resource| resource.lease);
        let lease = || lease.iter().map(|lease| lease.id.clone()).collect();
        let had_its_time = object
            .metadata
            .deletion_timestamp
            .as_ref()
            .is_some_and(|deleted| deleted.0 + PATIENCE < self.now);
        let expires = object.annotations().get(EXPIRES).map(String::as_str);
        if had_its_time && expired(expires, self.now) {
            // With the resource goes the only record of its lease.
            ended(end_leases(self.vault, lease(), &[]).await)?;
            self.let_go(kind, &object).await?;
        }
        delete_resource(self.kube, kind, namespace, &name).await?;
        ended(end_leases(self.vault, lease(), &[]).await)
    }

    /// Takes the operator's finalizer off a canary.
    async fn let_go(&self, kind: Kind, object: &DynamicObject) -> Result<(), Obstacle> {
        let name = object.name_any();
        let what = format!(
            "take the finalizer off {} `{}/{name}`",
            kind.resource(),
            self.namespace()
        );
        let others: Vec<_> = object
            .finalizers()
            .iter()
            .filter(|finalizer| !operator::is_finalizer(finalizer))
            .collect();
        let patch = Patch::Merge(serde_json::json!({ "metadata": { "finalizers": others } }));
        limited(Peer::Kubernetes, &what, async {
            let api = resources(self.kube, kind, self.namespace());
            let patched = api.patch(&name, &PatchParams::default(), &patch).await;
            patched
                .map(drop)
                .map_err(|error| kubernetes::obstacle(&what, &error))
        })
        .await
    }

    async fn secrets(&self, held: &HashSet<String>, swept: &mut Swept) {
        let namespace = self.namespace();
        let api = Api::<Secret>::namespaced(self.kube.clone(), namespace);
        let what = format!("list Secrets in `{namespace}`");
        let listed = limited(Peer::Kubernetes, &what, async {
            let listed = api.list_metadata(&self.selector()).await;
            listed.map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let objects = match listed.await {
            Ok(objects) => objects,
            Err(obstacle) => return swept.hindered(obstacle),
        };
        for object in objects {
            let name = object.name_any();
            let expires = object.annotations().get(EXPIRES).map(String::as_str);
            if self.takes(expires) && !held.contains(&name) {
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
        let listed = limited(Peer::Vault, "list it", self.vault.kv_list(folder));
        let names = match listed.await {
            Ok(names) => names,
            Err(obstacle) => return swept.hindered(obstacle),
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
        let expires = data
            .as_ref()
            .and_then(|data| data.get(EXPIRES_KEY)?.as_str());
        // A secret without data is one whose versions were deleted; nobody uses it.
        Ok(data.is_none() || expired(expires, self.now))
    }
}

impl Swept {
    /// Notes a hindrance, once.
    fn hindered(&mut self, obstacle: Obstacle) {
        let text = String::from(obstacle.text);
        if !self.unseen.contains(&text) {
            self.unseen.push(text);
        }
    }

    fn note(&mut self, what: String, done: Result<(), Obstacle>) {
        match done {
            Ok(()) => self.removed.push(what),
            Err(obstacle) => self.left.push(format!("{what}: {}", obstacle.text)),
        }
    }
}

/// Fails unless every lease has come to its end.
fn ended(leases: Vec<(String, LeaseState)>) -> Result<(), Obstacle> {
    let lives = |id: String| Obstacle {
        at: Peer::Vault,
        how: Hindrance::Failed,
        text: format!("its lease `{id}` still lives and could not be revoked").into(),
    };
    leases.into_iter().try_for_each(|(id, state)| match state {
        LeaseState::Ended
        | LeaseState::Ending
        | LeaseState::Replaced { .. }
        | LeaseState::Leaked { revoked: true } => Ok(()),
        LeaseState::Leaked { revoked: false } => Err(lives(id)),
        LeaseState::Untold(obstacle) => Err(obstacle),
    })
}

/// Whether the moment written on a canary is past. Without one that can be read it never is.
fn expired(expires: Option<&str>, now: Timestamp) -> bool {
    expires
        .and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|expires| expires < now)
}
