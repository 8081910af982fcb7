//! The pairs of an audit log: Vault writes a line for each request and one for its response. A half alone tells of a lost line, or
//! of a Vault that ended in between.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use jiff::Timestamp;

use super::entry::{Half, VaultEntry};
use crate::model::time::Moment as _;

/// How much later than the one half the other may be written, and how long a half that comes again is known as such.
const PATIENCE: Duration = Duration::from_secs(120);
/// No more halves are waited for: 120 s of 400 requests a second. Beyond that the oldest are given up uncounted.
const LONGEST: usize = 50_000;

/// The halves of a source's requests, of late.
#[derive(Clone, Debug, Default)]
pub struct Pairs {
    halves: HashMap<u64, Seen>,
    /// By when they came.
    order: VecDeque<(Timestamp, u64)>,
    /// The time of the first line, and of the latest.
    first: Option<Timestamp>,
    latest: Option<Timestamp>,
}

/// Which halves of a request came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Seen {
    One(Half),
    Both,
}

impl Pairs {
    /// Takes in a line. Returns how many halves have turned out to be alone.
    pub fn take(&mut self, entry: &VaultEntry) -> u64 {
        let mut hasher = DefaultHasher::new();
        entry.id.hash(&mut hasher);
        let id = hasher.finish();
        self.first.get_or_insert(entry.time);
        self.latest = self.latest.max(Some(entry.time));
        match self.halves.get_mut(&id) {
            Some(seen) if *seen == Seen::One(entry.half) => {}
            Some(seen) => *seen = Seen::Both,
            None => {
                self.halves.insert(id, Seen::One(entry.half));
                self.order.push_back((entry.time, id));
            }
        }
        if self.order.len() > LONGEST {
            self.forget();
        }
        self.settle()
    }

    fn forget(&mut self) -> Option<(Timestamp, Seen)> {
        let (time, id) = self.order.pop_front()?;
        Some((time, self.halves.remove(&id)?))
    }

    /// Lets go of what is old enough.
    fn settle(&mut self) -> u64 {
        let mut alone = 0;
        while let (Some((time, _)), Some(latest)) = (self.order.front(), self.latest) {
            if time.later(PATIENCE) >= latest {
                break;
            }
            if let Some((time, Seen::One(half))) = self.forget() {
                // The request of one of the first responses may be before the first line.
                let early = self.first.is_some_and(|first| time < first.later(PATIENCE));
                if half == Half::Request || !early {
                    alone += 1;
                }
            }
        }
        alone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::entry::{Entry, parse};

    fn entry(id: &str, kind: &str, second: i64) -> VaultEntry {
        let time = Timestamp::from_second(1_800_000_000 + second).expect("a time");
        let line = serde_json::json!({
            "time": time, "type": kind,
            "request": {"id": id, "operation": "read", "path": "kvv2/data/a"},
        });
        match parse(line.to_string().as_bytes()) {
            Ok(Entry::Vault(entry)) => entry,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_half_alone_is_told_once_no_other_can_come() {
        let mut pairs = Pairs::default();
        let mut alone = 0;
        let mut take = |id: &str, kind: &str, second| {
            alone += pairs.take(&entry(id, kind, second));
            alone
        };
        take("early", "response", 0);
        for second in 0..300 {
            let id = format!("r{second}");
            take(&id, "request", second);
            take(&id, "response", second);
            if second % 7 == 0 {
                take(&id, "response", second);
            }
        }
        assert_eq!(take("lost", "request", 300), 0);
        assert_eq!(take("late", "request", 301), 0);
        assert_eq!(take("late", "response", 400), 0);
        assert_eq!(take("other", "response", 410), 0);
        assert_eq!(take("x", "request", 421), 1, "lost");
        assert_eq!(take("x", "response", 535), 2, "other");
    }
}
