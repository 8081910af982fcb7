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
            match current.remove(&place) {
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
        hits.sort_by(|one, other| {
            let keys = (one.key(), other.key());
            let one = (one.at, keys.0, request(one), &one.text);
            one.cmp(&(other.at, keys.1, request(other), &other.text))
        });
        let mut current: BTreeMap<usize, Hits> = BTreeMap::new();
        let mut fresh = Vec::new();
        for hit in hits {
            let key = hit.key();
            let place = self.place(&key, &hit, &current, settings);
            let place = place.unwrap_or_else(|| {
                self.entries.push(Item {
                    id: id(&hit),
                    state: State::Suspect,
                    hits: Hits::new(hit.clone()),
                });
                fresh.push(self.entries.len() - 1);
                self.entries.len() - 1
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

    /// Where the finding of such a hit is, if there is one: of the same request, or in the time for which it is remembered.
    fn place(
        &self,
        key: &Key,
        hit: &Hit,
        current: &BTreeMap<usize, Hits>,
        settings: &Settings,
    ) -> Option<usize> {
        let own = |place: usize, item: &Item| {
            let now = current.get(&place);
            request(hit).is_some_and(|id| item.hits.has(id) || now.is_some_and(|hits| hits.has(id)))
        };
        let near = |item: &Item| {
            let first = item.hits.first.at;
            hit.at >= first.earlier(settings.remember) && hit.at <= first.later(settings.remember)
        };
        let same = || {
            self.entries
                .iter()
                .enumerate()
                .filter(|(_, item)| item.hits.first.key() == *key)
        };
        let found = same().find(|(place, item)| own(*place, item));
        found
            .or_else(|| same().find(|(_, item)| near(item)))
            .map(|(place, _)| place)
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
