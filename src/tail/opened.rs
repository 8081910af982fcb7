//! A file of a family, open at the end of the last line that was handed on.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::family::Member;
use super::identity::{Place, first_line, modified};
use super::lines::{Lines, Taken};
use super::packed::Packing;
use super::position::{Mark, Position};
use super::{Gap, Piece};

/// How much is passed over or looked at at once, in bytes.
const BLOCK: usize = 64 << 10;

/// An open file.
pub(super) struct Opened {
    path: PathBuf,
    content: Content,
    lines: Lines,
    mark: Mark,
    modified: i64,
    /// How far it has been read, unpacked.
    read: u64,
}

enum Content {
    Plain(File),
    Packed(Box<dyn Read + Send>),
    /// It can't be unpacked any further.
    Broken,
    /// And that was told.
    Ended,
}

/// What has become of an open file.
pub(super) enum State {
    /// It is what it was, and may have grown.
    Same,
    /// It was cut, or overwritten, where it stands.
    Cut,
}

impl Opened {
    /// Opens a file where `offset` bytes of it, unpacked, were handed on.
    pub(super) fn open(path: &Path, offset: u64) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            let why = "it is not a regular file";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        }
        let place = Place::of(&metadata);
        let (first, content) = if let Some(packing) = Packing::of(path) {
            let first = first_line(packing.unpack(File::open(path)?)).unwrap_or_default();
            let mut content = packing.unpack(file);
            let passed = io::copy(&mut content.by_ref().take(offset), &mut io::sink());
            if passed.is_ok_and(|passed| passed == offset) {
                (first, Content::Packed(content))
            } else {
                (first, Content::Broken)
            }
        } else {
            let first = first_line(At(&file, 0))?;
            file.seek(SeekFrom::Start(offset))?;
            (first, Content::Plain(file))
        };
        Ok(Self {
            path: path.to_owned(),
            content,
            lines: Lines::default(),
            mark: Mark {
                place,
                first,
                offset,
            },
            modified: modified(&metadata),
            read: offset,
        })
    }

    /// Opens a member of a family, unless another file has its name by now.
    pub(super) fn member(member: &Member, offset: u64) -> io::Result<Self> {
        let opened = Self::open(&member.path, offset)?;
        if opened.place() == member.place {
            return Ok(opened);
        }
        let why = "it is being rotated";
        Err(io::Error::new(io::ErrorKind::NotFound, why))
    }

    /// Opens a plain file at the end of its last line.
    pub(super) fn open_at_end(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let end = last_line_end(&file)?;
        Self::open(path, end)
    }

    pub(super) fn place(&self) -> Place {
        self.mark.place
    }

    pub(super) fn is_plain(&self) -> bool {
        matches!(self.content, Content::Plain(_))
    }

    pub(super) fn offset(&self) -> u64 {
        self.mark.offset
    }

    pub(super) fn first(&self) -> Option<&str> {
        self.mark.first.as_deref()
    }

    pub(super) fn modified(&self) -> i64 {
        self.modified
    }

    pub(super) fn position(&self) -> Position {
        Position {
            mark: Some(self.mark.clone()),
            modified: self.modified,
        }
    }

    /// Looks whether it is still the file that was opened.
    pub(super) fn look(&mut self) -> io::Result<State> {
        let Content::Plain(file) = &self.content else {
            return Ok(State::Same);
        };
        let metadata = file.metadata()?;
        if metadata.len() < self.read {
            return Ok(State::Cut);
        }
        let modified = modified(&metadata);
        if metadata.len() > self.read || modified != self.modified {
            let first = first_line(At(file, 0))?;
            if self.mark.first.is_some() && first != self.mark.first {
                return Ok(State::Cut);
            }
            self.mark.first = first;
            self.modified = modified;
        }
        Ok(State::Same)
    }

    /// Reads on.
    pub(super) fn read(&mut self) -> io::Result<Taken> {
        let taken = match &mut self.content {
            Content::Plain(file) => {
                let taken = self.lines.read(file);
                match taken.failed {
                    Some(error) if taken.read == 0 => return Err(error),
                    _ => taken,
                }
            }
            Content::Packed(content) => {
                let taken = self.lines.read(content);
                if taken.failed.is_some() {
                    self.content = Content::Broken;
                }
                taken
            }
            Content::Broken => {
                self.content = Content::Ended;
                let broken = self.path.display();
                tracing::warn!(file = %broken, "an audit log can't be unpacked to its end");
                Taken {
                    pieces: vec![Piece::Gap(Gap::Vanished)],
                    ..Taken::default()
                }
            }
            Content::Ended => Taken::default(),
        };
        self.read += taken.read;
        self.mark.offset += taken.settled;
        if let Content::Plain(file) = &self.content
            && self.mark.first.is_none()
            && taken.settled > 0
        {
            self.mark.first = first_line(At(file, 0))?;
        }
        Ok(taken)
    }

    /// Whether all that was read of it was handed on: else it ends in the midst of a line, whose end is still to come.
    pub(super) fn is_whole(&self) -> bool {
        self.read == self.mark.offset
    }

    /// What there is of a line whose end will not come.
    pub(super) fn rest(&mut self) -> Option<Piece> {
        self.lines.rest()
    }
}

/// A file from an offset on, without moving where it is read.
struct At<'f>(&'f File, u64);

impl Read for At<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.0.read_at(into, self.1)?;
        self.1 += read as u64;
        Ok(read)
    }
}

/// Where the last line ends that has an end.
fn last_line_end(file: &File) -> io::Result<u64> {
    let mut end = file.metadata()?.len();
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let begin = end.saturating_sub(BLOCK as u64);
        let part = &mut block[..usize::try_from(end - begin).unwrap_or(BLOCK)];
        file.read_exact_at(part, begin)?;
        if let Some(at) = memchr::memrchr(b'\n', part) {
            return Ok(begin + at as u64 + 1);
        }
        end = begin;
    }
    Ok(0)
}
