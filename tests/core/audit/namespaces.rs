//! Tests of Vault's namespaces, and of mounts whose names begin alike: one's requests are not the other's.

use vso_prober::audit::entry::Entry;
use vso_prober::audit::identity::{Identities, Identity};
use vso_prober::config;
use vso_prober::config::check::load;
use vso_prober::serve::traps;

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

#[test]
fn what_the_configuration_names_is_in_the_probers_own_namespace_or_in_the_probes() {
    let text = "
vault: {address: 'http://127.0.0.1:8200', namespace: team-a, auth: {token: {env: VAULT_TOKEN}}}
probes:
- {name: own, static: {authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober}}
- {name: below, vaultNamespace: team-a/app, static: {authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober}}
audit:
  state: /var/lib/vso-prober/audit
  sources: [{name: vault-0, file: {path: /vault/audit/audit.log}}]
  identities: [{role: app, serviceAccount: team-a/app}]
";
    let config = load(text, "c.yaml", |_| None).unwrap_or_else(|problems| panic!("{problems}"));
    let traps = traps(&config);
    let namespaces: Vec<_> = traps.iter().map(|trap| trap.namespace.as_str()).collect();
    assert_eq!(namespaces, ["team-a", "team-a/app"]);
    let audit = config.audit.expect("an audit");
    let config::Identities::Listed(listed) = audit.identities else {
        panic!("they are listed")
    };
    assert_eq!(listed[0].namespace.as_deref(), Some("team-a"));
}
