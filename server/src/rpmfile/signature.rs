//! A package's front with an OpenPGP signature over its main header: lead and a new signature header.
//!
//! Owns which tags of a signature header stay and how one is laid out. Must never touch main header or payload, make
//! a signature, or write a file: it gives bytes to whoever does.
//!
//! A signature header is written as rpm does (`headerExport`, `rpmGenerateSignature` and `rpmSign` in rpm 4.18): a region
//! first, values by tag, each aligned to its type, the region's trailer last, padded to 8 bytes. What rpmbuild left in
//! RESERVEDSPACE pays for the signature, so the length of most packages does not change.

use std::ops::Range;

use super::error::{Part, RpmError};
use super::header::{BIN, Entry, INTRO_BYTES, MAGIC, REGION_SIGNATURE, STRING_ARRAY, fault};
use super::package::{ALIGN_BYTES, LEAD_BYTES, Package};
use super::read::{ReadAt, read_exact_at};

/// RPMSIGTAG_DSA: over the main header, by any key that is not RSA; one OpenPGP packet.
const DSA: u32 = 267;
/// RPMSIGTAG_RSA: the same by an RSA key.
const RSA: u32 = 268;
/// RPMSIGTAG_OPENPGP: base64 of such packets, any number; the only one that format 6 knows.
const OPENPGP: u32 = 278;
/// RPMSIGTAG_PGP and GPG: over header and payload, as before rpm 4.14.
const LEGACY: [u32; 2] = [1002, 1005];
/// RPMSIGTAG_RESERVED of format 6 and RPMSIGTAG_RESERVEDSPACE: zeros.
const RESERVED: [u32; 2] = [999, 1008];
/// RPMTAG_RPMFORMAT, in the main header from format 6 on.
const RPMFORMAT: u32 = 5114;
/// Most tags that rpm reads in a signature header (`hdrblobRead`).
const TAGS_MAX: usize = 32;
/// Bytes of an index entry.
const ENTRY_BYTES: usize = 16;

/// What kind of key made a signature: rpm keeps them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// Any other.
    Other,
}

/// A package that can be given a signature.
#[derive(Debug)]
pub struct Signable {
    lead: [u8; LEAD_BYTES as usize],
    /// What stays of its signature header.
    values: Vec<Value>,
    is_format_6: bool,
    main_start: u64,
    payload_start: u64,
    file_bytes: u64,
}

#[derive(Clone, Debug)]
struct Value {
    tag: u32,
    kind: u32,
    count: u32,
    bytes: Vec<u8>,
}

impl Signable {
    /// Reads a package's headers within the limits. Signatures that it has are forgotten: whoever trusts the key
    /// that is to come need not know the others, and rpm refuses what it has no key for.
    ///
    /// # Errors
    /// As [`super::verify_header`] but for digests.
    pub fn read<R: ReadAt + ?Sized>(file: &R) -> Result<Signable, RpmError> {
        let package = Package::read(file)?;
        let mut lead = [0; LEAD_BYTES as usize];
        read_exact_at(file, &mut lead, 0)?;
        let goes = |tag| matches!(tag, REGION_SIGNATURE | DSA | RSA | OPENPGP) || LEGACY.contains(&tag);
        let value = |(Entry { tag, kind, count, .. }, bytes): (Entry, &[u8])| Value {
            tag,
            kind,
            count,
            bytes: bytes.to_vec(),
        };
        let values = package.signature.values().filter(|(entry, _)| !goes(entry.tag)).map(value).collect();
        Ok(Signable {
            lead,
            values,
            is_format_6: package.main.u32(RPMFORMAT)?.is_some_and(|format| format >= 6),
            main_start: package.main_start,
            payload_start: package.payload_start,
            file_bytes: package.file_bytes,
        })
    }

    /// Where the bytes lie that are signed: the main header.
    #[must_use]
    pub fn main_header(&self) -> Range<u64> {
        self.main_start..self.payload_start
    }

    /// Where the bytes lie that follow the front unchanged: main header and payload.
    #[must_use]
    pub fn rest(&self) -> Range<u64> {
        self.main_start..self.file_bytes
    }

    /// The front with this signature: an OpenPGP packet over [`Signable::main_header`].
    ///
    /// # Errors
    /// [`RpmError::Malformed`] where there are so many tags that rpm would read none.
    pub fn front(&self, key: KeyKind, packet: &[u8]) -> Result<Vec<u8>, RpmError> {
        let mut values = self.values.clone();
        values.push(signature(self.is_format_6, key, packet));
        values.sort_by_key(|value| value.tag);
        if values.len() >= TAGS_MAX {
            return Err(fault(Part::Signature, None, "has too many tags to be signed"));
        }
        let old = self.main_start - LEAD_BYTES;
        let excess = (lay_out(&values).len() as u64).saturating_sub(old);
        let reserved = values.iter_mut().find(|value| RESERVED.contains(&value.tag) && value.kind == BIN);
        if let Some(reserved) = reserved
            && excess < u64::from(reserved.count)
        {
            reserved.count -= u32::try_from(excess).expect("less than the count");
            reserved.bytes.truncate(reserved.count as usize);
        }
        Ok([&self.lead[..], &lay_out(&values)].concat())
    }
}

/// The value that holds a signature.
fn signature(is_format_6: bool, key: KeyKind, packet: &[u8]) -> Value {
    if is_format_6 {
        let mut bytes = base64(packet).into_bytes();
        bytes.push(0);
        return Value { tag: OPENPGP, kind: STRING_ARRAY, count: 1, bytes };
    }
    let tag = if key == KeyKind::Rsa { RSA } else { DSA };
    let count = u32::try_from(packet.len()).expect("a signature is short");
    Value { tag, kind: BIN, count, bytes: packet.to_vec() }
}

