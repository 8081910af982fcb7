//! A health check that notices silence: a peer that does not answer for a while may be back before anyone asks why.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::{self, Instant, MissedTickBehavior};

use crate::model::timeline::Seen;

/// How often a sign of life is asked for.
const EVERY: Duration = Duration::from_millis(500);
/// How long one is waited for.
const LIMIT: Duration = Duration::from_secs(1);
/// By how much more than the quickest an answer that came is told to have been long in coming.
const LONG: Duration = Duration::from_millis(250);
/// Of so many answers the quickest says how long the way is: those of five minutes or more.
const ANSWERS: usize = 600;

/// What an absence of that length is called.
pub type Kind = fn(Duration) -> Seen;

/// Asks again and again, as long as it is `wanted`, and tells of every absence, bit by bit while it lasts.
/// `ask` returns what is wrong, or `None`; no answer is `silent`.
pub async fn listen<F>(
    silent: Kind,
    wanted: impl Fn() -> bool,
    ask: impl Fn() -> F,
    tell: impl Fn(Instant, Seen),
) where
    F: Future<Output = Option<Kind>>,
{
    let mut ticks = time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut absent: Option<(Instant, Kind)> = None;
    let mut answers = VecDeque::new();
    loop {
        ticks.tick().await;
        if !wanted() {
            absent = None;
            continue;
        }
        let asked = Instant::now();
        let wrong = time::timeout(LIMIT, ask()).await.unwrap_or(Some(silent));
        let now = Instant::now();
        let before = absent.take();
        let (from, called) = before.unwrap_or((asked, silent));
        let gap = now.saturating_duration_since(from);
        match wrong {
            Some(kind) => {
                tell(now, kind(gap));
                absent = Some((now, kind));
            }
            None if before.is_some() => tell(now, called(gap)),
            None => {
                // The way there and back is no silence, however long it is.
                let quickest = answers.iter().min().copied().unwrap_or(gap);
                let late = gap.saturating_sub(quickest);
                if late >= LONG {
                    tell(now, called(late));
                }
                answers.push_back(gap);
                if answers.len() > ANSWERS {
                    answers.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use super::*;

    /// What is told of one who does not answer from `from` to `to`, in milliseconds of a paused clock.
    async fn told(from: u64, to: u64, wanted: bool) -> Vec<(u64, Seen)> {
        told_of(0, from, to, wanted).await
    }

    /// The same of one to whom the way there and back takes `way`.
    async fn told_of(way: u64, from: u64, to: u64, wanted: bool) -> Vec<(u64, Seen)> {
        let start = Instant::now();
        let since = || start.elapsed().as_millis().try_into().unwrap_or(u64::MAX);
        let heard = RefCell::new(Vec::new());
        let asked = Cell::new(0);
        let listening = listen(
            Seen::Silence,
            || wanted,
            || async {
                asked.set(asked.get() + 1);
                time::sleep_until(Instant::now() + Duration::from_millis(way)).await;
                if (from..to).contains(&since()) {
                    time::sleep_until(start + Duration::from_millis(to)).await;
                }
                None
            },
            |_, what| heard.borrow_mut().push((since(), what)),
        );
        let _ = time::timeout(Duration::from_secs(10), listening).await;
        assert_eq!(asked.get() == 0, !wanted, "asked only while it is wanted");
        heard.into_inner()
    }

    fn length(told: &[(u64, Seen)]) -> Duration {
        let gaps = told.iter().map(|(_, what)| match what {
            Seen::Silence(gap) => *gap,
            other => panic!("{other:?}"),
        });
        gaps.sum()
    }

    #[tokio::test(start_paused = true)]
    async fn an_absence_is_told_from_the_first_question_without_an_answer_to_the_next_answer() {
        let heard = told(1900, 4700, true).await;
        // The question at 2.0 s is the first without an answer, and it and its next fail after 1 s each.
        assert_eq!(length(&heard), Duration::from_millis(2700));
        assert_eq!(heard.last().map(|(at, _)| *at), Some(4700));
        assert!(heard.len() > 1, "it is told while it lasts: {heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_long_way_is_no_silence() {
        assert_eq!(told_of(300, 0, 0, true).await, []);
        // The question at 2.5 s arrives at 2.8 s and is answered 0.5 s later than the others.
        let heard = told_of(300, 2650, 3300, true).await;
        assert_eq!(length(&heard), Duration::from_millis(500), "{heard:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_wait_is_none() {
        assert_eq!(told(1900, 2200, true).await, []);
        assert_eq!(told(0, 0, true).await, []);
        assert_eq!(told(1900, 4700, false).await, []);
    }
}
