//! The rule on the books: what the operator counted itself, what Vault's log holds, and what the API server's does.

use std::cmp::Ordering;
use std::time::Duration;

use jiff::Timestamp;

use super::super::context::{Context, Window};
use super::super::facts::Facts;
use super::super::finding::{Confidence, Hit, RuleName};
use super::super::identity::Shown;
use super::operator;
use crate::model::text::Text;
use crate::model::time::Moment as _;

/// In so many windows must the log be compared.
const WINDOWS: usize = 2;
/// How long the operator may take from a request to its count.
const EDGE: Duration = Duration::from_secs(2);

/// By how much Vault's log holds more than another book.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Difference {
    /// More logins than the operator counted.
    pub logins: i64,
    /// More reads than it counted.
    pub reads: i64,
    /// More logins than it had tokens of ServiceAccounts issued; `None` without the API server's log.
    pub tokens: Option<i64>,
}

/// The windows of which no line is to come any more.
fn over(context: &Context, now: Option<Timestamp>) -> Vec<&Window> {
    let lag = context.settings.lag;
    let over = |window: &&Window| now.is_none_or(|now| window.to.later(lag) <= now);
    context.windows.iter().filter(over).collect()
}

fn sum(windows: &[&Window], of: fn(&Window) -> u64) -> u64 {
    let sum = |sum: u64, window: &&Window| sum.saturating_add(of(window));
    windows.iter().fold(0, sum)
}

/// The difference over all windows, which follow one another. What was under way at either end may count for it.
pub fn difference(facts: &Facts, context: &Context, now: Timestamp) -> Option<Difference> {
    let windows = over(context, Some(now));
    let (from, to) = (windows.first()?.from, windows.last()?.to);
    let (logins, reads) = facts.counted(context, from, to);
    let events = facts.events().filter(|(first, _)| *first <= from);
    Some(Difference {
        logins: less(logins, sum(&windows, |window| window.logins)),
        reads: less(reads, sum(&windows, |window| window.reads)),
        tokens: events.map(|_| less(logins, facts.tokens_issued(from, to))),
    })
}

/// Whether Vault's log holds more than the operator counted in a window, less, or as much.
pub fn weigh(facts: &Facts, context: &Context, window: &Window) -> Ordering {
    let (logins, reads) = facts.counted(context, window.from, window.to);
    let (logins, reads) = (logins.cmp(&window.logins), reads.cmp(&window.reads));
    // More of the one is not made good by less of the other.
    logins.max(reads).then(logins.min(reads))
}

fn less(one: u64, other: u64) -> i64 {
    let whole = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    whole(one).saturating_sub(whole(other))
}

/// A finding, if the log holds more than the operator did in its windows, of which there are two or more.
pub fn excess(facts: &Facts, context: &Context, now: Option<Timestamp>) -> Option<Hit> {
    let windows = over(context, now);
    let (first, last) = (windows.first()?, windows.last()?);
    if windows.len() < WINDOWS {
        return None;
    }
    // What was under way at either end may be counted on the other side of it.
    let guard = EDGE.saturating_add(context.error());
    let (logins, reads) = facts.counted(context, first.from.later(guard), last.to.earlier(guard));
    let logins = logins.saturating_sub(sum(&windows, |window| window.logins));
    let reads = reads.saturating_sub(sum(&windows, |window| window.reads));
    if (logins, reads) == (0, 0) {
        return None;
    }
    let (from, to) = (first.from, last.to);
    let text = format!(
        "Vault's log holds {logins} logins and {reads} reads of the operator's identities more than the operator counted from {from} to {to}"
    );
    let mode = facts.mode(context);
    Some(Hit {
        rule: RuleName::Books,
        confidence: Confidence::Medium,
        shared: context.identities.iter().any(|identity| identity.shared),
        source: Text::default(),
        identity: Shown::default(),
        at: from,
        request: None,
        operator: operator(from, context.settings.grace, context, mode),
        text: text.into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_of_one_is_not_made_good_by_less_of_the_other() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("a time");
        let check = |logins, reads, expected| {
            let window = Window {
                from: at(0),
                to: at(60),
                logins,
                reads,
            };
            assert_eq!(
                weigh(&Facts::default(), &Context::default(), &window),
                expected,
                "{window:?}"
            );
        };
        check(0, 0, Ordering::Equal);
        check(0, 1, Ordering::Less);
        check(1, 0, Ordering::Less);
    }
}
