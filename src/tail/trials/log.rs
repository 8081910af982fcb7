//! A log whose lines are counted, its writer, and its reader.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::config::Begin;
use crate::tail::follower::Follower;
use crate::tail::position::Position;
use crate::tail::{Gap, Piece};

/// How many files a rotation keeps.
pub(super) const KEPT: usize = 6;

/// A log, its writer, and its reader.
pub(super) struct Log {
    pub(super) folder: TempDir,
    pub(super) writer: File,
    pub(super) written: u64,
    pub(super) follower: Follower,
    /// The positions that were told, the first of which is saved.
    pub(super) positions: Vec<Position>,
    pub(super) read: Vec<u64>,
    pub(super) torn: usize,
    pub(super) gaps: Vec<Gap>,
    /// Whether the last step said that all was read.
    pub(super) whole: bool,
    /// Whether lines were missing, and no gap told, when all was said to be read.
    pub(super) untold: bool,
    /// Whether it was killed before the file that it read had a whole line.
    pub(super) young: bool,
}

pub(super) fn append(path: &Path) -> File {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    opened.expect("it can be opened")
}

impl Log {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.log");
        let mut log = Self {
            writer: append(&path),
            written: 0,
            follower: Follower::new(&path, None, Begin::Beginning),
            positions: vec![Position::default()],
            read: Vec::new(),
            torn: 0,
            gaps: Vec::new(),
            whole: false,
            untold: false,
            young: false,
            folder,
        };
        log.step();
        log.positions.remove(0);
        log
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("audit.log")
    }

    pub(super) fn rotated(&self, number: u64) -> PathBuf {
        self.folder.path().join(format!("audit.log.{number}"))
    }

    pub(super) fn line(&self) -> String {
        let n = self.written;
        format!(
            "{{\"n\":{n},\"pad\":\"{}\"}}\n",
            "x".repeat((n * 7 % 50) as usize)
        )
    }

    pub(super) fn write(&mut self, lines: usize) {
        for _ in 0..lines {
            self.writer.write_all(self.line().as_bytes()).unwrap();
            self.written += 1;
        }
    }

    /// Fails in the middle of a line, opens the file again and writes the line again, as `OpenBao` does.
    pub(super) fn write_torn(&mut self) {
        let line = self.line();
        self.writer
            .write_all(&line.as_bytes()[..line.len() / 2])
            .unwrap();
        self.reopen();
        self.write(1);
    }

    pub(super) fn reopen(&mut self) {
        self.writer = append(&self.path());
    }

    /// Renames the files, each to the next number.
    pub(super) fn rename(&mut self) {
        for number in (1..100).rev() {
            for end in ["", ".gz", ".zst"] {
                let from = format!("{}{end}", self.rotated(number).display());
                if Path::new(&from).exists() {
                    fs::rename(
                        &from,
                        format!("{}{end}", self.rotated(number + 1).display()),
                    )
                    .unwrap();
                }
            }
        }
        fs::rename(self.path(), self.rotated(1)).unwrap();
    }

    pub(super) fn rotate(&mut self) {
        self.rename();
        self.reopen();
    }

    pub(super) fn copy_truncate(&mut self, lost: usize) {
        let content = fs::read(self.path()).unwrap();
        self.rename_copies();
        fs::write(self.rotated(1), content).unwrap();
        self.write(lost);
        self.writer.set_len(0).unwrap();
    }

    pub(super) fn rename_copies(&mut self) {
        let aside = self.folder.path().join("aside");
        fs::rename(self.path(), &aside).unwrap();
        File::create(self.path()).unwrap();
        self.rename();
        fs::remove_file(self.rotated(1)).unwrap();
        fs::rename(aside, self.path()).unwrap();
    }

    pub(super) fn gzip(&self, number: u64) {
        let from = self.rotated(number);
        if let Ok(content) = fs::read(&from) {
            let to = File::create(format!("{}.gz", from.display())).unwrap();
            let mut to = GzEncoder::new(to, Compression::fast());
            to.write_all(&content).unwrap();
            let to = to.finish().unwrap();
            to.set_modified(from.metadata().unwrap().modified().unwrap())
                .unwrap();
            fs::remove_file(from).unwrap();
        }
    }

    pub(super) fn zstd(&self, number: u64) {
        let from = self.rotated(number);
        if let Ok(content) = fs::read(&from) {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            let packed = ruzstd::encoding::compress_to_vec(content.as_slice(), level);
            let to = format!("{}.zst", from.display());
            fs::write(&to, packed).unwrap();
            let modified = from.metadata().unwrap().modified().unwrap();
            append(Path::new(&to)).set_modified(modified).unwrap();
            fs::remove_file(from).unwrap();
        }
    }

    /// Takes one step; whether there may be more.
    pub(super) fn step(&mut self) -> bool {
        let step = self.follower.step().expect("it can be read");
        for piece in step.pieces {
            match piece {
                Piece::Line(line) => {
                    // What follows a torn half is whole.
                    let text = std::str::from_utf8(&line).unwrap();
                    let begin = text.rfind("{\"n\":").unwrap();
                    self.torn += usize::from(begin > 0);
                    let number = text[begin + 5..].split(',').next().unwrap();
                    if text.ends_with("\"}") {
                        self.read.push(number.parse().unwrap());
                    } else {
                        self.torn += 1;
                    }
                }
                Piece::Gap(gap) => self.gaps.push(gap),
                Piece::TooLong { .. } => panic!("no line is too long"),
            }
        }
        self.positions.push(step.position);
        self.whole = step.whole;
        self.untold |= step.whole && self.gaps.is_empty() && !self.missing().is_empty();
        step.more
    }

    pub(super) fn read_all(&mut self) {
        while self.step() {}
    }

    /// Kills the reader, when this was the last position that was saved, or the last of all.
    pub(super) fn kill(&mut self, saved: usize) {
        let saved = saved.min(self.positions.len() - 1);
        self.positions.drain(..saved);
        self.positions.truncate(1);
        let saved = self.positions[0].clone();
        self.young |= saved.mark.as_ref().is_none_or(|mark| mark.first.is_none());
        let text = serde_json::to_string(&saved).unwrap();
        assert_eq!(serde_json::from_str::<Position>(&text).unwrap(), saved);
        self.follower = Follower::new(&self.path(), Some(saved), Begin::Beginning);
    }

    /// Whether the file that is written was opened by the reader, and has a line to be known by.
    pub(super) fn was_opened(&self) -> bool {
        let place = crate::tail::identity::Place::of(&self.writer.metadata().unwrap());
        let saved = self.positions[0].mark.as_ref();
        saved.is_some_and(|mark| mark.place == place && mark.first.is_some())
    }

    pub(super) fn missing(&self) -> Vec<u64> {
        let read: std::collections::BTreeSet<_> = self.read.iter().collect();
        (0..self.written)
            .filter(|number| !read.contains(number))
            .collect()
    }

    pub(super) fn all_once(&self) {
        assert_eq!(self.read, (0..self.written).collect::<Vec<_>>());
        assert_eq!(self.gaps, []);
    }
}
