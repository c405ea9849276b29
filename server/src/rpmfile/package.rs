//! How a package's parts lie in its file: lead, signature header, main header, payload, and what
//! the file's length must be. Must never touch the payload.

use super::error::{Part, RpmError};
use super::header::{Header, INTRO_BYTES, fault};
use super::read::{ReadAt, read_exact_at};

/// Bytes of the lead.
pub(super) const LEAD_BYTES: u64 = 96;
/// What every RPM starts with.
const LEAD_MAGIC: [u8; 4] = [0xed, 0xab, 0xee, 0xdb];
/// Where the lead has the format's major version: 3, or 4 (which version 6 writes too).
const LEAD_MAJOR: usize = 4;
/// Where the lead has the type of signature, 16 bits, big-endian.
const LEAD_SIGNATURE: usize = 78;
/// The only type of signature rpm has read since 1998: a header.
const SIGNATURE_HEADER: [u8; 2] = [0, 5];
/// The main header starts at a multiple of this many bytes from the signature header's start.
pub(super) const ALIGN_BYTES: u64 = 8;

/// RPMSIGTAG_SIZE: bytes of main header and payload.
pub(super) const SIG_SIZE: u32 = 1000;
/// RPMSIGTAG_LONGSIZE: the same in 64 bits, from 4 GiB on.
pub(super) const SIG_LONGSIZE: u32 = 270;
/// RPMTAG_PAYLOADSIZE: bytes of payload, in the main header, where format 6 has its only size.
pub(super) const PAYLOADSIZE: u32 = 5112;

/// A package's headers, checked, and where they lie.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) signature: Header,
    pub(super) main: Header,
    /// First byte of the main header, from the file's start.
    pub(super) main_start: u64,
    /// First byte of the payload.
    pub(super) payload_start: u64,
    /// Length the file declares, and has.
    pub(super) file_bytes: u64,
}

impl Package {
    /// Reads both headers of a file that is exactly as long as it says.
    pub(super) fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Self, RpmError> {
        let have = file.byte_len()?;
        let (signature, main_start) = read_signature(file, have)?;
        let signed = signature_len(&signature, main_start)?;
        if let Some(want) = signed {
            same_len(want, have)?;
        }
        let (main, payload_start) = match (read_main(file, main_start, have), signed) {
            // As long as the signature says, so nothing is going to follow.
            (Err(RpmError::Truncated { .. }), Some(_)) => {
                let what = "says a size that ends inside the header";
                return Err(fault(Part::Signature, None, what));
            }
            (main, _) => main?,
        };
        let want = package_len(&signature, main_start, &main, payload_start)?;
        same_len(want, have)?;
        Ok(Self { signature, main, main_start, payload_start, file_bytes: want })
    }
}

/// What a file's length should be, in bytes, given how it starts. `None` when that takes more bytes
/// than `start` has; at most lead and signature header are needed (about 1 MiB), and for
/// packages of format 6 the main header too (32 MiB more).
///
/// Fails with [`RpmError::NotRpm`], `Limit` or `Malformed` when no continuation of `start`
/// is a package that the hub reads; never with `Truncated`.
pub fn expected_len(start: &[u8]) -> Result<Option<u64>, RpmError> {
    expected_file_len(start)
}

/// As [`expected_len`], of a file that may be still growing; reads no more of it than is needed.
/// Fails with [`RpmError::Io`] too.
pub fn expected_file_len<R: ReadAt + ?Sized>(file: &R) -> Result<Option<u64>, RpmError> {
    match declared_len(file) {
        Ok(len) => Ok(Some(len)),
        Err(RpmError::Truncated { .. }) => Ok(None),
        Err(e) => Err(e),
    }
}

fn declared_len<R: ReadAt + ?Sized>(file: &R) -> Result<u64, RpmError> {
    let have = file.byte_len()?;
    let (signature, main_start) = read_signature(file, have)?;
    if let Some(len) = signature_len(&signature, main_start)? {
        return Ok(len);
    }
    let (main, payload_start) = read_main(file, main_start, have)?;
    package_len(&signature, main_start, &main, payload_start)
}

