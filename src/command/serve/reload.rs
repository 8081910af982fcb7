//! When the configuration is to be read again: at SIGHUP, and when the file says something else.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often the file is looked at. What it says is compared, so that a symlink that is swapped, as
/// Kubernetes does with a `ConfigMap`'s, counts like a file that is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The file that holds the configuration.
pub(super) struct Source {
    file: PathBuf,
    /// What it said when it was last taken, or why it could not be read.
    taken: Result<String, String>,
    /// What it says now, if that is something else: taken once it has come to rest.
    pending: Option<Result<String, String>>,
    looks: Interval,
    hangup: Signal,
}

impl Source {
    /// `text` is what the file said when the configuration in force was read from it.
    pub(super) fn new(file: Option<&Path>, text: String) -> anyhow::Result<Self> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            file: file.unwrap_or(Path::new("")).to_owned(),
            taken: Ok(text),
            pending: None,
            looks,
            hangup: signal(SignalKind::hangup()).context("can't listen for SIGHUP")?,
        })
    }

    /// Waits until the configuration is to be read again. Returns the file's text, or why it can't be
    /// read. Can be dropped and called again without missing anything.
    pub(super) async fn changed(&mut self) -> Result<String, String> {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return self.read(),
                _ = self.looks.tick() => {
                    let now = self.look();
                    if now == self.taken {
                        self.pending = None;
                    } else if self.pending.as_ref() == Some(&now) {
                        return self.take(now);
                    } else {
                        self.pending = Some(now);
                    }
                }
            }
        }
    }

    /// Reads the file now.
    pub(super) fn read(&mut self) -> Result<String, String> {
        let now = self.look();
        self.take(now)
    }

    fn take(&mut self, now: Result<String, String>) -> Result<String, String> {
        self.pending = None;
        self.taken.clone_from(&now);
        now
    }

    fn look(&self) -> Result<String, String> {
        std::fs::read_to_string(&self.file)
            .map_err(|error| format!("tried to read {}: {error}", self.file.display()))
    }
}
