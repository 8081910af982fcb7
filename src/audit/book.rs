//! A book of requests: each once, however often its lines come, and by however many audit devices.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize, Serializer};

use super::key::Key;

/// No more requests are remembered: an hour of 55 a second. Beyond that the earlier half is forgotten.
const LONGEST: usize = 200_000;

/// When each of them was.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(from = "Vec<(Timestamp, Key)>")]
pub(super) struct Book {
    times: BTreeMap<Key, Timestamp>,
    /// Up to when some were forgotten, for want of room.
    cut: Option<Timestamp>,
}

impl Book {
    /// Takes in a request. Says whether others were forgotten for it.
    pub(super) fn add(&mut self, request: Key, at: Timestamp) -> bool {
        let known = self.times.entry(request).or_insert(at);
        *known = at.min(*known);
        let full = self.times.len() > LONGEST;
        if full {
            let mut times: Vec<_> = self.times.values().copied().collect();
            let middle = times.len() / 2;
            let (_, median, _) = times.select_nth_unstable(middle);
            self.times.retain(|_, at| *at > *median);
            self.cut = self.cut.max(Some(*median));
        }
        full
    }

    /// Whether it holds a request.
    pub(super) fn has(&self, request: Key) -> bool {
        self.times.contains_key(&request)
    }

    /// Whether it has everything since `from`.
    pub(super) fn whole(&self, from: Timestamp) -> bool {
        self.cut.is_none_or(|cut| cut < from)
    }

    /// When those were that came at `from` or later, in their order.
    pub(super) fn since(&self, from: Timestamp, counts: impl Fn(Key) -> bool) -> Vec<Timestamp> {
        let late = self.times.iter().filter(|(_, at)| **at >= from);
        let mut times: Vec<_> = late
            .filter(|(request, _)| counts(**request))
            .map(|(_, at)| *at)
            .collect();
        times.sort_unstable();
        times
    }

    /// Forgets what was before `before`.
    pub(super) fn forget(&mut self, before: Timestamp) {
        self.times.retain(|_, at| *at >= before);
    }
}

impl From<Vec<(Timestamp, Key)>> for Book {
    fn from(all: Vec<(Timestamp, Key)>) -> Self {
        Self {
            times: all.into_iter().map(|(at, request)| (request, at)).collect(),
            cut: None,
        }
    }
}

impl Serialize for Book {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.times.iter().map(|(request, at)| (at, request)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: usize) -> Timestamp {
        let second = i64::try_from(second).expect("a second");
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    #[test]
    fn a_request_is_counted_once() {
        let mut book = Book::default();
        for (id, second) in [("1", 5), ("1", 4), ("2", 3), ("1", 6)] {
            book.add(Key::of(id), at(second));
        }
        assert_eq!(book.since(at(0), |_| true), [at(3), at(4)]);
        assert_eq!(book.since(at(4), |_| true), [at(4)]);
        assert!(book.since(at(0), |_| false).is_empty());
        book.forget(at(4));
        assert!(book.has(Key::of("1")) && !book.has(Key::of("2")));
    }

    #[test]
    fn of_more_than_there_is_room_for_the_later_half_stays_and_that_is_known() {
        let mut book = Book::default();
        let mut cuts = 0;
        for number in 0..=LONGEST {
            cuts += usize::from(book.add(Key::of(&number.to_string()), at(number)));
        }
        assert_eq!(cuts, 1);
        let first = book.since(at(0), |_| true)[0];
        assert!(first > at(LONGEST / 2 - 1) && book.times.len() <= LONGEST / 2);
        assert!(book.whole(first) && !book.whole(at(5)));
    }
}
