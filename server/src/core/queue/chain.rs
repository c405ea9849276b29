//! What waits for what, as the headers hint: the longest chain of build time behind each package.
//!
//! Owns the graph of the packages that wait or are being built, and its longest chains. A package goes behind another
//! if its BuildRequires (or what its last root.log missed) look like something that the other one's source builds: as
//! the repository knows, or by name (`libfoo-devel`, `pkgconfig(foo)`, `perl(Foo::Bar)`). That is a hint for the
//! order and never proof: nothing is held for it.
//!
//! A chain's length is a package's own time and the longest chain of those behind it; packages in a circle count
//! together. Looking at everything takes some 90 ms at 25,000 packages, so it is done only when enough time has passed,
//! and by itself: nobody who is to be given something waits for it. Between two such looks, what is built stops blocking
//! at once.

use std::collections::BTreeMap;

use moji_proto::{FileName, Time};

use super::owners::Owners;
use super::times::Times;
use crate::core::capabilities::Requirement;
use crate::rpmfile::Facts;

/// After a look at everything the next one waits this long for each package, microseconds: it takes a four-hundredth of
/// that, so that fewer than one grant in a hundred meets one, and 40 seconds at 25,000 packages are little beside a build.
const PAUSE_US_EACH: u64 = 1_600;
/// A look at so many takes less than a millisecond: it is done when somebody is to be given something, …
const SMALL: usize = 256;
/// … and the next one sooner.
const SMALL_PAUSE_US_EACH: u64 = 400;
/// A chain that nothing is known of, seconds: any number, since all are alike then.
const UNKNOWN_S: f64 = 60.0;
/// Behind the guesses for each BuildRequires.
pub(super) const END: u32 = u32::MAX;
/// So many words are taken off a name's end to find its source.
const WORDS_OFF_MAX: usize = 4;

/// A package's place in the graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    /// Seconds of build time from its start to the end of the longest chain behind it.
    pub(super) chain_s: u64,
    /// Its own part of that.
    pub(super) own_s: u64,
    /// How many packages look as if they had to be built first.
    pub(super) blocked: u32,
}

/// One package.
#[derive(Debug)]
struct Node {
    name: FileName,
    source: u32,
    /// For each BuildRequires the sources it may come from, the likeliest first, then [`END`].
    needs: Box<[u32]>,
    /// The same for what its last root.log missed.
    missed: Box<[u32]>,
    place: Place,
    /// As its chain, but a circle counts as its longest member, and what was never built as the mean of all that was.
    way_s: f64,
    /// Whether it takes part still.
    is_live: bool,
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
    /// Nodes behind each node, as of the last look at everything: bounds in `behind`.
    bounds: Vec<(u32, u32)>,
    behind: Vec<u32>,
    is_dirty: bool,
    not_before: Time,
}

