//! Files of the hub's own: pieces and the catalog.
//!
//! Owns their common form: a line that names the file and its version, the digest of the rest, and the rest, which is
//! postcard. What is damaged or of another version is made anew by whoever reads it, so nothing is ever migrated.

use moji_proto::Digest;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The line that a file starts with. Its number changes with the format, and with whatever changes the texts.
pub type Magic = [u8; 16];
/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// The file of this value.
pub fn seal_file<T: Serialize + ?Sized>(magic: &Magic, value: &T) -> Vec<u8> {
    let body = postcard::to_stdvec(value).expect("memory takes all");
    [&magic[..], &Digest::of(&body).0, &body].concat()
}

/// The value of this file; None if it is damaged or of another version.
pub fn open_file<T: DeserializeOwned>(magic: &Magic, bytes: &[u8]) -> Option<T> {
    let (digest, body) = bytes.strip_prefix(magic)?.split_at_checked(DIGEST_BYTES)?;
    if Digest::of(body).0 != digest {
        return None;
    }
    match postcard::take_from_bytes(body) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}
