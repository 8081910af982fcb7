//! The wait of a run for what Vault's audit log says of its canary.

use std::time::Duration;

use futures::future::BoxFuture;
use tokio::time::{Instant, interval};

use crate::model::time::Moment as _;
use crate::model::trace::{Call, Caller};

/// How long a run waits for the lines of its canary once it is over.
const LIMIT: Duration = Duration::from_secs(2);
/// How often it is looked whether they have come.
const POLL: Duration = Duration::from_millis(100);
/// The operation that removes a secret: the last that a run asks of Vault.
const REMOVAL: &str = "delete";

/// Who can tell what Vault's audit log says of a canary.
pub trait AuditLog: Sync {
    /// The requests for the canary's secret so far, in order; none if nobody can be asked.
    fn calls<'a>(&'a self, canary: &'a str) -> BoxFuture<'a, Option<Vec<Call>>>;
}

/// All of them, once the line of the canary's removal has come, or time is up.
pub(super) async fn heard(log: &dyn AuditLog, canary: &str) -> Vec<Call> {
    let ends = Instant::now().later(LIMIT);
    let mut polls = interval(POLL);
    loop {
        polls.tick().await;
        let Some(calls) = log.calls(canary).await else {
            return Vec::new();
        };
        let removed = |call: &Call| {
            call.by == Caller::Other && *call.operation == *REMOVAL && call.answered.is_some()
        };
        if calls.iter().any(removed) || Instant::now() >= ends {
            return calls;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use jiff::Timestamp;

    use super::*;

    /// One that knows one line more at each look.
    struct Slow(Mutex<usize>, Vec<Call>);

    impl AuditLog for Slow {
        fn calls<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Option<Vec<Call>>> {
            let mut known = self.0.lock().expect("nobody panicked");
            *known += 1;
            std::future::ready(Some(self.1.iter().take(*known).cloned().collect())).boxed()
        }
    }

    fn call(operation: &str) -> Call {
        Call {
            id: operation.into(),
            operation: operation.into(),
            by: Caller::Other,
            asked: Timestamp::UNIX_EPOCH,
            answered: Some(Timestamp::UNIX_EPOCH),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_removal_is_waited_for_and_not_for_long() {
        let lines = vec![call("update"), call("read"), call("delete")];
        let begun = Instant::now();
        let heard_of = heard(&Slow(Mutex::default(), lines), "c").await;
        assert_eq!(heard_of.len(), 3);
        assert!(begun.elapsed() < POLL * 3);
        let begun = Instant::now();
        let heard_of = heard(&Slow(Mutex::default(), vec![call("update")]), "c").await;
        assert_eq!(heard_of.len(), 1);
        assert!(begun.elapsed() >= LIMIT && begun.elapsed() < LIMIT + POLL * 2);
    }
}
