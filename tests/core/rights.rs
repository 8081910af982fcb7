//! Tests of the least rights of a configuration, as `doctor` prints them.

use vso_prober::config::Config;
use vso_prober::config::check::{EXAMPLE, load};
use vso_prober::rights::{Need, Rights, Subject, operators, policy, roles};

fn config(text: &str) -> Config {
    load(text, "prober.yaml", |_| None).expect("a configuration that can be used")
}

fn printed(config: &Config, leader_elect: bool) -> String {
    let rights = Rights::of(config, leader_elect);
    let account = Subject::of("system:serviceaccount:vso-probe:vso-prober");
    format!("{}\n{}", roles(&rights, &account), policy(&rights.paths))
}

const ONE: &str = "
vault: {address: 'http://vault:8200', auth: {token: {env: TOKEN}}}
operator: {metrics: {pods: {}, bearerTokenFile: /token}}
instance: blue
probes:
- name: one
  static: {authRef: shared/probe, mount: kvv1, type: kv-v1, path: canaries}
  steps: {create: 5s}
";

#[test]
fn the_least_of_the_example() {
    insta::assert_snapshot!(printed(&config(EXAMPLE), false));
}

#[test]
fn the_least_of_the_operator_in_vault() {
    insta::assert_snapshot!(policy(&operators(&config(EXAMPLE))));
}

#[test]
fn the_least_of_one_probe_of_a_leader() {
    insta::assert_snapshot!(printed(&config(ONE), true));
}

const AUDIT: &str = "
audit:
  state: /state
  sources: [{name: vault-0, http: {}}]
  decoys: [{mount: kvv2, path: aws/prod-root}]
";

#[test]
fn the_least_of_a_judge_of_audit_logs() {
    let mut config = config(&format!("{ONE}{AUDIT}"));
    config.probes.clear();
    insta::assert_snapshot!(printed(&config, false));
}

/// One process that does both needs what either does, and no more.
#[test]
fn the_least_of_both_is_that_of_either() {
    let both = config(&format!("{ONE}{AUDIT}"));
    let mut audit = both.clone();
    audit.probes.clear();
    let [both, probes, audit] = [both, config(ONE), audit].map(|one| Rights::of(&one, false));
    for rule in &both.rules {
        assert!(
            probes.rules.contains(rule) || audit.rules.contains(rule),
            "{rule:?}"
        );
    }
    for rule in probes.rules.iter().chain(&audit.rules) {
        assert!(both.rules.contains(rule), "{rule:?}");
    }
    for path in probes.paths.iter().chain(&audit.paths) {
        let same = both.paths.iter().find(|one| one.path == path.path);
        let same = same.expect("it is there");
        assert_eq!(same.capabilities, path.capabilities, "{}", path.path);
    }
}

/// Whose identities are listed need not list `VaultAuth`s.
#[test]
fn who_lists_identities_needs_no_right_for_them() {
    let listed = AUDIT.replace(
        "  decoys",
        "  identities: [{role: app, serviceAccount: team-a/app}]\n  decoys",
    );
    let mut config = config(&format!("{ONE}{listed}"));
    config.probes.clear();
    let rights = Rights::of(&config, false);
    let wide = rights.rules.iter().filter(|rule| rule.namespace.is_none());
    let wide: Vec<_> = wide.map(|rule| rule.resource.as_str()).collect();
    assert_eq!(wide, ["pods"]);
}

/// Every path of a policy is looked at, with all of its capabilities.
#[test]
fn what_is_granted_is_looked_for() {
    for text in [EXAMPLE, ONE, &format!("{ONE}{AUDIT}")] {
        let rights = Rights::of(&config(text), true);
        assert!(rights.rules.iter().any(|rule| rule.need == Need::Run));
        for path in &rights.paths {
            let mut looked: Vec<_> = path
                .samples()
                .into_iter()
                .flat_map(|(_, what)| what)
                .collect();
            let mut granted = path.capabilities.clone();
            looked.sort_unstable();
            granted.sort_unstable();
            assert_eq!(looked, granted, "{}", path.path);
            let prefix = path.path.trim_end_matches('*');
            assert!(
                path.samples()
                    .iter()
                    .all(|(sample, _)| sample.starts_with(prefix))
            );
        }
    }
}
