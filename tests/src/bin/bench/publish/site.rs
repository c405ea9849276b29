//! A made repository in a folder of its own, and the results that are to come.
//!
//! Owns which results are there; the folder goes when it is dropped.

use std::path::Path;

use moji_tests::Publisher;
use moji_tests::synthetic::{MadeResult, RESULT_PACKAGES, Shape, Synthetic};
use tempfile::TempDir;

/// A repository.
pub(super) struct Site {
    /// Does what the hub does.
    pub(super) publisher: Publisher,
    /// Packages that it was made with.
    pub(super) packages: usize,
    world: Synthetic,
    next: usize,
    folder: TempDir,
}

impl Site {
    /// Makes one of so many packages below `base`.
    pub(super) fn make(base: &Path, packages: usize) -> Site {
        let folder = tempfile::Builder::new().prefix("moji-bench-").tempdir_in(base).expect("a folder");
        let publisher = Publisher::new(folder.path()).expect("folders can be made");
        let next = packages / RESULT_PACKAGES;
        let world = Synthetic { seed: 20_261_122, shape: Shape::REAL, results: next };
        world.write(&publisher.repo(), 0..next).expect("RPMs can be written");
        Site { publisher, packages, world, next, folder }
    }

    /// Its folder.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Folders of the results that it was made with.
    pub(super) fn first_results(&self) -> Vec<String> {
        (0..self.packages / RESULT_PACKAGES).map(|number| self.world.nvr(number)).collect()
    }

    /// One more result, nowhere yet.
    pub(super) fn next_result(&mut self) -> MadeResult {
        self.next += 1;
        self.world.result(self.next - 1)
    }

    /// One more result of which only the main package was built.
    pub(super) fn next_small_result(&mut self) -> MadeResult {
        let mut made = self.next_result();
        made.rpms.remove(0);
        made.rpms.truncate(1);
        made
    }
}
