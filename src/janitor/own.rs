//! The removal of the prober's own objects in Kubernetes, proven to be its own.

use std::fmt::Debug;
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::{Api, DeleteParams};
use kube::core::{DynamicObject, ObjectMeta};
use serde::de::DeserializeOwned;

use super::limited;
use crate::canary::{Canary, OwnObject};
use crate::kubernetes;
use crate::model::Kind;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::operator;
use crate::retry::Retry;

/// How long a deleted resource may take to go before it is called a leftover.
const DELETION_LIMIT: Duration = Duration::from_secs(10);
/// How often a deletion is tried of an object that others change meanwhile.
const TRIES: u32 = 5;

pub(super) fn resources(kube: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(kube.clone(), namespace, &operator::api_resource(kind))
}

/// Removes a canary's resource. One that is not there is as good.
pub(super) async fn remove_resource(kube: &Client, canary: &Canary) -> Result<(), Obstacle> {
    let (kind, namespace) = (canary.kind(), canary.namespace.as_str());
    let api = resources(kube, kind, namespace);
    let what = format!("get {} `{}`", kind.resource(), canary.object());
    let Some(found) = find(&api, &what, &canary.name).await? else {
        return Ok(());
    };
    let own = |metadata: &ObjectMeta| OwnObject::of(metadata, &canary.instance);
    let Some(object) = own(&found) else {
        return Err(left_alone(&what));
    };
    delete_resource(kube, kind, namespace, object, own).await
}

/// Removes the Secret of the canary's name if it is the canary's: someone else may have taken the name.
pub(super) async fn remove_secret(kube: &Client, canary: &Canary) -> Result<(), Obstacle> {
    let api = Api::<Secret>::namespaced(kube.clone(), &canary.namespace);
    let what = format!("get Secret `{}`", canary.object());
    let own = |metadata: &ObjectMeta| OwnObject::of(metadata, &canary.instance);
    match find(&api, &what, &canary.name)
        .await?
        .as_ref()
        .and_then(own)
    {
        Some(object) => delete_secret(kube, &canary.namespace, object, own).await,
        None => Ok(()),
    }
}

async fn find<K>(api: &Api<K>, what: &str, name: &str) -> Result<Option<ObjectMeta>, Obstacle>
where
    K: Clone + DeserializeOwned + Debug,
{
    limited(Peer::Kubernetes, what, async {
        match api.get_metadata_opt(name).await {
            Ok(found) => Ok(found.map(|found| found.metadata)),
            Err(error) if absent(&error) => Ok(None),
            Err(error) => Err(kubernetes::obstacle(what, &error)),
        }
    })
    .await
}

/// Deletes a resource and waits until it is gone. One that is not there is as good. `own` proves it anew if it was changed
/// meanwhile.
pub(super) async fn delete_resource(
    kube: &Client,
    kind: Kind,
    namespace: &str,
    object: OwnObject,
    own: impl Fn(&ObjectMeta) -> Option<OwnObject>,
) -> Result<(), Obstacle> {
    let api = resources(kube, kind, namespace);
    let name = object.name().to_owned();
    let what = format!("delete {} `{namespace}/{name}`", kind.resource());
    let uid = object.uid().to_owned();
    if !delete(&api, &what, object, own).await? {
        return Ok(());
    }
    let gone = async {
        let mut retry = Retry::default();
        while find(&api, &what, &name)
            .await?
            .is_some_and(|found| found.uid.as_deref() == Some(&uid))
        {
            retry.wait().await;
        }
        Ok(())
    };
    let held = |_| {
        Obstacle::new(
            Peer::Kubernetes,
            Hindrance::Failed,
            format!(
                "tried to {what}: it still exists after {} s, held by the operator's finalizer",
                DELETION_LIMIT.as_secs()
            ),
        )
    };
    tokio::time::timeout(DELETION_LIMIT, gone)
        .await
        .map_err(held)?
}

/// Deletes a Secret, as [`delete_resource`] does a resource.
pub(super) async fn delete_secret(
    kube: &Client,
    namespace: &str,
    object: OwnObject,
    own: impl Fn(&ObjectMeta) -> Option<OwnObject>,
) -> Result<(), Obstacle> {
    let api = Api::<Secret>::namespaced(kube.clone(), namespace);
    let what = format!("delete Secret `{namespace}/{}`", object.name());
    delete(&api, &what, object, own).await.map(drop)
}

/// Deletes this very object; returns whether it is still there, until its finalizers are off.
async fn delete<K>(
    api: &Api<K>,
    what: &str,
    mut object: OwnObject,
    own: impl Fn(&ObjectMeta) -> Option<OwnObject>,
) -> Result<bool, Obstacle>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut tries = 0;
    loop {
        let params = DeleteParams::default().preconditions(object.preconditions());
        let deleted = limited(Peer::Kubernetes, what, async {
            match api.delete(object.name(), &params).await {
                Ok(deleted) => Ok(Some(deleted.is_left())),
                Err(error) if absent(&error) => Ok(Some(false)),
                Err(error) if kubernetes::changed(&error) && tries < TRIES => Ok(None),
                Err(error) => Err(kubernetes::obstacle(what, &error)),
            }
        });
        if let Some(stays) = deleted.await? {
            return Ok(stays);
        }
        tries += 1;
        match find(api, what, object.name()).await? {
            Some(found) if found.uid.as_deref() == Some(object.uid()) => {
                object = own(&found).ok_or_else(|| left_alone(what))?;
            }
            // It is gone; what has its name now is another.
            _ => return Ok(false),
        }
    }
}

fn left_alone(what: &str) -> Obstacle {
    Obstacle::new(
        Peer::Kubernetes,
        Hindrance::Denied,
        format!(
            "tried to {what}: it was changed meanwhile and is no longer a canary of this prober, so it is left alone"
        ),
    )
}

/// Whether an object, or its whole kind, is not there.
fn absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}
