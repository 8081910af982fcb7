//! The metrics of the audit.

use std::collections::BTreeMap;
use std::fmt;

use super::encoder::{Encoder, NO_LABELS};

/// The name of a rule, of a confidence, of a reason: a word of the contract.
pub type Word = &'static str;

/// What the audit has to tell. Every series is there from the beginning.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AuditFigures {
    /// Confirmed findings since the start, by rule and confidence.
    pub findings: BTreeMap<(Word, Word), u64>,
    /// Confirmed findings of late, by rule and confidence.
    pub open: BTreeMap<(Word, Word), u64>,
    /// Suspects, by rule.
    pub suspects: BTreeMap<Word, u64>,
    /// The sources, by their names.
    pub sources: BTreeMap<String, SourceFigures>,
    /// Whether a Pod of the operator's is there; `None` if that is not known.
    pub present: Option<bool>,
    /// As which address Vault sees the operator.
    pub mode: Word,
    /// Every mode.
    pub modes: Vec<Word>,
    /// When a drill was last found, in Unix time; 0 if none was.
    pub drilled: f64,
    /// How the windows of the books came out since the start.
    pub windows: BTreeMap<Word, u64>,
    /// By how much Vault's log holds more than another book, over the last hour at most: the operation, the book, how many; empty if
    /// there is none to compare with.
    pub difference: Vec<(Word, Word, i64)>,
}

/// What a source has to tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SourceFigures {
    /// Whether it can be relied on.
    pub up: bool,
    /// By how much the last line was late when it came, in seconds.
    pub lag_seconds: f64,
    /// When the last line was written, in Unix time; 0 if there was none.
    pub last_line: f64,
    /// Lines, by what became of them.
    pub lines: BTreeMap<Word, u64>,
    /// Bytes.
    pub bytes: u64,
    /// Gaps, by reason.
    pub gaps: BTreeMap<Word, u64>,
}

impl AuditFigures {
    pub(super) fn write(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        self.findings(encoder)?;
        self.sources(encoder)?;
        self.books(encoder)?;
        encoder.gauges(
            "vso_audit_operator_present",
            "Whether a Pod of the operator's is there.",
            self.present
                .map(|present| (NO_LABELS, f64::from(u8::from(present)))),
        )?;
        encoder.gauges(
            "vso_audit_drill_last_success_timestamp_seconds",
            "When `audit drill` last had its misuse found, in Unix time; 0 if never.",
            [(NO_LABELS, self.drilled)],
        )?;
        encoder.gauges(
            "vso_audit_address_mode_info",
            "As which address Vault sees the operator: pod, node, proxy, or off if it is not known.",
            self.modes.iter().map(|mode| ([("mode", *mode)], f64::from(u8::from(*mode == self.mode)))),
        )
    }

    fn books(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let labels = |operation, book| [("operation", operation), ("book", book)];
        encoder.gauges(
            "vso_audit_books_difference",
            "How many more operations of the operator's identities Vault's audit log holds than the operator counted, or than tokens of ServiceAccounts the API server issued to it, over an hour at most.",
            self.difference
                .iter()
                .map(|(operation, book, more)| (labels(*operation, *book), signed(*more))),
        )?;
        encoder.counters(
            "vso_audit_books_windows_total",
            "Windows between two readings of the operator's metrics, by what their comparison with Vault's audit log gave.",
            self.windows
                .iter()
                .map(|(result, count)| ([("result", *result)], *count)),
        )
    }

    fn findings(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        fn of(
            findings: &BTreeMap<(Word, Word), u64>,
        ) -> impl Iterator<Item = ([(Word, Word); 2], u64)> {
            let labels =
                |(rule, confidence): &(Word, Word)| [("rule", *rule), ("confidence", *confidence)];
            findings
                .iter()
                .map(move |(key, count)| (labels(key), *count))
        }
        encoder.counters(
            "vso_audit_findings_total",
            "Confirmed findings of who acts in the operator's name, by rule and confidence.",
            of(&self.findings),
        )?;
        encoder.gauges(
            "vso_audit_open_findings",
            "Confirmed findings whose last request was made within `audit.remember`.",
            of(&self.open).map(|(labels, count)| (labels, figure(count))),
        )?;
        encoder.gauges(
            "vso_audit_suspects",
            "Suspects that may still be explained, by rule.",
            self.suspects
                .iter()
                .map(|(rule, count)| ([("rule", *rule)], figure(*count))),
        )
    }

    fn sources(&self, encoder: &mut Encoder<'_>) -> fmt::Result {
        let each = |value: fn(&SourceFigures) -> f64| {
            let series = self.sources.iter();
            series.map(move |(name, source)| ([("source", name.as_str())], value(source)))
        };
        encoder.gauges(
            "vso_audit_up",
            "Whether the source can be relied on: its lines come, and hold no token in clear.",
            each(|source| f64::from(u8::from(source.up))),
        )?;
        encoder.gauges(
            "vso_audit_lag_seconds",
            "By how much the last line of the source was late, in seconds.",
            each(|source| source.lag_seconds),
        )?;
        encoder.gauges(
            "vso_audit_last_line_timestamp_seconds",
            "When the last line of the source was written, in Unix time; 0 if there was none.",
            each(|source| source.last_line),
        )?;
        let counts = |of: fn(&SourceFigures) -> &BTreeMap<Word, u64>, label: Word| {
            self.sources.iter().flat_map(move |(name, source)| {
                let labels = move |word: &Word| [("source", name.as_str()), (label, *word)];
                of(source)
                    .iter()
                    .map(move |(word, count)| (labels(word), *count))
            })
        };
        encoder.counters(
            "vso_audit_lines_total",
            "Lines of the source, by what became of them.",
            counts(|source| &source.lines, "result"),
        )?;
        encoder.counters(
            "vso_audit_bytes_total",
            "Bytes of the source.",
            self.sources
                .iter()
                .map(|(name, source)| ([("source", name.as_str())], source.bytes)),
        )?;
        encoder.counters(
            "vso_audit_gaps_total",
            "Where lines of the source may be missing, by reason.",
            counts(|source| &source.gaps, "reason"),
        )
    }
}

fn signed(count: i64) -> f64 {
    i32::try_from(count)
        .unwrap_or(if count < 0 { i32::MIN } else { i32::MAX })
        .into()
}

fn figure(count: u64) -> f64 {
    u32::try_from(count).unwrap_or(u32::MAX).into()
}
