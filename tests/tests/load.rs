//! A crowd of builders and a short day of a farm, as `tests/bench crowd` has them, only fewer.
//!
//! Owns how many. Whether each builder gets one job, each package is leased once and nothing is lost is for the
//! benchmark to say (`src/bin/bench/crowd/`); how fast that is must not matter here.

use std::process::Command;
use std::time::Duration;

use moji_tests::run_to_end;

/// The benchmark's own waits end sooner.
const LIMIT: Duration = Duration::from_secs(540);

#[test]
fn nobody_in_a_crowd_is_turned_away_and_every_package_is_leased_once() {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_bench"));
    bench.arg("crowd");
    for (name, default) in
        [("MOJI_LOAD_BUILDERS", "500"), ("MOJI_LOAD_BOARDS", "30"), ("MOJI_LOAD_DAY_S", "3")]
    {
        bench.env(name, std::env::var(name).unwrap_or_else(|_| default.to_owned()));
    }
    let ended = run_to_end(bench, LIMIT);
    println!("{}{}", ended.stdout, ended.stderr);
    assert_eq!(ended.code, 0, "the benchmark found violations:\n{}{}", ended.stdout, ended.stderr);
    assert!(ended.stderr.contains("load-small: "), "it counted its cases: {}", ended.stderr);
}
