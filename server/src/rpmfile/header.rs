//! One header structure: intro, index, store. [`Header::read`] checks every entry before anything
//! looks at it; the accessors then only ever slice what was checked. Knows no tag but the region
//! tags; must never allocate for a number that the file's own length does not bear out.

use super::error::{Excess, Fault, Part, RpmError};
use super::read::{ReadAt, read_exact_at};

/// Bytes before the index: magic, reserved, number of tags, bytes of store.
pub(super) const INTRO_BYTES: u64 = 16;
/// Bytes of one index entry: tag, type, offset, count, each 32 bits, big-endian.
const ENTRY_BYTES: usize = 16;
/// Magic, version 1, and four reserved bytes, which rpm requires to be zero.
pub(super) const MAGIC: [u8; 8] = [0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
/// Bytes of a region's trailer, which has the shape of one index entry.
const TRAILER_BYTES: u32 = 16;
/// Tags below this are regions, and a region can only come first.
const LOWEST_TAG: u32 = 100;
/// Region tag of signature headers, HEADERSIGNATURES.
pub(super) const REGION_SIGNATURE: u32 = 62;
/// Region tag of main headers, HEADERIMMUTABLE.
pub(super) const REGION_HEADER: u32 = 63;
/// HEADERIMAGE: some old packages have it in the trailer of a signature's region.
const REGION_IMAGE: u32 = 61;
/// Most elements of an array that is taken out of a header: ten times what a kernel that provides each of
/// its symbols has. Without it 32 MiB of empty strings would become gigabytes of `String`.
pub(super) const ARRAY_COUNT_MAX: u32 = 262_144;

/// A type of value in a header's store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    /// Numbers or bytes of this many bytes each, and aligned to it.
    Fixed(u32),
    /// Exactly one string, ended by NUL.
    Str,
    /// As many strings as `count` says (STRING_ARRAY, I18NSTRING).
    Strings,
}

impl Type {
    fn of(raw: u32) -> Option<Self> {
        Some(match raw {
            CHAR | INT8 | BIN => Self::Fixed(1),
            INT16 => Self::Fixed(2),
            INT32 => Self::Fixed(4),
            INT64 => Self::Fixed(8),
            STRING => Self::Str,
            STRING_ARRAY | I18NSTRING => Self::Strings,
            _ => return None,
        })
    }
}

const CHAR: u32 = 1;
const INT8: u32 = 2;
const INT16: u32 = 3;
const INT32: u32 = 4;
const INT64: u32 = 5;
pub(super) const STRING: u32 = 6;
pub(super) const BIN: u32 = 7;
pub(super) const STRING_ARRAY: u32 = 8;
const I18NSTRING: u32 = 9;

/// An index entry, as it stands in the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) tag: u32,
    pub(super) kind: u32,
    offset: u32,
    pub(super) count: u32,
    /// Bytes it takes in the store; 0 until it was checked.
    len: u32,
}

/// A header whose every entry lies within its store.
#[derive(Debug)]
pub(super) struct Header {
    part: Part,
    entries: Vec<Entry>,
    store: Vec<u8>,
}

/// What the 16 bytes of an intro declare, within limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Intro {
    tags: usize,
    store_bytes: usize,
}

impl Intro {
    /// Bytes from the start of the intro to the end of the store.
    pub(super) fn total_bytes(self) -> u64 {
        INTRO_BYTES + (self.tags * ENTRY_BYTES) as u64 + self.store_bytes as u64
    }
}

/// Most tags and most bytes of store that a part may have.
fn limits(part: Part) -> (Excess, Excess) {
    let excess = |what, max| Excess { what, found: 0, max };
    match part {
        // rpm writes about ten tags, and 32 is its own limit too. File signatures need the space.
        Part::Lead | Part::Signature => (excess("signature tags", 32), excess("signature bytes", 1 << 20)),
        // rpm writes about a hundred tags; the store grows with the number of files.
        Part::Header => (excess("header tags", 1024), excess("header bytes", 32 << 20)),
    }
}

fn within(found: u32, limit: Excess) -> Result<usize, RpmError> {
    let found = u64::from(found);
    match usize::try_from(found) {
        Ok(n) if found <= limit.max => Ok(n),
        _ => Err(RpmError::Limit(Excess { found, ..limit })),
    }
}

