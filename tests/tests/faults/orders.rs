//! The hub killed at each call that changes files while it carries out what an operator says.
//!
//! Owns the suites of `moji retract` and `moji retry`: after the restart the order was carried out, or was not, and
//! saying it again makes it so.

use std::fs;

use moji_tests::faults::Tally;
use moji_tests::faults::calls::{Harm, Point, Trace, harm};
use moji_tests::{Daemon, SOON, poll_until};

use crate::hub::alive;
use crate::lanes::{Case, chosen, run, seed, tell};
use crate::world::{Package, World, first_of};

/// What an operator says.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Retract,
    Delete,
    Retry,
}

impl Order {
    /// A package for which it makes sense, as far as it has come.
    fn ready(self, world: &mut World) -> Package {
        let package = if self == Order::Retry { world.failing_package() } else { world.package(None) };
        world.drop(&package);
        assert_eq!(world.settle(), Vec::<String>::new());
        package
    }

    /// From here on it is expected to have been carried out.
    fn expect(self, world: &mut World, package: &mut Package) {
        if self == Order::Retry {
            world.mend(package);
        } else {
            package.retracted = true;
            package.deleted = self == Order::Delete;
            world.packages.insert(package.nvr.clone(), package.clone());
        }
    }

    fn words(self, package: &Package) -> Vec<&str> {
        match self {
            Order::Retract => vec!["retract", &package.nvr],
            Order::Delete => vec!["retract", "--delete", &package.nvr],
            Order::Retry => vec!["retry", &package.srpm],
        }
    }

    /// Says it in the background.
    fn say(self, world: &World, package: &Package) -> Daemon {
        let command = world.farm.moji_with(&self.words(package));
        Daemon::spawn("moji", command, &world.farm.path().join("moji.txt"))
    }

    /// Whether it was carried out, as the folders tell.
    fn is_done(self, world: &World, package: &Package) -> bool {
        match self {
            Order::Retry => {
                !world.farm.is_in("finished", &package.srpm) || world.farm.results(&package.nvr).len() > 1
            }
            Order::Retract | Order::Delete => fs::read_dir(world.farm.repo().join(&package.nvr))
                .into_iter()
                .flatten()
                .flatten()
                .any(|entry| entry.file_name() == "decision.json"),
        }
    }
}

fn points(world: &mut World, order: Order) -> Vec<Point> {
    order.ready(world);
    world.farm.hub().kill9();
    let mut package = order.ready(world);
    let trace = Trace::of(world.farm.hub().pid(), world.farm.path());
    order.expect(world, &mut package);
    let mut said = order.say(world, &package);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert_eq!(said.wait_exit(SOON).code(), Some(0), "{}", said.log_text());
    let points = trace.end();
    tell(&format!("{order:?}"), &points);
    points
}

fn case(world: &mut World, order: Order, point: &Point) -> Case {
    let mut package = order.ready(world);
    let hub = world.farm.hub().pid();
    let strace = harm(hub, point, Harm::Kill, world.farm.path());
    order.expect(world, &mut package);
    let mut said = order.say(world, &package);
    let died = first_of(|| !alive(hub), || world.unsettled().is_none()) == Some(true);
    let died = died || poll_until(crate::hub::AFTER, || !alive(hub));
    drop(strace);
    world.farm.hub().kill9();
    // An answer is a promise; without one nobody knows.
    let promised = !said.is_running() && said.wait_exit(SOON).success();
    drop(said);
    world.raise();
    let mut wrong = Vec::new();
    if promised && !order.is_done(world, &package) {
        wrong.push(format!("{order:?} of {} was promised and is not done", package.nvr));
    }
    if !order.is_done(world, &package) {
        let again = world.farm.moji(&order.words(&package));
        if again.code != 0 {
            wrong.push(format!("{order:?} cannot be said again: {}", again.stderr));
        }
    }
    wrong.extend(world.settle());
    world.farm.hub().kill9();
    world.raise();
    if died { Case::Done(wrong) } else { Case::Missed(wrong) }
}

fn suite(name: &str, order: Order, filter: &str) {
    let tally = Tally::new(
        1,
        name,
        &format!("the hub killed before each call that changes files while it carries out '{order:?}'"),
        "an answer is kept; without one the order can be said again; then as kill-hub",
        &format!("MOJI_CASES=0 cargo test -p moji-tests --test faults {filter}"),
    );
    let seed = seed();
    let points = points(&mut World::new(1, 1, &[]), order);
    let make = |lane| World::new(2 + lane, 1, &[]);
    run(tally, &chosen(&points, seed), make, |world, point| case(world, order, point));
}

#[test]
fn a_hub_killed_while_it_retracts_has_done_it_or_not() {
    suite("kill-retract", Order::Retract, "while_it_retracts");
}

#[test]
fn a_hub_killed_while_it_deletes_has_done_it_or_does_it_then() {
    suite("kill-delete", Order::Delete, "while_it_deletes");
}

#[test]
fn a_hub_killed_while_it_retries_has_done_it_or_not() {
    suite("kill-retry", Order::Retry, "while_it_retries");
}
