//! What waits for each other, and the least that must come from elsewhere to end that.
//!
//! Owns the search for cycles in a graph of *needs*: a node needs one of each of its groups of nodes (several in a group
//! are alternatives). A node that needs nothing is done, and so is one with a done node in each group; what never gets
//! done so is *stuck*. A cycle is a set of stuck nodes each of which needs any other, directly or not, and which would
//! be stuck although all the rest were done. A node is *imported* when it counts as done whatever it needs: the
//! smallest set of imports that leaves nobody stuck is, where there are no alternatives, a minimum feedback vertex set.
//! Pure: knows nothing of packages.
//!
//! The exact search branches over *witnesses*: nodes that are stuck by each other alone, with none to spare. One of a
//! witness must be imported, whatever else is, so witnesses that share no node bound from below how many are needed.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A cycle of so many nodes gets the smallest set of imports, a larger one a small one: the search takes milliseconds for
/// any graph of this size, and may take twice as long with each node more.
pub(super) const EXACT_MAX: usize = 20;
/// Imports that are not needed are looked for while this many looks at a need are not used up: some tenths of a second.
const SPARE_LOOKS: usize = 20_000_000;

/// Of each node its groups.
pub(super) type Needs = Vec<Vec<Vec<u32>>>;

/// Nodes that wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cycle {
    /// All of them: a way round first, then the others by number.
    pub(super) members: Vec<u32>,
    /// Those to import, by number.
    pub(super) imports: Vec<u32>,
    /// Whether no fewer would do.
    pub(super) exact: bool,
}

/// All cycles. Each name is a number below `needs.len()`.
pub(super) fn cycles(needs: Needs) -> Vec<Cycle> {
    let all = (0..needs.len() as u32).collect();
    let mut found = Vec::new();
    let mut left: Vec<(Needs, Vec<u32>)> = vec![(needs, all)];
    while let Some((needs, names)) = left.pop() {
        let before = needs.len();
        let stuck = Flow::new(&needs).stuck();
        let inside = induced(&needs, &stuck);
        for set in components(&inside) {
            // Whoever has a way out of the set is not held up by it.
            let inside = induced(&inside, &set);
            let names: Vec<u32> = set.iter().map(|one| names[stuck[*one as usize] as usize]).collect();
            if set.len() < before {
                left.push((inside, names));
                continue;
            }
            let (imports, exact) = imports(&inside);
            let named = |nodes: Vec<u32>| nodes.into_iter().map(|node| names[node as usize]).collect();
            found.push(Cycle { members: named(way_round(&inside)), imports: named(imports), exact });
        }
    }
    found
}

/// Nodes as they get done.
struct Flow {
    /// Groups of each node that have no done node.
    open: Vec<u32>,
    /// Whose group each is; None once it has a done node.
    owner: Vec<Option<u32>>,
    /// Groups that each node is in.
    users: Vec<Vec<u32>>,
    is_done: Vec<bool>,
    left: usize,
}

impl Flow {
    /// All that gets done without imports is.
    fn new(needs: &Needs) -> Flow {
        let mut flow = Flow {
            open: needs.iter().map(|groups| groups.len() as u32).collect(),
            owner: Vec::new(),
            users: vec![Vec::new(); needs.len()],
            is_done: vec![false; needs.len()],
            left: needs.len(),
        };
        for (node, groups) in (0..).zip(needs) {
            for group in groups {
                let number = flow.owner.len() as u32;
                flow.owner.push(Some(node));
                group.iter().for_each(|target| flow.users[*target as usize].push(number));
            }
        }
        let free: Vec<u32> = (0..needs.len() as u32).filter(|node| flow.open[*node as usize] == 0).collect();
        free.into_iter().for_each(|node| flow.done(node));
        flow
    }

