//! The lines of audit logs, in batches that are acknowledged.

mod family;
mod follower;
pub mod forward;
mod identity;
pub mod intake;
mod lines;
mod opened;
mod outlet;
pub mod packed;
mod position;
pub mod sources;
mod store;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::model::name::SourceName;
use crate::model::text::Text;

pub use sources::Sources;

/// The longest line that is handed on, in bytes: a list response of 32 MiB with its envelope fits.
pub const LONGEST_LINE: usize = 33 << 20;

/// What one source had to tell at once, in its order. Dropped without an acknowledgement, it comes again.
#[derive(Debug)]
pub struct Batch {
    /// The source.
    pub source: SourceName,
    /// What it told, the oldest first. Never empty.
    pub pieces: Vec<Piece>,
    /// To be given back once what was made of the pieces is on disk.
    pub receipt: Receipt,
}

/// A part of what a source tells.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Piece {
    /// One line, without its end: mostly one JSON object. It may be torn, the second half of a line, or the first half
    /// of one followed by the whole of it, for `OpenBao` writes a line again after a failed write.
    Line(Bytes),
    /// A line of more than [`LONGEST_LINE`] bytes, which was passed over.
    TooLong {
        /// How many bytes it had.
        bytes: u64,
    },
    /// Lines may be missing here.
    Gap(Gap),
}

/// How a source is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Why it can't be read now; none if it can.
    pub down: Option<Text>,
    /// Whether that is as its file is not there, though its folder is: a node of Vault's that serves nobody writes none.
    pub absent: bool,
    /// How far its file was read, in bytes of what was written; none if it is not a file.
    pub offset: Option<u64>,
    /// Up to when all that was written to its file has been handed on and acknowledged, by the clock of this machine; none
    /// if that can't be told: it is not a file, or was not read to its end since the start.
    pub whole_until: Option<Timestamp>,
    /// How many bytes of lines it has told since the start.
    pub bytes: u64,
}

/// Why lines may be missing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Gap {
    /// A file was cut while it was read, as logrotate's `copytruncate` does it: what was written meanwhile is lost.
    Truncated,
    /// The file that was read last is nowhere to be found, or can't be unpacked.
    Vanished,
}

impl Gap {
    /// Each of them.
    pub const ALL: [Self; 2] = [Self::Truncated, Self::Vanished];

    /// As a label has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::Vanished => "vanished",
        }
    }
}

/// A promise to acknowledge a batch. Until it is kept or dropped, the batch counts as being in memory, so that it holds
/// up the sources if there are many: acknowledge often.
#[derive(Debug)]
pub struct Receipt {
    done: oneshot::Sender<()>,
    room: Option<OwnedSemaphorePermit>,
}

impl Receipt {
    /// A receipt, and what learns of it: an error there means that the batch has to be sent again. It gives back `room`
    /// with its end.
    pub(crate) fn new(room: Option<OwnedSemaphorePermit>) -> (Self, oneshot::Receiver<()>) {
        let (done, kept) = oneshot::channel();
        (Self { done, room }, kept)
    }

    /// Says that what was made of the batch is on disk: its lines may be forgotten where they came from.
    pub fn acknowledge(self) {
        drop(self.room);
        // A source that has ended asks again after its next start.
        let _ = self.done.send(());
    }
}

#[cfg(test)]
mod trials;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_that_is_dropped_is_not_acknowledged() {
        let (receipt, kept) = Receipt::new(None);
        receipt.acknowledge();
        assert_eq!(kept.await, Ok(()));
        let (receipt, kept) = Receipt::new(None);
        drop(receipt);
        assert!(kept.await.is_err());
    }
}
