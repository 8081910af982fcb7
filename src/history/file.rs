//! The runs on disk: a file a day, a run a line, and a folder a day for the records of those that were not good, for as
//! long as they are to be kept and there is room.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::records::Records;
use crate::config;
use crate::model::record::Record;
use crate::model::run::Run;

/// How the name of a file ends; before it stands the day, in UTC.
const SUFFIX: &str = ".jsonl";
/// The folder of the records, below that of the runs: in it one a day.
const RECORDS: &str = "records";
/// How much is kept on disk, in bytes: beyond, the earliest days go first.
const KEPT: u64 = 512 << 20;
/// How much of it is read at the start, in bytes: the latest.
const READ: u64 = 32 << 20;
/// How long a line may be, in bytes.
const LINE: u64 = 1 << 20;

/// The runs on disk.
#[derive(Debug)]
pub(super) struct DayFiles {
    folder: PathBuf,
    retention: Duration,
    /// The file of the day that was written last.
    open: Option<(Date, File)>,
    /// The records of the day that was written last, and how many bytes they have.
    records: Option<(Date, Records, u64)>,
}

impl DayFiles {
    /// The files in a folder, which is made if it must. Nothing is read yet.
    pub(super) fn open(config: &config::History) -> io::Result<Self> {
        fs::create_dir_all(&config.path)?;
        Ok(Self {
            folder: config.path.clone(),
            retention: config.retention,
            open: None,
            records: None,
        })
    }

    /// Tells the latest runs that are kept, the earliest first. What is no run, as of a program that was killed while it
    /// wrote, is passed over, and so is a file that can't be read.
    pub(super) fn read(&self, mut tell: impl FnMut(Run)) -> io::Result<()> {
        let mut left = READ;
        let days = self.days()?;
        let latest: Vec<_> = days
            .into_iter()
            .rev()
            .map_while(|(day, length)| {
                let share = length.min(left);
                left -= share;
                (share > 0 || length == 0).then_some((day, length - share))
            })
            .collect();
        for (day, from) in latest.into_iter().rev() {
            let file = self.file(day);
            if let Err(error) = lines(&file, from, |line| {
                if let Ok(run) = serde_json::from_slice(line) {
                    tell(run);
                }
            }) {
                tracing::warn!(%error, file = %file.display(), "skipping a file of runs that can't be read");
            }
        }
        Ok(())
    }

    /// Writes a run down. With the first of a day, what is older than it by more than is to be kept is removed, and of the
    /// rest the earliest as far as there is no room for it.
    pub(super) fn append(&mut self, run: &Run) -> io::Result<()> {
        let day = day(run.finished);
        let mut file = match self.open.take() {
            Some((open, file)) if open == day => file,
            _ => {
                if let Err(error) = self.prune(run.finished) {
                    tracing::warn!(%error, "can't remove expired runs");
                }
                appendable(&self.file(day))?
            }
        };
        let mut line = serde_json::to_vec(run)?;
        line.push(b'\n');
        within(file.metadata()?.len().saturating_add(line.len() as u64))?;
        // After a write that failed, the file is opened anew: then the next run is on a line of its own.
        file.write_all(&line)?;
        self.open = Some((day, file));
        Ok(())
    }

    /// Saves the record of a run that ended then and was written down.
    pub(super) fn save(&mut self, record: &Record, finished: Timestamp) -> io::Result<()> {
        let day = day(finished);
        let (records, length) = match self.records.take() {
            Some((open, records, length)) if open == day => (records, length),
            _ => {
                let folder = self.records_of(day);
                let records = Records::at(&folder)?;
                (records, length(&folder)?)
            }
        };
        within(length)?;
        let (_, more) = records.save(record)?;
        self.records = Some((day, records, length.saturating_add(more)));
        Ok(())
    }

    fn prune(&self, now: Timestamp) -> io::Result<()> {
        let retention = SignedDuration::try_from(self.retention).unwrap_or(SignedDuration::MAX);
        let oldest = now.saturating_sub(retention).unwrap_or(Timestamp::MIN);
        let oldest = day(oldest);
        let mut kept = 0_u64;
        let mut done = Ok(());
        let (runs, records) = (self.days()?, self.days_of_records()?);
        let days: BTreeSet<_> = runs.keys().chain(records.keys()).copied().collect();
        for day in days.into_iter().rev() {
            for of in [&runs, &records] {
                kept = kept.saturating_add(of.get(&day).copied().unwrap_or_default());
            }
            if day >= oldest && kept <= KEPT {
                continue;
            }
            if runs.contains_key(&day) {
                done = done.and(fs::remove_file(self.file(day)));
            }
            if records.contains_key(&day) {
                done = done.and(fs::remove_dir_all(self.records_of(day)));
            }
        }
        done
    }