/// Checks the lead and reads the signature header; gives where the main header starts.
fn read_signature<R: ReadAt + ?Sized>(file: &R, have: u64) -> Result<(Header, u64), RpmError> {
    check_lead(file, have)?;
    let intro = Header::read_intro(file, Part::Signature, LEAD_BYTES, have)?;
    let signature = Header::read(file, Part::Signature, LEAD_BYTES, intro, have)?;
    let main_start = LEAD_BYTES + intro.total_bytes().next_multiple_of(ALIGN_BYTES);
    Ok((signature, main_start))
}

/// Reads the main header; gives where the payload starts.
fn read_main<R: ReadAt + ?Sized>(file: &R, main_start: u64, have: u64) -> Result<(Header, u64), RpmError> {
    let intro = Header::read_intro(file, Part::Header, main_start, have)?;
    let main = Header::read(file, Part::Header, main_start, intro, have)?;
    Ok((main, main_start + intro.total_bytes()))
}

/// Tells what can never be an RPM from as few bytes as there are.
fn check_lead<R: ReadAt + ?Sized>(file: &R, have: u64) -> Result<(), RpmError> {
    let mut lead = [0; LEAD_BYTES as usize];
    let there = have.min(LEAD_BYTES) as usize;
    read_exact_at(file, &mut lead[..there], 0)?;
    let magic = there.min(LEAD_MAGIC.len());
    if lead[..magic] != LEAD_MAGIC[..magic] {
        return Err(RpmError::NotRpm);
    }
    if there > LEAD_MAJOR && !matches!(lead[LEAD_MAJOR], 3 | 4) {
        return Err(fault(Part::Lead, None, "unknown format version"));
    }
    if have < LEAD_BYTES {
        let need = LEAD_BYTES;
        return Err(RpmError::Truncated { need, have });
    }
    if lead[LEAD_SIGNATURE..][..2] != SIGNATURE_HEADER {
        return Err(fault(Part::Lead, None, "unknown type of signature"));
    }
    Ok(())
}

/// The file's length by the signature header, where it tells.
fn signature_len(signature: &Header, main_start: u64) -> Result<Option<u64>, RpmError> {
    let short = signature.u32(SIG_SIZE)?.map(u64::from);
    let long = signature.u64(SIG_LONGSIZE)?;
    let size = match (short, long) {
        (None, None) => return Ok(None),
        (Some(a), Some(b)) if a != b => {
            return Err(signature.bad(SIG_LONGSIZE, "contradicts the other size"));
        }
        (Some(size), _) | (None, Some(size)) => size,
    };
    if size < INTRO_BYTES {
        return Err(fault(Part::Signature, None, "says less than a header's size"));
    }
    end_of(main_start, size, signature, SIG_LONGSIZE).map(Some)
}

/// The file's length by both headers, which must agree.
fn package_len(
    signature: &Header,
    main_start: u64,
    main: &Header,
    payload_start: u64,
) -> Result<u64, RpmError> {
    let by_signature = signature_len(signature, main_start)?;
    let by_main = match main.u64(PAYLOADSIZE)? {
        Some(size) => Some(end_of(payload_start, size, main, PAYLOADSIZE)?),
        None => None,
    };
    match (by_signature, by_main) {
        (None, None) => Err(fault(Part::Signature, None, "says no size")),
        (Some(a), Some(b)) if a != b => Err(main.bad(PAYLOADSIZE, "contradicts the signature")),
        (Some(len), _) | (None, Some(len)) => Ok(len),
    }
}

/// `start + size`, which must be a length that a file can have.
fn end_of(start: u64, size: u64, header: &Header, tag: u32) -> Result<u64, RpmError> {
    start
        .checked_add(size)
        .filter(|&end| i64::try_from(end).is_ok())
        .ok_or_else(|| header.bad(tag, "is no file's size"))
}

fn same_len(want: u64, have: u64) -> Result<(), RpmError> {
    match have {
        _ if have < want => Err(RpmError::Truncated { need: want, have }),
        _ if have > want => Err(RpmError::TooLong { want, have }),
        _ => Ok(()),
    }
}
