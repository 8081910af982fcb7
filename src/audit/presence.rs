//! The presence of the operator: when its Pods were there, and at which addresses.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::address::{self, Mode};
use crate::model::text::Text;
use crate::model::time::Moment as _;

/// A Pod of the operator's, from when it was first there until it was gone.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Stay {
    /// The Pod's name.
    pub pod: Text,
    /// Its address; `None` as long as it has none.
    #[serde(default, deserialize_with = "read_address")]
    pub address: Option<IpAddr>,
    /// Its further addresses, in a cluster of two stacks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<IpAddr>,
    /// Its node's address.
    #[serde(default, deserialize_with = "read_address")]
    pub node_address: Option<IpAddr>,
    /// Its node's further addresses.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub node_further: Vec<IpAddr>,
    /// When it was there for the first time.
    pub from: Timestamp,
    /// When it was gone; `None` if it is there.
    #[serde(default)]
    pub to: Option<Timestamp>,
}

impl Stay {
    /// Whether it was there at some time in this span.
    fn overlaps(&self, from: Timestamp, to: Timestamp) -> bool {
        self.from <= to && self.to.is_none_or(|end| end >= from)
    }

    /// The addresses from which its requests may come.
    fn has(&self, address: IpAddr, mode: Mode) -> bool {
        self.own(address) || mode == Mode::Node && self.of_node(address)
    }

    /// Whether an address is the Pod's.
    pub(super) fn own(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    /// Whether an address is its node's.
    pub(super) fn of_node(&self, address: IpAddr) -> bool {
        self.node_address == Some(address) || self.node_further.contains(&address)
    }

    /// The Pod's addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.address.into_iter().chain(self.further.iter().copied())
    }
}

/// A time in which the operator held its Lease, or in which nothing is known of it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Span {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end; `None` if it goes on.
    #[serde(default)]
    pub to: Option<Timestamp>,
}

impl Span {
    fn overlaps(&self, from: Timestamp, to: Timestamp) -> bool {
        self.from <= to && self.to.is_none_or(|end| end >= from)
    }
}

/// A line of `--presence` and of `GET /api/v1/audit/presence`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Line {
    /// A Pod was there.
    Stay(Stay),
    /// The Lease was held.
    Lease {
        /// When.
        lease: Span,
    },
    /// Nobody watched the Pods.
    Gap {
        /// When.
        gap: Span,
    },
    /// Another Pod had an address that was one of the operator's.
    Next {
        /// Which.
        next: Stay,
    },
}

/// When the operator was there, and what of that is known.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Presence {
    stays: Vec<Stay>,
    leases: Vec<Span>,
    gaps: Vec<Span>,
    next: Vec<Stay>,
}

impl Presence {
    /// What these lines say, in any order.
    pub fn new(lines: impl IntoIterator<Item = Line>) -> Self {
        let mut presence = Self::default();
        for line in lines {
            match line {
                Line::Stay(stay) => presence.stays.push(stay),
                Line::Lease { lease } => presence.leases.push(lease),
                Line::Gap { gap } => presence.gaps.push(gap),
                Line::Next { next } => presence.next.push(next),
            }
        }
        presence.stays.sort();
        presence.stays.dedup();
        presence
    }

