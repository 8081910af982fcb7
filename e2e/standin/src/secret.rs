//! The Secret that a resource is synced to: whose it is, and how it is written.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, Client, ResourceExt};
use vso_prober::operator::OWNER_UID_LABEL;
use vso_prober::operator::api::Destination;

use super::content::Data;
use super::kind::Kind;

/// The labels of every Secret that the operator writes, beside the owner's UID.
const OWNER_LABELS: [(&str, &str); 3] = [
    ("app.kubernetes.io/name", "vault-secrets-operator"),
    ("app.kubernetes.io/component", "secret-sync"),
    ("app.kubernetes.io/managed-by", "hashicorp-vso"),
];

/// The annotation that a rewrite without a change leaves, so that it is one.
const REWRITTEN: &str = "standin.vso-prober.dev/rewritten";

/// Why a Secret was not written; prints as the operator words it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// It is someone else's.
    #[error("{0}")]
    NotOwned(String),
    /// It is not there and is not to be made.
    #[error("destination secret {0} does not exist, and create=false")]
    Missing(String),
    /// Kubernetes refused.
    #[error("{}", words(.0))]
    Kubernetes(#[from] kube::Error),
}

/// What Kubernetes said, without Rust's trimmings.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The Secret of that name, if there is one.
pub(crate) async fn find(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<Secret>, kube::Error> {
    Api::namespaced(client.clone(), namespace)
        .get_opt(name)
        .await
}

/// Whether it bears the labels of a Secret that the operator writes.
pub(crate) fn is_labelled(labels: &BTreeMap<String, String>) -> bool {
    missing_labels(labels).is_empty()
}

/// Whether the operator's own cache of Secrets, which goes by two of the labels, would hold it.
pub(crate) fn is_visible(secret: &Secret) -> bool {
    !missing_labels(secret.labels())
        .iter()
        .any(|(key, _)| !key.ends_with("component"))
}

/// Makes the Secret be so: creates or updates it, and removes others that `owner` had before.
pub(crate) async fn sync<K: Kind>(
    client: &Client,
    owner: &K,
    destination: &Destination,
    data: Data,
    rewrite: bool,
) -> Result<(), Error> {
    let namespace = owner.namespace().unwrap_or_default();
    let api: Api<Secret> = Api::namespaced(client.clone(), &namespace);
    let found = api.get_opt(&destination.name).await?;
    let key = format!("{namespace}/{}", destination.name);
    if !destination.create {
        let mut secret = found.ok_or(Error::Missing(key))?;
        secret.data = Some(data);
        api.replace(&destination.name, &PostParams::default(), &secret)
            .await?;
        prune(&api, owner, destination).await;
        return Ok(());
    }
    let reference = reference(owner);
    if let Some(secret) = &found {
        let check = !destination.overwrite || is_labelled(secret.labels());
        if check {
            owned(secret, &reference, &key).map_err(Error::NotOwned)?;
        }
    }
    let exists = found.is_some();
    let mut secret = found.unwrap_or_else(|| Secret {
        metadata: ObjectMeta {
            name: Some(destination.name.clone()),
            namespace: Some(namespace),
            ..ObjectMeta::default()
        },
        ..Secret::default()
    });
    let type_ = destination.type_.clone().unwrap_or("Opaque".into());
    let retyped = exists && secret.type_.as_ref() != Some(&type_);
    secret.data = Some(data);
    secret
        .metadata
        .annotations
        .clone_from(&destination.annotations);
    if rewrite {
        let stamp = k8s_openapi::jiff::Timestamp::now().to_string();
        secret.annotations_mut().insert(REWRITTEN.into(), stamp);
    }
    secret.metadata.labels = Some(labels(owner, destination));
    secret.metadata.owner_references = Some(vec![reference]);
    if retyped {
        // A Secret's type can't change; without its labels, its deletion wakes nobody.
        let labels = secret.metadata.labels.take();
        api.replace(&destination.name, &PostParams::default(), &secret)
            .await?;
        api.delete(&destination.name, &DeleteParams::default())
            .await?;
        secret.metadata.labels = labels;
        secret.metadata.resource_version = None;
        secret.metadata.uid = None;
    }
    secret.type_ = Some(type_);
    if exists && !retyped {
        api.replace(&destination.name, &PostParams::default(), &secret)
            .await?;
    } else {
        api.create(&PostParams::default(), &secret).await?;
    }
    prune(&api, owner, destination).await;
    Ok(())
}

/// Removes Secrets of `owner` under other names; a failure is not told.
async fn prune<K: Kind>(api: &Api<Secret>, owner: &K, destination: &Destination) {
    let uid = owner.uid().unwrap_or_default();
    let selector = OWNER_LABELS
        .iter()
        .fold(format!("{OWNER_UID_LABEL}={uid}"), |all, (key, value)| {
            format!("{all},{key}={value}")
        });
    let Ok(secrets) = api.list(&ListParams::default().labels(&selector)).await else {
        return;
    };
    for secret in secrets
        .items
        .iter()
        .filter(|secret| secret.name_any() != destination.name)
    {
        let _ = api
            .delete(&secret.name_any(), &DeleteParams::default())
            .await;
    }
}

fn labels<K: Kind>(owner: &K, destination: &Destination) -> BTreeMap<String, String> {
    let mut labels = destination.labels.clone().unwrap_or_default();
    labels.extend(OWNER_LABELS.map(|(key, value)| (key.into(), value.into())));
    labels.insert(OWNER_UID_LABEL.into(), owner.uid().unwrap_or_default());
    labels
}

fn reference<K: Kind>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        ..OwnerReference::default()
    }
}