    /// The node is done, and all that follows from it.
    fn done(&mut self, node: u32) {
        let mut next = vec![node];
        while let Some(node) = next.pop() {
            if std::mem::replace(&mut self.is_done[node as usize], true) {
                continue;
            }
            self.left -= 1;
            for group in &self.users[node as usize] {
                let Some(owner) = self.owner[*group as usize].take() else { continue };
                self.open[owner as usize] -= 1;
                if self.open[owner as usize] == 0 {
                    next.push(owner);
                }
            }
        }
    }

    /// What is not done, by number.
    fn stuck(&self) -> Vec<u32> {
        (0..self.is_done.len() as u32).filter(|node| !self.is_done[*node as usize]).collect()
    }

    /// How much hangs on a node and how much it hangs on.
    fn weight(&self, node: u32) -> u64 {
        let users = self.users[node as usize].iter().filter(|group| self.owner[**group as usize].is_some());
        users.count() as u64 * u64::from(self.open[node as usize])
    }
}

/// These nodes alone, numbered anew, with those of their groups that have no node outside.
fn induced(needs: &Needs, set: &[u32]) -> Needs {
    const OUTSIDE: u32 = u32::MAX;
    let mut number = vec![OUTSIDE; needs.len()];
    (0..).zip(set).for_each(|(new, old)| number[*old as usize] = new);
    let group = |group: &Vec<u32>| -> Option<Vec<u32>> {
        let inside = group.iter().map(|old| number[*old as usize]);
        inside.map(|new| (new != OUTSIDE).then_some(new)).collect()
    };
    set.iter().map(|old| needs[*old as usize].iter().filter_map(group).collect()).collect()
}

/// Strongly connected components (Tarjan's), what others need first; the nodes of each by number.
fn components(needs: &Needs) -> Vec<Vec<u32>> {
    const NEW: u32 = u32::MAX;
    let targets: Vec<Vec<u32>> = needs.iter().map(|groups| groups.concat()).collect();
    let (mut order, mut low) = (vec![NEW; needs.len()], vec![0; needs.len()]);
    let mut is_open = vec![false; needs.len()];
    let (mut next, mut open, mut found) = (0, Vec::new(), Vec::new());
    // A node and how many of its targets were looked at.
    let mut path: Vec<(u32, usize)> = Vec::new();
    for start in 0..needs.len() as u32 {
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
            if let Some(&target) = targets[at].get(*seen) {
                *seen += 1;
                if order[target as usize] == NEW {
                    path.push((target, 0));
                } else if is_open[target as usize] {
                    low[at] = low[at].min(order[target as usize]);
                }
                continue;
            }
            path.pop();
            if let Some((before, _)) = path.last() {
                low[*before as usize] = low[*before as usize].min(low[at]);
            }
            if low[at] == order[at] {
                let from = open.iter().rposition(|one| *one as usize == at).expect("it is open");
                let mut set = open.split_off(from);
                set.iter().for_each(|one| is_open[*one as usize] = false);
                set.sort_unstable();
                found.push(set);
            }
        }
    }
    found
}

/// All nodes: first those on a way round, from the first that is on it.
fn way_round(needs: &Needs) -> Vec<u32> {
    let mut way: Vec<u32> = vec![0];
    loop {
        let last = *way.last().expect("it begins somewhere");
        let next = needs[last as usize][0][0];
        if let Some(from) = way.iter().position(|one| *one == next) {
            way.drain(..from);
            break;
        }
        way.push(next);
    }
    let first = (0..way.len()).min_by_key(|at| way[*at]).unwrap_or(0);
    way.rotate_left(first);
    let mut is_on = vec![false; needs.len()];
    way.iter().for_each(|one| is_on[*one as usize] = true);
    way.extend((0..needs.len() as u32).filter(|one| !is_on[*one as usize]));
    way
}

