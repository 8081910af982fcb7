//! The workloads that use the ServiceAccount of one of the operator's identities: what they do in its name is their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::time::Moment as _;

/// No more addresses of an account are kept: nobody runs more Pods with one.
const LONGEST: usize = 5000;

/// No more spans of looking are kept.
const SPANS: usize = 100;

/// From when to when.
type Times = (Timestamp, Timestamp);

/// The addresses of the Pods that use a ServiceAccount, and when anybody looked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Workloads {
    /// By the account, `namespace/name`, and the address: from when to when a Pod was there.
    pods: BTreeMap<String, BTreeMap<IpAddr, Times>>,
    /// When one look followed the other.
    looks: Vec<Times>,
}

impl Workloads {
    /// Takes in that a Pod which uses `account` has had this address since `from`, and has it at `at`.
    pub fn see(&mut self, account: &str, address: IpAddr, from: Timestamp, at: Timestamp) {
        let seen = self.pods.entry(account.to_owned()).or_default();
        if seen.len() < LONGEST || seen.contains_key(&address) {
            let times = seen.entry(address).or_insert((at, at));
            *times = (times.0.min(from).min(at), times.1.max(at));
        }
    }

    /// Takes in that all Pods were looked at at `at`, no more than `pause` after the look before, unless nobody looked meanwhile.
    pub fn look(&mut self, at: Timestamp, pause: Duration) {
        match self.looks.last_mut() {
            Some((_, last)) if at <= last.later(pause) => *last = at.max(*last),
            _ => self.looks.push((at, at)),
        }
        if self.looks.len() > SPANS {
            self.looks.remove(0);
        }
    }

    /// Whether a Pod that uses `account` was at this address within `slack` of `at`.
    pub fn have(&self, account: &str, address: IpAddr, at: Timestamp, slack: Duration) -> bool {
        let times = self.pods.get(account).and_then(|seen| seen.get(&address));
        times.is_some_and(|times| holds(*times, at, slack))
    }

    /// Whether Pods are looked at, but were not within `slack` of `at`: then a Pod may have been anywhere.
    pub fn unseen(&self, at: Timestamp, slack: Duration) -> bool {
        !self.looks.is_empty() && !self.looks.iter().any(|look| holds(*look, at, slack))
    }

    /// Forgets what was seen last before `before`.
    pub fn forget(&mut self, before: Timestamp) {
        self.looks.retain(|(_, last)| *last >= before);
        self.pods.retain(|_, seen| {
            seen.retain(|_, (_, last)| *last >= before);
            !seen.is_empty()
        });
    }
}

/// Whether `at` is within `slack` of a span.
fn holds((first, last): Times, at: Timestamp, slack: Duration) -> bool {
    first.earlier(slack) <= at && at <= last.later(slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLACK: Duration = Duration::from_secs(60);

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    #[test]
    fn a_pod_is_where_it_was_seen_for_a_while() {
        let address = |text: &str| text.parse().expect("an address");
        let mut workloads = Workloads::default();
        workloads.see("team-a/app", address("10.0.0.7"), at(100), at(150));
        workloads.see("team-a/app", address("10.0.0.7"), at(100), at(200));
        let have = |account: &str, from: &str, second| {
            workloads.have(account, address(from), at(second), SLACK)
        };
        assert!(have("team-a/app", "10.0.0.7", 40) && have("team-a/app", "10.0.0.7", 150));
        assert!(have("team-a/app", "10.0.0.7", 260) && !have("team-a/app", "10.0.0.7", 261));
        assert!(!have("team-a/other", "10.0.0.7", 150) && !have("team-a/app", "10.0.0.8", 150));
        workloads.forget(at(201));
        assert_eq!(workloads, Workloads::default());
    }

    #[test]
    fn where_nobody_looked_nothing_is_known() {
        let mut workloads = Workloads::default();
        assert!(!workloads.unseen(at(0), SLACK), "nobody may look");
        for second in [0, 45, 90, 1000, 1045] {
            workloads.look(at(second), SLACK);
        }
        let unseen = [50, 150, 151, 939, 940, 1105, 1106];
        assert_eq!(
            unseen.map(|second| workloads.unseen(at(second), SLACK)),
            [false, false, true, true, false, false, true]
        );
    }
}
