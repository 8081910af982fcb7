//! The rules on where and when the operator was.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::super::address::Mode;
use super::super::context::Persistence;
use super::super::finding::Confidence;
use super::super::presence::Stay;
use super::{Case, Said};
use crate::model::time::Moment as _;

/// When a token was issued is written to the second.
const GRAIN: Duration = Duration::from_secs(1);

/// The operator's identity was used while none of its Pods was there, and its Lease had run out.
pub(super) fn absent(case: &Case<'_>) -> Said {
    case.identity?;
    case.context.offset?;
    let presence = &case.context.presence;
    let slack = case.slack();
    let (from, to) = (case.at.earlier(slack), case.at.later(slack));
    let to = case.now.map_or(to, |now| to.min(now.max(case.at)));
    let there = presence.around(case.at, slack).next().is_some() || presence.leased(case.at, slack);
    (presence.known(from, to) && !there).then(|| {
        let text = format!(
            "{} from {} while no Pod of the operator was there",
            case.deed(),
            case.from()
        );
        (Confidence::High, text)
    })
}

/// The operator's identity was used from an address that is not the operator's.
pub(super) fn address(case: &Case<'_>) -> Said {
    case.identity?;
    let address = case.entry.address?;
    let confidence = sure(case.mode)?;
    let presence = &case.context.presence;
    let mut around = presence.around(case.at, case.slack());
    let known = presence.begun(case.at) && around.any(|stay| stay.address.is_some());
    if !known || operators(case, address, case.at) {
        return None;
    }
    let stays = presence.around(case.at, case.slack());
    let own: BTreeSet<_> = stays
        .flat_map(Stay::addresses)
        .filter(|own| *own != address)
        .collect();
    let own: Vec<_> = own.iter().map(|own| format!("`{own}`")).collect();
    let holder = presence.holders(address).next();
    let holder = holder.map(|stay| format!(" (it is, or was, that of the Pod `{}`)", stay.pod));
    let text = format!(
        "{} from `{address}`{}, which is not an address of the operator's ({})",
        case.deed(),
        holder.unwrap_or_default(),
        own.join(", ")
    );
    Some((confidence, text))
}

/// A token was used from two addresses that are not both the operator's at those times.
pub(super) fn moved(case: &Case<'_>) -> Said {
    case.identity?;
    let (address, token) = (case.entry.address?, case.entry.token?);
    let confidence = sure(case.mode)?;
    if !case.context.presence.begun(case.at) || operators(case, address, case.at) {
        return None;
    }
    let mut others = case
        .facts
        .uses(token)
        .filter(|(other, _)| *other != address);
    let (other, _) = others.find(|(other, times)| {
        operators(case, *other, times.0) || operators(case, *other, times.1)
    })?;
    let text = format!(
        "{} from `{address}` with the token {token}, which the operator used from `{other}`",
        case.deed()
    );
    Some((confidence, text))
}

/// A token was used that was issued before any living Pod of the operator's started, and that none could have kept.
pub(super) fn revenant(case: &Case<'_>) -> Said {
    case.identity?;
    let issued = case.entry.issued?;
    let presence = &case.context.presence;
    let slack = case.slack();
    let (from, to) = (case.at.earlier(slack), case.at.later(slack));
    let to = case.now.map_or(to, |now| to.min(now.max(case.at)));
    if case.context.persistence != Some(Persistence::None) || !presence.known(from, to) {
        return None;
    }
    let oldest = presence
        .around(case.at, slack)
        .map(|stay| stay.from)
        .min()?;
    let latest = case
        .context
        .corrected(issued)
        .later(GRAIN)
        .later(case.context.error());
    (latest < oldest).then(|| {
        let text = format!(
            "{} from {} with a token of {issued}, but the oldest Pod of the operator's is of {oldest} and it keeps no tokens",
            case.deed(),
            case.from()
        );
        (Confidence::High, text)
    })
}

/// How sure a rule on addresses can be.
fn sure(mode: Mode) -> Option<Confidence> {
    match mode {
        Mode::Pod => Some(Confidence::High),
        Mode::Node => Some(Confidence::Medium),
        Mode::Proxy | Mode::Off => None,
    }
}

/// Whether an address was the operator's at a time, and not another Pod's by then, or is trusted.
fn operators(case: &Case<'_>, address: IpAddr, at: Timestamp) -> bool {
    let context = case.context;
    if context.trusts(address) {
        return true;
    }
    let own = context.presence.has(address, case.mode, at, case.slack());
    own && !context.presence.taken_over(address, at, context.error())
}
