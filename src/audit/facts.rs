//! Facts that many entries give together: from where each token was used, which tokens of ServiceAccounts were issued, as which
//! address canaries are read. The same entries in any order, and any number of times, give the same facts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::address::Mode;
use super::book::Book;
use super::context::Context;
use super::entry::{Entry, Half, KubeEntry, TokenId, VaultEntry};
use super::key::Key;
use super::trap::{Kind, Touch};

/// No more reads of canaries, and no more requests for tokens, are remembered to learn from; the latest are.
const SAMPLES: usize = 20;
/// No more tokens, or tokens of ServiceAccounts, are remembered: the earliest are forgotten.
const LONGEST: usize = 20_000;
/// No more addresses of a token are remembered: those that it was used from first, which are its owner's.
const ADDRESSES: usize = 32;

/// From when to when.
type Times = (Timestamp, Timestamp);

/// What many entries say together.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub struct Facts {
    /// Of the operator and of the prober: from where, and when.
    tokens: BTreeMap<TokenId, BTreeMap<IpAddr, Times>>,
    issued: BTreeMap<String, BTreeSet<Timestamp>>,
    events: Option<Times>,
    /// Until when events may have been missed.
    #[serde(default)]
    missed: Option<Timestamp>,
    canaries: BTreeSet<(Timestamp, IpAddr)>,
    requesters: BTreeSet<(Timestamp, IpAddr)>,
    logins: Book,
    reads: Book,
    /// Of logins and reads with identities that others share: when, the account, and from where.
    #[serde(default)]
    shared: BTreeMap<Key, (Timestamp, String, IpAddr)>,
}

impl Facts {
    /// Takes in an entry.
    pub fn learn(&mut self, entry: &Entry, context: &Context) {
        match entry {
            Entry::Vault(entry) => self.learn_request(entry, context),
            Entry::Kube(event) => self.learn_event(event, context),
        }
    }

    fn learn_request(&mut self, entry: &VaultEntry, context: &Context) {
        let identity = context.identities.of(entry);
        let trap = context.touched(entry);
        // The prober's own are known by its canaries.
        if identity.is_none() && (trap.is_none() || !context.own(entry)) {
            return;
        }
        let at = context.corrected(entry.time);
        if let (Some(token), Some(address)) = (entry.token, entry.address) {
            let uses = self.tokens.entry(token).or_default();
            let times = uses.entry(address).or_insert((at, at));
            *times = (times.0.min(at), times.1.max(at));
            if uses.len() > ADDRESSES {
                let first = |(address, times): (&IpAddr, &Times)| (times.0, *address);
                let last = uses.iter().map(first).max();
                last.and_then(|(_, address)| uses.remove(&address));
            }
            if self.tokens.len() > LONGEST {
                self.forget_half();
            }
        }
        let Some(identity) = identity else {
            return;
        };
        let canary = matches!(trap, Some((trap, Touch::Secret)) if trap.kind == Kind::Canary);
        if let Some(address) = entry.address.filter(|_| canary && identity.probe) {
            sample(&mut self.canaries, (at, address));
        }
        if context.counts && !entry.refused {
            let book = match entry.operation.as_str() {
                _ if entry.login => Some(&mut self.logins),
                "read" if !entry.path.starts_with("auth/") && !entry.path.starts_with("sys/") => {
                    Some(&mut self.reads)
                }
                _ => None,
            };
            if let Some(book) = book.filter(|_| entry.half == Half::Response) {
                let request = Key::of(&entry.id);
                let cut = book.add(request, at);
                if let Some(address) = entry.address.filter(|_| identity.shared) {
                    let from = (at, entry.who.service_account.clone(), address);
                    let known = self.shared.entry(request).or_insert_with(|| from.clone());
                    if from < *known {
                        *known = from;
                    }
                }
                if cut {
                    let (logins, reads) = (&self.logins, &self.reads);
                    self.shared
                        .retain(|request, _| logins.has(*request) || reads.has(*request));
                }
            }
        }
    }

    /// Forgets the tokens that were used last before the others.
    fn forget_half(&mut self) {
        let last = |uses: &BTreeMap<IpAddr, Times>| uses.values().map(|times| times.1).max();
        let mut times: Vec<_> = self.tokens.values().filter_map(last).collect();
        times.sort();
        if let Some(median) = times.get(times.len() / 2).copied() {
            self.tokens.retain(|_, uses| last(uses) >= Some(median));
        }
    }

    /// The API server's log was read at `at`.
    pub(super) fn watched(&mut self, at: Timestamp) {
        let (first, last) = self.events.unwrap_or((at, at));
        self.events = Some((first.min(at), last.max(at)));
    }

    /// Events may have been missed up to `at`.
    pub(super) fn missed(&mut self, at: Timestamp) {
        self.watched(at);
        self.missed = self.missed.max(Some(at));
    }

    /// The API server's log is not read.
    pub(super) fn unwatched(&mut self) {
        self.events = None;
    }

