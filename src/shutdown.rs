//! Shutdown as a value: handed down, asked by every task that waits.

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Whether the program has been told to stop.
#[derive(Clone, Debug, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// Listens for SIGINT and SIGTERM. The first asks for an orderly end; the second ends the program
    /// at once, as the signal would have done without it.
    pub fn on_signals() -> anyhow::Result<Self> {
        let shutdown = Self::default();
        let mut interrupt = signal(SignalKind::interrupt()).context("can't listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("can't listen for SIGTERM")?;
        let token = shutdown.0.clone();
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
        Self(self.0.child_token())
    }

    /// Asks for the end.
    pub fn ask(&self) {
        self.0.cancel();
    }

    /// Whether the end has been asked for.
    pub fn asked(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Waits until it is.
    pub async fn wait(&self) {
        self.0.cancelled().await;
    }
}

#[expect(clippy::exit, reason = "the user asked twice")]
fn exit_at_once(code: i32) -> ! {
    std::process::exit(code)
}
