//! The inventory of what a command could have touched: the objects of Kubernetes, the settings of Vault, the files of the scene.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use anyhow::{Context, Result};
use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::Scene;
use crate::lab::{OPERATOR_NAMESPACE, Vault};

/// The kinds of Kubernetes that a fix could touch, by their paths.
const KINDS: [&str; 18] = [
    "api/v1/namespaces",
    "api/v1/serviceaccounts",
    "api/v1/configmaps",
    "api/v1/secrets",
    "api/v1/resourcequotas",
    "apis/apps/v1/deployments",
    "apis/rbac.authorization.k8s.io/v1/roles",
    "apis/rbac.authorization.k8s.io/v1/rolebindings",
    "apis/rbac.authorization.k8s.io/v1/clusterroles",
    "apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "apis/secrets.hashicorp.com/v1beta1/vaultauths",
    "apis/secrets.hashicorp.com/v1beta1/vaultauthglobals",
    "apis/secrets.hashicorp.com/v1beta1/vaultconnections",
    "apis/secrets.hashicorp.com/v1beta1/vaultstaticsecrets",
    "apis/secrets.hashicorp.com/v1beta1/vaultdynamicsecrets",
];
/// What the API server and controllers write of their own accord.
const BOOKKEEPING: [&str; 6] = [
    "creationTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
];

/// What there is, by a path whose last part is its name.
#[derive(Debug)]
pub struct Inventory(BTreeMap<String, Value>);

impl Inventory {
    /// Takes stock.
    pub async fn take(scene: &Scene) -> Result<Self> {
        let mut found = BTreeMap::new();
        let mut going = BTreeSet::new();
        for kind in KINDS {
            objects(scene, kind, &mut going, &mut found)
                .await
                .with_context(|| format!("could not list `{kind}`"))?;
        }
        settings(scene.lab().vault(), &mut found).await?;
        for entry in fs::read_dir(scene.folder())? {
            let path = entry?.path();
            let content = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
            found.insert(path.display().to_string(), content.into());
        }
        Ok(Self(found))
    }

    /// What is new, gone or different in `later`, by its path.
    pub fn changes<'a>(&'a self, later: &'a Self) -> Vec<&'a str> {
        let gone = |path: &&String| !later.0.contains_key(*path);
        let mut changed: Vec<&str> = later
            .0
            .iter()
            .filter(|(path, value)| self.0.get(*path) != Some(value))
            .map(|(path, _)| path.as_str())
            .chain(self.0.keys().filter(gone).map(String::as_str))
            .collect();
        changed.sort_unstable();
        changed
    }
}

/// The objects of a kind, without what is not anybody's choice. What is being deleted goes whatever is done, and a namespace with
/// all that is in it: namespaces come first, and those are noted in `going`.
async fn objects(
    scene: &Scene,
    kind: &str,
    going: &mut BTreeSet<String>,
    found: &mut BTreeMap<String, Value>,
) -> Result<()> {
    let request = Request::get(format!("/{kind}")).body(Vec::new())?;
    let listed = match scene.lab().client().request::<Value>(request).await {
        Ok(listed) => listed,
        // A trial may have taken the kind away.
        Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND.as_u16() => {
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    for mut object in listed["items"].as_array().cloned().unwrap_or_default() {
        let metadata = object["metadata"].take();
        let text = |key: &str| metadata[key].as_str().unwrap_or_default().to_owned();
        let (namespace, name) = (text("namespace"), text("name"));
        // Every namespace has these as soon as it is there; the operator keeps its own Secrets in its own.
        let by_itself = ["default", "kube-root-ca.crt"].contains(&name.as_str());
        let operators = kind == "api/v1/secrets" && namespace == OPERATOR_NAMESPACE;
        let deleted = !metadata["deletionTimestamp"].is_null();
        if deleted && kind == KINDS[0] {
            going.insert(name.clone());
        }
        if by_itself || operators || deleted || going.contains(&namespace) {
            continue;
        }
        let mut metadata = metadata;
        for key in BOOKKEEPING {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove(key);
            }
        }
        object["metadata"] = metadata;
        object["status"] = Value::Null;
        found.insert(format!("{kind}/{namespace}/{name}"), object);
    }
    Ok(())
}

/// Vault's policies, mounts, methods, and the roles of both.
async fn settings(vault: &Vault, found: &mut BTreeMap<String, Value>) -> Result<()> {
    let mut keep = |path: String, value: Value| {
        found.insert(path, value);
    };
    for name in vault.list("sys/policies/acl").await? {
        let path = format!("sys/policies/acl/{name}");
        let policy = vault.read(&path).await?["data"]["policy"].take();
        keep(path, policy);
    }
    for (mounts, prefix, roles) in [("sys/mounts", "", "roles"), ("sys/auth", "auth/", "role")] {
        let listed = vault.read(mounts).await?["data"].take();
        for (mount, about) in listed.as_object().into_iter().flatten() {
            let mount = mount.trim_end_matches('/');
            let about = json!([about["type"], about["options"], about["config"]]);
            keep(format!("{mounts}/{mount}"), about);
            let folder = format!("{prefix}{mount}/{roles}");
            // Not every engine has roles.
            for name in vault.list(&folder).await.unwrap_or_default() {
                let path = format!("{folder}/{name}");
                let role = vault.read(&path).await?["data"].take();
                keep(path, role);
            }
        }
    }
    Ok(())
}
