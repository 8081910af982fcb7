//! The rules: tables of what makes an entry suspicious, each named and each one question.

pub mod books;
mod honey;
mod kubernetes;
mod presence;

use std::time::Duration;

use jiff::Timestamp;

use super::address::Mode;
use super::context::Context;
use super::entry::{Entry, Half, KubeEntry, VaultEntry, Who};
use super::facts::{self, Facts};
use super::finding::{Confidence, Hit, Operator, Request, RuleName};
use super::identity::{Identity, Shown};
use crate::model::text::Text;

/// What a rule says: how sure it is, and what happened.
pub(super) type Said = Option<(Confidence, String)>;
/// A rule on a request to Vault.
type Rule = (RuleName, fn(&Case<'_>) -> Said);

/// The rules on requests to Vault. Each is asked, for each says something of its own.
const RULES: &[Rule] = &[
    (RuleName::Honey, honey::honey),
    (RuleName::Absent, presence::absent),
    (RuleName::Address, presence::address),
    (RuleName::Moved, presence::moved),
    (RuleName::Revenant, presence::revenant),
    (RuleName::Unbacked, kubernetes::unbacked),
    (RuleName::Agent, agent),
];

/// How a User-Agent of the operator's begins.
const AGENT: &str = "vso/";

/// What a rule goes by.
pub(super) struct Case<'a> {
    pub(super) entry: &'a VaultEntry,
    /// When, by the cluster's clock.
    pub(super) at: Timestamp,
    /// Which of the operator's identities it was made with.
    pub(super) identity: Option<&'a Identity>,
    pub(super) facts: &'a Facts,
    pub(super) context: &'a Context,
    pub(super) mode: Mode,
    /// Now, by the cluster's clock; `None` if all is over.
    pub(super) now: Option<Timestamp>,
}

impl Case<'_> {
    /// Within this of the request, the operator's presence counts for it.
    pub(super) fn slack(&self) -> Duration {
        self.context
            .settings
            .grace
            .saturating_add(self.context.error())
    }

    /// Who did what, as the beginning of a sentence.
    pub(super) fn deed(&self) -> String {
        let who = Shown::new(&self.entry.who, self.identity);
        let Self { entry, .. } = self;
        if entry.login {
            format!("`{}` logged in", who.name())
        } else {
            format!(
                "`{}` asked to {} `{}`",
                who.name(),
                entry.operation,
                entry.full_path()
            )
        }
    }

    /// From where.
    pub(super) fn from(&self) -> String {
        let address = self.entry.address;
        address.map_or_else(
            || "an unknown address".to_owned(),
            |address| format!("`{address}`"),
        )
    }
}

/// What the rules say of an entry.
pub fn hits(
    source: &str,
    entry: &Entry,
    facts: &Facts,
    context: &Context,
    mode: Mode,
    now: Option<Timestamp>,
) -> Vec<Hit> {
    match entry {
        Entry::Vault(entry) => of_request(source, entry, facts, context, mode, now),
        Entry::Kube(event) => kubernetes::issuer(event, facts, context)
            .map(|said| of_event(source, event, context, mode, said))
            .into_iter()
            .collect(),
    }
}

fn of_request(
    source: &str,
    entry: &VaultEntry,
    facts: &Facts,
    context: &Context,
    mode: Mode,
    now: Option<Timestamp>,
) -> Vec<Hit> {
    let identity = context.identity(entry);
    if identity.is_none() && context.touched(entry).is_none() {
        return Vec::new();
    }
    let at = context.corrected(entry.time);
    let case = Case {
        entry,
        at,
        identity,
        facts,
        context,
        mode,
        now,
    };
    let shared = identity.is_some_and(|identity| identity.shared);
    let unsure = shared && context.unsure(at);
    let said: Vec<_> = RULES
        .iter()
        // A canary tells by itself.
        .filter(|(rule, _)| !unsure || *rule == RuleName::Honey)
        .filter_map(|(rule, asked)| Some((*rule, asked(&case)?)))
        .collect();
    let agent = said.iter().any(|(rule, _)| *rule == RuleName::Agent);
    let hit = |(rule, (confidence, text)): (RuleName, (Confidence, String))| {
        let raised = if agent && rule != RuleName::Agent {
            confidence.higher()
        } else {
            confidence
        };
        let confidence = if shared { raised.lower() } else { raised };
        let note = if shared {
            "; other workloads use its ServiceAccount too"
        } else {
            ""
        };
        Hit {
            rule,
            confidence,
            shared,
            source: source.into(),
            identity: Shown::new(&entry.who, identity),
            at,
            request: Some(Request {
                id: entry.id.as_str().into(),
                time: entry.time,
                operation: if entry.login {
                    "login".into()
                } else {
                    entry.operation.as_str().into()
                },
                path: entry.full_path().into(),
                granted: entry.half == Half::Response && !entry.refused,
                address: entry.address,
                token: entry.token.map(|token| token.to_string()),
                user_agent: entry.user_agent.as_deref().map(Text::new),
            }),
            operator: operator(at, case.slack(), context, mode),
            text: Text::new(&format!("{text}{note}")),
        }
    };
    said.into_iter().map(hit).collect()
}

