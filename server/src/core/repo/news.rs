//! What the queue is told of what builders can see.
//!
//! Owns what came and went since the queue was last told, and the files that it asked for. Packages that builders never
//! install (source and debug packages) are not spoken of.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Path;
use crate::core::capabilities::Capabilities;
use crate::core::queue;
use crate::repodata::{Class, DamagedMember, Finder, Group, Part, Provided, decode_provided};

/// What is to be told.
#[derive(Debug, Default)]
pub(super) struct News {
    stock: Option<Box<Capabilities>>,
    came: BTreeMap<Path, Provided>,
    gone: BTreeSet<Path>,
}

impl News {
    /// All is new: what was to be told does not count.
    pub(super) fn start_over(&mut self, stock: Box<Capabilities>) {
        *self = News { stock: Some(stock), ..News::default() };
    }

    /// Packages are there, or are others now.
    pub(super) fn came(&mut self, packages: impl IntoIterator<Item = (Path, Provided)>) {
        for (path, provided) in packages {
            self.gone.remove(&path);
            self.came.insert(path, provided);
        }
    }

    /// Nothing is at this path any more.
    pub(super) fn went(&mut self, path: &Path) {
        self.came.remove(path);
        self.gone.insert(path.clone());
    }

    /// What these were to tell was not told: it goes before what came since.
    pub(super) fn put_back(&mut self, earlier: News) {
        let later = std::mem::replace(self, earlier);
        if later.stock.is_some() {
            *self = later;
            return;
        }
        self.came(later.came);
        later.gone.iter().for_each(|path| self.went(path));
    }

    /// In the queue's words.
    pub(super) fn tell(self) -> queue::News {
        let News { stock, came, gone } = self;
        queue::News { stock, came: came.into_iter().collect(), gone: gone.into_iter().collect() }
    }
}

/// What packages of these groups provide, of those that `fits` says, and which of `files` they have.
///
/// # Errors
/// If a member is damaged.
pub(super) fn provided(
    groups: &[Arc<Group>],
    files: &BTreeSet<String>,
    fits: impl Fn(&Path) -> bool,
) -> Result<Vec<(Path, Provided)>, DamagedMember> {
    let mut all = Vec::new();
    for group in groups {
        if group.class != Class::Main || !group.packages.iter().any(|listed| fits(&listed.path)) {
            continue;
        }
        let mut found: BTreeMap<Path, Vec<String>> = match files.is_empty() {
            true => BTreeMap::new(),
            false => group.which_have(&Finder::new(files))?.into_iter().collect(),
        };
        let (text, ranges) = group.texts(Part::Provides)?;
        for (listed, range) in group.packages.iter().zip(ranges) {
            if fits(&listed.path) {
                let mut provided = decode_provided(&text[range]).map_err(|_| DamagedMember)?;
                provided.files.extend(found.remove(&listed.path).unwrap_or_default());
                all.push((listed.path.clone(), provided));
            }
        }
    }
    Ok(all)
}
