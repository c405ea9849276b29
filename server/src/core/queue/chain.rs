//! What waits for what, as the headers hint: the longest chain of build time behind each package.
//!
//! Owns the graph of the packages that wait or are being built, and its longest chains. A package goes behind another
//! if its BuildRequires (or what its last root.log missed) look like something that the other one's source builds: as
//! the repository knows, or by name (`libfoo-devel`, `pkgconfig(foo)`, `perl(Foo::Bar)`). That is a hint for the
//! order and never proof: nothing is held for it.
//!
//! A chain's length is a package's own time and the longest chain of those behind it; packages in a circle count
//! together. Looking at everything takes some 90 ms at 25,000 packages, so it is done only when enough time has passed,
//! and in pieces of less than a millisecond, so that nobody who is to be given something waits for it. Between two such
//! looks, what is built stops blocking at once.
//!
//! | file | owns |
//! |---|---|
//! | `chain/look.rs` | the look at everything, a piece at a time |
//! | `chain/search.rs` | the longest chains in it |
//! | `chain/names.rs` | which source a capability may come from, by its name |

use std::collections::BTreeMap;

use moji_proto::{FileName, Time};

use self::look::Look;
pub(super) use self::names::sources_of;
use super::owners::Owners;
use super::times::Times;
use crate::core::capabilities::Requirement;
use crate::rpmfile::Facts;

mod look;
mod names;
mod search;

/// After a look at everything the next one waits this long for each package, microseconds: it takes a four-hundredth of
/// that, and 40 seconds at 25,000 packages are little beside a build.
const PAUSE_US_EACH: u64 = 1_600;
/// A look at so many takes less than a millisecond: it is done when somebody is to be given something, …
const SMALL: usize = 256;
/// … and the next one sooner.
const SMALL_PAUSE_US_EACH: u64 = 400;
/// So much of a larger one is done at a time: less than half a millisecond.
const PIECE_STEPS: usize = 10_000;
/// A chain that nothing is known of, seconds: any number, since all are alike then.
const UNKNOWN_S: f64 = 60.0;
/// Behind the guesses for each BuildRequires.
pub(super) const END: u32 = u32::MAX;

/// A package's place in the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Seconds of build time from its start to the end of the longest chain behind it.
    pub(super) chain_s: u64,
    /// Its own part of that; what was never built counts as the longest that was.
    pub(super) own_s: u64,
    /// What it takes by itself, for all that is known: a guess from its size if it was never built.
    pub(super) likely_s: u64,
    /// How many packages look as if they had to be built first.
    pub(super) blocked: u32,
}

/// One package.
#[derive(Debug)]
struct Node {
    name: FileName,
    source: u32,
    /// What its source is called.
    called: Box<str>,
    /// Of its SRPM.
    bytes: u64,
    /// For each BuildRequires the sources it may come from, the likeliest first, then [`END`].
    needs: Box<[u32]>,
    /// The same for what its last root.log missed.
    missed: Box<[u32]>,
    /// Whether it takes part still.
    is_live: bool,
}

/// Who is behind whom, as a look found it. Some may take no part any more.
#[derive(Debug, Default)]
struct Graph {
    /// Of each node, where those behind it are.
    bounds: Vec<(u32, u32)>,
    behind: Vec<u32>,
}

impl Graph {
    fn behind(&self, node: u32) -> &[u32] {
        let (from, to) = self.bounds.get(node as usize).copied().unwrap_or_default();
        &self.behind[from as usize..to as usize]
    }
}

/// Numbers of sources that a package's BuildRequires may come from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guesses<'a> {
    /// Its own source.
    pub(super) source: u32,
    pub(super) place: Place,
    /// For each name in each of its header's BuildRequires, in their order, the likeliest first, then [`END`].
    pub(super) needs: &'a [u32],
    /// The same for what its last root.log missed.
    pub(super) missed: &'a [u32],
}

/// The graph.
#[derive(Debug, Default)]
pub(super) struct Chain {
    /// Numbers of sources' names.
    sources: BTreeMap<Box<str>, u32>,
    nodes: Vec<Node>,
    at: BTreeMap<FileName, u32>,
    /// Of each node, as of the last look at everything; and the graph that it found.
    places: Vec<Place>,
    /// As its chain, but a circle counts as its longest member, and each takes what it is likely to take, seconds.
    ways: Vec<f64>,
    graph: Graph,
    /// Of each node one of those that it is in a circle with: the same for all of them.
    circles: Vec<u32>,
    /// Nodes that took no part any more when that look began: others may have their numbers.
    free: Vec<u32>,
    /// Those that have gone since.
    gone: Vec<u32>,
    /// Whose place that look changed, as far as nobody was told yet.
    moved: Vec<u32>,
    /// The look that is not over yet.
    look: Option<Box<Look>>,
    is_dirty: bool,
    not_before: Time,
    /// When the next piece of a look is wanted.
    again: Option<Time>,
}

