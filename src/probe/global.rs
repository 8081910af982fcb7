//! The VaultAuthGlobal behind the canary's VaultAuth.

use kube::api::Api;

use super::Clients;
use super::clients::QUESTION_LIMIT;
use crate::kubernetes;
use crate::model::record::{Answer, Peer, Reference};
use crate::operator::api::{VaultAuthGlobal, VaultAuthSpec};
use crate::operator::{globals_of, merged};
use crate::wire;

/// A VaultAuth of `namespace` with all that its VaultAuthGlobal adds, if it has one and they go together; and whether each
/// that was looked for is there.
pub(super) async fn whole(
    clients: &Clients,
    auth: VaultAuthSpec,
    namespace: &str,
) -> (Option<VaultAuthSpec>, Vec<Reference>) {
    let mut references = Vec::new();
    let Some(places) = globals_of(&auth, namespace, &clients.operator.namespace) else {
        return (Some(auth), references);
    };
    let last = places.len().saturating_sub(1);
    for (at, (place, name)) in places.into_iter().enumerate() {
        let api = Api::<VaultAuthGlobal>::namespaced(clients.kube.clone(), &place);
        let full_name = format!("VaultAuthGlobal `{place}/{name}`");
        let what = format!("get {full_name}");
        let asked = wire::limited(Peer::Kubernetes, &what, QUESTION_LIMIT, async {
            let found = api.get_opt(&name).await;
            found.map_err(|error| kubernetes::obstacle(&what, &error))
        });
        let (found, exists) = match asked.await {
            Ok(found) => {
                let exists = Answer::Is(found.is_some());
                (found, exists)
            }
            Err(obstacle) => (None, Answer::Obstructed(obstacle)),
        };
        // That a default one is elsewhere is no matter.
        if found.is_some() || at == last || exists.obstacle().is_some() {
            references.push(Reference {
                name: full_name.into(),
                exists,
                valid: None,
                said: None,
            });
        }
        if let Some(found) = found {
            return (merged(&auth, &found.spec).ok(), references);
        }
    }
    (None, references)
}
