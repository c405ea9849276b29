//! Whether a file can be a source RPM, before anybody is asked to take it.
//!
//! Owns a look at the first bytes: the lead (96 bytes, rpm's `lib/rpmlead.cc`) and the magic of the signature
//! header after it. Whether it is whole and sound is the hub's to say.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use moji_proto::{Digest, FileName, Hasher};

use super::code;
use crate::exit::Failure;

/// Bytes of the lead.
const LEAD_BYTES: usize = 96;
/// How every lead begins.
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Where the lead says what it leads: a big-endian u16, 0 for a binary package, 1 for a source package.
const TYPE_AT: usize = 6;
/// How every header begins: magic and version.
const HEADER_MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
/// Bytes read at a time.
const READ_BYTES: usize = 256 * 1024;

/// A file that looks like a source RPM.
#[derive(Debug)]
pub(super) struct Srpm {
    pub(super) path: PathBuf,
    pub(super) name: FileName,
    pub(super) file: File,
    pub(super) size: u64,
}

impl Srpm {
    /// Opens it and looks at its beginning.
    ///
    /// # Errors
    /// A [`Failure`] that names the file and says what it is instead.
    pub(super) fn open(path: &Path) -> Result<Srpm, Failure> {
        let wrong = |what: String| Failure::new(code::USAGE, format!("{}: {what}", path.display()));
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let name = FileName::new(name).map_err(|error| wrong(format!("its name {error}")))?;
        let mut file = File::open(path).map_err(|error| wrong(format!("cannot read it: {error}")))?;
        let meta = file.metadata().map_err(|error| wrong(format!("cannot read it: {error}")))?;
        if !meta.is_file() {
            return Err(wrong("it is no file: name a source RPM".to_owned()));
        }
        let mut head = [0; LEAD_BYTES + HEADER_MAGIC.len()];
        match file.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(wrong(
                    "it is no RPM, or not whole: build it again with 'rpmbuild -bs'".to_owned(),
                ));
            }
            Err(error) => return Err(wrong(format!("cannot read it: {error}"))),
        }
        if let Some(what) = objection(&head) {
            return Err(wrong(what.to_owned()));
        }
        Ok(Srpm { path: path.to_owned(), name, file, size: meta.len() })
    }

    /// The digest of all its bytes.
    ///
    /// # Errors
    /// A [`Failure`] if it cannot be read or has another length by now.
    pub(super) fn digest(&mut self) -> Result<Digest, Failure> {
        let mut hasher = Hasher::default();
        let mut piece = vec![0; READ_BYTES];
        let mut at = 0;
        while at < self.size {
            let want = piece.len().min((self.size - at).try_into().unwrap_or(usize::MAX));
            self.read(at, &mut piece[..want])?;
            hasher.update(&piece[..want]);
            at += want as u64;
        }
        Ok(hasher.finish())
    }

    /// Fills `piece` from `at` on.
    ///
    /// # Errors
    /// As [`Srpm::digest`].
    pub(super) fn read(&mut self, at: u64, piece: &mut [u8]) -> Result<(), Failure> {
        let read = self.file.seek(SeekFrom::Start(at)).and_then(|_| self.file.read_exact(piece));
        read.map_err(|error| {
            let what = if error.kind() == io::ErrorKind::UnexpectedEof {
                "it became shorter while it was read".to_owned()
            } else {
                format!("cannot read it: {error}")
            };
            Failure::new(code::NO, format!("{}: {what}", self.path.display()))
        })
    }
}

/// What is wrong with the first bytes.
fn objection(head: &[u8; LEAD_BYTES + HEADER_MAGIC.len()]) -> Option<&'static str> {
    if head[..4] != LEAD_MAGIC {
        Some("it is no RPM: name a source RPM")
    } else if head[LEAD_BYTES..] != HEADER_MAGIC {
        Some("it is a damaged RPM: it has no header after its lead")
    } else {
        match u16::from_be_bytes([head[TYPE_AT], head[TYPE_AT + 1]]) {
            1 => None,
            0 => Some("it is a binary RPM: only source RPMs are built"),
            _ => Some("it is no source RPM"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_as_a_source_rpm_is_one() {
        let mut head = [0; 100];
        head[..4].copy_from_slice(&LEAD_MAGIC);
        head[7] = 1;
        head[96..].copy_from_slice(&HEADER_MAGIC);
        assert_eq!(objection(&head), None);
        let changed = |at: usize, byte: u8| {
            let mut head = head;
            head[at] = byte;
            objection(&head).unwrap_or_default()
        };
        assert!(changed(0, 0).contains("no RPM"));
        assert!(changed(7, 0).contains("binary"));
        assert!(changed(7, 2).contains("no source RPM"));
        assert!(changed(99, 2).contains("damaged"));
    }
}
