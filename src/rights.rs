//! The least rights that a configuration needs: rules in Kubernetes, paths in Vault. The one source of what is
//! printed to be applied and of what `doctor` looks for.

mod audit;
mod canaries;
mod manifest;
mod policy;
mod yaml;

use std::collections::BTreeSet;

use crate::canary;
use crate::config::{Auth, Config, KvVersion, MetricsSource, Target};
use crate::model::{Kind, Step};
use crate::operator::{self, LEADER_LEASE};

pub use canaries::operators;
pub use manifest::{Subject, cluster_role, role, roles, wide_role};
pub use policy::policy;
pub use yaml::{document, json};

pub use crate::operator::referred as reference;

/// The name of the prober's policy in Vault where its login has none to go by.
pub const POLICY: &str = "vso-prober";

/// Everything that a configuration needs.
#[derive(Clone, Debug, PartialEq)]
pub struct Rights {
    /// What the prober may do with objects of Kubernetes.
    pub rules: Vec<Rule>,
    /// The paths of Kubernetes that are no objects and that may be got: by the prober, or by the `ServiceAccount` of
    /// this name in its stead.
    pub urls: Vec<String>,
    /// That `ServiceAccount`, with its namespace.
    pub metrics: Option<Subject>,
    /// What the prober may do in Vault.
    pub paths: Vec<Path>,
}

/// Who needs a right.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Need {
    /// Every run: without it the outcome is unknown.
    Run,
    /// `doctor` alone: without it a precondition can't be looked at.
    Doctor,
}

/// Verbs on one resource of Kubernetes, in one namespace or in all of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The namespace; all of them if `None`.
    pub namespace: Option<String>,
    /// The API group.
    pub group: String,
    /// The resource, in the plural.
    pub resource: String,
    /// The only objects meant; all if empty.
    pub names: Vec<String>,
    /// The verbs.
    pub verbs: Vec<&'static str>,
    /// Who needs it.
    pub need: Need,
}

