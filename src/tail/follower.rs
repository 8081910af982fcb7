//! A log file, followed over its rotations: each step reads on, and says how far it came.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::family::{Member, family};
use super::identity::Place;
use super::opened::{Opened, State};
use super::position::{Mark, Position};
use super::{Gap, Piece};
use crate::config::Begin;

/// A log file that is followed.
pub(super) struct Follower {
    path: PathBuf,
    begin: Begin,
    current: Current,
}

enum Current {
    /// Nothing was opened yet; none: not even a start was made before.
    Closed(Option<Position>),
    Open(Box<Open>),
}

/// A file that is read, and the one that is read after it.
struct Open {
    file: Opened,
    /// It is there already and has lines, so that no more will come to this one.
    next: Option<Opened>,
    /// It is a copy, of what was cut then, and that was told.
    copy: bool,
}

/// What a step brought.
pub(super) struct Step {
    /// What there was, the oldest first.
    pub(super) pieces: Vec<Piece>,
    /// Where it ends.
    pub(super) position: Position,
    /// Whether all that was written before it has been told by now.
    pub(super) whole: bool,
    /// Whether more may be there at once.
    pub(super) more: bool,
}

impl Follower {
    /// Follows `path` from where it was read to, or, at the very first start, from where it is to `begin`.
    pub(super) fn new(path: &Path, saved: Option<Position>, begin: Begin) -> Self {
        Self {
            path: path.to_owned(),
            begin,
            current: Current::Closed(saved),
        }
    }

