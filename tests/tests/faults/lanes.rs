//! Which cases are run, and on how many farms at a time.
//!
//! Owns the choice from all points and the threads. Must never run a case twice or leave one out without counting it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use moji_tests::faults::Tally;
use moji_tests::faults::calls::Point;

use crate::world::World;

/// Cases of a kind that are run when nobody says how many.
const CASES: usize = 6;
/// Farms at a time: most of a case is waiting for a builder that comes back after a second.
const LANES: usize = 4;

/// How often a case is tried whose point is not reached.
const TRIES: usize = 3;

/// A number that the environment says.
pub(crate) fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// The seed of this run, printed.
pub(crate) fn seed() -> u64 {
    let seed = number("MOJI_SEED", 20_261_123);
    eprintln!("MOJI_SEED={seed}");
    seed
}

/// Dice: SplitMix64.
#[derive(Clone, Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// As many as `MOJI_CASES` says, one out of each of so many equal parts of all; the seed says which. `MOJI_ONLY`: those
/// whose words have this in them, to look at one that failed.
pub(crate) fn chosen<T: Clone + std::fmt::Display>(all: &[T], seed: u64) -> Vec<T> {
    if let Ok(words) = std::env::var("MOJI_ONLY") {
        return all.iter().filter(|case| case.to_string().contains(&words)).cloned().collect();
    }
    let wanted = usize::try_from(number("MOJI_CASES", CASES as u64)).unwrap_or(usize::MAX);
    if wanted == 0 || wanted >= all.len() {
        return all.to_vec();
    }
    let mut dice = Dice(seed);
    let mut one = |part: usize| {
        let (first, end) = (part * all.len() / wanted, (part + 1) * all.len() / wanted);
        all[first + dice.below((end - first) as u64) as usize].clone()
    };
    (0..wanted).map(&mut one).collect()
}

/// What became of a case.
pub(crate) enum Case {
    /// The point was reached, and this does not hold.
    Done(Vec<String>),
    /// The process came through without reaching it: no case.
    Missed(Vec<String>),
}

/// Runs each case on a farm of its lane. A farm with which something does not hold is not used again.
pub(crate) fn run<T: Sync + std::fmt::Display>(
    tally: Tally,
    cases: &[T],
    make: impl Fn(u64) -> World + Sync,
    case: impl Fn(&mut World, &T) -> Case + Sync,
) {
    let lanes = usize::try_from(number("MOJI_LANES", LANES as u64)).unwrap_or(1).clamp(1, cases.len().max(1));
    let (next, missed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let tally = Mutex::new(tally);
    let said = || tally.lock().expect("no lane panics while it counts");
    let lane = |number: usize| {
        let mut world: Option<World> = None;
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(this) = cases.get(at) else { return };
            let world_now = world.get_or_insert_with(|| make((number * 1_000_000 + at) as u64));
            let begun = std::time::Instant::now();
            // Threads that share their work share it another way each time.
            let mut tries = 0;
            let (reached, wrong) = loop {
                tries += 1;
                match case(world_now, this) {
                    Case::Done(wrong) => break (true, wrong),
                    Case::Missed(wrong) if !wrong.is_empty() || tries == TRIES => break (false, wrong),
                    Case::Missed(_) => {}
                }
            };
            let word = if reached { "" } else { " (not reached)" };
            eprintln!("{} of {}: {this}{word} {} ms", at + 1, cases.len(), begun.elapsed().as_millis());
            if !wrong.is_empty() {
                world = None;
            }
            let mut tally = said();
            if reached {
                tally.case();
            } else {
                missed.fetch_add(1, Ordering::Relaxed);
            }
            wrong.into_iter().for_each(|wrong| tally.violation(format!("{this}: {wrong}")));
        }
    };
    std::thread::scope(|scope| {
        for number in 0..lanes {
            let lane = &lane;
            scope.spawn(move || lane(number));
        }
    });
    let mut tally = tally.into_inner().expect("no lane panicked");
    let missed = missed.into_inner();
    if missed > 0 {
        tally.figure(format!("{missed} more points were not reached again"));
    }
    tally.end();
}

/// Prints points, by thread and call.
pub(crate) fn tell(what: &str, points: &[Point]) {
    let mut counts = std::collections::BTreeMap::<(&str, &str), usize>::new();
    for point in points {
        *counts.entry((&point.thread, &point.call)).or_default() += 1;
    }
    let all: Vec<String> = counts.iter().map(|((thread, call), n)| format!("{thread} {call} {n}")).collect();
    eprintln!("{what}: {} points: {}", points.len(), all.join(", "));
    if std::env::var_os("MOJI_POINTS").is_some() {
        points.iter().for_each(|point| eprintln!("  {point}"));
    }
}
