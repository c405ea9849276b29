//! Source packages for the hub's intake: the smallest that it takes, of any length, thousands a second.
//!
//! Owns their bytes (lead, signature header, main header as rpm's format has them, no regions). Their payload is
//! no archive: the hub never opens one.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::path::Path;

use sha2::{Digest as _, Sha256};

/// What every header begins with: magic, version, reserved bytes.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0];
/// RPMSIGTAG_SIZE: bytes of main header and payload.
const SIG_SIZE: u32 = 1000;
/// RPMTAG_NAME, _VERSION, _RELEASE, _ARCH.
const TEXTS: [u32; 4] = [1000, 1001, 1002, 1022];
/// RPMTAG_SOURCEPACKAGE.
const SOURCEPACKAGE: u32 = 1106;
/// RPMSIGTAG_SHA256: over the main header, in hex. The hub serves no package whose digests leave a byte out.
const SIG_SHA256: u32 = 273;
/// RPMTAG_PAYLOADDIGEST, in hex, and _PAYLOADDIGESTALGO, 8 for SHA-256.
const PAYLOADDIGEST: u32 = 5092;
const PAYLOADDIGESTALGO: u32 = 5093;
const ALGO_SHA256: u32 = 8;
/// Types of values: a 32-bit number, a string.
const INT32: u32 = 4;
const STRING: u32 = 6;

struct Value {
    tag: u32,
    kind: u32,
    data: Vec<u8>,
}

fn int32(tag: u32, number: u32) -> Value {
    Value { tag, kind: INT32, data: number.to_be_bytes().to_vec() }
}

/// Numbers come first, so that every one of them lies aligned.
fn header(values: &[Value]) -> Vec<u8> {
    let (mut index, mut store) = (Vec::<u8>::new(), Vec::<u8>::new());
    for Value { tag, kind, data } in values {
        let offset = u32::try_from(store.len()).expect("a small header");
        index.extend([*tag, *kind, offset, 1].iter().flat_map(|number| number.to_be_bytes()));
        store.extend(data);
    }
    let mut all = MAGIC.to_vec();
    all.extend(u32::try_from(values.len()).expect("a few tags").to_be_bytes());
    all.extend(u32::try_from(store.len()).expect("a small header").to_be_bytes());
    all.extend(index);
    all.extend(store);
    all
}

fn string(tag: u32, text: &str) -> Value {
    Value { tag, kind: STRING, data: [text.as_bytes(), &[0]].concat() }
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Hands `bytes` of payload to `take`, in pieces.
fn payload(bytes: u32, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let piece: Vec<u8> = (0..64 * 1024u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut left = bytes as usize;
    while left > 0 {
        let n = left.min(piece.len());
        take(&piece[..n])?;
        left -= n;
    }
    Ok(())
}

/// The file name of `NAME-1-1`.
pub(crate) fn file_name(name: &str) -> String {
    format!("{name}-1-1.src.rpm")
}

/// Writes `NAME-1-1.src.rpm` with `payload_bytes` of payload into `folder`.
pub(crate) fn write(folder: &Path, name: &str, payload_bytes: u32) -> io::Result<()> {
    let mut hasher = Sha256::new();
    payload(payload_bytes, |piece| {
        hasher.update(piece);
        Ok(())
    })?;
    let mut values = vec![int32(SOURCEPACKAGE, 1), int32(PAYLOADDIGESTALGO, ALGO_SHA256)];
    values.extend(TEXTS.into_iter().zip([name, "1", "1", "noarch"]).map(|(tag, text)| string(tag, text)));
    values.push(string(PAYLOADDIGEST, &hex(hasher.finalize())));
    let main = header(&values);
    let size = u32::try_from(main.len()).expect("a small header") + payload_bytes;
    let mut start = vec![0; 96];
    start[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    start[7] = 1;
    start[79] = 5;
    start.extend(header(&[int32(SIG_SIZE, size), string(SIG_SHA256, &hex(Sha256::digest(&main)))]));
    start.resize(start.len().next_multiple_of(8), 0);
    start.extend(main);

    let hidden = folder.join(format!(".{name}"));
    let mut file = BufWriter::new(File::create(&hidden)?);
    file.write_all(&start)?;
    payload(payload_bytes, |piece| file.write_all(piece))?;
    file.flush()?;
    std::fs::rename(hidden, folder.join(file_name(name)))
}
