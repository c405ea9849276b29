//! Thin repositories: of all packages that are there, those that one build can need.
//!
//! Owns what is held of the packages of each repository, which of them a build can need, and the repository that
//! is made of them. Pure but for the files that it is handed; knows no lease, no URL and no clock, and decides nothing: dnf
//! solves over a thin repository as it would over the whole ones, and comes to the same, because all that it could take from
//! those is in it.
//!
//! | file | owns |
//! |---|---|
//! | `layer.rs` | one repository's packages: what is held in memory, what on the disk |
//! | `table.rs` | the packing of that |
//! | `comps.rs` | groups of packages |
//! | `closure.rs` | what a build can need |
//! | `write.rs` | `repomd.xml` and what it names |
//! | `tier.rs` | reading the hub's own repositories |
//!
//! # What is not there
//!
//! Modules (`modules.yaml`): their packages are packages like others here, so that a thin repository of a distribution
//! with modular filtering has more than dnf would let in. `filelists` and `other`: a path that is required
//! and that no `primary` lists is looked for in `filelists` beforehand, and then stands in the thin `primary`.

mod closure;
mod comps;
mod layer;
mod table;
#[cfg(test)]
mod tests;
mod tier;
mod write;

pub use closure::{Picked, Want, close, lacking_paths};
pub use layer::{Builder, Layer, ReadError};
pub use tier::{find_files_of_repodata, of_repodata};
pub use write::{Payload, Thin, write};