impl Chain {
    /// A package takes part, if it does not yet; its SRPM has so many bytes.
    pub(super) fn enter(&mut self, name: &FileName, facts: &Facts, bytes: u64, owners: &Owners) {
        if self.at.contains_key(name) {
            return;
        }
        let requirements = facts.requires.iter().map(Requirement::of);
        let needs = self.guess(requirements, owners);
        let called: Box<str> = facts.nevra.name.as_str().into();
        let (source, missed) = (self.source(&called), Box::default());
        let node = Node { name: name.clone(), source, called, bytes, needs, missed, is_live: true };
        let number = match self.free.pop() {
            Some(number) => {
                self.nodes[number as usize] = node;
                self.ways[number as usize] = 0.0;
                number
            }
            None => {
                self.nodes.push(node);
                self.places.push(Place::default());
                self.ways.push(0.0);
                u32::try_from(self.nodes.len() - 1).expect("fewer than 2^32 packages")
            }
        };
        self.at.insert(name.clone(), number);
        self.is_dirty = true;
    }

    /// Its last root.log missed these.
    pub(super) fn missed(&mut self, name: &FileName, names: &[String], owners: &Owners) {
        let missed = self.guess(names.iter().map(|name| Requirement::parse(name)), owners);
        if let Some(node) = self.at.get(name).map(|number| &mut self.nodes[*number as usize]) {
            node.missed = missed;
            self.is_dirty = true;
        }
    }

    /// A package takes part no longer. Gives those that nothing blocks any more.
    pub(super) fn leave(&mut self, name: &FileName) -> Vec<FileName> {
        let Some(number) = self.at.remove(name) else { return Vec::new() };
        let node = &mut self.nodes[number as usize];
        (node.is_live, node.needs, node.missed) = (false, Box::default(), Box::default());
        self.places[number as usize] = Place::default();
        self.gone.push(number);
        self.is_dirty = true;
        if let Some(look) = &mut self.look {
            look.touched(self.graph.behind(number));
        }
        let mut free = Vec::new();
        for behind in self.graph.behind(number) {
            let (node, place) = (&self.nodes[*behind as usize], &mut self.places[*behind as usize]);
            place.blocked = place.blocked.saturating_sub(1);
            if place.blocked == 0 && node.is_live {
                free.push(node.name.clone());
            }
        }
        free
    }

    /// Times have changed.
    pub(super) fn touch(&mut self) {
        self.is_dirty = true;
    }

    /// Where a package is.
    pub(super) fn place(&self, name: &FileName) -> Place {
        self.at.get(name).map(|number| self.places[*number as usize]).unwrap_or_default()
    }

    /// Seconds of build time that cannot be shortened by more builders, from its start on; 0 if nothing is known.
    pub(super) fn way_s(&self, name: &FileName) -> f64 {
        self.at.get(name).map_or(0.0, |number| self.ways[*number as usize])
    }

    /// Those in one circle with a package, itself too, as of the last look at everything.
    pub(super) fn circle(&self, name: &FileName) -> Vec<&FileName> {
        let circle = |number: u32| self.circles.get(number as usize);
        let Some(own) = self.at.get(name).and_then(|number| circle(*number)) else { return Vec::new() };
        let all =
            (0..).zip(&self.nodes).filter(|(number, node)| node.is_live && circle(*number) == Some(own));
        all.map(|(_, node)| &node.name).collect()
    }

    /// Numbers of the sources of all that take part.
    pub(super) fn live_sources(&self) -> impl Iterator<Item = u32> {
        self.nodes.iter().filter(|node| node.is_live).map(|node| node.source)
    }

