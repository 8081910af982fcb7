//! The operator's Pods. Its chart labels them as every other controller's are labelled, so that it takes more
//! than a label to be told what the operator is told, and to be blamed for it.

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Container, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

/// How the operator's program is called, and its image.
const PROGRAM: &str = "vault-secrets-operator";

/// The Pods under the operator's selector, told apart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pods {
    /// The operator's.
    pub own: Vec<Pod>,
    /// The names of the others.
    pub foreign: Vec<String>,
}

impl Pods {
    /// Tells them apart. The operator's are those that run its program or its image; where none says so, as after a
    /// renaming, the one that holds the Lease; and all of the same Deployment. A Job's never is: the operator's chart
    /// has some that clean up.
    pub fn tell(listed: Vec<Pod>, holder: Option<&str>) -> Self {
        let steady = |pod: &&Pod| controller(pod).is_none_or(|owner| owner.kind != "Job");
        let mut seeds: Vec<&Pod> = listed
            .iter()
            .filter(steady)
            .filter(|pod| runs(pod))
            .collect();
        if seeds.is_empty() {
            let held = |pod: &&Pod| holder.is_some() && pod.metadata.name.as_deref() == holder;
            seeds = listed.iter().filter(steady).filter(held).collect();
        }
        let own: Vec<bool> = listed
            .iter()
            .map(|pod| seeds.iter().any(|seed| *seed == pod || kin(seed, pod)))
            .collect();
        let mut told = Self::default();
        for (pod, own) in listed.into_iter().zip(own) {
            if own {
                told.own.push(pod);
            } else {
                told.foreign.push(pod.metadata.name.unwrap_or_default());
            }
        }
        told
    }
}

/// The Pod that holds a Lease of client-go's: the holder is `<pod>_<UUID>`.
pub fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    let pod = holder.rsplit_once('_').map_or(holder, |(pod, _)| pod);
    (!pod.is_empty()).then_some(pod)
}

/// The Deployment that keeps a Pod there, by its `ReplicaSet`.
pub fn deployment(pod: &Pod) -> Option<&str> {
    let (kind, name) = workload(pod)?;
    (kind == "ReplicaSet" && controller(pod)?.name != name).then_some(name)
}

/// Whether one of its containers is the operator.
fn runs(pod: &Pod) -> bool {
    let container = |container: &Container| {
        let program = container.command.as_ref().and_then(|words| words.first());
        let program = program.is_some_and(|program| last(program) == PROGRAM);
        program || container.image.as_deref().is_some_and(is_image)
    };
    let spec = pod.spec.as_ref();
    spec.is_some_and(|spec| spec.containers.iter().any(container))
}

