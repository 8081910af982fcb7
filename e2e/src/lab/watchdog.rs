//! The watchdog: a small process that outlives the lab's owner, so that nothing of the lab does.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// The environment variable by which each process of a lab shows which one it belongs to.
pub(crate) const MARK: &str = "VSO_PROBER_LAB";

/// Ends every part of a lab and removes its folder when this value drops or its process dies.
///
/// The watchdog reads a pipe whose other end only this process holds: the pipe closes however the
/// process ends, SIGKILL included. It has a process group of its own, so that a Ctrl-C in the
/// terminal ends the owner and not the watchdog.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    folder: PathBuf,
}

impl Watchdog {
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let shell = Command::new("sh")
            .args(["-c", include_str!("watchdog.sh"), "watchdog"])
            .arg(folder)
            .env_remove(MARK)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("could not start the lab's watchdog, `sh`")?;
        Ok(Self {
            shell,
            folder: folder.into(),
        })
    }

    /// Leaves the logs in the folder when the lab has gone.
    pub(crate) fn keep_logs(&self) {
        // Best effort: a folder that can't be written to can't be read from either.
        let _ = fs::write(self.folder.join("keep"), "");
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
