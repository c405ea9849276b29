//! Which RPMs are to be indexed: of each file name one.
//!
//! Owns what was published and what people put into `repo/` or took out of it. Knows nothing of indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Found, Path, Published, Stamp, path};

/// Where RPMs of one file name are: folders.
#[derive(Debug, Default)]
struct Copies {
    /// Of results, in the order in which they were published.
    results: Vec<Arc<str>>,
    /// Of what people put there.
    hands: BTreeSet<Arc<str>>,
}

/// A published result.
#[derive(Debug)]
struct Result {
    /// The more, the later.
    number: u64,
    rpms: Vec<Arc<str>>,
}

/// What a path must be to be in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    /// It must not be there.
    Not,
    /// It is a result's, whose bytes never change.
    Any,
    /// People put it there, and it is this.
    Exactly(Stamp),
}

/// What is to be indexed.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    names: BTreeMap<Arc<str>, Copies>,
    results: BTreeMap<Arc<str>, Result>,
    /// RPMs that people put there, by folder and name.
    hands: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Stamp>>,
    /// RPMs of results that somebody took away.
    absent: BTreeSet<Path>,
    /// RPMs that cannot be read.
    aside: BTreeSet<Path>,
    last_number: u64,
}

impl Wanted {
    /// The folder that a name is indexed from: a rebuild takes the place of what it rebuilds, for dnf would take
    /// either of two with one name; and a result that of what people put there.
    fn folder_of(&self, name: &str) -> Option<&Arc<str>> {
        let copies = self.names.get(name)?;
        let fits = |folder: &&Arc<str>| {
            let path = path(folder, name);
            !self.absent.contains(&path) && !self.aside.contains(&path)
        };
        copies.results.iter().rev().find(fits).or_else(|| copies.hands.iter().find(fits))
    }

    /// What this path must be to be in the index.
    pub(super) fn want(&self, at: &str) -> Want {
        let (folder, name) = at.rsplit_once('/').unwrap_or(("", at));
        match self.folder_of(name) {
            Some(chosen) if **chosen == *folder => match self.hands.get(folder).and_then(|all| all.get(name))
            {
                Some(stamp) => Want::Exactly(*stamp),
                None => Want::Any,
            },
            _ => Want::Not,
        }
    }

    /// The other path that is to be indexed under this one's file name.
    pub(super) fn instead_of(&self, at: &str) -> Option<Path> {
        let (_, name) = at.rsplit_once('/').unwrap_or(("", at));
        let other = path(self.folder_of(name)?, name);
        (*other != *at).then_some(other)
    }

    /// Whether a path is of a result that is published.
    pub(super) fn is_of_result(&self, at: &str) -> bool {
        at.rsplit_once('/').is_some_and(|(folder, _)| self.results.contains_key(folder))
    }

    /// The RPMs of a published result.
    pub(super) fn rpms_of(&self, folder: &str) -> Vec<Path> {
        let result = self.results.get(folder);
        result.map_or(Vec::new(), |result| result.rpms.iter().map(|name| path(folder, name)).collect())
    }

    /// The number of a path's result: the more, the later.
    pub(super) fn number(&self, folder: &str) -> u64 {
        self.results.get(folder).map_or(0, |result| result.number)
    }

    /// Changes what is known of one name; the paths about which something else holds now go into `changed`.
    fn change(
        &mut self,
        name: &Arc<str>,
        changed: &mut Vec<Path>,
        body: impl FnOnce(&mut Wanted, &mut Copies),
    ) {
        let before = self.folder_of(name).cloned();
        let mut copies = self.names.remove(name).unwrap_or_default();
        body(self, &mut copies);
        if !(copies.results.is_empty() && copies.hands.is_empty()) {
            copies.results.shrink_to_fit();
            self.names.insert(name.clone(), copies);
        }
        let after = self.folder_of(name).cloned();
        if before != after {
            changed.extend(before.into_iter().chain(after).map(|folder| path(&folder, name)));
        }
    }

