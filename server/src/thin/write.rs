//! A thin repository: its index, and where the bytes of its packages are.
//!
//! Owns the types alone.

use std::collections::HashMap;

/// Where a package of a thin repository is, and what is known of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Which repository it is of: those of `--mainline` in their order, then the hub's own tiers.
    pub layer: usize,
    /// Its path in that repository.
    pub href: String,
    /// Its length, bytes.
    pub size: u64,
    /// The kind of its checksum (`sha256`, `sha512`, `sha` …) and the checksum, in hexadecimal digits.
    pub checksum: (String, String),
}

/// A thin repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thin {
    /// `repodata/repomd.xml`.
    pub repomd: Vec<u8>,
    /// The files that it names: `repodata/<digest>-primary.xml.gz` and so on.
    pub files: Vec<(String, Vec<u8>)>,
    /// Its packages by the path that the index gives: `<layer>/<href>`.
    pub payloads: HashMap<String, Payload>,
    /// How many packages it has.
    pub packages: usize,
    /// What is needed and nobody has.
    pub missing: Vec<String>,
}
