//! The positions up to which files were read and acknowledged, in one file that survives a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::Place;
use super::store::Store;
use crate::model::name::SourceName;

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
pub(super) struct Positions(Store<Sources>);

#[derive(Clone, Default, Deserialize, Serialize)]
struct Sources {
    sources: BTreeMap<SourceName, Position>,
}

impl Positions {
    /// Those that were saved in the folder, which is created if it is not there.
    ///
    /// # Errors
    /// The folder or the file can't be read, or the file is of another form.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Store::open(folder, NAME.to_owned(), SCHEMA, Sources::default).map(Self)
    }

    pub(super) fn of(&self, source: &SourceName) -> Option<Position> {
        self.0.get(|known| known.sources.get(source).cloned())
    }

    /// Saves one, so that it survives a loss of power.
    pub(super) fn save(&self, source: &SourceName, position: Position) -> io::Result<()> {
        if self.of(source).as_ref() == Some(&position) {
            return Ok(());
        }
        self.0.change(|known| {
            known.sources.insert(source.clone(), position);
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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
        let text = fs::read_to_string(folder.join(NAME)).unwrap();
        let form = r#"{"schema":"vso-prober/positions/v1","sources":{"vault-0":{"mark":{"device":"#;
        assert!(text.starts_with(form), "{text}");
        // A half-written one beside it is none.
        fs::write(folder.join("positions.json.new"), "{").unwrap();
        assert!(Positions::open(&folder).is_ok());
        fs::write(folder.join(NAME), "{}").unwrap();
        assert!(Positions::open(&folder).is_err());
    }
}
