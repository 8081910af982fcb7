//! The source of a client: a resource's reference to `VaultAuth`, `VaultConnection` and `ServiceAccount`.

use std::sync::Arc;
use std::time::Duration;

use kube::runtime::reflector::{ObjectRef, Store};
use kube::{Resource, ResourceExt};
use vso_prober::operator::api::{VaultAuth, VaultConnection};

use super::Clients;
use crate::content::hex_digest;
use crate::kind::Kind;
use crate::session::{Ancestor, Origin};
use crate::vault::Error;

/// A reference to a resource that is not there is looked at again this often, this many times.
const LOOK_AGAIN: (Duration, u32) = (Duration::from_millis(500), 60);

impl Clients {
    /// Everything that decides which client it is.
    pub(super) async fn source(
        &self,
        namespace: &str,
        auth: Option<&str>,
    ) -> Result<Source, Error> {
        let wanted = self.reference(auth, namespace)?;
        let auth = await_there(&self.auths, &wanted).await?;
        let allowed = auth.spec.allowed_namespaces.clone().unwrap_or_default();
        let default =
            auth.name_any() == "default" && auth.namespace().as_deref() == Some(&self.namespace);
        let own = auth.namespace().as_deref() == Some(namespace);
        if !(own || default || allowed == ["*"] || allowed.iter().any(|other| other == namespace)) {
            return Err(Error::Other(format!(
                "target namespace \"{namespace}\" is not allowed by kind=VaultAuth obj={}, allowedNamespaces=[]",
                named(&wanted)
            )));
        }
        let wanted = self.connection_of(&auth)?;
        let connection = self
            .connections
            .get(&wanted)
            .ok_or_else(|| not_found(&wanted))?;
        let spec = auth.spec.methods.kubernetes.as_ref();
        let spec =
            spec.ok_or_else(|| Error::Other("kubernetes auth method not configured".into()))?;
        let name = spec.service_account.as_deref().unwrap_or_default();
        let account = self.accounts.get(&ObjectRef::new(name).within(namespace));
        let account =
            account.ok_or_else(|| Error::Other(format!("ServiceAccount \"{name}\" not found")))?;
        let (a, c) = (ancestor(&*auth), ancestor(&*connection));
        let input = format!(
            "{}-{}.{}-{}.{}",
            a.uid,
            a.generation,
            c.uid,
            c.generation,
            account.uid().unwrap_or_default()
        );
        let key = format!("kubernetes-{}", hex_digest(&input, 11));
        let origin = Origin {
            key,
            auth: a,
            connection: c,
            label: named(&wanted),
        };
        Ok(Source {
            auth,
            connection,
            origin,
        })
    }

    /// The `VaultConnection` of an auth.
    pub(crate) fn connection_of(
        &self,
        auth: &VaultAuth,
    ) -> Result<ObjectRef<VaultConnection>, Error> {
        self.reference(
            auth.spec.vault_connection_ref.as_deref(),
            &auth.namespace().unwrap_or_default(),
        )
    }

    fn reference<K: Kind>(
        &self,
        name: Option<&str>,
        namespace: &str,
    ) -> Result<ObjectRef<K>, Error> {
        let parts: Vec<&str> = name.unwrap_or_default().split('/').collect();
        match parts.as_slice() {
            [""] => Ok(ObjectRef::new("default").within(&self.namespace)),
            [name] => Ok(ObjectRef::new(name).within(namespace)),
            [namespace, name] => Ok(ObjectRef::new(name).within(namespace)),
            _ => Err(Error::Other(format!(
                "invalid name: {}",
                name.unwrap_or_default()
            ))),
        }
    }
}

/// Everything that decides which client it is.
pub(super) struct Source {
    pub(super) auth: Arc<VaultAuth>,
    pub(super) connection: Arc<VaultConnection>,
    pub(super) origin: Origin,
}

/// UID and generation.
pub(crate) fn ancestor<K: Resource>(object: &K) -> Ancestor {
    Ancestor {
        uid: object.uid().unwrap_or_default(),
        generation: object.meta().generation.unwrap_or_default(),
    }
}

/// Looks for a resource, for 30 s if need be; nothing is told meanwhile.
pub(crate) async fn await_there<K: Kind>(
    store: &Store<K>,
    wanted: &ObjectRef<K>,
) -> Result<Arc<K>, Error> {
    let (pause, times) = LOOK_AGAIN;
    for _ in 0..times {
        if let Some(found) = store.get(wanted) {
            return Ok(found);
        }
        tokio::time::sleep(pause).await;
    }
    store.get(wanted).ok_or_else(|| not_found(wanted))
}

fn not_found<K: Kind>(wanted: &ObjectRef<K>) -> Error {
    Error::Other(format!(
        "{}.secrets.hashicorp.com \"{}\" not found",
        K::KIND,
        wanted.name
    ))
}

fn named<K: Kind>(object: &ObjectRef<K>) -> String {
    format!(
        "{}/{}",
        object.namespace.as_deref().unwrap_or_default(),
        object.name
    )
}
