//! Identities: whose requests are the operator's alone, and who else may touch a canary.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::entry::{VaultEntry, Who};
use crate::model::text::Text;

/// How the path of a mount of an auth method begins.
const AUTH: &str = "auth/";

/// An identity that only the operator takes: what one VaultAuth logs in as.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Identity {
    /// The mount of the auth method, e.g. `kubernetes`.
    pub mount: String,
    /// The role.
    pub role: String,
    /// The ServiceAccount, `namespace/name`, in which `*` stands for anything; empty where the method has none.
    #[serde(default)]
    pub service_account: String,
    /// Whether it is that of a probe, which may read canaries.
    #[serde(default)]
    pub probe: bool,
    /// Whether other workloads use the ServiceAccount.
    #[serde(default)]
    pub shared: bool,
    /// Vault's namespace of the mount; empty for the root one.
    #[serde(default)]
    pub namespace: String,
}

impl Identity {
    /// Whether a request was made as this identity, whose mount Vault names so.
    fn is(&self, named: &Names, entry: &VaultEntry) -> bool {
        let who = &entry.who;
        if who.role != self.role
            || !self.service_account.is_empty()
                && !fits(&self.service_account, &who.service_account)
        {
            return false;
        }
        if entry.login && !entry.mount.is_empty() {
            return entry.mount.trim_end_matches('/') == named.path;
        }
        if let Some(before) = named_after(who) {
            return before == named.source;
        }
        let rest = who.display_name.strip_prefix(&named.source);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }

    /// The path of the mount, e.g. `auth/kubernetes`, with its namespace before it.
    fn mount_path(&self) -> String {
        mount_path(&self.namespace, &self.mount)
    }
}

/// The path of a mount of an auth method, e.g. `auth/kubernetes`, with its namespace before it.
fn mount_path(namespace: &str, mount: &str) -> String {
    let mount = mount.trim_matches('/');
    let mount = mount.strip_prefix(AUTH).unwrap_or(mount);
    match namespace.trim_matches('/') {
        "" => format!("{AUTH}{mount}"),
        namespace => format!("{namespace}/{AUTH}{mount}"),
    }
}

/// How Vault's names for those begin who log in at a mount: with its path, less `auth/` in the root namespace.
pub fn source(namespace: &str, mount: &str) -> String {
    let path = mount_path(namespace, mount);
    path.strip_prefix(AUTH).unwrap_or(&path).replace('/', "-")
}

/// What stands before the ServiceAccount in a name that ends in it, as the method `kubernetes` has it: whose mount's name begins
/// so may be another's, as `kubernetes-2` is.
pub(super) fn named_after(who: &Who) -> Option<&str> {
    let account = who.service_account.replace('/', "-");
    let before = who.display_name.strip_suffix(&account)?;
    before.strip_suffix('-').filter(|_| !account.is_empty())
}

/// The identities that only the operator takes. There may be thousands, and every line is looked at by them.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Vec<Identity>", into = "Vec<Identity>")]
pub struct Identities {
    all: Vec<Identity>,
    /// How Vault names the mount of each, which every line is compared with.
    names: Vec<Names>,
    /// Where those of each role are.
    roles: HashMap<String, Places>,
}

/// How Vault names a mount: its path, and how the names of those begin who log in there.
#[derive(Clone, Debug)]
struct Names {
    path: String,
    source: String,
}

/// Where the identities of a role are.
#[derive(Clone, Debug, Default)]
struct Places {
    /// By their ServiceAccount.
    exact: HashMap<String, Vec<usize>>,
    /// Where that is a pattern, or none.
    loose: Vec<usize>,
}

impl PartialEq for Identities {
    fn eq(&self, other: &Self) -> bool {
        self.all == other.all
    }
}

impl From<Vec<Identity>> for Identities {
    fn from(all: Vec<Identity>) -> Self {
        Self::new(all)
    }
}

impl From<Identities> for Vec<Identity> {
    fn from(identities: Identities) -> Self {
        identities.all
    }
}

