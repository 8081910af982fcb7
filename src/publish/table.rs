//! The table of runs for people, with a timeline bar for each step, then the party at fault and what to do.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};

use crate::model::run::{Attribution, Run, StepReport};
use crate::model::{Stage, Verdict};

/// The width of a timeline bar, in columns.
const BAR: usize = 32;
/// From this many runs of a probe on, they are told in figures instead of one by one.
const MANY: usize = 6;
/// From this difference to the latency on, in seconds, the operator's own time has a column: then the way to the API
/// server is a good part of what was measured.
const REMOTE: f64 = 0.05;

/// Renders runs, in the order in which they ended.
pub fn render(runs: &[Run]) -> String {
    let mut text = String::new();
    let remote = runs.iter().flat_map(|run| &run.steps).any(is_remote);
    let sync: &[_] = if remote { &["SYNC"] } else { &[] };
    let mut table = new_table(
        &[
            &["PROBE", "STEP", "RESULT", "LATENCY"],
            sync,
            &["LATE BY", "WITHIN", "TIMELINE"],
        ]
        .concat(),
    );
    let mut figures = new_table(&[
        "PROBE", "STEP", "RUNS", "GOOD", "P50", "P99", "MAX", "WITHIN",
    ]);
    for probe in probes(runs) {
        let own: Vec<_> = runs.iter().filter(|run| run.probe == probe).collect();
        if own.len() < MANY {
            for run in own {
                add_run(&mut table, run, remote);
            }
        } else {
            add_figures(&mut figures, probe, &own);
        }
    }
    let bars = !table.is_empty();
    let margins = margins(runs);
    for table in [table, figures].iter().filter(|table| !table.is_empty()) {
        for line in table.lines() {
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text.push('\n');
    }
    if bars {
        let attributed = runs.iter().flat_map(|run| &run.steps).any(is_attributed);
        let operator = if attributed {
            "░ queue  █ reconcile  ▓ delivery"
        } else {
            "█ operator and delivery"
        };
        let _ = write!(text, "timeline: ▒ request  · until due  {operator}");
        let given_up = |step: &StepReport| step.stages.contains_key(&Stage::Unexplained);
        if runs.iter().flat_map(|run| &run.steps).any(given_up) {
            text.push_str("  ? unexplained");
        }
        text.push('\n');
        if remote {
            text.push_str("SYNC: the latency without the prober's own way to the API server\n");
        }
        text.push('\n');
    }
    text.push_str(&margins);
    for run in runs.iter().filter(|run| run.result != Verdict::Success) {
        for step in run
            .steps
            .iter()
            .filter(|step| step.result != Verdict::Success)
        {
            blame(&mut text, run, step);
        }
    }
    for run in runs.iter().filter(|run| !run.leftovers.is_empty()) {
        let _ = writeln!(
            text,
            "left behind by {}: {}",
            run.probe,
            run.leftovers.join(", ")
        );
        let _ = writeln!(
            text,
            "  → `vso-prober cleanup` removes it once it has expired\n"
        );
    }
    let count = |verdict| runs.iter().filter(|run| run.result == verdict).count();
    let _ = writeln!(
        text,
        "{} {}: {} success, {} failure, {} unknown",
        runs.len(),
        if runs.len() == 1 { "run" } else { "runs" },
        count(Verdict::Success),
        count(Verdict::Failure),
        count(Verdict::Unknown)
    );
    text
}

/// How the rotations stood to the end of what they replaced: the narrowest of each probe.
fn margins(runs: &[Run]) -> String {
    let mut text = String::new();
    for probe in probes(runs) {
        let steps = runs.iter().filter(|run| run.probe == probe);
        let margins = steps
            .flat_map(|run| &run.steps)
            .filter_map(|step| step.margin_seconds);
        if let Some(narrowest) = margins.min_by(f64::total_cmp) {
            let (margin, side) = (
                seconds(narrowest.abs()),
                if narrowest < 0.0 { "after" } else { "before" },
            );
            let _ = writeln!(
                text,
                "rotation margin of {probe}: the new one arrived {margin} {side} the old one ended\n"
            );
        }
    }
    text
}

/// The probes of the runs, each once, in order.
fn probes(runs: &[Run]) -> Vec<&str> {
    let mut probes: Vec<&str> = Vec::new();
    for run in runs {
        if !probes.contains(&run.probe.as_str()) {
            probes.push(&run.probe);
        }
    }
    probes
}

fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(header.iter().copied());
    for (index, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if (3..header.len() - 1).contains(&index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Whether the prober's way to the API server is a good part of the latency.
fn is_remote(step: &StepReport) -> bool {
    step.proven
        && step
            .sync_seconds
            .is_some_and(|sync| step.latency_seconds - sync >= REMOTE)
}

fn add_run(table: &mut Table, run: &Run, remote: bool) {
    let whole = run.finished.duration_since(run.started).as_secs_f64();
    for step in &run.steps {
        let offset = step.started.duration_since(run.started).as_secs_f64();
        let or_dash = |time: Option<f64>| time.map_or_else(|| "–".to_owned(), seconds);
        let mut row = vec![
            run.probe.to_string(),
            step.step.to_string(),
            step.result.to_string(),
            seconds(step.latency_seconds),
        ];
        row.extend(remote.then(|| or_dash(step.sync_seconds)));
        row.extend([
            or_dash(step.lateness_seconds),
            seconds(step.within_seconds),
            bar(step, offset, whole),
        ]);
        table.add_row(row);
    }
}

fn add_figures(table: &mut Table, probe: &str, runs: &[&Run]) {
    let mut steps: Vec<_> = runs.iter().flat_map(|run| &run.steps).collect();
    steps.sort_by(|a, b| {
        a.step
            .cmp(&b.step)
            .then(measured(a).total_cmp(&measured(b)))
    });
    for steps in steps.chunk_by(|a, b| a.step == b.step) {
        let quantile = |share: f64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank among at most some thousands of runs"
            )]
            let rank = ((steps.len() as f64 * share).ceil() as usize).clamp(1, steps.len());
            seconds(measured(steps[rank - 1]))
        };
        let step = steps[0];
        let name = if step.step.poll_driven() {
            format!("{} (lateness)", step.step)
        } else {
            step.step.to_string()
        };
        table.add_row([
            probe.to_owned(),
            name,
            steps.len().to_string(),
            steps.iter().filter(|step| step.good).count().to_string(),
            quantile(0.5),
            quantile(0.99),
            quantile(1.0),
            seconds(step.within_seconds),
        ]);
    }
}

