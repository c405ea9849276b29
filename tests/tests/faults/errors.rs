//! EIO and ENOSPC at each call that changes files, of the hub, of the client and of the shim.
//!
//! Owns these suites: nobody dies of an error, nothing is half done, nobody turns in circles, `moji status` says why
//! work stands still, and it goes on when the cause is gone: after a failed sync of the hub's when it is restarted.

use std::time::Duration;

use moji_tests::faults::Tally;
use moji_tests::faults::calls::{Harm, Point, harm};
use moji_tests::poll_until;

use crate::builder::{ARGS, caught_shim, client_points, shim_points};
use crate::hub::alive;
use crate::lanes::{Case, chosen, run, seed};
use crate::world::World;

/// How long an error that lasts, lasts.
const LASTS: Duration = Duration::from_millis(2_500);
/// From here on a package that is not done counts as in trouble.
const TROUBLE: Duration = Duration::from_millis(1_500);
/// Clock ticks of CPU a second that are too many for somebody who only waits: half a core. sysconf(3): a tick is 10 ms.
const TICKS_MAX: u64 = 50;
/// What the hub says when it waits for its restart.
const BROKEN: &str = "until a restart";
/// The errors.
const HARMS: [Harm; 4] =
    [Harm::Error("EIO"), Harm::Error("ENOSPC"), Harm::Errors("EIO"), Harm::Errors("ENOSPC")];

/// An error at a call.
#[derive(Clone)]
struct Fault {
    harm: Harm,
    point: Point,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} at {}", self.harm, self.point)
    }
}

/// All errors at all points.
fn faults(points: &[Point]) -> Vec<Fault> {
    let at = |point: &Point| HARMS.map(|harm| Fault { harm, point: point.clone() });
    points.iter().flat_map(at).collect()
}

/// CPU time of a process so far, ticks.
fn ticks(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let Some((_, rest)) = text.rsplit_once(") ") else { return 0 };
    // utime and stime are the 14th and 15th field, the 12th and 13th behind the name: proc(5).
    rest.split(' ').skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

/// Lets an error happen to a process of the hub's and waits until it is over.
fn hub(world: &mut World, fault: &Fault) -> Case {
    let package = world.package(None);
    let pid = world.farm.hub().pid();
    let strace = harm(pid, &fault.point, fault.harm, world.farm.path());
    world.drop(&package);
    let broken = |world: &mut World| world.farm.hub().logs_contain(BROKEN);
    let settled = poll_until(TROUBLE, || world.unsettled().is_none());
    let mut wrong = Vec::new();
    if !settled {
        let before = ticks(pid);
        let over = poll_until(LASTS - TROUBLE, || world.unsettled().is_none());
        let used = ticks(pid).saturating_sub(before);
        if !over && used > TICKS_MAX {
            wrong.push(format!("{used} ticks of CPU in a second of waiting"));
        }
        let is_broken = broken(world);
        if is_broken {
            let status = world.farm.moji(&["status"]);
            if !status.stdout.contains("restart the hub") {
                wrong.push(format!("moji status does not tell to restart: {}", status.stdout));
            }
        }
    }
    drop(strace);
    if !alive(pid) {
        wrong.push("the hub died of it".to_owned());
        world.farm.hub().kill9();
    }
    let is_broken = broken(world);
    if is_broken {
        world.farm.hub().term(moji_tests::SOON);
    }
    wrong.extend(world.settle());
    world.farm.hub().kill9();
    world.raise();
    Case::Done(wrong)
}

/// Lets an error happen to a builder's client, or to a shim of it, and waits until it is over.
fn builder(world: &mut World, fault: &Fault, of_shim: bool) -> Case {
    let client = world.farm.builder(0).pid();
    let strace = if of_shim {
        let caught = caught_shim(world);
        let strace = harm(caught.pid, &fault.point, fault.harm, world.farm.path());
        caught.go();
        strace
    } else {
        let package = world.package(None);
        let strace = harm(client, &fault.point, fault.harm, world.farm.path());
        world.explained.insert(package.srpm.clone());
        world.drop(&package);
        strace
    };
    let mut wrong = Vec::new();
    if !poll_until(TROUBLE, || world.unsettled().is_none()) {
        let before = ticks(client);
        let over = poll_until(LASTS - TROUBLE, || world.unsettled().is_none());
        let used = ticks(client).saturating_sub(before);
        if !over && used > TICKS_MAX {
            wrong.push(format!("{used} ticks of CPU in a second of waiting"));
        }
        if !over {
            let told = [
                "disk",
                "infra",
                "lost",
                "released",
                "building",
                "gave back",
                "restart",
                "not again",
                "away",
                "quarantine",
            ];
            let mut status = String::new();
            // It may have ended while that was asked, or a lease of it is about to be given.
            let is_told = poll_until(Duration::from_secs(3), || {
                status = world.farm.moji(&["status"]).stdout;
                !waits(world) || told.iter().any(|word| status.contains(word))
            });
            if !is_told {
                wrong.push(format!("moji status does not say why: {status}"));
            }
            if std::env::var_os("MOJI_POINTS").is_some() {
                eprintln!("{fault}\n{status}");
            }
        }
    }
    drop(strace);
    if !alive(client) {
        wrong.push("the client died of it".to_owned());
        world.farm.builder(0).kill9();
    }
    // A spool that could not be deleted goes when it can be.
    wrong.extend(world.settle());
    world.farm.hub().kill9();
    world.raise();
    Case::Done(wrong)
}

/// Whether a package is not done.
fn waits(world: &World) -> bool {
    world.packages.values().any(|package| world.farm.places(&package.srpm) != ["finished"])
}

fn builder_suite(name: &str, who: &str, of_shim: bool, filter: &str) {
    let tally = Tally::new(
        2,
        name,
        &format!("EIO and ENOSPC, once and for seconds, at each call of {who} that changes files"),
        "as kill-hub, with more leases where a result could not be kept; the client lives and does not turn in circles",
        &format!("MOJI_CASES=0 cargo test -p moji-tests --test faults {filter}"),
    );
    let seed = seed();
    let mut world = World::new(1, 1, &ARGS);
    let points = if of_shim { shim_points(&mut world) } else { client_points(&mut world) };
    drop(world);
    let make = |lane| World::new(2 + lane, 1, &ARGS);
    run(tally, &chosen(&faults(&points), seed), make, |world, fault| builder(world, fault, of_shim));
}

#[test]
fn an_error_at_each_call_of_the_client_costs_a_lease_at_most() {
    builder_suite("error-builder", "a builder's client", false, "an_error_at_each_call_of_the_client");
}

#[test]
fn an_error_at_each_call_of_a_shim_costs_a_lease_at_most() {
    builder_suite("error-shim", "a builder's shim", true, "an_error_at_each_call_of_a_shim");
}

#[test]
fn an_error_at_each_call_of_the_hub_loses_nothing_and_is_told() {
    let tally = Tally::new(
        2,
        "error-hub",
        "EIO and ENOSPC, once and for seconds, at each call of the hub that changes files",
        "as kill-hub; the hub lives, waits without turning in circles, tells it to moji status, and goes on",
        "MOJI_CASES=0 cargo test -p moji-tests --test faults an_error_at_each_call_of_the_hub",
    );
    let seed = seed();
    let points = crate::hub::points(&mut World::new(1, 1, &[]));
    run(tally, &chosen(&faults(&points), seed), |lane| World::new(2 + lane, 1, &[]), hub);
}
