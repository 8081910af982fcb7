//! The lines of what is read bit by bit.

use std::io::{self, Read};

use bytes::Bytes;
use memchr::{memchr, memchr_iter, memrchr};

use super::{LONGEST_LINE, Piece};

/// How much is read at once, in bytes.
const CHUNK: usize = 256 << 10;

/// What has been read of a line that has not ended yet.
#[derive(Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// How much of it was passed over already, as it is too long.
    skipped: u64,
}

/// What one read brought.
#[derive(Default)]
pub(super) struct Taken {
    /// How many bytes were read; 0 at the end.
    pub(super) read: u64,
    /// The lines that ended, and how many bytes they had with their ends.
    pub(super) pieces: Vec<Piece>,
    pub(super) settled: u64,
    /// Why no more could be read.
    pub(super) failed: Option<io::Error>,
}

impl Lines {
    /// Reads once.
    pub(super) fn read(&mut self, from: &mut impl Read) -> Taken {
        let before = self.buffer.len();
        self.buffer.reserve(CHUNK);
        let result = from.take(CHUNK as u64).read_to_end(&mut self.buffer);
        let read = (self.buffer.len() - before) as u64;
        let taken = if let Some(at) = memrchr(b'\n', &self.buffer[before..]) {
            self.settle(before + at + 1)
        } else {
            if self.skipped > 0 || self.buffer.len() > LONGEST_LINE {
                self.skipped += std::mem::take(&mut self.buffer).len() as u64;
            }
            Taken::default()
        };
        if read == 0 {
            self.buffer.shrink_to_fit();
        }
        Taken {
            read,
            failed: result.err(),
            ..taken
        }
    }

    /// Takes the lines of the first `end` bytes, which end in one.
    fn settle(&mut self, end: usize) -> Taken {
        let rest = self.buffer.split_off(end);
        let whole = Bytes::from(std::mem::replace(&mut self.buffer, rest));
        let skipped = std::mem::take(&mut self.skipped);
        let mut pieces = Vec::new();
        let mut begin = 0;
        if skipped > 0 {
            let end = memchr(b'\n', &whole).unwrap_or(whole.len());
            pieces.push(Piece::TooLong {
                bytes: skipped + end as u64,
            });
            begin = end + 1;
        }
        let from = begin.min(whole.len());
        for end in memchr_iter(b'\n', &whole[from..]).map(|at| from + at) {
            pieces.extend(piece(whole.slice(begin..end)));
            begin = end + 1;
        }
        Taken {
            pieces,
            settled: skipped + whole.len() as u64,
            ..Taken::default()
        }
    }

    /// What there is of a line whose end will not come.
    pub(super) fn rest(&mut self) -> Option<Piece> {
        let rest = Bytes::from(std::mem::take(&mut self.buffer));
        match std::mem::take(&mut self.skipped) {
            0 => piece(rest),
            skipped => Some(Piece::TooLong {
                bytes: skipped + rest.len() as u64,
            }),
        }
    }
}

/// A line that is not empty.
fn piece(line: Bytes) -> Option<Piece> {
    if line.len() > LONGEST_LINE {
        let bytes = line.len() as u64;
        return Some(Piece::TooLong { bytes });
    }
    (!line.trim_ascii().is_empty()).then_some(Piece::Line(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads at most so much at once, and then nothing.
    fn all(text: &[u8], most: usize) -> (Vec<Piece>, u64, Option<Piece>) {
        let mut lines = Lines::default();
        let (mut pieces, mut settled) = (Vec::new(), 0);
        for mut part in text.chunks(most) {
            while !part.is_empty() {
                let taken = lines.read(&mut part);
                pieces.extend(taken.pieces);
                settled += taken.settled;
            }
        }
        (pieces, settled, lines.rest())
    }

    fn line(text: &'static str) -> Piece {
        Piece::Line(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn lines_are_whole_however_they_are_read() {
        for most in [1, 2, 3, 7, 100] {
            let (pieces, settled, rest) = all(b"one\n\ntwo\r\nthree", most);
            assert_eq!(pieces, [line("one"), line("two\r")], "{most}");
            assert_eq!((settled, rest), (10, Some(line("three"))), "{most}");
        }
    }

    #[test]
    fn line_of_32_mib() {
        let mut text = vec![b'a'; 32 << 20];
        text.push(b'\n');
        let (pieces, settled, rest) = all(&text, usize::MAX);
        let [Piece::Line(line)] = pieces.as_slice() else {
            panic!("{} pieces", pieces.len());
        };
        assert_eq!(
            (line.len(), settled, rest),
            (32 << 20, (32 << 20) + 1, None)
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_passed_over_and_told() {
        let long = LONGEST_LINE + CHUNK / 2;
        let mut text = b"one\n".to_vec();
        text.resize(text.len() + long, b'a');
        text.extend(b"\ntwo\n");
        let told = [
            line("one"),
            Piece::TooLong { bytes: long as u64 },
            line("two"),
        ];
        for most in [usize::MAX, CHUNK - 3] {
            let (pieces, settled, _) = all(&text, most);
            assert_eq!(settled, text.len() as u64);
            assert_eq!(pieces, told);
        }
        let mut lines = Lines::default();
        let mut endless = io::repeat(b'a').take(10 * LONGEST_LINE as u64);
        while lines.read(&mut endless).read > 0 {
            assert!(lines.buffer.capacity() <= 2 * LONGEST_LINE);
        }
        let bytes = 10 * LONGEST_LINE as u64;
        assert_eq!(lines.rest(), Some(Piece::TooLong { bytes }));
    }
}
