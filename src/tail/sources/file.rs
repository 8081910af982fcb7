//! A source that is a file: what is read is handed on, and how far it was acknowledged is saved.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{oneshot, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use super::super::follower::{Follower, Step};
use super::super::outlet::Outlet;
use super::super::position::{Position, Positions};
use super::super::{SourceName, Status};
use crate::config::Begin;
use crate::model::time::Moment as _;
use crate::shutdown::Shutdown;
use crate::wire;

/// How often a file is looked at.
const POLL: Duration = Duration::from_millis(100);
/// How often a position is saved at the most: what was acknowledged since comes again after a crash.
const SAVE_EVERY: Duration = Duration::from_millis(500);
/// How often in a row a file can't be read before that is told: it may be being rotated.
const FAILURES: u32 = 5;
/// How long to wait before what was not acknowledged is sent again.
const AGAIN: Duration = Duration::from_secs(1);
/// How long to wait at the end for acknowledgements.
const LAST: Duration = Duration::from_secs(2);

/// A file that is read as it grows.
pub(super) struct FileSource {
    pub(super) source: SourceName,
    pub(super) path: PathBuf,
    pub(super) begin: Begin,
    pub(super) positions: Arc<Positions>,
    pub(super) outlet: Outlet,
    pub(super) status: watch::Sender<Status>,
}

/// What was handed on, and where it ended.
struct Sent {
    kept: Option<oneshot::Receiver<()>>,
    position: Position,
    /// With it, all has been handed on that was written by then.
    whole: Option<Timestamp>,
}

/// What has become of what was handed on.
enum Settled {
    /// It is acknowledged up to here, where there is news.
    UpTo(Option<Sent>),
    /// It has to be sent again.
    Dropped,
}

impl FileSource {
    /// Reads until the shutdown.
    pub(super) async fn run(self, shutdown: Shutdown) {
        let mut known = self.positions.of(&self.source);
        let mut follower = self.follower(known.as_ref());
        let mut sent: VecDeque<Sent> = VecDeque::new();
        let mut failures = 0;
        let mut unsaved = false;
        // The first is saved at once: the very first start is over then.
        let mut saved_at: Option<Instant> = None;
        let mut polls = interval(POLL);
        polls.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.asked() {
            let begun = Timestamp::now();
            let stepped = spawn_blocking(move || {
                let step = follower.step().map_err(|error| {
                    let absent = wire::file::is_absent(follower.path(), &error);
                    (error, absent)
                });
                (follower, step)
            });
            let Ok((back, step)) = stepped.await else {
                return;
            };
            follower = back;
            let more = match step {
                Ok(step) => {
                    failures = 0;
                    let (more, whole) = (step.more, step.whole);
                    tokio::select! {
                        handed = self.hand_on(step, &mut sent, known.as_ref()) => if !handed { break },
                        () = shutdown.wait() => break,
                    }
                    if whole {
                        match sent.back_mut() {
                            Some(last) => last.whole = Some(begun),
                            None => self.whole(begun),
                        }
                    }
                    more
                }
                Err((error, absent)) => {
                    failures += 1;
                    if failures >= FAILURES {
                        self.down(&error, absent);
                    }
                    false
                }
            };
            match settle(&mut sent) {
                Settled::UpTo(None) => {}
                Settled::UpTo(Some(last)) => {
                    if let Some(until) = last.whole {
                        self.whole(until);
                    }
                    known = Some(last.position);
                    unsaved = true;
                }
                Settled::Dropped => {
                    tracing::warn!(source = %self.source, "audit lines were not acknowledged; sending them again");
                    sent.clear();
                    follower = self.follower(known.as_ref());
                    sleep_until(Instant::now().later(AGAIN)).await;
                }
            }
            if unsaved && saved_at.is_none_or(|at| at.elapsed() >= SAVE_EVERY) {
                unsaved = !self.save(known.clone()).await;
                saved_at = Some(Instant::now());
            }
            if !more {
                tokio::select! {
                    _ = polls.tick() => {}
                    () = shutdown.wait() => {}
                }
            }
        }
        self.end(known, sent).await;
    }

    fn follower(&self, known: Option<&Position>) -> Follower {
        Follower::new(&self.path, known.cloned(), self.begin)
    }

    /// Hands on what a step brought. Whether somebody is there to take it.
    async fn hand_on(
        &self,
        step: Step,
        sent: &mut VecDeque<Sent>,
        known: Option<&Position>,
    ) -> bool {
        let offset = step.position.mark.as_ref().map(|mark| mark.offset);
        let kept = if step.pieces.is_empty() {
            let last = sent.back().map(|sent| &sent.position).or(known);
            if last == Some(&step.position) {
                self.up(offset);
                return true;
            }
            None
        } else {
            let handed = self.outlet.send(&self.source, step.pieces, &self.status);
            match handed.await {
                Ok(kept) => Some(kept),
                Err(_) => return false,
            }
        };
        sent.push_back(Sent {
            kept,
            position: step.position,
            whole: None,
        });
        self.up(offset);
        true
    }

    /// Waits a little for what is still to be acknowledged, and saves how far it was.
    async fn end(&self, mut known: Option<Position>, sent: VecDeque<Sent>) {
        let until = Instant::now().later(LAST);
        for one in sent {
            if let Some(kept) = one.kept
                && !matches!(tokio::time::timeout_at(until, kept).await, Ok(Ok(())))
            {
                break;
            }
            known = Some(one.position);
        }
        self.save(known).await;
    }

    async fn save(&self, position: Option<Position>) -> bool {
        let Some(position) = position else {
            return true;
        };
        let (positions, source) = (self.positions.clone(), self.source.clone());
        let saved = spawn_blocking(move || positions.save(&source, position)).await;
        match saved {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                self.down(&error, false);
                false
            }
            Err(_) => false,
        }
    }

    fn up(&self, offset: Option<u64>) {
        self.status.send_if_modified(|status| {
            let changed = status.down.take().is_some() || status.offset != offset;
            status.offset = offset;
            status.absent = false;
            changed
        });
    }

    fn whole(&self, until: Timestamp) {
        self.status
            .send_modify(|status| status.whole_until = Some(until));
    }

    fn down(&self, error: &io::Error, absent: bool) {
        let why = format!("tried to read {}: {error}", self.path.display());
        self.status.send_if_modified(|status| {
            let why = why.as_str().into();
            let changed = status.down.as_ref() != Some(&why);
            if changed {
                tracing::warn!(source = %self.source, why = %why, "an audit source is down");
            }
            status.down = Some(why);
            status.absent = absent;
            changed
        });
    }
}

/// Takes what is acknowledged, in its order.
fn settle(sent: &mut VecDeque<Sent>) -> Settled {
    let mut last: Option<Sent> = None;
    while let Some(first) = sent.front_mut() {
        match first.kept.as_mut().map(oneshot::Receiver::try_recv) {
            None | Some(Ok(())) => {
                let whole = last.and_then(|last| last.whole);
                last = sent.pop_front().map(|sent| Sent {
                    whole: sent.whole.or(whole),
                    ..sent
                });
            }
            Some(Err(TryRecvError::Empty)) => break,
            Some(Err(TryRecvError::Closed)) => return Settled::Dropped,
        }
    }
    Settled::UpTo(last)
}
