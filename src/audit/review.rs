//! A review of whole logs: what is learnt from all their lines first, and then what the rules say of each.

use std::collections::{BTreeMap, BTreeSet};

use super::address::Mode;
use super::context::Context;
use super::entry::{Entry, VaultEntry, Who};
use super::facts::Facts;
use super::finding::{Finding, Hit, RuleName};
use super::identity::{Identities, Identity, Person, named_after};
use super::ledger::Ledger;
use super::rule;
use super::rule::books::Weighed;
use super::trap::{Kind, Trap};
use crate::model::name::ObjectRef;

/// So many hits are gathered before they become findings.
const HITS: usize = 100_000;
/// No more of a kind is learnt.
const LONGEST: usize = 10_000;
/// How a canary's name begins, and how long the ID of its run is, in which it ends.
const CANARY: (&str, usize) = ("vsop-", 16);
/// The operations that write a secret.
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "put"];

/// What can be learnt of the operator and the prober from logs, where no configuration says it.
#[derive(Clone, Debug, Default)]
pub struct Learner {
    /// Identities that were used from an address of the operator's while it was there.
    own: BTreeSet<Identity>,
    /// Those that wrote to a KV engine, which the operator never does.
    writers: BTreeSet<(String, String)>,
    /// The folders of canaries, each with its namespace and its mount, and who wrote there.
    folders: BTreeSet<(String, String, String)>,
    probers: BTreeSet<Who>,
    /// Accounts that had tokens of other accounts issued, and how often.
    accounts: BTreeMap<ObjectRef, u64>,
}

impl Learner {
    /// Takes in an entry.
    pub fn learn(&mut self, entry: &Entry, context: &Context) {
        match entry {
            Entry::Vault(entry) => self.learn_request(entry, context),
            Entry::Kube(event) if event.token_of.is_some() => {
                let name = event.user.strip_prefix("system:serviceaccount:");
                if let Some((namespace, name)) = name.and_then(|name| name.split_once(':'))
                    && self.accounts.len() < LONGEST
                {
                    *self
                        .accounts
                        .entry(ObjectRef::new(namespace, name))
                        .or_default() += 1;
                }
            }
            Entry::Kube(_) => {}
        }
    }

    fn learn_request(&mut self, entry: &VaultEntry, context: &Context) {
        let who = &entry.who;
        if let Some(identity) = used_by_operator(entry, context)
            && self.own.len() < LONGEST
        {
            self.own.insert(identity);
        }
        if entry.path.starts_with("auth/")
            || entry.path.starts_with("sys/")
            || !WRITES.contains(&entry.operation.as_str())
        {
            return;
        }
        let Some(place) = canary(entry) else {
            if entry.path.contains("/data/") && self.writers.len() < LONGEST {
                self.writers
                    .insert((who.role.clone(), who.service_account.clone()));
            }
            return;
        };
        if self.folders.len() < LONGEST && self.probers.len() < LONGEST {
            self.writers
                .insert((who.role.clone(), who.service_account.clone()));
            self.folders.insert(place);
            self.probers.insert(who.clone());
        }
    }

    /// Adds what was learnt to what is known, where nothing is: identities, the folders of canaries, the prober, the operator's
    /// account.
    pub fn complete(self, context: &mut Context, operators: Option<&str>) {
        if context.identities.is_empty() {
            let wrote = |identity: &Identity| {
                self.writers
                    .contains(&(identity.role.clone(), identity.service_account.clone()))
            };
            context.identities =
                Identities::new(self.own.into_iter().filter(|identity| !wrote(identity)));
        }
        if context.traps.is_empty() {
            let traps = self
                .folders
                .into_iter()
                .map(|(namespace, mount, path)| Trap {
                    mount,
                    path,
                    kind: Kind::Canary,
                    namespace,
                });
            context.traps = traps.collect();
        }
        if context.probers.is_empty() {
            context.probers = self.probers.iter().map(Person::of).collect();
        }
        if context.account.is_none() {
            let mut accounts: Vec<_> = self.accounts.into_iter().collect();
            accounts.retain(|(account, _)| {
                operators.is_none_or(|namespace| account.namespace == namespace)
            });
            accounts.sort_by_key(|(_, count)| *count);
            context.account = accounts.pop().map(|(account, _)| account);
        }
    }
}

/// The identity of a request that came from the address of a Pod of the operator's, where others have another: it is the
/// operator's, unless it is the prober's.
fn used_by_operator(entry: &VaultEntry, context: &Context) -> Option<Identity> {
    let who = &entry.who;
    let address = entry.address?;
    let slack = context.settings.grace;
    let mut around = context.presence.around(entry.time, slack);
    let own = around.any(|stay| stay.own(address) && !stay.of_node(address));
    if !own || context.own(entry) {
        return None;
    }
    let named = named_after(who)?;
    // A login says where its mount is; in a name, dashes stand for the slashes.
    let mount = entry.own_mount().strip_prefix("auth/");
    let (namespace, mount) = match mount.filter(|_| entry.login) {
        Some(mount) => (entry.namespace.as_str(), mount),
        None => ("", named),
    };
    (!who.role.is_empty()).then(|| Identity {
        mount: mount.to_owned(),
        role: who.role.clone(),
        service_account: who.service_account.clone(),
        probe: true,
        shared: false,
        namespace: namespace.to_owned(),
    })
}

/// The namespace, the mount and the folder of a canary that a request is about.
fn canary(entry: &VaultEntry) -> Option<(String, String, String)> {
    let (folder, name) = entry.path.rsplit_once('/')?;
    let run = name.strip_prefix(CANARY.0)?.rsplit('-').next()?;
    if run.len() != CANARY.1 {
        return None;
    }
    let mount = entry.own_mount();
    let inner = folder.strip_prefix(mount)?.trim_start_matches('/');
    let inner = inner
        .strip_prefix("data/")
        .or_else(|| inner.strip_prefix("metadata/"))
        .unwrap_or(inner);
    let place = [&entry.namespace, mount, inner].map(str::to_owned);
    (!mount.is_empty() && !inner.is_empty()).then(|| place.into())
}

/// What the rules say of whole logs, with all that was learnt from them before.
#[derive(Debug)]
pub struct Review<'a> {
    facts: &'a Facts,
    context: &'a Context,
    mode: Mode,
    hits: Vec<Hit>,
    ledger: Ledger,
}

impl<'a> Review<'a> {
    /// A review with the facts of all the entries that are to come.
    pub fn new(facts: &'a Facts, context: &'a Context) -> Self {
        Self {
            facts,
            context,
            mode: facts.mode(context),
            hits: Vec::new(),
            ledger: Ledger::default(),
        }
    }

    /// Judges an entry.
    pub fn weigh(&mut self, source: &str, entry: &Entry) {
        self.hits.extend(rule::hits(
            source,
            entry,
            self.facts,
            self.context,
            self.mode,
            None,
        ));
        if self.hits.len() >= HITS {
            self.conclude();
        }
    }

    fn conclude(&mut self) {
        let hits = std::mem::take(&mut self.hits);
        self.ledger.update(hits, &self.context.settings, None);
    }

    /// All findings, the first first.
    pub fn findings(mut self) -> Vec<Finding> {
        let mut weighed = Weighed::default();
        weighed.weigh(self.facts, self.context, None);
        self.hits.extend(weighed.hit());
        self.conclude();
        self.ledger.findings()
    }

    /// As which address Vault sees the operator.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The rules that lack what they go by, and what that is.
    pub fn off(&self) -> Vec<(RuleName, &'static str)> {
        rule::off(self.facts, self.context)
    }
}
