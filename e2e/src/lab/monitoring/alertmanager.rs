//! An Alertmanager, which tells of alerts by webhooks.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::Value;
use tokio::process::Command;

use super::Server;

/// A running Alertmanager. Dropping it ends it and removes its folder, as does the end of its process.
#[derive(Debug)]
pub struct Alertmanager {
    server: Server,
}

impl Alertmanager {
    /// Starts one with this configuration.
    pub async fn start(configuration: &Value) -> Result<Self> {
        let server = Server::start("alertmanager", async |site, address| {
            // JSON is YAML.
            let config = site.write("alertmanager.yml", configuration.to_string())?;
            let mut command = Command::new(site.tools.alertmanager()?);
            command
                .arg(format!("--config.file={}", config.display()))
                .arg(format!(
                    "--storage.path={}",
                    site.folder.join("data").display()
                ))
                .arg(format!("--web.listen-address={address}"))
                // It has no peers.
                .arg("--cluster.listen-address=")
                .arg("--log.level=warn");
            Ok(command)
        })
        .await?;
        Ok(Self { server })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }
}
