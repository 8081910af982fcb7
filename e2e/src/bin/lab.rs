//! The command `lab`: starts a lab that outlives it, prints how to use it, and stops it.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line's output"
)]

use std::env;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use e2e::lab::{Lab, Options, Place, Summary};
use rustix::process::{Pid, Signal, kill_process};
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
        #[command(flatten)]
        choice: Choice,
    },
    /// Stops the lab and removes it
    Down,
    /// Lists the parts and whether they are well
    Status,
    /// Prints the lines that let a shell use the lab: `eval "$(lab env)"`
    Env,
}

#[derive(Args, Clone, Copy)]
struct Choice {
    /// Has a node too, where Pods run (needs root)
    #[arg(long)]
    node: bool,
    /// Keeps the logs when the lab has gone
    #[arg(long)]
    keep: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let root = || Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name(".lab");
    let place = Place::new(cli.dir.unwrap_or_else(root));
    let outcome = match cli.command {
        Action::Up {
            foreground: true,
            choice,
        } => Box::pin(hold(&place, choice)).await,
        Action::Up {
            foreground: false,
            choice,
        } => up(&place, choice).await,
        Action::Down => down(&place).await,
        Action::Status => status(&place).await,
        Action::Env => place
            .running()
            .and_then(|summary| print(&exports(&summary))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Starts an owner that outlives this command, and shows what it says until the lab is ready.
async fn up(place: &Place, choice: Choice) -> Result<()> {
    let Some(lock) = place.lock()? else {
        let summary = place.running()?;
        let exports = exports(&summary);
        return print(&format!("a lab runs in `{place}` already\n{exports}"));
    };
    place.unready();
    let log = place.log();
    let output =
        File::create(&log).with_context(|| format!("could not write `{}`", log.display()))?;
    // The owner takes it over; of two commands at once, one owner finds it taken and ends.
    drop(lock);
    let mut owner = Command::new(env::current_exe()?);
    owner.args(["up", "--foreground", "--dir"]).arg(place.dir());
    if choice.node {
        owner.arg("--node");
    }
    if choice.keep {
        owner.arg("--keep");
    }
    owner
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .process_group(0);
    let mut owner = Starting(Some(
        owner.spawn().context("could not start the lab's owner")?,
    ));
    let mut log = File::open(&log)?;
    let follow = async {
        loop {
            // Asked before the log is read, so that the last of it is shown.
            let (ended, ready) = (owner.ended()?, place.is_ready());
            let mut news = Vec::new();
            log.read_to_end(&mut news)?;
            print(&String::from_utf8_lossy(&news))?;
            if ended {
                bail!("no lab was started, see above");
            }
            if ready {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        outcome = follow => outcome?,
        () = asked_to_end() => bail!("interrupted; no lab was started"),
    }
    owner.leave();
    Ok(())
}

/// An owner whose lab is not ready yet: it ends when this value drops.
struct Starting(Option<Child>);

impl Starting {
    fn ended(&mut self) -> io::Result<bool> {
        self.0
            .as_mut()
            .map_or(Ok(true), |owner| Ok(owner.try_wait()?.is_some()))
    }

    fn leave(mut self) {
        self.0 = None;
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if let Some(mut owner) = self.0.take() {
            // One that has ended already is only waited for.
            let _ = end(owner.id());
            let _ = owner.wait();
        }
    }
}

/// Owns a lab until it is asked to end.
async fn hold(place: &Place, choice: Choice) -> Result<()> {
    let Some(_lock) = place.lock()? else {
        bail!("a lab runs in `{place}` already; `lab down` stops it");
    };
    place.unready();
    let mut ended = pin!(asked_to_end());
    let options = Options {
        node: choice.node,
        keep: choice.keep,
        say: Some(|line| println!("{line}")),
        ..Options::from_env()?
    };
    let lab = tokio::select! {
        lab = Lab::start_with(options) => lab?,
        () = &mut ended => bail!("interrupted; no lab was started"),
    };
    let summary = lab.summary().await?;
    let (folder, exports) = (summary.folder.display(), exports(&summary));
    print(&format!("ready; its logs are in {folder}\n{exports}"))?;
    place.remember(&summary)?;
    ended.await;
    drop(lab);
    place.forget();
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
    if place.is_ready() && !place.taken()? {
        place.forget();
        return print("the lab had gone already; what was left of it is removed\n");
    }
    let owner = place.running()?.owner;
    end(owner)?;
    let gone = async {
        while place.taken()? {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let late =
        || format!("the lab's owner (pid {owner}) was asked to stop 30 s ago and is still running");
    timeout(Duration::from_secs(30), gone)
        .await
        .with_context(late)??;
    print("the lab is stopped and removed\n")
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
    let mut table = format!("{:<24} {:>8}  {:<24} HEALTH\n", "PART", "PID", "ADDRESS");
    for part in &summary.parts {
        let health = summary.health(part).await;
        ill += usize::from(health.is_err());
        let said = health.map_or_else(|error| format!("{error:#}"), |()| "ok".to_owned());
        let address = part.address.as_deref().unwrap_or("-");
        writeln!(
            table,
            "{:<24} {:>8}  {address:<24} {said}",
            part.part, part.pid
        )?;
    }
    print(&format!("{table}logs: {}\n", summary.folder.display()))?;
    if ill > 0 {
        bail!(
            "{ill} of {} parts are not well; see their logs",
            summary.parts.len()
        );
    }
    Ok(())
}

/// The lines that let a shell use a lab.
fn exports(summary: &Summary) -> String {
    let line = |(name, value): &(String, String)| format!("export {name}=\"{value}\"\n");
    summary.env.iter().map(line).collect()
}

/// Prints to standard output; a reader that has gone, as in `lab env | head -1`, is no failure.
fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        outcome => outcome.context("could not write to standard output"),
    }
}
