//! etcd: one member that never syncs to disk.

use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::process::Command;

use super::part::{Part, Process};
use super::port;
use super::site::Site;

/// A running etcd.
#[derive(Debug)]
pub(crate) struct Etcd {
    pub(crate) process: Process,
    pub(crate) address: String,
}

pub(crate) async fn start(site: &Site) -> Result<Etcd> {
    let client = format!("http://127.0.0.1:{}", port::free()?);
    let peer = format!("http://127.0.0.1:{}", port::free()?);
    let mut command = Command::new(site.tools.etcd()?);
    command
        .arg("--unsafe-no-fsync")
        .arg(format!("--data-dir={}", site.folder.join("etcd").display()))
        .args(["--log-level=warn", "--name=lab"])
        .arg(format!("--listen-client-urls={client}"))
        .arg(format!("--advertise-client-urls={client}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=lab={peer}"));
    let process = site.spawn(Part::Etcd, &mut command)?;
    let health = format!("{client}/health");
    process
        .ready(Duration::from_secs(30), async || {
            let answer = site.http.get(&health).send().await?.text().await?;
            ensure!(answer.contains(r#""health":"true""#), "`{answer}`");
            Ok(())
        })
        .await?;
    Ok(Etcd {
        process,
        address: client,
    })
}
