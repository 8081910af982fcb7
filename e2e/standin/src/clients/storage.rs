//! The storage of tokens in Secrets, so that they outlive the process.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::options::Options;
use crate::vault::Auth;

/// What stands before a client's key in the name of its Secret.
const PREFIX: &str = "vso-cc-";
/// The key of a Secret's that the token stands in, with what Vault said of it.
const FIELD: &str = "secret";

/// Keeps tokens in Secrets of the operator's namespace.
pub(crate) struct Storage(Api<Secret>);

impl Storage {
    /// The storage, if the options ask for one.
    pub(crate) fn of(options: &Options, client: &Client) -> Option<Self> {
        let secrets = Api::namespaced(client.clone(), &options.namespace);
        options.persists.then_some(Self(secrets))
    }

    /// Keeps a token that can be renewed, in place of the one before.
    pub(super) async fn keep(&self, key: &str, auth: &Auth) {
        if !auth.renewable {
            return;
        }
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(format!("{PREFIX}{key}")),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            data: Some(BTreeMap::from([(
                FIELD.into(),
                ByteString(serde_json::to_vec(auth).expect("a token can be written")),
            )])),
            ..Secret::default()
        };
        // What is immutable is made anew.
        self.forget(key).await;
        if let Err(error) = self.0.create(&PostParams::default(), &secret).await {
            tracing::info!(key, %error, "token not kept");
        }
    }

    /// Keeps none any more.
    pub(super) async fn forget(&self, key: &str) {
        let name = format!("{PREFIX}{key}");
        let _ = self.0.delete(&name, &DeleteParams::default()).await;
    }

    /// The token that was kept.
    pub(super) async fn restore(&self, key: &str) -> Option<Auth> {
        let name = format!("{PREFIX}{key}");
        let secret = self.0.get_opt(&name).await.ok()??;
        let kept = secret.data.unwrap_or_default().remove(FIELD)?;
        serde_json::from_slice(&kept.0).ok()
    }
}
