//! Cycles, against a model that tries every set.

use std::time::{Duration, Instant};

use super::*;

/// `a: b c|d` is a node that needs b, and c or d.
fn needs(text: &str) -> (Needs, Vec<String>) {
    let lines: Vec<(&str, &str)> = text.split(',').map(|line| line.trim().split_once(':').unwrap()).collect();
    let names: Vec<String> = lines.iter().map(|(name, _)| (*name).to_owned()).collect();
    let number = |name: &str| names.iter().position(|one| one == name).unwrap() as u32;
    let needs = lines.iter().map(|(_, groups)| {
        groups.split_whitespace().map(|group| group.split('|').map(number).collect()).collect()
    });
    (needs.collect(), names.clone())
}

/// Each cycle as `members; imports`, sorted.
fn found(text: &str) -> Vec<String> {
    let (needs, names) = needs(text);
    let say = |of: &[u32]| of.iter().map(|one| &*names[*one as usize]).collect::<Vec<_>>().join(" ");
    let mut all: Vec<String> = cycles(needs)
        .iter()
        .map(|cycle| {
            assert!(cycle.exact);
            format!("{}; {}", say(&cycle.members), say(&cycle.imports))
        })
        .collect();
    all.sort();
    all
}

#[test]
fn cycles_are_found_with_the_least_that_ends_them() {
    for (graph, want) in [
        ("a:", &[][..]),
        ("a: b, b: c, c:", &[]),
        ("a: a", &["a; a"]),
        ("a: b, b: a", &["a b; a"]),
        // What only needs a cycle, and what a cycle needs, is not of it.
        ("x: a, a: b, b: a y, y:", &["a b; a"]),
        // Three with a chord: only a and b are on both ways round.
        ("a: b, b: a c, c: a", &["a b c; a"]),
        ("a: b, b: c, c: a b", &["a b c; b"]),
        // Two that share a node, and two that share none.
        ("a: b, b: a c, c: b", &["a b c; b"]),
        ("a: b, b: a, c: d, d: c a", &["a b; a", "c d; c"]),
        ("a: b c, b: a c, c: a b", &["a b c; a b"]),
        // An alternative that gets done is a way out, one that is as stuck is none.
        ("a: b|c, b: a, c:", &[]),
        ("a: b|c, b: a, c: a", &["a b c; a"]),
        ("a: b|c, b: a, c: c", &["c; c"]),
        ("a: b|c d, b: a, c: c, d: a", &["a d; a", "c; c"]),
        // One of the alternatives is enough for the one, but each is on a way round of its own.
        ("a: b|c, b: a d, c: a e, d: b, e: c", &["a b c d e; b c"]),
    ] {
        assert_eq!(found(graph), want, "{graph}");
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }
}

/// A graph of `nodes` with `groups` groups, one in four of them with alternatives.
fn random(dice: &mut Dice, nodes: usize, groups: usize) -> Needs {
    let mut needs = vec![Vec::new(); nodes];
    for _ in 0..groups {
        let several = if dice.below(4) == 0 { 2 + dice.below(2) } else { 1 };
        let group = (0..several).map(|_| dice.below(nodes) as u32).collect();
        needs[dice.below(nodes)].push(group);
    }
    needs
}

/// What is stuck, step by step.
fn model_stuck(needs: &Needs, imports: u32) -> u32 {
    let mut stuck = (0..needs.len()).fold(0, |mask, node| mask | 1_u32 << node) & !imports;
    loop {
        let before = stuck;
        for (node, groups) in needs.iter().enumerate() {
            if groups.iter().all(|group| group.iter().any(|target| stuck >> target & 1 == 0)) {
                stuck &= !(1 << node);
            }
        }
        if stuck == before {
            return stuck;
        }
    }
}

/// How many imports are the least, all sets being tried.
fn model_least(needs: &Needs) -> u32 {
    let sets = 0..1_u32 << needs.len();
    sets.filter(|set| model_stuck(needs, *set) == 0).map(u32::count_ones).min().unwrap()
}