/// Whether an image is called like the operator's, wherever it is mirrored: `registry:5000/mirror/NAME:TAG@DIGEST`.
fn is_image(image: &str) -> bool {
    let name = last(image.split('@').next().unwrap_or(image));
    let name = name.split(':').next().unwrap_or(name);
    name.ends_with(PROGRAM)
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Whether both are of one Deployment, or of another controller that has a name of its own.
fn kin(one: &Pod, other: &Pod) -> bool {
    let account = |pod: &Pod| pod.spec.as_ref()?.service_account_name.clone();
    workload(one).is_some_and(|name| workload(other) == Some(name))
        && account(one) == account(other)
}

/// What keeps a Pod there: its kind, and its name, which for a `ReplicaSet` of a Deployment's ends in a hash.
fn workload(pod: &Pod) -> Option<(&str, &str)> {
    let owner = controller(pod)?;
    let labels = pod.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get("pod-template-hash"));
    let name = hash
        .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'))
        .unwrap_or(&owner.name);
    Some((&owner.kind, name))
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    let mut owners = pod.metadata.owner_references.iter().flatten();
    owners.find(|owner| owner.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A Pod of a `ReplicaSet` `<deployment>-<hash>`.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "it reads better where it is called"
    )]
    fn pod(name: &str, (deployment, hash): (&str, &str), container: Value) -> Pod {
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{deployment}-{hash}"), "uid": hash,
            "controller": true,
        });
        serde_json::from_value(json!({
            "metadata": {
                "name": name, "ownerReferences": [owner],
                "labels": {"control-plane": "controller-manager", "pod-template-hash": hash},
            },
            "spec": {"serviceAccountName": deployment, "containers": [{"name": "kube-rbac-proxy", "image": "proxy"}, container]},
        }))
        .expect("a Pod")
    }

    fn names(told: &Pods) -> Vec<&str> {
        let names = told.own.iter().map(|pod| pod.metadata.name.as_deref());
        names.map(Option::unwrap_or_default).collect()
    }

    fn manager(image: &str) -> Value {
        json!({"name": "manager", "image": image})
    }

    #[test]
    fn the_operators_is_told_by_its_program_or_image_and_not_by_its_label() {
        let images = [
            ("hashicorp/vault-secrets-operator:1.4.1", true),
            (
                "registry:5000/m/hashicorp-vault-secrets-operator@sha256:ab",
                true,
            ),
            ("vault-secrets-operator", true),
            ("vault-secrets-operator/other:1", false),
            ("example/cert-controller:vault-secrets-operator", false),
            ("", false),
        ];
        for (image, own) in images {
            let told = Pods::tell(vec![pod("a", ("d", "1"), manager(image))], None);
            assert_eq!(!told.own.is_empty(), own, "{image}");
            assert_eq!(told.foreign.is_empty(), own, "{image}");
        }
        let command =
            json!({"name": "manager", "image": "renamed", "command": ["/vault-secrets-operator"]});
        let listed = vec![
            pod("other", ("cert-manager", "9"), manager("controller")),
            pod("own", ("vso", "1"), command),
        ];
        // Whoever claims the Lease: the one that runs the program is known.
        for holder in [None, Some("own"), Some("other")] {
            let told = Pods::tell(listed.clone(), holder);
            assert_eq!(
                (names(&told), &told.foreign[..]),
                (vec!["own"], &["other".to_owned()][..])
            );
        }
    }

    #[test]
    fn where_no_image_tells_it_is_the_leases_holder_and_its_kin() {
        let listed = vec![
            pod("old", ("vso", "1"), manager("renamed")),
            pod("new", ("vso", "2"), manager("renamed:2")),
            pod("other", ("vso-other", "1"), manager("renamed")),
        ];
        let told = Pods::tell(listed.clone(), Some("old"));
        assert_eq!((names(&told), told.foreign.len()), (vec!["old", "new"], 1));
        for holder in [None, Some("gone")] {
            assert_eq!(Pods::tell(listed.clone(), holder).foreign.len(), 3);
        }
    }

    #[test]
    fn kin_runs_as_the_same_account() {
        let mut stranger = pod("stranger", ("vso", "1"), manager("other"));
        let spec = stranger.spec.as_mut().expect("a spec");
        spec.service_account_name = Some("other".to_owned());
        let own = pod("own", ("vso", "1"), manager("vault-secrets-operator"));
        let told = Pods::tell(vec![stranger, own], None);
        assert_eq!(names(&told), ["own"]);
    }

    #[test]
    fn a_job_of_its_chart_is_not_the_operator() {
        let mut job = pod(
            "pdcc",
            ("vso", "1"),
            manager("hashicorp/vault-secrets-operator:1"),
        );
        for owner in job.metadata.owner_references.iter_mut().flatten() {
            owner.kind = "Job".to_owned();
        }
        assert_eq!(Pods::tell(vec![job], Some("pdcc")).foreign, ["pdcc"]);
    }

    #[test]
    fn a_leases_holder_is_a_pod() {
        let lease = |holder: Value| -> Lease {
            serde_json::from_value(json!({"spec": {"holderIdentity": holder}})).expect("a Lease")
        };
        assert_eq!(holder(&lease("vso-1_a-b_c".into())), Some("vso-1_a-b"));
        assert_eq!(holder(&lease("vso-1".into())), Some("vso-1"));
        for none in ["".into(), "_uid".into(), Value::Null] {
            assert_eq!(holder(&lease(none)), None);
        }
    }
}
