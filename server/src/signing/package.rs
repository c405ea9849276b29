//! An RPM with a signature, as a new file beside the old one.
//!
//! Owns the copy: a new front, then main header and payload byte for byte. Memory does not grow with the payload. Must
//! never change the file it reads, so that a step that failed can be done again.

use std::fmt;
use std::io;
use std::path::Path;

use moji_proto::{Digest, Hasher};
use sha2::Digest as _;

use super::Signer;
use crate::core::types::Sha256;
use crate::disk::{Disk, File};
use crate::rpmfile::{RpmError, Signable};
use crate::stage::AsRpm;

/// Bytes copied at once: large enough that the calls do not show beside the hashing.
const COPY_BYTES: usize = 256 * 1024;

/// What a signed RPM came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Its length, bytes.
    pub size: u64,
    /// BLAKE2s-256 of its bytes.
    pub digest: Digest,
    /// SHA-256 of its bytes.
    pub sha256: Sha256,
}

/// Why an RPM was not signed.
#[derive(Debug)]
pub enum SignError {
    /// What was to be signed cannot be read as an RPM.
    Rpm(RpmError),
    /// The key does not sign any more.
    Key(String),
    /// The signed file could not be written.
    Io(io::Error),
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SignError::Rpm(error) => error.fmt(f),
            SignError::Key(error) => f.write_str(error),
            SignError::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SignError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            SignError::Rpm(error) => Some(error),
            SignError::Key(_) => None,
            SignError::Io(error) => Some(error),
        }
    }
}

/// Writes one part after another and hashes what it writes.
struct Writer<'a> {
    to: &'a dyn File,
    size: u64,
    digest: Hasher,
    sha256: sha2::Sha256,
}

impl Writer<'_> {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.to.write_at(bytes, self.size)?;
        self.size += bytes.len() as u64;
        self.digest.update(bytes);
        self.sha256.update(bytes);
        Ok(())
    }
}

impl Signer {
    /// Writes the RPM at `from`, which was verified, to `to` with a signature over its main header. A file that
    /// is at `to` gives way. Nothing is synced.
    ///
    /// # Errors
    /// [`SignError`]; `from` is as it was.
    pub fn sign_rpm(&self, disk: &dyn Disk, from: &Path, to: &Path) -> Result<Signed, SignError> {
        let file = disk.open(from).map_err(SignError::Io)?;
        let signable = Signable::read(&AsRpm(&*file)).map_err(SignError::Rpm)?;
        let range = signable.main_header();
        // At most 32 MiB, by the limits of what was read.
        let mut header = vec![0; usize::try_from(range.end - range.start).expect("headers are limited")];
        let n = file.read_at(&mut header, range.start).map_err(SignError::Io)?;
        if n < header.len() {
            return Err(SignError::Io(io::ErrorKind::UnexpectedEof.into()));
        }
        let packet = self.packet(&header).map_err(|error| SignError::Key(error.to_string()))?;
        drop(header);
        let front = signable.front(self.kind(), &packet).map_err(SignError::Rpm)?;
        match disk.remove_file(to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(SignError::Io(error)),
            _ => {}
        }
        let new = disk.create(to).map_err(SignError::Io)?;
        let (digest, sha256) = (Hasher::default(), sha2::Sha256::new());
        let mut writer = Writer { to: &*new, size: 0, digest, sha256 };
        writer.put(&front).map_err(SignError::Io)?;
        let rest = signable.rest();
        let mut buf =
            vec![0; usize::try_from(rest.end - rest.start).map_or(COPY_BYTES, |n| n.min(COPY_BYTES))];
        let mut at = rest.start;
        while at < rest.end {
            let want = buf.len().min(usize::try_from(rest.end - at).unwrap_or(usize::MAX));
            let n = file.read_at(&mut buf[..want], at).map_err(SignError::Io)?;
            if n == 0 {
                return Err(SignError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            writer.put(&buf[..n]).map_err(SignError::Io)?;
            at += n as u64;
        }
        let Writer { size, digest, sha256, .. } = writer;
        Ok(Signed { size, digest: digest.finish(), sha256: Sha256(sha256.finalize().into()) })
    }
}
