//! The history of the runs: the latest in memory, for whoever asks, and those of a while on disk.

mod file;
mod recent;
pub mod records;
mod writer;

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::config::{self, Probe};
use crate::model::record::Record;
use crate::model::run::Run;
use file::DayFiles;
use recent::Recent;
use writer::Writer;

/// The runs of the probes that are in force. What is written to disk is written by a thread of its own: nobody who
/// asks for a run, or adds one, waits for a disk.
#[derive(Debug, Default)]
pub struct History {
    recent: Mutex<Recent>,
    writer: Mutex<Option<Writer>>,
}

impl History {
    /// These probes are in force from now on: the runs of others are forgotten, and none of theirs is added.
    pub fn configure(&self, probes: &[Probe]) {
        self.recent().configure(probes);
    }

    /// Keeps the runs in a folder from now on, and recalls the latest of the configured probes that are there, each of
    /// which is told, the earliest first. It waits for the disk.
    ///
    /// # Errors
    /// The folder can't be made or read. Then nothing is kept there.
    pub fn open(
        &self,
        config: &config::History,
        mut tell: impl FnMut(&Arc<Run>),
    ) -> io::Result<()> {
        let files = DayFiles::open(config)?;
        files.read(|run| {
            let run = Arc::new(run);
            if self.recent().push(run.clone()) {
                tell(&run);
            }
        })?;
        *self.writer() = Some(Writer::start(files)?);
        Ok(())
    }

    /// Adds a run, and its record where that is to be kept. One of a probe that is not configured (any more) is passed
    /// over.
    pub fn append(&self, run: &Arc<Run>, record: Option<Arc<Record>>) {
        if self.recent().push(run.clone())
            && let Some(writer) = &*self.writer()
        {
            writer.write(run, record);
        }
    }

    /// The latest runs, of one probe or of all, the latest first. Each verdict has a place of its own, so that
    /// successes don't push out a failure.
    pub fn latest(&self, probe: Option<&str>, limit: usize) -> Vec<Arc<Run>> {
        self.recent().latest(probe, limit)
    }

    /// The run of this ID.
    pub fn run(&self, id: &str) -> Option<Arc<Run>> {
        self.recent().run(id)
    }

    /// Waits until every run is on disk that is to be kept; no more is from now on.
    pub fn close(&self) {
        let writer = self.writer().take();
        if let Some(writer) = writer {
            writer.end();
        }
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