    /// The days that there is a folder of records of, and how many bytes they have. Other folders are none of ours.
    fn days_of_records(&self) -> io::Result<BTreeMap<Date, u64>> {
        let mut days = BTreeMap::new();
        let entries = match fs::read_dir(self.folder.join(RECORDS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(days),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let day = name.to_str().and_then(|name| name.parse::<Date>().ok());
            let Some(day) = day.filter(|day| self.records_of(*day).file_name() == Some(&name))
            else {
                continue;
            };
            if entry.file_type()?.is_dir() {
                days.insert(day, length(&entry.path())?);
            }
        }
        Ok(days)
    }

    /// The days that there is a file of, and its length. Other files are none of ours.
    fn days(&self) -> io::Result<BTreeMap<Date, u64>> {
        let mut days = BTreeMap::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            let Some(day) = day.and_then(|day| day.parse::<Date>().ok()) else {
                continue;
            };
            // A date can be written in many ways.
            if self.file(day).file_name() != Some(&name) {
                continue;
            }
            match fs::metadata(entry.path()) {
                Ok(metadata) if metadata.is_file() => {
                    days.insert(day, metadata.len());
                }
                Ok(_) => {
                    let file = entry.path();
                    tracing::warn!(file = %file.display(), "skipping an entry that is not a file of runs");
                }
                Err(error) => {
                    let file = entry.path();
                    tracing::warn!(%error, file = %file.display(), "skipping a file of runs that can't be opened");
                }
            }
        }
        Ok(days)
    }

    fn file(&self, day: Date) -> PathBuf {
        self.folder.join(format!("{day}{SUFFIX}"))
    }

    fn records_of(&self, day: Date) -> PathBuf {
        self.folder.join(RECORDS).join(day.to_string())
    }
}

/// How many bytes the files in a folder have.
fn length(folder: &Path) -> io::Result<u64> {
    fs::read_dir(folder)?
        .map(|entry| Ok(entry?.metadata()?.len()))
        .sum()
}

/// Insists that no more is kept of a day than of all.
fn within(length: u64) -> io::Result<()> {
    if length > KEPT {
        let why = format!("what is kept of a day takes more than {} MiB", KEPT >> 20);
        return Err(io::Error::other(why));
    }
    Ok(())
}

fn day(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
}

/// Tells the lines of a file that begin after its first `from` bytes. One that is too long is passed over.
fn lines(file: &Path, from: u64, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = File::open(file)?;
    file.seek(SeekFrom::Start(from))?;
    let mut file = BufReader::new(file);
    if from > 0 {
        file.skip_until(b'\n')?;
    }
    let mut line = Vec::new();
    while file.by_ref().take(LINE).read_until(b'\n', &mut line)? > 0 {
        if line.ends_with(b"\n") {
            tell(&line);
        } else {
            file.skip_until(b'\n')?;
        }
        line.clear();
    }
    Ok(())
}

/// A file to append lines to: what was left half written in it ends there.
fn appendable(path: &Path) -> io::Result<File> {
    let mut file = File::options()
        .create(true)
        .append(true)
        .read(true)
        .open(path)?;
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last != [b'\n'] {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_too_long_hides_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("lines");
        let long = "x".repeat(3 << 20);
        fs::write(&file, format!("a\n{long}\nb\nhalf")).expect("it can be written");
        let told = |from| {
            let mut told = Vec::new();
            lines(&file, from, |line| told.push(line.to_vec())).expect("it can be read");
            told
        };
        assert_eq!(told(0), [b"a\n", b"b\n"]);
        assert_eq!(told(1), [b"b\n"]);
    }

    #[test]
    fn what_is_no_file_of_runs_is_passed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = config::History {
            path: folder.path().to_owned(),
            retention: Duration::from_secs(1),
        };
        for name in [
            "20260101.jsonl",
            "2026-01-02.jsonl",
            "+002026-01-03.jsonl",
            "notes",
        ] {
            fs::write(folder.path().join(name), "odd\n").expect("it can be written");
        }
        fs::create_dir(folder.path().join("2026-01-01.jsonl")).expect("it can be made");
        let files = DayFiles::open(&config).expect("files");
        let days = files.days().expect("it can be read");
        assert_eq!(days.into_values().collect::<Vec<_>>(), [4]);
        files.read(|_| panic!("a run")).expect("it can be read");
        files.prune(Timestamp::now()).expect("it can be pruned");
        let left = fs::read_dir(folder.path()).expect("a folder").count();
        assert_eq!(left, 4, "only the one file of a day is removed");
    }

    #[test]
    fn records_go_with_the_runs_of_their_day() {
        const RECORD: &str = include_str!("../../tests/fuzz/corpus/record/churn.json");
        let folder = tempfile::tempdir().expect("a folder");
        let config = config::History {
            path: folder.path().to_owned(),
            retention: Duration::from_secs(24 * 60 * 60),
        };
        let mut files = DayFiles::open(&config).expect("files");
        let record: Record = serde_json::from_str(RECORD).expect("a record");
        let ends = |day: &str| {
            format!("2026-01-{day}T12:00:00Z")
                .parse()
                .expect("a moment")
        };
        for day in ["01", "02", "03"] {
            files.save(&record, ends(day)).expect("it can be saved");
        }
        fs::create_dir(folder.path().join("records/mine")).expect("it can be made");
        files.prune(ends("03")).expect("it can be pruned");
        let left = |day: &str| folder.path().join("records").join(day).is_dir();
        assert_eq!(
            ["2026-01-01", "2026-01-02", "2026-01-03", "mine"].map(left),
            [false, true, true, true]
        );
        let kept = files.records.as_ref().map(|(_, _, length)| *length);
        let (_, more) = Records::at(&files.records_of(day(ends("03"))))
            .and_then(|records| records.save(&record))
            .expect("it can be saved");
        assert_eq!(kept, Some(more));
    }
}
