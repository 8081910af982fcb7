//! Runs as JUnit XML: a suite a probe, a case a step of a run.

use std::fmt::{self, Write as _};

use super::table::source;
use crate::model::Verdict;
use crate::model::run::{Run, StepReport};

/// Renders runs. What is unknown is an error, not a failure: it says nothing of the operator.
pub fn render(runs: &[Run]) -> String {
    let mut suites: Vec<Suite<'_>> = Vec::new();
    for run in runs {
        let index = suites.iter().position(|suite| run.probe == suite.probe);
        let index = index.unwrap_or_else(|| {
            suites.push(Suite {
                probe: &run.probe,
                cases: Vec::new(),
            });
            suites.len() - 1
        });
        suites[index]
            .cases
            .extend(run.steps.iter().map(|step| (run, step)));
    }
    let all = suites.iter().flat_map(|suite| &suite.cases);
    let counts = Counts::of(all.map(|(_, step)| *step));
    let suites: String = suites.iter().map(ToString::to_string).collect();
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"vso-prober\" {counts}>\n{suites}</testsuites>\n"
    )
}

/// The steps of a probe.
struct Suite<'a> {
    probe: &'a str,
    cases: Vec<(&'a Run, &'a StepReport)>,
}

/// How many cases there are, and how they ended, as attributes.
struct Counts {
    tests: usize,
    failures: usize,
    errors: usize,
}

impl Counts {
    fn of<'a>(steps: impl Iterator<Item = &'a StepReport>) -> Self {
        let results: Vec<_> = steps.map(|step| step.result).collect();
        let count = |wanted| results.iter().filter(|result| **result == wanted).count();
        Self {
            tests: results.len(),
            failures: count(Verdict::Failure),
            errors: count(Verdict::Unknown),
        }
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tests,
            failures,
            errors,
        } = self;
        write!(
            f,
            r#"tests="{tests}" skipped="0" failures="{failures}" errors="{errors}""#
        )
    }
}

impl fmt::Display for Suite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = Counts::of(self.cases.iter().map(|(_, step)| *step));
        let name = escaped(self.probe);
        writeln!(f, r#"    <testsuite name="{name}" {counts}>"#)?;
        for (run, step) in &self.cases {
            case(f, run, step)?;
        }
        writeln!(f, "    </testsuite>")
    }
}

fn case(f: &mut fmt::Formatter<'_>, run: &Run, step: &StepReport) -> fmt::Result {
    let class = escaped(&format!("{}.{}", run.kind, run.probe));
    writeln!(
        f,
        r#"        <testcase name="{}" classname="{class}" time="{:.3}">"#,
        step.step, step.latency_seconds
    )?;
    writeln!(f, "            <properties>")?;
    property(f, "run", &run.run)?;
    property(f, "canary", &run.canary.to_string())?;
    for (name, value) in &run.context.labels {
        property(f, name, value)?;
    }
    if let Some(margin) = step.margin_seconds {
        property(f, "margin_seconds", &format!("{margin:.3}"))?;
    }
    writeln!(f, "            </properties>")?;
    match step.result {
        Verdict::Success => {}
        Verdict::Failure => blame(f, "failure", step)?,
        Verdict::Unknown => blame(f, "error", step)?,
    }
    writeln!(f, "        </testcase>")
}

fn property(f: &mut fmt::Formatter<'_>, name: &str, value: &str) -> fmt::Result {
    let value = escaped(value);
    writeln!(
        f,
        r#"                <property name="{name}" value="{value}"/>"#
    )
}

fn blame(f: &mut fmt::Formatter<'_>, element: &str, step: &StepReport) -> fmt::Result {
    let Some(cause) = step.cause else {
        return writeln!(f, "            <{element}/>");
    };
    let mut text = String::new();
    for evidence in &step.evidence {
        writeln!(text, "{}: {}", source(evidence.source), evidence.text)?;
    }
    write!(text, "→ {}", cause.advice())?;
    let message = escaped(&format!("{cause} (responsible: {})", cause.party()));
    writeln!(
        f,
        r#"            <{element} message="{message}" type="{cause}">{}</{element}>"#,
        escaped(&text)
    )
}

/// A text as XML may hold it, as content and as an attribute's value. What others wrote is free of control characters already.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            // Not a character of XML 1.0.
            '\u{fffe}' | '\u{ffff}' => escaped.push(char::REPLACEMENT_CHARACTER),
            control if control.is_control() && !"\t\n\r".contains(control) => {
                escaped.push(char::REPLACEMENT_CHARACTER);
            }
            other => escaped.push(other),
        }
    }
    escaped
}
