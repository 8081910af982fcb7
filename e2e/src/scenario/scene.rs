//! A scene: the lab of a file of scenarios, the binary under test, and the check for leftovers.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::core::DynamicObject;
use kube::{Resource, ResourceExt};
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use vso_prober::canary::{INSTANCE_LABEL, PROBE_LABEL};
use vso_prober::model::{Kind, Step};
use vso_prober::operator::api_resource;

use super::records::Records;
use super::{Probe, Prober, Recording, eventually};
use crate::lab::{Lab, NAMESPACE, OPERATOR_NAMESPACE, Options, PROBER, Part};

/// How long an object may take to appear while the prober runs on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// One lab, and what scenarios do with it.
#[derive(Debug)]
pub struct Scene {
    lab: Lab,
    program: PathBuf,
    folder: TempDir,
    real: bool,
    files: AtomicU32,
    records: Option<Records>,
}

impl Scene {
    /// Starts a lab with the node and the workers of `wanted`; what else there is says the environment.
    pub(super) async fn start(wanted: &Options) -> Result<Self> {
        let program = program()?;
        let options = Options {
            node: wanted.node,
            workers: wanted.workers,
            listeners: wanted.listeners,
            ..Options::from_env()?
        };
        let real = options.operator.is_some();
        let lab = Lab::start_with(options).await?;
        let records = Records::start(&lab).await?;
        Ok(Self {
            lab,
            records,
            program,
            folder: tempfile::tempdir().context("could not make a temporary folder")?,
            real,
            files: AtomicU32::default(),
        })
    }

    /// The lab.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Whether the operator is the real one.
    pub fn real(&self) -> bool {
        self.real
    }

    /// The binary with these probes, as its ServiceAccount at both ends.
    pub fn prober(&self, probes: impl IntoIterator<Item = Probe>) -> Prober {
        let probes: Vec<Value> = probes.into_iter().map(Value::from).collect();
        let config = json!({
            "vault": {
                "address": self.lab.vault().address(),
                "auth": {"kubernetes": {"mount": "kubernetes", "role": PROBER, "tokenFile": self.lab.prober_token_file()}},
            },
            "kubernetes": {"namespace": NAMESPACE},
            "operator": {"namespace": OPERATOR_NAMESPACE, "podSelector": "control-plane=controller-manager"},
            "probes": probes,
        });
        Prober {
            program: self.program.clone(),
            file: self.path("yaml"),
            config,
            env: vec![("KUBECONFIG".into(), self.lab.prober_kubeconfig().into())],
            memory: None,
            files: None,
            records: self.records.as_ref().map(Records::folder),
        }
    }

    /// Where records are kept, if they are.
    pub(super) fn records(&self) -> Option<&Records> {
        self.records.as_ref()
    }

    /// The folder of its files.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A path for a new file.
    pub fn path(&self, extension: &str) -> PathBuf {
        let number = self.files.fetch_add(1, Ordering::Relaxed);
        self.folder.path().join(format!("{number}.{extension}"))
    }

    /// A new file.
    pub fn file(&self, content: &str) -> Result<PathBuf> {
        let path = self.path("txt");
        fs::write(&path, content)
            .with_context(|| format!("could not write `{}`", path.display()))?;
        Ok(path)
    }

    /// The prober's kubeconfig with a change: its `cluster` and its `user`.
    pub fn kubeconfig(&self, edit: impl FnOnce(&mut Value, &mut Value)) -> Result<PathBuf> {
        let text = fs::read_to_string(self.lab.prober_kubeconfig())?;
        let mut config: Value =
            serde_json::from_str(&text).context("the lab writes kubeconfigs as JSON")?;
        let (mut cluster, mut user) = (
            config["clusters"][0]["cluster"].take(),
            config["users"][0]["user"].take(),
        );
        edit(&mut cluster, &mut user);
        config["clusters"][0]["cluster"] = cluster;
        config["users"][0]["user"] = user;
        self.file(&config.to_string())
    }

    /// The prober's kubeconfig, by another address of the same API server.
    pub fn kubeconfig_by(&self, address: &str) -> Result<PathBuf> {
        let address = address.replace("http://", "https://");
        self.kubeconfig(|cluster, _| cluster["server"] = address.into())
    }

    /// Records what happens to canaries from now on.
    pub async fn record(&self) -> Result<Recording> {
        Recording::start(&self.lab.client()).await
    }

