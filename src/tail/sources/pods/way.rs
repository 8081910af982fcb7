//! The way of what Pods wrote: it is handed on, and how far that goes is saved once it is acknowledged.

use std::io;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::kept::{Kept, Mark};
use crate::model::text::Text;
use crate::tail::outlet::Outlet;
use crate::tail::{Gap, Piece, SourceName, Status};

/// The way of what the Pods of one source wrote.
#[derive(Clone)]
pub(super) struct Way {
    pub(super) source: SourceName,
    pub(super) kept: Arc<Kept>,
    pub(super) outlet: Outlet,
    pub(super) status: Arc<watch::Sender<Status>>,
}

impl Way {
    /// Hands on what the Pod of this UID wrote, and saves how far that goes once it is acknowledged.
    pub(super) async fn hand_on(
        &self,
        uid: &str,
        pieces: Vec<Piece>,
        mark: Option<&Mark>,
    ) -> Result<(), Text> {
        if pieces.is_empty() {
            return Ok(());
        }
        let lost = || Text::from("its lines were not acknowledged; reading them again");
        let sent = self.outlet.send(&self.source, pieces, &self.status).await;
        let kept = sent.map_err(|_| lost())?;
        kept.await.map_err(|_| lost())?;
        match mark {
            Some(mark) => self.save(uid, Some(mark.clone())).await,
            None => Ok(()),
        }
    }

    /// Saves how far a Pod was read, or forgets it.
    pub(super) async fn save(&self, uid: &str, mark: Option<Mark>) -> Result<(), Text> {
        let (kept, uid) = (self.kept.clone(), uid.to_owned());
        let saved = spawn_blocking(move || kept.save(&uid, mark)).await;
        let saved = saved.map_err(io::Error::other).and_then(|saved| saved);
        saved.map_err(|error| format!("tried to save how far a log was read: {error}").into())
    }

    /// Forgets a Pod that is gone. If something was read of it, and the rest may be lost, that is told.
    pub(super) async fn end(&self, uid: &str, whole: bool) -> Result<(), Text> {
        if self.kept.of(uid).is_none() {
            return Ok(());
        }
        if !whole {
            let gap = vec![Piece::Gap(Gap::Vanished)];
            self.hand_on(uid, gap, None).await?;
        }
        self.save(uid, None).await
    }
}
