//! The hub's only reader of RPM files: what a package is, how long its file should be, and
//! whether the digests it declares are true.
//!
//! Everything here reads bytes that anybody may have written. So it owns one duty above all:
//! whatever the bytes are, the answer is a value or an [`RpmError`], never a panic, an abort, an
//! allocation larger than the file is long, or work that is not linear in the file's length. It
//! must never decompress a payload, never create, move or name a file, and never trust the lead
//! for anything but its magic.
//!
//! An RPM file is, in this order (`docs/manual/format*.md` in rpm's own sources):
//!
//! | part | size | of use here |
//! |---|---|---|
//! | lead | 96 bytes | magic, format version |
//! | signature header | 16 + 16 a tag + store, padded to 8 | length of the rest, digests |
//! | main header | 16 + 16 a tag + store | name, dependencies, payload digest |
//! | payload | the rest | hashed only |
//!
//! The rules for offsets, counts and regions are those of `hdrblobVerifyInfo` and
//! `hdrblobVerifyRegion` in rpm 4.18. On top of them come the limits, names that are safe as file
//! names, and a refusal of whatever two readers could read differently: a tag twice, two sizes, a
//! package that is source and binary.
//!
//! All functions are generic over [`ReadAt`], so a fuzz target or a test can hand them bytes
//! where the hub hands them a [`std::fs::File`].

mod digest;
mod error;
mod facts;
mod header;
mod package;
mod read;
mod signature;
mod tags;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use digest::{verify_digests, verify_header};
pub use error::{DigestFault, Excess, Fault, Part, RpmError};
pub use facts::{Capability, Facts, Kind, Nevra, read_facts};
pub use package::{expected_file_len, expected_len};
pub use read::ReadAt;
pub use signature::{KeyKind, Signable};
pub use tags::{Tags, read_tags};
