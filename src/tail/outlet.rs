//! The way of batches to whoever judges them: a limited number of bytes is on it at a time.

use std::sync::Arc;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::{Batch, Piece, Receipt, SourceName, Status};

/// How many bytes of lines are in memory at once, of all sources, beyond one batch.
const ROOM: u32 = 4 << 20;
/// How many batches wait to be taken.
const WAITING: usize = 64;

/// The way of batches.
#[derive(Clone)]
pub(super) struct Outlet {
    batches: mpsc::Sender<Batch>,
    room: Arc<Semaphore>,
}

/// Nobody takes batches any more.
pub(super) struct Closed;

impl Outlet {
    pub(super) fn new() -> (Self, mpsc::Receiver<Batch>) {
        let (batches, taken) = mpsc::channel(WAITING);
        let room = Arc::new(Semaphore::new(ROOM as usize));
        (Self { batches, room }, taken)
    }

    /// Sends a batch, once there is room for it. What is returned learns whether it was acknowledged.
    pub(super) async fn send(
        &self,
        source: &SourceName,
        pieces: Vec<Piece>,
        status: &watch::Sender<Status>,
    ) -> Result<oneshot::Receiver<()>, Closed> {
        let bytes: usize = pieces.iter().map(Piece::bytes).sum();
        let room = u32::try_from(bytes).unwrap_or(ROOM).clamp(1, ROOM);
        let room = self.room.clone().acquire_many_owned(room).await;
        let (receipt, kept) = Receipt::new(Some(room.map_err(|_| Closed)?));
        let batch = Batch {
            source: source.clone(),
            pieces,
            receipt,
        };
        self.batches.send(batch).await.map_err(|_| Closed)?;
        status.send_modify(|status| status.bytes += bytes as u64);
        Ok(kept)
    }
}

impl Piece {
    /// How many bytes of a log it stands for, in memory.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Line(line) => line.len(),
            Self::TooLong { .. } | Self::Gap(_) => 0,
        }
    }
}
