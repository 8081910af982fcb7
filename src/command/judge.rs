//! The command `judge`: saved records, judged again.

use super::Error;
use super::output::{Output, exit};
use crate::cli::{Exit, JudgeArgs};
use crate::history::records::read;
use crate::judge::correlation::Windows;
use crate::model::record::Record;
use crate::round::judged;

pub(super) fn run(args: &JudgeArgs) -> Result<Exit, Error> {
    let records = read_all(args)?;
    let mut output = Output::open(&args.output)?;
    // The order in which the runs ended: it decides what latencies are said to move with.
    let mut runs: Vec<_> = records.iter().map(judged).collect();
    runs.sort_by_key(|run| run.finished);
    let mut windows = Windows::default();
    for run in &mut runs {
        windows.observe(run);
        output.run(run)?;
    }
    runs.sort_by_key(|run| records.iter().position(|record| record.probe == run.probe));
    output.end(&runs)?;
    Ok(exit(&runs))
}

/// All the records, or all that is wrong with the files.
fn read_all(args: &JudgeArgs) -> Result<Vec<Record>, Error> {
    let (mut records, mut problems) = (Vec::new(), Vec::new());
    for file in &args.files {
        match read(file) {
            Ok(record) => records.push(record),
            Err(error) => problems.push(error.to_string()),
        }
    }
    if problems.is_empty() {
        Ok(records)
    } else {
        Err(Error::Usage(problems.join("\n")))
    }
}
