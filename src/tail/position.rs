//! The positions up to which files were read and acknowledged, in one file that survives a restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::identity::Place;
use crate::model::name::SourceName;
use crate::wire::file;

/// The name of the file.
const NAME: &str = "positions.json";
/// The version of its form.
const SCHEMA: &str = "vso-prober/positions/v1";

/// How far a file's family was read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Position {
    /// The file that was read last; none if there has not been one.
    pub(super) mark: Option<Mark>,
    /// When it was written last, in nanoseconds since 1970: what was written later was not read.
    pub(super) modified: i64,
}

/// A file, and how far it was read.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Mark {
    #[serde(flatten)]
    pub(super) place: Place,
    /// A digest of its first line; none while that has not ended.
    pub(super) first: Option<String>,
    /// The end of the last line that was handed on, in bytes of the content as it was written.
    pub(super) offset: u64,
}

/// The positions of all sources.
pub(super) struct Positions {
    folder: PathBuf,
    known: Mutex<BTreeMap<SourceName, Position>>,
}

#[derive(Deserialize, Serialize)]
struct Saved {
    schema: String,
    sources: BTreeMap<SourceName, Position>,
}

impl Positions {
    /// Those that were saved in the folder, which is created if it is not there.
    ///
    /// # Errors
    /// The folder or the file can't be read, or the file is of another form.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let known = match fs::read(folder.join(NAME)) {
            Ok(text) => {
                let saved: Saved = serde_json::from_slice(&text)?;
                if saved.schema != SCHEMA {
                    let why = format!("{NAME} has the schema {:?}, not {SCHEMA:?}", saved.schema);
                    return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                }
                saved.sources
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(error),
        };
        Ok(Self {
            folder: folder.to_owned(),
            known: Mutex::new(known),
        })
    }

    pub(super) fn of(&self, source: &SourceName) -> Option<Position> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(source).cloned()
    }

    /// Saves one, so that it survives a loss of power.
    pub(super) fn save(&self, source: &SourceName, position: Position) -> io::Result<()> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.get(source) == Some(&position) {
            return Ok(());
        }
        let before = known.insert(source.clone(), position);
        let saved = Saved {
            schema: SCHEMA.to_owned(),
            sources: known.clone(),
        };
        let written = file::replace(&self.folder, NAME, &serde_json::to_vec(&saved)?);
        if written.is_err() {
            // It counts as not saved, so that it is tried again.
            match before {
                Some(before) => known.insert(source.clone(), before),
                None => known.remove(source),
            };
        }
        written
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("audit");
        let positions = Positions::open(&folder).unwrap();
        let source = SourceName::from("vault-0");
        assert_eq!(positions.of(&source), None);
        let metadata = folder.metadata().unwrap();
        let position = Position {
            mark: Some(Mark {
                place: Place::of(&metadata),
                first: Some("00ff".to_owned()),
                offset: 17,
            }),
            modified: i64::MAX,
        };
        positions.save(&source, position.clone()).unwrap();
        positions
            .save(&SourceName::from("vault-1"), Position::default())
            .unwrap();
        let again = Positions::open(&folder).unwrap();
        assert_eq!(again.of(&source), Some(position));
        // A half-written one beside it is none.
        fs::write(folder.join("positions.json.new"), "{").unwrap();
        assert!(Positions::open(&folder).is_ok());
        fs::write(folder.join(NAME), "{}").unwrap();
        assert!(Positions::open(&folder).is_err());
    }
}
