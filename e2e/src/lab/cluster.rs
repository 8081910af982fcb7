//! The set-up of Kubernetes: the operator's CRDs, namespaces and rights.

mod definitions;
mod rights;

use std::fmt::Debug;
use std::path::Path;

use anyhow::{Context, Result};
use futures::future::try_join_all;
use futures::try_join;
use k8s_openapi::NamespaceResourceScope;
use kube::api::{Api, Patch, PatchParams};
use kube::core::Request;
use kube::core::params::PostParams;
use kube::{Client, Resource, ResourceExt};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::Instant;
use vso_prober::operator::api::{
    VaultAuth, VaultAuthMethod, VaultAuthMethods, VaultAuthSpec, VaultConnection,
    VaultConnectionSpec,
};

use super::{NAMESPACE, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, PROBER};

pub(crate) const OPERATOR: &str = "vault-secrets-operator-controller-manager";
const GROUP: &str = "secrets.hashicorp.com";

/// How long the tokens of a lab are good for: a day.
const TOKEN_SECONDS: u32 = 86_400;

/// The tokens of those who use a lab.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// Vault's, to have other tokens reviewed.
    pub(crate) reviewer: String,
    /// The operator's, for Kubernetes.
    pub(crate) operator: String,
    /// The prober's, for Kubernetes.
    pub(crate) prober: String,
    /// The prober's, for Vault.
    pub(crate) prober_vault: String,
}

/// Sets everything up but the operator's own resources; those are created without a pause from the
/// moment on that is returned.
pub(crate) async fn prepare(client: &Client, crds: Option<&Path>) -> Result<(Tokens, Instant)> {
    let (unhindered, tokens) = try_join!(definitions::create(client, crds), accounts(client))?;
    Ok((tokens, unhindered))
}

/// Namespaces, ServiceAccounts, their rights and their tokens.
async fn accounts(client: &Client) -> Result<Tokens> {
    let namespaces = [NAMESPACE, OPERATOR_NAMESPACE, "vault"];
    let namespace =
        |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    all(
        client,
        namespaces.map(|name| ("/api/v1/namespaces".into(), namespace(name))),
    )
    .await?;
    let accounts = [
        (NAMESPACE, OPERATOR_ACCOUNT),
        (NAMESPACE, PROBER),
        (OPERATOR_NAMESPACE, OPERATOR),
        ("vault", "vault"),
    ];
    let account = |(namespace, name): (&str, &str)| {
        let body =
            json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}});
        (
            format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            body,
        )
    };
    all(client, accounts.map(account)).await?;
    let (reviewer, operator, prober, prober_vault, ()) = try_join!(
        token(client, "vault", "vault", None),
        token(client, OPERATOR_NAMESPACE, OPERATOR, None),
        token(client, NAMESPACE, PROBER, None),
        token(client, NAMESPACE, PROBER, Some("vault")),
        rights::grant(client),
    )?;
    Ok(Tokens {
        reviewer,
        operator,
        prober,
        prober_vault,
    })
}

async fn token(
    client: &Client,
    namespace: &str,
    name: &str,
    audience: Option<&str>,
) -> Result<String> {
    let audiences: Vec<&str> = audience.into_iter().collect();
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": audiences, "expirationSeconds": TOKEN_SECONDS},
    });
    let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let answer = create(client, &path, &body).await?;
    let token = answer["status"]["token"].as_str().map(str::to_owned);
    token.with_context(|| format!("no token came back for the ServiceAccount {namespace}/{name}"))
}

/// The VaultConnection and the VaultAuth that canaries refer to, both called `probe`.
///
/// They are applied and not created: the pause of [`definitions`] would hold up the operator too.
pub(crate) async fn references(client: &Client, vault: &str) -> Result<()> {
    let connection = VaultConnectionSpec {
        address: vault.into(),
        ..VaultConnectionSpec::default()
    };
    let kubernetes = VaultAuthMethod {
        role: Some("probe".into()),
        service_account: Some(OPERATOR_ACCOUNT.into()),
        audiences: Some(vec!["vault".into()]),
        ..VaultAuthMethod::default()
    };
    let auth = VaultAuthSpec {
        vault_connection_ref: Some("probe".into()),
        allowed_namespaces: Some(vec![NAMESPACE.into()]),
        method: Some("kubernetes".into()),
        mount: Some("kubernetes".into()),
        methods: VaultAuthMethods {
            kubernetes: Some(kubernetes),
            ..VaultAuthMethods::default()
        },
        ..VaultAuthSpec::default()
    };
    try_join!(
        apply(client, VaultConnection::new("probe", connection)),
        apply(client, VaultAuth::new("probe", auth)),
    )
    .map(drop)
}

async fn apply<K>(client: &Client, object: K) -> Result<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + DeserializeOwned
        + Serialize
        + Debug,
{
    let objects: Api<K> = Api::namespaced(client.clone(), NAMESPACE);
    let params = PatchParams::apply("lab");
    let applied = objects
        .patch(&object.name_any(), &params, &Patch::Apply(&object))
        .await;
    applied.map(drop).with_context(|| {
        format!(
            "could not apply the {} `{}`",
            K::kind(&()),
            object.name_any()
        )
    })
}

async fn all<const N: usize>(client: &Client, objects: [(String, Value); N]) -> Result<()> {
    let creations = objects
        .iter()
        .map(|(path, body)| create(client, path, body));
    try_join_all(creations).await.map(drop)
}

/// Creates an object in the collection at `path`.
pub(crate) async fn create(client: &Client, path: &str, body: &Value) -> Result<Value> {
    post(client, path, serde_json::to_vec(body)?).await
}

/// Posts YAML, of which JSON is a part. The API server reads both.
async fn post(client: &Client, path: &str, body: Vec<u8>) -> Result<Value> {
    let mut request = Request::new(path).create(&PostParams::default(), body)?;
    let yaml = "application/yaml"
        .parse()
        .context("a media type is a header's value")?;
    request.headers_mut().insert("content-type", yaml);
    client
        .request(request)
        .await
        .with_context(|| format!("could not create an object at `{path}`"))
}