/// Capabilities on one path of Vault.
#[derive(Clone, Debug, PartialEq)]
pub struct Path {
    /// The path, as a policy has it: a `*` at its end stands for all that follows.
    pub path: String,
    /// The capabilities.
    pub capabilities: Vec<&'static str>,
    /// The only parameters that a request may have, each with the only values that it may take: a `*` at the end of
    /// one stands for all that follows, and none for any value. If empty, a request may have all.
    pub parameters: Vec<(&'static str, Vec<String>)>,
    /// Who needs it.
    pub need: Need,
}

impl Path {
    /// Paths that it covers, each with what must be possible there.
    pub fn samples(&self) -> Vec<(String, Vec<&'static str>)> {
        let Some(folder) = self.path.strip_suffix('*') else {
            return vec![(self.path.clone(), self.capabilities.clone())];
        };
        // A folder is listed as itself, with the slash at its end; all else is done to what is in it.
        let (lists, others): (Vec<_>, Vec<_>) =
            self.capabilities.iter().partition(|what| **what == "list");
        [
            (folder.to_owned(), lists),
            (format!("{folder}doctor"), others),
        ]
        .into_iter()
        .filter(|(_, capabilities)| !capabilities.is_empty())
        .collect()
    }
}

/// The plural of a kind's resource.
pub fn plural(kind: Kind) -> String {
    operator::api_resource(kind).plural
}

/// The VaultAuth that a probe refers to, as it is written.
pub fn auth_ref(target: &Target) -> &str {
    match target {
        Target::Static(target) => &target.auth_ref,
        Target::Dynamic(target) => &target.auth_ref,
        Target::Pki(target) => &target.auth_ref,
    }
}

/// The name of the prober's policy in Vault: that of the role that it logs in as, where it names one.
pub fn policy_name(auth: &Auth) -> &str {
    match auth {
        Auth::Kubernetes { role, .. } | Auth::Jwt { role, .. } => role,
        Auth::Token(_) | Auth::AppRole { .. } => POLICY,
    }
}

/// The mount that a probe uses.
pub fn mount(target: &Target) -> &str {
    match target {
        Target::Static(target) => &target.mount,
        Target::Dynamic(target) => &target.mount,
        Target::Pki(target) => &target.mount,
    }
}

/// The path in Vault that shows a probe's role without using it, where it is known.
pub fn role_path(target: &Target) -> Option<String> {
    match target {
        Target::Static(_) => None,
        Target::Dynamic(target) => {
            let role = |(prefix, roles)| {
                let role = target.path.strip_prefix(prefix)?;
                Some(format!("{}/{roles}/{role}", target.mount))
            };
            [("creds/", "roles"), ("static-creds/", "static-roles")]
                .into_iter()
                .find_map(role)
        }
        Target::Pki(target) => Some(format!("{}/roles/{}", target.mount, target.role)),
    }
}

impl Rights {
    /// What `config` needs; with `leader_elect`, also what `serve --leader-elect` does. Without probes, nothing is for runs.
    pub fn of(config: &Config, leader_elect: bool) -> Self {
        Self {
            rules: rules(config, leader_elect),
            urls: urls(config),
            metrics: metrics_account(config).map(|name| Subject::Account {
                namespace: config.kubernetes.namespace.clone(),
                name: name.to_owned(),
            }),
            paths: paths(config),
        }
    }
}

fn kinds(config: &Config) -> BTreeSet<Kind> {
    let kinds = config.probes.iter().map(|probe| probe.target.kind());
    kinds.collect()
}

fn rules(config: &Config, leader_elect: bool) -> Vec<Rule> {
    let home = config.kubernetes.namespace.as_str();
    let operator = config.operator.namespace.as_str();
    let mut rules = Vec::new();
    let mut rule = |namespace: &str, group: &str, resource: &str, verbs: &[&'static str], need| {
        rules.push(Rule {
            namespace: Some(namespace.to_owned()),
            group: group.to_owned(),
            resource: resource.to_owned(),
            names: Vec::new(),
            verbs: verbs.to_vec(),
            need,
        });
        rules.len() - 1
    };
    let group = operator::group();
    let mut named = Vec::new();
    let runs = !config.probes.is_empty();
    if runs {
        for kind in kinds(config) {
            // `patch` takes the finalizer off a canary that outlived its expiry.
            let verbs = ["create", "get", "list", "watch", "delete", "patch"];
            rule(home, &group, &plural(kind), &verbs, Need::Run);
        }
        let tampers = config
            .probes
            .iter()
            .any(|probe| probe.steps.contains_key(&Step::Tamper));
        let verbs: &[_] = if tampers {
            &["get", "list", "watch", "delete", "patch"]
        } else {
            &["get", "list", "watch", "delete"]
        };
        rule(home, "", "secrets", verbs, Need::Run);
        rule(home, "", "events", &["list"], Need::Run);
        // Its UID is that of the cluster, by which the canaries' folder in Vault is called.
        let namespace = rule(home, "", "namespaces", &["get"], Need::Run);
        let auths = config.probes.iter().map(|probe| auth_ref(&probe.target));
        let auths: BTreeSet<_> = auths.map(|text| reference(text, home)).collect();
        let namespaces: BTreeSet<_> = auths.iter().map(|(namespace, _)| *namespace).collect();
        named.push((namespace, vec![home.to_owned()]));
        for namespace in &namespaces {
            let own = auths.iter().filter(|(other, _)| other == namespace);
            let names: Vec<_> = own.map(|(_, name)| (*name).to_owned()).collect();
            named.push((
                rule(namespace, &group, "vaultauths", &["get"], Need::Run),
                names,
            ));
            rule(namespace, &group, "vaultconnections", &["get"], Need::Run);
            rule(namespace, &group, "vaultauthglobals", &["get"], Need::Run);
        }
        // A VaultAuth that names no VaultConnection means this one, and only the cluster tells which do.
        if !namespaces.contains(operator) {
            let default = rule(operator, &group, "vaultconnections", &["get"], Need::Run);
            named.push((default, vec![operator::DEFAULT.to_owned()]));
            // Where those that many share are kept, by whatever name.
            rule(operator, &group, "vaultauthglobals", &["get"], Need::Run);
        }
    }
    rule(operator, "", "pods", &["list"], Need::Run);
    // Who holds it is the operator's, whatever its image is called, and works.
    let lease = rule(
        operator,
        "coordination.k8s.io",
        "leases",
        &["get"],
        Need::Run,
    );
    named.push((lease, vec![LEADER_LEASE.to_owned()]));
    if let Some(account) = metrics_account(config) {
        let token = rule(home, "", "serviceaccounts/token", &["create"], Need::Run);
        named.push((token, vec![account.to_owned()]));
    }
    if leader_elect {
        let leases = "coordination.k8s.io";
        rule(home, leases, "leases", &["create"], Need::Run);
        let own = rule(home, leases, "leases", &["get", "update"], Need::Run);
        named.push((own, vec![format!("vso-prober-{}", config.instance)]));
    }
    if runs {
        rule(home, "", "resourcequotas", &["list"], Need::Doctor);
        rule(home, "", "serviceaccounts", &["get"], Need::Doctor);
    }
    for (place, names) in named {
        rules[place].names = names;
    }
    rules.extend(audit::rules(config));
    rules
}

/// The ServiceAccount that gets the operator's metrics, if it is not the prober's own.
pub fn metrics_account(config: &Config) -> Option<&str> {
    let metrics = config.operator.metrics.as_ref()?;
    metrics.access().service_account.as_deref()
}

/// The operator's metrics are behind a proxy that asks the API server what the bearer of a token may get.
fn urls(config: &Config) -> Vec<String> {
    match &config.operator.metrics {
        Some(MetricsSource::Pods { access, .. }) if access.has_bearer() => {
            vec!["/metrics".to_owned()]
        }
        Some(MetricsSource::Url { url, access }) if access.has_bearer() => {
            let path = url::Url::parse(url).map_or("/metrics".to_owned(), |url| url.path().into());
            vec![path]
        }
        _ => Vec::new(),
    }
}

fn paths(config: &Config) -> Vec<Path> {
    let mut paths: Vec<Path> = Vec::new();
    let mut path = |path: String, capabilities: &[&'static str], need| {
        if !paths.iter().any(|known| known.path == path) {
            paths.push(Path {
                path,
                capabilities: capabilities.to_vec(),
                parameters: Vec::new(),
                need,
            });
        }
    };
    for probe in &config.probes {
        let Some(folder) = canary::kv_folder(&probe.target, &config.instance) else {
            continue;
        };
        let mount = format!("{}{}", below(config, &probe.target), folder.mount);
        let own = &folder.path;
        match folder.version {
            KvVersion::V1 => path(
                format!("{mount}/{own}/*"),
                &["create", "update", "read", "list", "delete"],
                Need::Run,
            ),
            KvVersion::V2 => {
                let data = ["create", "update", "read"];
                path(format!("{mount}/data/{own}/*"), &data, Need::Run);
                let all = format!("{mount}/metadata/{own}/*");
                path(all, &["list", "delete"], Need::Run);
            }
        }
    }
    for probe in &config.probes {
        if let Target::Dynamic(target) = &probe.target {
            let below = below(config, &probe.target);
            if target.static_role {
                // What the operator reads, as the one proof that the Secret holds it.
                let credential = format!("{below}{}/{}", target.mount, target.path);
                path(credential, &["read"], Need::Run);
                continue;
            }
            for what in ["lookup", "revoke"] {
                path(format!("{below}sys/leases/{what}"), &["update"], Need::Run);
            }
        }
    }
    let own = |what: &str| format!("auth/token/{what}");
    if let Auth::Token(_) = config.vault.auth {
        path(own("lookup-self"), &["read"], Need::Run);
        path(own("renew-self"), &["update"], Need::Run);
    } else {
        path(own("renew-self"), &["update"], Need::Run);
        path(own("revoke-self"), &["update"], Need::Run);
        // Its line in the audit log bounds how far Vault's clock is.
        let line = config.audit.as_ref().map_or(Need::Doctor, |_| Need::Run);
        path(own("lookup-self"), &["read"], line);
    }
    path(
        "sys/capabilities-self".to_owned(),
        &["update"],
        Need::Doctor,
    );
    for probe in &config.probes {
        if let Some(role) = role_path(&probe.target) {
            let below = below(config, &probe.target);
            path(format!("{below}{role}"), &["read"], Need::Doctor);
        }
    }
    paths.extend(audit::paths(config));
    for path in &mut paths {
        let any_value = Vec::new();
        path.parameters = match path.path.strip_suffix("sys/leases/lookup") {
            Some(below) => vec![("lease_id", leases(config, below))],
            None => match path.path.strip_suffix("sys/leases/revoke") {
                Some(below) => vec![("lease_id", leases(config, below)), ("sync", any_value)],
                None => continue,
            },
        };
    }
    paths
}

/// The beginning of a target's paths in a policy of the prober's own Vault namespace: the namespace below it, if it is one.
fn below(config: &Config, target: &Target) -> String {
    let own = config.vault.namespace.as_deref().unwrap_or_default();
    let namespace = target.namespace().unwrap_or(own);
    let below = namespace.strip_prefix(own).unwrap_or(namespace);
    match below.trim_matches('/') {
        "" => String::new(),
        below => format!("{below}/"),
    }
}

/// The IDs of the leases that the probes are issued in one namespace, as a policy has them.
fn leases(config: &Config, namespace: &str) -> Vec<String> {
    let of = |target: &Target| match target {
        Target::Dynamic(dynamic) if !dynamic.static_role && below(config, target) == namespace => {
            Some(format!("{}/{}/*", dynamic.mount, dynamic.path))
        }
        Target::Static(_) | Target::Dynamic(_) | Target::Pki(_) => None,
    };
    let probes = config.probes.iter();
    let ids: BTreeSet<_> = probes.filter_map(|probe| of(&probe.target)).collect();
    ids.into_iter().collect()
}
