//! The part of a Secret that is remembered: never a value.

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;

use crate::canary::Salt;
use crate::model::timeline::Content;

/// A Secret's UID and the digests of its content.
pub fn secret_content(secret: &Secret, salt: Salt) -> (String, Content) {
    let data = secret
        .data
        .iter()
        .flatten()
        .map(|(key, value)| (key, value.0.as_slice()));
    (secret.uid().unwrap_or_default(), salt.content(data))
}
