//! The lab: a real control plane, Vault and PostgreSQL on loopback, for as long as a value lives.

mod audit;
mod cluster;
mod configuration;
mod control_plane;
mod etcd;
mod keys;
mod kubeconfig;
mod monitoring;
mod node;
mod operator;
mod options;
mod part;
mod parts;
mod place;
mod port;
mod postgres;
mod site;
mod summary;
mod tools;
mod vault;
mod watchdog;

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use kube::Client;
use rustix::process::Signal;
use serde_json::Value;
use tokio::task::JoinHandle;

pub use audit::{KubeRequest, ObjectRef, ResponseStatus, User, VaultAuth, VaultLine, VaultRequest};
pub use monitoring::{
    Alertmanager, Histograms, Prometheus, Pushgateway, Rules, Scrape, Vector, check_metrics,
    promtool, yaml,
};
pub use node::{ADDRESS as NODE_ADDRESS, Door, Node, PAUSE};
pub use options::{Options, RealOperator};
pub use part::{Part, Process};
pub use place::Place;
pub use port::free as free_port;
pub use summary::{PartSummary, Summary};
pub use tools::Tools;
pub use vault::Vault;

use parts::Parts;
use site::Site;
use watchdog::Watchdog;

/// The namespace of the canaries.
pub const NAMESPACE: &str = "vso-probe";
/// The namespace of the operator.
pub const OPERATOR_NAMESPACE: &str = "vault-secrets-operator-system";
/// The prober's ServiceAccount, and its role and policy in Vault.
pub const PROBER: &str = "vso-prober";
/// The ServiceAccount in [`NAMESPACE`] that the operator logs in to Vault with.
pub const OPERATOR_ACCOUNT: &str = "probe";

/// A running lab. Dropping it ends everything it started and removes its folder; so does the end of
/// its process, whatever the cause. The logs are kept when it is dropped by a panic.
pub struct Lab {
    site: Arc<Site>,
    parts: Parts,
    reflection: JoinHandle<()>,
    watchdog: Watchdog,
}

impl Lab {
    /// Starts a lab as the environment asks for it, see [`Options::from_env`].
    pub async fn start() -> Result<Self> {
        Self::start_with(Options::from_env()?).await
    }

    /// Starts a lab. If a part fails, the error holds the end of its log, and the logs are kept.
    pub async fn start_with(options: Options) -> Result<Self> {
        let site = Arc::new(Site::new(options)?);
        let watchdog = Watchdog::start(&site.folder)?;
        // Boxed: it is large, with all the parts at once.
        let parts = Box::pin(Parts::start(&site)).await;
        if parts.is_err() || site.options.keep {
            watchdog.keep_logs();
        }
        let tried = || {
            format!(
                "the lab did not start; its logs are in `{}`",
                site.folder.display()
            )
        };
        let parts = parts.with_context(tried)?;
        let reflection = tokio::spawn(parts::reflect(parts.operator.clone()));
        Ok(Self {
            site,
            parts,
            reflection,
            watchdog,
        })
    }

    /// Its folder, with a log a part.
    pub fn folder(&self) -> &Path {
        &self.site.folder
    }

    /// A client for Kubernetes as cluster admin.
    pub fn client(&self) -> Client {
        self.parts.apiserver.admin.clone()
    }

    /// A client for Kubernetes with the prober's rights only.
    pub async fn prober_client(&self) -> Result<Client> {
        control_plane::connect(&std::fs::read_to_string(self.prober_kubeconfig())?).await
    }

    /// A kubeconfig with the contexts `admin`, the current one, and `vso-prober`.
    pub fn kubeconfig(&self) -> &Path {
        &self.parts.access.kubeconfig
    }

    /// A configuration with which the prober can be tried on this lab at once.
    pub fn prober_config(&self) -> PathBuf {
        self.folder().join("prober.yaml")
    }

    /// A kubeconfig for the prober alone, with its rights only.
    pub fn prober_kubeconfig(&self) -> &Path {
        &self.parts.access.prober_kubeconfig
    }

    /// Where the API server is, as the prober's kubeconfig says it: an `https://` URL.
    pub fn api_server(&self) -> Result<String> {
        let text = std::fs::read_to_string(self.prober_kubeconfig())?;
        let config: Value =
            serde_json::from_str(&text).context("the lab writes kubeconfigs as JSON")?;
        let server = config["clusters"][0]["cluster"]["server"].as_str();
        Ok(server.context("a kubeconfig names a server")?.to_owned())
    }

    /// A file with a token of the prober's ServiceAccount for the audience `vault`, for the mounts
    /// `kubernetes` and `jwt` and their role `vso-prober`.
    pub fn prober_token_file(&self) -> &Path {
        &self.parts.access.prober_token
    }

    /// The files with the ID and the secret of the AppRole `vso-prober`.
    pub fn approle_files(&self) -> (&Path, &Path) {
        (&self.parts.access.role_id, &self.parts.access.secret_id)
    }

    /// Vault, as root.
    pub fn vault(&self) -> &Vault {
        &self.parts.vault
    }

