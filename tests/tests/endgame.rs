//! The end game (`--duplicate-last`), end to end: a slow board has the last package, a faster one idles and gets a copy.
//!
//! Owns these scenarios. Builds end when the test opens their gates; how long boards take is what the history says, which
//! is made anew from results that the test has changed.

mod quick;

use std::fs;
use std::path::Path;

use moji_tests::{Farm, Outcome, SOON};
use quick::{Quick, quick};
use serde_json::Value;

/// Numbers of the builders.
const SLOW: usize = 0;
const FAST: usize = 1;

fn row(farm: &Farm, builder: &str) -> Value {
    let ended = farm.moji(&["--json", "builders", builder]);
    ended.stdout.lines().next().map_or(Value::Null, |line| serde_json::from_str(line).expect("JSON"))
}

fn moji(farm: &Farm, words: &[&str]) -> String {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "{words:?}: {}", ended.stderr);
    // Lines are wrapped to the width of a terminal.
    ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn wait_idle(farm: &Farm, builder: &str) {
    farm.wait_until("it to be idle", SOON, |farm| row(farm, builder)["state"] == "idle");
}

/// Lets a result say that its build took so long.
fn took(folder: &Path, seconds: u32) {
    let path = folder.join("result.json");
    let mut result: Value = serde_json::from_slice(&fs::read(&path).expect("a result")).expect("JSON");
    result["seconds"] = seconds.into();
    fs::write(path, result.to_string()).expect("a result can be written");
}

/// What mock does with the package on a builder: it waits for a gate, then leaves what was built.
fn plan(farm: &Farm, builder: usize, package: &Quick, gate: &str) {
    let rpm = package.rpm.file_name().expect("a file has a name").to_string_lossy();
    let built = Outcome::exit(0).file(&package.file, &package.srpm).file(&rpm, &package.rpm);
    farm.outcome_on(builder, &package.file, built.log("build.log", "quick\n").gate(&farm.gate(gate)));
}

/// A hub that knows that `giant` takes 4,000 s on `slow` and 1,000 s on `fast`; both build it now, `slow` first.
fn both_build() -> (Farm, Quick) {
    let mut farm = Farm::plan().builders(0).hub_args(["--duplicate-last"]).start();
    let package = quick(&farm, "giant", "1");
    farm.drop_file(&package.srpm);
    farm.start_builder_as(SLOW, &["--name", "slow"]);
    farm.wait_finished(&package.file);
    moji(&farm, &["drain", "slow"]);
    farm.start_builder_as(FAST, &["--name", "fast"]);
    moji(&farm, &["retry", "giant"]);
    farm.wait_finished(&package.file);
    farm.wait_until("both results", SOON, |farm| farm.results("giant-1-1").len() == 2);
    wait_idle(&farm, "fast");
    farm.hub().term(SOON);
    took(&farm.repo().join("giant-1-1"), 4_000);
    took(&farm.repo().join("giant-1-1@2"), 1_000);
    for file in ["history.db", "history.db-wal", "history.db-shm"] {
        let _ = fs::remove_file(farm.state().join(file));
    }
    farm.start_hub();
    wait_idle(&farm, "slow");
    wait_idle(&farm, "fast");
    moji(&farm, &["drain", "fast"]);
    plan(&farm, SLOW, &package, "slow");
    plan(&farm, FAST, &package, "fast");
    moji(&farm, &["retry", "giant"]);
    farm.wait_until("slow to build it", SOON, |farm| farm.mocks().len() == 1);
    assert_eq!(row(&farm, "slow")["srpm"], package.file.as_str());
    moji(&farm, &["resume", "fast"]);
    farm.wait_until("both to build it", SOON, |farm| farm.mocks().len() == 2);
    (farm, package)
}

/// The package is built once more, by this builder; the other one's build is over and it waits for work.
fn assert_won(farm: &Farm, package: &Quick, winner: &str, loser: &str) {
    farm.wait_finished(&package.file);
    farm.wait_until("the result", SOON, |farm| farm.results("giant-1-1").len() == 3);
    assert_eq!(farm.result_json("giant-1-1@3")["builder"], winner);
    assert_eq!(farm.result_json("giant-1-1@3")["verdict"], "success");
    farm.wait_until("no build to go on", SOON, |farm| farm.mocks().is_empty());
    wait_idle(farm, loser);
    let shown = moji(farm, &["show", "giant"]);
    assert!(shown.contains(&format!("released on {loser}")), "{shown}");
    assert!(shown.contains("another builder built it first"), "{shown}");
    // It takes work again.
    moji(farm, &["drain", winner]);
    let next = quick(farm, "next", "1");
    farm.drop_file(&next.srpm);
    farm.wait_finished(&next.file);
    assert_eq!(farm.result_json("next-1-1")["builder"], loser);
}

#[test]
fn the_last_package_on_a_slow_board_is_copied_to_a_faster_idle_one_which_wins() {
    let (farm, package) = both_build();
    let too = "fast builds it too: the first result counts";
    assert!(moji(&farm, &["show", "giant"]).contains(too));
    let why = moji(&farm, &["why", "giant"]);
    assert!(why.contains("slow builds it") && why.contains("fast is faster and builds it too"), "{why}");
    for builder in ["slow", "fast"] {
        assert_eq!(row(&farm, builder)["srpm"], package.file.as_str(), "{builder}");
    }
    assert_eq!(farm.places(&package.file), ["working"]);
    farm.open_gate("fast");
    assert_won(&farm, &package, "fast", "slow");
}

#[test]
fn both_builds_go_on_when_the_hub_is_killed_and_the_first_result_counts() {
    let (mut farm, package) = both_build();
    farm.hub().kill9();
    farm.start_hub();
    farm.wait_until("both to be adopted", SOON, |farm| {
        ["slow", "fast"].iter().all(|builder| row(farm, builder)["srpm"] == package.file.as_str())
            && farm.mocks().len() == 2
    });
    assert_eq!(farm.places(&package.file), ["working"]);
    farm.wait_until("both to be named", SOON, |farm| moji(farm, &["why", "giant"]).contains("builds it too"));
    farm.open_gate("slow");
    assert_won(&farm, &package, "slow", "fast");
}
