//! Where packages go, and whose word counts, end to end: boards that are too small, failures that another board must
//! confirm, boards that fail what others pass, boards that refuse work by themselves.
//!
//! Owns these scenarios. Boards of other sizes, with wrong clocks or hot, are played by builders of the test's own.

mod quick;
#[allow(dead_code, reason = "other files of tests break more rules")]
mod rogue;

use moji_proto::message::{FromBuilder, Health, ToBuilder, Trouble, Verdict};
use moji_tests::{Farm, Outcome, SOON, simple_spec, srpm_from_spec};
use quick::quick;
use rogue::{Rogue, Upload, register, results};
use serde_json::Value;

/// A builder with so much memory and free disk, MiB, that waits for a job; the hub has heard so.
fn board(farm: &Farm, key: u8, memory: u32, disk: u32) -> Rogue {
    let mut greeting = register(key, 0);
    if let FromBuilder::Register { memory_mib, disk_free_mib, .. } = &mut greeting {
        (*memory_mib, *disk_free_mib) = (memory, disk);
    }
    let mut board = Rogue::ready_as(farm, key, greeting);
    assert!(board.is_alive_with(Health { disk_free_mib: disk, ..Health::default() }));
    board
}

/// What `moji` prints with `--json`, an object a line; nothing of what is not there (yet).
fn objects(farm: &Farm, words: &[&str]) -> Vec<Value> {
    let ended = farm.moji(&[&["--json"], words].concat());
    assert!(ended.code <= 1, "{}", ended.stderr);
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

fn text(farm: &Farm, words: &[&str]) -> String {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    // Lines are wrapped to the width of a terminal.
    ended.stdout.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A package's state and why, as `moji list` shows them.
fn shown(farm: &Farm, name: &str) -> (String, String) {
    let rows = objects(farm, &["list", name]);
    let word =
        |field: &str| rows.first().unwrap_or(&Value::Null)[field].as_str().unwrap_or_default().to_owned();
    (word("state"), word("why"))
}

fn fails() -> Outcome {
    Outcome::exit(1).log("build.log", "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n")
}

/// Drops a trivial package of which an outcome is planned; its file name.
fn drop_planned(farm: &Farm, name: &str) -> String {
    farm.drop_file(&srpm_from_spec(farm.path(), &simple_spec(name, "1", "")))
}

/// Starts builder `number` under a name of its own.
fn start(farm: &mut Farm, number: usize, name: &str) {
    farm.start_builder_as(number, &["--name", name]);
    farm.wait_hub_says(&format!("builder={name} "));
}

#[test]
fn what_a_build_took_is_known_after_a_restart_and_keeps_it_from_boards_that_are_too_small() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "heavy", "1");
    farm.drop_file(&package.srpm);
    let mut first = board(&farm, 1, 1_024, 9_000);
    let lease = first.job();
    let mut told = results(lease, 2);
    if let FromBuilder::Results { peak_memory_mib, peak_disk_mib, .. } = &mut told {
        (*peak_memory_mib, *peak_disk_mib) = (700, 5_000);
    }
    first.send(&told);
    let files = [Upload::of(&package.srpm), Upload::of(&package.rpm)];
    for Upload { name, size, digest, .. } in files.clone() {
        first.send(&FromBuilder::File { lease, name, size, digest });
    }
    let verdict = Verdict::Success;
    assert_eq!(first.serve(lease, &files), ToBuilder::Accepted { lease, verdict });
    farm.wait_finished(&package.file);
    let result = farm.result_json("heavy-1-1");
    assert_eq!((&result["peak_memory_mib"], &result["peak_disk_mib"]), (&700.into(), &5_000.into()));
    assert!(text(&farm, &["show", "heavy"]).contains("largest process 700 MiB, 5000 MiB of disk"));
    drop(first);

    farm.hub().term(SOON);
    farm.start_hub();
    // Idle the longest, and each too small in one way.
    let mut little_memory = board(&farm, 2, 699, 9_000);
    let mut little_disk = board(&farm, 3, 1_024, 4_999);
    let mut big = board(&farm, 4, 700, 5_000);
    let retried = farm.moji(&["retry", "heavy"]);
    assert_eq!(retried.code, 0, "{}", retried.stderr);
    big.job();
    assert_eq!(objects(&farm, &["builders", "rogue4"])[0]["srpm"], package.file.as_str());
    // The others are there all the time.
    let own = Health { disk_free_mib: 9_000, ..Health::default() };
    assert!(little_memory.is_alive_with(own) && little_disk.is_alive_with(own));
}

#[test]
fn a_failure_counts_once_two_boards_agree_and_waits_for_the_other_until_then() {
    let mut farm = Farm::plan().builders(0).hub_args(["--confirm-failures", "2"]).start();
    let [one, two] = ["bad-1-1.src.rpm", "long-1-1.src.rpm"];
    farm.outcome(one, fails().gate(&farm.gate("bad")));
    farm.outcome(two, fails().gate(&farm.gate("long")));
    start(&mut farm, 0, "left");
    drop_planned(&farm, "bad");
    farm.wait_until("it to be built", SOON, |farm| shown(farm, "bad").0 == "building");
    start(&mut farm, 1, "right");
    drop_planned(&farm, "long");
    farm.wait_until("it to be built", SOON, |farm| shown(farm, "long").0 == "building");
    farm.open_gate("bad");
    farm.wait_hub_says("(1 of 2 boards, waits for another)");
    // left is idle, and right is asked.
    let why = "failed on left, 1 of 2 boards: waits for another; goes to right next";
    farm.wait_until("it to wait", SOON, |farm| shown(farm, "bad") == ("waiting".into(), why.into()));
    assert!(text(&farm, &["show", "bad"]).contains(why));
    farm.open_gate("long");
    // long fails on right, and then on left.
    farm.wait_finished(one);
    farm.wait_finished(two);
    for (nvr, on) in [("bad-1-1", "failed on left and right: "), ("long-1-1", "failed on left and right: ")] {
        let result = farm.result_json(nvr);
        let reason = result["reason"].as_str().expect("a reason");
        assert_eq!(result["verdict"], "failed");
        let either = on.replace("left and right", "right and left");
        assert!(reason.starts_with(on) || reason.starts_with(&either), "{reason}");
        assert_eq!(farm.results(nvr), [nvr], "one result, whatever others thought before");
    }
}

