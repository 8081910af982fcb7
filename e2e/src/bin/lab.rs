//! Starts a lab that outlives the command, says how to use it, and stops it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line's output"
)]

use std::fs::{self, File, TryLockError};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use e2e::lab::{Lab, Options, PartSummary, Summary};
use kube::config::{Config, KubeConfigOptions, Kubeconfig};
use rustix::process::{Pid, Signal, kill_process};
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{sleep, timeout};

/// Real parts to try the prober on: Kubernetes, Vault, PostgreSQL and the operator, on loopback.
#[derive(Parser)]
#[command(name = "lab", version)]
struct Cli {
    #[command(subcommand)]
    command: Action,
    /// The folder that remembers the lab [default: `.lab` at the project's root]
    #[arg(long, global = true)]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Action {
    /// Starts a lab and prints how to use it; `VSO_BIN` with `VSO_CRDS` and `VAULT_BIN` choose other parts
    Up {
        /// Stays with the lab until Ctrl-C
        #[arg(long)]
        foreground: bool,
        /// Keeps the logs when the lab has gone
        #[arg(long)]
        keep: bool,
    },
    /// Stops the lab and removes it
    Down,
    /// Lists the parts and whether they are well
    Status,
    /// Prints the lines that let a shell use the lab: `eval "$(lab env)"`
    Env,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".lab");
    let place = Place {
        dir: cli.dir.unwrap_or_else(root),
    };
    let outcome = match cli.command {
        Action::Up {
            foreground: true,
            keep,
        } => hold(&place, keep).await,
        Action::Up {
            foreground: false,
            keep,
        } => up(&place, keep).await,
        Action::Down => down(&place).await,
        Action::Status => status(&place).await,
        Action::Env => place.running().map(|summary| print_env(&summary)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The folder that remembers a lab. Its owner holds the lock as long as it lives.
struct Place {
    dir: PathBuf,
}

impl Place {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Takes the lock, `None` if another process has it.
    fn lock(&self) -> Result<Option<File>> {
        let path = self.file("lock");
        let tried = || format!("could not lock `{}`", path.display());
        fs::create_dir_all(&self.dir).with_context(tried)?;
        let file = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(tried)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).with_context(tried),
        }
    }

    /// What is known of the lab that runs here.
    fn running(&self) -> Result<Summary> {
        let none = || {
            format!(
                "no lab runs in `{}`; `lab up` starts one",
                self.dir.display()
            )
        };
        if !self.dir.exists() || self.lock()?.is_some() {
            bail!(none());
        }
        let text = fs::read(self.file("lab.json"))
            .context("the lab is still starting; try again in a moment")?;
        serde_json::from_slice(&text).with_context(|| {
            format!(
                "`{}` was not written by this version",
                self.file("lab.json").display()
            )
        })
    }

    /// Forgets a lab that has gone.
    fn forget(&self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Starts an owner that outlives this command, and shows what it says until the lab is ready.
async fn up(place: &Place, keep: bool) -> Result<()> {
    let Some(lock) = place.lock()? else {
        println!("a lab runs in `{}` already", place.dir.display());
        print_env(&place.running()?);
        return Ok(());
    };
    let _ = fs::remove_file(place.file("lab.json"));
    let log = place.file("lab.log");
    let output =
        File::create(&log).with_context(|| format!("could not write `{}`", log.display()))?;
    // The owner takes it over. Another `up` in the moment between would find it taken and stop.
    drop(lock);
    let mut owner = Command::new(std::env::current_exe()?);
    owner.args(["up", "--foreground", "--dir"]).arg(&place.dir);
    if keep {
        owner.arg("--keep");
    }
    let owner = owner
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0)
        .spawn()
        .context("could not start the lab's owner")?;
    let mut owner = Starting { owner: Some(owner) };
    let mut log = File::open(&log)?;
    let follow = async {
        loop {
            let ended = owner.ended()?;
            let mut news = Vec::new();
            log.read_to_end(&mut news)?;
            std::io::stdout().write_all(&news)?;
            if place.file("lab.json").exists() {
                return Ok(());
            }
            if ended {
                bail!("no lab was started, see above");
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        outcome = follow => outcome?,
        () = asked_to_end() => bail!("interrupted; no lab was started"),
    }
    owner.owner = None;
    print_env(&place.running()?);
    Ok(())
}

/// An owner whose lab is not ready yet: it ends when this value drops.
struct Starting {
    owner: Option<Child>,
}

impl Starting {
    fn ended(&mut self) -> Result<bool> {
        Ok(match &mut self.owner {
            Some(owner) => owner.try_wait()?.is_some(),
            None => true,
        })
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(mut owner) = self.owner.take() {
            let _ = end(owner.id());
            let _ = owner.wait();
        }
    }
}

/// Owns a lab until it is asked to end.
async fn hold(place: &Place, keep: bool) -> Result<()> {
    let Some(lock) = place.lock()? else {
        bail!(
            "a lab runs in `{}` already; `lab down` stops it",
            place.dir.display()
        );
    };
    let say = |line: &str| println!("{line}");
    let options = Options {
        keep,
        say: Some(say),
        ..Options::from_env()?
    };
    let lab = tokio::select! {
        lab = Lab::start_with(options) => lab?,
        () = asked_to_end() => bail!("interrupted; no lab was started"),
    };
    let summary = lab.summary().await?;
    // At once or not at all: it says that the lab is ready.
    let written = place.file("lab.json.new");
    fs::write(&written, serde_json::to_vec_pretty(&summary)?)?;
    println!("ready, with its logs in {}", summary.folder.display());
    fs::rename(written, place.file("lab.json"))?;
    asked_to_end().await;
    drop(lab);
    place.forget();
    drop(lock);
    Ok(())
}

/// Waits for Ctrl-C or SIGTERM. A hangup is no reason to end: the lab outlives its terminal.
async fn asked_to_end() {
    let on = |kind: SignalKind| signal(kind).expect("these signals can be listened to");
    let (mut interrupt, mut terminate, mut hangup) = (
        on(SignalKind::interrupt()),
        on(SignalKind::terminate()),
        on(SignalKind::hangup()),
    );
    loop {
        tokio::select! {
            _ = interrupt.recv() => return,
            _ = terminate.recv() => return,
            _ = hangup.recv() => {}
        }
    }
}

async fn down(place: &Place) -> Result<()> {
    let summary = match place.running() {
        Ok(summary) => summary,
        Err(error) if place.dir.join("lab.json").exists() => {
            place.forget();
            bail!("{error:#}; what was left of an older one is removed");
        }
        Err(error) => return Err(error),
    };
    end(summary.owner)?;
    let gone = async {
        while place.dir.exists() && place.lock().is_ok_and(|lock| lock.is_none()) {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(Duration::from_secs(30), gone)
        .await
        .with_context(|| {
            format!(
                "the lab's owner (pid {}) was asked to end 30 s ago and has not",
                summary.owner
            )
        })?;
    println!("the lab is stopped and removed");
    Ok(())
}

fn end(pid: u32) -> Result<()> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("an owner has a valid id")?;
    kill_process(pid, Signal::TERM).context("could not ask the lab's owner to end")
}

async fn status(place: &Place) -> Result<()> {
    let summary = place.running()?;
    let mut ill = 0;
    println!("{:<24} {:>8}  {:<24} HEALTH", "PART", "PID", "ADDRESS");
    for part in &summary.parts {
        let health = health(&summary, part).await;
        ill += usize::from(health.is_err());
        let said = health.map_or_else(|error| format!("{error:#}"), |()| "ok".to_owned());
        println!(
            "{:<24} {:>8}  {:<24} {said}",
            part.name,
            part.pid,
            part.address.as_deref().unwrap_or("-")
        );
    }
    println!("logs: {}", summary.folder.display());
    if ill > 0 {
        bail!(
            "{ill} of {} parts are not well; see their logs",
            summary.parts.len()
        );
    }
    Ok(())
}

async fn health(summary: &Summary, part: &PartSummary) -> Result<()> {
    if !part.alive() {
        bail!("ended");
    }
    let asked = async {
        match (&part.health, &part.address) {
            (Some(url), _) if url.starts_with("https:") => kubernetes(summary).await,
            (Some(url), _) => Ok(reqwest::get(url).await?.error_for_status().map(drop)?),
            (None, Some(address)) => Ok(TcpStream::connect(address.parse::<SocketAddr>()?)
                .await
                .map(drop)?),
            (None, None) => Ok(()),
        }
    };
    timeout(Duration::from_secs(2), asked)
        .await
        .context("no answer within 2 s")?
}

async fn kubernetes(summary: &Summary) -> Result<()> {
    let path = summary.folder.join("kubeconfig");
    let config =
        Config::from_custom_kubeconfig(Kubeconfig::read_from(path)?, &KubeConfigOptions::default())
            .await?;
    kube::Client::try_from(config)?.apiserver_version().await?;
    Ok(())
}

fn print_env(summary: &Summary) {
    for (name, value) in &summary.env {
        println!("export {name}=\"{value}\"");
    }
}
