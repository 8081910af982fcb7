//! What is set up in Kubernetes: the operator's CRDs, namespaces, and who may do what.

mod rights;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use futures::try_join;
use kube::core::Request;
use kube::core::params::{GetParams, PostParams};
use kube::{Client, CustomResourceExt};
use serde_json::{Value, json};
use tokio::time::{interval, timeout};
use vso_prober::operator::api::{
    VaultAuth, VaultConnection, VaultDynamicSecret, VaultStaticSecret,
};

use super::{NAMESPACE, OPERATOR_ACCOUNT, OPERATOR_NAMESPACE, PROBER};

const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
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

/// Sets everything up but the operator's own resources.
pub(crate) async fn prepare(client: &Client, crds: Option<&Path>) -> Result<Tokens> {
    let ((), tokens) = try_join!(definitions(client, crds), accounts(client))?;
    Ok(tokens)
}

/// Creates the CRDs, a real operator's or the project's own, and waits until they are served.
async fn definitions(client: &Client, crds: Option<&Path>) -> Result<()> {
    let bodies = match crds {
        Some(folder) => read_yaml(folder)?,
        None => [
            VaultConnection::crd(),
            VaultAuth::crd(),
            VaultStaticSecret::crd(),
            VaultDynamicSecret::crd(),
        ]
        .iter()
        .map(serde_json::to_vec)
        .collect::<Result<_, _>>()?,
    };
    try_join_all(bodies.into_iter().map(|body| definition(client, body)))
        .await
        .map(drop)
}

fn read_yaml(folder: &Path) -> Result<Vec<Vec<u8>>> {
    let tried = || {
        format!(
            "could not read the operator's CRDs in `{}`",
            folder.display()
        )
    };
    let mut bodies = Vec::new();
    for entry in folder.read_dir().with_context(tried)? {
        let path = entry.with_context(tried)?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            bodies.push(fs::read(&path).with_context(tried)?);
        }
    }
    if bodies.is_empty() {
        bail!(
            "there is no .yaml in `{}`, where VSO_CRDS says the operator's CRDs are",
            folder.display()
        );
    }
    Ok(bodies)
}

async fn definition(client: &Client, body: Vec<u8>) -> Result<()> {
    let created = post(client, CRDS, body).await?;
    let name = created["metadata"]["name"]
        .as_str()
        .context("a CRD has a name")?
        .to_owned();
    let served = async {
        let mut tick = interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let request = Request::new(CRDS).get(&name, &GetParams::default())?;
            let crd: Value = client.request(request).await?;
            let conditions = crd["status"]["conditions"].as_array();
            let established = |condition: &Value| {
                condition["type"] == "Established" && condition["status"] == "True"
            };
            if conditions.is_some_and(|all| all.iter().any(established)) {
                return Ok(());
            }
        }
    };
    let limit = Duration::from_secs(20);
    timeout(limit, served)
        .await
        .with_context(|| format!("the CRD `{name}` was not served within {limit:?}"))?
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
pub(crate) async fn references(client: &Client, vault: &str) -> Result<()> {
    let path = format!("/apis/{GROUP}/v1beta1/namespaces/{NAMESPACE}");
    let resource = |kind: &str, spec: Value| json!({"apiVersion": format!("{GROUP}/v1beta1"), "kind": kind, "metadata": {"name": "probe"}, "spec": spec});
    let auth = json!({
        "vaultConnectionRef": "probe", "method": "kubernetes", "mount": "kubernetes", "allowedNamespaces": [NAMESPACE],
        "kubernetes": {"role": "probe", "serviceAccount": OPERATOR_ACCOUNT, "audiences": ["vault"]},
    });
    let objects = [
        (
            format!("{path}/vaultconnections"),
            resource("VaultConnection", json!({"address": vault})),
        ),
        (format!("{path}/vaultauths"), resource("VaultAuth", auth)),
    ];
    all(client, objects).await
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
