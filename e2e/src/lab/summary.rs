//! What is told of a running lab to those outside its process.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{Lab, Part, Tools};

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
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// When that started, in ticks since boot: with the id it names one process only.
    pub started: u64,
    /// Where it listens, if it does.
    pub address: Option<String>,
    /// What answers with success when it is well, if anything does.
    pub health: Option<String>,
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
        for part in Part::ALL {
            let pid = self.process(part).await.pid();
            let (address, health) = self.place(part).await;
            let started = started(pid).unwrap_or_default();
            parts.push(PartSummary {
                name: part.name().into(),
                pid,
                started,
                address,
                health,
            });
        }
        Ok(Summary {
            owner: std::process::id(),
            folder: self.folder().into(),
            parts,
            env: self.env().await?,
        })
    }

    async fn place(&self, part: Part) -> (Option<String>, Option<String>) {
        let at = |address: &str, path: &str| {
            (Some(address.to_owned()), Some(format!("{address}{path}")))
        };
        match part {
            Part::Etcd => at(&self.parts.etcd.address, "/health"),
            Part::ApiServer => at(&self.parts.apiserver.address, "/readyz"),
            Part::ControllerManager => (None, None),
            Part::Vault => at(self.vault().address(), "/v1/sys/health"),
            Part::Postgres => (Some(self.postgres().to_string()), None),
            Part::Operator => at(
                &self.parts.operator.lock().await.health_address(),
                "/readyz",
            ),
        }
    }

    /// The environment that lets a shell use this lab.
    pub async fn env(&self) -> Result<Vec<(String, String)>> {
        let path = |path: &std::path::Path| path.display().to_string();
        let (role_id, secret_id) = self.approle_files();
        let kubectl = Tools::find()?.kubectl()?;
        let tools = kubectl.parent().map(path).unwrap_or_default();
        let set = [
            ("KUBECONFIG", path(self.kubeconfig())),
            ("VAULT_ADDR", self.vault().address().to_owned()),
            ("VAULT_TOKEN", self.vault().token().to_owned()),
            ("LAB_FOLDER", path(self.folder())),
            ("LAB_METRICS_URL", self.metrics_url().await),
            ("LAB_PROBER_KUBECONFIG", path(self.prober_kubeconfig())),
            ("LAB_PROBER_TOKEN_FILE", path(self.prober_token_file())),
            ("LAB_ROLE_ID_FILE", path(role_id)),
            ("LAB_SECRET_ID_FILE", path(secret_id)),
            ("LAB_POSTGRES", self.postgres().to_string()),
            ("PATH", format!("{tools}:$PATH")),
        ];
        Ok(set.map(|(name, value)| (name.to_owned(), value)).into())
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
