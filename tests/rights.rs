//! What `doctor` prints: the least rights of a configuration, and what it found, for people and for programs.

use vso_prober::config::Config;
use vso_prober::config::check::{EXAMPLE, load};
use vso_prober::doctor::{Check, Fix, Found, Topic, render};
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

fn checks() -> Vec<Check> {
    let check = |check, subject: &str, result, text: &str, fix| Check {
        check,
        subject: subject.into(),
        result,
        text: text.into(),
        fix,
    };
    let policy = || {
        Some(Fix::Run(
            "vault policy write vso-prober - <<'EOF'\npath \"kvv2/*\" {}\nEOF\n".to_owned(),
        ))
    };
    let name = "kvv2/data/vso-prober/default/*";
    vec![
        check(
            Topic::Configuration,
            "default",
            Found::Good,
            "1 probe",
            None,
        ),
        check(
            Topic::VaultLogin,
            "kubernetes",
            Found::Good,
            "policies vso-prober; 1h",
            None,
        ),
        check(
            Topic::VaultPolicy,
            name,
            Found::Finding,
            "asked Vault what the prober's token may do on it: it lacks create",
            policy(),
        ),
        check(
            Topic::VaultPolicy,
            "sys/leases/lookup",
            Found::Finding,
            "asked Vault what the prober's token may do on it: it lacks update",
            policy(),
        ),
        check(
            Topic::VaultMount,
            "kvv2/ (one)",
            Found::Finding,
            "it is of type kv-v1",
            Some(Fix::Set("probes: []\n".to_owned())),
        ),
        check(
            Topic::VaultRole,
            "database/roles/probe",
            Found::Skipped,
            "the mount is not well",
            None,
        ),
        check(
            Topic::Crd,
            "secrets.hashicorp.com/v1beta1",
            Found::Unknown,
            "tried to ask for the operator's kinds: no answer",
            None,
        ),
        check(
            Topic::Schedule,
            "every",
            Found::Warning,
            "40 probes make 40 runs a minute",
            None,
        ),
        check(
            Topic::Push,
            "push.pushgateway",
            Found::Finding,
            "no answer",
            Some(Fix::Do("start the receiver".to_owned())),
        ),
    ]
}

#[test]
fn a_table_that_needs_no_colour() {
    insta::assert_snapshot!(render(&checks()));
}

#[test]
fn an_array_for_programs() {
    insta::assert_json_snapshot!(checks());
}
