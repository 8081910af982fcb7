//! A cluster of Vault's: nodes with storage of their own, one of which is active and does what the others are asked for.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{Vault, device, program, setup};
use crate::lab::part::Process;
use crate::lab::site::Site;
use crate::lab::{Lab, port};

/// The names of the nodes.
const NODES: [&str; 3] = ["vault-0", "vault-1", "vault-2"];
/// The audit log of each in its folder: all must be configured alike.
const LOG: &str = "audit.log";
/// How long a node may take to answer, and the nodes to agree on one that is active.
const READY: Duration = Duration::from_secs(60);

impl Lab {
    /// Starts a cluster of three nodes beside the lab's own Vault, set up alike but for the database. The first is active.
    pub async fn vault_cluster(&self) -> Result<[Vault; 3]> {
        let mut nodes = Vec::new();
        for name in NODES {
            let node = port::retry(async || Vault::node(&self.site, name).await);
            nodes.push(node.await?);
        }
        let [first, others @ ..] = nodes.as_mut_slice() else {
            unreachable!("a cluster has nodes");
        };
        let begun = first.write(
            "sys/init",
            json!({"secret_shares": 1, "secret_threshold": 1}),
        );
        let begun = begun.await?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("Vault's word");
        let (key, token) = (text(&begun["keys"][0])?, text(&begun["root_token"])?);
        first.token.clone_from(&token);
        first.write("sys/unseal", json!({"key": key})).await?;
        first.active().await?;
        for other in others {
            other.token.clone_from(&token);
            let join = json!({"leader_api_addr": first.address});
            other.write("sys/storage/raft/join", join).await?;
            other.write("sys/unseal", json!({"key": key})).await?;
            other.active().await?;
        }
        // HashiCorp Vault lets a node vote once it has been stable for a while: until then it takes over from none.
        let voting = async || {
            let told = first.read("sys/storage/raft/configuration").await?;
            let servers = told["data"]["config"]["servers"].as_array();
            let voters =
                servers.map(|servers| servers.iter().all(|server| server["voter"] == true));
            ensure!(voters == Some(true), "not every node votes: {told}");
            Ok(())
        };
        first.process.ready(READY, voting).await?;
        if self.site.options.vault.is_some() {
            first.log_requests(Path::new(LOG)).await?;
        }
        setup::alone(first).await?;
        setup::logins(first, &self.parts.cluster).await?;
        let nodes = nodes.try_into();
        nodes.ok().context("three were made")
    }
}

impl Vault {
    /// Starts a node, which is sealed and knows of no other.
    async fn node(site: &Site, name: &'static str) -> Result<Self> {
        let (port, cluster) = (port::free()?, port::free()?);
        // Of its own, for a trial may be tried twice.
        let data = site.folder.join(format!("{name}-{port}"));
        fs::create_dir_all(&data).context("a folder for a node of Vault's")?;
        let address = format!("http://127.0.0.1:{port}");
        let mut config = format!(
            "disable_mlock = true\napi_addr = \"{address}\"\ncluster_addr = \"http://127.0.0.1:{cluster}\"\n\
             storage \"raft\" {{\n  path = \"{}\"\n  node_id = \"{name}\"\n}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  tls_disable = true\n}}\n",
            data.display(),
        );
        if site.options.vault.is_none() {
            config.push_str(&device(Path::new(LOG)));
        }
        let file = site.write(&format!("{name}.hcl"), config)?;
        let mut command = program(site)?;
        command
            .arg("server")
            .arg(format!("-config={}", file.display()))
            .env("HOME", &site.folder)
            .current_dir(&data);
        let process = Process::spawn(name, &site.folder, &mut command)?;
        let node = Self {
            process,
            http: site.http.clone(),
            address,
            token: String::new(),
            audit: data.join(LOG),
            listeners: None,
        };
        let asked = async || node.read("sys/seal-status").await;
        node.process.ready(READY, asked).await?;
        Ok(node)
    }

    /// Waits until the nodes agree on one that is active, and returns its address.
    pub async fn active(&self) -> Result<String> {
        let asked = async || {
            let told = self.read("sys/leader").await?;
            let address = told["leader_address"].as_str().unwrap_or_default();
            ensure!(!address.is_empty(), "no node of Vault is active: {told}");
            // One that was just chosen answers nothing yet.
            self.read("auth/token/lookup-self").await?;
            Ok(address.to_owned())
        };
        self.process.ready(READY, asked).await
    }
}
