//! The writer of runs to disk, a thread of its own: a disk that is slow, or hangs, must hold up nobody else.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::{io, mem};

use super::file::DayFiles;
use crate::model::record::Record;
use crate::model::run::Run;

/// How many runs may wait to be written down.
const WAITING: usize = 64;

/// A run to be written down, and its record if that is to be kept too.
type Waiting = (Arc<Run>, Option<Arc<Record>>);

/// Takes runs to be written down.
#[derive(Debug)]
pub(super) struct Writer {
    runs: SyncSender<Waiting>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Begins to write down in these files.
    pub(super) fn start(files: DayFiles) -> io::Result<Self> {
        let (runs, waiting) = sync_channel(WAITING);
        let thread = thread::Builder::new()
            .name("history".to_owned())
            .spawn(move || write(files, &waiting))?;
        Ok(Self { runs, thread })
    }

    /// Has a run written down, and its record where there is one; does not wait for that.
    pub(super) fn write(&self, run: &Arc<Run>, record: Option<Arc<Record>>) {
        let why = match self.runs.try_send((run.clone(), record)) {
            Ok(()) => return,
            Err(TrySendError::Full(_)) => "earlier ones are still being written",
            Err(TrySendError::Disconnected(_)) => "the writer has ended",
        };
        tracing::warn!(
            error = why,
            run = %run.run,
            "could not store the run in `history.path`"
        );
    }

    /// Waits until all is written down.
    pub(super) fn end(self) {
        let Self { runs, thread } = self;
        mem::drop(runs);
        // It has told of its own end if that was no good one.
        let _ = thread.join();
    }
}

fn write(mut files: DayFiles, waiting: &Receiver<Waiting>) {
    for (run, record) in waiting {
        if let Err(error) = files.append(&run) {
            tracing::warn!(%error, run = %run.run, "could not store the run in `history.path`");
        }
        if let Some(record) = record
            && let Err(error) = files.save(&record, run.finished)
        {
            tracing::warn!(%error, run = %run.run, "could not keep the run's record in `history.path`");
        }
    }
}
