//! The identity of a file: what tells whether it is the one that was read before.

use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;

use std::time::UNIX_EPOCH;

use memchr::memchr;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How much of a first line tells files apart, in bytes: it has a time and an ID near its beginning.
const ENOUGH: usize = 64 << 10;
/// How many bytes of a digest do.
const DIGEST: usize = 12;

/// The place of a file's content on its device. An inode is given away again once its file is deleted, and then the file
/// has another birth, where the file system tells one.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Place {
    device: u64,
    inode: u64,
    /// When it was created, in nanoseconds since 1970.
    born: Option<i64>,
}

impl Place {
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            born: metadata.created().ok().and_then(|born| {
                let since = born.duration_since(UNIX_EPOCH).ok()?;
                i64::try_from(since.as_nanos()).ok()
            }),
        }
    }

    /// Whether it was created before the other.
    pub(super) fn is_older_than(self, other: Self) -> bool {
        self.born < other.born && self.born.is_some()
    }

    /// Whether no other file can have the place.
    pub(super) fn is_unique(self) -> bool {
        self.born.is_some()
    }
}

/// When a file was written last, in nanoseconds since 1970.
pub(super) fn modified(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

/// A digest of a file's first line; none before the line has ended.
pub(super) fn first_line(from: impl Read) -> io::Result<Option<String>> {
    let mut begin = Vec::new();
    let read = from.take(ENOUGH as u64).read_to_end(&mut begin);
    let line = match memchr(b'\n', &begin) {
        Some(end) => &begin[..end],
        None if begin.len() == ENOUGH => &begin,
        None => return read.map(|_| None),
    };
    let digest = Sha256::digest(line);
    let hex = digest.iter().take(DIGEST).map(|byte| format!("{byte:02x}"));
    Ok(Some(hex.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_young_file_stays_itself_while_it_grows() {
        let of = |text: &[u8]| first_line(text).unwrap();
        assert_eq!(of(b""), None);
        assert_eq!(of(b"{\"time\":1"), None);
        let one = of(b"{\"time\":1}\n");
        assert!(one.is_some());
        assert_eq!(of(b"{\"time\":1}\n{\"time\":2}\n"), one);
        assert_ne!(of(b"{\"time\":2}\n"), one);
        let long = vec![b'a'; ENOUGH];
        let longer = vec![b'a'; 2 * ENOUGH];
        assert!(of(&long).is_some());
        assert_eq!(of(&long), of(&longer));
    }
}
