//! The hub killed at each call that changes files, from the drop of a package until it is published everywhere.
//!
//! Owns that suite: grant, stage, commit, the move to `finished/`, publication, and what the hub remembers.

use std::time::Duration;

use moji_tests::faults::Tally;
use moji_tests::faults::calls::{Harm, Point, Trace, harm};
use moji_tests::poll_until;

use crate::lanes::{Case, chosen, run, seed, tell};
use crate::world::{World, first_of};

/// How long a hub that has published everything is watched for a death still.
pub(crate) const AFTER: Duration = Duration::from_millis(300);

/// All calls of a package's life.
pub(crate) fn points(world: &mut World) -> Vec<Point> {
    // The first package makes files that later ones find.
    let first = world.package(None);
    world.drop(&first);
    assert_eq!(world.settle(), Vec::<String>::new());
    world.farm.hub().kill9();
    assert_eq!(world.settle(), Vec::<String>::new());
    let package = world.package(None);
    let trace = Trace::of(world.farm.hub().pid(), world.farm.path());
    world.drop(&package);
    assert_eq!(world.settle(), Vec::<String>::new());
    let points = trace.end();
    tell("a package's life in the hub", &points);
    points
}

fn life(world: &mut World, point: &Point) -> Case {
    let package = world.package(None);
    let strace = harm(world.farm.hub().pid(), point, Harm::Kill, world.farm.path());
    world.drop(&package);
    let hub = world.farm.hub().pid();
    let died = first_of(|| !alive(hub), || world.unsettled().is_none());
    let died = died == Some(true) || poll_until(AFTER, || !alive(hub));
    drop(strace);
    // Waits for the last of its threads; and if it survived, the next case begins with a young hub like all others.
    world.farm.hub().kill9();
    let wrong = world.settle();
    if died { Case::Done(wrong) } else { Case::Missed(wrong) }
}

/// Whether a process runs: one that was killed and not yet waited for does not.
pub(crate) fn alive(pid: u32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    text.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn the_hub_killed_at_each_call_of_a_packages_life_loses_and_doubles_nothing() {
    let tally = Tally::new(
        1,
        "kill-hub",
        "the hub killed before each call that changes files, from the drop of a package until it is published",
        "each package in finished/ once, one whole result, in all indexes once, leased once, nothing left over",
        "MOJI_CASES=0 cargo test -p moji-tests --test faults the_hub_killed",
    );
    let seed = seed();
    let points = points(&mut World::new(1, 1, &[]));
    run(tally, &chosen(&points, seed), |lane| World::new(2 + lane, 1, &[]), life);
}