/// A signature header of these values, in this order, padded.
fn lay_out(values: &[Value]) -> Vec<u8> {
    let tags = values.len() + 1;
    let mut index = Vec::with_capacity(tags * ENTRY_BYTES);
    let mut store = Vec::new();
    for value in values {
        let align = match value.kind {
            3 => 2,
            4 => 4,
            5 => 8,
            _ => 1,
        };
        store.resize(store.len().next_multiple_of(align), 0);
        put_entry(&mut index, value.tag, value.kind, be(store.len()), value.count);
        store.extend_from_slice(&value.bytes);
    }
    // The trailer tells how many bytes of index the region spans, as a negative number.
    let at = be(store.len());
    put_entry(&mut store, REGION_SIGNATURE, BIN, be(tags * ENTRY_BYTES).wrapping_neg(), be(ENTRY_BYTES));
    let mut header = Vec::with_capacity(INTRO_BYTES as usize + (tags + 1) * ENTRY_BYTES + store.len());
    header.extend_from_slice(&MAGIC);
    header.extend_from_slice(&be(tags).to_be_bytes());
    header.extend_from_slice(&be(store.len()).to_be_bytes());
    put_entry(&mut header, REGION_SIGNATURE, BIN, at, be(ENTRY_BYTES));
    header.extend_from_slice(&index);
    header.extend_from_slice(&store);
    header.resize(header.len().next_multiple_of(ALIGN_BYTES as usize), 0);
    header
}

fn put_entry(to: &mut Vec<u8>, tag: u32, kind: u32, offset: u32, count: u32) {
    for number in [tag, kind, offset, count] {
        to.extend_from_slice(&number.to_be_bytes());
    }
}

/// A number of a header whose limits are far below 32 bits.
fn be(n: usize) -> u32 {
    u32::try_from(n).expect("headers are limited to 32 MiB")
}

/// Base64 with padding (RFC 4648, 4), in one line.
fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let at = |i: usize| u32::from(three.get(i).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for i in 0..4 {
            let sign = SIGNS[(bits >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= three.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::rpmfile::{read_facts, verify_digests};
    use crate::stage::testrpm::build;

    fn signed(rpm: &[u8], key: KeyKind, packet: &[u8]) -> Vec<u8> {
        let signable = Signable::read(rpm).unwrap();
        let front = signable.front(key, packet).unwrap();
        let rest = signable.rest();
        [&front, &rpm[usize::try_from(rest.start).unwrap()..usize::try_from(rest.end).unwrap()]].concat()
    }

    #[test]
    fn a_signed_package_is_as_long_as_before_and_differs_in_its_signature_header_only() {
        for (name, rpm) in build("sgn", "1").all() {
            let packet = vec![7; 500];
            let new = signed(&rpm, KeyKind::Rsa, &packet);
            assert_eq!(new.len(), rpm.len(), "{name}: the reserved space pays");
            verify_digests(&new[..]).unwrap();
            assert_eq!(read_facts(&new[..]).unwrap(), read_facts(&rpm[..]).unwrap());
            let (old, package) = (Package::read(&rpm[..]).unwrap(), Package::read(&new[..]).unwrap());
            assert_eq!(package.signature.bytes(RSA).unwrap(), Some(&packet[..]));
            assert!(!package.signature.has(DSA));
            for tag in [269, 273, 1000, 1004, 1007] {
                let find =
                    |p: &Package| p.signature.values().find(|(e, _)| e.tag == tag).map(|(_, v)| v.to_vec());
                assert_eq!(find(&package), find(&old), "{tag}");
            }
            // By another key: the first signature goes, and nothing piles up.
            let again = signed(&new, KeyKind::Other, &[8; 100]);
            let package = Package::read(&again[..]).unwrap();
            assert_eq!(package.signature.bytes(DSA).unwrap(), Some(&[8; 100][..]));
            assert!(!package.signature.has(RSA));
        }
    }

    #[test]
    fn a_signature_without_space_for_it_makes_the_package_longer() {
        let (_, rpm) = build("sgn", "1").source;
        let packet = vec![9; 10_000];
        let new = signed(&rpm, KeyKind::Rsa, &packet);
        assert!(new.len() > rpm.len() + 5_000);
        verify_digests(&new[..]).unwrap();
        assert_eq!(Package::read(&new[..]).unwrap().signature.bytes(RSA).unwrap(), Some(&packet[..]));
    }

    #[test]
    fn too_many_tags_are_refused_before_rpm_refuses_them() {
        let (_, rpm) = build("sgn", "1").source;
        let mut signable = Signable::read(&rpm[..]).unwrap();
        let have = signable.values.len();
        for tag in 0..32 {
            signable.values.push(Value { tag: 2_000 + tag, kind: BIN, count: 1, bytes: vec![0] });
        }
        assert!(signable.front(KeyKind::Rsa, &[1]).is_err());
        // With the region and the signature it is as many as rpm reads.
        signable.values.truncate(TAGS_MAX - 2);
        assert!(signable.front(KeyKind::Rsa, &[1]).is_ok());
        assert!(have < TAGS_MAX - 2);
    }

    #[test]
    fn format_6_has_its_signatures_in_base64() {
        let (_, rpm) = build("sgn", "1").source;
        let mut signable = Signable::read(&rpm[..]).unwrap();
        signable.is_format_6 = true;
        let front = signable.front(KeyKind::Rsa, b"fooba").unwrap();
        let rest = usize::try_from(signable.rest().start).unwrap();
        let new = [&front, &rpm[rest..]].concat();
        let package = Package::read(&new[..]).unwrap();
        assert_eq!(package.signature.strings(OPENPGP).unwrap(), ["Zm9vYmE="]);
        for (bytes, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }
}
