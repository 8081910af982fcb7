//! Shutdown as a value: handed down, asked by every task that waits.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Whether the program has been told to stop, or what it does has lost its leave.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tenure: Option<Tenure>,
}

/// The leave to do something until a moment that is put off again and again. A process that was stopped meanwhile finds by
/// the clock that it has ended, before anybody tells it.
#[derive(Clone, Debug, Default)]
pub struct Tenure(Arc<Mutex<Option<Instant>>>);

impl Tenure {
    /// Puts the end off, or ends it at once.
    pub fn set(&self, until: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    fn is_over(&self) -> bool {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_none_or(|until| Instant::now() >= until)
    }
}

impl Shutdown {
    /// Listens for SIGINT and SIGTERM. The first asks for an orderly end; the second ends the program
    /// at once, as the signal would have done without it.
    pub fn on_signals() -> anyhow::Result<Self> {
        let shutdown = Self::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
        let token = shutdown.token.clone();
        tokio::spawn(async move {
            for told in [false, true] {
                let number = tokio::select! {
                    _ = interrupt.recv() => 2,
                    _ = terminate.recv() => 15,
                };
                if told {
                    exit_at_once(128 + number);
                }
                tracing::info!("shutting down and cleaning up; signal again to stop immediately");
                token.cancel();
            }
        });
        Ok(shutdown)
    }

    /// A shutdown of its own, which also comes with this one.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            token: self.token.child_token(),
            tenure: self.tenure.clone(),
        }
    }

    /// One that also comes when this tenure ends; who waits for it is not woken by that, but who asks learns of it.
    #[must_use]
    pub fn within(tenure: &Tenure) -> Self {
        Self {
            token: CancellationToken::new(),
            tenure: Some(tenure.clone()),
        }
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.token.cancel();
    }

    /// Whether the end has been asked for.
    pub fn asked(&self) -> bool {
        self.token.is_cancelled() || self.tenure.as_ref().is_some_and(Tenure::is_over)
    }

    /// Waits until it is.
    pub async fn wait(&self) {
        self.token.cancelled().await;
    }
}

#[expect(clippy::exit, reason = "the user asked twice")]
fn exit_at_once(code: i32) -> ! {
    std::process::exit(code)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::time::Moment as _;

    #[tokio::test(start_paused = true)]
    async fn a_tenure_ends_by_the_clock() {
        let tenure = Tenure::default();
        let shutdown = Shutdown::within(&tenure);
        assert!(shutdown.asked(), "it has not begun");
        let renew = || tenure.set(Some(Instant::now().later(Duration::from_secs(9))));
        renew();
        let child = shutdown.child();
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(!child.asked());
        renew();
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(!child.asked());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(child.asked() && shutdown.asked());
    }
}
