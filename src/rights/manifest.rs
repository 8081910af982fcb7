//! Rules as the Kubernetes manifests that grant them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::yaml::document;
use super::{Need, Rights, Rule};

/// Who is granted rights in Kubernetes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Subject {
    /// A ServiceAccount.
    Account {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Someone who is known to the API server by this name.
    User(String),
}

impl Subject {
    /// Who calls himself like this to the API server.
    pub fn of(username: &str) -> Self {
        let account = username.strip_prefix("system:serviceaccount:");
        match account.and_then(|account| account.split_once(':')) {
            Some((namespace, name)) => Self::Account {
                namespace: namespace.to_owned(),
                name: name.to_owned(),
            },
            None => Self::User(username.to_owned()),
        }
    }

    /// The name of the role that is made for it in a namespace, or for the whole cluster. Outside its own namespace, one of
    /// the same name may have a role too.
    fn role(&self, need: Need, place: Option<&str>) -> String {
        let suffix = match need {
            Need::Run => "",
            Need::Doctor => "-doctor",
        };
        match self {
            Self::Account { namespace, name } if place == Some(namespace) => {
                format!("{name}{suffix}")
            }
            Self::Account { namespace, name } => format!("{name}{suffix}.{namespace}"),
            Self::User(_) => format!("vso-prober{suffix}"),
        }
    }

    fn entry(&self) -> Value {
        match self {
            Self::Account { namespace, name } => {
                json!({"kind": "ServiceAccount", "name": name, "namespace": namespace})
            }
            Self::User(name) => json!({"apiGroup": GROUP, "kind": "User", "name": name}),
        }
    }
}

/// The API group of rights.
const GROUP: &str = "rbac.authorization.k8s.io";

/// The manifests of everything, as YAML.
pub fn roles(rights: &Rights, subject: &Subject) -> String {
    let mut documents = Vec::new();
    let all = rights.rules.iter();
    let places = all.filter_map(|rule| Some((rule.need, rule.namespace.as_ref()?)));
    let places: BTreeSet<_> = places.collect();
    for (need, namespace) in places {
        let [role, binding] = role(rights, subject, namespace, need);
        let remark = match need {
            Need::Run => "",
            Need::Doctor => "# For `vso-prober doctor` alone; no run needs it.\n",
        };
        documents.push(remark.to_owned() + &document(&role));
        documents.push(document(&binding));
    }
    if rights.rules.iter().any(|rule| rule.namespace.is_none()) {
        documents.extend(wide_role(rights, subject).iter().map(document));
    }
    if !rights.urls.is_empty() {
        documents.extend(cluster_role(rights, subject).iter().map(document));
    }
    documents.join("---\n")
}

/// The manifests of what is needed in one namespace: the role, and who has it.
pub fn role(rights: &Rights, subject: &Subject, namespace: &str, need: Need) -> [Value; 2] {
    let name = subject.role(need, Some(namespace));
    let rules = rights.rules.iter();
    let here = |rule: &&Rule| rule.namespace.as_deref() == Some(namespace) && rule.need == need;
    let rules = rules.filter(here);
    let metadata = json!({"name": name, "namespace": namespace});
    let rules: Vec<_> = rules.map(entry).collect();
    granted("Role", &metadata, &name, &rules, subject)
}

/// The manifests of what is needed in all namespaces, of which runs and the judge of audit logs need some, and `doctor` alone none.
pub fn wide_role(rights: &Rights, subject: &Subject) -> [Value; 2] {
    let name = subject.role(Need::Run, None);
    let rules = rights.rules.iter();
    let rules = rules.filter(|rule| rule.namespace.is_none());
    let rules: Vec<_> = rules.map(entry).collect();
    let metadata = json!({"name": name});
    granted("ClusterRole", &metadata, &name, &rules, subject)
}

/// The manifests of what is needed of the paths that are no objects: by `subject`, unless another gets them.
pub fn cluster_role(rights: &Rights, subject: &Subject) -> [Value; 2] {
    let other = rights.metrics.as_ref();
    let subject = other.unwrap_or(subject);
    let name = match subject {
        Subject::Account { namespace, name } if other.is_none() => {
            format!("{name}-metrics.{namespace}")
        }
        Subject::User(_) => "vso-prober-metrics".to_owned(),
        Subject::Account { .. } => subject.role(Need::Run, None),
    };
    let rule = json!({"nonResourceURLs": rights.urls, "verbs": ["get"]});
    granted(
        "ClusterRole",
        &json!({"name": name}),
        &name,
        &[rule],
        subject,
    )
}

fn entry(rule: &Rule) -> Value {
    let mut entry = json!({
        "apiGroups": [rule.group], "resources": [rule.resource], "verbs": rule.verbs,
    });
    if !rule.names.is_empty() {
        entry["resourceNames"] = json!(rule.names);
    }
    entry
}

fn granted(
    kind: &str,
    metadata: &Value,
    name: &str,
    rules: &[Value],
    subject: &Subject,
) -> [Value; 2] {
    let version = format!("{GROUP}/v1");
    [
        json!({"apiVersion": version, "kind": kind, "metadata": metadata, "rules": rules}),
        json!({
            "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": metadata,
            "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name},
            "subjects": [subject.entry()],
        }),
    ]
}
