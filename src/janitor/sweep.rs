//! The sweep: removes what earlier runs left behind, in Kubernetes and in Vault.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt as _, stream};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ListParams, Patch, PatchParams};
use kube::core::{DynamicObject, ObjectMeta, PartialObjectMeta};
use kube::{Client, ResourceExt as _};

use super::own::{delete_resource, delete_secret, resources};
use super::{cluster, end_leases, limited};
use crate::canary::{self, EXPIRES, EXPIRES_KEY, OwnObject};
use crate::config::{Config, KvPath, Target};
use crate::kubernetes::{self, read};
use crate::model::Kind;
use crate::model::record::{Hindrance, LeaseState, Obstacle, Peer};
use crate::model::text::Text;
use crate::operator;
use crate::vault::{OwnLease, Vault};

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
    /// How many objects bear the label of this prober's canaries but are none. They are left alone.
    pub strangers: usize,
}

/// Removes the leftovers of this prober in Kubernetes and in Vault.
pub async fn sweep(
    kube: &Client,
    vault: &Vault,
    config: &Config,
    scope: Scope,
    dry_run: bool,
) -> Swept {
    let sweep = Sweep {
        kube,
        vault,
        config,
        scope,
        dry_run,
        now: Timestamp::now(),
    };
    let mut swept = Swept::default();
    let mut seen = HashSet::new();
    let kinds: HashSet<_> = config
        .probes
        .iter()
        .map(|probe| probe.target.kind())
        .collect();
    let mut held: Result<_, Obstacle> = Ok(HashSet::new());
    for kind in Kind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let more = sweep.resources(kind, &mut swept).await;
        held = held.and_then(|held: HashSet<String>| Ok(&held | &more?));
    }
    // The Secret of a resource that is still there would only be made anew, with another lease.
    match held {
        Ok(held) => sweep.secrets(&held, &mut swept).await,
        Err(obstacle) => swept.hindered(obstacle),
    }
    let own = cluster(kube, &config.kubernetes.namespace).await;
    if let Err(obstacle) = &own {
        swept.hindered(obstacle.clone());
    }
    for target in config.probes.iter().map(|probe| &probe.target) {
        // Canaries of before there was a folder a cluster may be another cluster's, and in use.
        let old = canary::kv_folder(target, &config.instance);
        let home = own
            .as_ref()
            .ok()
            .and_then(|own| canary::kv_home(target, &config.instance, own));
        let folders = [(old, Scope::Expired), (home, scope)];
        for (folder, scope) in folders {
            if let Some(folder) = folder.filter(|folder| seen.insert(folder.clone())) {
                sweep.kv(&folder, scope, &mut swept).await;
            }
        }
    }
    swept
}

struct Sweep<'a> {
    kube: &'a Client,
    vault: &'a Vault,
    config: &'a Config,
    scope: Scope,
    dry_run: bool,
    now: Timestamp,
}

