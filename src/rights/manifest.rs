//! Rules as the manifests of Kubernetes that grant them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

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

    /// The name of the roles that are made for it.
    fn role(&self, need: Need) -> String {
        let name = match self {
            Self::Account { name, .. } => name,
            Self::User(_) => "vso-prober",
        };
        match need {
            Need::Run => name.to_owned(),
            Need::Doctor => format!("{name}-doctor"),
        }
    }

    fn entry(&self) -> String {
        match self {
            Self::Account { namespace, name } => {
                format!("{{kind: ServiceAccount, name: {name}, namespace: {namespace}}}")
            }
            Self::User(name) => {
                format!(
                    "{{kind: User, name: {}, apiGroup: rbac.authorization.k8s.io}}",
                    quoted(name)
                )
            }
        }
    }
}

/// The manifests of everything.
pub fn roles(rights: &Rights, subject: &Subject) -> String {
    let mut documents = Vec::new();
    let all = rights.rules.iter();
    let places: BTreeSet<_> = all.map(|rule| (rule.need, &rule.namespace)).collect();
    for (need, namespace) in places {
        documents.push(role(rights, subject, namespace, need));
    }
    if !rights.urls.is_empty() {
        documents.push(cluster_role(rights, subject));
    }
    documents.join("---\n")
}

/// The manifests of what is needed in one namespace.
pub fn role(rights: &Rights, subject: &Subject, namespace: &str, need: Need) -> String {
    let name = subject.role(need);
    let remark = match need {
        Need::Run => "",
        Need::Doctor => "# For `vso-prober doctor` alone; no run needs it.\n",
    };
    let mut text = format!(
        "{remark}apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: {namespace}}}\nrules:\n"
    );
    let rules = rights.rules.iter();
    for rule in rules.filter(|rule| rule.namespace == namespace && rule.need == need) {
        text.push_str(&entry(rule));
    }
    let metadata = format!("{{name: {name}, namespace: {namespace}}}");
    text.push_str(&binding("Role", &metadata, &name, subject));
    text
}

/// The manifests of what is needed of the paths that are no objects: by `subject`, unless another gets them.
pub fn cluster_role(rights: &Rights, subject: &Subject) -> String {
    let other = rights.metrics.as_ref();
    let name = other.map_or_else(
        || format!("{}-metrics", subject.role(Need::Run)),
        |other| other.role(Need::Run),
    );
    let subject = other.unwrap_or(subject);
    let metadata = format!("{{name: {name}}}");
    format!(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {metadata}\nrules:\n- nonResourceURLs: {}\n  verbs: [\"get\"]\n{}",
        list(&rights.urls),
        binding("ClusterRole", &metadata, &name, subject)
    )
}

fn entry(rule: &Rule) -> String {
    let mut text = format!(
        "- apiGroups: {}\n  resources: {}\n",
        list(&[&rule.group]),
        list(&[&rule.resource])
    );
    if !rule.names.is_empty() {
        let _ = writeln!(text, "  resourceNames: {}", list(&rule.names));
    }
    let _ = writeln!(text, "  verbs: {}", list(&rule.verbs));
    text
}

fn binding(kind: &str, metadata: &str, role: &str, subject: &Subject) -> String {
    format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\nmetadata: {metadata}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: {kind}, name: {role}}}\nsubjects:\n- {}\n",
        subject.entry()
    )
}

fn list(items: &[impl AsRef<str>]) -> String {
    let items: Vec<_> = items.iter().map(|item| quoted(item.as_ref())).collect();
    format!("[{}]", items.join(", "))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
