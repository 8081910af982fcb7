//! PostgreSQL: a fresh cluster, its superuser trusted and everyone else asked for a password.

use std::ffi::OsStr;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use super::part::{Part, Process};
use super::port;
use super::site::Site;
use super::tools::Tools;
use super::watchdog::MARK;

/// So that a credential proves something: only its right password lets its user in.
const ACCESS: &str = "\
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// Safe to lose, quick to start, small.
const SETTINGS: [&str; 6] = [
    "fsync=off",
    "listen_addresses=127.0.0.1",
    "autovacuum=off",
    "shared_buffers=16MB",
    "max_wal_senders=0",
    "wal_level=minimal",
];

/// A running PostgreSQL.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(crate) process: Process,
    pub(crate) address: SocketAddr,
}

/// Makes the data folder.
pub(crate) async fn init(site: &Site) -> Result<()> {
    let data = site.folder.join("postgres");
    if rustix::process::geteuid().is_root() {
        let owner = ["-d", "-o", "postgres", "-g", "postgres", "-m", "0700"];
        let mut install = Command::new("install");
        run(site, install.args(owner).arg(&data)).await?;
    }
    let mut initdb = as_postgres(&Tools::postgres()?.join("initdb"));
    initdb.args([
        "-A",
        "trust",
        "-U",
        "postgres",
        "--no-sync",
        "--no-instructions",
        "--locale=C",
        "-E",
        "UTF8",
        "-D",
    ]);
    run(site, initdb.arg(&data)).await?;
    // Written over an existing file, whose owner it keeps.
    let access = data.join("pg_hba.conf");
    fs::write(&access, ACCESS).with_context(|| format!("could not write `{}`", access.display()))
}

pub(crate) async fn start(site: &Site) -> Result<Postgres> {
    let data = site.folder.join("postgres");
    let port = port::free()?;
    let mut command = as_postgres(&Tools::postgres()?.join("postgres"));
    command
        .arg("-D")
        .arg(&data)
        .args(["-p", &port.to_string(), "-k"])
        .arg(&data);
    for setting in SETTINGS {
        command.args(["-c", setting]);
    }
    let process = site.spawn(Part::Postgres, &mut command)?;
    let status = data.join("postmaster.pid");
    process
        .ready(Duration::from_secs(30), async || {
            // Its last line says how far it is; no other process can have written it.
            let text = fs::read_to_string(&status).unwrap_or_default();
            let last = text.lines().last().unwrap_or_default().trim();
            ensure!(last == "ready", "its `postmaster.pid` ends in `{last}`");
            Ok(())
        })
        .await?;
    let address = (Ipv4Addr::LOCALHOST, port).into();
    Ok(Postgres { process, address })
}

/// PostgreSQL refuses to run as root, so root hands it to the user that Debian's package makes.
fn as_postgres(program: &Path) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args([
            "--reuid=postgres",
            "--regid=postgres",
            "--init-groups",
            "--",
        ])
        .arg(program);
    command
}

async fn run(site: &Site, command: &mut Command) -> Result<()> {
    let shown: Vec<_> = command
        .as_std()
        .get_args()
        .map(OsStr::to_string_lossy)
        .collect();
    let shown = format!(
        "{} {}",
        PathBuf::from(command.as_std().get_program()).display(),
        shown.join(" ")
    );
    let output = command
        .current_dir("/")
        .env(MARK, &site.folder)
        .output()
        .await
        .with_context(|| format!("could not run `{shown}` to set up PostgreSQL"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let hint = if said.contains("Permission denied") {
            "; the user `postgres` must be able to reach the lab's folder: set TMPDIR to another"
        } else {
            ""
        };
        bail!(
            "`{shown}` failed while setting up PostgreSQL ({}): {}{hint}",
            output.status,
            said.trim()
        );
    }
    Ok(())
}
