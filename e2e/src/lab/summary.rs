//! The summary of a running lab, for other processes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Lab, Part, Tools, control_plane, site};

/// A running lab, as `lab up` writes it down for the other commands.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Summary {
    /// The process that owns it.
    pub owner: u32,
    /// Its folder, with a log a part.
    pub folder: PathBuf,
    /// Its parts.
    pub parts: Vec<PartSummary>,
    /// The environment for those who use it.
    pub env: Vec<(String, String)>,
}

/// A part of a running lab.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PartSummary {
    /// Which.
    pub part: Part,
    /// Its process.
    pub pid: u32,
    /// When that started, in ticks since boot: with the id it names one process only.
    pub started: u64,
    /// Where it listens, if it does.
    pub address: Option<String>,
}

impl Summary {
    /// Whether a part is well: its process is the one that was started, and it answers.
    pub async fn health(&self, part: &PartSummary) -> Result<()> {
        ensure!(part.alive(), "ended");
        let limit = Duration::from_secs(2);
        let asked = async {
            let Some(address) = &part.address else {
                return Ok(());
            };
            let get = async |path: &str| {
                let answer = site::http()?.get(format!("{address}{path}")).send().await?;
                Ok(answer.error_for_status().map(drop)?)
            };
            match part.part {
                Part::Etcd => get("/health").await,
                Part::Vault => get("/v1/sys/health").await,
                Part::Operator => get("/readyz").await,
                Part::Postgres => Ok(TcpStream::connect(address).await.map(drop)?),
                Part::ApiServer | Part::ControllerManager => {
                    let kubeconfig = fs::read_to_string(self.folder.join("kubeconfig"))?;
                    control_plane::connect(&kubeconfig)
                        .await?
                        .apiserver_version()
                        .await?;
                    Ok(())
                }
                Part::Namespaces | Part::Containerd | Part::Kubelet | Part::Scheduler => Ok(()),
            }
        };
        timeout(limit, asked)
            .await
            .with_context(|| format!("no answer within {limit:?}"))?
    }
}

impl PartSummary {
    /// Whether its process is the one that was started and still runs.
    pub fn alive(&self) -> bool {
        started(self.pid) == Some(self.started)
    }
}

impl Lab {
    /// What it is made of, for those outside its process.
    pub async fn summary(&self) -> Result<Summary> {
        let mut parts = Vec::new();
        for part in self.made_of() {
            let pid = self.process(part).await.pid();
            let started = started(pid).unwrap_or_default();
            parts.push(PartSummary {
                part,
                pid,
                started,
                address: self.address(part).await,
            });
        }
        let (owner, env) = (std::process::id(), self.env().await?);
        Ok(Summary {
            owner,
            folder: self.folder().into(),
            parts,
            env,
        })
    }

    async fn address(&self, part: Part) -> Option<String> {
        match part {
            Part::Etcd => Some(self.parts.etcd.address.clone()),
            Part::ApiServer => Some(self.parts.apiserver.address.clone()),
            Part::ControllerManager
            | Part::Namespaces
            | Part::Containerd
            | Part::Kubelet
            | Part::Scheduler => None,
            Part::Vault => Some(self.vault().address().to_owned()),
            Part::Postgres => Some(self.postgres().to_string()),
            Part::Operator => Some(self.parts.operator.lock().await.health_address()),
        }
    }

    /// The environment that lets a shell use this lab.
    pub async fn env(&self) -> Result<Vec<(String, String)>> {
        let path = |path: &Path| path.display().to_string();
        let (role_id, secret_id) = self.approle_files();
        let tools = Tools::find()?;
        let kubectl = tools.kubectl()?;
        let kubectl = kubectl.parent().map(path).unwrap_or_default();
        let mut set = vec![
            ("KUBECONFIG", path(self.kubeconfig())),
            ("VAULT_ADDR", self.vault().address().to_owned()),
            ("VAULT_TOKEN", self.vault().token().to_owned()),
            ("VSO_PROBER_CONFIG", path(&self.prober_config())),
            ("LAB_FOLDER", path(self.folder())),
            ("LAB_METRICS_URL", self.metrics_url().await),
            ("LAB_PROBER_KUBECONFIG", path(self.prober_kubeconfig())),
            ("LAB_PROBER_TOKEN_FILE", path(self.prober_token_file())),
            ("LAB_ROLE_ID_FILE", path(role_id)),
            ("LAB_SECRET_ID_FILE", path(secret_id)),
            ("LAB_POSTGRES", self.postgres().to_string()),
            ("PATH", format!("{kubectl}:$PATH")),
        ];
        if let Some(node) = self.node() {
            // For `ctr`.
            let ctr = tools.ctr()?;
            let ctr = ctr.parent().map(path).unwrap_or_default();
            set.push(("PATH", format!("{ctr}:$PATH")));
            set.push(("CONTAINERD_ADDRESS", path(node.socket())));
            set.push(("CONTAINERD_NAMESPACE", "k8s.io".to_owned()));
        }
        Ok(set
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect())
    }
}

/// When a process started, in ticks since boot; `None` if it has ended, whether or not it was reaped.
pub(crate) fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, a parenthesis too: what follows its last one is regular.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?;
    // The 22nd of all, the 3rd being the state (proc(5)).
    let started = fields.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(started)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_living_process_has_started() {
        assert!(started(std::process::id()).is_some_and(|ticks| ticks > 0));
        assert_eq!(started(u32::MAX), None);
    }
}
