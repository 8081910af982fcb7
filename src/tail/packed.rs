//! Compressed content, unpacked as it is read.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// How files begin that are compressed.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// How content is compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Packing {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// How content is compressed, by how it begins.
    pub fn of_content(beginning: &[u8]) -> Option<Self> {
        if beginning.starts_with(GZIP) {
            Some(Self::Gzip)
        } else if beginning.starts_with(ZSTD) {
            Some(Self::Zstd)
        } else {
            None
        }
    }

    /// How a file is compressed, by its name.
    pub(super) fn of(path: &Path) -> Option<Self> {
        match path.extension().and_then(OsStr::to_str) {
            Some("gz") => Some(Self::Gzip),
            Some("zst") => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The unpacked content.
    pub fn unpack<R: Read + Send + 'static>(self, from: R) -> Box<dyn Read + Send> {
        let from = BufReader::new(from);
        match self {
            Self::Gzip => Box::new(MultiGzDecoder::new(from)),
            Self::Zstd => Box::new(Frames::Between(from)),
        }
    }
}

/// What a file holds, as if it were not compressed.
pub(super) fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let file = File::open(path)?;
    Ok(match Packing::of(path) {
        Some(packing) => packing.unpack(file),
        None => Box::new(file),
    })
}

/// The frames of Zstandard, one after the other.
enum Frames<R: Read> {
    Between(BufReader<R>),
    Within(Box<StreamingDecoder<BufReader<R>, ruzstd::decoding::FrameDecoder>>),
    Ended,
}

impl<R: Read> Read for Frames<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            match std::mem::replace(self, Self::Ended) {
                Self::Ended => return Ok(0),
                Self::Between(mut from) => {
                    if from.fill_buf()?.is_empty() {
                        return Ok(0);
                    }
                    let frame = StreamingDecoder::new(from);
                    let frame = frame.map_err(|error| io::Error::other(error.to_string()))?;
                    *self = Self::Within(Box::new(frame));
                }
                Self::Within(mut frame) => {
                    let read = frame.read(into)?;
                    if read > 0 {
                        *self = Self::Within(frame);
                        return Ok(read);
                    }
                    *self = Self::Between(frame.into_inner());
                }
            }
        }
    }
}