    /// The same as lines.
    pub fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        let stays = self.stays.iter().cloned().map(Line::Stay);
        let leases = self
            .leases
            .iter()
            .map(|lease| Line::Lease { lease: *lease });
        let gaps = self.gaps.iter().map(|gap| Line::Gap { gap: *gap });
        let next = self
            .next
            .iter()
            .map(|next| Line::Next { next: next.clone() });
        stays.chain(leases).chain(gaps).chain(next)
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.stays.is_empty() && self.gaps.is_empty()
    }

    /// Whether it is known who was there throughout this span: from the first Pod on, or from the end of a gap, but for the
    /// gaps.
    pub fn known(&self, from: Timestamp, to: Timestamp) -> bool {
        let stays = self.stays.iter().map(|stay| stay.from);
        let gaps = self.gaps.iter().filter_map(|gap| gap.to);
        let first = stays.chain(gaps).min();
        first.is_some_and(|first| first <= from)
            && !self.gaps.iter().any(|gap| gap.overlaps(from, to))
    }

    /// Whether anybody had looked by then. In a gap after that, the Pods before and after it tell whose an address was.
    pub fn begun(&self, at: Timestamp) -> bool {
        let stays = self.stays.iter().map(|stay| stay.from);
        let gaps = self.gaps.iter().filter_map(|gap| gap.to);
        let first = stays.chain(gaps).min();
        let before = |gap: &Span| gap.from == Timestamp::UNIX_EPOCH && gap.overlaps(at, at);
        first.is_some_and(|first| first <= at) && !self.gaps.iter().any(before)
    }

    /// The Pods that were there at some time within `slack` of `at`. One that is not ready, or terminating, is there.
    pub fn around(&self, at: Timestamp, slack: Duration) -> impl Iterator<Item = &Stay> {
        let (from, to) = (at.earlier(slack), at.later(slack));
        self.stays
            .iter()
            .filter(move |stay| stay.overlaps(from, to))
    }

    /// Whether a Lease was held at some time within `slack` of `at`.
    pub fn leased(&self, at: Timestamp, slack: Duration) -> bool {
        let (from, to) = (at.earlier(slack), at.later(slack));
        self.leases.iter().any(|lease| lease.overlaps(from, to))
    }

    /// Whether an address was one of the operator's at some time within `slack` of `at`.
    pub fn has(&self, address: IpAddr, mode: Mode, at: Timestamp, slack: Duration) -> bool {
        self.around(at, slack).any(|stay| stay.has(address, mode))
    }

    /// Whether an address was that of a Pod of the operator's at a time.
    pub fn owns(&self, address: IpAddr, at: Timestamp, error: Duration) -> bool {
        self.around(at, error).any(|stay| stay.own(address))
    }

    /// Whether an address of a Pod that has gone was another Pod's by a time.
    pub fn taken_over(&self, address: IpAddr, at: Timestamp, error: Duration) -> bool {
        let (from, to) = (at.later(error), at.earlier(error));
        let own = self.owns(address, at, error);
        let mut next = self.next.iter().filter(|next| next.own(address));
        !own && next.any(|next| next.overlaps(from, to))
    }

    /// The mode that an address speaks for, of a request that was the operator's beyond doubt.
    pub fn mode_of(&self, address: IpAddr, at: Timestamp, slack: Duration) -> Option<Mode> {
        let mut node = None;
        for stay in self.around(at, slack) {
            if stay.own(address) {
                return Some(Mode::Pod);
            }
            if stay.of_node(address) {
                node = Some(Mode::Node);
            }
        }
        node
    }

    /// The last Pods that had this address before, or have it now, the operator's and others.
    pub fn holders(&self, address: IpAddr) -> impl Iterator<Item = &Stay> {
        let mut all: Vec<_> = self.stays.iter().chain(&self.next).collect();
        all.retain(|stay| stay.own(address));
        all.sort_by_key(|stay| stay.from);
        all.into_iter().rev()
    }

    /// Forgets what ended before `before`.
    pub fn forget(&mut self, before: Timestamp) {
        let old = |to: Option<Timestamp>| to.is_some_and(|to| to < before);
        // The last of the old ones says since when it is known who was there.
        let latest = self.stays.iter().filter(|stay| old(stay.to)).max().cloned();
        self.stays
            .retain(|stay| !old(stay.to) || Some(stay) == latest.as_ref());
        self.leases.retain(|lease| !old(lease.to));
        self.gaps.retain(|gap| !old(gap.to));
        self.next.retain(|next| !old(next.to));
    }
}

fn read_address<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<IpAddr>, D::Error> {
    let text = Option::<String>::deserialize(from)?.filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(None) };
    let parsed = address::parse(&text);
    let wrong = || serde::de::Error::custom(format!("`{}` is not an address", Text::new(&text)));
    parsed.map(Some).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn presence(lines: &str) -> Presence {
        Presence::new(
            lines
                .lines()
                .map(|line| serde_json::from_str(line).expect("a line")),
        )
    }

    #[test]
    fn lines_are_read_as_they_are_written() {
        let lines = concat!(
            r#"{"pod":"vso-a","address":"10.0.0.1","node_address":"10.9.0.1","from":"2027-01-15T08:00:00Z","to":null}"#,
            "\n",
            r#"{"pod":"vso-b","address":"10.0.0.2","further":["fd00::2"],"node_address":"10.9.0.1","node_further":["fd00::9"],"from":"2027-01-15T08:00:00Z","to":null}"#,
            "\n",
            r#"{"lease":{"from":"2027-01-15T08:00:00Z","to":"2027-01-15T08:00:15Z"}}"#,
            "\n",
            r#"{"gap":{"from":"2027-01-15T09:00:00Z","to":"2027-01-15T09:00:15Z"}}"#,
        );
        let read = presence(lines);
        let written: Vec<_> = read
            .lines()
            .map(|line| serde_json::to_string(&line).expect("JSON"))
            .collect();
        assert_eq!(written.join("\n"), lines);
        assert_eq!(read.stays.len() + read.leases.len() + read.gaps.len(), 4);
        let at = at(1);
        let second = address::parse("fd00::2").expect("an address");
        assert_eq!(read.mode_of(second, at, Duration::ZERO), Some(Mode::Pod));
    }

    #[test]
    fn a_pod_is_there_from_its_first_to_its_last_moment() {
        let stay = |pod: &str, from, to: Option<i64>| {
            Line::Stay(Stay {
                pod: pod.into(),
                address: address::parse("10.0.0.1"),
                further: Vec::new(),
                node_address: None,
                node_further: Vec::new(),
                from: at(from),
                to: to.map(at),
            })
        };
        let presence = Presence::new([stay("a", 0, Some(100)), stay("b", 200, None)]);
        let there = |second, slack| {
            presence
                .around(at(second), Duration::from_secs(slack))
                .count()
        };
        assert_eq!(
            (there(50, 0), there(150, 0), there(150, 50), there(300, 0)),
            (1, 0, 2, 1)
        );
        assert!(!presence.known(at(-1), at(5)) && presence.known(at(0), at(500)));
    }
}