    /// The file that is followed.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads on.
    ///
    /// # Errors
    /// The file or its folder can't be read now. Nothing is lost by that: the next step tries again.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let saved = match &mut self.current {
            Current::Open(open) => return open.step(&self.path),
            Current::Closed(saved) => saved.clone(),
        };
        let (open, gap) = match saved {
            None => match self.first()? {
                Ok(file) => (Open::of(file, false), None),
                Err(nothing) => {
                    self.current = Current::Closed(Some(nothing.clone()));
                    return Ok(idle(nothing, true));
                }
            },
            Some(position) => {
                let Some(found) = self.resume(&position)? else {
                    // A path that leads nowhere is told; an empty file is not.
                    self.path.metadata()?;
                    let whole = position.mark.is_none();
                    return Ok(idle(position, whole));
                };
                found
            }
        };
        let position = open.file.position();
        self.current = Current::Open(Box::new(open));
        Ok(Step {
            pieces: gap.map(Piece::Gap).into_iter().collect(),
            position,
            whole: false,
            more: true,
        })
    }

    /// Opens the file at the very first start. If it is not there, all that comes later is new.
    fn first(&self) -> io::Result<Result<Opened, Position>> {
        let opened = match self.begin {
            Begin::End => Opened::open_at_end(&self.path),
            Begin::Beginning => Opened::open(&self.path, 0),
        };
        match opened {
            Ok(file) => Ok(Ok(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let newest = family(&self.path)?
                    .iter()
                    .map(|member| member.modified)
                    .max();
                Ok(Err(Position {
                    mark: None,
                    modified: newest.map_or(0, |newest| newest + 1),
                }))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens what was read last where it was left, wherever it is by now. None if there is nothing to be read yet.
    fn resume(&self, position: &Position) -> io::Result<Option<(Open, Option<Gap>)>> {
        let family = family(&self.path)?;
        let opened = |file, gap| Some((Open::of(file, gap == Some(Gap::Truncated)), gap));
        let begin = |next: Vec<&Member>, gap| {
            let file = first_with_lines(&next)?;
            Ok(file.and_then(|file| opened(file, gap)))
        };
        let Some(mark) = &position.mark else {
            return begin(self.after(&family, position.modified, None), None);
        };
        let stands = family.iter().any(|member| member.place == mark.place);
        let Some(at) = find(&family, mark) else {
            let gap = if stands {
                Gap::Truncated
            } else {
                Gap::Vanished
            };
            return begin(self.after(&family, position.modified, None), Some(gap));
        };
        // A copy of it stands before it, if it was copied and cut before its first line had ended.
        let copy = family[..at]
            .iter()
            .position(|member| member.modified > position.modified);
        if let Some(copy) = copy.filter(|_| mark.first.is_none()) {
            let gap = Some(Gap::Truncated);
            return begin(family[copy..].iter().collect(), gap);
        }
        let member = &family[at];
        let mut file = Opened::member(member, mark.offset)?;
        if matches!(file.look()?, State::Cut) {
            return Ok(opened(Opened::member(member, 0)?, Some(Gap::Truncated)));
        }
        // Where it was copied and cut, what was written between the two is nowhere.
        let copied = stands && member.place != mark.place;
        Ok(opened(file, copied.then_some(Gap::Truncated)))
    }

    /// The members that were written since a moment, in nanoseconds since 1970, but for one that begins with this line.
    fn after<'f>(&self, family: &'f [Member], moment: i64, but: Option<&str>) -> Vec<&'f Member> {
        after(&self.path, family, moment, but)
    }
}

fn idle(position: Position, whole: bool) -> Step {
    Step {
        pieces: Vec::new(),
        position,
        whole,
        more: false,
    }
}

impl Open {
    fn of(file: Opened, copy: bool) -> Self {
        Self {
            file,
            next: None,
            copy,
        }
    }

    fn step(&mut self, path: &Path) -> io::Result<Step> {
        loop {
            if let State::Cut = self.file.look()? {
                return self.cut(path);
            }
            let taken = self.file.read()?;
            if taken.read > 0 || !taken.pieces.is_empty() || taken.failed.is_some() {
                return Ok(self.went(taken.pieces));
            }
            if let Some(next) = self.next.take() {
                // A copy is born after what it was made of, and stands before it.
                let copy = !self.copy
                    && self.file.is_plain()
                    && next.place().is_older_than(self.file.place());
                let gap = copy.then_some(Piece::Gap(Gap::Truncated));
                let rest = self.file.rest();
                *self = Self::of(next, false);
                return Ok(self.went(rest.into_iter().chain(gap).collect()));
            }
            if !self.rotated(path)? {
                return Ok(idle(self.file.position(), self.file.is_whole()));
            }
            // Once more: the last lines may have come since the end was seen.
        }
    }

    fn went(&self, pieces: Vec<Piece>) -> Step {
        Step {
            pieces,
            position: self.file.position(),
            whole: false,
            more: true,
        }
    }

    /// Whether the file has been rotated away, and its successor has lines.
    fn rotated(&mut self, path: &Path) -> io::Result<bool> {
        let place = self.file.place();
        if path.metadata().is_ok_and(|now| Place::of(&now) == place) {
            return Ok(false);
        }
        let family = family(path)?;
        let first = self.file.first();
        let own = family.iter().position(|member| member.place == place);
        let packed = || {
            let packed = |member: &Member| member.is_packed() && is(member, first);
            family.iter().position(packed)
        };
        let next = match own.or_else(packed) {
            Some(own) => family[own + 1..].iter().collect(),
            None => after(path, &family, self.file.modified(), first),
        };
        self.next = first_with_lines(&next)?;
        Ok(self.next.is_some())
    }

    /// Goes on where the file was cut in its place: in the copy that was made of it before, if there is one, and then
    /// at its beginning.
    fn cut(&mut self, path: &Path) -> io::Result<Step> {
        let place = self.file.place();
        let family = family(path)?;
        let others = family.iter().rev().filter(|member| member.place != place);
        let copy = others
            .filter(|member| is(member, self.file.first()))
            .find_map(|copy| Opened::member(copy, self.file.offset()).ok());
        let copied = copy.is_some();
        let file = match (copy, family.iter().find(|member| member.place == place)) {
            (Some(copy), _) => copy,
            (None, Some(own)) => Opened::member(own, 0)?,
            // It was cut and then deleted.
            (None, None) => {
                let next = after(path, &family, self.file.modified(), self.file.first());
                match first_with_lines(&next)? {
                    Some(next) => next,
                    None => return Ok(idle(self.file.position(), false)),
                }
            }
        };
        *self = Self::of(file, copied);
        Ok(self.went(vec![Piece::Gap(Gap::Truncated)]))
    }
}

/// Whether a member begins with this line.
fn is(member: &Member, first: Option<&str>) -> bool {
    first.is_some() && member.first().as_deref() == first
}

/// The member that was read last: the same file, or, if it is not there, one with the same content.
fn find(family: &[Member], mark: &Mark) -> Option<usize> {
    let first = mark.first.as_deref();
    // Of a file whose first line had not ended, nothing has been read.
    let same = |member: &Member| {
        member.place == mark.place
            && (is(member, first) || (first.is_none() && mark.place.is_unique()))
    };
    let alike = |member: &Member| is(member, first);
    let same = family.iter().position(same);
    same.or_else(|| family.iter().rposition(alike))
}

/// The members that were written since a moment, in nanoseconds since 1970, but for one that begins with this line. The
/// log file itself is one of them whenever it was written.
fn after<'f>(path: &Path, family: &'f [Member], moment: i64, but: Option<&str>) -> Vec<&'f Member> {
    let late = |member: &&Member| member.modified >= moment || member.path == path;
    family
        .iter()
        .filter(late)
        .filter(|member| !is(member, but))
        .collect()
}

/// Opens the first of these that has lines.
fn first_with_lines(members: &[&Member]) -> io::Result<Option<Opened>> {
    let first = members.iter().find(|member| !member.empty);
    first.map(|member| Opened::member(member, 0)).transpose()
}
