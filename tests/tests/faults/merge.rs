//! The hub killed at each call that changes files while it merges *recent* into the shelves.
//!
//! Owns that suite. RPMs that people lay into `repo/` by hand fill *recent* in no time: each case lays more than it
//! holds and takes away those of the case before, so that the shelves grow and shrink in one merge.

use std::cell::Cell;

use moji_tests::faults::Tally;
use moji_tests::faults::calls::{Harm, Point, Trace, harm};
use moji_tests::poll_until;
use moji_tests::synthetic::{Shape, Synthetic};

use crate::hub::{AFTER, alive};
use crate::lanes::{Case, chosen, run, seed, tell};
use crate::world::{World, first_of};

/// Results that make recent full: four packages of each are for builders.
const BATCH: usize = 66;
/// The threads that write indexes.
const THREADS: [&str; 3] = ["index", "recent", "read"];

thread_local! {
    /// How many batches this lane has laid.
    static BATCHES: Cell<usize> = const { Cell::new(0) };
}

/// Lays a batch and takes the one before away.
fn change(world: &mut World) {
    let number = BATCHES.replace(BATCHES.get() + 1);
    let made = Synthetic { seed: 77, shape: Shape::INSTALLABLE, results: 1 };
    let before: std::collections::BTreeSet<String> =
        world.by_hand.keys().filter_map(|path| Some(path.split_once('/')?.0.to_owned())).collect();
    for result in number * BATCH..(number + 1) * BATCH {
        world.lay(&made, result);
    }
    for folder in before {
        world.unlay(&folder);
    }
}

fn settled(world: &mut World) {
    assert_eq!(world.settle(), Vec::<String>::new());
}

fn points(world: &mut World) -> Vec<Point> {
    change(world);
    settled(world);
    world.farm.hub().kill9();
    settled(world);
    let trace = Trace::of(world.farm.hub().pid(), world.farm.path());
    change(world);
    settled(world);
    let mut points = trace.end();
    points.retain(|point| THREADS.contains(&point.thread.as_str()));
    tell("a merge", &points);
    points
}

fn case(world: &mut World, point: &Point) -> Case {
    let hub = world.farm.hub().pid();
    let strace = harm(hub, point, Harm::Kill, world.farm.path());
    change(world);
    let died = first_of(|| !alive(hub), || world.unpublished().is_ok()) == Some(true);
    let died = died || poll_until(AFTER, || !alive(hub));
    drop(strace);
    world.farm.hub().kill9();
    let wrong = world.settle();
    world.farm.hub().kill9();
    world.raise();
    if died { Case::Done(wrong) } else { Case::Missed(wrong) }
}

#[test]
fn a_hub_killed_in_a_merge_publishes_everything_once() {
    let tally = Tally::new(
        1,
        "kill-merge",
        "the hub killed before each call that changes files while recent is merged into the shelves",
        "both tiers and the complete index name exactly what is in repo/, each index on its own whole",
        "MOJI_CASES=0 cargo test -p moji-tests --test faults killed_in_a_merge",
    );
    let seed = seed();
    let points = points(&mut World::new(1, 0, &[]));
    run(tally, &chosen(&points, seed), |lane| World::new(2 + lane, 0, &[]), case);
}