fn missing_labels(labels: &BTreeMap<String, String>) -> Vec<(&'static str, bool)> {
    let wrong = OWNER_LABELS
        .iter()
        .filter(|(key, value)| labels.get(*key).is_none_or(|is| is != value));
    wrong
        .map(|(key, _)| (*key, labels.contains_key(*key)))
        .collect()
}

fn owned(secret: &Secret, reference: &OwnerReference, key: &str) -> Result<(), String> {
    let mut wrong: Vec<String> = missing_labels(secret.labels())
        .iter()
        .map(|(key, present)| format!("invalid owner label, key={key}, present={present}"))
        .collect();
    match secret.owner_references() {
        [] => wrong.push(format!("secret {key} has no ownerReferences")),
        [only] if only == reference => {}
        others => wrong.push(format!("invalid ownerReferences, refs={others:?}")),
    }
    if wrong.is_empty() {
        return Ok(());
    }
    wrong.push(format!("not the owner of the destination Secret {key}"));
    Err(wrong.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_strangers_secret_is_refused_as_recorded() {
        let told = owned(
            &Secret::default(),
            &OwnerReference::default(),
            "vso-probe/taken",
        )
        .expect_err("not ours");
        assert_eq!(
            told,
            "invalid owner label, key=app.kubernetes.io/name, present=false\ninvalid owner label, key=app.kubernetes.io/component, present=false\ninvalid owner label, key=app.kubernetes.io/managed-by, present=false\nsecret vso-probe/taken has no ownerReferences\nnot the owner of the destination Secret vso-probe/taken"
        );
    }

    #[test]
    fn an_own_secret_is_known() {
        let reference = OwnerReference {
            name: "s1".into(),
            uid: "u".into(),
            ..OwnerReference::default()
        };
        let mut secret = Secret::default();
        secret.metadata.labels = Some(OWNER_LABELS.map(|(k, v)| (k.into(), v.into())).into());
        secret.metadata.owner_references = Some(vec![reference.clone()]);
        assert_eq!(owned(&secret, &reference, "n/s1"), Ok(()));
        assert!(is_visible(&secret) && is_labelled(secret.labels()));
        secret.labels_mut().remove("app.kubernetes.io/name");
        assert!(!is_visible(&secret));
        assert!(
            owned(&secret, &OwnerReference::default(), "n/s1")
                .expect_err("touched")
                .contains("invalid ownerReferences")
        );
    }
}
