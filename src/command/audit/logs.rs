//! Saved logs, read line by line: plain, or compressed with gzip or zstd.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::Path;

use crate::tail::LONGEST_LINE as LONGEST;
use crate::tail::packed::Packing;

/// How much is read at once.
const BUFFER: usize = 256 << 10;

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
    let mut reader: Box<dyn BufRead> = match Packing::of_content(file.fill_buf()?) {
        Some(packing) => Box::new(BufReader::with_capacity(BUFFER, packing.unpack(file))),
        None => Box::new(file),
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
