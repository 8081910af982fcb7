//! The rules on the API server's log: which tokens of ServiceAccounts the operator asked for, and from where.

use std::time::Duration;

use super::super::address::Mode;
use super::super::context::Context;
use super::super::entry::KubeEntry;
use super::super::facts::{Facts, of_operator};
use super::super::finding::Confidence;
use super::{Case, Said};
use crate::model::time::Moment as _;

/// A login follows the token that it takes by milliseconds (2 to 22 ms of 1.4.1, on `OpenBao` and on Vault).
const FOLLOWS: Duration = Duration::from_secs(30);
/// By how much the API server's clock may be ahead. By how much it may be behind, `FOLLOWS` has room for.
const CLOCKS: Duration = Duration::from_secs(2);

/// A login was granted with a token of a ServiceAccount that the operator did not ask for in the 30 s before.
pub(super) fn unbacked(case: &Case<'_>) -> Said {
    let identity = case.identity?;
    case.context.account.as_ref()?;
    let account = &case.entry.who.service_account;
    if !case.entry.login
        || case.entry.refused
        || account.is_empty()
        || identity.service_account.is_empty()
    {
        return None;
    }
    let (first, last) = case.facts.events()?;
    let error = case.context.offset?.error;
    let from = case.at.earlier(FOLLOWS).earlier(error);
    let to = case.at.later(error).later(CLOCKS);
    // Only where the API server's log is known to have such requests, and to be whole, does its silence say anything.
    let whole = last >= to || case.context.events_until.is_some_and(|until| until >= to);
    let whole = whole && case.facts.shows_requests();
    (first <= from && whole && !case.facts.issued(account, from, to)).then(|| {
        let text = format!(
            "{} from {} with a token of the ServiceAccount `{account}` that the operator did not ask for",
            case.deed(),
            case.from()
        );
        (Confidence::High, text)
    })
}

/// The operator's account had a token issued from an address that none of its Pods has.
pub(super) fn issuer(event: &KubeEntry, facts: &Facts, context: &Context) -> Said {
    let account = event.token_of.as_ref()?;
    if !of_operator(event, context) || event.addresses.is_empty() || !facts.requesters_tell(context)
    {
        return None;
    }
    let slack = context.settings.grace;
    let there = context.presence.around(event.time, slack).next().is_some();
    let own = event.addresses.iter().any(|address| {
        context.trusts(*address)
            || context
                .presence
                .has(*address, Mode::Node, event.time, slack)
    });
    let known = context.presence.known(event.time, event.time);
    (known && !own && (there || context.offset.is_some())).then(|| {
        let addresses: Vec<_> = event.addresses.iter().map(|address| format!("`{address}`")).collect();
        let text = format!(
            "the operator's account had a token of the ServiceAccount `{account}` issued from {}, which is not an address of its Pods",
            addresses.join(", ")
        );
        (Confidence::High, text)
    })
}
