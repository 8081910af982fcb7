//! The counts of what the sources told, and the figures that are made of them.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use crate::audit::Taken;
use crate::audit::address::Mode;
use crate::audit::entry::{Torn, VaultEntry};
use crate::audit::finding::{Confidence, Finding, RuleName, State};
use crate::audit::pairs::Pairs;
use crate::model::time::Moment as _;
use crate::publish::{AuditFigures, SourceFigures, Word};

/// What becomes of a line.
const RESULTS: [Word; 5] = ["used", "skipped", "duplicate", "torn", "unhashed"];
/// Why lines may be missing.
const REASONS: [Word; 3] = ["truncated", "vanished", UNPAIRED];
/// A request's line without that of its response, or the reverse.
const UNPAIRED: Word = "unpaired";

/// For so long after a line came, its lateness is that of the source: twice as long as the alert on it waits.
const FRESH: Duration = Duration::from_secs(600);

/// How a window of the books comes out: how much more Vault's log holds than the operator counted.
const WINDOWS: [Word; 4] = ["balanced", "over", "under", VOID];
/// A window that can't be compared, as the operator began anew in it.
pub(super) const VOID: Word = "void";

/// What one source told.
#[derive(Clone, Debug)]
pub(super) struct Source {
    figures: SourceFigures,
    /// Since when it told nothing that can't be judged, and what that was.
    spoilt: Option<(Timestamp, Torn)>,
    /// Why it can't be read now.
    pub(super) unread: Option<String>,
    pub(super) last_line: Option<Timestamp>,
    /// When that came.
    came: Option<Timestamp>,
    pairs: Pairs,
}

impl Default for Source {
    fn default() -> Self {
        let zero = |words: &[Word]| words.iter().map(|word| (*word, 0)).collect();
        Self {
            figures: SourceFigures {
                lines: zero(&RESULTS),
                gaps: zero(&REASONS),
                ..SourceFigures::default()
            },
            spoilt: None,
            unread: None,
            last_line: None,
            came: None,
            pairs: Pairs::default(),
        }
    }
}

impl Source {
    /// A line came, of so many bytes.
    pub(super) fn line(&mut self, bytes: usize) {
        self.figures.bytes = self
            .figures
            .bytes
            .saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// It was an entry, written at `time`.
    pub(super) fn entry(&mut self, time: Timestamp, taken: &Taken<'_>, at: Timestamp) {
        self.count(match taken {
            Taken::Used(_) => "used",
            Taken::Skipped => "skipped",
            Taken::Duplicate => "duplicate",
        });
        if !matches!(taken, Taken::Duplicate) {
            self.last_line = self.last_line.max(Some(time));
            self.figures.lag_seconds = at.duration_since(time).as_secs_f64().max(0.0);
            self.came = Some(at);
        }
    }

    /// It was none, as was seen at `at`.
    pub(super) fn torn(&mut self, torn: Torn, at: Timestamp) {
        self.count(if torn == Torn::Unhashed {
            "unhashed"
        } else {
            "torn"
        });
        if matches!(torn, Torn::Unhashed | Torn::Jsonx) {
            self.spoilt = Some((at, torn));
        }
    }

    /// Lines may be missing.
    pub(super) fn gap(&mut self, reason: Word) {
        self.gaps(reason, 1);
    }

    fn gaps(&mut self, reason: Word, count: u64) {
        let gaps = self.figures.gaps.entry(reason).or_default();
        *gaps = gaps.saturating_add(count);
    }

    /// It was a line of Vault's. Where its request or its response does not come, lines may be missing.
    pub(super) fn pair(&mut self, entry: &VaultEntry) {
        let alone = self.pairs.take(entry);
        self.gaps(UNPAIRED, alone);
    }

    fn count(&mut self, result: Word) {
        *self.figures.lines.entry(result).or_default() += 1;
    }

    /// Why it can't be relied on, if it can't. What it told until `since` is forgotten: its device may have been mended.
    pub(super) fn down(&self, since: Timestamp) -> Option<String> {
        let spoilt = self.spoilt.filter(|(at, _)| *at >= since);
        let spoilt = spoilt.map(|(_, torn)| torn.to_string());
        spoilt.or_else(|| self.unread.clone())
    }

    fn figures(&self, heard: bool, now: Timestamp, since: Timestamp) -> SourceFigures {
        // How late a line was says nothing once no others come.
        let fresh = self.came.is_some_and(|came| came.later(FRESH) >= now);
        SourceFigures {
            up: heard && self.down(since).is_none(),
            last_line: unix(self.last_line),
            lag_seconds: if fresh { self.figures.lag_seconds } else { 0.0 },
            ..self.figures.clone()
        }
    }
}

/// What the audit counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) sources: BTreeMap<String, Source>,
    confirmed: BTreeMap<(Word, Word), u64>,
    windows: BTreeMap<Word, u64>,
}

