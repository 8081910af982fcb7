//! The marks up to which the logs of a source's containers were read, in a file that survives a restart.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::tail::SourceName;
use crate::tail::store::Store;

/// The version of the file's form.
const SCHEMA: &str = "vso-prober/pod-positions/v1";

/// How far a container's log was read.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Mark {
    /// The ID of the container: one that begins anew has another.
    pub(super) container: String,
    /// When the last line was written that was handed on; none if there was none.
    pub(super) time: Option<Timestamp>,
    /// How many lines of that very time were.
    pub(super) lines: u32,
}

/// The marks of all containers of a source.
pub(super) struct Kept(Store<Marks>);

#[derive(Clone, Deserialize, Serialize)]
struct Marks {
    /// The very first start: what was written before is not read.
    since: Timestamp,
    /// By the UIDs of the Pods.
    pods: BTreeMap<String, Mark>,
}

impl Kept {
    /// Those that were saved in the folder. Where there are none, the source begins now.
    ///
    /// # Errors
    /// The file can't be read or written, or is of another form.
    pub(super) fn open(folder: &Path, source: &SourceName) -> io::Result<Self> {
        let begin = || Marks {
            since: Timestamp::now(),
            pods: BTreeMap::new(),
        };
        let store = Store::open(folder, format!("pods-{source}.json"), SCHEMA, begin)?;
        // It must be known after a crash when the source began.
        store.change(|_| {})?;
        Ok(Self(store))
    }

    /// When the source began.
    pub(super) fn since(&self) -> Timestamp {
        self.0.get(|marks| marks.since)
    }

    /// How far the container of a Pod was read.
    pub(super) fn of(&self, uid: &str) -> Option<Mark> {
        self.0.get(|marks| marks.pods.get(uid).cloned())
    }

    /// The UIDs of the Pods whose containers were read.
    pub(super) fn uids(&self) -> Vec<String> {
        self.0.get(|marks| marks.pods.keys().cloned().collect())
    }

    /// Saves a mark, or forgets that of a Pod that is gone, so that it survives a loss of power.
    pub(super) fn save(&self, uid: &str, mark: Option<Mark>) -> io::Result<()> {
        self.0.change(|marks| {
            match mark {
                Some(mark) => marks.pods.insert(uid.to_owned(), mark),
                None => marks.pods.remove(uid),
            };
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_saved_is_there_after_a_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let source = SourceName::from("stdout");
        let kept = Kept::open(folder.path(), &source).expect("kept");
        let since = kept.since();
        let mark = Mark {
            container: "containerd://a".to_owned(),
            time: Some(since),
            lines: 2,
        };
        kept.save("uid", Some(mark.clone())).expect("saved");
        let again = Kept::open(folder.path(), &source).expect("kept");
        assert_eq!((again.since(), again.of("uid")), (since, Some(mark)));
        again.save("uid", None).expect("saved");
        assert_eq!(again.of("uid"), None);
    }
}
