//! The rights in Kubernetes of the prober, the operator and Vault.

use anyhow::Result;
use kube::Client;
use serde_json::{Value, json};

use super::{GROUP, OPERATOR, all};
use crate::lab::{NAMESPACE, OPERATOR_NAMESPACE, PROBER};

const LEASES: &str = "coordination.k8s.io";
const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// What the resources of canaries refer to.
const REFERENCES: [&str; 3] = ["vaultauthglobals", "vaultauths", "vaultconnections"];

/// Gives each account its rights, and no more.
pub(super) async fn grant(client: &Client) -> Result<()> {
    let watched = ["get", "list", "watch"];
    let canaries = [
        "vaultstaticsecrets",
        "vaultdynamicsecrets",
        "vaultpkisecrets",
    ];
    let prober = [
        rule(
            GROUP,
            &canaries,
            &["create", "get", "list", "watch", "delete", "patch"],
        ),
        rule(GROUP, &REFERENCES, &["get"]),
        rule(
            "",
            &["secrets"],
            &["get", "list", "watch", "delete", "patch"],
        ),
        rule("", &["events"], &["get", "list"]),
        rule("", &["namespaces"], &["get"]),
        rule(LEASES, &["leases"], &["create", "get", "update"]),
    ];
    let prober_at_operator = [
        rule("", &["pods"], &["get", "list"]),
        rule(LEASES, &["leases"], &["get"]),
        rule(GROUP, &["vaultauthglobals", "vaultconnections"], &["get"]),
    ];
    // As it is shipped, so that what is shipped comes in its place.
    let at_operator = format!("{PROBER}.{NAMESPACE}");
    // As in the operator's own chart.
    let workloads = ["daemonsets", "deployments", "statefulsets"];
    let operator = [
        rule("", &["configmaps", "serviceaccounts"], &watched),
        rule("", &["events"], &["create", "patch"]),
        rule("", &["secrets"], &["*"]),
        rule(
            "",
            &["serviceaccounts/token"],
            &["create", "get", "list", "watch"],
        ),
        rule("apps", &workloads, &["get", "list", "patch", "watch"]),
        rule(GROUP, &["*"], &["*"]),
    ];
    let leader = [
        rule(LEASES, &["leases"], &["*"]),
        rule("", &["configmaps"], &["*"]),
    ];
    let objects = [
        role(in_namespace(NAMESPACE, "roles"), "Role", PROBER, &prober),
        binding(
            in_namespace(NAMESPACE, "rolebindings"),
            "Role",
            PROBER,
            (NAMESPACE, PROBER),
        ),
        role(
            in_namespace(OPERATOR_NAMESPACE, "roles"),
            "Role",
            &at_operator,
            &prober_at_operator,
        ),
        binding(
            in_namespace(OPERATOR_NAMESPACE, "rolebindings"),
            "Role",
            &at_operator,
            (NAMESPACE, PROBER),
        ),
        role(
            in_namespace(OPERATOR_NAMESPACE, "roles"),
            "Role",
            OPERATOR,
            &leader,
        ),
        binding(
            in_namespace(OPERATOR_NAMESPACE, "rolebindings"),
            "Role",
            OPERATOR,
            (OPERATOR_NAMESPACE, OPERATOR),
        ),
        role(
            format!("{RBAC}/clusterroles"),
            "ClusterRole",
            OPERATOR,
            &operator,
        ),
        binding(
            format!("{RBAC}/clusterrolebindings"),
            "ClusterRole",
            OPERATOR,
            (OPERATOR_NAMESPACE, OPERATOR),
        ),
        binding(
            format!("{RBAC}/clusterrolebindings"),
            "ClusterRole",
            "system:auth-delegator",
            ("vault", "vault"),
        ),
    ];
    all(client, objects).await
}

fn in_namespace(namespace: &str, plural: &str) -> String {
    format!("{RBAC}/namespaces/{namespace}/{plural}")
}

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

fn role(path: String, kind: &str, name: &str, rules: &[Value]) -> (String, Value) {
    let metadata = json!({"name": name});
    (
        path,
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata, "rules": rules}),
    )
}

/// Binds a role to a ServiceAccount, both of whose names the binding takes, so that none is taken twice.
fn binding(
    path: String,
    kind: &str,
    role: &str,
    (namespace, account): (&str, &str),
) -> (String, Value) {
    let body = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": format!("{kind}Binding"),
        "metadata": {"name": format!("lab:{account}:{role}")},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespace, "name": account}],
    });
    (path, body)
}
