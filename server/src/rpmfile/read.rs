//! Where the bytes come from: a file by position, never by a shared cursor, or a slice in tests
//! and fuzz targets. Must never read beyond the length it was told.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::error::RpmError;

/// Bytes that can be read at any position without moving a cursor.
pub trait ReadAt {
    /// Reads up to `buf.len()` bytes at `offset`, in bytes from the start; 0 means the end.
    /// Fails as the file system does.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The length now, in bytes. Fails as the file system does.
    fn byte_len(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buf, offset)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|o| self.get(o..)).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn byte_len(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// Fills `buf` from `offset` on. A file that somebody cut short meanwhile gives
/// [`RpmError::Truncated`], like one that always was.
pub(super) fn read_exact_at<R: ReadAt + ?Sized>(
    file: &R,
    buf: &mut [u8],
    offset: u64,
) -> Result<(), RpmError> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => {
                return Err(RpmError::Truncated {
                    need: offset + buf.len() as u64,
                    have: offset + done as u64,
                });
            }
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}