impl Identities {
    /// These, each once.
    pub fn new(all: impl IntoIterator<Item = Identity>) -> Self {
        let mut all: Vec<_> = all.into_iter().collect();
        all.sort();
        all.dedup();
        let mut roles: HashMap<_, Places> = HashMap::new();
        for (place, identity) in all.iter().enumerate() {
            let of_role = roles.entry(identity.role.clone()).or_default();
            let account = &identity.service_account;
            if account.is_empty() || account.contains('*') {
                of_role.loose.push(place);
            } else {
                let places = of_role.exact.entry(account.clone()).or_default();
                places.push(place);
            }
        }
        let names = all.iter().map(|identity| Names {
            path: identity.mount_path(),
            source: source(&identity.namespace, &identity.mount),
        });
        Self {
            names: names.collect(),
            all,
            roles,
        }
    }

    /// That of a request, if it is one of them.
    pub fn of(&self, entry: &VaultEntry) -> Option<&Identity> {
        let who = &entry.who;
        let Places { exact, loose } = self.roles.get(&who.role).filter(|_| !who.role.is_empty())?;
        let exact = exact.get(&who.service_account).into_iter().flatten();
        let is = |place: &&usize| self.all[**place].is(&self.names[**place], entry);
        let first = exact.chain(loose).filter(is).min()?;
        self.all.get(*first)
    }

    /// That of a ServiceAccount, `namespace/name`.
    pub fn of_account(&self, account: &str) -> Option<&Identity> {
        self.all
            .iter()
            .find(|identity| fits(&identity.service_account, account))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Identity> {
        self.all.iter()
    }
}

/// Somebody by what the log says of them. What is not set fits anyone; `*` stands for anything.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Person {
    /// Their display name.
    pub display_name: Option<String>,
    /// The role of their login.
    pub role: Option<String>,
    /// Their ServiceAccount, `namespace/name`.
    pub service_account: Option<String>,
    /// One of their policies.
    pub policy: Option<String>,
    /// Their entity's ID.
    pub entity: Option<String>,
}

impl Person {
    /// Somebody, by what a line says of them.
    pub fn of(who: &Who) -> Self {
        let set = |text: &String| (!text.is_empty()).then(|| text.clone());
        let (role, entity) = (set(&who.role), set(&who.entity));
        // Every token that was made with another has the name `token`: its policies tell more.
        let mut policies = who.policies.iter();
        let policy = policies.find(|policy| *policy != "default");
        Self {
            display_name: set(&who.display_name),
            policy: policy
                .filter(|_| role.is_none() && entity.is_none())
                .cloned(),
            role,
            service_account: set(&who.service_account),
            entity,
        }
    }

    /// Whether it is them. One of whom nothing is set is nobody.
    pub fn is(&self, who: &Who) -> bool {
        let own = [
            (&self.display_name, &who.display_name),
            (&self.role, &who.role),
            (&self.service_account, &who.service_account),
            (&self.entity, &who.entity),
        ];
        let any = own.iter().any(|(pattern, _)| pattern.is_some()) || self.policy.is_some();
        let all = own
            .iter()
            .all(|(pattern, text)| pattern.as_ref().is_none_or(|pattern| fits(pattern, text)));
        let policy = self.policy.as_ref();
        let policy =
            policy.is_none_or(|pattern| who.policies.iter().any(|policy| fits(pattern, policy)));
        any && all && policy
    }
}

/// Whether a text is a pattern's, in which `*` stands for anything.
pub fn fits(pattern: &str, text: &str) -> bool {
    let Some((beginning, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(beginning) else {
        return false;
    };
    let mut parts = rest.split('*');
    let end = parts.next_back().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = text.split_once(part) else {
            return false;
        };
        text = after;
    }
    text.ends_with(end)
}

/// Who made the requests of a finding, as it is shown.
#[derive(Clone, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Shown {
    /// The mount of the login, e.g. `auth/kubernetes/`, with its namespace before it.
    pub mount: Text,
    /// The role.
    pub role: Text,
    /// The ServiceAccount.
    pub service_account: Text,
    /// The entity's ID.
    pub entity: Text,
    /// The display name.
    pub display_name: Text,
}

impl Shown {
    /// Who made a request, and with which of the operator's identities.
    pub fn new(who: &Who, identity: Option<&Identity>) -> Self {
        let mount = |identity: &Identity| format!("{}/", identity.mount_path());
        Self {
            mount: identity.map(mount).unwrap_or_default().into(),
            role: who.role.as_str().into(),
            service_account: who.service_account.as_str().into(),
            entity: who.entity.as_str().into(),
            display_name: who.display_name.as_str().into(),
        }
    }

