//! Files: the reading of those that a user names, within a limit, and the replacing of the program's own.

use std::fs::{File, metadata, rename};
use std::io::{BufWriter, Error, ErrorKind, Read, Write as _};
use std::path::Path;

use zeroize::Zeroizing;

/// No certificates, no credential and no configuration take more, in bytes.
const LARGEST: u64 = 1 << 20;

/// What the file holds, which is wiped when it is dropped, for it may be secret.
///
/// # Errors
/// It can't be read, is too large, or is something that may have no end.
pub fn read(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    // Whoever opens a pipe waits for the other end.
    if !metadata(file)?.is_file() {
        return Err(Error::new(
            ErrorKind::InvalidData,
            "it is not a regular file",
        ));
    }
    read_at_most(file, LARGEST)
}

/// Whether a file could not be opened as it is not there, though its folder is.
pub fn is_absent(file: &Path, error: &Error) -> bool {
    error.kind() == ErrorKind::NotFound && file.parent().is_some_and(Path::is_dir)
}

/// The text of a configuration, from a file or a pipe.
///
/// # Errors
/// It can't be read, is too large, or is not UTF-8.
pub fn text(file: &Path) -> std::io::Result<String> {
    text_of(File::open(file)?)
}

/// As [`text`], of what is open already.
///
/// # Errors
/// As those of [`text`].
pub fn text_of(from: impl Read) -> std::io::Result<String> {
    let content = at_most(from, LARGEST, 0)?;
    let text = std::str::from_utf8(&content);
    text.map(str::to_owned)
        .map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

/// What a file or a pipe holds, if that is no more than `most` bytes.
///
/// # Errors
/// It can't be read, or holds more.
pub fn read_at_most(file: &Path, most: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let file = File::open(file)?;
    let length = file.metadata()?.len();
    at_most(file, most, length)
}

/// Replaces what the file `name` in a folder holds, or creates it. It is written beside and renamed, so that it is whole at any
/// time, and it survives a loss of power once this returns.
///
/// # Errors
/// It can't be written. Then the file is as it was.
pub fn replace(folder: &Path, name: &str, content: &[u8]) -> std::io::Result<()> {
    replace_with(folder, name, |file| file.write_all(content)).map(drop)
}

/// The same with what is written to the file that is given, which may be much. Says how many bytes that was.
///
/// # Errors
/// As those of [`replace`], and that of `write`.
pub fn replace_with(
    folder: &Path,
    name: &str,
    write: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let beside = folder.join(format!("{name}.new"));
    let mut file = BufWriter::new(File::create(&beside)?);
    write(&mut file)?;
    let file = file.into_inner()?;
    file.sync_all()?;
    let written = file.metadata()?.len();
    rename(&beside, folder.join(name))?;
    File::open(folder)?.sync_all()?;
    Ok(written)
}

/// What is read, if that is no more than `most` bytes. With room for its length, nothing of it is left behind where it
/// was moved from.
fn at_most(from: impl Read, most: u64, length: u64) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let room = usize::try_from(length.min(most) + 1).unwrap_or_default();
    let mut content = Zeroizing::new(Vec::with_capacity(room));
    from.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        let why = format!("it is larger than {} MB", most >> 20);
        return Err(Error::new(ErrorKind::InvalidData, why));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_have_no_end_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "content").unwrap();
        assert_eq!(read(&file).unwrap().as_slice(), b"content");
        File::create(&file).unwrap().set_len(LARGEST + 1).unwrap();
        let refused = |file: &Path| read(file).unwrap_err().to_string();
        assert_eq!(refused(&file), "it is larger than 1 MB");
        for endless in [Path::new("/dev/zero"), folder.path()] {
            assert_eq!(refused(endless), "it is not a regular file");
        }
        assert!(refused(&folder.path().join("none")).contains("No such file"));
        let refused = |file: &Path| text(file).unwrap_err().to_string();
        assert_eq!(refused(Path::new("/dev/zero")), "it is larger than 1 MB");
        std::fs::write(&file, [0xff]).unwrap();
        assert!(refused(&file).contains("utf-8"), "{}", refused(&file));
    }
}
