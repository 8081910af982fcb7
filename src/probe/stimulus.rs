//! The stimulus of a step: sent for a canary, and only to the canary's own objects.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::core::{DynamicObject, ObjectMeta};

use super::Clients;
use crate::canary::{Action, Canary, NONCE_KEY, OwnObject};
use crate::kubernetes;
use crate::model::record::{Hindrance, Obstacle, Peer};
use crate::operator;

/// How often an action is tried on an object that others change meanwhile.
const TRIES: u32 = 5;

fn secrets(clients: &Clients, canary: &Canary) -> Api<Secret> {
    Api::namespaced(clients.kube.clone(), &canary.namespace)
}

fn resources(clients: &Clients, canary: &Canary) -> Api<DynamicObject> {
    let resource = operator::api_resource(canary.kind());
    Api::namespaced_with(clients.kube.clone(), &canary.namespace, &resource)
}

/// What an action is to be done to, as it is now; nothing if the action makes it.
///
/// # Errors
/// It is not there, or not the canary's own.
pub(super) async fn object(
    clients: &Clients,
    canary: &Canary,
    action: &Action,
) -> Result<Option<OwnObject>, Obstacle> {
    let name = &canary.name;
    let (kind, found) = match action {
        Action::WriteKv { .. } | Action::Create(_) => return Ok(None),
        Action::EditSecret { .. } | Action::DeleteSecret => {
            let found = secrets(clients, canary).get_metadata(name).await;
            ("Secret", found.map(|found| found.metadata))
        }
        Action::Delete => {
            let found = resources(clients, canary).get_metadata(name).await;
            (canary.kind().resource(), found.map(|found| found.metadata))
        }
    };
    let full_name = canary.object();
    let what = format!("get {kind} `{full_name}`");
    let metadata: ObjectMeta = found.map_err(|error| obstacle(&what, name, &error))?;
    let own = OwnObject::of(&metadata, &canary.instance);
    own.map(Some).ok_or_else(|| Obstacle::new(Peer::Kubernetes, Hindrance::Removed, format!(
            "tried to change {kind} `{full_name}`: it no longer has the canary's labels, so it is left alone"
        )))
}

/// Sends one action, and returns when it is acknowledged. What is there already is changed only if it is still `own`; if
/// somebody else, as the operator does, changed it meanwhile, it is looked at anew.
pub(super) async fn send(
    clients: &Clients,
    canary: &Canary,
    action: &Action,
    mut own: Option<OwnObject>,
) -> Result<(), Obstacle> {
    let name = &canary.name;
    let (secrets, resources) = (secrets(clients, canary), resources(clients, canary));
    let mut tries = 0;
    loop {
        let answer = match (action, &own) {
            (Action::WriteKv { at, version, data }, _) => {
                let data = data
                    .iter()
                    .map(|(key, value)| (key.as_str(), value.as_str()))
                    .collect();
                return clients.vault.kv_write(at, *version, &data).await;
            }
            (Action::Create(resource), _) => {
                let answer = resources.create(&PostParams::default(), resource).await;
                answer.map(drop)
            }
            (Action::EditSecret { value }, Some(own)) => {
                let value = ByteString(value.clone().into_bytes());
                let edit = Patch::Merge(Secret {
                    metadata: own.metadata(),
                    data: Some([(NONCE_KEY.to_owned(), value)].into()),
                    ..Secret::default()
                });
                let answer = secrets.patch(name, &PatchParams::default(), &edit).await;
                answer.map(drop)
            }
            (Action::DeleteSecret, Some(own)) => {
                secrets.delete(name, &deletion(own)).await.map(drop)
            }
            (Action::Delete, Some(own)) => resources.delete(name, &deletion(own)).await.map(drop),
            (Action::EditSecret { .. } | Action::DeleteSecret | Action::Delete, None) => {
                own = object(clients, canary, action).await?;
                continue;
            }
        };
        tries += 1;
        match answer {
            Err(error) if kubernetes::changed(&error) && tries < TRIES => own = None,
            answer => {
                let what = format!("{} `{}`", what(canary, action), canary.object());
                return answer.map_err(|error| obstacle(&what, name, &error));
            }
        }
    }
}

/// What stopped an action on the canary's object of this name.
fn obstacle(what: &str, name: &str, error: &kube::Error) -> Obstacle {
    let obstacle = kubernetes::obstacle(what, error);
    if kubernetes::absent(error, name) {
        let text = obstacle.text.and("; someone else deleted it");
        return Obstacle {
            how: Hindrance::Removed,
            text,
            ..obstacle
        };
    }
    obstacle
}

fn deletion(own: &OwnObject) -> DeleteParams {
    DeleteParams::default().preconditions(own.preconditions())
}

fn what(canary: &Canary, action: &Action) -> String {
    let kind = canary.kind().resource();
    match action {
        Action::WriteKv { .. } => "write".to_owned(),
        Action::Create(_) => format!("create {kind}"),
        Action::EditSecret { .. } => "edit Secret".to_owned(),
        Action::DeleteSecret => "delete Secret".to_owned(),
        Action::Delete => format!("delete {kind}"),
    }
}
