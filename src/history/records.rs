//! A folder of saved records: a file a run, which its user alone may read.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use crate::model::record::Record;
use crate::model::saved::{self, Unreadable};
use crate::wire::file::read_at_most;

/// How long a file may be, in bytes: the longest runs stay far below.
const LONGEST: u64 = 64 << 20;

/// A folder that records are saved in.
#[derive(Clone, Debug)]
pub struct Records(PathBuf);

/// Why a file holds no record that can be judged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It can't be read.
    #[error("tried to read {}: {error}", file.display())]
    Unread {
        /// The file.
        file: PathBuf,
        /// What came back.
        error: io::Error,
    },
    /// What it holds is no record, or one of a later program.
    #[error("{} {why}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: Unreadable,
    },
}

impl Records {
    /// Opens a folder, which is made if there is none.
    ///
    /// # Errors
    /// It can't be made, or no file can be made in it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let records = Self::at(folder)?;
        let tried = folder.join(format!(".vso-prober-{}", std::process::id()));
        private(&tried)?;
        fs::remove_file(tried)?;
        Ok(records)
    }

    /// A folder that is made if there is none.
    pub(super) fn at(folder: &Path) -> io::Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        Ok(Self(folder.to_owned()))
    }

    /// Saves a record, all of it or nothing. Returns its file, and how many bytes that has.
    ///
    /// # Errors
    /// It can't be written.
    pub fn save(&self, record: &Record) -> io::Result<(PathBuf, u64)> {
        let text = saved::write(record)?;
        let name = format!("{}-{}.json", record.probe, record.run);
        let partial = self.0.join(format!(".{name}.partial"));
        let file = self.0.join(name);
        let written = private(&partial).and_then(|mut to| {
            to.write_all(text.as_bytes())?;
            to.sync_all()?;
            fs::rename(&partial, &file)
        });
        if let Err(error) = written {
            // It may never have been there.
            let _ = fs::remove_file(&partial);
            return Err(error);
        }
        Ok((file, text.len() as u64))
    }
}

/// A new file that nobody else may read.
fn private(file: &Path) -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(file)
}

/// Reads a saved record.
///
/// # Errors
/// The file can't be read, or holds no record that can be judged.
pub fn read(file: &Path) -> Result<Record, Error> {
    let unread = |error| Error::Unread {
        file: file.to_owned(),
        error,
    };
    let text = read_at_most(file, LONGEST).map_err(unread)?;
    saved::read(&text).map_err(|why| Error::Unreadable {
        file: file.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const RECORD: &str = include_str!("../../tests/fuzz/corpus/record/churn.json");

    fn record() -> Record {
        serde_json::from_str(RECORD).expect("a record")
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).expect("a folder");
        entries.map(|entry| entry.expect("a file").path()).collect()
    }

    #[test]
    fn a_saved_record_is_read_back_and_is_its_users_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let below = folder.path().join("a/b");
        let records = Records::open(&below).expect("it can be made");
        let (file, length) = records.save(&record()).expect("it can be saved");
        assert_eq!(
            files(&below),
            std::slice::from_ref(&file),
            "nothing else is left"
        );
        assert_eq!(file, below.join("probe-0123456789abcdef.json"));
        let metadata = fs::metadata(&file).expect("it is there");
        assert_eq!(metadata.len(), length);
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        assert_eq!(read(&file).expect("it can be read"), record());
    }

    #[test]
    fn what_is_no_record_is_told_with_its_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("r.json");
        let told = |text: &str| {
            fs::write(&file, text).expect("it can be written");
            read(&file).expect_err("it is none").to_string()
        };
        let saved = saved::write(&record()).expect("it can be written");
        let later = saved.replace("record/v1", "record/v7");
        let later = told(&later);
        assert!(
            later.contains("r.json is a record in version 7") && later.contains("newer"),
            "{later}"
        );
        let named = saved.replace("\"probe\":\"probe\"", "\"probe\":\"\\u001b[2J\"");
        for text in [
            "",
            "{}",
            RECORD,
            &saved[..saved.len() / 2],
            &saved.replace("/v1", "/v0"),
            &named,
        ] {
            let told = told(text);
            assert!(
                told.contains("r.json is not a record, or is damaged: "),
                "{told}"
            );
            assert!(!told.contains(['\u{1b}', '\n']), "{told:?}");
        }
        fs::remove_file(&file).expect("it is there");
        let told = read(&file).expect_err("it is not there").to_string();
        assert!(
            told.contains("tried to read") && told.contains("r.json"),
            "{told}"
        );
        let error = Records::open(&folder.path().join("r.json\0")).expect_err("no name");
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }
}
