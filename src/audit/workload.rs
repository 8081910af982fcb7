//! The workloads that use the ServiceAccount of one of the operator's identities: what they do in its name is their own.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use crate::model::time::Moment as _;

/// No more addresses of an account are kept: nobody runs more Pods with one.
const LONGEST: usize = 5000;

/// The addresses of the Pods that use a ServiceAccount, by the account, `namespace/name`, and when they were seen there.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Workloads(BTreeMap<String, BTreeMap<IpAddr, (Timestamp, Timestamp)>>);

impl Workloads {
    /// Takes in that a Pod which uses `account` had this address at `at`.
    pub fn see(&mut self, account: &str, address: IpAddr, at: Timestamp) {
        let seen = self.0.entry(account.to_owned()).or_default();
        if seen.len() < LONGEST || seen.contains_key(&address) {
            let times = seen.entry(address).or_insert((at, at));
            *times = (times.0.min(at), times.1.max(at));
        }
    }

    /// Whether a Pod that uses `account` was seen at this address within `slack` of `at`, or before and after it.
    pub fn have(&self, account: &str, address: IpAddr, at: Timestamp, slack: Duration) -> bool {
        let times = self.0.get(account).and_then(|seen| seen.get(&address));
        times.is_some_and(|(first, last)| first.earlier(slack) <= at && at <= last.later(slack))
    }

    /// Forgets what was seen last before `before`.
    pub fn forget(&mut self, before: Timestamp) {
        self.0.retain(|_, seen| {
            seen.retain(|_, (_, last)| *last >= before);
            !seen.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_is_where_it_was_seen_for_a_while() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("a time");
        let address = |text: &str| text.parse().expect("an address");
        let mut workloads = Workloads::default();
        workloads.see("team-a/app", address("10.0.0.7"), at(100));
        workloads.see("team-a/app", address("10.0.0.7"), at(200));
        let have = |account: &str, from: &str, second| {
            workloads.have(account, address(from), at(second), Duration::from_secs(60))
        };
        assert!(have("team-a/app", "10.0.0.7", 40) && have("team-a/app", "10.0.0.7", 150));
        assert!(have("team-a/app", "10.0.0.7", 260) && !have("team-a/app", "10.0.0.7", 261));
        assert!(!have("team-a/other", "10.0.0.7", 150) && !have("team-a/app", "10.0.0.8", 150));
        workloads.forget(at(201));
        assert_eq!(workloads, Workloads::default());
    }
}