/// The big-endian number at `at`; 0 where there are no four bytes.
fn be32(bytes: &[u8], at: usize) -> u32 {
    match bytes.get(at..).and_then(|b| b.first_chunk()) {
        Some(b) => u32::from_be_bytes(*b),
        None => 0,
    }
}

impl Header {
    /// Reads the intro at `start` of a file of `have` bytes and holds it against the limits.
    pub(super) fn read_intro<R: ReadAt + ?Sized>(
        file: &R,
        part: Part,
        start: u64,
        have: u64,
    ) -> Result<Intro, RpmError> {
        let mut intro = [0; INTRO_BYTES as usize];
        let there = have.saturating_sub(start).min(INTRO_BYTES) as usize;
        read_exact_at(file, &mut intro[..there], start)?;
        let magic = there.min(MAGIC.len());
        if intro[..magic] != MAGIC[..magic] {
            return Err(fault(part, None, "does not start with a header's magic"));
        }
        if (there as u64) < INTRO_BYTES {
            let need = start + INTRO_BYTES;
            return Err(RpmError::Truncated { need, have });
        }
        let (max_tags, max_bytes) = limits(part);
        let tags = within(be32(&intro, 8), max_tags)?;
        let store_bytes = within(be32(&intro, 12), max_bytes)?;
        if tags == 0 {
            return Err(fault(part, None, "has no tags"));
        }
        Ok(Intro { tags, store_bytes })
    }

    /// Reads and checks the header at `start` whose intro is known. Allocates only once the file is
    /// known to be that long.
    pub(super) fn read<R: ReadAt + ?Sized>(
        file: &R,
        part: Part,
        start: u64,
        intro: Intro,
        have: u64,
    ) -> Result<Self, RpmError> {
        let need = start + intro.total_bytes();
        if have < need {
            return Err(RpmError::Truncated { need, have });
        }
        let index_bytes = intro.tags * ENTRY_BYTES;
        let mut index = vec![0; index_bytes];
        read_exact_at(file, &mut index, start + INTRO_BYTES)?;
        let mut store = vec![0; intro.store_bytes];
        read_exact_at(file, &mut store, start + INTRO_BYTES + index_bytes as u64)?;
        let entries = index.chunks_exact(ENTRY_BYTES).map(entry).collect();
        let mut header = Self { part, entries, store };
        header.check()?;
        Ok(header)
    }

    /// Checks every entry: known type, aligned, within the store, strings ended, and no two
    /// sharing bytes. The last also bounds the time, since each byte is then scanned once.
    fn check(&mut self) -> Result<(), RpmError> {
        let region = self.check_region()?;
        let first = usize::from(region.is_some());
        let mut end = 0;
        for i in first..self.entries.len() {
            let e = self.entries[i];
            let bad = |what| fault(self.part, Some(e.tag), what);
            if e.tag < LOWEST_TAG || e.tag > i32::MAX as u32 {
                return Err(bad("is no tag that may stand there"));
            }
            if e.offset < end {
                return Err(bad("overlaps the value before it"));
            }
            let len = self.value_len(e).map_err(bad)?;
            end = e.offset + len;
            if let Some(trailer) = region
                && end > trailer
                && e.offset < trailer + TRAILER_BYTES
            {
                return Err(bad("overlaps the region's trailer"));
            }
            self.entries[i].len = len;
        }
        Ok(())
    }

    /// Checks the region where the first tag is one, and gives its trailer's offset.
    fn check_region(&mut self) -> Result<Option<u32>, RpmError> {
        let tag = match self.part {
            Part::Header => REGION_HEADER,
            Part::Lead | Part::Signature => REGION_SIGNATURE,
        };
        let Some(e) = self.entries.first().copied().filter(|e| e.tag == tag) else {
            return Ok(None);
        };
        let bad = |what| Err(fault(self.part, Some(tag), what));
        if e.kind != BIN || e.count != TRAILER_BYTES {
            return bad("is not a region");
        }
        let at = e.offset as usize;
        let Some(raw) = self.store.get(at..).and_then(|s| s.get(..ENTRY_BYTES)) else {
            return bad("lies outside the store");
        };
        let trailer = entry(raw);
        let same = trailer.tag == tag || (self.part == Part::Signature && trailer.tag == REGION_IMAGE);
        if !same || trailer.kind != BIN || trailer.count != TRAILER_BYTES {
            return bad("has a bad trailer");
        }
        // The trailer's offset is the negative number of index bytes in the region.
        let index_bytes = trailer.offset.wrapping_neg() as usize;
        let all = self.entries.len() * ENTRY_BYTES;
        let fits = match self.part {
            // In a package the region is the whole main header, so a digest over one is one over both.
            Part::Header => index_bytes == all && at + ENTRY_BYTES == self.store.len(),
            Part::Lead | Part::Signature => {
                index_bytes.is_multiple_of(ENTRY_BYTES) && (1..=all).contains(&index_bytes)
            }
        };
        if !fits {
            return bad("does not span its header");
        }
        self.entries[0].len = TRAILER_BYTES;
        Ok(Some(e.offset))
    }

