//! Sends what a canary says.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;

use super::Shell;
use crate::canary::{Action, Canary, NONCE_KEY};
use crate::kubernetes;
use crate::model::record::Obstacle;
use crate::operator;

/// Sends one action, and returns when it is acknowledged.
pub(super) async fn send(shell: &Shell, canary: &Canary, action: Action) -> Result<(), Obstacle> {
    let name = &canary.name;
    let kind = canary.kind();
    let secrets = Api::<Secret>::namespaced(shell.kube.clone(), &canary.namespace);
    let resources = Api::<DynamicObject>::namespaced_with(
        shell.kube.clone(),
        &canary.namespace,
        &operator::api_resource(kind),
    );
    let (what, answer) = match action {
        Action::WriteKv { at, data } => {
            let data = data
                .iter()
                .map(|(key, value)| (key.as_str(), value.as_str()))
                .collect();
            return shell.vault.kv_write(&at, &data).await;
        }
        Action::Create(resource) => {
            let answer = resources.create(&PostParams::default(), &resource).await;
            (format!("create {}", kind.resource()), answer.map(drop))
        }
        Action::EditSecret { value } => {
            let edit = Secret {
                data: Some([(NONCE_KEY.to_owned(), ByteString(value.into_bytes()))].into()),
                ..Secret::default()
            };
            let answer = secrets
                .patch(name, &PatchParams::default(), &Patch::Merge(edit))
                .await;
            ("edit Secret".to_owned(), answer.map(drop))
        }
        Action::DeleteSecret => {
            let answer = secrets.delete(name, &DeleteParams::default()).await;
            ("delete Secret".to_owned(), answer.map(drop))
        }
        Action::Delete => {
            let answer = resources.delete(name, &DeleteParams::default()).await;
            (format!("delete {}", kind.resource()), answer.map(drop))
        }
    };
    answer
        .map_err(|error| kubernetes::obstacle(&format!("{what} `{}`", canary.full_name()), &error))
}
