//! The wait before the next try; the one place that knows the crate `backoff`.

use std::time::Duration;

use backoff::backoff::Backoff as _;
use backoff::{ExponentialBackoff, ExponentialBackoffBuilder};

/// Waits that grow from 100 ms to 10 s, half as much again each time, spread by half either way.
pub struct Retry(ExponentialBackoff);

impl Default for Retry {
    fn default() -> Self {
        let backoff: ExponentialBackoff = ExponentialBackoffBuilder::new()
            .with_initial_interval(Duration::from_millis(100))
            .with_max_interval(Duration::from_secs(10))
            .with_max_elapsed_time(None)
            .build();
        Self(backoff)
    }
}

impl Retry {
    /// Waits until the next try is due.
    pub async fn wait(&mut self) {
        let wait = self.0.next_backoff().unwrap_or(self.0.max_interval);
        tokio::time::sleep(wait).await;
    }

    /// Starts over after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn waits_grow_to_their_limit_and_start_over() {
        let mut retry = Retry::default();
        let mut waited = Vec::new();
        for _ in 0..20 {
            let start = tokio::time::Instant::now();
            retry.wait().await;
            waited.push(start.elapsed());
        }
        assert!(waited[0] <= Duration::from_millis(151), "{waited:?}");
        assert!(waited[19] >= Duration::from_secs(5), "{waited:?}");
        assert!(
            waited
                .iter()
                .all(|wait| *wait <= Duration::from_millis(15_001)),
            "{waited:?}"
        );
        retry.reset();
        let start = tokio::time::Instant::now();
        retry.wait().await;
        assert!(start.elapsed() <= Duration::from_millis(151));
    }
}
