//! A tracker of the operator's Pods and Lease: from what is seen of them at one time after another to its presence.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::presence::{Line, Presence, Span, Stay};
use crate::model::text::Text;
use crate::model::time::Moment as _;

/// For so long a look at the Pods says who is there.
const FRESH: Duration = Duration::from_secs(5);

/// A Pod of the operator's, as it is seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SeenPod {
    /// Its UID.
    pub uid: String,
    /// Its name.
    pub name: Text,
    /// Its address, once it has one.
    pub address: Option<IpAddr>,
    /// Its further addresses, in a cluster of two stacks.
    pub further: Vec<IpAddr>,
    /// Its node's address.
    pub node_address: Option<IpAddr>,
    /// Its node's further addresses.
    pub node_further: Vec<IpAddr>,
    /// When it was created.
    pub created: Timestamp,
}

/// The Lease of the operator, as it is seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SeenLease {
    /// When it was renewed last.
    pub renewed: Timestamp,
    /// For how long it holds from then on.
    pub duration: Duration,
}

/// The presence of the operator as it goes on.
#[derive(Clone, Debug, Default)]
pub struct Tracker {
    /// What has ended.
    past: Vec<Line>,
    /// The Pods that are there, by their UID.
    pods: BTreeMap<String, Stay>,
    lease: Option<Span>,
    /// When the Pods were seen last.
    seen: Option<Timestamp>,
}

impl Tracker {
    /// One that goes on from what was known at `seen`: nobody watched since. Without that, it is not known what was before.
    pub fn resumed(presence: &Presence, seen: Option<Timestamp>) -> Self {
        let ended = |line: Line| match line {
            Line::Lease { lease } => Line::Lease {
                lease: Span {
                    to: lease.to.or(seen),
                    ..lease
                },
            },
            other => other,
        };
        Self {
            past: presence.lines().map(ended).collect(),
            seen,
            ..Self::default()
        }
    }

    /// Takes in who is there at `at`, all of them; `watched` says whether nobody can have come and gone since the last time.
    pub fn see(
        &mut self,
        at: Timestamp,
        pods: &[SeenPod],
        lease: Option<SeenLease>,
        watched: bool,
    ) {
        let before = self.seen.unwrap_or(Timestamp::UNIX_EPOCH).min(at);
        if !watched {
            let gap = Span {
                from: before,
                to: Some(at),
            };
            self.past.push(Line::Gap { gap });
            // Of those that were there before, nobody knows when they went.
            for line in &mut self.past {
                if let Line::Stay(stay) = line {
                    stay.to.get_or_insert(at);
                }
            }
        }
        let gone: Vec<_> = self
            .pods
            .keys()
            .filter(|uid| !pods.iter().any(|pod| pod.uid == **uid))
            .cloned()
            .collect();
        for uid in gone {
            self.end(&uid, at);
        }
        for pod in pods {
            self.see_pod(pod, before, at);
        }
        if let Some(lease) = lease {
            let to = Some(lease.renewed.later(lease.duration));
            match &mut self.lease {
                // Renewed before it ran out.
                Some(held) if held.to.is_some_and(|end| end >= lease.renewed) => {
                    held.to = held.to.max(to);
                }
                held => {
                    let new = Span {
                        from: lease.renewed,
                        to,
                    };
                    self.past
                        .extend(held.replace(new).map(|lease| Line::Lease { lease }));
                }
            }
        }
        self.seen = Some(at);
    }

    fn see_pod(&mut self, pod: &SeenPod, before: Timestamp, at: Timestamp) {
        let fresh = |from| Stay {
            pod: pod.name.clone(),
            address: pod.address,
            further: pod.further.clone(),
            node_address: pod.node_address,
            node_further: pod.node_further.clone(),
            from,
            to: None,
        };
        let Some(known) = self.pods.get_mut(&pod.uid) else {
            self.pods
                .insert(pod.uid.clone(), fresh(pod.created.min(at)));
            return;
        };
        known.node_address = pod.node_address.or(known.node_address);
        if !pod.node_further.is_empty() {
            known.node_further.clone_from(&pod.node_further);
        }
        if !pod.further.is_empty() {
            known.further.clone_from(&pod.further);
        }
        match (known.address, pod.address) {
            (None, Some(_)) => known.address = pod.address,
            (Some(old), Some(new)) if old != new => {
                // It changed at some time since it was seen last.
                self.end(&pod.uid, at);
                self.pods.insert(pod.uid.clone(), fresh(before));
            }
            _ => {}
        }
    }

    fn end(&mut self, uid: &str, at: Timestamp) {
        if let Some(stay) = self.pods.remove(uid) {
            self.past.push(Line::Stay(Stay {
                to: Some(at),
                ..stay
            }));
        }
    }

    /// Forgets what ended before `before`.
    pub fn forget(&mut self, before: Timestamp) {
        let mut past = Presence::new(std::mem::take(&mut self.past));
        past.forget(before);
        self.past = past.lines().collect();
    }

