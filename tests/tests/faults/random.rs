//! Kills at random moments of random daemons while twenty packages are under way.
//!
//! Owns that suite. What the chosen points of the other suites miss, because two daemons die or several packages meet,
//! is met here sooner or later.

use std::time::{Duration, Instant};

use moji_tests::faults::Tally;
use moji_tests::poll_until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::lanes::{Dice, number, seed};
use crate::world::World;

/// Kills when nobody says how many.
const KILLS: u64 = 200;
/// Packages of a round.
const PACKAGES: usize = 20;
/// Kills of a round.
const ROUND: u64 = 25;
/// Kills of a farm, then comes a new one: each look at whether all is done compares every package of it.
const FARM: u64 = 250;
const BUILDERS: usize = 4;
/// Longest pause between two kills, milliseconds: a start takes a part of that.
const PAUSE_MS: u64 = 350;
/// Shims that are killed in a round: three builds lost in a row send a builder away for a minute.
const SHIMS: u64 = 2;
const ARGS: [&str; 4] = ["--retry-pause", "1", "--attempts", "1000"];

/// Kills a shim, if one runs.
fn kill_shim(world: &World, dice: &mut Dice) -> bool {
    let mut shims = world.farm.processes();
    shims.retain(|process| process.command.contains(" --shim "));
    if shims.is_empty() {
        return false;
    }
    let shim = &shims[dice.below(shims.len() as u64) as usize];
    kill(Pid::from_raw(shim.pid), Signal::SIGKILL).is_ok()
}

#[test]
fn kills_at_random_moments_lose_and_double_nothing() {
    let mut tally = Tally::new(
        1,
        "kill-random",
        "hub, four builders and shims killed at random moments, twenty packages under way",
        "as kill-hub, at the end of each round of 25 kills",
        "MOJI_KILLS=1000 MOJI_SEED=1 cargo test -p moji-tests --test faults kills_at_random",
    );
    let kills = number("MOJI_KILLS", KILLS);
    let seed = seed();
    let mut dice = Dice(seed);
    let mut world = World::new(seed, BUILDERS, &ARGS);
    let (mut done, mut hubs, mut shims_killed, mut packages) = (0, 0, 0, 0);
    while done < kills && tally.violations() == 0 {
        if done > 0 && done % FARM == 0 {
            world = World::new(seed.wrapping_add(done), BUILDERS, &ARGS);
        }
        packages += PACKAGES;
        for _ in 0..PACKAGES {
            let package = world.package(None);
            world.drop(&package);
            // Builds that were killed are built again.
            world.explained.insert(package.srpm.clone());
        }
        let mut shims = 0;
        for _ in 0..ROUND.min(kills - done) {
            let until = Instant::now() + Duration::from_millis(dice.below(PAUSE_MS));
            poll_until(Duration::from_millis(PAUSE_MS), || Instant::now() >= until);
            match dice.below(8) {
                0..=2 => {
                    world.farm.hub().kill9();
                    hubs += 1;
                }
                3 if shims < SHIMS && kill_shim(&world, &mut dice) => {
                    shims += 1;
                    shims_killed += 1;
                }
                _ => world.farm.builder(dice.below(BUILDERS as u64) as usize).kill9(),
            }
            world.raise();
            done += 1;
            tally.case();
        }
        let begun = Instant::now();
        for wrong in world.settle() {
            tally.violation(format!("seed {seed}, after {done} kills: {wrong}"));
        }
        eprintln!("{done} kills, settled in {} ms", begun.elapsed().as_millis());
    }
    let builders = done - hubs - shims_killed;
    tally.figure(format!("hub {hubs}, builders {builders}, shims {shims_killed}; {packages} packages"));
    tally.end();
}
