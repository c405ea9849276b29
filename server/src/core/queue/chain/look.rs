//! The look at everything, a piece at a time.
//!
//! Owns what is worked out between the first piece and the last: who is behind whom, and the longest chains. Until then
//! everybody goes by what the look before found. A package that comes meanwhile is for the next look; one that goes is
//! taken out of what this one found when it is over, so that nothing waits behind what is gone.
//!
//! ```text
//! Longest → Own → Connect → Fill → Chains → Places → over; then who moved is told, some at a time
//! ```

use moji_proto::FileName;

use super::super::guess::{Sizes, seconds_of};
use super::super::times::{Built, Times};
use super::search::Search;
use super::{Chain, END, Graph, Node, Place, UNKNOWN_S};

/// Nobody.
const NOBODY: u32 = u32::MAX;
/// What is looked up by name costs as much as so many numbers that are looked up.
const BY_NAME: usize = 16;
/// So much costs whoever is put in another place.
const MOVED: usize = 256;

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The longest build of all and their mean are looked for.
    Longest,
    /// What each takes itself.
    Own,
    /// Whom each is behind.
    Connect,
    /// Who is behind each.
    Fill,
    /// The longest chains.
    Chains,
    /// What each comes to.
    Places,
}

/// A look that has begun.
#[derive(Debug)]
pub(super) struct Look {
    phase: Phase,
    /// The next node in this phase.
    at: usize,
    /// The last source whose builds were looked at.
    source: Option<Box<str>>,
    /// Who took part when it began.
    is_in: Vec<bool>,
    /// Nodes that took no part any more then.
    gone: Vec<u32>,
    /// The node of each source.
    node_of: Vec<u32>,
    built: Built,
    sizes: Option<Sizes>,
    own: Vec<f64>,
    likely: Vec<f64>,
    /// The same, but the mean of all where nothing can be guessed.
    mean: Vec<f64>,
    /// Whom each is behind, one node's after the other's, and where each node's end.
    firsts: Vec<u32>,
    ends: Vec<u32>,
    graph: Graph,
    search: Search,
    places: Vec<Place>,
    /// Whose place is another.
    moved: Vec<u32>,
}

impl Chain {
    /// Begins a look.
    pub(super) fn begin(&mut self, times: &Times) {
        let nodes = self.nodes.len();
        let mut node_of = vec![NOBODY; self.sources.len()];
        for (number, node) in (0..).zip(&self.nodes).filter(|(_, node)| node.is_live) {
            node_of[node.source as usize] = number;
        }
        self.look = Some(Box::new(Look {
            phase: Phase::Longest,
            at: 0,
            source: None,
            is_in: self.nodes.iter().map(|node| node.is_live).collect(),
            gone: std::mem::take(&mut self.gone),
            node_of,
            built: Built::default(),
            sizes: times.sizes(),
            own: Vec::with_capacity(nodes),
            likely: Vec::with_capacity(nodes),
            mean: Vec::with_capacity(nodes),
            firsts: Vec::new(),
            ends: Vec::with_capacity(nodes),
            graph: Graph::default(),
            search: Search::new(nodes),
            places: Vec::with_capacity(nodes),
            moved: Vec::new(),
        }));
    }

    /// Goes on with the look, for about so many steps, each as long as it takes to look a number up. Gives packages whose
    /// place is another: when the look is over, some of them each time.
    pub(super) fn go_on(&mut self, times: &Times, steps: usize) -> Vec<FileName> {
        let mut left = steps;
        if let Some(mut look) = self.look.take() {
            if !look.go_on(self, times, &mut left) {
                self.look = Some(look);
                return Vec::new();
            }
            self.finish(*look);
        }
        let count = self.moved.len().min((left / MOVED).max(1));
        let moved = self.moved.split_off(self.moved.len() - count);
        let nodes = moved.into_iter().map(|number| &self.nodes[number as usize]);
        nodes.filter(|node| node.is_live).map(|node| node.name.clone()).collect()
    }

    /// Takes what the look found.
    fn finish(&mut self, look: Look) {
        (self.graph, self.places, self.moved) = (look.graph, look.places, look.moved);
        self.circles = look.search.circle;
        self.places.resize(self.nodes.len(), Place::default());
        self.ways = look.search.way;
        self.ways.resize(self.nodes.len(), 0.0);
        for number in &self.gone {
            self.places[*number as usize] = Place::default();
            for behind in self.graph.behind(*number) {
                let blocked = &mut self.places[*behind as usize].blocked;
                *blocked = blocked.saturating_sub(1);
                self.moved.push(*behind);
            }
        }
        self.free.extend(look.gone);
    }
}

impl Look {
    /// Somebody went: these may have moved.
    pub(super) fn touched(&mut self, nodes: &[u32]) {
        self.moved.extend(nodes);
    }

