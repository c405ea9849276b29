//! One fault at a time: what it is noticed by, whom it disturbs, and that the build survives it.
//!
//! Owns these scenarios; they run beside one another and leave one row.

use std::fs;
use std::time::Duration;

use moji_tests::faults::Tally;
use moji_tests::{Direction, Farm, Fate, Fault, SOON, Strike, poll_until};

use crate::load::is_refused;
use crate::pieces::{Package, assert_done_once, at_gate, builder_log, drop_planned, hub_log, leases, plan};

/// What both sides may take to notice silence: 60 s, up to 20 s to the next ping, and some for a busy machine.
const NOTICED: Duration = Duration::from_secs(140);
/// Bytes of hello, handshake and registration that are flipped, one in a session: the borders of each part, and some in
/// between. A record's length is flipped in its low byte: one that claims more is a partial record, which has 30 s.
const FLIPS_TO_HUB: [u64; 14] = [0, 3, 4, 5, 8, 9, 15, 16, 63, 64, 100, 127, 130, 150];
const FLIPS_TO_BUILDER: [u64; 9] = [0, 15, 31, 32, 60, 95, 111, 114, 140];

/// How often a fault is tried: the next connection may be one that the process before still began.
const TRIES: usize = 5;

/// What scenarios found: cases, and what did not hold.
type Found = (u64, Vec<String>);
/// A scenario with its name.
type Scenario = (&'static str, fn() -> Found);

/// A farm with so many builders, each at the gate of a build of its own, and the numbers of their connections.
fn gated(count: usize, result_kib: u32) -> (Farm, Vec<Package>, Vec<usize>) {
    let mut farm = Farm::plan().through_proxy().builders(0).start();
    let (mut packages, mut connections) = (Vec::new(), Vec::new());
    for number in 0..count {
        farm.start_builder_as(number, &["--name", &format!("b{number}")]);
        farm.wait_builder_says(number, "registered with the hub");
        connections.extend(farm.proxy().open().last().copied());
        let package = plan(&farm, &format!("gated{number}"), 1, result_kib, Some("go"));
        drop_planned(&farm, &package);
        farm.wait_until("mock to be at its gate", SOON, |farm| {
            let jobs = fs::read_dir(farm.builder_state(number).join("jobs")).into_iter().flatten().flatten();
            jobs.into_iter().any(|job| job.path().join("result").join(&package.srpm).exists())
        });
        packages.push(package);
    }
    (farm, packages, connections)
}

/// Opens all gates; every package is to be done with its one lease.
fn finish(farm: &Farm, packages: &[Package], found: &mut Found) {
    farm.open_gate("go");
    for (number, package) in packages.iter().enumerate() {
        assert_done_once(farm, number, package);
        let leased = leases(farm, &package.srpm);
        if leased != 1 {
            found.1.push(format!("{} was leased {leased} times\n{}", package.srpm, farm.diagnosis()));
        }
    }
    if hub_log(farm).contains("panicked") {
        found.1.push(format!("the hub panicked\n{}", farm.diagnosis()));
    }
}

fn adoptions(farm: &Farm, package: &Package) -> usize {
    crate::pieces::hub_lines(farm, &package.srpm, "adopted: its builder is back")
}

/// Builder 0 as a new process.
fn restart(farm: &mut Farm) {
    farm.builder(0).kill9();
    let _ = fs::remove_file(farm.builder_state(0).join("status"));
    farm.start_builder_as(0, &["--name", "b0"]);
}

/// Builder 0 comes back again and again, each time with one flipped bit; the two others never notice.
fn flips(way: Direction, places: &[u64]) -> Found {
    let mut found = (0, Vec::new());
    let (mut farm, packages, connections) = gated(3, 1);
    let others = &connections[1..];
    for (number, after) in places.iter().enumerate() {
        let strike = Strike { way, after: *after, fault: Fault::Flip((number % 8) as u8) };
        let flipped = |farm: &Farm| farm.proxy().struck().get("flip").copied().unwrap_or(0);
        let before = flipped(&farm);
        for _ in 0..TRIES {
            farm.builder(0).kill9();
            let next = farm.proxy().connections() + 1;
            farm.proxy().script(move |connection| Fate {
                strike: (connection == next).then_some(strike),
                ..Fate::default()
            });
            restart(&mut farm);
            farm.wait_until(&format!("the session with {strike:?} to be closed"), NOTICED, |farm| {
                farm.proxy().connections() >= next && !farm.proxy().open().contains(&next)
            });
            if flipped(&farm) > before {
                break;
            }
        }
        if flipped(&farm) == before {
            found.1.push(format!("{strike:?} did not strike\n{}", farm.diagnosis()));
        }
        if !others.iter().all(|other| farm.proxy().open().contains(other)) {
            found.1.push(format!("{strike:?} closed sessions of others\n{}", farm.diagnosis()));
        }
        let back = poll_until(NOTICED, || {
            // Whoever is refused would wait for a minute.
            if is_refused(&farm, 0) {
                restart(&mut farm);
            }
            farm.builder(0).logs_contain("registered with the hub")
        });
        if !back {
            found.1.push(format!("{strike:?} kept the builder away\n{}", farm.diagnosis()));
        }
        found.0 += 1;
    }
    for number in 1..3 {
        let registered = builder_log(&farm, number).matches("registered with the hub").count();
        if registered != 1 {
            found.1.push(format!("builder {number} registered {registered} times\n{}", farm.diagnosis()));
        }
    }
    finish(&farm, &packages, &mut found);
    found
}

/// Builders whose peer is dead: to both sides, to the hub, to the builder; the last has none of it.
fn dead_peers() -> Found {
    let mut found = (0, Vec::new());
    let (farm, packages, connections) = gated(4, 1);
    let faults = [
        (Direction::ToHub, Fault::BlackHole(None)),
        (Direction::ToHub, Fault::HalfOpen(None)),
        (Direction::ToBuilder, Fault::HalfOpen(None)),
    ];
    for ((way, fault), connection) in faults.into_iter().zip(&connections) {
        assert!(farm.proxy().strike(*connection, Strike { way, after: 0, fault }), "{}", farm.diagnosis());
    }
    // Either side that hears nothing closes; where one direction lives, the other side sees that.
    for (number, (way, fault)) in faults.into_iter().enumerate() {
        farm.wait_until(&format!("both sides to notice {fault:?} {way:?}"), NOTICED, |farm| {
            let hub = hub_log(farm);
            let line = format!("builder=b{number} ");
            let gone = hub.lines().any(|line_of| line_of.contains(&line) && line_of.contains("disconnected"));
            gone && builder_log(farm, number).contains("next attempt in")
        });
        farm.wait_until("it to come back", SOON, |farm| adoptions(farm, &packages[number]) == 1);
        found.0 += 1;
    }
    let silent = |number: usize| builder_log(&farm, number).contains("silent for 60 s");
    if !silent(0) || !silent(2) {
        found.1.push(format!("a builder heard nothing and did not say so\n{}", farm.diagnosis()));
    }
    if adoptions(&farm, &packages[3]) != 0 || !farm.proxy().open().contains(&connections[3]) {
        found.1.push(format!("a session without a fault was closed\n{}", farm.diagnosis()));
    }
    finish(&farm, &packages, &mut found);
    found
}

/// Each fault in the middle of a build, and each in the middle of an upload: the lease is taken up again.
fn builds_survive() -> Found {
    let mut found = (0, Vec::new());
    let mut farm = Farm::plan().through_proxy().start();
    farm.wait_builder_says(0, "registered with the hub");
    let second = Some(Duration::from_secs(1));
    let faults = [
        Fault::Cut,
        Fault::Reset,
        Fault::HalfOpen(second),
        Fault::BlackHole(second),
        Fault::Flip(3),
        Fault::Late(0),
        Fault::Late(600),
    ];
    let fates = faults.into_iter().flat_map(|fault| Direction::BOTH.map(|way| (fault, way)));
    for (number, (fault, way)) in fates.enumerate() {
        let gate = format!("go{number}");
        let package = plan(&farm, &format!("survives{number}"), 1, 300, Some(&gate));
        drop_planned(&farm, &package);
        at_gate(&farm, 0, &package);
        let connection = farm.proxy().open().last().copied().expect("a connection");
        // A result of 300 KiB is on its way, or its acknowledgements are.
        let after = if way == Direction::ToHub { 100_000 } else { 60 };
        assert!(farm.proxy().strike(connection, Strike { way, after, fault }), "{}", farm.diagnosis());
        farm.open_gate(&gate);
        assert_done_once(&farm, 0, &package);
        let leased = leases(&farm, &package.srpm);
        if leased != 1 || farm.proxy().open().contains(&connection) && !matches!(fault, Fault::Late(_)) {
            found.1.push(format!("{fault:?} {way:?}: {leased} leases\n{}", farm.diagnosis()));
        }
        // Sessions that were never up would make its pauses longer and longer.
        farm.wait_until("its session", SOON, |farm| {
            farm.proxy().open().iter().any(|open| *open > connection)
        });
        found.0 += 1;
    }
    // While nothing is sent, and two at once with the older served last.
    let package = plan(&farm, "idle", 1, 1, Some("idle"));
    drop_planned(&farm, &package);
    at_gate(&farm, 0, &package);
    for fault in [Fault::Cut, Fault::Reset, Fault::BlackHole(second)] {
        let (connection, before) =
            (farm.proxy().open().last().copied().expect("a connection"), adoptions(&farm, &package));
        let strike = Strike { way: Direction::ToHub, after: 0, fault };
        assert!(farm.proxy().strike(connection, strike), "{}", farm.diagnosis());
        farm.wait_until("it to be adopted", SOON, |farm| adoptions(farm, &package) > before);
        found.0 += 1;
    }
    let next = farm.proxy().connections() + 1;
    farm.proxy().script(move |connection| Fate {
        after_next: (connection == next).then_some(300),
        ..Fate::default()
    });
    farm.proxy().reset();
    farm.wait_until("it to come back", SOON, |farm| farm.proxy().connections() >= next);
    let other = farm.add_builder();
    farm.wait_builder_says(other, "registered with the hub");
    farm.wait_until("the older to be served", SOON, |farm| adoptions(farm, &package) == 4);
    found.0 += 1;
    farm.open_gate("idle");
    assert_done_once(&farm, 0, &package);
    if leases(&farm, &package.srpm) != 1 || hub_log(&farm).contains("panicked") {
        found.1.push(format!("the idle build did not survive\n{}", farm.diagnosis()));
    }
    found
}

#[test]
fn one_fault_at_a_time_hurts_one_session_and_no_build() {
    let mut tally = Tally::new(
        4,
        "chaos-single",
        "one session at a time: a flipped bit at each part of the handshake, a dead peer, half-open lines, resets, late \
         bytes, in builds and uploads",
        "that session ends and no other, both sides notice silence after a minute, each build is adopted and done once",
        "cargo test -p moji-tests --test chaos one_fault",
    );
    let scenarios: [Scenario; 4] = [
        ("bits flipped on their way to the hub", || flips(Direction::ToHub, &FLIPS_TO_HUB)),
        ("bits flipped on their way to the builder", || flips(Direction::ToBuilder, &FLIPS_TO_BUILDER)),
        ("dead peers", dead_peers),
        ("faults in builds and uploads", builds_survive),
    ];
    std::thread::scope(|scope| {
        let running = scenarios.map(|(name, run)| (name, scope.spawn(run)));
        for (name, thread) in running {
            match thread.join() {
                Ok((cases, wrong)) => {
                    tally.cases(cases);
                    wrong.into_iter().for_each(|wrong| tally.violation(format!("{name}: {wrong}")));
                }
                Err(_) => tally.violation(format!("{name}: it panicked, as told above")),
            }
        }
    });
    tally.end();
}
