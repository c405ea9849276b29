//! Simulated farms within `cargo test`: some seeds without a fault found, every planted bug found, a modelled farm.
//!
//! Owns how many. `tests/run` runs many more of them in the profile that is made for it.

use moji_tests::sim::farm::{self, Plan};
use moji_tests::sim::schedule::{self, Setup, Who};
use moji_tests::sim::{Planted, run_all};

/// So many take half a minute in a debug build on two shared cores.
const SEEDS: u64 = 600;
/// A planted bug must be found within so many seeds.
const PLANTED_SEEDS: u64 = 1_000;
/// Threads of a CI machine.
const THREADS: usize = 2;

#[test]
fn whatever_happens_no_result_is_lost_and_every_package_gets_where_it_belongs() {
    let summary = run_all(0, SEEDS, THREADS, None, false);
    let line = |failure: &moji_tests::sim::Failure| {
        format!("seed {}: {}\n  replay: {}\n", failure.seed, failure.what, failure.replay(None))
    };
    let failures: String = summary.failures.iter().map(line).collect();
    assert!(failures.is_empty(), "{} of {} seeds failed:\n{failures}", summary.failures.len(), summary.ran);
    assert_eq!(summary.ran, SEEDS);
    assert!(summary.sums.copies > SEEDS / 10, "too few copies at the end: {}", summary.sums.copies);
}

#[test]
fn every_planted_bug_is_found() {
    for planted in Planted::ALL {
        let summary = run_all(0, PLANTED_SEEDS, THREADS, Some(planted), true);
        let (name, ran) = (planted.name(), summary.ran);
        let failure =
            summary.failures.first().unwrap_or_else(|| panic!("{name} was not found by {ran} seeds"));
        println!("{name}: found after {ran} seeds: {}", failure.what);
    }
}

#[test]
fn a_modelled_farm_keeps_its_boards_busy_and_builds_everything() {
    let plan = Plan::draw(1, 20, 400);
    let figures = farm::run(&plan).unwrap_or_else(|failure| panic!("{}", failure.what));
    assert_eq!(figures.verdicts.values().sum::<usize>(), 400, "{:?}", figures.verdicts);
    assert!(figures.builds >= 400);
    // No order can be better than all boards busy to the end, and whoever is never idle while something waits
    // is at most the longest build behind it (Graham, 1966); a minute is for moving bytes.
    let mean = figures.busy_ms.iter().sum::<u64>() / plan.boards.len() as u64;
    let longest = figures.all.iter().filter_map(|build| Some(build.ended_ms? - build.began_ms)).max();
    let bound = mean + longest.expect("something was built") + 60_000;
    let last = figures.last_build_ms;
    assert!((mean..bound).contains(&last), "{last} of {mean} to {bound} ms");
}

#[test]
fn a_farm_that_is_stopped_early_says_what_it_came_to_by_then() {
    let plan = Plan { stop_ms: Some(3_600_000), ..Plan::draw(1, 5, 400) };
    let figures = farm::run(&plan).unwrap_or_else(|failure| panic!("{}", failure.what));
    assert_eq!(figures.virtual_ms, 3_600_000);
    assert!(figures.verdicts.values().sum::<usize>() < 400);
    assert!(figures.busy_ms.iter().all(|busy| *busy <= figures.last_build_ms), "{:?}", figures.busy_ms);
}

#[test]
fn the_order_comes_close_to_what_is_possible_and_wastes_fewer_builds_than_simpler_ones() {
    let setup = Setup { packages: 300, boards: 9, seed: 0, runs: 5, threads: THREADS };
    let compared = schedule::compare(setup);
    let [times, headers, mainline] =
        [Who::Times, Who::Headers, Who::Mainline].map(|who| compared.median(who));
    assert!(times.ratio < 1.15 && headers.ratio < 1.3 && mainline.ratio < 1.3, "{compared}");
    for who in [Who::Fifo, Who::Random, Who::Rounds] {
        let other = compared.median(who);
        for own in [times, headers, mainline] {
            assert!(own.wasted < other.wasted / 20 && own.ratio < other.ratio, "{}:\n{compared}", who.name());
        }
    }
    // Nobody can be faster than what nobody can beat.
    let all = compared.outcomes.iter().flat_map(|(_, runs)| runs);
    assert!(all.into_iter().all(|run| run.ratio >= 1.0), "{compared}");
}