impl Sweep<'_> {
    fn namespace(&self) -> &str {
        &self.config.kubernetes.namespace
    }

    /// The object of this metadata, if it is a canary's of this prober.
    fn own(&self, metadata: &ObjectMeta) -> Option<OwnObject> {
        OwnObject::of(metadata, &self.config.instance)
    }

    fn takes(&self, metadata: &ObjectMeta) -> bool {
        self.scope == Scope::All || expired(expires(metadata), self.now)
    }

    /// Whether the object of this metadata is to be removed. One that is no canary's of this prober is counted.
    fn wants(&self, metadata: &ObjectMeta, strangers: &mut usize) -> bool {
        if self.own(metadata).is_none() {
            *strangers += 1;
            return false;
        }
        self.takes(metadata)
    }

    /// The object of this metadata, if it is still one to be removed.
    fn still(&self, metadata: &ObjectMeta) -> Option<OwnObject> {
        self.own(metadata).filter(|_| self.takes(metadata))
    }

    fn selector(&self) -> ListParams {
        ListParams::default().labels(&canary::selector(&self.config.instance))
    }

    /// Removes the resources of a kind; returns the names of those that are still there.
    async fn resources(&self, kind: Kind, swept: &mut Swept) -> Result<HashSet<String>, Obstacle> {
        let namespace = self.namespace();
        let api = resources(self.kube, kind, namespace);
        let what = format!("list {}s in `{namespace}`", kind.resource());
        let strangers = &mut swept.strangers;
        let listed = limited(Peer::Kubernetes, &what, async {
            let wanted = |object: &DynamicObject| self.wants(&object.metadata, strangers);
            read::some(self.kube, &api, &self.selector(), false, wanted)
                .await
                .map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let mut leftovers = Vec::new();
        for object in listed.await? {
            leftovers.extend(self.own(&object.metadata).map(|own| (own, object)));
        }
        let removals = stream::iter(leftovers).map(|(own, object)| async move {
            let name = object.name_any();
            let done = if self.dry_run {
                Ok(())
            } else {
                self.resource(kind, own, object).await
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
    async fn resource(
        &self,
        kind: Kind,
        own: OwnObject,
        object: DynamicObject,
    ) -> Result<(), Obstacle> {
        let namespace = self.namespace();
        let lease = self.own_lease(kind, &object);
        let lease = || lease.iter().cloned().collect();
        let had_its_time = object
            .metadata
            .deletion_timestamp
            .as_ref()
            .is_some_and(|deleted| deleted.0 + PATIENCE < self.now);
        if had_its_time && expired(expires(&object.metadata), self.now) {
            // With the resource goes the only record of its lease.
            ended(end_leases(self.vault, lease(), &[]).await)?;
            self.let_go(kind, &own, &object).await?;
        }
        let still = |metadata: &ObjectMeta| self.still(metadata);
        delete_resource(self.kube, kind, namespace, own, still).await?;
        ended(end_leases(self.vault, lease(), &[]).await)
    }

    /// The lease that a resource names, if it is of one of the probes.
    fn own_lease(&self, kind: Kind, object: &DynamicObject) -> Option<OwnLease> {
        let resource = operator::resource(kind, object.clone()).ok()?;
        let id = resource.lease?.id;
        let targets = self.config.probes.iter().map(|probe| &probe.target);
        let own = targets
            .filter_map(|target| match target {
                Target::Dynamic(target) => Some(target),
                Target::Static(_) | Target::Pki(_) => None,
            })
            .find_map(|target| self.vault.own_lease(target, &id));
        if own.is_none() {
            let (resource, lease) = (Text::from(object.name_any()), Text::from(id));
            tracing::warn!(
                resource = resource.as_str(),
                lease = lease.as_str(),
                "a leftover names a lease of none of the probes: it is left alone"
            );
        }
        own
    }

    /// Takes the operator's finalizer off a canary, if nobody has changed it since it was listed.
    async fn let_go(
        &self,
        kind: Kind,
        own: &OwnObject,
        object: &DynamicObject,
    ) -> Result<(), Obstacle> {
        let name = own.name();
        let what = format!(
            "remove the finalizer from {} `{}/{name}`",
            kind.resource(),
            self.namespace()
        );
        let others = object.finalizers().iter();
        let others = others.filter(|finalizer| !operator::is_finalizer(finalizer));
        let metadata = ObjectMeta {
            finalizers: Some(others.cloned().collect()),
            ..own.metadata()
        };
        let patch = Patch::Merge(serde_json::json!({ "metadata": metadata }));
        limited(Peer::Kubernetes, &what, async {
            let api = resources(self.kube, kind, self.namespace());
            let patched = api.patch(name, &PatchParams::default(), &patch).await;
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
        let strangers = &mut swept.strangers;
        let listed = limited(Peer::Kubernetes, &what, async {
            let wanted =
                |object: &PartialObjectMeta<Secret>| self.wants(&object.metadata, strangers);
            let listed = read::some(self.kube, &api, &self.selector(), true, wanted).await;
            listed.map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let objects = match listed.await {
            Ok(objects) => objects,
            Err(obstacle) => return swept.hindered(obstacle),
        };
        for object in objects {
            let Some(own) = self.own(&object.metadata) else {
                continue;
            };
            if !held.contains(own.name()) {
                let name = own.name().to_owned();
                let done = if self.dry_run {
                    Ok(())
                } else {
                    let still = |metadata: &ObjectMeta| self.still(metadata);
                    delete_secret(self.kube, namespace, own, still).await
                };
                swept.note(format!("Secret {namespace}/{name}"), done);
            }
        }
    }

    async fn kv(&self, folder: &KvPath, scope: Scope, swept: &mut Swept) {
        let listed = limited(Peer::Vault, "list it", self.vault.kv_list(folder));
        let names = match listed.await {
            Ok(names) => names,
            Err(obstacle) => return swept.hindered(obstacle),
        };
        for name in names.into_iter().filter(|name| canary::is_name(name)) {
            let path = folder.with(&name);
            let done = match self.takes_kv(&path, scope).await {
                Ok(false) => continue,
                Ok(true) if self.dry_run => Ok(()),
                Ok(true) => limited(Peer::Vault, "delete it", self.vault.kv_delete(&path)).await,
                Err(obstacle) => Err(obstacle),
            };
            swept.note(format!("Vault {path}"), done);
        }
    }

    async fn takes_kv(&self, path: &KvPath, scope: Scope) -> Result<bool, Obstacle> {
        if scope == Scope::All {
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
    let lives = |id: String| {
        Obstacle::new(
            Peer::Vault,
            Hindrance::Failed,
            format!("its lease `{id}` is still valid and could not be revoked"),
        )
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

/// The moment that is written on an object.
fn expires(metadata: &ObjectMeta) -> Option<&str> {
    let annotations = metadata.annotations.as_ref()?;
    annotations.get(EXPIRES).map(String::as_str)
}

/// Whether the moment written on a canary is past. Without one that can be read it never is.
fn expired(expires: Option<&str>, now: Timestamp) -> bool {
    expires
        .and_then(|text| text.parse::<Timestamp>().ok())
        .is_some_and(|expires| expires < now)
}
