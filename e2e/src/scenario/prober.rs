//! The real binary: its configuration, its process, and what came out of it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use vso_prober::model::run::Run;

use super::memory::{Group, JOIN};

/// No invocation takes this long, whatever befalls it.
const LIMIT: Duration = Duration::from_secs(100);

/// The binary, about to be run with a configuration of its own.
#[derive(Clone, Debug)]
pub struct Prober {
    pub(super) program: PathBuf,
    /// Where the configuration is written.
    pub(super) file: PathBuf,
    pub(super) config: Value,
    pub(super) env: Vec<(String, OsString)>,
    /// How much memory it may use, in bytes.
    pub(super) memory: Option<u64>,
    /// How many files it may open.
    pub(super) files: Option<u32>,
    /// Where the records of its runs are kept, if they are.
    pub(super) records: Option<PathBuf>,
}

impl Prober {
    /// Changes the configuration.
    #[must_use]
    pub fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.config);
        self
    }

    /// Is another prober, by its instance.
    #[must_use]
    pub fn instance(self, name: &str) -> Self {
        self.edit(|config| config["instance"] = name.into())
    }

    /// Logs in to Vault like this: the value of `vault.auth`.
    #[must_use]
    pub fn auth(self, auth: Value) -> Self {
        self.edit(|config| config["vault"]["auth"] = auth)
    }

    /// Reaches Vault there.
    #[must_use]
    pub fn vault(self, address: &str) -> Self {
        self.edit(|config| config["vault"]["address"] = address.into())
    }

    /// Reaches Kubernetes by this kubeconfig.
    #[must_use]
    pub fn kubeconfig(self, file: &Path) -> Self {
        self.env("KUBECONFIG", file)
    }

    /// Sets a variable of its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Runs it with no more open files than this.
    #[must_use]
    pub fn open_files(mut self, files: u32) -> Self {
        self.files = Some(files);
        self
    }

    /// Runs its probes once, with these further arguments, and has the runs as JSON.
    pub async fn probe(&self, arguments: &[&str]) -> Result<Outcome> {
        self.run(&[&["probe", "-o", "json"], arguments].concat())
            .await
    }

    /// Judges saved records where there is nothing: no configuration, no environment.
    pub async fn judge(&self, files: &[PathBuf], output: &str) -> Result<Outcome> {
        let mut command = Command::new(&self.program);
        command
            .args(["judge", "-o", output])
            .args(files)
            .env_clear()
            .current_dir("/");
        spawned(command, "judge".to_owned(), None)?.ended().await
    }

    /// Runs it to its end.
    pub async fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        self.start(arguments)?.ended().await
    }

    /// Starts it. Dropping the value kills it.
    pub fn start(&self, arguments: &[&str]) -> Result<Running> {
        let (config, record) = self.recorded(arguments);
        let text = serde_json::to_string_pretty(&config)?;
        fs::write(&self.file, text)
            .with_context(|| format!("could not write `{}`", self.file.display()))?;
        let group = self.memory.map(Group::new).transpose()?;
        let mut command = match (&group, self.files) {
            (None, None) => Command::new(&self.program),
            (None, Some(files)) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", r#"ulimit -n "$0" && exec "$@""#]);
                shell.arg(files.to_string()).arg(&self.program);
                shell
            }
            (Some(group), _) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", JOIN]).arg(group.processes());
                shell.arg(&self.program);
                shell
            }
        };
        for name in [
            "RUST_LOG",
            "VAULT_ADDR",
            "VAULT_TOKEN",
            "VAULT_NAMESPACE",
            "KUBERNETES_SERVICE_HOST",
        ] {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .args(record)
            .env("VSO_PROBER_CONFIG", &self.file)
            .envs(self.env.iter().cloned());
        spawned(command, arguments.join(" "), group)
    }

    /// The configuration and further arguments with which an invocation keeps the records of its runs.
    fn recorded(&self, arguments: &[&str]) -> (Value, Vec<OsString>) {
        let mut config = self.config.clone();
        let Some(folder) = &self.records else {
            return (config, Vec::new());
        };
        if arguments.contains(&"serve") && config["history"].is_null() {
            config["history"] = json!({"path": folder});
        }
        let probes = arguments.contains(&"probe") && !arguments.contains(&"--record");
        let record = probes.then(|| ["--record".into(), folder.into()]);
        (config, record.into_iter().flatten().collect())
    }
}

