//! Simulated farms, as CI runs them: many seeds without a fault found, and every planted bug found.
//!
//! Owns how many. `cargo run --release -p moji-tests --bin sim -- --seeds 0..10000` runs more.

use moji_tests::sim::{Failure, Planted, run_all};

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
