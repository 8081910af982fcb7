//! The command `audit check`: saved logs, judged without a cluster and without Vault.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::logs::{self, Line};
use super::report::{Lines, Off, Report, Summary};
use crate::audit::address::Mode;
use crate::audit::context::Context;
use crate::audit::entry::{Entry, Torn, parse};
use crate::audit::facts::Facts;
use crate::audit::finding::State;
use crate::audit::presence::{self, Presence};
use crate::audit::review::{Learner, Review};
use crate::cli::{AuditAddress, AuditCheckArgs, Exit, ReportFormat};
use crate::command::{Error, Settings, Stdout};
use crate::config::Config;
use crate::model::clock::Offset;
use crate::serve::{prober, traps};
use crate::wire;

/// Judges the files: what is learnt from all of them first, then each line by it.
pub(super) fn run(settings: &Settings, args: &AuditCheckArgs) -> Result<Exit, Error> {
    let config = settings.file().map(|_| settings.load()).transpose()?;
    let mut context = known(config.as_ref(), args)?;
    let mut learner = Learner::default();
    let mut lines = Lines::default();
    for file in &args.files {
        entries(file, &mut lines, |entry| learner.learn(&entry, &context))?;
    }
    let operators = config
        .as_ref()
        .map(|config| config.operator.namespace.as_str());
    learner.complete(&mut context, operators);
    let mut facts = Facts::default();
    for file in &args.files {
        entries(file, &mut Lines::default(), |entry| {
            facts.learn(&entry, &context);
        })?;
    }
    let mut review = Review::new(&facts, &context);
    for file in &args.files {
        let name = file.display().to_string();
        entries(file, &mut Lines::default(), |entry| {
            review.weigh(&name, &entry);
        })?;
    }
    let mut summary = Summary::new(lines, review.mode());
    let off = review.off().into_iter();
    summary.off = off.map(|(rule, reason)| Off { rule, reason }).collect();
    let names = context.identities.iter().map(|identity| {
        let role = format!("{}/{}", identity.mount, identity.role);
        if identity.service_account.is_empty() {
            role.into()
        } else {
            format!("{role} as {}", identity.service_account).into()
        }
    });
    summary.identities = names.collect();
    let report = Report {
        findings: review.findings(),
        summary,
    };
    let text = match args.output {
        ReportFormat::Table => report.table(),
        ReportFormat::Json => report.json().context("can't write the outcome as JSON")?,
    };
    let written = Stdout.write_all(text.as_bytes());
    written.context("tried to write to stdout")?;
    exit(&report)
}

/// A finding goes before what could not be read: it is enough to act on.
fn exit(report: &Report) -> Result<Exit, Error> {
    let lines = report.summary.lines;
    if report
        .findings
        .iter()
        .any(|finding| finding.state == State::Confirmed)
    {
        Ok(Exit::Failed)
    } else if lines.jsonx > 0 {
        Err(Error::Obstacle(Torn::Jsonx.to_string()))
    } else if lines.unhashed > 0 {
        Err(Error::Obstacle(Torn::Unhashed.to_string()))
    } else if lines.vault + lines.kubernetes == 0 {
        Err(Error::Obstacle("the files hold no audit entry".to_owned()))
    } else if lines.torn > 0 {
        Err(Error::Obstacle(format!(
            "{} lines are no whole audit entries, and nothing can be said about them",
            lines.torn
        )))
    } else {
        Ok(Exit::Good)
    }
}

/// Hands on the entries of a file, and counts its lines.
fn entries(file: &Path, lines: &mut Lines, mut take: impl FnMut(Entry)) -> Result<(), Error> {
    let read = logs::each(file, |line| {
        let (line, last) = match line {
            Line::Whole(line) => (line, false),
            Line::Last(line) => (line, true),
            Line::TooLong => {
                lines.torn += 1;
                return;
            }
        };
        if line.trim_ascii().is_empty() {
            return;
        }
        match parse(line) {
            Ok(entry) => {
                let count = match &entry {
                    Entry::Vault(_) => &mut lines.vault,
                    Entry::Kube(_) => &mut lines.kubernetes,
                };
                *count += 1;
                take(entry);
            }
            Err(Torn::Unhashed) => lines.unhashed += 1,
            Err(Torn::Jsonx) => lines.jsonx += 1,
            // It is being written.
            Err(Torn::NotWhole) if last => {}
            Err(Torn::NotWhole | Torn::NotAnEntry) => lines.torn += 1,
        }
    });
    read.map_err(|error| Error::Obstacle(format!("tried to read {}: {error}", file.display())))
}

/// What is known beside the logs: by the configuration, and by what the command line says.
fn known(config: Option<&Config>, args: &AuditCheckArgs) -> Result<Context, Error> {
    let mut context = Context::default();
    if let Some(config) = config {
        context.traps = traps(config);
        context.probers = prober(&config.vault).into_iter().collect();
    }
    context.settings.address = match args.address {
        Some(AuditAddress::Pod) => Some(Mode::Pod),
        Some(AuditAddress::Node) => Some(Mode::Node),
        Some(AuditAddress::Off) => Some(Mode::Off),
        None => context.settings.address,
    };
    if let Some(file) = &args.presence {
        context.presence = Presence::new(read_presence(file)?);
        // Whoever gives the presence says by it that the clocks agree, to within the grace.
        context.offset = Some(Offset::none(Duration::ZERO));
    }
    Ok(context)
}

fn read_presence(file: &Path) -> Result<Vec<presence::Line>, Error> {
    let name = file.display();
    let text = wire::file::text(file)
        .map_err(|error| Error::Usage(format!("tried to read {name}: {error}")))?;
    let lines = text
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    let read = |(number, line): (usize, &str)| {
        let wrong = |error| {
            Error::Usage(format!(
                "{name}, line {}: not a line of presence: {error}",
                number + 1
            ))
        };
        serde_json::from_str(line).map_err(wrong)
    };
    lines.map(read).collect()
}