    /// Bytes that the value of `e` takes in the store, or what is wrong with it.
    fn value_len(&self, e: Entry) -> Result<u32, &'static str> {
        const OUTSIDE: &str = "lies outside the store";
        let kind = Type::of(e.kind).ok_or("has an unknown type")?;
        let rest = self.store.get(e.offset as usize..).ok_or(OUTSIDE)?;
        // At least one byte an element, so this also refuses counts before any work on them.
        if e.count == 0 || e.count as usize > rest.len() {
            return Err("has an impossible count");
        }
        let len = match kind {
            Type::Fixed(size) => {
                if !e.offset.is_multiple_of(size) {
                    return Err("is not aligned");
                }
                let len = u64::from(e.count) * u64::from(size);
                if len > rest.len() as u64 {
                    return Err(OUTSIDE);
                }
                len
            }
            Type::Str if e.count != 1 => return Err("has an impossible count"),
            Type::Str | Type::Strings => {
                let ends = rest.iter().enumerate().filter(|&(_, &b)| b == 0);
                let last = ends.map(|(i, _)| i).nth(e.count as usize - 1);
                last.ok_or("has a string without an end")? as u64 + 1
            }
        };
        u32::try_from(len).map_err(|_| OUTSIDE)
    }

    /// Whether there is such a tag.
    pub(super) fn has(&self, tag: u32) -> bool {
        self.entries.iter().any(|e| e.tag == tag)
    }

    /// The entry of `tag`. Two of them are an error: which one counts would be a matter of taste,
    /// and rpm's need not be ours.
    fn find(&self, tag: u32) -> Result<Option<(Entry, &[u8])>, RpmError> {
        let mut all = self.entries.iter().filter(|e| e.tag == tag);
        let Some(&e) = all.next() else {
            return Ok(None);
        };
        if all.next().is_some() {
            return Err(self.bad(tag, "is there twice"));
        }
        let start = e.offset as usize;
        let value = self.store.get(start..start + e.len as usize);
        Ok(value.map(|v| (e, v)))
    }

    /// The one string of `tag`, which must have the type STRING.
    pub(super) fn string(&self, tag: u32) -> Result<Option<&str>, RpmError> {
        match self.find(tag)? {
            None => Ok(None),
            Some((e, value)) if e.kind == STRING => {
                let text = value.strip_suffix(&[0]).unwrap_or(value);
                Ok(Some(self.utf8(tag, text)?))
            }
            Some(_) => Err(self.bad(tag, "is not a string")),
        }
    }

    /// The strings of `tag`; none where there is no such tag.
    pub(super) fn strings(&self, tag: u32) -> Result<Vec<&str>, RpmError> {
        let Some((e, value)) = self.find(tag)? else {
            return Ok(Vec::new());
        };
        if matches!(Type::of(e.kind), None | Some(Type::Fixed(_))) {
            return Err(self.bad(tag, "is not an array of strings"));
        }
        self.array_limit(e)?;
        let value = value.strip_suffix(&[0]).unwrap_or(value);
        value.split(|&b| b == 0).map(|text| self.utf8(tag, text)).collect()
    }

    /// The 32-bit numbers of `tag`; none where there is no such tag.
    pub(super) fn u32s(&self, tag: u32) -> Result<Vec<u32>, RpmError> {
        let Some((e, value)) = self.find(tag)? else {
            return Ok(Vec::new());
        };
        if e.kind != INT32 {
            return Err(self.bad(tag, "is not a 32-bit number"));
        }
        self.array_limit(e)?;
        Ok(value.chunks_exact(4).map(|b| be32(b, 0)).collect())
    }

    /// The one 32-bit number of `tag`.
    pub(super) fn u32(&self, tag: u32) -> Result<Option<u32>, RpmError> {
        match self.u32s(tag)?[..] {
            [] => Ok(None),
            [n] => Ok(Some(n)),
            _ => Err(self.bad(tag, "is more than one number")),
        }
    }

    /// The one 64-bit number of `tag`.
    pub(super) fn u64(&self, tag: u32) -> Result<Option<u64>, RpmError> {
        match self.find(tag)? {
            None => Ok(None),
            Some((e, value)) => match <[u8; 8]>::try_from(value) {
                Ok(bytes) if e.kind == INT64 => Ok(Some(u64::from_be_bytes(bytes))),
                _ => Err(self.bad(tag, "is not one 64-bit number")),
            },
        }
    }

    /// The bytes of `tag`, which must have the type BIN.
    pub(super) fn bytes(&self, tag: u32) -> Result<Option<&[u8]>, RpmError> {
        match self.find(tag)? {
            None => Ok(None),
            Some((e, value)) if e.kind == BIN => Ok(Some(value)),
            Some(_) => Err(self.bad(tag, "is not binary")),
        }
    }

    /// The first entry of `tag` with its bytes, whatever its type; a second one is not looked at.
    fn first(&self, tag: u32) -> Option<(Entry, &[u8])> {
        let e = *self.entries.iter().find(|e| e.tag == tag)?;
        let start = e.offset as usize;
        Some((e, self.store.get(start..start + e.len as usize)?))
    }

    /// The one string of `tag`, be it UTF-8 or not; of translations the first.
    pub(super) fn raw_text(&self, tag: u32) -> Option<&[u8]> {
        let (e, value) = self.first(tag)?;
        let is_one = matches!(e.kind, STRING | I18NSTRING) || (e.kind == STRING_ARRAY && e.count == 1);
        if is_one { value.split(|&b| b == 0).next() } else { None }
    }

    /// The strings of `tag`, be they UTF-8 or not.
    pub(super) fn raw_texts(&self, tag: u32) -> Option<impl Iterator<Item = &[u8]> + Clone> {
        let (e, value) = self.first(tag)?;
        if !matches!(e.kind, STRING | STRING_ARRAY | I18NSTRING) {
            return None;
        }
        Some(value.strip_suffix(&[0]).unwrap_or(value).split(|&b| b == 0))
    }

    /// The numbers of `tag`, of any size.
    pub(super) fn raw_numbers(&self, tag: u32) -> Option<impl Iterator<Item = u64> + Clone> {
        let (e, value) = self.first(tag)?;
        let bytes = match e.kind {
            CHAR | INT8 => 1,
            INT16 => 2,
            INT32 => 4,
            INT64 => 8,
            _ => return None,
        };
        Some(value.chunks_exact(bytes).map(|b| b.iter().fold(0, |n, &b| n << 8 | u64::from(b))))
    }

    /// How many elements `tag` has; 0 where there is no such tag.
    pub(super) fn count(&self, tag: u32) -> usize {
        self.first(tag).map_or(0, |(e, _)| e.count as usize)
    }

    /// An error about `tag` of this header.
    pub(super) fn bad(&self, tag: u32, what: &'static str) -> RpmError {
        fault(self.part, Some(tag), what)
    }

    fn array_limit(&self, e: Entry) -> Result<(), RpmError> {
        let limit = Excess { what: "elements in an array", found: 0, max: ARRAY_COUNT_MAX.into() };
        within(e.count, limit).map(|_| ())
    }

    fn utf8<'a>(&self, tag: u32, text: &'a [u8]) -> Result<&'a str, RpmError> {
        std::str::from_utf8(text).map_err(|_| self.bad(tag, "is not UTF-8"))
    }

    /// Every entry with the bytes of its value.
    pub(super) fn values(&self) -> impl Iterator<Item = (Entry, &[u8])> {
        self.entries.iter().map(|&e| {
            let start = e.offset as usize;
            (e, &self.store[start..start + e.len as usize])
        })
    }
}

/// The entry in 16 bytes of an index.
fn entry(raw: &[u8]) -> Entry {
    Entry { tag: be32(raw, 0), kind: be32(raw, 4), offset: be32(raw, 8), count: be32(raw, 12), len: 0 }
}

/// A [`RpmError::Malformed`].
pub(super) fn fault(part: Part, tag: Option<u32>, what: &'static str) -> RpmError {
    RpmError::Malformed(Fault { part, tag, what })
}