    /// Does as much as it may; whether that was all.
    fn go_on(&mut self, chain: &Chain, times: &Times, left: &mut usize) -> bool {
        loop {
            let is_done = match self.phase {
                Phase::Longest => self.find_longest(times, left),
                Phase::Own => self.each(left, |look, node| look.time(&chain.nodes[node], node, times)),
                Phase::Connect => self.each(left, |look, node| look.connect(&chain.nodes[node], node)),
                Phase::Fill => self.each(left, Look::fill),
                Phase::Chains => self.search.go_on(&self.graph, &self.own, &self.mean, left),
                Phase::Places => {
                    self.each(left, |look, node| look.place(chain.places.get(node).copied(), node))
                }
            };
            if !is_done {
                return false;
            }
            self.phase = match self.phase {
                Phase::Longest => Phase::Own,
                Phase::Own => Phase::Connect,
                Phase::Connect => {
                    self.lay_out();
                    Phase::Fill
                }
                Phase::Fill => Phase::Chains,
                Phase::Chains => Phase::Places,
                Phase::Places => return true,
            };
        }
    }

    /// Does this for each node, which says how many steps it took; whether for the last, too.
    fn each(&mut self, left: &mut usize, mut work: impl FnMut(&mut Look, usize) -> usize) -> bool {
        while self.at < self.is_in.len() {
            if *left == 0 {
                return false;
            }
            let steps = work(self, self.at);
            *left = left.saturating_sub(steps);
            self.at += 1;
        }
        self.at = 0;
        true
    }

    fn find_longest(&mut self, times: &Times, left: &mut usize) -> bool {
        let count = (*left / BY_NAME).max(1);
        self.source = times.add_after(self.source.as_deref(), count, &mut self.built);
        *left = if self.source.is_none() { *left } else { 0 };
        self.source.is_none()
    }

    /// For the order what was never built counts as the longest that was.
    fn time(&mut self, node: &Node, number: usize, times: &Times) -> usize {
        let known = if self.is_in[number] { times.seconds(&node.called) } else { Some(0.0) };
        let own = known.or(self.built.longest_s()).unwrap_or(UNKNOWN_S);
        let guessed = known.or_else(|| Some(seconds_of(self.sizes?, node.bytes)));
        let likely = guessed.unwrap_or(own);
        self.mean.push(guessed.or(self.built.mean_s()).unwrap_or(own));
        self.own.push(own);
        self.likely.push(likely);
        BY_NAME
    }

    fn connect(&mut self, node: &Node, number: usize) -> usize {
        let from = self.firsts.len();
        let needs = if self.is_in[number] { [&*node.needs, &*node.missed] } else { [&[][..]; 2] };
        let found = |guesses: &[u32]| {
            // A source that came later has no number here.
            let nodes = guesses.iter().map(|source| self.node_of.get(*source as usize).copied());
            nodes.flatten().find(|node| *node != NOBODY)
        };
        let all = needs.into_iter().flat_map(|of| of.split(|one| *one == END));
        let mut firsts: Vec<u32> = all.filter_map(found).filter(|first| *first as usize != number).collect();
        firsts.sort_unstable();
        firsts.dedup();
        self.firsts.extend(&firsts);
        self.ends.push(self.firsts.len() as u32);
        1 + needs.iter().map(|of| of.len()).sum::<usize>() + self.firsts.len() - from
    }

    /// Makes room for those behind each.
    fn lay_out(&mut self) {
        let mut bounds = vec![(0, 0); self.is_in.len()];
        self.firsts.iter().for_each(|first| bounds[*first as usize].1 += 1);
        let mut at = 0;
        for (from, to) in &mut bounds {
            // Both are where the first goes; `fill` moves the end.
            let count = std::mem::replace(to, at);
            *from = at;
            at += count;
        }
        self.graph = Graph { bounds, behind: vec![NOBODY; self.firsts.len()] };
    }

    fn firsts_of(&self, node: usize) -> std::ops::Range<usize> {
        let from = node.checked_sub(1).map_or(0, |before| self.ends[before]);
        from as usize..self.ends[node] as usize
    }

    fn fill(&mut self, node: usize) -> usize {
        let range = self.firsts_of(node);
        for first in &self.firsts[range.clone()] {
            let (_, end) = &mut self.graph.bounds[*first as usize];
            self.graph.behind[*end as usize] = node as u32;
            *end += 1;
        }
        1 + range.len()
    }

    fn place(&mut self, before: Option<Place>, node: usize) -> usize {
        let whole = |seconds: f64| seconds.ceil() as u64;
        let place = Place {
            chain_s: whole(self.search.chain[node]),
            own_s: whole(self.own[node]),
            likely_s: whole(self.likely[node]),
            blocked: self.firsts_of(node).len() as u32,
        };
        if before.unwrap_or_default() != place {
            self.moved.push(node as u32);
        }
        self.places.push(place);
        2
    }
}