    fn learn_event(&mut self, event: &KubeEntry, context: &Context) {
        self.watched(event.time);
        let Some(account) = event
            .token_of
            .as_ref()
            .filter(|_| of_operator(event, context))
        else {
            return;
        };
        for address in &event.addresses {
            sample(&mut self.requesters, (event.time, *address));
        }
        if self.issued.len() < LONGEST || self.issued.contains_key(account) {
            let times = self.issued.entry(account.clone()).or_default();
            times.insert(event.time);
            if times.len() > LONGEST {
                times.pop_first();
            }
        }
    }

    /// The mode that the setting says, or that the reads of canaries show.
    pub fn mode(&self, context: &Context) -> Mode {
        let settings = &context.settings;
        settings.address.unwrap_or_else(|| {
            let slack = settings.grace.saturating_add(context.error());
            let vote = |(at, address): &(Timestamp, IpAddr)| {
                let told = context.presence.mode_of(*address, *at, slack);
                told.or_else(|| context.trusts(*address).then_some(Mode::Proxy))
            };
            Mode::learnt(self.canaries.iter().map(vote))
        })
    }

    /// Whether the API server's log shows the operator's requests from its Pods' addresses, or their nodes'.
    pub(super) fn requesters_tell(&self, context: &Context) -> bool {
        let slack = context.settings.grace;
        let vote = |(at, address): &(Timestamp, IpAddr)| {
            let told = context.presence.mode_of(*address, *at, slack);
            told.map(|_| Mode::Node)
        };
        Mode::learnt(self.requesters.iter().map(vote)) == Mode::Node
    }

    /// From where a token was used, and when.
    pub(super) fn uses(&self, token: TokenId) -> impl Iterator<Item = (IpAddr, Times)> {
        let uses = self.tokens.get(&token).into_iter().flatten();
        uses.map(|(address, times)| (*address, *times))
    }

    /// Whether the operator had a token issued for a ServiceAccount in this span.
    pub(super) fn issued(&self, account: &str, from: Timestamp, to: Timestamp) -> bool {
        let times = self.issued.get(account);
        times.is_some_and(|times| times.range(from..=to).next().is_some())
    }

    /// From when to when all events of the API server were seen.
    pub(super) fn events(&self) -> Option<Times> {
        let (first, last) = self.events?;
        Some((self.missed.map_or(first, |missed| first.max(missed)), last))
    }

    /// Whether the API server's log holds the operator's requests for tokens: its policy may leave them out.
    pub(super) fn shows_requests(&self) -> bool {
        !self.requesters.is_empty()
    }

    /// How many logins and reads there were between two moments, without those of workloads that share an identity.
    pub(super) fn counted(&self, context: &Context, from: Timestamp, to: Timestamp) -> (u64, u64) {
        let Counted { logins, reads } = self.counted_until(context, from, &[to]);
        let of = |counts: Vec<u64>| counts.first().copied().unwrap_or_default();
        (of(logins), of(reads))
    }

    /// The same from one moment up to each of these.
    pub(super) fn counted_until(
        &self,
        context: &Context,
        from: Timestamp,
        until: &[Timestamp],
    ) -> Counted {
        let own = |request: Key| {
            let shared = self.shared.get(&request);
            shared.is_none_or(|(at, account, address)| {
                !context.workload(account, *address, *at) && !context.unsure(*at)
            })
        };
        let count = |book: &Book| {
            let times = book.since(from, own);
            let up_to = |to: &Timestamp| times.partition_point(|at| at < to);
            let counts = until.iter().map(up_to);
            counts
                .map(|count| u64::try_from(count).unwrap_or(u64::MAX))
                .collect()
        };
        Counted {
            logins: count(&self.logins),
            reads: count(&self.reads),
        }
    }

    /// Whether all logins and reads since `from` are remembered.
    pub(crate) fn whole(&self, from: Timestamp) -> bool {
        self.logins.whole(from) && self.reads.whole(from)
    }

    /// How many tokens of ServiceAccounts the operator had issued between two moments.
    pub(super) fn tokens_issued(&self, from: Timestamp, to: Timestamp) -> u64 {
        let within = self
            .issued
            .values()
            .map(|times| times.range(from..to).count());
        u64::try_from(within.sum::<usize>()).unwrap_or(u64::MAX)
    }

    /// Forgets what was last seen before `before`.
    pub fn forget(&mut self, before: Timestamp) {
        self.tokens.retain(|_, uses| {
            uses.retain(|_, times| times.1 >= before);
            !uses.is_empty()
        });
        self.issued.retain(|_, times| {
            *times = times.split_off(&before);
            !times.is_empty()
        });
        self.logins.forget(before);
        self.reads.forget(before);
        self.shared.retain(|_, (at, _, _)| *at >= before);
    }
}

/// How many there were up to some moments.
pub(super) struct Counted {
    pub(super) logins: Vec<u64>,
    pub(super) reads: Vec<u64>,
}

/// Whether the operator made a request to the API server.
pub(super) fn of_operator(event: &KubeEntry, context: &Context) -> bool {
    let Some(account) = &context.account else {
        return false;
    };
    let name = event.user.strip_prefix("system:serviceaccount:");
    name == Some(format!("{}:{}", account.namespace, account.name).as_str())
}

fn sample(samples: &mut BTreeSet<(Timestamp, IpAddr)>, one: (Timestamp, IpAddr)) {
    samples.insert(one);
    if samples.len() > SAMPLES {
        samples.pop_first();
    }
}
