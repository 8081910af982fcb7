//! A book of findings: suspects, confirmed and dismissed ones, one per rule, identity and address in the time for which
//! findings are remembered.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::context::Settings;
use super::finding::{Finding, Hit, Key, State};
use super::hits::Hits;
use crate::model::time::Moment as _;

/// No more findings are kept: the oldest that is not a suspect goes first.
const LONGEST: usize = 1000;
/// No more requests of all findings are told apart: 4 MB of state.
const COUNTED: usize = 200_000;

/// The book. Its entries are told apart by what they were first seen as, so that an ID stays.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(transparent)]
pub(super) struct Ledger {
    entries: Vec<Item>,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Item {
    id: String,
    state: State,
    hits: Hits,
    /// When a rule said something of it last.
    #[serde(default)]
    said: Option<Timestamp>,
}

impl Ledger {
    /// Takes in all that the rules say at `now` of the lines that are not settled yet; `None` if all is over. A suspect of
    /// which they say nothing any more is dismissed. Returns what has changed its state.
    pub(super) fn update(
        &mut self,
        hits: Vec<Hit>,
        settings: &Settings,
        now: Option<Timestamp>,
    ) -> Vec<Finding> {
        let (mut current, mut changed) = self.gather(hits, settings);
        for (place, item) in self.entries.iter_mut().enumerate() {
            let before = item.state;
            let hits = current.remove(&place);
            if hits.is_some() {
                item.said = now;
            }
            match hits {
                Some(hits) if item.state == State::Confirmed => item.hits.join(hits),
                Some(hits) => {
                    let due = hits.first.at.later(settings.grace);
                    let over = now.is_none_or(|now| due <= now) || hits.first.rule.at_once();
                    item.state = if over {
                        State::Confirmed
                    } else {
                        State::Suspect
                    };
                    item.hits = hits;
                }
                None if item.state == State::Suspect => item.state = State::Dismissed,
                None => {}
            }
            if item.state != before && !changed.contains(&place) {
                changed.push(place);
            }
        }
        self.told(&changed)
    }

    /// Takes in what the rules say of lines for which there is no room until they are settled: it is confirmed. Returns what
    /// has changed its state.
    pub(super) fn confirm(&mut self, hits: Vec<Hit>, settings: &Settings) -> Vec<Finding> {
        let (current, mut changed) = self.gather(hits, settings);
        for (place, hits) in current {
            if let Some(item) = self.entries.get_mut(place) {
                item.hits.join(hits);
                if std::mem::replace(&mut item.state, State::Confirmed) != State::Confirmed {
                    changed.push(place);
                }
            }
        }
        changed.sort_unstable();
        changed.dedup();
        self.told(&changed)
    }

    /// What of these hits belongs to which entry, and which entries are new.
    fn gather(
        &mut self,
        mut hits: Vec<Hit>,
        settings: &Settings,
    ) -> (BTreeMap<usize, Hits>, Vec<usize>) {
        hits.sort_by(|one, other| order(one).cmp(&order(other)));
        let mut places: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
        if !hits.is_empty() {
            for (place, item) in self.entries.iter().enumerate() {
                places.entry(item.hits.first.key()).or_default().push(place);
            }
        }
        let mut current: BTreeMap<usize, Hits> = BTreeMap::new();
        let mut fresh = Vec::new();
        for hit in hits {
            let same = places.entry(hit.key()).or_default();
            let place = self.place(same, &hit, &current, settings);
            let place = place.unwrap_or_else(|| {
                let place = self.entries.len();
                self.entries.push(Item {
                    id: id(&hit),
                    state: State::Suspect,
                    hits: Hits::new(hit.clone()),
                    said: None,
                });
                fresh.push(place);
                same.push(place);
                place
            });
            match current.get_mut(&place) {
                Some(known) => known.add(hit),
                None => drop(current.insert(place, Hits::new(hit))),
            }
        }
        (current, fresh)
    }

    /// These entries as findings.
    fn told(&mut self, places: &[usize]) -> Vec<Finding> {
        let items = places.iter().filter_map(|place| self.entries.get(*place));
        let findings = items.map(Item::finding).collect();
        self.forget();
        findings
    }

    /// Which of the places with the same key is that of a hit's finding, if one is: that of the same request, or one in the time
    /// for which it is remembered.
    fn place(
        &self,
        same: &[usize],
        hit: &Hit,
        current: &BTreeMap<usize, Hits>,
        settings: &Settings,
    ) -> Option<usize> {
        let own = |place: usize, item: &Item| {
            let now = current.get(&place);
            request(hit).is_some_and(|id| item.hits.has(id) || now.is_some_and(|hits| hits.has(id)))
        };
        let same = || same.iter().map(|place| (*place, &self.entries[*place]));
        let near = |item: &Item| {
            let first = item.hits.first.at;
            hit.at >= first.earlier(settings.remember) && hit.at <= first.later(settings.remember)
        };
        let found = same().find(|(place, item)| own(*place, item));
        found
            .or_else(|| same().find(|(_, item)| near(item)))
            .map(|(place, _)| place)
    }

