//! Reloads of the configuration: at SIGHUP, and when the file's content changes.

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
    taken: Result<String, Unread>,
    /// What it says now, if that is something else: taken once it has come to rest.
    pending: Option<Result<String, Unread>>,
    looks: Interval,
    hangup: Signal,
}

/// Why the file can't be read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unread {
    /// What was tried, and what came back.
    pub(super) why: String,
    /// Whether it says nothing of the file, but that the prober is short of something.
    pub(super) own: bool,
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
    /// read. Can be dropped and called again without missing anything. A shortage of the prober's own changes nothing.
    pub(super) async fn changed(&mut self) -> Result<String, Unread> {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => return self.read(),
                _ = self.looks.tick() => {
                    let now = self.look();
                    if now == self.taken || now.as_ref().is_err_and(|unread| unread.own) {
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
    pub(super) fn read(&mut self) -> Result<String, Unread> {
        let now = self.look();
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

    fn look(&self) -> Result<String, Unread> {
        std::fs::read_to_string(&self.file).map_err(|error| Unread {
            why: format!("tried to read {}: {error}", self.file.display()),
            own: error
                .raw_os_error()
                .is_some_and(|code| SHORTAGES.contains(&code)),
        })
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
        let mut source = Source::new(Some(&file), "a".to_owned()).expect("a source");
        let unread = source.read().expect_err("there is none");
        assert!(
            !unread.own && unread.why.contains("c.yaml"),
            "{}",
            unread.why
        );
        std::fs::write(&file, "b").expect("written");
        assert_eq!(source.read(), Ok("b".to_owned()));
        for code in SHORTAGES {
            let short = std::io::Error::from_raw_os_error(code);
            assert!(short.to_string().contains(&code.to_string()));
        }
    }
}
