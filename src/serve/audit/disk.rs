//! The state of the audit on disk: a whole that is written beside and renamed, and a journal of what was taken since.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::audit::Saved;
use crate::audit::entry::Entry;
use crate::audit::presence::Line;
use crate::audit::workload::Workloads;
use crate::wire;

/// The form of the file.
const VERSION: u32 = 1;
/// The file in the folder `audit.state`.
const NAME: &str = "judge.json";
/// The file beside it with what came since, a [`Note`] in each line.
const JOURNAL: &str = "journal.jsonl";
/// Neither is larger, in bytes.
const LARGEST: u64 = 256 << 20;

/// What a restart must not lose. It holds nothing secret.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Kept<J = Saved> {
    version: u32,
    /// The judge.
    pub(super) judge: J,
    /// When the operator was there.
    pub(super) presence: Vec<Line>,
    /// When its Pods were seen last.
    pub(super) seen: Option<Timestamp>,
    /// When a drill was last found.
    #[serde(default)]
    pub(super) drilled: Option<Timestamp>,
    /// Who else used the operator's ServiceAccounts.
    #[serde(default)]
    pub(super) workloads: Workloads,
}

/// What came since the whole was written.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Note<E = Box<Entry>> {
    /// An entry was taken from a source.
    Taken(String, E),
    /// The operator's Pods were seen last at this time.
    Seen(Timestamp),
    /// When it was there.
    Presence(Vec<Line>),
}

impl<J> Kept<J> {
    pub(super) fn new(judge: J, presence: Vec<Line>, seen: Option<Timestamp>) -> Self {
        Self {
            version: VERSION,
            judge,
            presence,
            seen,
            drilled: None,
            workloads: Workloads::default(),
        }
    }
}

/// The folder of the state.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// That folder, which is made if need be.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// What was kept; `None` if nothing was, or nothing that can be understood: then it is set aside.
    pub(super) fn read(&self) -> io::Result<Option<Kept>> {
        let Some(content) = self.content(NAME)? else {
            return Ok(None);
        };
        match serde_json::from_slice::<Kept>(&content) {
            Ok(kept) if kept.version == VERSION => Ok(Some(kept)),
            Ok(_) | Err(_) => {
                let aside = self.folder.join(format!("{NAME}.unreadable"));
                fs::rename(self.folder.join(NAME), &aside)?;
                tracing::error!(path = %aside.display(), "the audit's state can't be understood: it is set aside, and the audit begins anew");
                Ok(None)
            }
        }
    }

    /// What came since. Of a line that is not whole the source knows that it was not kept: it comes again.
    pub(super) fn journal(&self) -> io::Result<Vec<Note>> {
        let content = self.content(JOURNAL)?.unwrap_or_default();
        let lines = content.split(|byte| *byte == b'\n');
        let (mut notes, mut strange) = (Vec::new(), 0_u64);
        for line in lines.filter(|line| !line.is_empty()) {
            match serde_json::from_slice(line) {
                Ok(note) => notes.push(note),
                Err(error) if error.is_eof() => {}
                Err(_) => strange += 1,
            }
        }
        if strange > 0 {
            let path = self.folder.join(JOURNAL);
            tracing::error!(path = %path.display(), lines = strange, "lines of the audit's journal can't be understood: what they told is lost");
        }
        Ok(notes)
    }

    /// What a file of the folder holds, if it is there.
    fn content(&self, name: &str) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
        match wire::file::read_at_most(&self.folder.join(name), LARGEST) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Keeps it as a whole, and says how many bytes that takes: when this returns, it survives, and the journal begins anew.
    pub(super) fn write(&self, kept: &Kept<impl Serialize>) -> io::Result<u64> {
        // In no more memory than it takes already.
        let write = |file: &mut _| serde_json::to_writer(file, kept).map_err(io::Error::from);
        let written = wire::file::replace_with(&self.folder, NAME, write)?;
        // What it still holds after a crash is known as taken before.
        match fs::remove_file(self.folder.join(JOURNAL)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(written),
        }
    }

    /// Adds lines to the journal: when this returns, they survive.
    pub(super) fn append(&self, lines: &[u8]) -> io::Result<()> {
        let path = self.folder.join(JOURNAL);
        let new = !path.exists();
        let mut file = OpenOptions::new().append(true).create(true).open(path)?;
        file.write_all(lines)?;
        file.sync_data()?;
        if new {
            fs::File::open(&self.folder)?.sync_all()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Judge;
    use crate::audit::entry::parse;

    #[test]
    fn what_was_kept_is_read_and_what_is_none_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(&folder.path().join("audit")).expect("a folder");
        assert!(disk.read().expect("it can be read").is_none());
        let judge = Judge::default();
        let kept = Kept::new(judge.saved(), Vec::new(), None);
        disk.write(&kept).expect("it can be written");
        assert!(disk.read().expect("it can be read").is_some());
        fs::write(folder.path().join("audit").join(NAME), "{\"version\":1,").expect("written");
        assert!(disk.read().expect("it is set aside").is_none());
        assert!(disk.read().expect("it is gone").is_none());
        disk.write(&kept).expect("it can be written again");
    }

    #[test]
    fn the_journal_holds_what_was_taken_since_the_whole_was_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(folder.path()).expect("a folder");
        assert!(disk.journal().expect("none").is_empty());
        let line = r#"{"time":"2026-11-24T10:00:54.9Z","type":"request","request":{"id":"1","path":"kvv2/data/a"}}"#;
        let entry = parse(line.as_bytes()).expect("an entry");
        let note = Note::Taken("vault-0".to_owned(), Box::new(entry));
        let mut noted = serde_json::to_vec(&note).expect("JSON");
        noted.push(b'\n');
        disk.append(&noted).expect("it can be written");
        disk.append(&noted).expect("it can be written");
        // The disk was full.
        disk.append(&noted[..20]).expect("it can be written");
        let read = disk.journal().expect("it can be read");
        assert!(
            read.len() == 2 && read.iter().all(|read| *read == note),
            "{read:?}"
        );
        let judge = Judge::default();
        let kept = Kept::new(judge.saved(), Vec::new(), None);
        disk.write(&kept).expect("it can be written");
        assert!(disk.journal().expect("none").is_empty());
    }
}
