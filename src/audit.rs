//! The judge of audit logs: from entries, presence and clock to findings. It has no clock of its own.
//!
//! The same lines in any order, and any number of times, give the same findings.

pub mod address;
mod book;
pub mod context;
pub mod entry;
pub mod facts;
pub mod finding;
mod hits;
pub mod identity;
mod key;
mod ledger;
pub mod pairs;
pub mod presence;
pub mod review;
pub mod rule;
pub mod trace;
pub mod tracker;
pub mod trap;
pub mod workload;

use std::collections::BTreeSet;
use std::collections::btree_map::{self, BTreeMap};
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use context::Context;
use entry::{Entry, Half};
use facts::Facts;
use finding::Finding;
use key::Key;
use ledger::Ledger;
use rule::books::{Difference, Weighed};

use crate::model::time::Moment as _;

/// So many entries may be open at a time: 90 s of 50 requests of the operator's a second. So many more, and room is made.
const OPEN: usize = 10_000;
const SURPLUS: usize = 1_000;
/// For so long a line that comes again is known as such, and so many are: ten minutes of 80 requests a second.
const AGAIN: Duration = Duration::from_secs(600);
const SETTLED: usize = 100_000;

/// What became of an entry.
#[derive(Debug)]
pub enum Taken<'a> {
    /// It is heeded.
    Used(&'a Entry),
    /// It concerns neither the operator nor a canary.
    Skipped,
    /// It was taken before.
    Duplicate,
}

/// What tells one line from another: its source does not, for a shipper may send it twice.
type LineId = (Key, Option<Half>);

fn line_id(entry: &Entry) -> LineId {
    match entry {
        Entry::Vault(entry) => (Key::of(&entry.id), Some(entry.half)),
        Entry::Kube(event) => (Key::of(&event.id), None),
    }
}

/// A judge, as it was saved.
#[derive(Debug, Deserialize)]
pub struct Saved {
    facts: Facts,
    open: Vec<(String, Entry)>,
    settled: Vec<(Timestamp, LineId)>,
    ledger: Ledger,
}

/// The same while it is saved: there may be much, and nothing is copied.
#[derive(Debug, Serialize)]
pub struct Saving<'a> {
    facts: &'a Facts,
    open: Vec<&'a (String, Entry)>,
    settled: &'a BTreeSet<(Timestamp, LineId)>,
    ledger: &'a Ledger,
}

/// The judge: it takes entries, and says what has become of its findings.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judge {
    facts: Facts,
    /// The entries of which the rules may still say something else.
    open: BTreeMap<LineId, (String, Entry)>,
    /// The entries of which they may not, as long as they may come again.
    settled: BTreeSet<(Timestamp, LineId)>,
    ledger: Ledger,
    weighed: Weighed,
}

impl Judge {
    /// By how much Vault's log holds more than other books, if there is one to compare it with.
    pub const fn difference(&self) -> Option<Difference> {
        self.weighed.difference()
    }

