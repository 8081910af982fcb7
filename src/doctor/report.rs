//! The report of the checks, for people.

use std::fmt::Write as _;

use super::{Check, Found};

/// How wide the subject's column is at the most, in characters.
const WIDEST: usize = 48;

impl Found {
    /// A mark that needs no colour.
    const fn mark(self) -> char {
        match self {
            Self::Good => '✓',
            Self::Finding => '✗',
            Self::Warning => '!',
            Self::Unknown => '?',
            Self::Skipped => '–',
        }
    }
}

/// A line a check, and below what is wrong, each with what puts it right.
pub fn render(checks: &[Check]) -> String {
    let mut text = String::new();
    let width = |of: fn(&Check) -> &str| {
        let widths = checks.iter().map(|check| of(check).chars().count());
        widths.max().unwrap_or(0).min(WIDEST)
    };
    let (topics, subjects) = (
        width(|check| check.check.as_str()),
        width(|check| &check.subject),
    );
    for check in checks {
        let Check {
            check: topic,
            subject,
            result,
            ..
        } = check;
        let brief = match result {
            Found::Good => check.text.as_str(),
            Found::Skipped => &format!("skipped: {}", check.text),
            Found::Finding | Found::Warning | Found::Unknown => "see below",
        };
        let mark = result.mark();
        let _ = writeln!(text, "{mark} {topic:topics$}  {subject:subjects$}  {brief}");
    }
    text.push('\n');
    for (place, check) in checks.iter().enumerate() {
        if matches!(check.result, Found::Good | Found::Skipped) {
            continue;
        }
        let Check {
            check: topic,
            subject,
            ..
        } = check;
        let _ = writeln!(
            text,
            "{} {topic} {subject}: {}",
            check.result.mark(),
            check.text
        );
        let Some(fix) = &check.fix else {
            text.push('\n');
            continue;
        };
        // One fix may do for several findings; it stands below the last of them.
        let again = checks[place + 1..].iter();
        let again = again.filter(|later| later.result == check.result);
        if again.clone().any(|later| later.fix.as_ref() == Some(fix)) {
            text.push_str("  fix: see the next one\n\n");
        } else {
            let _ = writeln!(text, "  fix:\n\n{fix}\n");
        }
    }
    let count = |found| checks.iter().filter(|check| check.result == found).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let (findings, warnings) = (count(Found::Finding), count(Found::Warning));
    let _ = writeln!(
        text,
        "{} good, {findings} finding{}, {warnings} warning{}, {} unknown, {} skipped",
        count(Found::Good),
        plural(findings),
        plural(warnings),
        count(Found::Unknown),
        count(Found::Skipped)
    );
    text
}

#[cfg(test)]
mod tests {
    use super::super::Topic;
    use super::super::fix::{Command, Fix, Input, Name, Script};
    use super::*;

    fn checks() -> Vec<Check> {
        let check = |check, subject: &str, result, text: &str, fix| Check {
            check,
            subject: subject.into(),
            result,
            text: text.into(),
            fix,
        };
        let policy = || {
            let command = Command::new("vault policy write vso-prober -");
            let policy = Input::literal("path \"kvv2/*\" {}\n");
            Some(Script::default().give(command, policy).into())
        };
        let path = "kvv2/data/vso-prober/default/*";
        let name = Name::parse("one").expect("a name");
        vec![
            check(
                Topic::Configuration,
                "default",
                Found::Good,
                "1 probe",
                None,
            ),
            check(
                Topic::VaultLogin,
                "kubernetes",
                Found::Good,
                "policies vso-prober; 1h",
                None,
            ),
            check(
                Topic::VaultPolicy,
                path,
                Found::Finding,
                "asked Vault what the prober's token may do on it: it lacks create",
                policy(),
            ),
            check(
                Topic::VaultPolicy,
                "sys/leases/lookup",
                Found::Finding,
                "asked Vault what the prober's token may do on it: it lacks update",
                policy(),
            ),
            check(
                Topic::VaultMount,
                "kvv2/ (one)",
                Found::Finding,
                "it is of type kv-v1",
                Some(Fix::set_probe(&name, "static", "type", "kv-v1")),
            ),
            check(
                Topic::VaultRole,
                "database/roles/probe",
                Found::Skipped,
                "the mount has a problem",
                None,
            ),
            check(
                Topic::Crd,
                "secrets.hashicorp.com/v1beta1",
                Found::Unknown,
                "tried to list the operator's kinds: no answer",
                None,
            ),
            check(
                Topic::Schedule,
                "every",
                Found::Warning,
                "40 probes make 40 runs a minute",
                None,
            ),
            check(
                Topic::Push,
                "push.pushgateway",
                Found::Finding,
                "no answer",
                Some(Fix::words("start the receiver")),
            ),
        ]
    }

    #[test]
    fn a_table_that_needs_no_colour() {
        settings().bind(|| insta::assert_snapshot!(render(&checks())));
    }

    #[test]
    fn an_array_for_programs() {
        settings().bind(|| insta::assert_json_snapshot!(checks()));
    }

    fn settings() -> insta::Settings {
        let mut settings = insta::Settings::clone_current();
        settings.set_snapshot_path("../../tests/snapshots");
        settings.set_prepend_module_to_snapshot(false);
        settings
    }
}
