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

/// How long the operator may take from a request to its count: at least this, and so many times what a request takes it on the
/// average.
const EDGE: Duration = Duration::from_millis(100);
const EDGES: u32 = 20;

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

/// What the windows amount to of which no line is to come any more. It is computed once for each of them, as the log of an hour is
/// long.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weighed {
    /// When the last of them ended.
    until: Option<Timestamp>,
    /// What is found.
    hit: Option<Hit>,
    difference: Option<Difference>,
}

impl Weighed {
    /// Takes in a window that is over by now, if there is one.
    pub fn weigh(&mut self, facts: &Facts, context: &Context, now: Option<Timestamp>) {
        let windows = over(facts, context, now);
        let until = windows.last().map(|window| window.to);
        if until != self.until {
            *self = Self {
                until,
                hit: excess(facts, context, &windows),
                difference: difference(facts, context, &windows),
            };
        }
    }

    /// What is found.
    pub fn hit(&self) -> Option<Hit> {
        self.hit.clone()
    }

    /// The difference over all windows, which follow one another. What was under way at either end may count for it.
    pub const fn difference(&self) -> Option<Difference> {
        self.difference
    }
}

/// The windows of which no line is to come any more, and none was forgotten.
fn over<'a>(facts: &Facts, context: &'a Context, now: Option<Timestamp>) -> Vec<&'a Window> {
    let lag = context.settings.lag;
    let over = |window: &&Window| {
        now.is_none_or(|now| window.to.later(lag) <= now) && facts.whole(window.from)
    };
    context.windows.iter().filter(over).collect()
}

fn sum(windows: &[&Window], of: fn(&Window) -> u64) -> u64 {
    let sum = |sum: u64, window: &&Window| sum.saturating_add(of(window));
    windows.iter().fold(0, sum)
}

fn difference(facts: &Facts, context: &Context, windows: &[&Window]) -> Option<Difference> {
    let (from, to) = (windows.first()?.from, windows.last()?.to);
    let (logins, reads) = facts.counted(context, from, to);
    let events = facts.events().filter(|(first, _)| *first <= from);
    Some(Difference {
        logins: less(logins, sum(windows, |window| window.logins)),
        reads: less(reads, sum(windows, |window| window.reads)),
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

/// A finding, if the log holds more than the operator did between two of its readings, of which there are three or more.
fn excess(facts: &Facts, context: &Context, windows: &[&Window]) -> Option<Hit> {
    let (first, last) = (windows.first()?, windows.last()?);
    let guard = edge(windows).saturating_add(context.error());
    let asked = windows
        .iter()
        .map(|window| window.asked.unwrap_or(window.to));
    let before = std::iter::once(first.from).chain(asked);
    let before: Vec<_> = before.map(|at| at.earlier(guard)).collect();
    let came = windows.iter().map(|window| window.to);
    let after = std::iter::once(first.from).chain(came);
    let after: Vec<_> = after.map(|at| at.later(context.error())).collect();
    let before = facts.counted_until(context, first.from, &before);
    let after = facts.counted_until(context, first.from, &after);
    let counted = |of: fn(&Window) -> u64| windows.iter().map(move |window| of(window));
    let logins = proven(&before.logins, &after.logins, counted(|one| one.logins));
    let reads = proven(&before.reads, &after.reads, counted(|one| one.reads));
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

/// How long the operator may have taken from a request to its count.
fn edge(windows: &[&Window]) -> Duration {
    let counted = sum(windows, |window| window.logins.saturating_add(window.reads));
    let took = windows.iter().map(|window| window.took);
    let took = took.fold(Duration::ZERO, Duration::saturating_add);
    let counted = u32::try_from(counted).unwrap_or(u32::MAX).max(1);
    let each = took.checked_div(counted).unwrap_or_default();
    each.saturating_mul(EDGES).max(EDGE)
}

/// How much the log holds at least that the operator did not do. Of each reading: how many lines stand before it, and up to a
/// little after it; then what was counted from one to the next. What is under way at a reading may be counted on the other side of
/// it, so that a busy moment shows less than a quiet one: any two readings may show the most. Two must show it at their end, as one
/// may come while the operator is held up.
fn proven(before: &[u64], after: &[u64], counted: impl Iterator<Item = u64>) -> u64 {
    let readings = before.iter().zip(after);
    let counted = std::iter::once(0).chain(counted);
    let (mut sum, mut least) = (0, None::<i64>);
    let mut most = [0; 2];
    for ((before, after), counted) in readings.zip(counted) {
        sum += counted;
        if let Some(least) = least {
            let shown = less(*before, sum).saturating_sub(least);
            let [first, second] = most;
            most = [first.max(shown), second.max(shown.min(first))];
        }
        let here = less(*after, sum);
        least = Some(least.map_or(here, |least| least.min(here)));
    }
    let [first, second] = most;
    let shown = if second > 0 { first } else { 0 };
    u64::try_from(shown).unwrap_or_default()
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
                asked: None,
                took: Duration::ZERO,
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

    /// Lines before each reading, those within the guard after it as well, and counts between readings.
    fn check(lines: [(u64, u64); 5], counted: [u64; 4], expected: u64) {
        let (before, after): (Vec<_>, Vec<_>) = lines.into_iter().unzip();
        let proven = proven(&before, &after, counted.into_iter());
        assert_eq!(proven, expected, "{before:?} {after:?} {counted:?}");
    }

    #[test]
    fn an_excess_of_one_is_found_wherever_two_readings_are_quiet() {
        let quiet = [(0, 0), (5, 5), (10, 10), (15, 15), (20, 20)];
        check(quiet, [5, 5, 5, 5], 0);
        check(quiet, [5, 4, 5, 5], 1);
        // In the last window it is shown at one end alone.
        check(quiet, [5, 5, 5, 4], 0);
        let busy_at_first = [
            (0, 40),
            (500, 540),
            (1000, 1000),
            (1005, 1005),
            (1010, 1010),
        ];
        check(busy_at_first, [520, 480, 4, 5], 1);
        check(busy_at_first, [520, 480, 5, 5], 0);
    }

    #[test]
    fn an_operator_that_was_held_up_counts_later() {
        let quiet = [(0, 0), (5, 5), (10, 10), (15, 15), (20, 20)];
        check(quiet, [5, 2, 8, 5], 0);
        check(quiet, [5, 0, 10, 5], 0);
    }
}