    /// Closes the counts of the findings of which nothing was said since `before`, and of the earliest of more than there is room
    /// for. A suspect's may still change.
    pub(super) fn close(&mut self, before: Timestamp) {
        let certain = |item: &&mut Item| item.state != State::Suspect && item.hits.digests() > 0;
        let mut counted: usize = self.entries.iter().map(|item| item.hits.digests()).sum();
        let mut open: Vec<_> = self.entries.iter_mut().filter(certain).collect();
        open.sort_by_key(|item| item.hits.last);
        for item in open {
            let over = item.said.max(Some(item.hits.last)) < Some(before);
            if over || counted > COUNTED {
                counted -= item.hits.digests();
                item.hits.close();
            }
        }
    }

    fn forget(&mut self) {
        while self.entries.len() > LONGEST {
            let settled = self
                .entries
                .iter()
                .position(|item| item.state != State::Suspect);
            self.entries.remove(settled.unwrap_or_default());
        }
    }

    /// All findings, the first first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut all: Vec<_> = self.entries.iter().map(Item::finding).collect();
        all.sort_by(|one, other| {
            (one.first, one.rule, &one.id).cmp(&(other.first, other.rule, &other.id))
        });
        all
    }
}

impl Item {
    fn finding(&self) -> Finding {
        self.hits.finding(self.id.clone(), self.state)
    }
}

/// The order of hits, so that it does not matter in which they came.
fn order(hit: &Hit) -> impl Ord {
    let key = (hit.rule, &hit.identity, hit.address());
    (hit.at, key, request(hit), &hit.text)
}

fn request(hit: &Hit) -> Option<&str> {
    hit.request.as_ref().map(|request| request.id.as_str())
}

/// The ID of the finding that begins with this hit: the same if its lines are read again, whatever is known of the clocks by then.
fn id(hit: &Hit) -> String {
    let mut digest = Sha256::new();
    let (rule, identity, address) = hit.key();
    let identity = [
        &identity.mount,
        &identity.role,
        &identity.service_account,
        &identity.entity,
        &identity.display_name,
    ];
    digest.update(rule.name());
    for part in identity {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.update(
        address
            .map(|address| address.to_string())
            .unwrap_or_default(),
    );
    match request(hit) {
        Some(request) => digest.update(request),
        None => digest.update(hit.at.to_string()),
    }
    digest
        .finalize()
        .iter()
        .take(8)
        .fold(String::new(), |id, byte| id + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_more_requests_than_there_is_room_for_the_earliest_findings_are_counted_no_further() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("a time");
        // As the version before wrote it.
        let item = |state: &str, last: i64, digests: usize| {
            let seen: Vec<_> = (0..digests).collect();
            let first = serde_json::json!({
                "rule": "moved", "confidence": "high", "shared": false, "source": "vault-0",
                "identity": {"mount": "", "role": "", "service_account": "", "entity": "", "display_name": ""},
                "at": at(0), "request": null, "text": "",
                "operator": {"present": false, "pods": [], "address_mode": "pod"},
            });
            let hits =
                serde_json::json!({"first": first, "last": at(last), "requests": [], "seen": seen});
            serde_json::json!({"id": last.to_string(), "state": state, "hits": hits})
        };
        let ledger = serde_json::json!([
            item("suspect", 1, 10),
            item("confirmed", 3, COUNTED / 2),
            item("confirmed", 2, COUNTED / 2),
            item("dismissed", 4, 20),
        ]);
        let mut ledger: Ledger = serde_json::from_value(ledger).expect("a ledger");
        let digests = |ledger: &Ledger| -> Vec<_> {
            let items = ledger.entries.iter();
            items.map(|item| item.hits.digests()).collect()
        };
        let counts = |ledger: &Ledger| -> Vec<_> {
            let items = ledger.entries.iter();
            items.map(|item| item.finding().count).collect()
        };
        let before = counts(&ledger);
        ledger.close(at(0));
        assert_eq!(digests(&ledger), [10, COUNTED / 2, 0, 20]);
        ledger.close(at(4));
        assert_eq!(digests(&ledger), [10, 0, 0, 20]);
        assert_eq!(counts(&ledger), before);
    }
}