    /// Takes in an entry from a source.
    pub fn take(&mut self, source: &str, entry: Entry, context: &Context) -> Taken<'_> {
        self.facts.learn(&entry, context);
        if !rule::heeded(&entry, context) {
            return Taken::Skipped;
        }
        let (time, id) = (entry.time(), line_id(&entry));
        match self.open.entry(id) {
            btree_map::Entry::Vacant(place) if !self.settled.contains(&(time, id)) => {
                Taken::Used(&place.insert((source.to_owned(), entry)).1)
            }
            _ => Taken::Duplicate,
        }
    }

    /// Judges what was taken, at `now` by the cluster's clock; `None` if all is over. Returns the findings that are new or
    /// have changed their state.
    pub fn judge(&mut self, context: &Context, now: Option<Timestamp>) -> Vec<Finding> {
        let mut changed = self.make_room(context, now);
        let mut hits = Vec::new();
        let mode = self.facts.mode(context);
        for (source, entry) in self.open.values() {
            hits.extend(rule::hits(source, entry, &self.facts, context, mode, now));
        }
        self.weighed.weigh(&self.facts, context, now);
        hits.extend(self.weighed.hit());
        changed.extend(self.ledger.update(hits, &context.settings, now));
        if let Some(now) = now {
            self.settle(context, now);
        }
        changed
    }

    /// Settles the earliest of more entries than there is room for, at `now` by the cluster's clock: whoever floods the log must not
    /// fill the memory. Returns the findings that are new or have changed their state.
    pub fn make_room(&mut self, context: &Context, now: Option<Timestamp>) -> Vec<Finding> {
        if self.open.len() <= OPEN + SURPLUS {
            return Vec::new();
        }
        let all = self.open.iter();
        let mut all: Vec<_> = all.map(|(id, (_, entry))| (entry.time(), *id)).collect();
        all.sort_unstable();
        all.truncate(self.open.len() - OPEN);
        let mode = self.facts.mode(context);
        let mut hits = Vec::new();
        for (time, id) in all {
            if let Some((source, entry)) = self.open.remove(&id) {
                let said = rule::hits(&source, &entry, &self.facts, context, mode, None);
                hits.extend(said);
            }
            self.settled.insert((time, id));
        }
        if let Some(now) = now {
            self.forget_settled(context, now);
        }
        while self.settled.len() > SETTLED {
            self.settled.pop_first();
        }
        self.ledger.confirm(hits, &context.settings)
    }

    /// Lets go of what can't change any more.
    fn settle(&mut self, context: &Context, now: Timestamp) {
        let settings = &context.settings;
        let oldest = now.earlier(settings.grace).earlier(settings.lag);
        let at = |entry: &Entry| match entry {
            Entry::Vault(entry) => context.corrected(entry.time),
            Entry::Kube(event) => event.time,
        };
        let old = self
            .open
            .iter()
            .filter(|(_, (_, entry))| at(entry) < oldest);
        let old: Vec<_> = old.map(|(id, (_, entry))| (entry.time(), *id)).collect();
        for (time, id) in old {
            self.open.remove(&id);
            self.settled.insert((time, id));
        }
        self.forget_settled(context, now);
        let remembered = now.earlier(settings.remember);
        self.ledger.close(remembered.earlier(settings.grace));
    }

    /// Forgets what is too old to matter.
    pub fn forget(&mut self, context: &Context, now: Timestamp) {
        let settings = &context.settings;
        self.forget_settled(context, now);
        self.facts.forget(now.earlier(settings.remember));
    }

    /// Forgets the lines that would not be known any more if they came again.
    fn forget_settled(&mut self, context: &Context, now: Timestamp) {
        let again = now.earlier(context.settings.remember.min(AGAIN));
        self.settled = self.settled.split_off(&(again, LineId::default()));
    }

    /// What a restart must not lose, without anything secret: of tokens the digests of their hashes.
    pub fn saved(&self) -> Saving<'_> {
        Saving {
            facts: &self.facts,
            open: self.open.values().collect(),
            settled: &self.settled,
            ledger: &self.ledger,
        }
    }

    /// The judge that was saved.
    pub fn resumed(saved: Saved) -> Self {
        let open = saved
            .open
            .into_iter()
            .map(|(source, entry)| (line_id(&entry), (source, entry)));
        Self {
            facts: saved.facts,
            open: open.collect(),
            settled: saved.settled.into_iter().collect(),
            ledger: saved.ledger,
            weighed: Weighed::default(),
        }
    }

    /// All findings, the first first.
    pub fn findings(&self) -> Vec<Finding> {
        self.ledger.findings()
    }

    /// The API server's log is read from `at` on, by the cluster's clock, if it was not before: from then on, that it holds no
    /// event says something.
    pub fn watch_events(&mut self, at: Timestamp) {
        if self.facts.events().is_none() {
            self.facts.watched(at);
        }
    }

    /// Events of the API server's may have been missed up to `at`, by the cluster's clock: only from then on, that its log holds
    /// none says something.
    pub fn events_missed(&mut self, at: Timestamp) {
        self.facts.missed(at);
    }

    /// The API server's log is not read: what it held before says nothing of what comes.
    pub fn unwatch_events(&mut self) {
        self.facts.unwatched();
    }

    /// What many entries say together.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}