    /// Where PostgreSQL listens; its database is `postgres`.
    pub fn postgres(&self) -> SocketAddr {
        self.parts.postgres.address
    }

    /// The node, if it has one.
    pub fn node(&self) -> Option<&Node> {
        self.parts.node.as_ref()
    }

    /// The parts that it has.
    pub fn made_of(&self) -> Vec<Part> {
        let node = self.node().map_or(&[][..], |_| &Part::NODE);
        [&Part::ALL, node].concat()
    }

    /// The process of a part.
    ///
    /// # Panics
    /// It is the node's, and there is none.
    pub async fn process(&self, part: Part) -> Process {
        match part {
            Part::Etcd => self.parts.etcd.process.clone(),
            Part::ApiServer => self.parts.apiserver.process(),
            Part::ControllerManager => self.parts.controllers.clone(),
            Part::Vault => self.parts.vault.process().clone(),
            Part::Postgres => self.parts.postgres.process.clone(),
            Part::Operator => self.parts.operator.lock().await.process().clone(),
            Part::Namespaces | Part::Containerd | Part::Kubelet | Part::Scheduler => {
                let process = self.node().and_then(|node| node.process(part));
                process.expect("a lab with a node").clone()
            }
        }
    }

    /// Fails, with the end of its log, if a part has ended. The operator is left out: tests end it.
    pub async fn check(&self) -> Result<()> {
        for part in self.made_of() {
            if part == Part::Operator {
                continue;
            }
            self.process(part).await.check()?;
        }
        Ok(())
    }

    /// Leaves the logs in [`Lab::folder`] when the lab has gone.
    pub fn keep_logs(&self) {
        self.watchdog.keep_logs();
    }

    /// Freezes a part (SIGSTOP): it holds its connections and answers nothing.
    pub async fn pause(&self, part: Part) -> Result<()> {
        self.process(part).await.signal(Signal::STOP)
    }

    /// Lets a part go on (SIGCONT).
    pub async fn resume(&self, part: Part) -> Result<()> {
        self.process(part).await.signal(Signal::CONT)
    }

    /// Ends the API server as the kernel would (SIGKILL) and starts it again; waits until it is ready.
    pub async fn restart_api_server(&self) -> Result<()> {
        self.parts.apiserver.restart(&self.site).await
    }

    /// Ends the operator as a rollout would (SIGTERM), and waits until it has ended.
    pub async fn stop_operator(&self) -> Result<()> {
        self.parts.operator.lock().await.end(Signal::TERM).await
    }

    /// Ends the operator and deletes its Pod, as its Deployment does that is scaled down. [`Lab::start_operator`] makes another.
    pub async fn scale_operator_down(&self) -> Result<()> {
        self.parts.operator.lock().await.scale_down().await
    }

    /// Ends the operator as the kernel would that is out of memory (SIGKILL).
    pub async fn kill_operator(&self) -> Result<()> {
        self.parts.operator.lock().await.end(Signal::KILL).await
    }

    /// Starts the operator again, on its old ports and as the same Pod; waits until it is ready.
    pub async fn start_operator(&self) -> Result<()> {
        self.parts.operator.lock().await.restart().await
    }

    /// Has the operator, from its next start on, keep its tokens of Vault's in Secrets, so that they outlive its process.
    pub async fn keep_tokens(&self, keep: bool) {
        self.parts.operator.lock().await.keep_tokens(keep);
    }

    /// Tells the stand-in to misbehave: `PUT /faults`.
    pub async fn faults(&self, faults: &Value) -> Result<()> {
        self.parts.operator.lock().await.faults(faults).await
    }

    /// The URL of the operator's metrics.
    pub async fn metrics_url(&self) -> String {
        self.parts.operator.lock().await.metrics_url()
    }

    /// The operator's metrics, as text.
    pub async fn metrics(&self) -> Result<String> {
        let url = self.metrics_url().await;
        let get = async {
            self.site
                .http
                .get(&url)
                .send()
                .await?
                .error_for_status()?
                .text()
                .await
        };
        get.await
            .with_context(|| format!("could not read the operator's metrics at {url}"))
    }

    /// What the API server was asked about Secrets and the operator's resources.
    pub fn kube_audit(&self) -> Result<Vec<KubeRequest>> {
        audit::read(&self.parts.apiserver.audit)
    }

    /// The file that the API server's audit log is in.
    pub fn kube_audit_file(&self) -> &Path {
        &self.parts.apiserver.audit
    }

    /// The file that Vault's audit log is in.
    pub fn vault_audit_file(&self) -> &Path {
        self.parts.vault.audit_log()
    }

    /// What Vault was asked.
    pub fn vault_audit(&self) -> Result<Vec<VaultLine>> {
        audit::read(self.parts.vault.audit_log())
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("folder", &self.site.folder)
            .finish_non_exhaustive()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.reflection.abort();
        if std::thread::panicking() {
            self.keep_logs();
            // Not by a macro: tests capture what those print, and this stands outside of any one test.
            let _ = writeln!(
                io::stderr(),
                "the lab's logs are kept in `{}`",
                self.folder().display()
            );
        }
    }
}
