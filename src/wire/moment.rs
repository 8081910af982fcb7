//! The monotonic clock's moments, as ones that any span may be added to.

use std::time::Duration;

use tokio::time::Instant;

use crate::model::time::{LONGEST, Moment};

impl Moment for Instant {
    fn later(self, by: Duration) -> Self {
        self.checked_add(by.min(LONGEST)).unwrap_or(self)
    }

    fn earlier(self, by: Duration) -> Self {
        self.checked_sub(by.min(LONGEST)).unwrap_or(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_never_beyond_what_can_be_held() {
        let now = Instant::now();
        assert_eq!(now.later(Duration::MAX), now + LONGEST);
        assert_eq!(
            now.later(Duration::from_secs(1)),
            now + Duration::from_secs(1)
        );
        assert!(now.earlier(Duration::MAX) <= now);
    }
}
