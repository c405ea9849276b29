//! Where each RPM is, and which ones must come or go.
//!
//! Owns what is on recent and on the shelves as far as it was told, and the difference to what is wanted, one path
//! at a time: nothing here takes longer because the repository is large.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::repodata::Group;

use super::wanted::Want;
use super::{Path, Stamp};

/// Where paths are.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// Live on recent, and not there only because they linger.
    pub(super) recent: BTreeMap<Path, Stamp>,
    /// On a shelf.
    pub(super) shelf: BTreeMap<Path, Stamp>,
    /// Were merged in this run: some of them may be in recent's files still.
    pub(super) lingers: BTreeSet<Path>,
    /// Wanted, and nowhere.
    pub(super) to_add: BTreeSet<Path>,
    /// To be taken off recent.
    pub(super) off_recent: BTreeSet<Path>,
    /// To be taken off a shelf.
    pub(super) off_shelf: BTreeSet<Path>,
}

/// Puts a path into a set or takes it out.
fn put(set: &mut BTreeSet<Path>, at: &str, belongs: bool) {
    if !belongs {
        set.remove(at);
    } else if !set.contains(at) {
        set.insert(at.into());
    }
}

/// All packages of these groups.
pub(super) fn packages(groups: &[Arc<Group>]) -> impl Iterator<Item = (&Path, Stamp)> {
    groups.iter().flat_map(|group| &group.packages).map(|listed| (&listed.path, Stamp::of(listed)))
}

impl Places {
    /// Finds out what must happen to a path.
    pub(super) fn reconsider(&mut self, at: &str, want: Want) {
        let fits = |live: Option<&Stamp>| match (want, live) {
            (Want::Not, _) | (_, None) => false,
            (Want::Any, Some(_)) => true,
            (Want::Exactly(stamp), Some(live)) => stamp == *live,
        };
        let (recent, shelf) = (self.recent.get(at), self.shelf.get(at));
        let lingers = self.lingers.contains(at);
        let (off_recent, off_shelf) =
            (recent.is_some() && !fits(recent) || lingers && !fits(shelf), shelf.is_some() && !fits(shelf));
        // What was replaced waits until what it replaces is gone: one path means one thing.
        let nowhere = recent.is_none() && shelf.is_none() && !lingers;
        put(&mut self.to_add, at, want != Want::Not && nowhere);
        put(&mut self.off_recent, at, off_recent);
        put(&mut self.off_shelf, at, off_shelf);
    }

    /// Recent is live with these groups. Gives the paths that came, went or changed.
    pub(super) fn set_recent(&mut self, groups: &[Arc<Group>]) -> Vec<Path> {
        let new: BTreeMap<Path, Stamp> = packages(groups).map(|(at, stamp)| (at.clone(), stamp)).collect();
        let old = std::mem::replace(&mut self.recent, new);
        let gone = old.keys().filter(|at| !self.recent.contains_key(*at));
        let came = self.recent.iter().filter(|(at, stamp)| old.get(*at) != Some(*stamp)).map(|(at, _)| at);
        gone.chain(came).cloned().collect()
    }

    /// What a merge has brought from recent onto a shelf and recent shows still.
    pub(super) fn merged(&self) -> BTreeSet<Path> {
        let on_both = |at: &&Path| self.shelf.contains_key(*at) && !self.off_recent.contains(*at);
        self.recent.keys().filter(on_both).cloned().collect()
    }

    /// How many RPMs are live.
    pub(super) fn live(&self) -> usize {
        self.shelf.len() + self.recent.keys().filter(|at| !self.shelf.contains_key(*at)).count()
    }

    /// Whether no index for builders names this path any more.
    pub(super) fn is_nowhere(&self, at: &str) -> bool {
        !(self.recent.contains_key(at) || self.shelf.contains_key(at) || self.lingers.contains(at))
    }
}
