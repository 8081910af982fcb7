//! The report of `audit check`.

use std::fmt::Write as _;

use serde::Serialize;

use crate::audit::address::Mode;
use crate::audit::finding::{Finding, RuleName};
use crate::model::text::Text;

/// The form of the summary.
const SCHEMA: &str = "vso-prober/audit-check/v1";

/// What was read, and what it says.
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
    pub(super) summary: Summary,
}

/// What was read, and what could not be judged.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub(super) schema: &'static str,
    pub(super) lines: Lines,
    /// The operator's identities.
    pub(super) identities: Vec<Text>,
    pub(super) address_mode: Mode,
    /// Rules that lack what they go by.
    pub(super) off: Vec<Off>,
}

impl Summary {
    pub(super) fn new(lines: Lines, address_mode: Mode) -> Self {
        Self {
            schema: SCHEMA,
            lines,
            identities: Vec::new(),
            address_mode,
            off: Vec::new(),
        }
    }
}

/// A rule that is off, and why.
#[derive(Debug, Serialize)]
pub(super) struct Off {
    pub(super) rule: RuleName,
    pub(super) reason: &'static str,
}

/// How many lines there were of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(super) struct Lines {
    /// Entries of Vault's log.
    pub(super) vault: u64,
    /// Events of the API server's.
    pub(super) kubernetes: u64,
    /// Lines that are no entry.
    pub(super) torn: u64,
    /// Entries with a token in clear.
    pub(super) unhashed: u64,
    /// Lines of XML.
    pub(super) jsonx: u64,
}

impl Report {
    /// A JSON object a finding, one a line, and then the summary.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        let mut text = String::new();
        for finding in &self.findings {
            text += &serde_json::to_string(finding)?;
            text.push('\n');
        }
        Ok(text + &serde_json::to_string(&self.summary)? + "\n")
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            let Finding {
                rule,
                confidence,
                first,
                last,
                count,
                ..
            } = finding;
            let (rule, confidence) = (rule.name(), confidence.name());
            let plural = if *count == 1 { "request" } else { "requests" };
            let _ = writeln!(text, "✗ {rule} ({confidence}): {}", finding.text);
            let _ = writeln!(
                text,
                "  {count} {plural} from {first} to {last}, in {}",
                finding.source
            );
            for request in &finding.requests {
                let address = request
                    .address
                    .map_or_else(|| "?".to_owned(), |address| address.to_string());
                let granted = if request.granted {
                    "granted"
                } else {
                    "not granted"
                };
                let (time, operation, path) = (request.time, &request.operation, &request.path);
                let _ = writeln!(
                    text,
                    "    {time}  {address}  {operation} {path}  {granted}  {}",
                    request.id
                );
            }
            let _ = writeln!(text, "  fix: {}\n", finding.advice);
        }
        let Summary {
            lines,
            identities,
            address_mode,
            off,
            ..
        } = &self.summary;
        for Off { rule, reason } in off {
            let _ = writeln!(text, "– {} is off: {reason}", rule.name());
        }
        if !off.is_empty() {
            text.push('\n');
        }
        let names: Vec<_> = identities.iter().map(Text::as_str).collect();
        let names = if names.is_empty() {
            "none"
        } else {
            &names.join(", ")
        };
        let _ = writeln!(
            text,
            "identities of the operator: {names}; address mode: {}",
            address_mode.name()
        );
        let Lines {
            vault,
            kubernetes,
            torn,
            unhashed,
            jsonx,
        } = lines;
        let _ = writeln!(
            text,
            "{} findings in {vault} lines of Vault and {kubernetes} of Kubernetes; {torn} torn, {unhashed} unhashed, {jsonx} of XML",
            self.findings.len()
        );
        text
    }
}