fn of_event(
    source: &str,
    event: &KubeEntry,
    context: &Context,
    mode: Mode,
    (confidence, text): (Confidence, String),
) -> Hit {
    let account = event.token_of.clone().unwrap_or_default();
    let identity = context.identities.of_account(&account);
    let who = Who {
        role: identity
            .map(|identity| identity.role.clone())
            .unwrap_or_default(),
        service_account: account.clone(),
        ..Who::default()
    };
    Hit {
        rule: RuleName::Issuer,
        confidence,
        shared: false,
        source: source.into(),
        identity: Shown::new(&who, identity),
        at: event.time,
        request: Some(Request {
            id: event.id.as_str().into(),
            time: event.time,
            operation: "create".into(),
            path: format!("serviceaccounts/token of {account}").into(),
            granted: true,
            address: event.addresses.first().copied(),
            token: None,
            user_agent: Some(event.user_agent.as_str().into()),
        }),
        operator: operator(event.time, context.settings.grace, context, mode),
        text: text.into(),
    }
}

/// What is known of the operator at a time.
fn operator(at: Timestamp, slack: Duration, context: &Context, mode: Mode) -> Operator {
    let pods: Vec<_> = context
        .presence
        .around(at, slack)
        .take(8)
        .cloned()
        .collect();
    Operator {
        present: !pods.is_empty(),
        pods,
        address_mode: mode,
    }
}

/// Another program than the operator uses its identity.
fn agent(case: &Case<'_>) -> Said {
    let agent = case.entry.user_agent.as_ref()?;
    let other = case.identity.is_some() && !agent.starts_with(AGENT);
    other.then(|| {
        let text = format!(
            "{} as the program `{agent}`, which is not the operator",
            case.deed()
        );
        (Confidence::Low, text)
    })
}

/// The rules that lack what they go by, and what that is.
pub fn off(facts: &Facts, context: &Context) -> Vec<(RuleName, &'static str)> {
    let mode = facts.mode(context);
    let presence = context.presence.is_empty();
    let checks: [(RuleName, bool, &str); 15] = [
        (
            RuleName::Honey,
            context.traps.is_empty() || context.identities.is_empty(),
            "no canary and no decoy is known, or not who reads canaries for the prober",
        ),
        (
            RuleName::Honey,
            context.probers.is_empty(),
            "it is not known yet who the prober is",
        ),
        (RuleName::Absent, context.identities.is_empty(), NO_IDENTITY),
        (RuleName::Absent, presence, NO_PRESENCE),
        (RuleName::Absent, context.offset.is_none(), NO_CLOCK),
        (RuleName::Address, presence || !mode.tells(), NO_ADDRESS),
        (RuleName::Moved, presence || !mode.tells(), NO_ADDRESS),
        (RuleName::Revenant, presence, NO_PRESENCE),
        (
            RuleName::Revenant,
            context.persistence != Some(super::context::Persistence::None),
            "the operator keeps its tokens in Secrets, or whether it does is not known",
        ),
        (
            RuleName::Unbacked,
            facts.events().is_none() || context.account.is_none(),
            "there is no audit log of the API server, or the operator's ServiceAccount is not known",
        ),
        (
            RuleName::Unbacked,
            !facts.shows_requests(),
            "the API server's log has not shown yet that the operator asked for a token",
        ),
        (RuleName::Unbacked, context.offset.is_none(), NO_CLOCK),
        (
            RuleName::Issuer,
            presence || !facts.requesters_tell(context),
            "the API server's log does not show the operator's requests from its own addresses",
        ),
        (
            RuleName::Books,
            context.windows.is_empty(),
            "there are no readings of the operator's metrics",
        ),
        (RuleName::Agent, context.identities.is_empty(), NO_IDENTITY),
    ];
    let mut off: Vec<(RuleName, &'static str)> = Vec::new();
    for (rule, lacks, reason) in checks {
        if lacks && !off.iter().any(|(known, _)| *known == rule) {
            off.push((rule, reason));
        }
    }
    off
}

const NO_IDENTITY: &str = "no identity is known that only the operator takes";
const NO_CLOCK: &str = "how far Vault's clock is from the cluster's is not known";
const NO_PRESENCE: &str = "the operator's presence is not known";
const NO_ADDRESS: &str = "no address tells the operator from others, or which does is not known";

/// Whether an entry is the operator's, or touches a trap, or is an event that a rule needs.
pub fn heeded(entry: &Entry, context: &Context) -> bool {
    match entry {
        Entry::Vault(entry) => {
            context.identities.of(entry).is_some() || context.touched(entry).is_some()
        }
        Entry::Kube(event) => event.token_of.is_some() && facts::of_operator(event, context),
    }
}
