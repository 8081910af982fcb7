//! Tests of Vault's namespaces, and of mounts whose names begin alike: one's requests are not the other's.

use vso_prober::audit::entry::Entry;
use vso_prober::audit::identity::{Identities, Identity};

use super::{entries, folder};

/// Logins and reads with one role and one ServiceAccount at four mounts: two in the root namespace, two in `cluster-a/`.
#[test]
fn each_recorded_line_is_of_one_mount_in_one_namespace() {
    let identity = |namespace: &str, mount: &str| Identity {
        mount: mount.to_owned(),
        role: "app".to_owned(),
        service_account: "team-a/app".to_owned(),
        namespace: namespace.to_owned(),
        ..Identity::default()
    };
    let lines = entries(&folder().join("recorded/openbao-namespaces.jsonl"));
    let lines: Vec<_> = lines
        .into_iter()
        .map(|line| match line {
            Entry::Vault(entry) => entry,
            Entry::Kube(_) => panic!("{line:?}"),
        })
        .collect();
    let own = |identity: Identity| {
        let identities = Identities::new([identity]);
        let own = lines.iter().filter(|line| identities.of(line).is_some());
        let mut own: Vec<_> = own.map(|line| (line.login, line.full_path())).collect();
        own.dedup();
        own
    };
    let check = |namespace: &str, mount: &str, expected: &[&str]| {
        let own = own(identity(namespace, mount));
        let told: Vec<_> = own.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(told, expected, "{namespace} {mount}");
        assert!(own[0].0, "{namespace} {mount}: its login first");
    };
    let read = "kvv2/data/team-a/a";
    check("", "kubernetes", &["auth/kubernetes/login", read]);
    check("", "kubernetes-2", &["auth/kubernetes-2/login", read]);
    // With a token of a namespace one may ask for what is in one below it, and name the namespace in the path.
    check(
        "cluster-a",
        "auth/kubernetes/",
        &[
            "cluster-a/auth/kubernetes/login",
            "cluster-a/kvv2/data/team-a/a",
            "cluster-a/team/kvv2/data/team-a/a",
            "cluster-a/kvv2/data/team-a/a",
            "cluster-a/auth/token/lookup-self",
        ],
    );
    check(
        "cluster-a/",
        "kubernetes-2",
        &[
            "cluster-a/auth/kubernetes-2/login",
            "cluster-a/kvv2/data/team-a/a",
        ],
    );
    assert_eq!(own(identity("cluster-b", "kubernetes")), []);
}
