//! The texts of a yum repository: what one RPM is in `primary`, `filelists` and `other`, how packages are packed
//! together and compressed, and what `repomd.xml` says.
//!
//! Owns the formats, of the repository's own files and of the pieces that the hub keeps. Pure: bytes in, bytes out;
//! must never touch a disk, a clock or a folder's name. [`crate::index`] decides what goes where and publishes it;
//! [`crate::stage`] has each RPM described once, before its commit.
//!
//! | thing | is |
//! |---|---|
//! | text | the `<package>` elements of one RPM for one [`Part`], without the document around them |
//! | member | one complete gzip member or zstd frame: texts of several packages. Members that stand one after another are one valid file |
//! | [`Group`] | up to [`GROUP_PACKAGES_MAX`] packages of one [`Class`]: a member of each part, and how long each text in it is |
//! | piece | all groups of one result, in `repo/<NVR>/`[`PIECE_NAME`] |
//!
//! The fourth part, [`Part::Provides`], is never published: it is what the hub reads at its start to know which
//! capabilities are there.

mod compress;
mod dependency;
mod describe;
mod document;
mod files;
mod find;
mod group;
mod needs;
mod piece;
mod repomd;
mod sealed;
mod xml;

pub use compress::{Compression, DamagedMember};
pub use describe::{
    About, DamagedProvided, DescribeError, Provided, decode_provided, describe, encode_provided,
};
pub use document::{footer, header};
pub use find::{Finder, Holder};
pub use group::{Class, Described, GROUP_PACKAGES_MAX, Group, Listed, PARTS, Part};
pub use needs::{Needs, needs};
pub use piece::{DamagedPiece, PIECE_NAME, decode_piece, encode_piece};
pub use repomd::{DataFile, foreign_data, named_files, repomd};
pub use sealed::{Magic, open_file, seal_file};