    /// A result is published. Gives the paths about which something else holds now.
    pub(super) fn publish(&mut self, published: Published) -> Vec<Path> {
        let mut changed = self.withdraw(&published.folder);
        let folder: Arc<str> = published.folder.into();
        let mut names = Vec::with_capacity(published.rpms.len());
        for rpm in published.rpms {
            // One text for a name, however many have it.
            let known = self.names.get_key_value(rpm.as_str()).map(|(name, _)| name.clone());
            let name = known.unwrap_or_else(|| rpm.as_str().into());
            self.change(&name, &mut changed, |_, copies| copies.results.push(folder.clone()));
            names.push(name);
        }
        self.last_number += 1;
        self.results.insert(folder, Result { number: self.last_number, rpms: names });
        changed
    }

    /// A result is not published any more. What it rebuilt takes its place again, if that is still published.
    pub(super) fn withdraw(&mut self, folder: &str) -> Vec<Path> {
        let mut changed = Vec::new();
        for name in self.results.remove(folder).map_or(Vec::new(), |result| result.rpms) {
            self.change(&name, &mut changed, |wanted, copies| {
                copies.results.retain(|there| **there != *folder);
                wanted.absent.remove(&path(folder, &name));
                wanted.aside.remove(&path(folder, &name));
            });
        }
        changed
    }

    /// What is in a folder of `repo/` now; an empty one may be gone. `is_result` says whether a hub made it: of
    /// others all RPMs are indexed, of results only what was published.
    pub(super) fn seen(&mut self, folder: &str, is_result: bool, rpms: &[Found]) -> Vec<Path> {
        let mut changed = Vec::new();
        let there: BTreeMap<&str, Stamp> = rpms.iter().map(|found| (&*found.name, found.stamp)).collect();
        if let Some(result) = self.results.get(folder) {
            for name in result.rpms.clone() {
                let at = path(folder, &name);
                let is_there = there.contains_key(&*name);
                if is_there == self.absent.contains(&at) {
                    self.change(&name, &mut changed, |wanted, _| {
                        if is_there {
                            wanted.absent.remove(&at)
                        } else {
                            wanted.absent.insert(at)
                        };
                    });
                }
            }
            return changed;
        }
        let there = if is_result { BTreeMap::new() } else { there };
        let (folder, mut known) =
            self.hands.remove_entry(folder).unwrap_or_else(|| (folder.into(), BTreeMap::new()));
        let gone: Vec<Arc<str>> =
            known.keys().filter(|name| !there.contains_key(&***name)).cloned().collect();
        for name in gone {
            known.remove(&name);
            self.change(&name, &mut changed, |wanted, copies| {
                copies.hands.remove(&folder);
                wanted.aside.remove(&path(&folder, &name));
            });
        }
        for (name, stamp) in there {
            let name: Arc<str> = name.into();
            let old = known.insert(name.clone(), stamp);
            if old == Some(stamp) {
                continue;
            }
            self.change(&name, &mut changed, |wanted, copies| {
                copies.hands.insert(folder.clone());
                wanted.aside.remove(&path(&folder, &name));
            });
            changed.push(path(&folder, &name));
        }
        if !known.is_empty() {
            self.hands.insert(folder, known);
        }
        changed
    }

    /// A path cannot be read: until it changes, it is as if it were not there.
    pub(super) fn set_aside(&mut self, at: &Path) -> Vec<Path> {
        let mut changed = Vec::new();
        let (_, name) = at.rsplit_once('/').unwrap_or(("", at));
        let name: Arc<str> = name.into();
        self.change(&name, &mut changed, |wanted, _| {
            wanted.aside.insert(at.clone());
        });
        changed
    }

    /// Tries again what could not be read.
    pub(super) fn forgive(&mut self) -> Vec<Path> {
        let mut changed = Vec::new();
        for at in self.aside.clone() {
            let (_, name) = at.rsplit_once('/').unwrap_or(("", &at));
            self.change(&name.into(), &mut changed, |wanted, _| {
                wanted.aside.remove(&at);
            });
        }
        changed
    }

    /// All paths that are to be indexed.
    #[cfg(test)]
    pub(super) fn paths(&self) -> Vec<Path> {
        self.names.keys().filter_map(|name| Some(path(self.folder_of(name)?, name))).collect()
    }
}
