//! One open watch: a task of its own reads its lines and stamps each at receipt, whatever else is being done.

use std::sync::Arc;

use futures::io::{AsyncBufRead, AsyncBufReadExt as _};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// How many bytes of lines may wait to be looked at: then no more is read, and what comes next is stamped late.
const WAITING: u32 = 4 << 20;

/// A line of a watch.
#[derive(Debug)]
pub(super) struct Line {
    /// When it was received.
    pub(super) at: Instant,
    /// Its bytes.
    pub(super) bytes: Vec<u8>,
    /// Its share of the room, which it gives back when it has been looked at.
    _room: OwnedSemaphorePermit,
}

/// An open watch. Dropping it closes it.
pub(super) struct Source {
    lines: mpsc::UnboundedReceiver<Line>,
    _reader: JoinSet<()>,
}

impl Source {
    /// Begins to read.
    pub(super) fn start(reader: impl AsyncBufRead + Unpin + Send + 'static) -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        let mut task = JoinSet::new();
        task.spawn(read(reader, sender));
        Self {
            lines,
            _reader: task,
        }
    }

    /// The next line, unless the watch is at its end. Can be dropped and called again without losing any.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }
}

async fn read(mut reader: impl AsyncBufRead + Unpin, lines: mpsc::UnboundedSender<Line>) {
    let room = Arc::new(Semaphore::new(WAITING as usize));
    loop {
        let mut bytes = Vec::new();
        // Where the connection broke, all that matters is how long it takes to open another.
        let read = reader.read_until(b'\n', &mut bytes).await;
        let at = Instant::now();
        if let Err(error) = read {
            tracing::debug!(%error, "a watch was cut");
            return;
        }
        if bytes.is_empty() {
            return;
        }
        let length = u32::try_from(bytes.len()).unwrap_or(WAITING).min(WAITING);
        let Ok(share) = room.clone().acquire_many_owned(length).await else {
            return;
        };
        let line = Line {
            at,
            bytes,
            _room: share,
        };
        if lines.send(line).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_come_one_by_one() {
        let mut source = Source::start(&b"a\n\nbc"[..]);
        let mut read = Vec::new();
        while let Some(line) = source.next().await {
            read.push(line.bytes);
        }
        assert_eq!(read, [&b"a\n"[..], b"\n", b"bc"]);
    }

    #[tokio::test]
    async fn what_waits_is_bounded() {
        let line = [vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        let many: &'static [u8] = line.repeat(8).leak();
        let mut source = Source::start(many);
        let mut seen = 0;
        while let Some(line) = source.next().await {
            assert!(source.lines.len() <= 4, "{}", source.lines.len());
            seen += line.bytes.len();
        }
        assert_eq!(seen, many.len());
    }
}