#[test]
fn of_random_small_graphs_no_smaller_set_would_do() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let (mut whole, mut sizes) = (0, [0; 9]);
    for round in 0..6_000 {
        let nodes = 1 + dice.below(8);
        let groups = dice.below(3 * nodes + 1);
        let graph = random(&mut dice, nodes, groups);
        let found = cycles(graph.clone());
        let imports = |cycle: &Cycle| cycle.imports.iter().fold(0, |mask, one| mask | 1_u32 << one);
        let all = found.iter().map(imports).fold(0, |all, one| all | one);
        assert_eq!(model_stuck(&graph, all), 0, "round {round}: {graph:?} {found:?}");
        assert_eq!(found.is_empty(), model_stuck(&graph, 0) == 0, "round {round}: {graph:?}");
        let mut seen = 0_u32;
        for cycle in &found {
            let members: Vec<u32> = {
                let mut of = cycle.members.clone();
                of.sort_unstable();
                of
            };
            let alone = induced(&graph, &members);
            let least = model_least(&alone);
            assert_eq!(cycle.imports.len() as u32, least, "round {round}: {graph:?} {cycle:?}");
            assert!(cycle.exact && cycle.imports.iter().all(|one| members.contains(one)));
            for one in members {
                assert_eq!(seen >> one & 1, 0, "round {round}: {one} is in two cycles");
                seen |= 1 << one;
            }
            sizes[least as usize] += 1;
        }
        // Where all of a graph is one cycle, its set is the smallest of the graph.
        if let [cycle] = &found[..]
            && cycle.members.len() == nodes
        {
            whole += 1;
            assert_eq!(cycle.imports.len() as u32, model_least(&graph), "round {round}");
        }
    }
    assert!(whole > 500 && sizes[1] > 500 && sizes[2] > 300 && sizes[3] > 100, "{whole} {sizes:?}");
}

#[test]
fn a_big_cycle_is_broken_by_a_small_set_none_of_which_can_be_spared() {
    // A ring of rings: 40 of five nodes each, all through one hub.
    let mut graph: Needs = vec![vec![vec![1]]];
    for ring in 0..40_u32 {
        for at in 0..5 {
            let (own, next) = (1 + ring * 5 + at, 1 + ring * 5 + (at + 1) % 5);
            graph.push(vec![vec![next]]);
            if at == 0 {
                graph[own as usize].push(vec![0]);
                graph[0].push(vec![own]);
            }
        }
    }
    let found = cycles(graph.clone());
    let [cycle] = &found[..] else { panic!("{}", found.len()) };
    assert_eq!((cycle.members.len(), cycle.exact), (201, false));
    // One of each ring, and the hub unless all of those that it needs are imported.
    assert_eq!(cycle.imports.len(), 40, "{:?}", cycle.imports);
    let breaks = |imports: &[u32]| {
        let mut flow = Flow::new(&graph);
        imports.iter().for_each(|one| flow.done(*one));
        flow.left == 0
    };
    assert!(breaks(&cycle.imports));
    for spared in &cycle.imports {
        let others: Vec<u32> = cycle.imports.iter().copied().filter(|one| one != spared).collect();
        assert!(!breaks(&others), "{spared}");
    }
}

/// `cargo test --release -p moji-server --lib queue::cycles::tests::figures -- --ignored --nocapture`
#[test]
#[ignore = "prints figures"]
#[allow(clippy::disallowed_methods, reason = "it measures")]
fn figures() {
    let mut dice = Dice(7);
    for groups in [20, 40, 60, 100, 200, 400] {
        let mut longest = Duration::ZERO;
        for _ in 0..200 {
            let mut graph = random(&mut dice, EXACT_MAX, groups);
            (0..EXACT_MAX).for_each(|node| graph[node].push(vec![((node + 1) % EXACT_MAX) as u32]));
            let began = Instant::now();
            assert_eq!(cycles(graph)[0].members.len(), EXACT_MAX);
            longest = longest.max(began.elapsed());
        }
        println!("{EXACT_MAX} nodes, {groups} groups: at most {longest:?}");
    }
    for (nodes, groups) in [(25_000, 40_000), (25_000, 60_000), (25_000, 250_000)] {
        let graph = random(&mut dice, nodes, groups);
        let began = Instant::now();
        let found = cycles(graph);
        let largest = found.iter().max_by_key(|cycle| cycle.members.len());
        let (members, imports) = largest.map_or((0, 0), |one| (one.members.len(), one.imports.len()));
        println!(
            "{nodes} nodes, {groups} groups: {:?}, {} cycles, the largest of {members} with {imports} imports",
            began.elapsed(),
            found.len()
        );
    }
}