    /// In a few words.
    pub fn name(&self) -> &str {
        let names = [&self.display_name, &self.service_account, &self.role];
        names
            .into_iter()
            .find(|name| !name.is_empty())
            .map_or("nobody", |name| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        let check = |pattern: &str, text: &str, expected| {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        };
        check("kubernetes-backup", "kubernetes-backup", true);
        check("kubernetes-backup", "kubernetes-backup-x", false);
        check("kubernetes-*", "kubernetes-", true);
        check("*", "", true);
        check("kvv2/*/vso-prober/*", "kvv2/data/vso-prober/a/b", true);
        check("kvv2/*/vso-prober/*", "kvv2/data/other/a", false);
        check("*a*b", "ab", true);
        check("ab*b", "ab", false);
        check("a**c", "abc", true);
    }

    #[test]
    fn one_of_whom_nothing_is_set_is_nobody() {
        let who = Who {
            display_name: "kubernetes-backup-velero".to_owned(),
            policies: vec!["backup".to_owned()],
            ..Who::default()
        };
        assert!(!Person::default().is(&who));
        let by = |display_name: Option<&str>, policy: Option<&str>| Person {
            display_name: display_name.map(str::to_owned),
            policy: policy.map(str::to_owned),
            ..Person::default()
        };
        assert!(
            by(Some("kubernetes-backup-*"), None).is(&who) && by(None, Some("backup")).is(&who)
        );
        assert!(!by(Some("kubernetes-backup-*"), Some("admin")).is(&who));
    }

    #[test]
    fn one_without_a_role_and_an_entity_is_known_by_a_policy_too() {
        let who = |role: &str, policies: &[&str]| Who {
            display_name: "token".to_owned(),
            role: role.to_owned(),
            policies: policies.iter().copied().map(str::to_owned).collect(),
            ..Who::default()
        };
        let own = Person::of(&who("", &["default", "vso-prober"]));
        assert!(own.is(&who("", &["default", "more", "vso-prober"])));
        assert!(!own.is(&who("", &["ci", "default"])), "another token");
        let by_role = Person::of(&who("prober", &["default", "vso-prober"]));
        assert!(by_role.is(&who("prober", &["another-one-by-now"])));
    }

    #[test]
    fn a_request_is_found_among_thousands_of_identities() {
        let of = |role: &str, service_account: String| Identity {
            mount: "kubernetes".to_owned(),
            role: role.to_owned(),
            service_account,
            ..Identity::default()
        };
        let tenants = (0..2000).map(|number| of("app", format!("team-{number}/app")));
        let all = tenants.chain([
            of("app", "shop-*/app".to_owned()),
            of("cert", String::new()),
        ]);
        let identities = Identities::new(all);
        let line = |role: &str, namespace: &str| {
            let line = serde_json::json!({
                "time": "2026-11-24T10:00:54Z", "type": "request",
                "auth": {
                    "display_name": format!("kubernetes-{namespace}-app"),
                    "metadata": {
                        "role": role, "service_account_name": "app", "service_account_namespace": namespace,
                    },
                },
                "request": {"id": "1", "operation": "read", "path": "kvv2/data/a"},
            });
            match super::super::entry::parse(line.to_string().as_bytes()) {
                Ok(super::super::entry::Entry::Vault(entry)) => entry,
                other => panic!("{other:?}"),
            }
        };
        let check = |role: &str, namespace: &str, expected: Option<&str>| {
            let found = identities.of(&line(role, namespace));
            let found = found.map(|identity| identity.service_account.as_str());
            assert_eq!(found, expected, "{role} {namespace}");
        };
        check("app", "team-1234", Some("team-1234/app"));
        check("app", "team-2000", None);
        check("app", "shop-7", Some("shop-*/app"));
        check("cert", "team-1", Some(""));
        check("", "team-1", None);
        let saved = serde_json::to_string(&identities).expect("JSON");
        assert_eq!(
            serde_json::from_str::<Identities>(&saved).expect("what was saved"),
            identities
        );
    }
}
