//! A file that the configuration names, read within a limit.

use std::fs::{File, metadata};
use std::io::{Error, ErrorKind, Read as _};
use std::path::Path;

use zeroize::Zeroizing;

/// No certificates and no credential take more, in bytes.
const LARGEST: u64 = 1 << 20;

/// What the file holds, which is wiped when it is dropped, for it may be secret.
///
/// # Errors
/// It can't be read, is too large, or is something that may have no end.
pub fn read(file: &Path) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let refuse = |why: &str| Err(Error::new(ErrorKind::InvalidData, why));
    // Whoever opens a pipe waits for the other end.
    let found = metadata(file)?;
    if !found.is_file() {
        return refuse("it is not a regular file");
    }
    let room = found.len().min(LARGEST) + 1;
    let mut content = Zeroizing::new(Vec::with_capacity(
        usize::try_from(room).unwrap_or_default(),
    ));
    File::open(file)?
        .take(LARGEST + 1)
        .read_to_end(&mut content)?;
    if content.len() as u64 > LARGEST {
        return refuse("it is larger than 1 MB");
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
    }
}