    /// The canaries' resources of a kind, as admin.
    pub fn resources(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.lab.client(), NAMESPACE, &api_resource(kind))
    }

    /// The Secrets beside them, as admin.
    pub fn secrets(&self) -> Api<Secret> {
        Api::namespaced(self.lab.client(), NAMESPACE)
    }

    /// Waits until the resource of a probe's canary is there.
    pub async fn canary(&self, kind: Kind, probe: &str) -> Result<DynamicObject> {
        let api = self.resources(kind);
        let selector = ListParams::default().labels(&format!("{PROBE_LABEL}={probe}"));
        eventually(&format!("canary of `{probe}`"), PATIENCE, async || {
            Ok(api.list(&selector).await?.items.into_iter().next())
        })
        .await
    }

    /// Waits until a Secret of a probe's canary is there.
    pub async fn secret(&self, probe: &str) -> Result<Secret> {
        let api = self.secrets();
        let selector = ListParams::default().labels(&format!("{PROBE_LABEL}={probe}"));
        eventually(&format!("Secret of `{probe}`"), PATIENCE, async || {
            Ok(api.list(&selector).await?.items.into_iter().next())
        })
        .await
    }

    /// Insists that the operator serves canaries, by and by: it may be backing off.
    pub async fn serves(&self) -> Result<()> {
        let probe = Probe::kv2("serves").steps(&[Step::Create, Step::Delete]);
        let prober = self.prober([probe.limits("40s", "41s")]);
        prober.probe(&[]).await?.exits(0).map(drop)
    }

    /// Everything of a prober's that is in Kubernetes or Vault, whoever's instance it is.
    pub async fn left_behind(&self) -> Result<Vec<String>> {
        let mut left = Vec::new();
        for kind in Kind::ALL {
            match self.resources(kind).list(&ListParams::default()).await {
                Ok(list) => {
                    left.extend(
                        list.iter()
                            .map(|object| format!("{} {}", kind.resource(), object.name_any())),
                    );
                }
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error).context("could not list the canaries"),
            }
        }
        let labelled = ListParams::default().labels(INSTANCE_LABEL);
        let secrets = self.secrets().list_metadata(&labelled).await?;
        left.extend(
            secrets
                .iter()
                .map(|secret| format!("Secret {}", secret.name_any())),
        );
        for folder in ["kvv2/metadata/vso-prober", "kvv1/vso-prober"] {
            left.extend(self.keys(folder).await?);
        }
        left.extend(self.keys("sys/leases/lookup/database/creds").await?);
        Ok(left)
    }

    /// The paths in Vault under this one.
    async fn keys(&self, folder: &str) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for key in self.lab.vault().list(&folder).await? {
                let path = format!("{folder}/{key}");
                match path.strip_suffix('/') {
                    Some(folder) => folders.push(folder.to_owned()),
                    None => found.push(path),
                }
            }
        }
        Ok(found)
    }

    /// Insists that nothing is left behind.
    pub async fn is_clean(&self) -> Result<()> {
        let left = self.left_behind().await?;
        ensure!(left.is_empty(), "left behind: {}", left.join(", "));
        Ok(())
    }

    /// Makes every part whole again, whatever a scenario did to it.
    pub(super) async fn heal(&self) -> Result<()> {
        for part in Part::ALL {
            self.lab.resume(part).await?;
        }
        let (_, health) = self
            .lab
            .vault()
            .send(Method::GET, "sys/seal-status", None)
            .await?;
        if health["sealed"] == true {
            self.lab.vault().unseal().await?;
        }
        self.lab.keep_tokens(false).await;
        self.lab.start_operator().await?;
        if !self.real {
            self.lab.faults(&json!({})).await?;
        }
        Ok(())
    }

    /// Removes by force what a scenario that failed has left behind, so that the next one is not blamed.
    pub(super) async fn scrub(&self) -> Result<()> {
        for kind in Kind::ALL {
            let api = self.resources(kind);
            for object in api.list(&ListParams::default()).await? {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
                let name = object.name_any();
                let _ = api.delete(&name, &DeleteParams::default()).await;
                let _ = api.patch(&name, &PatchParams::default(), &patch).await;
            }
        }
        let labelled = ListParams::default().labels(INSTANCE_LABEL);
        self.secrets()
            .delete_collection(&DeleteParams::default(), &labelled)
            .await?;
        for folder in ["kvv2/metadata/vso-prober", "kvv1/vso-prober"] {
            for path in self.keys(folder).await? {
                self.lab.vault().delete(&path).await?;
            }
        }
        self.lab
            .vault()
            .write("sys/leases/revoke-force/database/creds", json!({}))
            .await
            .map(drop)
    }

    /// The end of the logs that explain a failure best.
    pub(super) async fn state(&self) -> String {
        let operator = self.lab.process(Part::Operator).await;
        format!("the end of the operator's log:\n{}", operator.tail(15))
    }

    /// Copies the lab's logs to where they outlive it, and says where.
    pub(super) fn keep_logs(&self, suite: &str) -> Result<PathBuf> {
        let target = self.program.parent().context("a program is in a folder")?;
        let kept = target.join("e2e-logs").join(suite);
        fs::create_dir_all(&kept)?;
        for entry in self.lab.folder().read_dir()? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log")
                && let Some(name) = path.file_name()
            {
                fs::copy(&path, kept.join(name))?;
            }
        }
        Ok(kept)
    }
}

