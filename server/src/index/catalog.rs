//! The catalog: which package is in which group of which shelf, and where that group is.
//!
//! Owns what is in the file; its form is that of pieces. A damaged one, or one of another version, counts as gone: the
//! shelves are filled anew from the pieces.

use serde::{Deserialize, Serialize};

use crate::repodata::{Class, Compression, DataFile, Listed, Magic, PARTS, Part, open_file, seal_file};

/// What the file starts with. The number changes with the format, and with whatever changes the texts.
const MAGIC: &Magic = b"moji catalog 1\n\0";

/// A group on a shelf: it stands behind the one before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Placed {
    /// In the order of their texts.
    pub(super) packages: Vec<Listed>,
    /// Length of the member of each part, bytes.
    pub(super) member_bytes: [u64; PARTS],
}

impl Placed {
    /// Length of a part's member, not compressed, bytes.
    pub(super) fn open_bytes(&self, part: Part) -> u64 {
        self.packages.iter().map(|package| u64::from(package.text_bytes[part as usize])).sum()
    }
}

/// A file of a shelf.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Body {
    /// In its folder.
    pub(super) name: String,
    /// Length of the file, bytes.
    pub(super) bytes: u64,
    /// Where the first group is.
    pub(super) start: u64,
    /// What `repomd.xml` says; None of one that is not published.
    pub(super) published: Option<Published>,
}

/// What `repomd.xml` says of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Published {
    sha256: [u8; 32],
    open_sha256: Option<[u8; 32]>,
    open_bytes: u64,
    unix_s: u64,
}

impl Body {
    /// Of a file that is published.
    pub(super) fn published(file: &DataFile, start: u64) -> Body {
        let (sha256, open_sha256) = (file.sha256, file.open_sha256);
        let published = Published { sha256, open_sha256, open_bytes: file.open_bytes, unix_s: file.unix_s };
        Body { name: file.name.clone(), bytes: file.bytes, start, published: Some(published) }
    }

    /// What `repomd.xml` says.
    pub(super) fn data_file(&self, part: Part) -> Option<DataFile> {
        let published = self.published.as_ref()?;
        Some(DataFile {
            part,
            name: self.name.clone(),
            sha256: published.sha256,
            bytes: self.bytes,
            open_sha256: published.open_sha256,
            open_bytes: published.open_bytes,
            unix_s: published.unix_s,
        })
    }
}

/// Packages of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shelf {
    /// One of each part; None if the shelf was never written.
    pub(super) bodies: Option<[Body; PARTS]>,
    pub(super) groups: Vec<Placed>,
}

impl Shelf {
    pub(super) fn packages(&self) -> usize {
        self.groups.iter().map(|group| group.packages.len()).sum()
    }
}

/// What is on the shelves.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Catalog {
    /// Larger with each merge: in the names of files that have no digest.
    pub(super) generation: u64,
    /// How all members are compressed.
    pub(super) compression: Compression,
    pub(super) main: Shelf,
    pub(super) extra: Shelf,
}

impl Catalog {
    pub(super) fn shelf(&self, class: Class) -> &Shelf {
        match class {
            Class::Main => &self.main,
            Class::Extra => &self.extra,
        }
    }

    pub(super) fn shelf_mut(&mut self, class: Class) -> &mut Shelf {
        match class {
            Class::Main => &mut self.main,
            Class::Extra => &mut self.extra,
        }
    }

    /// Names of all files.
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        let bodies = self.main.bodies.iter().chain(&self.extra.bodies);
        bodies.flatten().map(|body| body.name.as_str())
    }

    /// What base's `repomd.xml` is to name.
    pub(super) fn published(&self) -> Option<Vec<DataFile>> {
        let bodies = self.main.bodies.as_ref()?;
        Some(Part::PUBLISHED.iter().filter_map(|part| bodies[*part as usize].data_file(*part)).collect())
    }

    /// The file.
    pub(super) fn encode(&self) -> Vec<u8> {
        seal_file(MAGIC, self)
    }

    /// Reads the file; None if it is damaged or of another version.
    pub(super) fn decode(bytes: &[u8]) -> Option<Catalog> {
        open_file(MAGIC, bytes)
    }
}
