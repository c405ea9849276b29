//! The smallest RPMs that pass all of the hub's checks.
//!
//! Owns making them in memory, deterministically. They hold headers with true digests and a payload of
//! noise: nothing here could be installed.

use sha2::{Digest, Sha256};

/// Types of values in a header (`rpmtag.h`).
const INT32: u32 = 4;
const STRING: u32 = 6;
const BIN: u32 = 7;
const STRING_ARRAY: u32 = 8;
/// Tags that say which header a region belongs to.
const REGION_SIGNATURE: u32 = 62;
const REGION_HEADER: u32 = 63;

/// A tag, its type, its count and its bytes.
type Value = (u32, u32, u32, Vec<u8>);

fn string(tag: u32, text: &str) -> Value {
    (tag, STRING, 1, [text.as_bytes(), &[0]].concat())
}

fn int32(tag: u32, n: u32) -> Value {
    (tag, INT32, 1, n.to_be_bytes().to_vec())
}

fn header(region: u32, values: &[Value]) -> Vec<u8> {
    let mut index = Vec::new();
    let mut store = Vec::new();
    let entry = |tag: u32, kind: u32, offset: u32, count: u32| -> Vec<u8> {
        [tag, kind, offset, count].iter().flat_map(|n| n.to_be_bytes()).collect()
    };
    for (tag, kind, count, data) in values {
        let align = if *kind == INT32 { 4 } else { 1 };
        store.resize(store.len().next_multiple_of(align), 0);
        index.extend(entry(*tag, *kind, store.len() as u32, *count));
        store.extend(data);
    }
    let first = entry(region, BIN, store.len() as u32, 16);
    index.splice(0..0, first);
    store.extend(entry(region, BIN, (index.len() as u32).wrapping_neg(), 16));
    let mut all = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
    all.extend((index.len() as u32 / 16).to_be_bytes());
    all.extend((store.len() as u32).to_be_bytes());
    all.extend(index);
    all.extend(store);
    all
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn package(mut values: Vec<Value>, payload: &[u8]) -> Vec<u8> {
    let digest = hex(&Sha256::digest(payload));
    values.push((5092, STRING_ARRAY, 1, [digest.as_bytes(), &[0]].concat()));
    values.push(int32(5093, 8));
    values.sort_by_key(|value| value.0);
    let main = header(REGION_HEADER, &values);
    let signature = header(
        REGION_SIGNATURE,
        &[string(273, &hex(&Sha256::digest(&main))), int32(1000, (main.len() + payload.len()) as u32)],
    );
    let mut all = vec![0; 96];
    all[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    all[79] = 5;
    all.extend(signature);
    all.resize(all.len().next_multiple_of(8), 0);
    all.extend(main);
    all.extend(payload);
    all
}

/// `NAME-1-RELEASE.src.rpm` with so many bytes of payload.
#[must_use]
pub fn source(name: &str, release: u32, payload_bytes: usize) -> Vec<u8> {
    let values = vec![
        string(1000, name),
        string(1001, "1"),
        string(1002, &release.to_string()),
        string(1022, "noarch"),
        int32(1106, 1),
    ];
    package(values, &vec![b's'; payload_bytes])
}

/// `BINARY-1-RELEASE.noarch.rpm`, built from `NAME-1-RELEASE.src.rpm`.
#[must_use]
pub fn binary(binary: &str, name: &str, release: u32, payload_bytes: usize) -> Vec<u8> {
    let values = vec![
        string(1000, binary),
        string(1001, "1"),
        string(1002, &release.to_string()),
        string(1022, "noarch"),
        string(1044, &format!("{name}-1-{release}.src.rpm")),
    ];
    package(values, &vec![b'b'; payload_bytes])
}

#[cfg(test)]
mod tests {
    use super::*;
    use moji_server::rpmfile::{Kind, read_facts, verify_digests};

    #[test]
    fn they_pass_the_hubs_own_checks() {
        let (source, binary) = (source("a", 1, 10), binary("a-lib", "a", 1, 7));
        for (bytes, kind, name) in
            [(&source, Kind::Source, "a-1-1.src.rpm"), (&binary, Kind::Binary, "a-lib-1-1.noarch.rpm")]
        {
            let facts = read_facts(&bytes[..]).unwrap();
            assert_eq!((facts.kind, facts.nevra.file_name(kind).as_str()), (kind, name));
            verify_digests(&bytes[..]).unwrap();
        }
        let mut damaged = binary;
        *damaged.last_mut().unwrap() ^= 1;
        assert!(verify_digests(&damaged[..]).is_err());
    }
}