/// What must be imported so that nobody is stuck, and whether that is the least.
fn imports(needs: &Needs) -> (Vec<u32>, bool) {
    let small = few(needs);
    if needs.len() > EXACT_MAX {
        return (small, false);
    }
    let mask = |of: &Vec<u32>| of.iter().fold(0_u32, |mask, one| mask | 1 << one);
    let groups = needs.iter().map(|groups| groups.iter().map(mask).collect()).collect();
    let mut search = Search { groups, best: mask(&small) };
    search.look(0, 0);
    (bits(search.best).collect(), true)
}

/// Imports that end it: again and again what most hangs on, and then none that can be spared.
fn few(needs: &Needs) -> Vec<u32> {
    let mut flow = Flow::new(needs);
    let mut heap: BinaryHeap<(u64, Reverse<u32>)> =
        (0..needs.len() as u32).map(|node| (flow.weight(node), Reverse(node))).collect();
    let mut imports = Vec::new();
    while flow.left > 0 {
        let (weight, Reverse(node)) = heap.pop().expect("who is stuck is in the heap");
        if flow.is_done[node as usize] {
            continue;
        }
        let now = flow.weight(node);
        if now < weight {
            heap.push((now, Reverse(node)));
            continue;
        }
        imports.push(node);
        flow.done(node);
    }
    let each = needs.iter().map(|groups| 1 + groups.iter().map(Vec::len).sum::<usize>()).sum::<usize>();
    let mut spare = SPARE_LOOKS / each.max(1);
    // The last were chosen when most was done: the first are the likeliest to be needed.
    for at in (0..imports.len()).rev() {
        spare = match spare.checked_sub(1) {
            Some(left) => left,
            None => break,
        };
        let mut without = Flow::new(needs);
        let others = imports.iter().enumerate().filter(|(other, _)| *other != at);
        others.for_each(|(_, node)| without.done(*node));
        if without.left == 0 {
            imports.remove(at);
        }
    }
    imports.sort_unstable();
    imports
}

/// The search for the smallest set, with a bit a node.
struct Search {
    groups: Vec<Vec<u32>>,
    best: u32,
}

impl Search {
    /// Tries all sets with these imports and without any of `kept`.
    fn look(&mut self, imported: u32, kept: u32) {
        let all = u32::MAX >> (u32::BITS - self.groups.len() as u32);
        let stuck = self.stuck(all & !imported);
        if stuck == 0 {
            if imported.count_ones() < self.best.count_ones() {
                self.best = imported;
            }
            return;
        }
        let mut least = imported.count_ones();
        let mut rest = stuck;
        while rest != 0 {
            least += 1;
            rest = self.stuck(rest & !self.witness(rest, kept));
        }
        if least >= self.best.count_ones() {
            return;
        }
        let mut kept = kept;
        for node in bits(self.witness(stuck, kept) & !kept) {
            self.look(imported | 1 << node, kept);
            kept |= 1 << node;
        }
    }

    /// Those of `of` that are stuck although all others are done.
    fn stuck(&self, of: u32) -> u32 {
        let mut stuck = of;
        loop {
            let is_stuck = |node: &u32| self.groups[*node as usize].iter().any(|group| group & !stuck == 0);
            let now = bits(stuck).filter(is_stuck).fold(0, |mask, node| mask | 1 << node);
            if now == stuck {
                return stuck;
            }
            stuck = now;
        }
    }

    /// Nodes that are stuck by each other alone, of which none can be spared, and few that are not `kept`.
    fn witness(&self, stuck: u32, kept: u32) -> u32 {
        let mut witness = stuck;
        for node in bits(stuck & !kept).chain(bits(stuck & kept)) {
            let without = self.stuck(witness & !(1 << node));
            if without != 0 {
                witness = without;
            }
        }
        witness
    }
}

/// Numbers of the bits that are set.
fn bits(mask: u32) -> impl Iterator<Item = u32> {
    (0..u32::BITS).filter(move |bit| mask >> bit & 1 == 1)
}

#[cfg(test)]
mod tests;