impl Chain {
    /// A package takes part, if it does not yet.
    pub(super) fn enter(&mut self, name: &FileName, facts: &Facts, owners: &Owners) {
        if self.at.contains_key(name) {
            return;
        }
        let requirements = facts.requires.iter().map(Requirement::of);
        let needs = self.guess(requirements, owners);
        let source = self.source(&facts.nevra.name);
        let number = u32::try_from(self.nodes.len()).expect("fewer than 2^32 packages");
        let (missed, place, way_s) = Default::default();
        self.nodes.push(Node { name: name.clone(), source, needs, missed, place, way_s, is_live: true });
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
        self.nodes[number as usize].is_live = false;
        self.is_dirty = true;
        let (start, end) = self.bounds.get(number as usize).copied().unwrap_or_default();
        let mut free = Vec::new();
        for behind in &self.behind[start as usize..end as usize] {
            let node = &mut self.nodes[*behind as usize];
            node.place.blocked = node.place.blocked.saturating_sub(1);
            if node.place.blocked == 0 && node.is_live {
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
        self.at.get(name).map(|number| self.nodes[*number as usize].place).unwrap_or_default()
    }

    /// Seconds of build time that cannot be shortened by more builders, from its start on; 0 if nothing is known.
    pub(super) fn way_s(&self, name: &FileName) -> f64 {
        self.at.get(name).map_or(0.0, |number| self.nodes[*number as usize].way_s)
    }

    /// How many sources have a number.
    pub(super) fn sources(&self) -> usize {
        self.sources.len()
    }

    /// What a package's needs are guessed to come from; None if it takes no part.
    pub(super) fn guesses(&self, name: &FileName) -> Option<Guesses<'_>> {
        let node = &self.nodes[*self.at.get(name)? as usize];
        Some(Guesses { source: node.source, place: node.place, needs: &node.needs, missed: &node.missed })
    }

    /// The longest chain from a package on, itself first, as of the last look at everything.
    pub(super) fn longest(&self, name: &FileName) -> Vec<&FileName> {
        let mut way: Vec<u32> = self.at.get(name).copied().into_iter().collect();
        while let Some(last) = way.last() {
            let next = self.behind(*last).filter(|one| !way.contains(one));
            match next.max_by_key(|one| self.nodes[*one as usize].place.chain_s) {
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

    /// Nodes behind a node that take part still.
    fn behind(&self, node: u32) -> impl Iterator<Item = u32> {
        let (from, to) = self.bounds.get(node as usize).copied().unwrap_or_default();
        let all = self.behind[from as usize..to as usize].iter().copied();
        all.filter(|one| self.nodes[*one as usize].is_live)
    }

    /// Whether a look at everything is due.
    pub(super) fn is_due(&self, now: Time) -> bool {
        self.is_dirty && now >= self.not_before
    }

    /// Whether a look at everything keeps nobody waiting.
    pub(super) fn is_small(&self) -> bool {
        self.nodes.len() <= SMALL
    }

    /// Looks at everything, if something changed and enough time has passed. Gives the packages whose place is another.
    pub(super) fn look(&mut self, now: Time, times: &Times) -> Vec<FileName> {
        if !self.is_due(now) {
            return Vec::new();
        }
        self.is_dirty = false;
        let pause_us_each = if self.is_small() { SMALL_PAUSE_US_EACH } else { PAUSE_US_EACH };
        self.not_before = now.plus_ms(self.nodes.len() as u64 * pause_us_each / 1_000);
        self.sweep();
        let blocked = self.connect();
        let own = self.own_times(times, times.longest_s());
        let chains = self.chains(&own, |a, b| a + b);
        let ways = self.chains(&self.own_times(times, times.mean_s()), f64::max);
        let mut changed = Vec::new();
        for (number, node) in self.nodes.iter_mut().enumerate() {
            let whole = |seconds: f64| seconds.ceil() as u64;
            let (chain_s, own_s) = (whole(chains[number]), whole(own[number]));
            let place = Place { chain_s, own_s, blocked: blocked[number] };
            node.way_s = ways[number];
            if node.place != place {
                node.place = place;
                changed.push(node.name.clone());
            }
        }
        changed
    }

    /// Takes out nodes that take no part.
    fn sweep(&mut self) {
        if self.at.len() == self.nodes.len() {
            return;
        }
        self.nodes.retain(|node| node.is_live);
        for (number, node) in (0..).zip(&self.nodes) {
            *self.at.get_mut(&node.name).expect("who is live is known") = number;
        }
    }

    /// Finds who is behind whom; gives how many each is behind.
    fn connect(&mut self) -> Vec<u32> {
        const NOBODY: u32 = u32::MAX;
        let mut node_of = vec![NOBODY; self.sources.len()];
        for (number, node) in (0..).zip(&self.nodes) {
            node_of[node.source as usize] = number;
        }
        let mut edges: Vec<(u32, u32)> = Vec::new();
        let mut blocked = vec![0; self.nodes.len()];
        let mut before: Vec<u32> = Vec::new();
        for (number, node) in (0..).zip(&self.nodes) {
            before.clear();
            let needs = [&node.needs, &node.missed].into_iter().flat_map(|of| of.split(|one| *one == END));
            let found = |guesses: &[u32]| {
                let nodes = guesses.iter().map(|source| node_of[*source as usize]);
                nodes.into_iter().find(|node| *node != NOBODY)
            };
            before.extend(needs.filter_map(found).filter(|first| *first != number));
            before.sort_unstable();
            before.dedup();
            blocked[number as usize] = before.len() as u32;
            edges.extend(before.iter().map(|first| (*first, number)));
        }
        edges.sort_unstable();
        self.behind = edges.iter().map(|(_, behind)| *behind).collect();
        self.bounds = vec![(0, 0); self.nodes.len()];
        let mut at = 0;
        for of in edges.chunk_by(|a, b| a.0 == b.0) {
            let end = at + of.len() as u32;
            self.bounds[of[0].0 as usize] = (at, end);
            at = end;
        }
        blocked
    }

    fn own_times(&self, times: &Times, unknown: Option<f64>) -> Vec<f64> {
        let unknown = unknown.unwrap_or(UNKNOWN_S);
        let mut of_source = vec![unknown; self.sources.len()];
        for (name, number) in &self.sources {
            of_source[*number as usize] = times.seconds(name).unwrap_or(unknown);
        }
        self.nodes.iter().map(|node| of_source[node.source as usize]).collect()
    }

    /// Longest chain from each node on: Tarjan's strongly connected components, which come out sinks first. `together`
    /// makes one time of two of a circle.
    fn chains(&self, own: &[f64], together: fn(f64, f64) -> f64) -> Vec<f64> {
        const NEW: u32 = u32::MAX;
        let nodes = self.nodes.len();
        let (mut order, mut low) = (vec![NEW; nodes], vec![0; nodes]);
        let (mut is_open, mut chain) = (vec![false; nodes], vec![0.0_f64; nodes]);
        let (mut next, mut open): (u32, Vec<u32>) = (0, Vec::new());
        // A node and how many of those behind it were looked at.
        let mut path: Vec<(u32, u32)> = Vec::new();
        for start in 0..nodes as u32 {
            if order[start as usize] == NEW {
                path.push((start, 0));
            }
            while let Some((node, seen)) = path.last_mut() {
                let at = *node as usize;
                if *seen == 0 && order[at] == NEW {
                    (order[at], low[at], is_open[at]) = (next, next, true);
                    next += 1;
                    open.push(*node);
                }
                let (from, to) = self.bounds[at];
                if let Some(&behind) = self.behind[from as usize..to as usize].get(*seen as usize) {
                    *seen += 1;
                    if order[behind as usize] == NEW {
                        path.push((behind, 0));
                    } else if is_open[behind as usize] {
                        low[at] = low[at].min(order[behind as usize]);
                    }
                    continue;
                }
                path.pop();
                if let Some((before, _)) = path.last() {
                    low[*before as usize] = low[*before as usize].min(low[at]);
                }
                if low[at] == order[at] {
                    let circle = open.iter().rposition(|one| *one as usize == at).expect("it is open");
                    self.close(&open[circle..], own, together, &mut chain);
                    open.drain(circle..).for_each(|one| is_open[one as usize] = false);
                }
            }
        }
        chain
    }

    /// All of a circle have the same chain: their times together, and the longest chain behind any of them. (While
    /// a circle is open its chains are 0.)
    fn close(&self, circle: &[u32], own: &[f64], together: fn(f64, f64) -> f64, chain: &mut [f64]) {
        let own_s = circle.iter().map(|one| own[*one as usize]).fold(0.0, together);
        let behind = circle.iter().flat_map(|one| {
            let (from, to) = self.bounds[*one as usize];
            &self.behind[from as usize..to as usize]
        });
        let longest = behind.map(|one| chain[*one as usize]).fold(0.0, f64::max);
        circle.iter().for_each(|one| chain[*one as usize] = own_s + longest);
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

/// Names that the source of a capability may have, the likeliest first.
pub(super) fn sources_of(capability: &str) -> Vec<String> {
    if let Some((_, file)) = capability.rsplit_once('/') {
        return shorter(file);
    }
    let Some((kind, rest)) = capability.split_once('(') else { return shorter(capability) };
    let inside = rest.split([')', '(']).next().unwrap_or("").trim();
    let dashed = || inside.replace("::", "-").replace(['/', '.', ':'], "-");
    let with = |prefixes: &[&str]| prefixes.iter().map(|prefix| format!("{prefix}{}", dashed())).collect();
    match kind {
        "pkgconfig" | "cmake" => {
            let plain = inside.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
            let names = [inside, plain].into_iter().flat_map(|name| [name.to_owned(), format!("lib{name}")]);
            names.chain([inside.to_lowercase()]).chain(shorter(inside)).collect()
        }
        "perl" => with(&["perl-"]),
        "rubygem" => with(&["rubygem-"]),
        "npm" => with(&["nodejs-", ""]),
        "tex" => vec!["texlive".to_owned()],
        "golang" => with(&["golang-", ""]),
        _ if kind.starts_with("python") && kind.ends_with("dist") => with(&["python-", "python3-", ""]),
        // A library: `libfoo.so.1()(64bit)`.
        _ if kind.contains(".so") => {
            let stem = kind.split(".so").next().unwrap_or(kind);
            let plain = stem.strip_prefix("lib").unwrap_or(stem);
            vec![stem.to_owned(), plain.to_owned()]
        }
        _ => shorter(kind),
    }
}

/// A name, and what is left of it when words are taken off its end: `foo-bar-devel`, `foo-bar`, `foo`.
fn shorter(name: &str) -> Vec<String> {
    let mut all = vec![name.to_owned()];
    let mut rest = name;
    while let Some((shorter, _)) = rest.rsplit_once('-').filter(|(shorter, _)| !shorter.is_empty())
        && all.len() <= WORDS_OFF_MAX
    {
        all.push(shorter.to_owned());
        rest = shorter;
    }
    all
}

#[cfg(test)]
mod tests;
