//! The reload of the configuration: at SIGHUP, and when the file's content changes.

use std::io::{self, ErrorKind};
use std::mem;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

use crate::wire;

/// How often the file is looked at. What it says is compared, so that a symlink that is swapped, as
/// Kubernetes does with a `ConfigMap`'s, counts like a file that is written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long somebody who asks for a reload waits for the disk.
const READ_LIMIT: Duration = Duration::from_secs(5);

/// The file that holds the configuration. It is read off the runtime's workers: a disk that hangs holds up nobody else.
pub struct ConfigFile {
    file: PathBuf,
    /// What it said when it was last taken, or why it could not be read.
    taken: Result<String, Unread>,
    /// What it says now, if that is something else: taken once it has come to rest.
    pending: Option<Result<String, Unread>>,
    looks: Interval,
    hangup: Signal,
    /// Whether SIGHUP asked for the look under way: what it finds is taken at once.
    asked: bool,
    /// A look that has begun, for as long as it takes.
    under_way: Option<JoinHandle<io::Result<String>>>,
}

/// Why the file can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unread {
    /// What was tried, and what came back.
    pub why: String,
    /// Whether it says nothing of the file, but that the prober is short of something.
    pub own: bool,
}

impl ConfigFile {
    /// `text` is what the file said when the configuration in force was read from it.
    ///
    /// # Errors
    /// The system does not let the program listen for SIGHUP.
    pub fn new(file: Option<&Path>, text: String) -> anyhow::Result<Self> {
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            file: file.unwrap_or(Path::new("")).to_owned(),
            taken: Ok(text),
            pending: None,
            looks,
            hangup: signal(SignalKind::hangup()).context("can't listen for SIGHUP")?,
            asked: false,
            under_way: None,
        })
    }

    /// Waits until the configuration is to be read again. Returns the file's text, or why it can't be
    /// read. Can be dropped and called again without missing anything. A shortage of the prober's own changes nothing.
    ///
    /// # Errors
    /// The file can't be read.
    pub async fn changed(&mut self) -> Result<String, Unread> {
        loop {
            if self.under_way.is_none() {
                tokio::select! {
                    _ = self.hangup.recv() => self.asked = true,
                    _ = self.looks.tick() => {}
                }
            }
            let now = self.look().await;
            let own = now.as_ref().is_err_and(|unread| unread.own);
            if mem::take(&mut self.asked) {
                return if own { now } else { self.take(now) };
            } else if own || now == self.taken {
                self.pending = None;
            } else if self.pending.as_ref() == Some(&now) {
                return self.take(now);
            } else {
                self.pending = Some(now);
            }
        }
    }

    /// Reads the file now.
    ///
    /// # Errors
    /// It can't be read, or that takes too long.
    pub async fn read(&mut self) -> Result<String, Unread> {
        // What began before this was asked may have found what was there before.
        self.under_way = None;
        let now = match timeout(READ_LIMIT, self.look()).await {
            Ok(now) => now,
            Err(_) => Err(self.unread(&ErrorKind::TimedOut.into(), true)),
        };
        if now.as_ref().is_err_and(|unread| unread.own) {
            return now;
        }
        self.take(now)
    }

    fn take(&mut self, now: Result<String, Unread>) -> Result<String, Unread> {
        self.pending = None;
        self.taken.clone_from(&now);
        now
    }

    /// What the file says. A look that has begun goes on if this is dropped meanwhile.
    async fn look(&mut self) -> Result<String, Unread> {
        let file = self.file.clone();
        let look = || spawn_blocking(move || wire::file::text(&file));
        let read = self.under_way.get_or_insert_with(look).await;
        self.under_way = None;
        match read {
            Ok(Ok(text)) => Ok(text),
            Ok(Err(error)) => {
                let code = error.raw_os_error();
                let own = code.is_some_and(|code| SHORTAGES.contains(&code));
                Err(self.unread(&error, own))
            }
            Err(error) => Err(self.unread(&io::Error::other(error), true)),
        }
    }

    fn unread(&self, error: &io::Error, own: bool) -> Unread {
        let file = self.file.display();
        Unread {
            why: format!("tried to read {file}: {error}"),
            own,
        }
    }
}

/// Too many files are open, in the process or in all of the machine; there is no memory (Linux' numbers).
const SHORTAGES: [i32; 3] = [24, 23, 12];

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_can_not_be_read_is_told_from_what_is_not_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("c.yaml");
        let mut source = ConfigFile::new(Some(&file), "a".to_owned()).expect("a file");
        let unread = source.read().await.expect_err("there is none");
        assert!(
            !unread.own && unread.why.contains("c.yaml"),
            "{}",
            unread.why
        );
        std::fs::write(&file, "b").expect("written");
        assert_eq!(source.read().await, Ok("b".to_owned()));
        for code in SHORTAGES {
            let short = std::io::Error::from_raw_os_error(code);
            assert!(short.to_string().contains(&code.to_string()));
        }
    }
}
