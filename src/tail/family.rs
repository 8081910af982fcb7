//! A log file and what was rotated away from it, in the order in which it was written.

use std::ffi::OsStr;
use std::fs::read_dir;
use std::io;
use std::path::{Path, PathBuf};

use super::identity::{Place, first_line, modified};
use super::packed::{self, Packing};

/// How often a folder is listed until two lists agree: a rotation may be under way.
const LISTINGS: usize = 10;

/// One file of a family.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Member {
    pub(super) path: PathBuf,
    pub(super) place: Place,
    /// When it was written last, in nanoseconds since 1970.
    pub(super) modified: i64,
    pub(super) empty: bool,
}

impl Member {
    /// A digest of its first line, if it has one and can be read.
    pub(super) fn first(&self) -> Option<String> {
        first_line(packed::open(&self.path).ok()?).ok()?
    }

    pub(super) fn is_packed(&self) -> bool {
        Packing::of(&self.path).is_some()
    }
}

/// The log file at `path` and its older ones, the oldest first.
pub(super) fn family(path: &Path) -> io::Result<Vec<Member>> {
    let mut family = list(path)?;
    for _ in 0..LISTINGS {
        let again = list(path)?;
        let alike =
            |one: &Member, other: &Member| one.path == other.path && one.place == other.place;
        let same = family.len() == again.len()
            && family
                .iter()
                .zip(&again)
                .all(|(one, other)| alike(one, other));
        family = again;
        if same {
            break;
        }
    }
    Ok(family)
}

fn list(path: &Path) -> io::Result<Vec<Member>> {
    let Some((folder, name)) = path.parent().zip(path.file_name().and_then(OsStr::to_str)) else {
        return Ok(Vec::new());
    };
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    let mut found = Vec::new();
    for entry in read_dir(folder)? {
        let entry = entry?;
        let Some(rotated) = entry
            .file_name()
            .to_str()
            .and_then(|entry| rotated(name, entry))
        else {
            continue;
        };
        // What has gone meanwhile is missing in the next list, too.
        if let Ok(metadata) = entry.path().metadata()
            && metadata.is_file()
        {
            let member = Member {
                path: entry.path(),
                place: Place::of(&metadata),
                modified: modified(&metadata),
                empty: metadata.len() == 0,
            };
            found.push((rotated, member));
        }
    }
    let plain: Vec<PathBuf> = found
        .iter()
        .map(|(_, member)| member.path.clone())
        .collect();
    // What is being compressed is there twice.
    found.retain(|(_, member)| {
        !member.is_packed() || !plain.contains(&member.path.with_extension(""))
    });
    // Numbers tell the order where there are nothing else.
    let numbered = found
        .iter()
        .all(|(rotated, _)| !matches!(rotated, Rotated::Named));
    found.sort_by(|(one, a), (other, b)| {
        let by_time = || (a.modified, &a.path).cmp(&(b.modified, &b.path));
        match (one, other) {
            (Rotated::Current, _) | (_, Rotated::Current) => one.cmp(other),
            _ if numbered => one.cmp(other).then_with(by_time),
            _ => by_time(),
        }
    });
    Ok(found.into_iter().map(|(_, member)| member).collect())
}

/// How a file was rotated away, as its name tells; the order is that of age, the oldest first.
#[derive(Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rotated {
    /// With a date or the like.
    Named,
    /// With a number that grows with its age.
    Numbered(std::cmp::Reverse<u64>),
    /// Not at all.
    Current,
}

/// How `entry` was rotated away from the log file `name`; none if it is something else.
fn rotated(name: &str, entry: &str) -> Option<Rotated> {
    if entry == name {
        return Some(Rotated::Current);
    }
    let packed = Packing::of(Path::new(entry)).is_some();
    let bare = if packed {
        entry.rsplit_once('.')?.0
    } else {
        entry
    };
    let parted = |rest: &str| rest.starts_with(['.', '-', '_']) && rest.len() > 1;
    if let Some(rest) = bare.strip_prefix(name).filter(|rest| parted(rest)) {
        let number = rest[1..].parse();
        return Some(number.map_or(Rotated::Named, |number| {
            Rotated::Numbered(std::cmp::Reverse(number))
        }));
    }
    // `audit-20261130.log`, as logrotate's `extension` has it.
    let (stem, extension) = name.rsplit_once('.')?;
    let middle = bare
        .strip_prefix(stem)?
        .strip_suffix(extension)?
        .strip_suffix('.')?;
    parted(middle).then_some(Rotated::Named)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn ordered(names: &[&str]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let names_in_order = names.iter().enumerate();
        for (age, name) in names_in_order {
            let file = fs::File::create(folder.path().join(name)).unwrap();
            let at = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000 + age as u64);
            file.set_modified(at).unwrap();
        }
        let members = family(&folder.path().join("audit.log")).unwrap();
        let name = |member: Member| {
            member
                .path
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        };
        members.into_iter().map(name).collect()
    }

    #[test]
    fn the_oldest_comes_first() {
        let numbered = [
            "audit.log",
            "audit.log.1",
            "audit.log.2.gz",
            "audit.log.10.zst",
            "other.log",
            "audit.log2",
        ];
        assert_eq!(
            ordered(&numbered),
            [
                "audit.log.10.zst",
                "audit.log.2.gz",
                "audit.log.1",
                "audit.log"
            ]
        );
        let dated = ["audit-20261128.log.gz", "audit-20261129.log", "audit.log"];
        assert_eq!(ordered(&dated), dated);
        let mixed = ["audit.log-b", "audit.log-a", "audit.log.1", "audit.log"];
        assert_eq!(ordered(&mixed), mixed);
    }

    #[test]
    fn what_is_being_compressed_is_read_as_it_was() {
        assert_eq!(
            ordered(&[
                "audit.log.2.gz",
                "audit.log.1.gz",
                "audit.log.1",
                "audit.log"
            ]),
            ["audit.log.2.gz", "audit.log.1", "audit.log"]
        );
    }
}