/// The binary under test, which Cargo builds in the folder above the tests' own.
fn program() -> Result<PathBuf> {
    let this = env::current_exe().context("could not tell where this test is")?;
    let profile = this.ancestors().nth(2).context("a test is in `deps`")?;
    let program = profile.join("vso-prober");
    let build = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "cargo build".to_owned(),
        Some(other) => format!("cargo build --profile {other}"),
    };
    let Ok(built) = fs::metadata(&program).and_then(|metadata| metadata.modified()) else {
        bail!(
            "there is no `{}` to be tested; run `{build}` in the root folder first",
            program.display()
        );
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../src");
    if let Some(newer) = newer(&root, built)? {
        bail!(
            "`{}` is older than `{}`; run `{build}` in the root folder first",
            program.display(),
            newer.display()
        );
    }
    Ok(program)
}

/// A file under `folder` that was changed after `built`.
fn newer(folder: &Path, built: SystemTime) -> Result<Option<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = if entry.file_type()?.is_dir() {
            newer(&entry.path(), built)?
        } else {
            (entry.metadata()?.modified()? > built).then(|| entry.path())
        };
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

/// Creates an object as admin, at the path of its kind.
impl Scene {
    /// Creates an object of Kubernetes, given whole; one of that name is replaced.
    pub async fn apply(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let api = self.objects(&object)?;
        let params = PatchParams::apply("scenario").force();
        let name = object.name_any();
        api.patch(&name, &params, &Patch::Apply(&object))
            .await
            .with_context(|| format!("could not apply `{name}`"))
            .map(drop)
    }

    /// Deletes an object that was given to [`Scene::apply`].
    pub async fn remove(&self, object: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(object)?;
        let name = object.name_any();
        let api = self.objects(&object)?;
        api.delete(&name, &DeleteParams::default())
            .await
            .with_context(|| format!("could not delete `{name}`"))
            .map(drop)
    }

    fn objects(&self, object: &DynamicObject) -> Result<Api<DynamicObject>> {
        let types = object.types.as_ref().context("an object has a kind")?;
        let (group, version) = types
            .api_version
            .rsplit_once('/')
            .unwrap_or(("", &types.api_version));
        let kind = kube::core::GroupVersionKind::gvk(group, version, &types.kind);
        let resource = kube::core::ApiResource::from_gvk(&kind);
        Ok(match &object.meta().namespace {
            Some(namespace) => Api::namespaced_with(self.lab.client(), namespace, &resource),
            None => Api::all_with(self.lab.client(), &resource),
        })
    }

    /// A token of the prober's rights that Vault knows no more.
    pub async fn expired_token(&self) -> Result<String> {
        let body = json!({"policies": [PROBER], "ttl": "1s", "explicit_max_ttl": "1s"});
        let answer = self.lab.vault().write("auth/token/create", body).await?;
        let token = answer["auth"]["client_token"].as_str();
        let token = token.context("Vault made no token")?;
        let vault = self.lab.vault().with_token(token);
        eventually("end of the token", Duration::from_secs(10), async || {
            let known = vault.read("auth/token/lookup-self").await;
            Ok(known.is_err().then_some(()))
        })
        .await?;
        Ok(token.to_owned())
    }

    /// Applies a VaultAuth that logs in as `probe` does, but for what `spec` says; `null` takes a key away.
    pub async fn vault_auth(&self, namespace: &str, name: &str, spec: Value) -> Result<()> {
        let mut whole = json!({
            "vaultConnectionRef": "probe", "method": "kubernetes", "mount": "kubernetes", "allowedNamespaces": [NAMESPACE],
            "kubernetes": {"role": "probe", "serviceAccount": "probe", "audiences": ["vault"]},
        });
        merge(&mut whole, spec);
        self.apply(json!({
            "apiVersion": "secrets.hashicorp.com/v1beta1", "kind": "VaultAuth",
            "metadata": {"name": name, "namespace": namespace}, "spec": whole,
        }))
        .await
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                if value.is_null() {
                    into.remove(&key);
                } else {
                    merge(into.entry(key).or_insert(Value::Null), value);
                }
            }
        }
        (into, from) => *into = from,
    }
}
