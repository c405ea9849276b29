//! What an index wants of a package beyond [`Facts`]: any tag of its checked headers, as it stands in the file.
//!
//! Owns lenient access: a tag of a wrong type or with too few elements reads as if it were not there, as librpm has
//! it, and texts may be no UTF-8. Must never copy an array: an array of the store's 32 MiB may have millions
//! of elements, so it is only ever walked.

use super::error::RpmError;
use super::facts::{Facts, facts_of};
use super::header::Header;
use super::package::Package;
use super::read::ReadAt;

/// Both headers of a package, checked.
#[derive(Debug)]
pub struct Tags {
    /// What it is called, needs and provides.
    pub facts: Facts,
    /// First byte of the main header, from the file's start.
    pub main_start: u64,
    /// First byte of the payload.
    pub payload_start: u64,
    signature: Header,
    main: Header,
}

/// Reads both headers. As with [`super::read_facts`], whose errors this has, the payload is not read and no digest checked.
pub fn read_tags<R: ReadAt + ?Sized>(file: &R) -> Result<Tags, RpmError> {
    let Package { signature, main, main_start, payload_start, .. } = Package::read(file)?;
    let facts = facts_of(&main)?;
    Ok(Tags { facts, main_start, payload_start, signature, main })
}

impl Tags {
    /// The one string of a tag of the main header: of an array that has one element, or the untranslated one.
    #[must_use]
    pub fn text(&self, tag: u32) -> Option<&[u8]> {
        self.main.raw_text(tag)
    }

    /// The strings of a tag of the main header.
    #[must_use]
    pub fn texts(&self, tag: u32) -> Option<impl Iterator<Item = &[u8]> + Clone> {
        self.main.raw_texts(tag)
    }

    /// The numbers of a tag of the main header.
    #[must_use]
    pub fn numbers(&self, tag: u32) -> Option<impl Iterator<Item = u64> + Clone> {
        self.main.raw_numbers(tag)
    }

    /// The first number of a tag of the main header.
    #[must_use]
    pub fn number(&self, tag: u32) -> Option<u64> {
        self.main.raw_numbers(tag)?.next()
    }

    /// The first number of a tag of the signature header.
    #[must_use]
    pub fn signature_number(&self, tag: u32) -> Option<u64> {
        self.signature.raw_numbers(tag)?.next()
    }

    /// How many elements a tag of the main header has.
    #[must_use]
    pub fn count(&self, tag: u32) -> usize {
        self.main.count(tag)
    }
}
