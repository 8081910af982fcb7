//! A part of the lab: its name, and the child process that runs it.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::{interval, timeout};

use super::watchdog::MARK;

/// The parts that a lab is made of.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
pub enum Part {
    /// The store of the API server.
    Etcd,
    /// Kubernetes' API server.
    ApiServer,
    /// Kubernetes' controllers, the garbage collector among them.
    ControllerManager,
    /// OpenBao, or HashiCorp Vault.
    Vault,
    /// The database whose credentials Vault hands out.
    Postgres,
    /// The operator under test, or its stand-in.
    Operator,
    /// What holds the node's namespaces.
    Namespaces,
    /// The runtime of the node's containers.
    Containerd,
    /// Kubernetes' agent on the node.
    Kubelet,
    /// What sends Pods to the node.
    Scheduler,
}

impl Part {
    /// Those of every lab.
    pub const ALL: [Self; 6] = [
        Self::Etcd,
        Self::ApiServer,
        Self::ControllerManager,
        Self::Vault,
        Self::Postgres,
        Self::Operator,
    ];

    /// Those that a lab with a node has besides.
    pub const NODE: [Self; 4] = [
        Self::Namespaces,
        Self::Containerd,
        Self::Kubelet,
        Self::Scheduler,
    ];

    /// Its name, as in the name of its log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Vault => "vault",
            Self::Postgres => "postgres",
            Self::Operator => "operator",
            Self::Namespaces => "node",
            Self::Containerd => "containerd",
            Self::Kubelet => "kubelet",
            Self::Scheduler => "kube-scheduler",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The process of a part. It is ended by the lab's watchdog, not by the drop of this value.
#[derive(Clone, Debug)]
pub struct Process {
    name: &'static str,
    pid: u32,
    log: PathBuf,
    /// Where in the log this process began: it may be the second of its part.
    log_start: u64,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Process {
    /// Starts a part with its output in its log, in a process group of its own so that a Ctrl-C in the
    /// terminal does not reach it before the watchdog does.
    pub(crate) fn spawn(name: &'static str, folder: &Path, command: &mut Command) -> Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .with_context(|| format!("could not open {name}'s log `{}`", log.display()))?;
        let log_start = output.metadata().map_or(0, |metadata| metadata.len());
        let mut child = command
            .env(MARK, folder)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("could not share a log")?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| {
                let program = command.as_std().get_program().display();
                format!("could not start {name} from `{program}`; is it there? `make tools` installs the parts")
            })?;
        let pid = child.id().context("a child just started has an id")?;
        let (sender, exit) = watch::channel(None);
        tokio::spawn(async move {
            if let Ok(status) = child.wait().await {
                let _ = sender.send(Some(status));
            }
        });
        Ok(Self {
            name,
            pid,
            log,
            log_start,
            exit,
        })
    }

    /// Its id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<ExitStatus> {
        *self.exit.borrow()
    }

    /// What it has written since it started.
    pub fn log(&self) -> String {
        let read = || -> std::io::Result<String> {
            let mut file = File::open(&self.log)?;
            file.seek(SeekFrom::Start(self.log_start))?;
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        read().unwrap_or_else(|error| format!("({} can't be read: {error})", self.log.display()))
    }

    /// The last lines of its log.
    pub fn tail(&self, lines: usize) -> String {
        let log = self.log();
        let all: Vec<&str> = log.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// Sends it a signal; one that has ended is left alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        if self.exit().is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw);
        kill_process(pid.context("a child has a valid id")?, signal).with_context(|| {
            format!(
                "could not send {signal:?} to {} (pid {})",
                self.name, self.pid
            )
        })
    }

    /// Waits until it has ended.
    pub async fn ended(&self) -> Option<ExitStatus> {
        let mut exit = self.exit.clone();
        let status = exit.wait_for(Option::is_some).await.ok()?;
        *status
    }

    /// Asks `probe` until it says that the part is ready; fails when the part ends first or takes too long.
    pub(crate) async fn ready<T>(
        &self,
        within: Duration,
        probe: impl AsyncFn() -> Result<T>,
    ) -> Result<T> {
        let mut last = anyhow!("none");
        let mut tick = interval(Duration::from_millis(30));
        let asking = async {
            loop {
                tick.tick().await;
                if let Some(status) = self.exit() {
                    bail!(self.complaint(&format!("ended before it was ready ({status})")));
                }
                match timeout(Duration::from_secs(2), probe()).await {
                    // Another process may have won the port and answered: only one that lives counts.
                    Ok(Ok(ready)) if self.exit().is_none() => return Ok(ready),
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => last = error,
                    Err(_) => last = anyhow!("nothing within 2 s"),
                }
            }
        };
        if let Ok(outcome) = timeout(within, asking).await {
            return outcome;
        }
        bail!(self.complaint(&format!(
            "was not ready within {within:?}; its last answer: {last:#}"
        )))
    }

    /// Fails, with the end of its log, if it has ended.
    pub fn check(&self) -> Result<()> {
        match self.exit() {
            Some(status) => bail!(self.complaint(&format!("ended ({status})"))),
            None => Ok(()),
        }
    }

    fn complaint(&self, what: &str) -> String {
        let Self { name, pid, log, .. } = self;
        let (log, tail) = (log.display(), self.tail(20));
        format!("{name} (pid {pid}) {what}; the end of its log, `{log}`:\n{tail}")
    }
}
