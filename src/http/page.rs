//! The page for people: how the probes fare, and the latest runs.

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::Timestamp;

use crate::health::Broken;
use crate::model::run::Run;
use crate::model::standing::Standing;
use crate::publish::{ProbeStatus, RunStatus};

pub(super) const HEAD: &str = "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content=10>\
<meta name=viewport content='width=device-width'><title>vso-prober</title><style>\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:80rem;padding:0 1rem;color:#222;background:#fff}\
table{border-collapse:collapse;width:100%;margin-bottom:2rem}th,td{text-align:left;padding:.3rem .8rem .3rem 0;\
border-bottom:1px solid #ddd;vertical-align:top}th{font-weight:600}td.n{font-variant-numeric:tabular-nums}td.n,td.p,th{white-space:nowrap}\
.success{color:#177a3c}.failure{color:#b3261e;font-weight:600}.unknown{color:#8a5a00;font-weight:600}\
@media(prefers-color-scheme:dark){body{color:#ddd;background:#16181c}th,td{border-color:#333}\
.success{color:#5fd38a}.failure{color:#ff8a80}.unknown{color:#ffc766}a{color:#8ab4f8}}\
</style><h1>vso-prober</h1>";

pub(super) fn render(
    probes: &[ProbeStatus],
    runs: &[Arc<Run>],
    broken: &[Broken],
    standing: &Standing,
) -> String {
    let mut page = HEAD.to_owned();
    for broken in broken {
        let broken = escaped(&broken.to_string());
        let _ = write!(page, "<p class=failure>{broken}</p>");
    }
    match standing {
        Standing::Leads => {}
        Standing::Follows { leader } => {
            let leader = leader
                .as_ref()
                .map_or("nobody yet", |leader| leader.as_str());
            let leader = escaped(leader);
            let _ = write!(
                page,
                "<p>This replica runs no probe: it follows the leader, {leader}. The leader's page has the latest runs.</p>"
            );
        }
        Standing::Audits => page.push_str(
            "<p>This replica runs no probe: it judges audit logs, and says what it <a href=findings>found</a>.</p>",
        ),
    }
    if let Some(run) = runs.first() {
        page.push_str(&labels(run));
    }
    page.push_str(
        "<h2>Probes</h2><table><tr><th>probe<th>kind<th>every<th>now<th>since<th>last success<th>last failure<th>latency moves with",
    );
    for probe in probes {
        let _ = write!(
            page,
            "<tr><td class=p>{}<td>{}<td class=n>{} s<td>{}<td class=n>{}<td class=n>{}<td>{}<td>{}",
            escaped(&probe.name),
            probe.kind,
            probe.every_seconds,
            probe
                .last_run
                .as_ref()
                .map_or_else(|| first(probe, standing), verdict),
            probe.since.map(moment).unwrap_or_default(),
            probe.last_success.map(moment).unwrap_or_default(),
            probe.last_failure.as_ref().map(failure).unwrap_or_default(),
            strongest(probe),
        );
    }
    page.push_str(
        "</table><h2>Latest runs</h2><table><tr><th>started<th>probe<th>result<th>steps<th>run",
    );
    for run in runs {
        let cause = run.decisive().and_then(|step| step.cause);
        let _ = write!(
            page,
            "<tr><td class=n>{}<td class=p>{}<td class={result}>{result}{}<td>{}<td>{}",
            moment(run.started),
            escaped(&run.probe),
            cause.map(|cause| format!(": {cause}")).unwrap_or_default(),
            steps(run),
            link(&run.run),
            result = run.result,
        );
    }
    page.push_str("</table><p><a href=metrics>metrics</a> · <a href=api/v1/probes>probes</a> · <a href=api/v1/runs>runs</a>");
    page
}

/// The labels of the configuration, as the latest run bears them.
fn labels(run: &Run) -> String {
    let labels = run.context.labels.iter();
    let labels: Vec<_> = labels
        .map(|(name, value)| format!("{}={}", escaped(name), escaped(value)))
        .collect();
    if labels.is_empty() {
        return String::new();
    }
    format!("<p>{}</p>", labels.join(" · "))
}

fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// The present verdict, and who has to do what.
fn verdict(run: &RunStatus) -> String {
    let mut text = format!("<span class={result}>{result}</span>", result = run.result);
    if let Some((cause, advice)) = run.cause.zip(run.advice) {
        let (party, advice) = (cause.party(), escaped(advice));
        let _ = write!(text, ": {cause} (responsible: {party})<br>{advice}");
    }
    text
}

/// When a probe that has not run yet will.
fn first(probe: &ProbeStatus, standing: &Standing) -> String {
    if standing.leads() {
        format!("the first run comes within {} s", probe.every_seconds)
    } else {
        "the leader runs it".to_owned()
    }
}

fn failure(run: &RunStatus) -> String {
    let cause = run.cause.map_or("", |cause| cause.as_str());
    format!("{cause}, {} {}", moment(run.finished), link(&run.run))
}

/// By step, what its latencies move with.
fn strongest(probe: &ProbeStatus) -> String {
    let named = probe.steps.iter().filter_map(|step| {
        let with = step.moves_with?;
        Some(format!(
            "{}: {} ({:.2})",
            step.step, with.signal, with.spearman
        ))
    });
    named.collect::<Vec<_>>().join(", ")
}

fn link(run: &str) -> String {
    format!("<a href='api/v1/runs/{id}'>{id}</a>", id = escaped(run))
}

/// Each step with its latency or, of what the operator's poll sets off, its lateness.
fn steps(run: &Run) -> String {
    let steps = run.steps.iter().map(|step| {
        if !step.proven {
            return format!(
                "<span class={}>{} gave up {}</span>",
                step.result,
                step.step,
                after(step.latency_seconds)
            );
        }
        let measured = step.lateness_seconds.unwrap_or(step.latency_seconds);
        let late = if step.lateness_seconds.is_some() {
            " late"
        } else {
            ""
        };
        format!(
            "<span class={}>{} {measured:.3} s{late}</span>",
            step.result, step.step
        )
    });
    steps.collect::<Vec<_>>().join(" · ")
}

/// When a step was given up, as exactly as it matters.
fn after(seconds: f64) -> String {
    match seconds {
        none if none < 0.05 => "at once".to_owned(),
        short if short < 10.0 => format!("after {short:.1} s"),
        long => format!("after {long:.0} s"),
    }
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_up_soon_is_not_told_as_nothing() {
        let told = [0.0, 0.04, 0.4, 5.04, 12.4].map(after);
        assert_eq!(
            told,
            [
                "at once",
                "at once",
                "after 0.4 s",
                "after 5.0 s",
                "after 12 s"
            ]
        );
    }
}
