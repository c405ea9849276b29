//! Simulated farms, as CI runs them: many seeds without a fault found, and every planted bug found.
//!
//! Owns how many. `cargo run --release -p moji-tests --bin sim -- --seeds 0..10000` runs more.

use moji_tests::sim::{Failure, Options, Planted, farm, run_all};

/// So many take a minute in a debug build on two shared cores.
const SEEDS: u64 = 600;
/// A planted bug must be found within so many seeds.
const PLANTED_SEEDS: u64 = 1_000;
/// Threads of a CI machine.
const THREADS: usize = 2;

fn list(failures: &[Failure]) -> String {
    let line = |failure: &Failure| {
        format!(
            "seed {}: {}\n  replay: cargo run -p moji-tests --bin sim -- --seed {} --trace\n",
            failure.seed, failure.what, failure.seed
        )
    };
    failures.iter().map(line).collect()
}

#[test]
fn whatever_happens_no_result_is_lost_and_every_package_gets_where_it_belongs() {
    let (ran, failures) = run_all(0, SEEDS, THREADS, None, false);
    assert!(failures.is_empty(), "{} of {ran} seeds failed:\n{}", failures.len(), list(&failures));
    assert_eq!(ran, SEEDS);
}

#[test]
fn every_planted_bug_is_found() {
    for planted in Planted::ALL {
        let (ran, failures) = run_all(0, PLANTED_SEEDS, THREADS, Some(planted), true);
        assert!(!failures.is_empty(), "{} was not found by {ran} seeds", planted.name());
        println!("{}: found after {ran} seeds: {}", planted.name(), failures[0].what);
    }
}

#[test]
fn a_modelled_farm_keeps_its_boards_busy_and_builds_everything_once() {
    let (boards, packages) = (20, 400);
    let times = Options::build_times(1, packages);
    let stats = farm(1, boards, &times).unwrap_or_else(|failure| panic!("{}", failure.what));
    assert_eq!(stats.builds, packages as u64);
    // No order can be better than the mean load, and whoever is never idle while something waits is at
    // most the longest build behind it (Graham, 1966); a minute is for moving bytes.
    let mean = times.iter().sum::<u64>() / boards as u64;
    let bound = mean + times.iter().max().expect("there are packages") + 60_000;
    assert!((mean..bound).contains(&stats.last_build_ms), "{} of {mean} to {bound} ms", stats.last_build_ms);
}
