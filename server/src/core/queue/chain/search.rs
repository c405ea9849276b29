//! Longest chains, a piece at a time.
//!
//! Owns the search: Tarjan's strongly connected components, which come out sinks first. Packages in a circle count
//! together: all of them have the same chain, their times and the longest chain behind any of them.

use super::Graph;

/// A node that was not looked at yet.
const NEW: u32 = u32::MAX;

/// A search.
#[derive(Debug)]
pub(super) struct Search {
    /// The longest chain from each node on, seconds; 0 until it is known.
    pub(super) chain: Vec<f64>,
    /// The longest way from each node on, seconds: as its chain, but a circle counts as its longest member.
    pub(super) way: Vec<f64>,
    /// One of those in a circle with each node, the same for all of them.
    pub(super) circle: Vec<u32>,
    order: Vec<u32>,
    low: Vec<u32>,
    is_open: Vec<bool>,
    open: Vec<u32>,
    /// A node and how many of those behind it were looked at.
    path: Vec<(u32, u32)>,
    /// The next number in the order, and the next node to start at.
    next: u32,
    start: usize,
}

impl Search {
    /// Of so many nodes.
    pub(super) fn new(nodes: usize) -> Search {
        Search {
            chain: vec![0.0; nodes],
            way: vec![0.0; nodes],
            circle: vec![NEW; nodes],
            order: vec![NEW; nodes],
            low: vec![0; nodes],
            is_open: vec![false; nodes],
            open: Vec::new(),
            path: Vec::new(),
            next: 0,
            start: 0,
        }
    }

    /// Does so many steps at most, of nodes that take so many seconds each in a chain and in a way; whether those were all.
    pub(super) fn go_on(&mut self, graph: &Graph, own: &[f64], mean: &[f64], left: &mut usize) -> bool {
        loop {
            let Some((node, seen)) = self.path.last_mut() else {
                if self.start == self.order.len() {
                    return true;
                }
                if self.order[self.start] == NEW {
                    self.path.push((self.start as u32, 0));
                }
                self.start += 1;
                continue;
            };
            if *left == 0 {
                return false;
            }
            *left -= 1;
            let (number, at) = (*node, *node as usize);
            if *seen == 0 && self.order[at] == NEW {
                (self.order[at], self.low[at], self.is_open[at]) = (self.next, self.next, true);
                self.next += 1;
                self.open.push(number);
            }
            if let Some(&behind) = graph.behind(number).get(*seen as usize) {
                *seen += 1;
                if self.order[behind as usize] == NEW {
                    self.path.push((behind, 0));
                } else if self.is_open[behind as usize] {
                    self.low[at] = self.low[at].min(self.order[behind as usize]);
                }
                continue;
            }
            self.path.pop();
            if let Some((before, _)) = self.path.last() {
                self.low[*before as usize] = self.low[*before as usize].min(self.low[at]);
            }
            if self.low[at] == self.order[at] {
                let circle = self.close(number, graph, own, mean);
                *left = left.saturating_sub(circle);
            }
        }
    }

    /// A circle is complete, and what is behind it was complete before. Gives how many nodes and ways it has.
    fn close(&mut self, node: u32, graph: &Graph, own: &[f64], mean: &[f64]) -> usize {
        let from = self.open.iter().rposition(|one| *one == node).expect("it is open");
        let circle = self.open.split_off(from);
        let together: f64 = circle.iter().map(|one| own[*one as usize]).sum();
        let hardest = circle.iter().map(|one| mean[*one as usize]).fold(0.0, f64::max);
        let behind = || circle.iter().flat_map(|one| graph.behind(*one));
        // While a circle is open its chains are 0.
        let longest = behind().map(|one| self.chain[*one as usize]).fold(0.0, f64::max);
        let way = behind().map(|one| self.way[*one as usize]).fold(0.0, f64::max);
        let steps = circle.len() + behind().count();
        for one in circle {
            self.chain[one as usize] = together + longest;
            self.way[one as usize] = hardest + way;
            self.circle[one as usize] = node;
            self.is_open[one as usize] = false;
        }
        steps
    }
}
