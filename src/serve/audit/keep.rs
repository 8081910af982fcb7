//! The keeping of what a restart must not lose, and of what has been taken: what is acknowledged survives.

use std::io;
use std::time::Duration;

use jiff::Timestamp;
use tokio::task::block_in_place;
use tokio::time::Instant;

use super::Auditor;
use super::disk::{Kept, Note};
use crate::audit::entry::Entry;
use crate::audit::presence::Line;
use crate::model::time::Moment as _;
use crate::tail::Receipt;

/// How often what was taken is written.
const SAVE: Duration = Duration::from_millis(500);
/// So many batches, or bytes of them, are acknowledged together where they come faster than that: whoever reads waits for it, and has
/// room for twice as many bytes.
const BATCHES: usize = 8;
const BYTES: usize = 2 << 20;
/// How often the whole is written: all that is known, of which some only moves on. As it may be much, writing it takes no more than
/// a thousandth of the time, unless it is a minute old.
const RENEW: Duration = Duration::from_secs(10);
const SHARE: u32 = 1000;
const OLDEST: Duration = Duration::from_secs(60);
/// The whole is written when the journal has grown to this, in bytes, or to twice the whole.
const JOURNAL: u64 = 16 << 20;

/// What was taken and is not acknowledged.
#[derive(Debug, Default)]
pub(super) struct Owed {
    receipts: Vec<Receipt>,
    bytes: usize,
}

impl Owed {
    /// A batch was taken, of so many bytes.
    pub(super) fn add(&mut self, receipt: Receipt, bytes: usize) {
        self.receipts.push(receipt);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether it is so much that it is to be kept now.
    pub(super) const fn is_much(&self) -> bool {
        self.receipts.len() >= BATCHES || self.bytes >= BYTES
    }

    fn acknowledge(&mut self) {
        self.receipts.drain(..).for_each(Receipt::acknowledge);
        self.bytes = 0;
    }
}

/// What was taken and is to be kept.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// What is not written yet.
    fresh: Vec<u8>,
    /// When the operator was there, as it was written last.
    presence: Vec<Line>,
    /// How much was written since the whole was, and how large that is.
    written: u64,
    whole: u64,
    /// When something was written last, and the whole, and how long that took.
    last: Option<Timestamp>,
    renewed: Option<Timestamp>,
    took: Duration,
    /// Whether a finding changed that the whole does not have.
    changed: bool,
    /// Whether it can't be written.
    stuck: bool,
}

impl Journal {
    /// Notes what was taken.
    pub(super) fn taken(&mut self, source: &str, entry: &Entry) {
        self.note(&Note::Taken(source.to_owned(), entry));
    }

    /// Notes when the operator was there, as far as that is new.
    fn watched(&mut self, presence: Vec<Line>, seen: Option<Timestamp>) {
        if let Some(seen) = seen {
            self.note(&Note::<&Entry>::Seen(seen));
        }
        if self.presence != presence {
            self.note(&Note::<&Entry>::Presence(presence.clone()));
            self.presence = presence;
        }
    }

    fn note(&mut self, note: &Note<&Entry>) {
        // Into memory, where nothing fails.
        if serde_json::to_writer(&mut self.fresh, note).is_ok() {
            self.fresh.push(b'\n');
        }
    }

    /// The whole is to be written when it is next asked for.
    pub(super) fn end(&mut self) {
        self.renewed = None;
    }

    /// Whether the whole is to be written now.
    fn renewal_due(&self, now: Timestamp) -> bool {
        let pause = self.took.saturating_mul(SHARE).clamp(RENEW, OLDEST);
        let old = self.renewed.is_none_or(|at| at.later(pause) <= now);
        let long = self.written > JOURNAL.max(2 * self.whole);
        old || long || self.stuck || self.changed && self.due(now)
    }

    /// Whether what is new is to be written now.
    fn due(&self, now: Timestamp) -> bool {
        let pause = if self.fresh.is_empty() && !self.changed {
            RENEW
        } else {
            SAVE
        };
        self.last.is_none_or(|at| at.later(pause) <= now)
    }
}

impl Auditor {
    /// Takes what was taken before a crash and is not in the whole.
    pub(super) fn replay(&mut self, now: Timestamp) {
        for (source, entry) in std::mem::take(&mut self.replayed) {
            self.judge.take(&source, entry, &self.context);
            self.changed
                .extend(self.judge.make_room(&self.context, Some(now)));
        }
    }

    /// Writes what must not be lost, and acknowledges what it holds.
    pub(super) fn keep(&mut self, changed: bool, now: Timestamp) {
        self.journal.changed |= changed;
        // The whole would not have what is to be replayed.
        let written = if self.replayed.is_empty() && self.journal.renewal_due(now) {
            self.renew(now)
        } else if self.journal.due(now) || self.owed.is_much() {
            self.append(now)
        } else {
            Ok(())
        };
        if let Err(error) = written {
            if !std::mem::replace(&mut self.journal.stuck, true) {
                let path = self.config.state.display();
                tracing::error!(%path, %error, "tried to write the audit's state, `audit.state`: lines are not acknowledged until it can be written");
            }
            return;
        }
        if self.journal.fresh.is_empty() {
            self.owed.acknowledge();
        }
    }

    /// Writes the whole.
    fn renew(&mut self, now: Timestamp) -> io::Result<()> {
        let settings = &self.context.settings;
        let old = now.earlier(settings.remember).earlier(settings.grace);
        self.tracker.forget(old);
        self.context.workloads.forget(old);
        self.judge.forget(&self.context, now);
        let begun = Instant::now();
        let presence: Vec<_> = self.tracker.presence(now).lines().collect();
        let mut kept = Kept::new(self.judge.saved(), presence.clone(), self.tracker.seen());
        kept.drilled = self.board.drilled();
        kept.workloads = self.context.workloads.clone();
        // Nothing is copied for it, as it may be much.
        let whole = block_in_place(|| self.disk.write(&kept))?;
        self.journal = Journal {
            presence,
            whole,
            last: Some(now),
            renewed: Some(now),
            took: begun.elapsed(),
            ..Journal::default()
        };
        Ok(())
    }

    /// Writes what was taken since.
    fn append(&mut self, now: Timestamp) -> io::Result<()> {
        let presence = self.tracker.presence(now).lines().collect();
        self.journal.watched(presence, self.tracker.seen());
        let fresh = std::mem::take(&mut self.journal.fresh);
        let bytes = u64::try_from(fresh.len()).unwrap_or(u64::MAX);
        if let Err(error) = block_in_place(|| self.disk.append(&fresh)) {
            // Behind what may be the half of a line.
            self.journal.fresh.push(b'\n');
            self.journal.fresh.extend(fresh);
            return Err(error);
        }
        self.journal.written = self.journal.written.saturating_add(bytes);
        self.journal.last = Some(now);
        Ok(())
    }
}
