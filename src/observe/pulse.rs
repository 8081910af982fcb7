//! The pulse of the prober itself, and of the API server on which all its watches hang.

use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use tokio::time::{self, Instant, MissedTickBehavior};

use super::{Broadcast, Shared};
use crate::model::timeline::Seen;
use crate::wire::absence;

/// How often the prober looks whether it stands still, and from which gap on it counts. A limit of CPU
/// makes many short gaps, which only their sum tells.
const PULSE: Duration = Duration::from_millis(50);
const STANDSTILL: Duration = Duration::from_millis(40);
/// From which gap on people are told.
const REMARKABLE: Duration = Duration::from_millis(500);

/// Notices when the prober itself stands still: starved of CPU, or stopped.
pub(super) async fn own(shared: Arc<Shared>) {
    let mut ticks = time::interval(PULSE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = ticks.tick().await;
    loop {
        ticks.tick().await;
        let now = Instant::now();
        let gap = now.saturating_duration_since(last).saturating_sub(PULSE);
        if gap >= STANDSTILL {
            if gap >= REMARKABLE {
                tracing::warn!(gap_seconds = gap.as_secs_f64(), "the prober stood still");
            }
            shared.tell_all(now, &Seen::Starved(gap));
        }
        last = now;
    }
}

/// Notices when the API server falls silent: a watch on which nothing comes looks like an operator that does nothing.
pub(super) async fn of_server(client: Client, broadcast: Broadcast) {
    let wanted = broadcast.clone();
    let ask = || {
        let client = client.clone();
        async move {
            let request = http::Request::get("/livez").body(Vec::new()).ok()?;
            match client.request_text(request).await {
                // One that refuses to say how it is does answer.
                Ok(_) | Err(kube::Error::Api(_)) => None,
                Err(_) => Some(Seen::Silence as absence::Kind),
            }
        }
    };
    let tell = |at, what| broadcast.tell(at, &what);
    absence::listen(Seen::Silence, || wanted.wanted(), ask, tell).await;
}
