//! The context of the logs: the operator's presence, its identities, the traps, the clocks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::address::Mode;
use super::entry::VaultEntry;
use super::identity::{Identities, Identity, Person, fits};
use super::presence::Presence;
use super::trap::{Touch, Trap};
use super::workload::Workloads;
use crate::model::clock::Offset;
use crate::model::name::ObjectRef;

/// So long before it is first seen, and after it is last seen, a Pod of others may have been where it is.
const LOOK: Duration = Duration::from_secs(60);

/// By ServiceAccount, `namespace/name`: the addresses of the Pods that use it, and since when each Pod is there.
pub type Accounts = BTreeMap<String, BTreeMap<IpAddr, Timestamp>>;

/// How findings are made of what is known.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long a suspect waits to be confirmed.
    pub grace: Duration,
    /// How late a feed may be before its silence says nothing.
    pub lag: Duration,
    /// For how long there is one finding per rule, identity and address.
    pub remember: Duration,
    /// As which address Vault sees the operator; `None` learns it.
    pub address: Option<Mode>,
    /// Further addresses that may use the operator's identities.
    pub trusted: Vec<IpNet>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(60),
            lag: Duration::from_secs(30),
            remember: Duration::from_secs(3600),
            address: None,
            trusted: Vec::new(),
        }
    }
}

/// Who else may touch canaries, and which.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reader {
    /// The paths, as the log has them; `*` stands for anything.
    pub path: Option<String>,
    /// Who.
    pub person: Person,
}

/// Whether the operator's tokens outlive its Pod.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Persistence {
    /// They don't.
    None,
    /// They are kept in Secrets.
    Direct,
}

/// Two readings of the operator's metrics of one Pod, and what it counted between them.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Window {
    /// When the first was made.
    pub from: Timestamp,
    /// When the second was made.
    pub to: Timestamp,
    /// Logins.
    pub logins: u64,
    /// Reads.
    pub reads: u64,
    /// When the second was asked for; none if it took no time.
    #[serde(default)]
    pub asked: Option<Timestamp>,
    /// How long the logins and reads took together.
    #[serde(default)]
    pub took: Duration,
}

/// What is known beside the logs.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// How findings are made.
    pub settings: Settings,
    /// When the operator was there.
    pub presence: Presence,
    /// The identities that only it takes.
    pub identities: Identities,
    /// The Pods of others that use their ServiceAccounts, as far as they can be seen.
    pub workloads: Workloads,
    /// The canaries' folders and the decoys.
    pub traps: Vec<Trap>,
    /// The prober, this one and others.
    pub probers: Vec<Person>,
    /// Who else may touch canaries.
    pub readers: Vec<Reader>,
    /// The operator's ServiceAccount.
    pub account: Option<ObjectRef>,
    /// How far Vault's clock is from the cluster's.
    pub offset: Option<Offset>,
    /// Whether its tokens outlive its Pod; `None` if that is not known.
    pub persistence: Option<Persistence>,
    /// Whether it is known, or will be, what the operator counted itself.
    pub counts: bool,
    /// What it counted itself, one window after the other.
    pub windows: Vec<Window>,
    /// Until when all the events of the API server's log have come.
    pub events_until: Option<Timestamp>,
}

impl Context {
    /// How wrong a moment of Vault's may be when it is corrected.
    pub(super) fn error(&self) -> Duration {
        self.offset.map_or(Duration::ZERO, |offset| offset.error)
    }

    /// A moment of Vault's, by the cluster's clock.
    pub(super) fn corrected(&self, line: Timestamp) -> Timestamp {
        self.offset.map_or(line, |offset| offset.corrected(line))
    }

    /// The operator's identity that a request was made with, unless a workload that shares it made the request.
    pub(super) fn identity(&self, entry: &VaultEntry) -> Option<&Identity> {
        let identity = self.identities.of(entry)?;
        let account = &entry.who.service_account;
        let theirs = |address| self.workload(account, address, self.corrected(entry.time));
        let theirs = identity.shared && entry.address.is_some_and(theirs);
        (!theirs).then_some(identity)
    }

    /// Whether an address was that of a workload which uses a ServiceAccount, and not the operator's.
    pub(super) fn workload(&self, account: &str, address: IpAddr, at: Timestamp) -> bool {
        self.workloads.have(account, address, at, self.look())
            && !self.presence.owns(address, at, self.error())
    }

    /// Whether it can't be told who made a request with an identity that others share: nobody looked at their Pods then.
    pub(super) fn unsure(&self, at: Timestamp) -> bool {
        self.workloads.unseen(at, self.look())
    }

    /// So long before and after a look, what it showed holds.
    fn look(&self) -> Duration {
        self.settings.grace.max(LOOK).saturating_add(self.error())
    }

    /// Takes in the Pods of others that use these ServiceAccounts, as they are at `at`: their addresses, and since when each is there.
    pub fn see_workloads(&mut self, accounts: &Accounts, at: Timestamp) {
        for (account, addresses) in accounts {
            // At first it may not be known yet whose accounts they are.
            if self.identities.is_empty() || self.identities.of_account(account).is_some() {
                for (address, from) in addresses {
                    self.workloads.see(account, *address, *from, at);
                }
            }
        }
        self.workloads.look(at, self.look());
    }

    /// The trap that a request touches, and how.
    pub(super) fn touched(&self, entry: &VaultEntry) -> Option<(&Trap, Touch)> {
        self.traps
            .iter()
            .find_map(|trap| Some((trap, trap.touched(entry)?)))
    }

    /// Whether a request is the prober's own.
    pub(super) fn own(&self, entry: &VaultEntry) -> bool {
        self.probers.iter().any(|person| person.is(&entry.who))
    }

    /// Whether somebody else is known to touch this path.
    pub(super) fn reader(&self, entry: &VaultEntry) -> bool {
        self.readers.iter().any(|reader| {
            let path = reader.path.as_ref();
            path.is_none_or(|path| fits(path, &entry.path)) && reader.person.is(&entry.who)
        })
    }

    /// Whether an address is one of those that may use the operator's identities besides.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        self.settings
            .trusted
            .iter()
            .any(|range| range.contains(&address))
    }
}
