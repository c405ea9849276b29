//! The order in which packages are leased.
//!
//! Owns `priority.txt` as it is now and the sorted set of packages that wait. First come its lines, then what builders
//! gave back, then what was never tried: the longest chain of build time behind a package first, then the largest
//! SRPM, then the file name, and behind all of those what looks as if something that waits had to be built before
//! it. Last comes what has failed for a BuildRequires before and is tried blindly, seldom first, so that retries
//! never keep a new package waiting.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use moji_proto::FileName;

use super::chain::{Chain, Place};
use super::package::Package;

/// A package's place; the smallest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Line of `priority.txt`, from 0.
    Listed(usize),
    /// Given back; the earliest first.
    Released(u64),
    /// Nothing special.
    Plain(Weight),
    /// Something that waits looks as if it had to be built before.
    Behind(Weight),
    /// So many times a BuildRequires was missing.
    Again(u32),
}

/// What goes first where nothing else decides: the longer chain, the larger SRPM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight {
    chain_s: Reverse<u64>,
    size: Reverse<u64>,
}

/// All packages that wait, in order.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Line of each name of `priority.txt`, without `.src.rpm`.
    listed: BTreeMap<String, usize>,
    waiting: BTreeSet<(Rank, FileName)>,
    rank_of: BTreeMap<FileName, Rank>,
}

impl Order {
    /// Whether `priority.txt` names nothing.
    pub(super) fn has_no_list(&self) -> bool {
        self.listed.is_empty()
    }

    /// Takes a new `priority.txt`, first line first; of a name that stands twice the first counts.
    pub(super) fn list(&mut self, names: &[String], packages: &BTreeMap<FileName, Package>, chain: &Chain) {
        self.listed.clear();
        for (line, name) in names.iter().enumerate() {
            self.listed.entry(stem(name).to_owned()).or_insert(line);
        }
        let waiting: Vec<FileName> = self.rank_of.keys().cloned().collect();
        for name in waiting {
            if let Some(package) = packages.get(&name) {
                self.insert(&name, package, chain.place(&name));
            }
        }
    }

    /// Its line in `priority.txt`, from 1.
    pub(super) fn line_of(&self, name: &FileName) -> Option<usize> {
        self.listed.get(stem(name.as_str())).map(|line| line + 1)
    }

    /// Puts a package that waits in its place, also if it has another already.
    pub(super) fn insert(&mut self, name: &FileName, package: &Package, place: Place) {
        let size = package.srpm.as_ref().map_or(0, |srpm| srpm.size);
        let weight = Weight { chain_s: Reverse(place.chain_s), size: Reverse(size) };
        let rank = match (self.listed.get(stem(name.as_str())), package.released, package.past.deps) {
            (Some(line), _, _) => Rank::Listed(*line),
            (None, Some(turn), _) => Rank::Released(turn),
            (None, None, 0) if place.blocked == 0 => Rank::Plain(weight),
            (None, None, 0) => Rank::Behind(weight),
            (None, None, times) => Rank::Again(times),
        };
        if self.rank_of.get(name) == Some(&rank) {
            return;
        }
        self.remove(name);
        self.waiting.insert((rank, name.clone()));
        self.rank_of.insert(name.clone(), rank);
    }

    /// Takes out a package that no longer waits.
    pub(super) fn remove(&mut self, name: &FileName) {
        if let Some(rank) = self.rank_of.remove(name) {
            self.waiting.remove(&(rank, name.clone()));
        }
    }

    /// Whether the package waits.
    pub(super) fn has(&self, name: &FileName) -> bool {
        self.rank_of.contains_key(name)
    }

    /// How many stand before a package that waits, and why it stands there.
    pub(super) fn place_of(&self, name: &FileName) -> Option<(usize, Rank)> {
        let rank = *self.rank_of.get(name)?;
        let at = self.waiting.iter().position(|(_, one)| one == name)?;
        Some((at, rank))
    }

    /// Those that wait with their ranks, next first.
    pub(super) fn ranked(&self) -> impl Iterator<Item = &(Rank, FileName)> {
        self.waiting.iter()
    }

    /// Those that wait behind `last`, or all, with their ranks, next first.
    pub(super) fn after(&self, last: Option<&(Rank, FileName)>) -> impl Iterator<Item = &(Rank, FileName)> {
        self.waiting.range((last.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded))
    }

    /// Those that wait, next first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &FileName> {
        self.waiting.iter().map(|(_, name)| name)
    }
}

/// A file name without `.src.rpm` or `.nosrc.rpm`: what glob patterns and `priority.txt` may leave out.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix(".nosrc.rpm").or_else(|| name.strip_suffix(".src.rpm")).unwrap_or(name)
}
