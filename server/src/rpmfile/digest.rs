//! The digests that a package declares over itself, computed over the bytes as they are stored.
//! A payload is hashed, never decompressed, and memory does not grow with the file.

use md5::Md5;
use sha1::Sha1;
use sha2::digest::DynDigest;
use sha2::{Sha256, Sha384, Sha512};

use super::error::{DigestFault, RpmError};
use super::header::Header;
use super::package::Package;
use super::read::{ReadAt, read_exact_at};

/// Bytes read at once: large enough that the calls do not show beside the hashing.
const CHUNK_BYTES: usize = 256 << 10;

/// RPMSIGTAG_SHA1: over the main header, in hex.
pub(super) const SIG_SHA1: u32 = 269;
/// RPMSIGTAG_SHA256: over the main header, in hex.
pub(super) const SIG_SHA256: u32 = 273;
/// RPMSIGTAG_MD5: over main header and payload, 16 bytes.
pub(super) const SIG_MD5: u32 = 1004;
/// RPMTAG_PAYLOADDIGEST, called PAYLOADSHA256 since rpm 6: over the payload as stored, in hex.
pub(super) const PAYLOADDIGEST: u32 = 5092;
/// RPMTAG_PAYLOADDIGESTALGO: which digest that is.
pub(super) const PAYLOADDIGESTALGO: u32 = 5093;
/// RPMTAG_PAYLOADSHA512 of rpm 6, in hex.
const PAYLOADSHA512: u32 = 5121;

/// OpenPGP's numbers of digests (RFC 9580, 9.5).
const ALGO_SHA256: u32 = 8;
const ALGO_SHA384: u32 = 9;
const ALGO_SHA512: u32 = 10;

/// A declared digest and its computation.
struct Check {
    what: &'static str,
    /// What it must be, in lower-case hex.
    want: String,
    over_header: bool,
    over_payload: bool,
    hasher: Box<dyn DynDigest>,
}

/// Holds the bytes of a package against every digest over header and payload that it declares
/// and the hub can compute: SHA-256 and SHA-1 of the header, SHA-256, -384 or -512 of the payload, MD5 of
/// both, so that what passes here passes `rpm -K` too. Reads the whole file once.
///
/// Fails with [`RpmError::Digest`] on the first that differs, or when header or payload is covered by
/// none; otherwise as [`super::read_facts`] does, since the file's length is checked as well.
pub fn verify_digests<R: ReadAt + ?Sized>(file: &R) -> Result<(), RpmError> {
    let package = Package::read(file)?;
    let mut checks = declared(&package)?;
    if !checks.iter().any(|c| c.over_header) {
        return Err(RpmError::Digest(DigestFault::NoneOverHeader));
    }
    if !checks.iter().any(|c| c.over_payload) {
        return Err(RpmError::Digest(DigestFault::NoneOverPayload));
    }
    let (start, payload, end) = (package.main_start, package.payload_start, package.file_bytes);
    let chunk = usize::try_from(end).map_or(CHUNK_BYTES, |n| n.min(CHUNK_BYTES));
    let mut buf = vec![0; chunk];
    feed(file, &mut buf, start, payload, |bytes| {
        let over = checks.iter_mut().filter(|c| c.over_header);
        over.for_each(|c| c.hasher.update(bytes));
    })?;
    feed(file, &mut buf, payload, end, |bytes| {
        let over = checks.iter_mut().filter(|c| c.over_payload);
        over.for_each(|c| c.hasher.update(bytes));
    })?;
    for check in checks {
        if hex(&check.hasher.finalize()) != check.want {
            return Err(RpmError::Digest(DigestFault::Mismatch(check.what)));
        }
    }
    Ok(())
}

/// Holds the main header against the digests that cover it alone, where the package declares any (rpm
/// before 4.14 may not). Reads no payload, so that a folder of thousands of packages can be looked at.
///
/// Fails with [`RpmError::Digest`] on the first that differs; otherwise as [`super::read_facts`] does.
pub fn verify_header<R: ReadAt + ?Sized>(file: &R) -> Result<(), RpmError> {
    let package = Package::read(file)?;
    let checks = declared(&package)?;
    let mut buf = vec![0; CHUNK_BYTES];
    for mut check in checks.into_iter().filter(|check| !check.over_payload) {
        feed(file, &mut buf, package.main_start, package.payload_start, |bytes| check.hasher.update(bytes))?;
        if hex(&check.hasher.finalize()) != check.want {
            return Err(RpmError::Digest(DigestFault::Mismatch(check.what)));
        }
    }
    Ok(())
}

/// The digests that a package declares. A payload digest of an unknown kind is not one.
fn declared(package: &Package) -> Result<Vec<Check>, RpmError> {
    let mut checks = Vec::new();
    let signature = &package.signature;
    if let Some(want) = signature.string(SIG_SHA256)? {
        checks.push(Check::header("header SHA256", want, Box::new(Sha256::default())));
    }
    if let Some(want) = signature.string(SIG_SHA1)? {
        checks.push(Check::header("header SHA1", want, Box::new(Sha1::default())));
    }
    if let Some(want) = signature.bytes(SIG_MD5)? {
        checks.push(Check {
            what: "MD5",
            want: hex(want),
            over_header: true,
            over_payload: true,
            hasher: Box::new(Md5::default()),
        });
    }
    let main = &package.main;
    if let Some(want) = one_string(main, PAYLOADDIGEST)? {
        let algo = main.u32(PAYLOADDIGESTALGO)?.unwrap_or(ALGO_SHA256);
        let hasher: Option<Box<dyn DynDigest>> = match algo {
            ALGO_SHA256 => Some(Box::new(Sha256::default())),
            ALGO_SHA384 => Some(Box::new(Sha384::default())),
            ALGO_SHA512 => Some(Box::new(Sha512::default())),
            _ => None,
        };
        checks.extend(hasher.map(|h| Check::payload("payload digest", want, h)));
    }
    if let Some(want) = one_string(main, PAYLOADSHA512)? {
        checks.push(Check::payload("payload SHA512", want, Box::new(Sha512::default())));
    }
    Ok(checks)
}

impl Check {
    fn header(what: &'static str, want: &str, hasher: Box<dyn DynDigest>) -> Self {
        Self { what, want: want.to_ascii_lowercase(), over_header: true, over_payload: false, hasher }
    }

    fn payload(what: &'static str, want: &str, hasher: Box<dyn DynDigest>) -> Self {
        Self { over_header: false, over_payload: true, ..Self::header(what, want, hasher) }
    }
}

/// The only string of `tag`, whether it is a string or an array of one.
fn one_string(header: &Header, tag: u32) -> Result<Option<&str>, RpmError> {
    match header.strings(tag)?[..] {
        [] => Ok(None),
        [text] => Ok(Some(text)),
        _ => Err(header.bad(tag, "is more than one digest")),
    }
}

/// Hands the bytes from `start` to `end` to `sink` in order, through `buf`.
fn feed<R: ReadAt + ?Sized>(
    file: &R,
    buf: &mut [u8],
    start: u64,
    end: u64,
    mut sink: impl FnMut(&[u8]),
) -> Result<(), RpmError> {
    let mut at = start;
    while at < end {
        let n = buf.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
        read_exact_at(file, &mut buf[..n], at)?;
        sink(&buf[..n]);
        at += n as u64;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: [u8; 16] = *b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|&b| [digit(b >> 4), digit(b)]).collect()
}
