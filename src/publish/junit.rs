//! Runs as JUnit XML: a suite a probe, a case a step of a run.

use std::fmt::Write as _;
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::table::source;
use crate::model::Verdict;
use crate::model::run::{Run, StepReport};

/// Renders runs. What is unknown is an error, not a failure: it says nothing of the operator.
pub fn render(runs: &[Run]) -> String {
    let mut report = Report::new("vso-prober");
    let mut suites: Vec<TestSuite> = Vec::new();
    for run in runs {
        let index = suites
            .iter()
            .position(|suite| suite.name.as_str() == run.probe);
        let index = index.unwrap_or_else(|| {
            suites.push(TestSuite::new(run.probe.clone()));
            suites.len() - 1
        });
        suites[index].add_test_cases(run.steps.iter().map(|step| case(run, step)));
    }
    report.add_test_suites(suites);
    report.to_string().unwrap_or_else(|error| {
        // Only an XML writer to memory could fail here; a report that says so is better than none.
        format!("<!-- the report could not be written: {error} -->\n")
    })
}

fn case(run: &Run, step: &StepReport) -> TestCase {
    let status = match step.result {
        Verdict::Success => TestCaseStatus::success(),
        Verdict::Failure => non_success(NonSuccessKind::Failure, step),
        Verdict::Unknown => non_success(NonSuccessKind::Error, step),
    };
    let mut case = TestCase::new(step.step.as_str(), status);
    case.set_classname(format!("{}.{}", run.kind, run.probe));
    case.set_time(Duration::try_from_secs_f64(step.latency_seconds).unwrap_or_default());
    case.add_property(("run", run.run.as_str()));
    case.add_property(("canary", run.canary.as_str()));
    if let Some(margin) = step.margin_seconds {
        case.add_property(("margin_seconds", format!("{margin:.3}").as_str()));
    }
    case
}

fn non_success(kind: NonSuccessKind, step: &StepReport) -> TestCaseStatus {
    let mut status = TestCaseStatus::non_success(kind);
    if let Some(cause) = step.cause {
        status.set_type(cause.as_str());
        status.set_message(format!("{cause} (concerns: {})", cause.party()));
        let mut text = String::new();
        for evidence in &step.evidence {
            let _ = writeln!(text, "{}: {}", source(evidence.source), evidence.text);
        }
        let _ = write!(text, "→ {}", cause.advice());
        status.set_description(text);
    }
    status
}
