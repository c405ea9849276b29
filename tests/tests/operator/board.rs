//! Builders: `drain`, `resume`, `quarantine`, `release`, `approve`.

use std::fs;

use moji_tests::{Farm, SOON};

use crate::quick::quick;
use crate::{drop_planned, file, no, object, objects, ok, own_error, restart_hub, wait_state};

/// Two builders that can be told apart: `left` and `right`.
fn two(hub_args: &[&str]) -> Farm {
    let mut farm = Farm::plan().builders(0).hub_args(hub_args.iter().copied()).start();
    for (number, name) in ["left", "right"].into_iter().enumerate() {
        farm.start_builder_as(number, &["--name", name]);
    }
    farm.wait_until("both to be known", SOON, |farm| objects(farm, &["builders"]).len() == 2);
    farm
}

/// How a builder is; a hub that has just started knows nobody.
fn builder(farm: &Farm, name: &str) -> String {
    let ended = farm.moji(&["--json", "builders", name]);
    let row: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
    row["state"].as_str().unwrap_or("?").to_owned()
}

fn wait_builder(farm: &Farm, name: &str, wanted: &str) {
    farm.wait_until(&format!("{name} to be {wanted}"), SOON, |farm| builder(farm, name) == wanted);
}

/// Builds something new; who did.
fn built_by(farm: &Farm, name: &str) -> String {
    drop_planned(farm, name, own_error());
    wait_state(farm, name, "failed");
    object(farm, &["list", name])["builder"].as_str().unwrap_or("?").to_owned()
}

#[test]
fn a_builder_that_is_drained_or_in_quarantine_gets_nothing_until_it_is_told_otherwise() {
    let mut farm = two(&[]);
    drop_planned(&farm, "held", own_error().gate(&farm.gate("go")));
    wait_state(&farm, "held", "building");
    let busy = object(&farm, &["list", "held"])["builder"].as_str().expect("a name").to_owned();
    let idle = if busy == "left" { "right" } else { "left" };
    assert!(ok(&farm, &["drain", &busy]).contains(&busy));
    wait_builder(&farm, &busy, "draining");
    farm.open_gate("go");
    wait_state(&farm, "held", "failed");
    wait_builder(&farm, &busy, "drained");
    assert_eq!(built_by(&farm, "one"), idle);
    // It stays so whoever is restarted.
    restart_hub(&mut farm);
    wait_builder(&farm, idle, "idle");
    wait_builder(&farm, &busy, "drained");
    assert_eq!(built_by(&farm, "two"), idle);
    let number = usize::from(busy == "right");
    assert_eq!(farm.builder(number).term(SOON).code(), Some(0));
    wait_builder(&farm, &busy, "away");
    farm.start_builder_as(number, &["--name", &busy]);
    wait_builder(&farm, &busy, "drained");
    // The other one goes into quarantine: nobody is left.
    ok(&farm, &["quarantine", idle]);
    wait_builder(&farm, idle, "quarantined");
    restart_hub(&mut farm);
    wait_builder(&farm, idle, "quarantined");
    drop_planned(&farm, "waits", own_error());
    wait_state(&farm, "waits", "waiting");
    let text = ok(&farm, &["status"]);
    assert!(text.contains("quarantined") && text.contains("drained"), "{text}");
    ok(&farm, &["resume", &busy]);
    wait_state(&farm, "waits", "failed");
    assert_eq!(object(&farm, &["list", "waits"])["builder"], busy.as_str());
    ok(&farm, &["drain", &busy]);
    ok(&farm, &["release", idle]);
    assert_eq!(built_by(&farm, "three"), idle);
    assert!(no(&farm, &["drain", "righ"]).contains("right"), "what comes near is named");
    // All of them, and those that are idle end.
    ok(&farm, &["resume", &busy]);
    assert!(no(&farm, &["resume", "--all"]).contains("left"), "nobody is drained any more");
    wait_builder(&farm, &busy, "idle");
    drop_planned(&farm, "last", own_error().gate(&farm.gate("end")));
    wait_state(&farm, "last", "building");
    ok(&farm, &["drain", "--all", "--exit"]);
    let last = object(&farm, &["list", "last"])["builder"].as_str().expect("a name").to_owned();
    let (on, off) = if last == "left" { (0, 1) } else { (1, 0) };
    assert_eq!(farm.builder(off).wait_exit(SOON).code(), Some(0));
    assert!(farm.builder(on).is_running(), "a build is finished first");
    farm.open_gate("end");
    assert_eq!(farm.builder(on).wait_exit(SOON).code(), Some(0));
    wait_state(&farm, "last", "failed");
}

#[test]
fn a_builder_that_was_turned_away_works_once_it_is_approved() {
    let folder = tempfile::tempdir().expect("a folder");
    let list = folder.path().join("builders");
    fs::write(&list, "# who may build here\n").expect("a list");
    let args = ["--builders".to_owned(), list.display().to_string()];
    let mut farm = Farm::plan().builders(0).hub_args(args).start();
    let package = quick(&farm, "pack", "1");
    farm.drop_file(&package.srpm);
    let number = farm.add_builder();
    farm.wait_builder_says(number, "not in the hub's list of builders");
    farm.builder(number).term(SOON);
    let row = object(&farm, &["builders"]);
    assert_eq!(row["state"], "unlisted", "{row}");
    let key = row["key"].as_str().expect("a key").to_owned();
    assert!(ok(&farm, &["status"]).contains("unlisted"));
    assert!(no(&farm, &["approve", "board", "0123"]).contains(&key), "who was turned away is named");
    assert_eq!(fs::read_to_string(&list).expect("there"), "# who may build here\n");
    let said = ok(&farm, &["approve", "board", &key]);
    assert!(said.contains("board"), "{said}");
    let text = fs::read_to_string(&list).expect("there");
    assert!(text.starts_with("# who may build here\n") && text.contains(&format!("board {key}")), "{text}");
    farm.start_builder(number);
    wait_state(&farm, "pack", "success");
    farm.wait_until("it to be seen at work", SOON, |farm| {
        objects(farm, &["builders"]).iter().all(|row| row["state"] == "idle")
    });
    assert_eq!(farm.places(&file("pack")), ["finished"]);
}

#[test]
fn without_a_list_of_builders_there_is_nothing_to_approve_and_the_hub_says_how_to_have_one() {
    let farm = Farm::plan().builders(0).start();
    let key = "ab".repeat(32);
    assert!(no(&farm, &["approve", "board", &key]).contains("--builders"));
}
