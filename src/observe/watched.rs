//! The kinds that are watched: the Secrets of canaries, and their resources.

use std::fmt::Debug;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt as _;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Shared;
use super::event::Others;
use crate::model::Kind;
use crate::model::timeline::Seen;
use crate::operator::api::{VaultDynamicSecret, VaultPKISecret, VaultStaticSecret};
use crate::operator::{resource_of_dynamic, resource_of_pki, resource_of_static};

/// What the watches need of a kind of object.
pub(super) trait Watched:
    kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static
{
    /// Which canaries it concerns: those of this kind, or all.
    const KIND: Option<Kind>;
    fn tell(&self, shared: &Shared, at: Instant, relisted: bool, others: Others);
    fn gone() -> Seen;
}

impl Watched for Secret {
    const KIND: Option<Kind> = None;

    fn tell(&self, shared: &Shared, at: Instant, relisted: bool, others: Others) {
        shared.tell_secret(self, at, relisted, others);
    }

    fn gone() -> Seen {
        Seen::SecretGone
    }
}

impl Watched for VaultStaticSecret {
    const KIND: Option<Kind> = Some(Kind::Static);

    fn tell(&self, shared: &Shared, at: Instant, relisted: bool, _: Others) {
        let resource = resource_of_static(self);
        shared.tell_resource(Kind::Static, &self.name_any(), at, relisted, resource);
    }

    fn gone() -> Seen {
        Seen::ResourceGone
    }
}

impl Watched for VaultDynamicSecret {
    const KIND: Option<Kind> = Some(Kind::Dynamic);

    fn tell(&self, shared: &Shared, at: Instant, relisted: bool, _: Others) {
        let resource = resource_of_dynamic(self);
        shared.tell_resource(Kind::Dynamic, &self.name_any(), at, relisted, resource);
    }

    fn gone() -> Seen {
        Seen::ResourceGone
    }
}

impl Watched for VaultPKISecret {
    const KIND: Option<Kind> = Some(Kind::Pki);

    fn tell(&self, shared: &Shared, at: Instant, relisted: bool, _: Others) {
        let resource = resource_of_pki(self);
        shared.tell_resource(Kind::Pki, &self.name_any(), at, relisted, resource);
    }

    fn gone() -> Seen {
        Seen::ResourceGone
    }
}