/// Starts it, with nothing to read.
fn spawned(mut command: Command, arguments: String, group: Option<Group>) -> Result<Running> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    let child = command.spawn();
    let mut child = child.with_context(|| {
        let program = Path::new(command.as_std().get_program());
        format!("could not start `{}`", program.display())
    })?;
    let output = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(stderr)) = output else {
        bail!("the prober has no output");
    };
    Ok(Running {
        child,
        stdout: tokio::spawn(all(stdout)),
        stderr: tokio::spawn(all(stderr)),
        since: Instant::now(),
        arguments,
        group,
    })
}

/// Reads all of it, as it comes: whoever writes to a full pipe stands still.
async fn all(mut from: impl AsyncRead + Unpin) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.read_to_end(&mut text).await.map(|_| text)
}

/// The binary at work.
#[derive(Debug)]
pub struct Running {
    child: Child,
    /// What it has written so far.
    stdout: JoinHandle<io::Result<Vec<u8>>>,
    stderr: JoinHandle<io::Result<Vec<u8>>>,
    since: Instant,
    arguments: String,
    /// What limits its memory. Dropped after the process.
    group: Option<Group>,
}

impl Running {
    /// Its process.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// How many bytes of memory it used at most so far, files it read included.
    ///
    /// # Errors
    /// Its memory is not limited.
    pub fn peak(&self) -> Result<u64> {
        let group = self.group.as_ref().context("its memory is not limited")?;
        group.peak()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        let pid = id.and_then(Pid::from_raw);
        kill_process(pid.context("the prober has ended already")?, signal)
            .with_context(|| format!("could not send {signal:?} to the prober"))
    }

    /// Waits for its end.
    pub async fn ended(self) -> Result<Outcome> {
        let Self {
            mut child,
            stdout,
            stderr,
            since,
            arguments,
            group: _group,
        } = self;
        let ended = async {
            let (status, stdout, stderr) = tokio::join!(child.wait(), stdout, stderr);
            anyhow::Ok((status?, stdout??, stderr??))
        };
        let (status, stdout, stderr) = timeout(LIMIT, ended)
            .await
            .with_context(|| format!("`vso-prober {arguments}` did not end within {LIMIT:?}"))?
            .with_context(|| format!("could not wait for `vso-prober {arguments}`"))?;
        Ok(Outcome {
            arguments,
            code: status.code(),
            signal: status.signal(),
            stdout: String::from_utf8(stdout).context("stdout is not UTF-8")?,
            stderr: String::from_utf8(stderr).context("stderr is not UTF-8")?,
            took: since.elapsed(),
        })
    }
}

/// What came out of an invocation.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How it was invoked.
    pub arguments: String,
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The results.
    pub stdout: String,
    /// The log.
    pub stderr: String,
    /// How long it ran.
    pub took: Duration,
}

impl Outcome {
    /// Insists on an exit code.
    pub fn exits(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "expected the exit code {code} of {self}"
        );
        Ok(self)
    }

    /// The runs, one a line.
    pub fn runs(&self) -> Result<Vec<Run>> {
        let parse = |line: &str| {
            serde_json::from_str(line).with_context(|| format!("`{line}` is no run: {self}"))
        };
        self.stdout.lines().map(parse).collect()
    }

    /// The only run.
    pub fn only_run(&self) -> Result<Run> {
        let mut runs = self.runs()?;
        ensure!(
            runs.len() == 1,
            "expected one run, not {}: {self}",
            runs.len()
        );
        Ok(runs.remove(0))
    }

    /// The only run of this probe.
    pub fn run_of(&self, probe: &str) -> Result<Run> {
        let mut runs = self.runs()?;
        runs.retain(|run| run.probe == probe);
        ensure!(
            runs.len() == 1,
            "expected one run of `{probe}`, not {}: {self}",
            runs.len()
        );
        Ok(runs.remove(0))
    }

    /// Insists that stderr says each of these.
    pub fn says(&self, words: &[&str]) -> Result<()> {
        let missing: Vec<_> = words
            .iter()
            .filter(|word| !self.stderr.contains(**word))
            .collect();
        ensure!(missing.is_empty(), "stderr lacks {missing:?}: {self}");
        Ok(())
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            arguments,
            code,
            signal,
            stdout,
            stderr,
            took,
        } = self;
        write!(
            f,
            "`vso-prober {arguments}` (exit code {code:?}, signal {signal:?}, {took:.1?})\nstdout:\n{stdout}stderr:\n{stderr}"
        )
    }
}