impl Counts {
    /// What the source of this name told.
    pub(super) fn source(&mut self, name: &str) -> &mut Source {
        self.sources.entry(name.to_owned()).or_default()
    }

    /// Takes in a finding whose state has changed.
    pub(super) fn changed(&mut self, finding: &Finding) {
        if finding.state == State::Confirmed {
            let key = (finding.rule.name(), finding.confidence.name());
            *self.confirmed.entry(key).or_default() += 1;
        }
    }

    /// A window of the books came out so.
    pub(super) fn window(&mut self, result: Word) {
        *self.windows.entry(result).or_default() += 1;
    }

    /// What there is to tell at `now`; `heard` says whether the prober's own lines come.
    pub(super) fn figures(
        &self,
        findings: &[Finding],
        present: Option<bool>,
        mode: Mode,
        now: Timestamp,
        remember: Duration,
        heard: bool,
    ) -> AuditFigures {
        let mut open = every();
        let mut suspects: BTreeMap<_, _> = RuleName::ALL.map(|rule| (rule.name(), 0)).into();
        for finding in findings {
            let (rule, confidence) = (finding.rule.name(), finding.confidence.name());
            match finding.state {
                State::Suspect => *suspects.entry(rule).or_default() += 1,
                State::Confirmed if finding.last.later(remember) >= now => {
                    *open.entry((rule, confidence)).or_default() += 1;
                }
                State::Confirmed | State::Dismissed => {}
            }
        }
        let mut confirmed = every();
        confirmed.extend(self.confirmed.clone());
        let sources = self.sources.iter();
        let mut windows: BTreeMap<_, _> = WINDOWS.map(|result| (result, 0)).into();
        windows.extend(&self.windows);
        AuditFigures {
            findings: confirmed,
            open,
            suspects,
            sources: sources
                .map(|(name, source)| {
                    (
                        name.clone(),
                        source.figures(heard, now, now.earlier(remember)),
                    )
                })
                .collect(),
            present,
            mode: mode.name(),
            modes: Mode::ALL.map(Mode::name).to_vec(),
            windows,
            drilled: 0.0,
            difference: Vec::new(),
        }
    }
}

/// In Unix time; 0 if there is none.
pub(super) fn unix(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| at.as_duration().as_secs_f64())
}

/// Every series that there can be: a rule with each confidence that it may have.
fn every() -> BTreeMap<(Word, Word), u64> {
    let pairs = RuleName::ALL
        .into_iter()
        .flat_map(|rule| Confidence::ALL.map(|confidence| (rule.name(), confidence.name())));
    pairs.map(|pair| (pair, 0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_down_until_its_device_was_mended_for_a_while() {
        let at = |second: i64| Timestamp::from_second(1_800_000_000 + second).expect("a time");
        let mut source = Source::default();
        source.torn(Torn::NotWhole, at(0));
        assert_eq!(source.down(at(0)), None);
        source.torn(Torn::Unhashed, at(1));
        assert_eq!(source.down(at(1)), Some(Torn::Unhashed.to_string()));
        assert_eq!(source.down(at(2)), None);
    }
}
