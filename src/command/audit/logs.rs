//! Saved logs, read line by line: plain, or compressed with gzip or zstd.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::StreamingDecoder;

/// No line is longer, in bytes: a list response of 32 MiB fits.
const LONGEST: usize = 33 << 20;
/// How much is read at once.
const BUFFER: usize = 256 << 10;
/// How files begin that are compressed.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

/// A line of a file, without its end.
pub(super) enum Line<'a> {
    /// A whole one.
    Whole(&'a [u8]),
    /// The last of the file, which nothing ends: it may still be written.
    Last(&'a [u8]),
    /// One that is too long, which was passed over.
    TooLong,
}

/// Hands on the lines of a file, each once.
pub(super) fn each(path: &Path, mut take: impl FnMut(Line<'_>)) -> io::Result<()> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let beginning = file.fill_buf()?;
    let mut reader: Box<dyn BufRead> = if beginning.starts_with(GZIP) {
        Box::new(BufReader::with_capacity(BUFFER, MultiGzDecoder::new(file)))
    } else if beginning.starts_with(ZSTD) {
        Box::new(BufReader::with_capacity(BUFFER, Frames::new(file)?))
    } else {
        Box::new(file)
    };
    let mut line = Vec::new();
    loop {
        line.clear();
        let limit = u64::try_from(LONGEST).unwrap_or(u64::MAX);
        let read = reader.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if line.ends_with(b"\n") {
            line.pop();
            take(Line::Whole(&line));
        } else if read < LONGEST {
            take(Line::Last(&line));
        } else {
            reader.skip_until(b'\n')?;
            take(Line::TooLong);
        }
    }
}

/// The content of frames of zstd, one after the other.
struct Frames(Option<StreamingDecoder<BufReader<File>, ruzstd::decoding::FrameDecoder>>);

impl Frames {
    fn new(file: BufReader<File>) -> io::Result<Self> {
        decoder(file).map(|decoder| Self(Some(decoder)))
    }
}

impl Read for Frames {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(mut frame) = self.0.take() {
            let read = frame.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                self.0 = Some(frame);
                return Ok(read);
            }
            let mut file = frame.into_inner();
            if !file.fill_buf()?.is_empty() {
                self.0 = Some(decoder(file)?);
            }
        }
        Ok(0)
    }
}

fn decoder(
    file: BufReader<File>,
) -> io::Result<StreamingDecoder<BufReader<File>, ruzstd::decoding::FrameDecoder>> {
    StreamingDecoder::new(file).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    #[test]
    fn each_line_is_read_however_it_is_packed() {
        let folder = tempfile::tempdir().expect("a folder");
        let check = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            let mut told = Vec::new();
            each(&path, |line| {
                told.push(match line {
                    Line::Whole(line) => format!("{} whole", line.len()),
                    Line::Last(line) => format!("{} last", line.len()),
                    Line::TooLong => "too long".to_owned(),
                });
            })
            .expect("it can be read");
            told
        };
        let gzip = |text: &[u8]| {
            let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
            encoder.write_all(text).expect("packed");
            encoder.finish().expect("packed")
        };
        let zstd = |text: &[u8]| compress_to_vec(text, CompressionLevel::Fastest);
        let expected = ["3 whole", "0 whole", "4 last"];
        assert_eq!(check("plain", b"one\n\nlast"), expected);
        // One file after the other, as `cat` makes them.
        assert_eq!(
            check("gz", &[gzip(b"one\n"), gzip(b"\nlast")].concat()),
            expected
        );
        assert_eq!(
            check("zst", &[zstd(b"one\n"), zstd(b"\nlast")].concat()),
            expected
        );
        assert_eq!(check("empty", b""), [""; 0]);
        let long = [&vec![b'a'; LONGEST + 5][..], b"\nb\n"].concat();
        assert_eq!(check("long", &long), ["too long", "1 whole"]);
    }
}
