//! The hub killed in a package's life, and killed again at each call of the start that follows.
//!
//! Owns that suite. The second kill leaves what recovery had put half right; the third start must make do with it.

use moji_tests::faults::Tally;
use moji_tests::faults::calls::{Harm, Point, Trace, by_path, harm, points, traced, under};
use moji_tests::{Daemon, SOON, poll_until};

use crate::hub::alive;
use crate::lanes::{Case, chosen, run, seed, tell};
use crate::world::{World, first_of};

/// What the hub says when it has put everything right.
const READY: &str = "hub listening on ";
/// Where the first kill falls: what a call is about, for each place where something else is to be put right.
const FIRST: [(&str, &str, &str); 10] = [
    ("the grant is stored, nothing moved", "renameat2", "/source/"),
    ("the file is in working/, not synced", "fsync", "</source>"),
    ("half of the files are staged", "unlink", "/f2\""),
    ("the stage is sealed", "renameat2", "/repo/"),
    ("the result is in repo/, not synced", "fsync", "</repo>"),
    ("the result is committed", "rename", "/finished/"),
    ("the file is in finished/, not synced", "fsync", "</finished>"),
    ("the end of the lease is not noted", "pwrite64", " end "),
    ("recent is half written", "rename", "/recent/repodata/.repomd.xml.new"),
    ("the complete index is half written", "rename", "\"/repo/repodata/.repomd.xml.new"),
];

/// Files that a start opens after it has read all results.
const LATE: [&str; 4] =
    ["/working/.leases.new", "/state/history.db", "/state/history.db-wal", "/state/history.db-shm"];

/// How often the first kill is tried.
const TRIES: usize = 5;

/// Two kills.
#[derive(Clone)]
struct Twice {
    what: &'static str,
    first: Point,
    second: Point,
}

impl std::fmt::Display for Twice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; then {}", self.what, self.second)
    }
}

/// A package's life up to the first kill; whether the hub died.
fn first_kill(world: &mut World, point: &Point) -> bool {
    let package = world.package(None);
    let hub = world.farm.hub().pid();
    let strace = harm(hub, point, Harm::Kill, world.farm.path());
    world.drop(&package);
    let died = first_of(|| !alive(hub), || world.unsettled().is_none()) == Some(true);
    drop(strace);
    world.farm.hub().kill9();
    died
}

/// Starts the hub as said; whether it died before it was ready. It does not run afterwards.
fn dies(world: &World, command: std::process::Command) -> bool {
    let mut hub = Daemon::spawn("hub", command, &world.farm.path().join("hub.log"));
    let mut died = false;
    let ended = poll_until(SOON, || {
        died = !hub.is_running();
        died || hub.logs_contain(READY)
    });
    assert!(ended, "the hub neither starts nor dies: {}", hub.log_text());
    hub.kill9();
    died
}

/// All calls of a start after such a kill until the hub is ready.
fn start_points(world: &mut World, first: &Point) -> Vec<Point> {
    let mut died = false;
    for _ in 0..TRIES {
        died = died || first_kill(world, first);
        if !died {
            assert_eq!(world.settle(), Vec::<String>::new());
        }
    }
    assert!(died, "the hub dies at {first}");
    let file = world.farm.path().join("trace-start.txt");
    assert!(!dies(world, traced(&world.hub_command(), &file)), "the hub starts");
    // It opens a file of each result before these: their number among all says nothing.
    let mut points = by_path(points(&file, world.farm.path()), &LATE);
    // Whichever thread comes to the nth call of a name first is the one that dies.
    let mut seen = std::collections::BTreeSet::new();
    points.retain(|point| seen.insert((point.call.clone(), point.number, point.path.clone())));
    points
}

fn twice(world: &mut World, case: &Twice) -> Case {
    let first = first_kill(world, &case.first);
    let second = dies(world, under(&world.hub_command(), &case.second, Harm::Kill, world.farm.path()));
    let wrong = world.settle();
    // So that the next case begins with a young hub.
    world.farm.hub().kill9();
    world.farm.start_hub();
    if first && second { Case::Done(wrong) } else { Case::Missed(wrong) }
}

/// All pairs of kills.
fn pairs(world: &mut World) -> Vec<Twice> {
    let settled = |world: &mut World| assert_eq!(world.settle(), Vec::<String>::new());
    let first = world.package(None);
    world.drop(&first);
    settled(world);
    world.farm.hub().kill9();
    settled(world);
    let package = world.package(None);
    let trace = Trace::of(world.farm.hub().pid(), world.farm.path());
    world.drop(&package);
    settled(world);
    let life = trace.end();
    let mut all = Vec::new();
    for (what, call, about) in FIRST {
        let found = life.iter().find(|point| point.call == call && point.about.contains(about));
        let mut first = found.unwrap_or_else(|| panic!("no {call} of {about} in {life:#?}")).clone();
        if call == "fsync" {
            // Threads share these: their numbers say nothing.
            (first.number, first.path) = (1, Some(about.trim_matches(['<', '>', '/']).to_owned()));
        }
        world.farm.hub().kill9();
        settled(world);
        let points = start_points(world, &first);
        tell(what, &points);
        settled(world);
        all.extend(points.into_iter().map(|second| Twice { what, first: first.clone(), second }));
    }
    all
}

#[test]
fn a_recovery_killed_at_each_of_its_calls_is_made_good_by_the_next() {
    let tally = Tally::new(
        1,
        "kill-recovery",
        "the hub killed at ten places of a package's life, and again before each call of the start that follows",
        "as kill-hub, after the third start",
        "MOJI_CASES=0 cargo test -p moji-tests --test faults a_recovery_killed",
    );
    let seed = seed();
    let pairs = pairs(&mut World::new(1, 1, &[]));
    run(tally, &chosen(&pairs, seed), |lane| World::new(2 + lane, 1, &[]), twice);
}
