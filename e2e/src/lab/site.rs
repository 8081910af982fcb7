//! The context in which a part starts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tokio::process::Command;

use super::options::Options;
use super::part::{Part, Process};
use super::tools::Tools;

/// The folder, the tools and the choices of one lab.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    pub(crate) tools: Tools,
    pub(crate) options: Options,
    pub(crate) http: reqwest::Client,
}

impl Site {
    pub(crate) fn new(options: Options) -> Result<Self> {
        let tools = Tools::find()?;
        let folder = tempfile::Builder::new()
            .prefix("vso-prober-lab-")
            .tempdir()
            .context("could not make a temporary folder for the lab")?
            .keep();
        // PostgreSQL runs as a user of its own where this process is root.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711))
            .with_context(|| format!("could not open `{}` to other users", folder.display()))?;
        Ok(Self {
            folder,
            tools,
            options,
            http: http()?,
        })
    }

    /// The name of its folder, which no other lab has.
    pub(crate) fn name(&self) -> String {
        let name = self.folder.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    pub(crate) fn spawn(&self, part: Part, command: &mut Command) -> Result<Process> {
        Process::spawn(part.name(), &self.folder, command)
    }

    pub(crate) fn say(&self, line: &str) {
        tracing::debug!("{line}");
        if let Some(say) = self.options.say {
            say(line);
        }
    }

    /// Writes a file of the lab and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> Result<PathBuf> {
        let path = self.folder.join(name);
        write(&path, content)?;
        Ok(path)
    }
}

/// An HTTP client for loopback.
pub(crate) fn http() -> Result<reqwest::Client> {
    // Without a provider the first client panics; one that is installed already is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build();
    client.context("could not make an HTTP client")
}

fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<()> {
    fs::write(path, content).with_context(|| format!("could not write `{}`", path.display()))
}
