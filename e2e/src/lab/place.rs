//! The folder that remembers a lab which outlives the command that started it.

use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::Summary;

/// A folder that remembers a lab. The lab's owner holds a lock in it for as long as it lives.
#[derive(Clone, Debug)]
pub struct Place {
    dir: PathBuf,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.dir.display().fmt(f)
    }
}

impl Place {
    /// The one at `dir`, which need not exist.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// What the owner says while it starts and ends.
    pub fn log(&self) -> PathBuf {
        self.dir.join("lab.log")
    }

    fn summary(&self) -> PathBuf {
        self.dir.join("lab.json")
    }

    /// Takes the lock, and makes the folder if it must; `None` if another process has it.
    pub fn lock(&self) -> Result<Option<File>> {
        let tried = || format!("could not lock `{}`", self.lock_file().display());
        fs::create_dir_all(&self.dir).with_context(tried)?;
        let mut options = File::options();
        let file = options
            .create(true)
            .append(true)
            .open(self.lock_file())
            .with_context(tried)?;
        Ok(try_lock(&file).with_context(tried)?.then_some(file))
    }

    /// Whether a lab has an owner here, be it ready or starting.
    pub fn taken(&self) -> Result<bool> {
        let tried = || format!("could not look at `{}`", self.lock_file().display());
        match File::open(self.lock_file()) {
            Ok(file) => Ok(!try_lock(&file).with_context(tried)?),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).with_context(tried),
        }
    }

    fn lock_file(&self) -> PathBuf {
        self.dir.join("lock")
    }

    /// The folder itself.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Forgets what an older lab wrote down. Its owner, if any, must have gone.
    pub fn unready(&self) {
        let _ = fs::remove_file(self.summary());
    }

    /// Whether a lab was written down here.
    pub fn is_ready(&self) -> bool {
        self.summary().exists()
    }

    /// What is known of the lab that runs here.
    pub fn running(&self) -> Result<Summary> {
        if !self.taken()? {
            bail!("no lab runs in `{self}`; `lab up` starts one");
        }
        let path = self.summary();
        let text = fs::read(&path).context("the lab is still starting; try again in a moment")?;
        let summary = serde_json::from_slice(&text);
        summary.with_context(|| format!("`{}` was written by another version", path.display()))
    }

    /// Writes a lab down, at once or not at all: it says that the lab is ready.
    pub fn remember(&self, summary: &Summary) -> Result<()> {
        let whole = self.dir.join("lab.json.new");
        let write = || {
            fs::write(&whole, serde_json::to_vec_pretty(summary)?)?;
            fs::rename(&whole, self.summary())
        };
        write().with_context(|| format!("could not write `{}`", self.summary().display()))
    }

    /// Removes the folder.
    pub fn forget(&self) {
        // What can't be removed is found unlocked the next time, and forgotten then.
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Whether the lock could be had.
fn try_lock(file: &File) -> io::Result<bool> {
    match file.try_lock() {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(error),
    }
}
