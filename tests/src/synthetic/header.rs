//! Bytes of an RPM file: lead, signature header, main header, payload.
//!
//! Owns the format (rpm's `docs/manual/format_v4.md`) and that all digests in it are true. Knows nothing of what is
//! said in a header.

use sha2::{Digest, Sha256};

/// What every header begins with: magic, version, reserved bytes.
const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
/// Bytes of an entry in a header's index.
const ENTRY_BYTES: u32 = 16;
/// Bytes of the lead, of which readers look at these: magic and version, type (1 for source), type of signature.
const LEAD_BYTES: usize = 96;

/// Types of values in a header (`rpmtag.h`).
const INT16: u32 = 3;
const INT32: u32 = 4;
const STRING: u32 = 6;
const BIN: u32 = 7;
const STRING_ARRAY: u32 = 8;
const I18NSTRING: u32 = 9;

/// Tags that say which header a region belongs to.
const REGION_SIGNATURE: u32 = 62;
const REGION_HEADER: u32 = 63;
/// RPMSIGTAG_SHA256, over the main header in hex, _SIZE, of main header and payload, and _PAYLOADSIZE.
const SIG_SHA256: u32 = 273;
const SIG_SIZE: u32 = 1000;
const SIG_PAYLOADSIZE: u32 = 1007;
/// RPMTAG_PAYLOADDIGEST and _PAYLOADDIGESTALGO, 8 for SHA-256.
const PAYLOADDIGEST: u32 = 5092;
const PAYLOADDIGESTALGO: u32 = 5093;

/// The values of one header, in any order.
#[derive(Debug, Default)]
pub(crate) struct Header(Vec<Value>);

#[derive(Debug)]
struct Value {
    tag: u32,
    kind: u32,
    count: u32,
    data: Vec<u8>,
}

impl Header {
    fn push(&mut self, tag: u32, kind: u32, count: usize, data: Vec<u8>) {
        self.0.push(Value { tag, kind, count: count.try_into().expect("a header is small"), data });
    }

    pub(crate) fn string(&mut self, tag: u32, text: &str) {
        self.push(tag, STRING, 1, [text.as_bytes(), &[0]].concat());
    }

    /// A text that could be translated, in the only language there is.
    pub(crate) fn translated(&mut self, tag: u32, text: &str) {
        self.push(tag, I18NSTRING, 1, [text.as_bytes(), &[0]].concat());
    }

    /// None at all are left out: rpm does not take an empty value.
    pub(crate) fn strings<S: AsRef<str>>(&mut self, tag: u32, texts: &[S]) {
        if !texts.is_empty() {
            let bytes = texts.iter().flat_map(|text| text.as_ref().bytes().chain([0]));
            self.push(tag, STRING_ARRAY, texts.len(), bytes.collect());
        }
    }

    pub(crate) fn numbers(&mut self, tag: u32, numbers: &[u32]) {
        if !numbers.is_empty() {
            let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
            self.push(tag, INT32, numbers.len(), bytes.collect());
        }
    }

    pub(crate) fn shorts(&mut self, tag: u32, numbers: &[u16]) {
        if !numbers.is_empty() {
            let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
            self.push(tag, INT16, numbers.len(), bytes.collect());
        }
    }

    /// Its bytes, all in one region.
    fn encode(mut self, region: u32) -> Vec<u8> {
        self.0.sort_by_key(|value| value.tag);
        let entry = |tag: u32, kind: u32, offset: u32, count: u32| {
            [tag, kind, offset, count].into_iter().flat_map(u32::to_be_bytes)
        };
        let entries = u32::try_from(self.0.len() + 1).expect("a few tags");
        let (mut index, mut store) = (Vec::new(), Vec::new());
        for Value { tag, kind, count, data } in &self.0 {
            let align = match *kind {
                INT16 => 2,
                INT32 => 4,
                _ => 1,
            };
            store.resize(store.len().next_multiple_of(align), 0);
            index.extend(entry(*tag, *kind, store.len() as u32, *count));
            store.extend(data);
        }
        let first: Vec<u8> = entry(region, BIN, store.len() as u32, ENTRY_BYTES).collect();
        // The region's end says where its index begins, counted backwards.
        store.extend(entry(region, BIN, (entries * ENTRY_BYTES).wrapping_neg(), ENTRY_BYTES));
        let sizes = [entries, store.len() as u32].into_iter().flat_map(u32::to_be_bytes);
        [&MAGIC[..], &sizes.collect::<Vec<_>>(), &first, &index, &store].concat()
    }
}

/// An RPM file of this main header and payload.
pub(crate) fn package(mut main: Header, is_source: bool, payload: &[u8], payload_open_bytes: u32) -> Vec<u8> {
    main.strings(PAYLOADDIGEST, &[hex(&Sha256::digest(payload))]);
    main.numbers(PAYLOADDIGESTALGO, &[8]);
    let main = main.encode(REGION_HEADER);
    let mut signature = Header::default();
    signature.string(SIG_SHA256, &hex(&Sha256::digest(&main)));
    signature.numbers(SIG_SIZE, &[(main.len() + payload.len()) as u32]);
    signature.numbers(SIG_PAYLOADSIZE, &[payload_open_bytes]);
    let mut all = vec![0; LEAD_BYTES];
    all[..6].copy_from_slice(&[0xed, 0xab, 0xee, 0xdb, 3, 0]);
    all[7] = u8::from(is_source);
    all[79] = 5;
    all.extend(signature.encode(REGION_SIGNATURE));
    all.resize(all.len().next_multiple_of(8), 0);
    all.extend(main);
    all.extend(payload);
    all
}

/// Bytes in hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |n: u8| char::from(DIGITS[usize::from(n & 15)]);
    bytes.iter().flat_map(|&byte| [digit(byte >> 4), digit(byte)]).collect()
}
