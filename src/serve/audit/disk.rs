//! The state of the audit on disk: written beside and renamed, so that it is whole at any time.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::audit::Saved;
use crate::audit::presence::Line;
use crate::wire;

/// The form of the file.
const VERSION: u32 = 1;
/// The file in the folder `audit.state`.
const NAME: &str = "judge.json";
/// No state is larger, in bytes.
const LARGEST: u64 = 64 << 20;

/// What a restart must not lose. It holds nothing secret.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Kept {
    version: u32,
    /// The judge.
    pub(super) judge: Saved,
    /// When the operator was there.
    pub(super) presence: Vec<Line>,
    /// When its Pods were seen last.
    pub(super) seen: Option<Timestamp>,
    /// When a drill was last found.
    #[serde(default)]
    pub(super) drilled: Option<Timestamp>,
}

impl Kept {
    pub(super) fn new(judge: Saved, presence: Vec<Line>, seen: Option<Timestamp>) -> Self {
        Self {
            version: VERSION,
            judge,
            presence,
            seen,
            drilled: None,
        }
    }
}

/// The folder of the state.
#[derive(Clone, Debug)]
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
        let path = self.folder.join(NAME);
        let content = match wire::file::read_at_most(&path, LARGEST) {
            Ok(content) => content,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        match serde_json::from_slice::<Kept>(&content) {
            Ok(kept) if kept.version == VERSION => Ok(Some(kept)),
            Ok(_) | Err(_) => {
                let aside = self.folder.join(format!("{NAME}.unreadable"));
                fs::rename(&path, &aside)?;
                tracing::error!(path = %aside.display(), "the audit's state can't be understood: it is set aside, and the audit begins anew");
                Ok(None)
            }
        }
    }

    /// Keeps it: when this returns, it survives.
    pub(super) fn write(&self, kept: &Kept) -> io::Result<()> {
        let content = serde_json::to_vec(kept).map_err(io::Error::other)?;
        wire::file::replace(&self.folder, NAME, &content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Judge;

    #[test]
    fn what_was_kept_is_read_and_what_is_none_is_set_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = Disk::open(&folder.path().join("audit")).expect("a folder");
        assert!(disk.read().expect("it can be read").is_none());
        let kept = Kept::new(Judge::default().saved(), Vec::new(), None);
        disk.write(&kept).expect("it can be written");
        assert!(disk.read().expect("it can be read").is_some());
        fs::write(folder.path().join("audit").join(NAME), "{\"version\":1,").expect("written");
        assert!(disk.read().expect("it is set aside").is_none());
        assert!(disk.read().expect("it is gone").is_none());
        disk.write(&kept).expect("it can be written again");
    }
}