    /// What is known at `now`: nothing since the Pods were seen last, if that is too long ago.
    pub fn presence(&self, now: Timestamp) -> Presence {
        let there = self.pods.values().cloned().map(Line::Stay);
        let lease = self.lease.map(|lease| Line::Lease { lease });
        let blind = self.seen.filter(|seen| seen.later(FRESH) < now);
        let blind = blind.map(|from| Line::Gap {
            gap: Span { from, to: None },
        });
        let past = self.past.iter().cloned();
        Presence::new(past.chain(there).chain(lease).chain(blind))
    }

    /// When the Pods were seen last.
    pub fn seen(&self) -> Option<Timestamp> {
        self.seen
    }

    /// Whether one of its Pods is there.
    pub fn present(&self) -> bool {
        !self.pods.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::address::{Mode, parse};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).expect("a time")
    }

    fn pod(uid: &str, address: &str, created: i64) -> SeenPod {
        SeenPod {
            uid: uid.to_owned(),
            name: uid.into(),
            address: parse(address),
            further: Vec::new(),
            node_address: None,
            node_further: Vec::new(),
            created: at(created),
        }
    }

    fn has(presence: &Presence, address: &str, second: i64) -> bool {
        let address = parse(address).expect("an address");
        presence.has(address, Mode::Pod, at(second), Duration::ZERO)
    }

    #[test]
    fn a_pod_that_goes_is_there_until_it_is_missed() {
        let mut tracker = Tracker::default();
        tracker.see(at(0), &[pod("a", "10.0.0.1", -50)], None, false);
        tracker.see(
            at(1),
            &[pod("a", "10.0.0.1", -50), pod("b", "", 1)],
            None,
            true,
        );
        tracker.see(at(2), &[pod("b", "10.0.0.2", 1)], None, true);
        tracker.see(at(3), &[], None, true);
        let presence = tracker.presence(at(0));
        assert!(has(&presence, "10.0.0.1", 2) && !has(&presence, "10.0.0.1", 3));
        assert!(
            has(&presence, "10.0.0.2", 1)
                && has(&presence, "10.0.0.2", 3)
                && !has(&presence, "10.0.0.2", 4)
        );
        assert!(!tracker.present());
        // What was before the first look is not known.
        assert!(!presence.known(at(-10), at(-5)) && presence.known(at(1), at(100)));
    }

    #[test]
    fn an_address_that_changes_was_either_since_it_was_seen_last() {
        let mut tracker = Tracker::default();
        tracker.see(at(0), &[pod("a", "10.0.0.1", 0)], None, false);
        tracker.see(at(10), &[pod("a", "10.0.0.2", 0)], None, true);
        let presence = tracker.presence(at(0));
        assert!(
            has(&presence, "10.0.0.1", 10)
                && has(&presence, "10.0.0.2", 1)
                && !has(&presence, "10.0.0.1", 11)
        );
    }

    #[test]
    fn a_lease_holds_until_it_runs_out() {
        let mut tracker = Tracker::default();
        let lease = |second| {
            Some(SeenLease {
                renewed: at(second),
                duration: Duration::from_secs(15),
            })
        };
        tracker.see(at(1), &[], lease(0), false);
        tracker.see(at(12), &[], lease(10), true);
        tracker.see(at(101), &[], lease(100), true);
        let presence = tracker.presence(at(0));
        let leased = |second| presence.leased(at(second), Duration::ZERO);
        assert_eq!(
            [24, 26, 99, 110, 116].map(leased),
            [true, false, false, true, false]
        );
    }

    #[test]
    fn what_is_resumed_has_a_gap() {
        let mut tracker = Tracker::default();
        tracker.see(at(0), &[pod("a", "10.0.0.1", -50)], None, false);
        tracker.see(at(10), &[pod("a", "10.0.0.1", -50)], None, true);
        let mut resumed = Tracker::resumed(&tracker.presence(at(10)), tracker.seen());
        resumed.see(at(60), &[pod("a", "10.0.0.1", -50)], None, false);
        let presence = resumed.presence(at(0));
        assert!(
            presence.known(at(1), at(9))
                && !presence.known(at(9), at(11))
                && presence.known(at(61), at(70))
        );
        assert!(has(&presence, "10.0.0.1", 5) && has(&presence, "10.0.0.1", 65));
        // When it went, if it went, nobody knows.
        let mut rolled = Tracker::resumed(&tracker.presence(at(10)), tracker.seen());
        rolled.see(at(60), &[pod("b", "10.0.0.2", 40)], None, false);
        let presence = rolled.presence(at(0));
        assert!(has(&presence, "10.0.0.1", 59) && !has(&presence, "10.0.0.1", 61));
        assert!(has(&presence, "10.0.0.2", 59) && !has(&presence, "10.0.0.2", 39));
        resumed.forget(at(70));
        assert!(
            has(&resumed.presence(at(0)), "10.0.0.1", 65)
                && resumed.presence(at(64)).known(at(61), at(70))
        );
    }
}
