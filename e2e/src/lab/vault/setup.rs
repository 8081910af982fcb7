//! The set-up of Vault: secrets engines, auth methods and policies.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use futures::try_join;
use serde_json::{Value, json};

use super::Vault;
use crate::lab::control_plane::ISSUER;
use crate::lab::{NAMESPACE, OPERATOR_ACCOUNT, PROBER};

/// What the operator needs for the canaries, and no more.
const OPERATOR_POLICY: &str = r#"
path "kvv1/vso-prober/*" { capabilities = ["read"] }
path "kvv2/data/vso-prober/*" { capabilities = ["read"] }
path "database/creds/*" { capabilities = ["read"] }
path "pki/issue/*" { capabilities = ["create", "update"] }
path "sys/leases/renew" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/*"], "increment" = [] }
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/*"] }
}
"#;

/// What the prober needs, and no more.
const PROBER_POLICY: &str = r#"
path "kvv1/vso-prober/*" { capabilities = ["create", "update", "read", "delete", "list"] }
path "kvv2/data/vso-prober/*" { capabilities = ["create", "update", "read"] }
path "kvv2/metadata/vso-prober/*" { capabilities = ["read", "delete", "list"] }
path "sys/leases/lookup" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/*"] }
}
path "sys/leases/revoke" {
  capabilities = ["update"]
  allowed_parameters = { "lease_id" = ["database/creds/*"], "sync" = [] }
}
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self" { capabilities = ["update"] }
"#;

const CREATE_ROLE: &str =
    "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';";

/// The ways for the prober to log in that are not its ServiceAccount's token.
#[derive(Clone, Debug)]
pub(crate) struct AppRole {
    pub(crate) role_id: String,
    pub(crate) secret_id: String,
}

/// What needs nothing but Vault: mounts, policies, AppRole, PKI.
pub(crate) async fn alone(vault: &Vault) -> Result<AppRole> {
    let mounts = [
        (
            "sys/mounts/kvv1",
            json!({"type": "kv", "options": {"version": "1"}}),
        ),
        (
            "sys/mounts/kvv2",
            json!({"type": "kv", "options": {"version": "2"}}),
        ),
        ("sys/mounts/database", json!({"type": "database"})),
        (
            "sys/mounts/pki",
            json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}}),
        ),
        ("sys/auth/kubernetes", json!({"type": "kubernetes"})),
        ("sys/auth/approle", json!({"type": "approle"})),
        ("sys/auth/jwt", json!({"type": "jwt"})),
        ("sys/policies/acl/vso", json!({"policy": OPERATOR_POLICY})),
        (
            "sys/policies/acl/vso-prober",
            json!({"policy": PROBER_POLICY}),
        ),
    ];
    all(vault, mounts).await?;
    let ((), approle) = try_join!(pki(vault), approle(vault))?;
    Ok(approle)
}

async fn pki(vault: &Vault) -> Result<()> {
    let root = json!({"common_name": "vso-prober lab", "ttl": "87600h", "key_type": "ec", "key_bits": 256});
    write(vault, "pki/root/generate/internal", root).await?;
    let role = json!({
        "allow_any_name": true, "enforce_hostnames": false, "key_type": "ec", "key_bits": 256,
        "ttl": "1h", "max_ttl": "24h",
    });
    write(vault, "pki/roles/probe", role).await.map(drop)
}

async fn approle(vault: &Vault) -> Result<AppRole> {
    let role = "auth/approle/role/vso-prober";
    write(
        vault,
        role,
        json!({"token_policies": [PROBER], "token_ttl": "1h"}),
    )
    .await?;
    let id = vault.read(&format!("{role}/role-id")).await?;
    let secret = write(vault, &format!("{role}/secret-id"), json!({})).await?;
    let field = |answer: &Value, name: &str| {
        let value = answer["data"][name].as_str().map(str::to_owned);
        value.with_context(|| format!("Vault gave no `{name}` for the AppRole"))
    };
    Ok(AppRole {
        role_id: field(&id, "role_id")?,
        secret_id: field(&secret, "secret_id")?,
    })
}

/// What needs PostgreSQL: the connection, a role `probe` (10 min) and a role `short` (20 s).
pub(crate) async fn database(vault: &Vault, postgres: SocketAddr) -> Result<()> {
    let url = format!(
        "postgresql://{{{{username}}}}:{{{{password}}}}@{postgres}/postgres?sslmode=disable"
    );
    let connection = json!({
        "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "connection_url": url,
        "username": "postgres", "password": "trusted",
    });
    write(vault, "database/config/postgres", connection).await?;
    try_join!(
        vault.database_role("probe", "10m", "1h"),
        vault.database_role("short", "20s", "1m"),
    )
    .map(drop)
}

impl Vault {
    /// Makes a role of PostgreSQL's, whose leases live as long as this.
    pub async fn database_role(&self, name: &str, default_ttl: &str, max_ttl: &str) -> Result<()> {
        let role = json!({
            "db_name": "postgres", "creation_statements": [CREATE_ROLE],
            "default_ttl": default_ttl, "max_ttl": max_ttl,
        });
        let path = format!("database/roles/{name}");
        write(self, &path, role).await.map(drop)
    }
}

/// What Vault must know of Kubernetes.
pub(crate) struct Cluster {
    pub(crate) address: String,
    pub(crate) ca: String,
    /// The token that Vault has other tokens reviewed with.
    pub(crate) reviewer: String,
    /// The public key of ServiceAccount tokens.
    pub(crate) public_key: String,
}

/// What needs Kubernetes: logins with ServiceAccount tokens.
pub(crate) async fn logins(vault: &Vault, cluster: &Cluster) -> Result<()> {
    let kubernetes = json!({
        "kubernetes_host": cluster.address, "kubernetes_ca_cert": cluster.ca,
        "token_reviewer_jwt": cluster.reviewer, "disable_local_ca_jwt": true,
    });
    let jwt = json!({
        "jwt_validation_pubkeys": [cluster.public_key], "jwt_supported_algs": ["ES256"], "bound_issuer": ISSUER,
    });
    all(
        vault,
        [
            ("auth/kubernetes/config", kubernetes),
            ("auth/jwt/config", jwt),
        ],
    )
    .await?;
    let account = |name: &str, policy: &str| {
        json!({
            "bound_service_account_names": [name], "bound_service_account_namespaces": [NAMESPACE],
            "audience": "vault", "token_policies": [policy], "token_ttl": "1h",
        })
    };
    let subject = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["vault"],
        "bound_subject": format!("system:serviceaccount:{NAMESPACE}:{PROBER}"),
        "token_policies": [PROBER], "token_ttl": "1h",
    });
    let roles = [
        (
            "auth/kubernetes/role/probe",
            account(OPERATOR_ACCOUNT, "vso"),
        ),
        ("auth/kubernetes/role/vso-prober", account(PROBER, PROBER)),
        ("auth/jwt/role/vso-prober", subject),
    ];
    all(vault, roles).await
}

async fn all<const N: usize>(vault: &Vault, writes: [(&str, Value); N]) -> Result<()> {
    try_join_all(writes.map(|(path, body)| write(vault, path, body)))
        .await
        .map(drop)
}

/// Writes to a path, and once more where OpenBao's storage had two writes at once get in each other's way.
async fn write(vault: &Vault, path: &str, body: Value) -> Result<Value> {
    for _ in 0..9 {
        match vault.write(path, body.clone()).await {
            Err(error) if error.to_string().contains("transaction commit failed") => {}
            outcome => return outcome,
        }
    }
    vault.write(path, body).await
}