    /// How many sources have a number.
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// What a package's needs are guessed to come from; None if it takes no part.
    pub(super) fn guesses(&self, name: &FileName) -> Option<Guesses<'_>> {
        let number = *self.at.get(name)? as usize;
        let (node, place) = (&self.nodes[number], self.places[number]);
        Some(Guesses { source: node.source, place, needs: &node.needs, missed: &node.missed })
    }

    /// The longest chain from a package on, itself first, as of the last look at everything.
    pub(super) fn longest(&self, name: &FileName) -> Vec<&FileName> {
        let mut way: Vec<u32> = self.at.get(name).copied().into_iter().collect();
        while let Some(last) = way.last() {
            let next = self.behind(*last).filter(|one| !way.contains(one));
            match next.max_by_key(|one| self.places[*one as usize].chain_s) {
                Some(next) => way.push(next),
                None => break,
            }
        }
        way.into_iter().map(|one| &self.nodes[one as usize].name).collect()
    }

    /// Packages that look as if they had to be built before this one, as of the last look at everything.
    pub(super) fn first(&self, name: &FileName) -> Vec<&FileName> {
        let Some(number) = self.at.get(name) else { return Vec::new() };
        let is_first = |one: &u32| self.behind(*one).any(|behind| behind == *number);
        let live = (0..self.nodes.len() as u32).filter(|one| self.nodes[*one as usize].is_live);
        live.filter(is_first).map(|one| &self.nodes[one as usize].name).collect()
    }

    /// Packages that look as if they needed this one, as of the last look at everything.
    pub(super) fn waiting_for(&self, name: &FileName) -> impl Iterator<Item = &FileName> {
        let behind = self.at.get(name).into_iter().flat_map(|number| self.behind(*number));
        behind.map(|one| &self.nodes[one as usize].name)
    }

    /// Nodes behind a node that take part still.
    fn behind(&self, node: u32) -> impl Iterator<Item = u32> {
        self.graph.behind(node).iter().copied().filter(|one| self.nodes[*one as usize].is_live)
    }

    /// Whether a look at everything is due: something changed, and enough time has passed.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.is_dirty && now >= self.not_before && !self.is_under_way()
    }

    /// The next look is due as soon as anything has changed.
    pub(super) fn hurry(&mut self) {
        self.not_before = Time(0);
    }

    /// Whether a look has begun, and not everything came of it yet.
    pub(super) fn is_under_way(&self) -> bool {
        self.look.is_some() || !self.moved.is_empty()
    }

    /// Whether a look at everything keeps nobody waiting.
    pub(super) fn is_small(&self) -> bool {
        self.at.len() <= SMALL
    }

    /// When the next piece of a look is wanted, if that is now or soon.
    pub(super) fn again(&self) -> Option<Time> {
        self.again
    }

    /// Plans the next piece, if there is any to do: whoever is to be given something comes first.
    pub(super) fn plan(&mut self, now: Time) {
        let is_any = self.is_under_way() || self.is_due(now) && !self.is_small();
        self.again = is_any.then(|| self.again.unwrap_or(now.plus_ms(1)));
    }

    /// Does a piece of a look. Gives packages whose place is another.
    pub(super) fn piece(&mut self, now: Time, times: &Times) -> Vec<FileName> {
        self.again = None;
        self.begin_if_due(now, times);
        self.go_on(times, PIECE_STEPS)
    }

    /// Does a whole look, if one is due or under way. Gives the packages whose place is another.
    pub(super) fn look(&mut self, now: Time, times: &Times) -> Vec<FileName> {
        self.begin_if_due(now, times);
        self.go_on(times, usize::MAX)
    }

    fn begin_if_due(&mut self, now: Time, times: &Times) {
        if self.is_due(now) {
            self.is_dirty = false;
            let pause_us_each = if self.is_small() { SMALL_PAUSE_US_EACH } else { PAUSE_US_EACH };
            self.not_before = now.plus_ms(self.at.len() as u64 * pause_us_each / 1_000);
            self.begin(times);
        }
    }

    fn source(&mut self, name: &str) -> u32 {
        if let Some(number) = self.sources.get(name) {
            return *number;
        }
        let number = u32::try_from(self.sources.len()).expect("fewer than 2^32 names");
        self.sources.insert(name.into(), number);
        number
    }

    fn guess(&mut self, requirements: impl Iterator<Item = Requirement>, owners: &Owners) -> Box<[u32]> {
        let mut all = Vec::new();
        for requirement in requirements {
            for atom in requirement.atoms() {
                let known = owners.source_of(&atom.name).map(str::to_owned);
                for source in known.into_iter().chain(sources_of(&atom.name)) {
                    all.push(self.source(&source));
                }
                all.push(END);
            }
        }
        all.into()
    }
}

#[cfg(test)]
mod tests;
