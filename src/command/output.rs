//! The output of a command that judges runs: its file, its format and its exit code.

use std::io::Write as _;

use anyhow::Context as _;

use super::{Error, Stdout};
use crate::cli::{Exit, OutputArgs, OutputFormat};
use crate::model::Verdict;
use crate::model::run::Run;
use crate::publish::{junit, table};

/// Failure goes before unknown: one step that surely failed is enough to stop a rollout.
pub(super) fn exit(runs: &[Run]) -> Exit {
    let any = |verdict| runs.iter().any(|run| run.result == verdict);
    if any(Verdict::Failure) {
        Exit::Failed
    } else if any(Verdict::Unknown) || runs.is_empty() {
        Exit::Unknown
    } else {
        Exit::Good
    }
}

/// Where the outcome goes.
pub(super) struct Output {
    format: OutputFormat,
    writer: Box<dyn std::io::Write>,
    name: String,
}

impl Output {
    /// Opens the output before anything is run, so that no outcome is lost for a bad path.
    pub(super) fn open(args: &OutputArgs) -> Result<Self, Error> {
        let (writer, name): (Box<dyn std::io::Write>, _) = match &args.output_file {
            None => (Box::new(Stdout), "stdout".to_owned()),
            Some(file) => {
                let name = file.display().to_string();
                let writer = std::fs::File::create(file)
                    .map_err(|error| Error::Usage(format!("tried to create {name}: {error}")))?;
                (Box::new(writer), name)
            }
        };
        Ok(Self {
            format: args.output,
            writer,
            name,
        })
    }

    fn write(&mut self, text: &str) -> anyhow::Result<()> {
        self.writer
            .write_all(text.as_bytes())
            .and_then(|()| self.writer.flush())
            .with_context(|| format!("tried to write the outcome to {}", self.name))
    }

    /// Takes in a run that is over.
    pub(super) fn run(&mut self, run: &Run) -> anyhow::Result<()> {
        match self.format {
            OutputFormat::Json => {
                let line = serde_json::to_string(run).context("can't write the run as JSON")?;
                self.write(&(line + "\n"))
            }
            OutputFormat::Table | OutputFormat::Junit => Ok(()),
        }
    }

    /// Takes in that these were all.
    pub(super) fn end(&mut self, runs: &[Run]) -> anyhow::Result<()> {
        match self.format {
            OutputFormat::Table => self.write(&table::render(runs)),
            OutputFormat::Junit => self.write(&junit::render(runs)),
            OutputFormat::Json => Ok(()),
        }
    }
}