#[test]
fn with_one_board_its_word_is_taken_and_the_reason_says_so() {
    let mut farm = Farm::plan().builders(0).hub_args(["--confirm-failures", "2"]).start();
    let name = "bad-1-1.src.rpm";
    farm.outcome(name, fails());
    start(&mut farm, 0, "lone");
    drop_planned(&farm, "bad");
    farm.wait_finished(name);
    let result = farm.result_json("bad-1-1");
    let reason = result["reason"].as_str().expect("a reason");
    let why = "(on lone only, 1 of 2: no other board that may have it is connected)";
    assert!(reason.ends_with(why), "{reason}");
}

#[test]
fn a_board_that_fails_what_others_pass_is_named_also_after_a_restart() {
    let mut farm = Farm::plan().builders(0).hub_args(["--confirm-failures", "2"]).start();
    farm.outcome("long-1-1.src.rpm", Outcome::build_behind(&farm.gate("long")));
    std::fs::create_dir_all(farm.path().join("outcomes1")).expect("a folder");
    start(&mut farm, 0, "good");
    drop_planned(&farm, "long");
    farm.wait_until("it to be built", SOON, |farm| shown(farm, "long").0 == "building");
    // While good is busy, bad tries all that comes.
    start(&mut farm, 1, "bad");
    for name in ["a", "b", "c"] {
        let package = quick(&farm, name, "1");
        farm.outcome_on(1, &package.file, fails());
        farm.drop_file(&package.srpm);
    }
    farm.wait_until("bad to fail all", SOON, |farm| {
        ["a", "b", "c"].iter().all(|name| shown(farm, name).1.starts_with("failed on bad, 1 of 2 boards"))
    });
    let row = |farm: &Farm, name: &str| objects(farm, &["builders", name]).pop().unwrap_or_default();
    let suspect = |farm: &Farm, name: &str| row(farm, name)["suspect"].clone();
    assert_eq!(suspect(&farm, "bad"), "", "nobody has built them yet");
    farm.open_gate("long");
    for name in ["a", "b", "c"] {
        farm.wait_finished(&format!("{name}-1-1.src.rpm"));
        assert_eq!(farm.result_json(&format!("{name}-1-1"))["verdict"], "success");
    }
    farm.wait_until("bad to be named", SOON, |farm| suspect(farm, "bad") != "");
    let told = suspect(&farm, "bad").as_str().expect("text").to_owned();
    let named = told.strip_prefix("fails what others pass: ").expect("how it is said");
    assert!(["a-1-1", "b-1-1", "c-1-1"].iter().all(|nvr| named.contains(nvr)), "{named}");
    assert_eq!(suspect(&farm, "good"), "");
    for words in [&["status"][..], &["builders", "bad"], &["builders"], &["history", "bad"]] {
        assert!(text(&farm, words).contains("fails what others pass: "), "{words:?}");
    }
    farm.hub().term(SOON);
    farm.start_hub();
    farm.wait_until("bad to be back", SOON, |farm| row(farm, "bad")["state"] == "idle");
    assert_eq!(suspect(&farm, "bad"), told.as_str());
}

#[test]
fn a_board_whose_clock_is_wrong_gets_nothing_and_its_machine_is_shown() {
    let farm = Farm::plan().builders(0).start();
    let mut late = board(&farm, 1, 1_024, 9_000);
    let wrong = Health {
        disk_free_mib: 9_000,
        memory_free_mib: 700,
        load_centi: 150,
        celsius: Some(71),
        clock_off_s: -720,
        trouble: Some(Trouble::Clock),
    };
    assert!(late.is_alive_with(wrong));
    let package = quick(&farm, "waits", "1");
    farm.drop_file(&package.srpm);
    farm.wait_until("it to wait", SOON, |farm| !farm.moji(&["list", "waits"]).stdout.is_empty());
    let row = objects(&farm, &["builders", "rogue1"]).remove(0);
    for (field, want) in [
        ("state", "troubled".into()),
        ("why", "its clock is 12 min behind".into()),
        ("trouble", "clock".into()),
        ("celsius", Value::from(71)),
        ("clock_off_s", Value::from(-720)),
        ("disk_free_mib", Value::from(9_000)),
        ("load_centi", Value::from(150)),
    ] {
        assert_eq!(row[field], want, "{field}");
    }
    let shown_text = text(&farm, &["builders", "rogue1"]);
    assert!(shown_text.contains("71 °C") && shown_text.contains("12 m behind the hub's"), "{shown_text}");
    assert_eq!(shown(&farm, "waits").0, "waiting");
    // Set right, it gets it.
    assert!(late.is_alive_with(Health { clock_off_s: 1, trouble: None, ..wrong }));
    late.job();
}
