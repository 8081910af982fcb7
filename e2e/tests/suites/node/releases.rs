//! Trials of the Helm chart in real Pods: two releases in one namespace.

use anyhow::{Context, Result, ensure};
use e2e::lab::{NAMESPACE, NODE_ADDRESS};
use e2e::scenario::Scene;
use serde_json::{Value, json};

use super::cluster::Cluster;
use super::{leader, told};
use crate::manifests::shipped::{read, root};

/// Each release with a leader and canaries of its own; what is uninstalled, as its notes say, leaves nothing, and the
/// other works on.
pub(super) async fn apart(scene: &Scene) -> Result<()> {
    let cluster = Cluster::start(scene).await?;
    let namespace = read("manifests/base/namespace.yaml")?;
    let arguments = ["apply", "--filename", "-"];
    scene.kubectl(&arguments, &namespace).await?;
    told(&cluster, both(scene, &cluster).await).await?;
    cluster.is_empty().await?;
    let leases = format!("kubectl -n {NAMESPACE} get leases --output name");
    let leases = scene.shell(&leases).await?;
    ensure!(!leases.contains("-vso-prober"), "{leases}");
    scene.is_clean().await
}

async fn both(scene: &Scene, cluster: &Cluster<'_>) -> Result<()> {
    let first = Release::install(scene, "first").await?;
    let second = Release::install(scene, "second").await?;
    for release in [&first, &second] {
        let leader = leader(scene, cluster, &release.lease(), "").await?;
        ensure!(leader.name.starts_with(&release.name), "{}", leader.name);
        leader.succeeds().await?;
        let folder = format!("kvv2/data/vso-prober/{}/", release.name);
        let audit = scene.lab().vault_audit()?;
        let own = audit.iter().any(|line| {
            line.request.path.starts_with(&folder)
                && line.auth.display_name == format!("kubernetes-{NAMESPACE}-{}", release.name)
        });
        ensure!(own, "{} wrote no canary of its own", release.name);
    }
    first.uninstall().await?;
    leader(scene, cluster, &second.lease(), "")
        .await?
        .succeeds()
        .await?;
    second.uninstall().await
}

/// A release, and what its notes say.
struct Release<'a> {
    scene: &'a Scene,
    /// The name that it was installed by.
    called: String,
    /// The full name, which is also that of the instance.
    name: String,
    notes: String,
}

impl<'a> Release<'a> {
    /// Installs it, and makes its roles in Vault by the commands of its notes.
    async fn install(scene: &'a Scene, release: &str) -> Result<Self> {
        let name = format!("{release}-vso-prober");
        let vault = scene.lab().vault().address();
        let port = vault.rsplit(':').next().context("a port")?;
        let probe = json!({
            "name": "static-kv2", "every": "5s",
            "static": {"mount": "kvv2", "type": "kv-v2", "path": "vso-prober", "refreshAfter": "5s"},
            "steps": {"create": "5s", "update": "2s", "tamper": "2s", "recreate": "5s", "delete": "10s"},
        });
        // Pods reach Vault at the node, the operator beside the cluster.
        let address = format!("http://{NODE_ADDRESS}:8200");
        let values = scene.file(
            &json!({
                "config": {"vault": {"address": address}, "probes": [probe]},
                "canaries": {"connection": {"address": vault}},
                "networkPolicy": {"extraPorts": [port.parse::<u16>()?]},
            })
            .to_string(),
        )?;
        let command = format!(
            "helm install {release} '{}' --namespace {NAMESPACE} --values '{}'",
            root().join("manifests/chart").display(),
            values.display()
        );
        let notes = scene.shell(&command).await?;
        let installed = Self {
            scene,
            called: release.to_owned(),
            name,
            notes,
        };
        installed.policies().await?;
        let roles = installed.commands("vault write").join("\n");
        scene.shell(&roles).await?;
        Ok(installed)
    }

    /// The policies that the notes ask for, in which the roles of their name find them.
    async fn policies(&self) -> Result<()> {
        let config = format!(
            "kubectl -n {NAMESPACE} get configmap {} --output json",
            self.name
        );
        let config: Value = serde_json::from_str(&self.scene.shell(&config).await?)?;
        let config = config["data"]["config.yaml"].as_str().context("a text")?;
        let config: Value = serde_saphyr::from_str(config)?;
        let prober = self.scene.prober([]).edit(|whole| *whole = config);
        let policy = prober.run(&["doctor", "--print-policy"]).await?.exits(0)?;
        let vault = self.scene.lab().vault();
        for (name, policy) in [
            (self.name.clone(), policy.stdout),
            (
                format!("{}-canaries", self.name),
                read("manifests/vault/canaries.hcl")?,
            ),
        ] {
            let path = format!("sys/policies/acl/{name}");
            vault.write(&path, json!({"policy": policy})).await?;
        }
        Ok(())
    }

    /// The commands of the notes that begin so, each on one line.
    fn commands(&self, beginning: &str) -> Vec<String> {
        let notes = self.notes.replace("\\\n", " ");
        let lines = notes.lines().map(str::trim);
        let lines = lines.filter(|line| line.starts_with(beginning));
        lines.map(str::to_owned).collect()
    }

    fn lease(&self) -> String {
        format!("vso-prober-{}", self.name)
    }

    /// As the notes say.
    async fn uninstall(&self) -> Result<()> {
        for beginning in ["scale", "wait"] {
            let commands = self.commands(&format!("kubectl -n {NAMESPACE} {beginning}"));
            ensure!(commands.len() == 1, "{commands:?}");
            self.scene.shell(&commands[0]).await?;
        }
        let command = format!(
            "helm uninstall {} --namespace {NAMESPACE} --wait",
            self.called
        );
        self.scene.shell(&command).await?;
        let kinds = "deployments,pods,configmaps,secrets,serviceaccounts,leases,roles,rolebindings,networkpolicies,vaultauths,\
                     vaultconnections,vaultstaticsecrets";
        let left = format!(
            "kubectl get {kinds} --all-namespaces --output name | grep -e '{}' || true",
            self.name
        );
        let left = self.scene.shell(&left).await?;
        ensure!(left.is_empty(), "{} leaves {left}", self.called);
        let instance = format!("vso-prober/instance={}", self.name);
        let left = format!(
            "kubectl -n {NAMESPACE} get vaultstaticsecrets,secrets --selector {instance} --output name"
        );
        let left = self.scene.shell(&left).await?;
        ensure!(left.is_empty(), "{} leaves {left}", self.called);
        let folder = format!("kvv2/metadata/vso-prober/{}", self.name);
        let left = self.scene.lab().vault().list(&folder).await?;
        ensure!(left.is_empty(), "{} leaves {left:?}", self.called);
        Ok(())
    }
}
