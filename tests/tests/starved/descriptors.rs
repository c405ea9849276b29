//! No descriptors left.

use std::collections::BTreeSet;
use std::fs;

use moji_tests::faults::Tally;
use moji_tests::{Farm, SOON};

use crate::{at_gate, drop_in, finished, is_calm, limit, plan, status_ends, status_says};

/// What a command says that operators can give.
const REMEDY: &str = "raise the hub's limit of open files";

/// Descriptors of a process.
fn used(pid: u32) -> BTreeSet<u32> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process that lives")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect()
}

/// Leaves a process so many free descriptors.
fn leave(pid: u32, free: u32) {
    let used = used(pid);
    let mut left = free + 1;
    let bound = (0..).find(|number| {
        left -= u32::from(!used.contains(number));
        left == 0
    });
    limit(pid, &format!("--nofile={}:", bound.expect("descriptors are numbers")));
}

fn give_back(pid: u32) {
    limit(pid, "--nofile=1024:");
}

#[test]
fn a_hub_without_descriptors_waits_says_so_and_goes_on() {
    let mut tally = Tally::new(
        2,
        "starved-descriptors-hub",
        "the hub runs out of descriptors: before a commit, before an upload, before a grant's folders are synced",
        "it waits, idle; status says what waits and what to do; with descriptors everything is finished once",
        "cargo test -p moji-tests --test starved descriptors",
    );
    let mut farm = Farm::plan().builders(2).hub_args(["--min-free", "0"]).start();
    let pid = farm.hub().pid();
    // A commit opens all files of a result at once, to sync them together; a connection of an operator takes one.
    let what = "commit";
    let many = plan(&farm, "many", 40, 500);
    drop_in(&farm, &many);
    farm.wait_until("a build", SOON, |farm| farm.mocks().len() == 1);
    let builder = usize::from(!farm.builder(0).logs_contain("many-1-1"));
    at_gate(&farm, builder, &many);
    leave(pid, 6);
    farm.open_gate("many");
    farm.wait_hub_says("uploads and commits wait, everything is kept");
    status_says(&farm, "uploads and commits wait for ", what, &mut tally);
    status_says(&farm, REMEDY, what, &mut tally);
    is_calm(pid, what, &mut tally);
    tally.holds(farm.places(&many.srpm) == ["working"], || "commit: it left working/".to_owned());
    give_back(pid);
    finished(&farm, &many, what, &mut tally);
    status_ends(&farm, "uploads and commits wait", what, &mut tally);
    tally.case();

    let what = "upload";
    let one = plan(&farm, "one", 2, 50_000);
    drop_in(&farm, &one);
    farm.wait_until("a build", SOON, |farm| farm.mocks().len() == 1);
    let builder = usize::from(!farm.builder(0).logs_contain("one-1-1"));
    at_gate(&farm, builder, &one);
    leave(pid, 0);
    let before = farm.hub().log_count("uploads and commits wait");
    farm.open_gate("one");
    farm.wait_until("it to wait", SOON, |farm| {
        crate::log_of(&farm.path().join("hub.log")).matches("uploads and commits wait").count() > before
    });
    is_calm(pid, what, &mut tally);
    give_back(pid);
    finished(&farm, &one, what, &mut tally);
    tally.case();

    // The second builder's connection takes the last one; folders are synced with the one that is kept for that.
    let what = "grant";
    farm.builder(1).term(SOON);
    let (first, second) = (plan(&farm, "first", 1, 500), plan(&farm, "second", 1, 500));
    drop_in(&farm, &first);
    at_gate(&farm, 0, &first);
    let calm = used(pid).len();
    drop_in(&farm, &second);
    farm.wait_until("both to be known", SOON, |farm| farm.moji(&["list"]).stdout.contains("second"));
    farm.wait_until("the operator's connection to end", SOON, |_| used(pid).len() <= calm);
    leave(pid, 1);
    farm.start_builder(1);
    farm.wait_hub_says("pkg=second-1-1.src.rpm lease=");
    is_calm(pid, what, &mut tally);
    farm.open_gate("first");
    farm.open_gate("second");
    is_calm(pid, what, &mut tally);
    give_back(pid);
    finished(&farm, &first, what, &mut tally);
    finished(&farm, &second, what, &mut tally);
    tally.case();

    // What is dropped meanwhile cannot be read.
    let what = "arrival";
    let late = plan(&farm, "late", 1, 500);
    farm.open_gate("late");
    leave(pid, 0);
    drop_in(&farm, &late);
    is_calm(pid, what, &mut tally);
    give_back(pid);
    finished(&farm, &late, what, &mut tally);
    tally.case();

    let log = crate::log_of(&farm.path().join("hub.log"));
    tally.holds(farm.hub().pid() == pid && farm.hub().is_running(), || "the hub ended".to_owned());
    tally.holds(!log.contains("until a restart") && !log.contains("panicked"), || log.clone());
    tally.end();
}

#[test]
fn a_builder_without_descriptors_gives_back_or_waits_and_goes_on() {
    let mut tally = Tally::new(
        2,
        "starved-descriptors-builder",
        "a builder runs out of descriptors: before a job comes, and before its result is read",
        "it waits, idle, or gives the package back; with descriptors everything is finished once",
        "cargo test -p moji-tests --test starved descriptors",
    );
    let start = || {
        let farm = Farm::plan().hub_args(["--min-free", "0"]).builder_args(["--min-free", "0"]).start();
        farm.wait_builder_says(0, "registered with the hub");
        farm
    };
    for free in [0, 4] {
        let mut farm = start();
        let pid = farm.builder(0).pid();
        let what = format!("a job for a builder with {free} descriptors");
        let package = plan(&farm, "job", 3, 5_000);
        farm.open_gate("job");
        leave(pid, free);
        drop_in(&farm, &package);
        farm.wait_hub_says("pkg=job-1-1.src.rpm lease=");
        is_calm(pid, &what, &mut tally);
        let lives = farm.builder(0).is_running();
        tally.holds(lives, || format!("{what}: it ended\n{}", farm.diagnosis()));
        give_back(pid);
        // What was given back is not tried there again so soon.
        farm.add_builder();
        finished(&farm, &package, &what, &mut tally);
        tally.case();

        let what = format!("a result for a builder with {free} descriptors");
        let mut farm = start();
        let pid = farm.builder(0).pid();
        let package = plan(&farm, "result", 3, 5_000);
        drop_in(&farm, &package);
        at_gate(&farm, 0, &package);
        leave(pid, free);
        farm.open_gate("result");
        is_calm(pid, &what, &mut tally);
        give_back(pid);
        farm.add_builder();
        finished(&farm, &package, &what, &mut tally);
        let lives = farm.builder(0).is_running();
        tally.holds(lives, || format!("{what}: it ended\n{}", farm.diagnosis()));
        tally.case();
    }
    tally.end();
}
