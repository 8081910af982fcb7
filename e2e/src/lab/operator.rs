//! The operator under test: a real one or the stand-in, as a process that can be hurt.

mod pod;

use std::env;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use kube::Client;
use rustix::process::Signal;
use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use super::OPERATOR_NAMESPACE;
use super::part::{Part, Process};
use super::port;
use super::site::Site;
use pod::Pod;

/// The operator, its ports, and the Pod that stands for its process.
pub(crate) struct Operator {
    site: Arc<Site>,
    kubeconfig: PathBuf,
    metrics: u16,
    health: u16,
    process: Process,
    pod: Pod,
    /// Whether it keeps its tokens in Secrets from its next start on.
    persists: bool,
}

impl Operator {
    pub(crate) async fn start(
        site: &Arc<Site>,
        client: Client,
        kubeconfig: PathBuf,
    ) -> Result<Self> {
        let address = if site.options.node {
            super::node::ADDRESS
        } else {
            Ipv4Addr::LOCALHOST
        };
        let pod = Pod::create(client, address).await?;
        let (metrics, health, process) = port::retry(async || {
            let (metrics, health) = (port::free()?, port::free()?);
            let mut command = command(site, &kubeconfig, metrics, health, &pod, false)?;
            let process = site.spawn(Part::Operator, &mut command)?;
            wait(site, &process, health).await?;
            Ok((metrics, health, process))
        })
        .await?;
        let mut operator = Self {
            site: site.clone(),
            kubeconfig,
            metrics,
            health,
            process,
            pod,
            persists: false,
        };
        operator.reflect().await?;
        Ok(operator)
    }

    pub(crate) fn process(&self) -> &Process {
        &self.process
    }

    /// The address of `/readyz`, and of the stand-in's `/faults`.
    pub(crate) fn health_address(&self) -> String {
        format!("http://127.0.0.1:{}", self.health)
    }

    pub(crate) fn metrics_url(&self) -> String {
        format!("http://127.0.0.1:{}/metrics", self.metrics)
    }

    /// Starts it again after it has ended, on its old ports and as the same Pod, or as another if that was deleted.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        if self.process.exit().is_none() {
            return Ok(());
        }
        self.pod.replace().await?;
        let mut command = command(
            &self.site,
            &self.kubeconfig,
            self.metrics,
            self.health,
            &self.pod,
            self.persists,
        )?;
        self.process = self.site.spawn(Part::Operator, &mut command)?;
        self.pod.restarted();
        wait(&self.site, &self.process, self.health).await?;
        self.reflect().await
    }

    /// Has it keep its tokens in Secrets from its next start on, or not.
    pub(crate) fn keep_tokens(&mut self, keep: bool) {
        self.persists = keep;
    }

    /// Sends a signal that ends it, and waits until it has; SIGKILL follows after 15 s.
    pub(crate) async fn end(&mut self, signal: Signal) -> Result<()> {
        self.process.signal(signal)?;
        if timeout(Duration::from_secs(15), self.process.ended())
            .await
            .is_err()
        {
            self.process.signal(Signal::KILL)?;
            self.process.ended().await;
        }
        self.reflect().await
    }

    /// Ends it, and deletes its Pod.
    pub(crate) async fn scale_down(&mut self) -> Result<()> {
        self.end(Signal::TERM).await?;
        self.pod.remove().await
    }

    /// Writes the state of the process into its Pod, as a kubelet would.
    pub(crate) async fn reflect(&mut self) -> Result<()> {
        let exit = self.process.exit();
        let asked = self
            .site
            .http
            .get(format!("{}/readyz", self.health_address()))
            .send();
        let answered = exit.is_none() && {
            let answer = timeout(Duration::from_millis(500), asked).await;
            answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status().is_success()))
        };
        self.pod.show(exit, answered).await
    }

    /// Tells the stand-in to misbehave.
    pub(crate) async fn faults(&self, faults: &Value) -> Result<()> {
        ensure!(
            self.site.options.operator.is_none(),
            "only the stand-in can be given faults, and VSO_BIN is set"
        );
        let url = format!("{}/faults", self.health_address());
        let response = self
            .site
            .http
            .put(&url)
            .json(faults)
            .send()
            .await
            .with_context(|| format!("PUT {url}"))?;
        let status = response.status();
        if !status.is_success() {
            bail!(
                "PUT {url} of {faults} was answered {status}: {}",
                response.text().await.unwrap_or_default()
            );
        }
        Ok(())
    }
}

async fn wait(site: &Site, process: &Process, health: u16) -> Result<()> {
    let url = format!("http://127.0.0.1:{health}/readyz");
    let asked = async || {
        Ok(site
            .http
            .get(&url)
            .send()
            .await?
            .error_for_status()
            .map(drop)?)
    };
    process.ready(Duration::from_secs(30), asked).await
}

fn command(
    site: &Site,
    kubeconfig: &PathBuf,
    metrics: u16,
    health: u16,
    pod: &Pod,
    persists: bool,
) -> Result<Command> {
    let binary = match &site.options.operator {
        Some(real) => real.binary.clone(),
        None => standin()?,
    };
    let mut command = Command::new(binary);
    if let Some(workers) = site.options.workers {
        command.args(["-max-concurrent-reconciles", &workers.to_string()]);
    }
    if persists {
        command.args(["-client-cache-persistence-model", "direct-unencrypted"]);
    }
    command
        .arg("-kubeconfig")
        .arg(kubeconfig)
        .arg("-leader-elect=false")
        .args(["-metrics-bind-address", &format!("127.0.0.1:{metrics}")])
        .args(["-health-probe-bind-address", &format!("127.0.0.1:{health}")])
        .env("OPERATOR_POD_NAME", pod::NAME)
        .env("OPERATOR_POD_UID", pod.uid())
        .env("OPERATOR_NAMESPACE", OPERATOR_NAMESPACE);
    Ok(command)
}

/// The stand-in, which Cargo builds beside the program that runs the lab.
fn standin() -> Result<PathBuf> {
    let this = env::current_exe()
        .context("could not tell where this program is, to find `standin` beside it")?;
    let found = this
        .ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join("standin"));
    found.clone().find(|path| path.is_file()).with_context(|| {
        let tried: Vec<_> = found.map(|path| format!("`{}`", path.display())).collect();
        format!(
            "found no stand-in operator at {}; run `cargo build -p e2e`",
            tried.join(" or ")
        )
    })
}
