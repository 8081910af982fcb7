//! Tests of the configuration: a right one loads, and every problem is reported at once, exactly, with its place.

mod cases;
mod properties;

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;
use vso_prober::config::check::{EXAMPLE, load};
use vso_prober::config::problem::Problems;
use vso_prober::config::{
    Access, Auth, Config, KvVersion, Manifest, MetricsSource, Scheme, SslMode, Target, TokenSource,
    duration, raw,
};
use vso_prober::model::Step;

const VAULT: &str = "vault: {auth: {token: {env: VAULT_TOKEN}}}\n";
const PROBES: &str = "probes:\n- {name: good, static: {authRef: probe, mount: kvv2, type: kv-v2, path: vso-prober}}\n";
const DESIGN: &str = include_str!("config/design.yaml");

fn env(name: &str) -> Option<String> {
    (name == "VAULT_ADDR").then(|| "http://127.0.0.1:8200".to_owned())
}

fn check(text: &str) -> Result<Config, Problems> {
    load(text, "c.yaml", env)
}

fn good(text: &str) -> Config {
    check(text).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// The text with what it lacks to be a configuration.
fn completed(text: &str) -> String {
    let has = |key: &str| text.lines().any(|line| line.starts_with(key));
    let missing = [("vault:", VAULT), ("probes:", PROBES)];
    let tail: String = missing
        .iter()
        .filter(|(key, _)| !has(key))
        .map(|(_, text)| *text)
        .collect();
    format!("{text}{tail}")
}

#[test]
fn what_is_wrong_is_told() {
    let mut told = String::new();
    for (name, text) in cases::WRONG {
        // Where the file as a whole is wrong, nothing is to be appended.
        let whole = ["empty file", "not a mapping"].contains(name);
        let text = if whole {
            (*text).to_owned()
        } else {
            completed(text)
        };
        let shown = text.trim_end_matches(PROBES).trim_end_matches(VAULT);
        let _ = writeln!(told, "━━━ {name}");
        for (index, line) in shown.lines().enumerate() {
            let _ = writeln!(told, "{:>2} │ {line}", index + 1);
        }
        match check(&text) {
            Ok(_) => panic!("{name} is good:\n{text}"),
            Err(problems) => {
                let _ = writeln!(told, "{problems}\n");
            }
        }
    }
    insta::assert_snapshot!("wrong", told);
}

/// What a load says when `VAULT_ADDR` is as given.
fn told_with(address: Option<&str>) -> String {
    let env = |name: &str| address.filter(|_| name == "VAULT_ADDR").map(str::to_owned);
    match load(&format!("{VAULT}{PROBES}"), "c.yaml", env) {
        Ok(config) => config.vault.address,
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn the_address_may_come_from_the_environment() {
    insta::assert_snapshot!(told_with(Some("https://vault:8200/")), @"https://vault:8200");
    insta::assert_snapshot!(told_with(None), @"c.yaml:1:1: `vault` lacks `address`, and `VAULT_ADDR` is not set; one of them is needed");
    insta::assert_snapshot!(told_with(Some("")), @"c.yaml:1:1: `vault` lacks `address`, and `VAULT_ADDR` is not set; one of them is needed");
    insta::assert_snapshot!(told_with(Some("vault:8200")), @"c.yaml:1:1: `vault` lacks `address`, and `VAULT_ADDR`, used instead, is `vault:8200`; it must be a URL that begins with `http://` or `https://`, such as `https://vault.example:8200`");
}

#[test]
fn the_contracts_sample_loads() {
    let config = good(DESIGN);
    assert_eq!(
        config.vault.auth,
        Auth::Token(TokenSource::Env("VAULT_TOKEN".into()))
    );
    let [kv, postgres, pki] = config.probes.as_slice() else {
        panic!("three probes")
    };
    let Target::Static(target) = &kv.target else {
        panic!("static")
    };
    assert_eq!(target.version, KvVersion::V2);
    assert_eq!(
        target.refresh_after.as_ref().map(|refresh| refresh.period),
        Some(Duration::from_secs(10))
    );
    assert_eq!(kv.steps[&Step::Update], Duration::from_secs(2));
    let Target::Dynamic(target) = &postgres.target else {
        panic!("dynamic")
    };
    assert_eq!(
        target.verify.as_ref().map(|verify| verify.ssl_mode),
        Some(SslMode::Disable)
    );
    let Target::Pki(target) = &pki.target else {
        panic!("pki")
    };
    assert_eq!(target.not_after, Some(Duration::from_secs(3600)));
    assert_eq!(
        config.history.map(|history| history.retention),
        Some(Duration::from_secs(30 * 86_400))
    );
}

#[test]
fn each_way_to_log_in_and_each_source_of_metrics_loads() {
    let token = "token: {env: VAULT_TOKEN}";
    for method in [
        "token: {file: /token}",
        "kubernetes: {mount: kubernetes, role: vso-prober, tokenFile: /token}",
        "appRole: {mount: approle, roleIdFile: /role-id, secretIdFile: /secret-id}",
        "jwt: {mount: jwt, role: vso-prober, tokenFile: /token}",
    ] {
        assert!(DESIGN.contains(token));
        good(&DESIGN.replace(token, method));
    }
    let url = "url: http://127.0.0.1:8080/metrics";
    for source in [
        "pods: {port: 8443, scheme: https}",
        "prometheus: {url: 'http://prometheus:9090', selector: '{job=\"vso\"}'}",
        "bearerTokenFile: /t\n    caFile: /ca\n    insecureSkipVerify: true\n    pods: {}",
    ] {
        assert!(DESIGN.contains(url));
        good(&DESIGN.replace(url, source));
    }
}

#[test]
fn defaults_are_filled_in() {
    let config = good(&format!(
        "operator: {{metrics: {{pods: }}}}\n{VAULT}{PROBES}"
    ));
    assert_eq!(
        config.operator.metrics, None,
        "`pods:` with nothing below is as good as left out"
    );
    insta::assert_debug_snapshot!("defaults", good(&format!("{VAULT}{PROBES}")));
}

/// Every default that the schema promises, written out, changes nothing.
#[test]
fn the_schemas_defaults_are_the_real_ones() {
    let config = good(&format!(
        "operator: {{metrics: {{pods: {{}}}}}}\nhistory: {{path: /h}}\n\
         vault: {{auth: {{kubernetes: {{role: a}}}}}}\n{PROBES}"
    ));
    let schema: Value = serde_json::from_str(&raw::schema()).expect("JSON");
    let default = |definition: &str, key: &str| {
        let pointer = if definition.is_empty() {
            format!("/properties/{key}/default")
        } else {
            format!("/$defs/{definition}/properties/{key}/default")
        };
        schema
            .pointer(&pointer)
            .unwrap_or_else(|| panic!("{pointer} has a default"))
            .clone()
    };
    let text = |definition: &str, key: &str| default(definition, key).as_str().map(str::to_owned);
    let period = |definition: &str, key: &str| {
        duration::parse_with_days(&text(definition, key).unwrap_or_default()).ok()
    };
    assert_eq!(text("", "instance"), Some(config.instance));
    assert_eq!(
        text("Kubernetes", "namespace"),
        Some(config.kubernetes.namespace)
    );
    assert_eq!(
        text("Operator", "namespace"),
        Some(config.operator.namespace)
    );
    assert_eq!(
        text("Operator", "podSelector"),
        Some(config.operator.pod_selector)
    );
    assert_eq!(default("Pods", "port"), 8443);
    assert_eq!(default("Pods", "scheme"), Scheme::Https.as_str());
    let access = Access::default();
    let pods = MetricsSource::Pods {
        port: 8443,
        scheme: Scheme::Https,
        access,
    };
    assert_eq!(config.operator.metrics, Some(pods));
    assert_eq!(default("Metrics", "insecureSkipVerify"), false);
    assert_eq!(
        text("Server", "listen"),
        Some(config.server.listen.to_string())
    );
    assert_eq!(
        period("History", "retention"),
        config.history.map(|history| history.retention)
    );
    let auth = Auth::Kubernetes {
        mount: text("KubernetesAuth", "mount").expect("text"),
        role: "a".into(),
        token_file: text("KubernetesAuth", "tokenFile").expect("text").into(),
    };
    assert_eq!(config.vault.auth, auth);
    let probe = &config.probes[0];
    assert_eq!(period("Probe", "every"), Some(probe.every));
    assert_eq!(period("Probe", "timeout"), Some(probe.timeout));
    assert_eq!(default("Probe", "spread"), probe.spread);
    assert_eq!(default("Probe", "objective"), probe.objective);
    assert_eq!(default("Probe", "manifest"), "canonical");
    assert_eq!(probe.manifest, Manifest::Canonical);
    assert_eq!(default("Postgres", "sslMode"), SslMode::default().as_str());
}

#[test]
fn the_example_is_good_and_has_every_key() {
    assert_eq!(good(EXAMPLE).probes.len(), 3);
    let schema: Value = serde_json::from_str(&raw::schema()).expect("JSON");
    let definitions = schema["$defs"].as_object().expect("definitions").values();
    let mut count = 0;
    for object in definitions.chain([&schema]) {
        for key in object["properties"]
            .as_object()
            .into_iter()
            .flat_map(serde_json::Map::keys)
        {
            let written = |line: &str| {
                line.trim_start_matches([' ', '#', '-'])
                    .starts_with(&format!("{key}:"))
            };
            assert!(EXAMPLE.lines().any(written), "the example lacks `{key}`");
            count += 1;
        }
    }
    assert!(count > 60, "{count} keys");
}

/// Each line that is only commented out is right where it stands, or one of several ways.
#[test]
fn the_examples_comments_are_good() {
    let is_key = |text: &str| {
        let text = text.trim_start();
        let item = text.strip_prefix("- ").unwrap_or(text);
        let word = item.split(':').next().unwrap_or_default();
        text.contains(':') && word.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let uncommented: String = EXAMPLE
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if is_key(rest) => {
                format!("{}{rest}\n", &line[..line.len() - line.trim_start().len()])
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let problems = check(&uncommented).expect_err("several ways at once");
    insta::assert_snapshot!(problems);
}

#[test]
fn line_ends_and_a_byte_order_mark_change_nothing() {
    let config = good(EXAMPLE);
    assert_eq!(good(&EXAMPLE.replace('\n', "\r\n")), config);
    assert_eq!(good(&format!("\u{feff}{EXAMPLE}")), config);
    assert_eq!(good(&format!("---\n{EXAMPLE}...\n")), config);
}

#[test]
fn names_may_be_as_long_as_kubernetes_allows() {
    let name = "n".repeat(41);
    let probe = &good(&format!("{VAULT}{}", PROBES.replace("good", &name))).probes[0];
    assert_eq!(format!("vsop-{}-0123456789abcdef", probe.name).len(), 63);
}

#[test]
fn depth_is_no_danger() {
    for text in [
        "- ".repeat(50_000),
        "a: ".repeat(50_000),
        "[".repeat(50_000),
        "? ".repeat(50_000),
    ] {
        assert!(check(&text).is_err());
    }
    let laughs = (1..30).fold("a0: &a0 [x]\n".to_owned(), |text, index| {
        let before = index - 1;
        format!("{text}a{index}: &a{index} [*a{before}, *a{before}, *a{before}]\n")
    });
    assert!(check(&laughs).is_err());
}
