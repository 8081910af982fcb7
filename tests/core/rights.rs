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

/// Every path of a policy is looked at, with all of its capabilities.
#[test]
fn what_is_granted_is_looked_for() {
    for text in [EXAMPLE, ONE] {
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
