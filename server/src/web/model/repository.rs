//! The repository, and how to use it.

use serde::Serialize;
use utoipa::ToSchema;

use super::When;

/// The repository.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Repository {
    /// Where it is, as whoever asks calls this hub.
    pub url: String,
    /// Architecture; null while it is not known.
    pub target: Option<String>,
    /// Whether packages and indexes are signed.
    pub signed: bool,
    /// RPM files in the index.
    pub rpms: u32,
    /// A `.repo` file for dnf.
    pub repo_file: String,
    /// Arguments for mock: what a builder passes.
    pub mock_arguments: Vec<String>,
    /// Its indexes: of everything, and where there are tiers of the newest and of the older packages.
    pub indexes: Vec<Index>,
}

/// An index.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Index {
    /// `complete`, `recent` or `base`.
    pub name: String,
    /// Its path on this port.
    pub path: String,
    /// When it was published; null if it is not there yet.
    pub published: Option<When>,
    /// Its revision, as `repomd.xml` has it.
    pub revision: Option<String>,
    /// Length of the live files together.
    pub bytes: u64,
    /// Files in its folder: more than the live ones are older generations, which readers may still be at.
    pub files: u32,
    /// Length of those together.
    pub files_bytes: u64,
    /// Packages that it lists; null if that is not known.
    pub packages: Option<u32>,
}
