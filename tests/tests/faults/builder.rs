//! The builder's client killed at each call that changes files, and its shim, too.
//!
//! Owns these two suites. A client that died goes on where it was; a shim that died before it told how mock ended costs
//! one lease.

use std::time::Duration;

use moji_tests::faults::Tally;
use moji_tests::faults::birth::Trap;
use moji_tests::faults::calls::{Harm, Point, Trace, harm};
use moji_tests::poll_until;

use crate::hub::alive;
use crate::lanes::{Case, chosen, run, seed, tell};
use crate::world::{World, first_of};

/// How long a builder that is done is watched for a death still.
const AFTER: Duration = Duration::from_millis(300);
/// A hub that gives a package back to the only builder soon and often.
pub(crate) const ARGS: [&str; 4] = ["--retry-pause", "1", "--attempts", "50"];
/// A shim's words.
const SHIM: &str = " --shim ";

fn settled(world: &mut World) {
    assert_eq!(world.settle(), Vec::<String>::new());
}

pub(crate) fn client_points(world: &mut World) -> Vec<Point> {
    let first = world.package(None);
    world.drop(&first);
    settled(world);
    let package = world.package(None);
    let trace = Trace::of_one(world.farm.builder(0).pid(), world.farm.path());
    world.drop(&package);
    settled(world);
    let points = trace.end();
    tell("a package's life in the client", &points);
    points
}

fn client(world: &mut World, point: &Point) -> Case {
    let package = world.package(None);
    let pid = world.farm.builder(0).pid();
    let strace = harm(pid, point, Harm::Kill, world.farm.path());
    world.drop(&package);
    let died = first_of(|| !alive(pid), || world.unsettled().is_none());
    let died = died == Some(true) || poll_until(AFTER, || !alive(pid));
    drop(strace);
    world.farm.builder(0).kill9();
    // A job that was not stored yet died with the client: the hub gives it out again.
    let log = world.log("builder0.log");
    let about = format!("pkg={} ", package.srpm);
    if !log.lines().any(|line| line.contains(&about) && line.ends_with(" builds")) {
        world.explained.insert(package.srpm.clone());
    }
    let wrong = world.settle();
    // The next case begins with a young hub, which publishes at once.
    world.farm.hub().kill9();
    world.raise();
    if died { Case::Done(wrong) } else { Case::Missed(wrong) }
}

/// Drops a package and catches its shim before the first of its calls.
pub(crate) fn caught_shim(world: &mut World) -> moji_tests::faults::birth::Caught {
    let package = world.package(None);
    let trap = Trap::around(world.farm.builder(0).pid(), world.farm.path());
    world.drop(&package);
    // What the shim did not end is built again.
    world.explained.insert(package.srpm.clone());
    trap.catch(SHIM).expect("a shim is started")
}

pub(crate) fn shim_points(world: &mut World) -> Vec<Point> {
    let caught = caught_shim(world);
    let trace = Trace::of_one(caught.pid, world.farm.path());
    caught.go();
    settled(world);
    let points = trace.end();
    tell("a shim", &points);
    points
}

fn shim(world: &mut World, point: &Point) -> Case {
    let caught = caught_shim(world);
    let pid = caught.pid;
    let strace = harm(pid, point, Harm::Kill, world.farm.path());
    caught.go();
    poll_until(moji_tests::SOON, || !alive(pid));
    // One that lived to its end left a status; whether it was killed shows in strace alone: it ends with it.
    let wrong = world.settle();
    drop(strace);
    world.farm.hub().kill9();
    world.raise();
    Case::Done(wrong)
}

#[test]
fn the_client_killed_at_each_call_goes_on_where_it_was() {
    let tally = Tally::new(
        1,
        "kill-builder",
        "the builder's client killed before each call that changes files, from the job until the spool is gone",
        "as kill-hub; what it had fetched is not leased again; no spool is left",
        "MOJI_CASES=0 cargo test -p moji-tests --test faults the_client_killed",
    );
    let seed = seed();
    let points = client_points(&mut World::new(1, 1, &[]));
    run(tally, &chosen(&points, seed), |lane| World::new(2 + lane, 1, &[]), client);
}

#[test]
fn a_shim_killed_at_each_call_costs_one_lease_at_most() {
    let tally = Tally::new(
        1,
        "kill-shim",
        "the shim of a build killed before each call that changes files",
        "as kill-hub, with a second lease where the first one's end is not known",
        "MOJI_CASES=0 cargo test -p moji-tests --test faults a_shim_killed",
    );
    let seed = seed();
    let points = shim_points(&mut World::new(1, 1, &ARGS));
    run(tally, &chosen(&points, seed), |lane| World::new(2 + lane, 1, &ARGS), shim);
}
