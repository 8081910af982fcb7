//! The harness of the end-to-end scenarios: one lab a suite, the real binary in it, and the check that nothing is left behind.
//!
//! A scenario is an `async fn(&Scene) -> Result<()>`; a [`Suite`] has them one after the other, and [`run`] runs suites side by side.

mod claims;
mod crowd;
mod folder;
mod inventory;
mod line;
mod memory;
mod pressure;
mod probe;
mod prober;
mod proxy;
mod recording;
mod records;
mod relay;
mod scene;
mod server;
mod shell;
mod suite;
mod tap;
mod theft;

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::{interval, timeout};

pub use claims::{blames, decisive, pods_tell, step};
pub use crowd::Crowd;
pub use inventory::Inventory;
pub use line::Line;
pub use memory::SHIPPED;
pub use probe::{Probe, hashicorp};
pub use prober::{Outcome, Prober, Running};
pub use proxy::Proxy;
pub use recording::Recording;
pub use relay::Relay;
pub use scene::Scene;
pub use server::Server;
pub use suite::{Suite, run};
pub use tap::Tap;
pub use theft::ATTACKER;

/// Asks `question` until it has an answer; `what` completes "there was no …".
pub async fn eventually<T>(
    what: &str,
    within: Duration,
    question: impl AsyncFn() -> Result<Option<T>>,
) -> Result<T> {
    let asked = async {
        let mut tick = interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if let Some(answer) = question().await? {
                return Ok(answer);
            }
        }
    };
    timeout(within, asked)
        .await
        .with_context(|| format!("there was no {what} within {within:?}"))?
}