/// What a step is judged by: its lateness where it is driven by polls, else its latency.
fn measured(step: &StepReport) -> f64 {
    step.lateness_seconds.unwrap_or(step.latency_seconds)
}

fn seconds(seconds: f64) -> String {
    if seconds < 1.0 {
        format!("{:.1} ms", seconds * 1e3)
    } else {
        format!("{seconds:.3} s")
    }
}

/// Whether the operator's own numbers tell where the time between request and Secret went.
fn is_attributed(step: &StepReport) -> bool {
    step.attribution != Attribution::None
}

/// The step's place in its run, in columns: at least one, so that the quickest can be seen.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "columns of a bar"
)]
fn bar(step: &StepReport, offset: f64, whole: f64) -> String {
    let column = |seconds: f64| {
        if whole <= 0.0 {
            0
        } else {
            ((seconds / whole * BAR as f64).round() as usize).min(BAR)
        }
    };
    let mut text = " ".repeat(column(offset).min(BAR - 1));
    let from = text.chars().count();
    let mut elapsed = offset;
    for (stage, mark) in [
        (Stage::Submit, '▒'),
        (Stage::Wait, '·'),
        (Stage::Queue, '░'),
        (Stage::Reconcile, '█'),
        (Stage::Deliver, if is_attributed(step) { '▓' } else { '█' }),
        (Stage::Unexplained, '?'),
    ] {
        elapsed += step.stages.get(&stage).copied().unwrap_or_default();
        while text.chars().count() < column(elapsed) {
            text.push(mark);
        }
    }
    if text.chars().count() == from {
        text.push('█');
    }
    text
}

fn blame(text: &mut String, run: &Run, step: &StepReport) {
    let Some(cause) = step.cause else { return };
    let _ = writeln!(
        text,
        "{} {} of {}: {cause} (responsible: {})",
        run.probe,
        step.step,
        run.canary,
        cause.party()
    );
    for evidence in &step.evidence {
        let source = source(evidence.source);
        let _ = writeln!(text, "  {source:<7} {}", evidence.text);
    }
    let _ = writeln!(text, "  → {}\n", cause.advice());
}

/// The word for a source of evidence.
pub(super) const fn source(source: crate::model::cause::Source) -> &'static str {
    use crate::model::cause::Source;
    match source {
        Source::Event => "event",
        Source::Status => "status",
        Source::Metrics => "metrics",
        Source::Pod => "pod",
        Source::Vault => "vault",
    }
}
