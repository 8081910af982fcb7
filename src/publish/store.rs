//! The runs on disk: a file a day, a run a line, for as long as they are to be kept.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::config;
use crate::model::run::Run;

/// How the name of a file ends; before it stands the day, in UTC.
const SUFFIX: &str = ".jsonl";

/// The runs on disk.
#[derive(Debug)]
pub(super) struct Store {
    folder: PathBuf,
    retention: Duration,
    /// The file of the day that was written last.
    open: Option<(Date, File)>,
}

impl Store {
    /// A store in a folder, which is made if it must. Nothing is read yet.
    pub(super) fn open(config: &config::History) -> io::Result<Self> {
        fs::create_dir_all(&config.path)?;
        Ok(Self {
            folder: config.path.clone(),
            retention: config.retention,
            open: None,
        })
    }

    /// Tells every run that is kept, the earliest first. What is no run, as of a program that was killed while it
    /// wrote, is passed over.
    pub(super) fn read(&self, mut tell: impl FnMut(Run)) -> io::Result<()> {
        for day in self.days()? {
            for line in BufReader::new(File::open(self.file(day))?).split(b'\n') {
                if let Ok(run) = serde_json::from_slice(&line?) {
                    tell(run);
                }
            }
        }
        Ok(())
    }

    /// Writes a run down, and removes what is older than it by more than is to be kept.
    pub(super) fn append(&mut self, run: &Run) -> io::Result<()> {
        let day = day(run.finished);
        let (_, file) = match self.open.take() {
            Some(open) if open.0 == day => self.open.insert(open),
            _ => {
                self.prune(run.finished)?;
                let file = appendable(&self.file(day))?;
                self.open.insert((day, file))
            }
        };
        let mut line = serde_json::to_vec(run)?;
        line.push(b'\n');
        file.write_all(&line)
    }

    fn prune(&self, now: Timestamp) -> io::Result<()> {
        let retention = SignedDuration::try_from(self.retention).unwrap_or(SignedDuration::MAX);
        let oldest = now.saturating_sub(retention).unwrap_or(Timestamp::MIN);
        let oldest = day(oldest);
        for day in self.days()?.into_iter().filter(|day| *day < oldest) {
            fs::remove_file(self.file(day))?;
        }
        Ok(())
    }

    /// The days that there is a file of. Other files are none of ours.
    fn days(&self) -> io::Result<BTreeSet<Date>> {
        let mut days = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let day = name.to_str().and_then(|name| name.strip_suffix(SUFFIX));
            days.extend(day.and_then(|day| day.parse::<Date>().ok()));
        }
        Ok(days)
    }

    fn file(&self, day: Date) -> PathBuf {
        self.folder.join(format!("{day}{SUFFIX}"))
    }
}

fn day(moment: Timestamp) -> Date {
    moment.to_zoned(TimeZone::UTC).date()
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
