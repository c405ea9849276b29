//! Recent.

use std::collections::BTreeSet;
use std::sync::Arc;

use moji_proto::Time;

use super::{Config, IndexError, Layout};
use crate::clock::Clock;
use crate::disk::Disk;
use crate::repodata::Group;

/// What a publication changes, in this order: paths go, groups come, paths are on base now.
#[derive(Clone, Debug, Default)]
pub struct RecentChange {
    /// New groups. A path in them that is in recent already is replaced.
    pub add: Vec<Group>,
    /// Paths that are not published any more.
    pub gone: BTreeSet<Box<str>>,
    /// Paths that base has now: they linger.
    pub merged: BTreeSet<Box<str>>,
}

/// The index of what is new. For the fast thread.
pub struct Recent {
    groups: Vec<Arc<Group>>,
}

impl Recent {
    /// Works in the folders of `layout`, where nothing is touched yet.
    #[must_use]
    pub fn new(_disk: Arc<dyn Disk>, _clock: Arc<dyn Clock>, _layout: Layout, _config: Config) -> Recent {
        Recent { groups: Vec::new() }
    }

    /// Makes an empty index where there is none, so that ports may open.
    ///
    /// # Errors
    /// What cannot be read or written.
    pub fn ensure_exists(&mut self) -> Result<(), IndexError> {
        Ok(())
    }

    /// Adds groups, takes paths out, lets `merged` paths linger, and publishes once. On Ok readers see it and it
    /// survives a power cut.
    ///
    /// # Errors
    /// What cannot be read or written; nothing has changed then.
    pub fn publish(&mut self, change: RecentChange) -> Result<(), IndexError> {
        self.groups.extend(change.add.into_iter().map(Arc::new));
        Ok(())
    }

    /// What is in recent and on no shelf.
    #[must_use]
    pub fn groups(&self) -> Vec<Arc<Group>> {
        self.groups.clone()
    }

    /// Deletes old generations and lets go what lingered long enough.
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
