//! Manifests and patches as values, made of names alone and written by a serialiser.

use serde_json::{Value, json};

use super::word::{Line, Name};
use crate::operator::api_version;
use crate::rights::{self, Need, Rights, Subject};

/// An object of Kubernetes.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::doctor) struct Manifest(Value);

impl Manifest {
    /// A namespace.
    pub(in crate::doctor) fn namespace(name: &Name) -> Self {
        Self(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}))
    }

    /// A ServiceAccount.
    pub(in crate::doctor) fn account(namespace: &Name, name: &Name) -> Self {
        let metadata = json!({"name": name, "namespace": namespace});
        Self(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
    }

    /// A VaultConnection to Vault at `address`.
    pub(in crate::doctor) fn connection(namespace: &Name, name: &Name, address: &Line) -> Self {
        Self(json!({
            "apiVersion": api_version(), "kind": "VaultConnection",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"address": address},
        }))
    }

    /// A VaultAuth that resources in `home` may refer to; its role, connection and account are of its own name.
    pub(in crate::doctor) fn vault_auth(namespace: &Name, name: &Name, home: &Name) -> Self {
        Self(json!({
            "apiVersion": api_version(), "kind": "VaultAuth",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "vaultConnectionRef": name, "allowedNamespaces": [home],
                "method": "kubernetes", "mount": "kubernetes",
                "kubernetes": {"role": name, "serviceAccount": name, "audiences": ["vault"]},
            },
        }))
    }

    /// The rights in one namespace, and who has them; `None` if that one is called as nobody can be.
    pub(in crate::doctor) fn role(
        rights: &Rights,
        subject: &Subject,
        namespace: &Name,
        need: Need,
    ) -> Option<[Self; 2]> {
        known(subject)?;
        Some(rights::role(rights, subject, namespace.as_str(), need).map(Self))
    }

    /// The rights in all namespaces, and who has them; `None` as above.
    pub(in crate::doctor) fn wide_role(rights: &Rights, subject: &Subject) -> Option<[Self; 2]> {
        known(subject)?;
        Some(rights::wide_role(rights, subject).map(Self))
    }

    /// The rights on what is no object, and who has them; `None` as above.
    pub(in crate::doctor) fn cluster_role(rights: &Rights, subject: &Subject) -> Option<[Self; 2]> {
        known(subject)?;
        Some(rights::cluster_role(rights, subject).map(Self))
    }

    pub(super) fn value(&self) -> &Value {
        &self.0
    }
}

/// Whether a subject is called as one can be.
fn known(subject: &Subject) -> Option<()> {
    match subject {
        Subject::Account { namespace, name } => {
            Name::parse(namespace)?;
            Name::parse(name).map(drop)
        }
        Subject::User(name) => Line::parse(name).map(drop),
    }
}

/// What is changed of an object.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::doctor) struct Patch(Value);

impl Patch {
    /// Who may refer to a VaultAuth.
    pub(in crate::doctor) fn allowed_namespaces(all: &[Name]) -> Self {
        Self(json!({"spec": {"allowedNamespaces": all}}))
    }

    /// Where Vault is, for a VaultConnection.
    pub(in crate::doctor) fn address(address: &Line) -> Self {
        Self(json!({"spec": {"address": address}}))
    }

    /// How many of `resource` a quota allows.
    pub(in crate::doctor) fn hard(resource: &'static str, count: u64) -> Self {
        Self(json!({"spec": {"hard": {resource: count.to_string()}}}))
    }

    pub(super) fn json(&self) -> String {
        rights::json(&self.0)
    }
}
