//! What is published: results that wait for review, and results that are taken back.

use std::fs;

use moji_tests::{Farm, Outcome, SOON, rpms_from_spec, simple_spec, srpm_from_spec};
use serde_json::Value;

use crate::quick::quick;
use crate::{file, indexed, no, nvr, object, objects, ok, restart_hub, state, wait_state};

/// Drops a package that also builds a binary package `shared`.
fn drop_sharing(farm: &Farm, name: &str) {
    let folder = farm.path().join("sharing").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let sub = "%package -n shared\nSummary: x\n%description -n shared\nx\n%files -n shared\n";
    let spec = simple_spec(name, "1", "").replace("%install", &format!("{sub}%install"));
    let srpm = srpm_from_spec(&folder, &spec);
    let mut outcome = Outcome::exit(0).log("build.log", "x\n");
    for path in rpms_from_spec(&folder, &spec).iter().chain([&srpm]) {
        outcome = outcome.file(&path.file_name().expect("a name").to_string_lossy(), path);
    }
    farm.outcome(&file(name), outcome);
    farm.drop_file(&srpm);
}

fn decision(farm: &Farm, nvr: &str) -> Value {
    let bytes = fs::read(farm.repo().join(nvr).join("decision.json")).expect("a decision");
    serde_json::from_slice(&bytes).expect("it is JSON")
}

#[test]
fn a_result_that_waits_for_review_is_published_or_not_as_said_and_stays_so() {
    let mut farm = Farm::plan().start();
    drop_sharing(&farm, "aaa");
    wait_state(&farm, "aaa", "success");
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>aaa<"));
    for name in ["bbb", "ccc"] {
        drop_sharing(&farm, name);
        wait_state(&farm, name, "review");
    }
    let why = object(&farm, &["list", "bbb"])["why"].as_str().unwrap_or("").to_owned();
    assert!(why.contains("shared from aaa"), "{why}");
    assert!(no(&farm, &["retry", "bbb"]).contains("accept"), "a review is not retried");
    assert!(no(&farm, &["accept", "aaa"]).contains("aaa-1-1"), "it does not wait for review");
    let result = fs::read(farm.repo().join("bbb-1-1/result.json")).expect("its result");
    // Whoever waits for something of it is tried once it is there.
    ok(&farm, &["accept", "bbb"]);
    ok(&farm, &["refuse", "ccc"]);
    assert_eq!(fs::read(farm.repo().join("bbb-1-1/result.json")).expect("its result"), result);
    assert_eq!(decision(&farm, "bbb-1-1")["decision"], "accepted");
    assert_eq!(decision(&farm, "ccc-1-1")["decision"], "refused");
    assert!(decision(&farm, "bbb-1-1")["who"].as_str().is_some_and(|who| who.ends_with("(127.0.0.1)")));
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>bbb<"));
    assert_eq!(state(&farm, "bbb"), "success");
    assert_ne!(state(&farm, "ccc"), "review");
    restart_hub(&mut farm);
    // Something new, so that the index is made from the folders once more.
    farm.drop_file(&quick(&farm, "new", "1").srpm);
    wait_state(&farm, "new", "success");
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>new<"));
    let index = indexed(&farm);
    assert!(index.contains("<name>bbb<") && !index.contains("<name>ccc<"), "{index}");
    assert_eq!(objects(&farm, &["list", "review"]), Vec::<Value>::new());
    assert_eq!(state(&farm, "bbb"), "success");
    assert!(no(&farm, &["accept", "bbb"]).contains("bbb-1-1"));
}

#[test]
fn a_retracted_result_is_in_no_index_and_a_deleted_one_keeps_its_logs_only() {
    let mut farm = Farm::plan().start();
    for name in ["kept", "gone", "wiped"] {
        farm.drop_file(&quick(&farm, name, "1").srpm);
        wait_state(&farm, name, "success");
    }
    farm.wait_until("all to be indexed", SOON, |farm| {
        let index = indexed(farm);
        ["kept", "gone", "wiped"].iter().all(|name| index.contains(&format!("<name>{name}<")))
    });
    assert!(ok(&farm, &["retract", "gone-1-1"]).contains("gone-1-1"));
    ok(&farm, &["retract", "wiped-1-1", "--delete"]);
    farm.wait_until("both to leave the index", SOON, |farm| {
        let index = indexed(farm);
        !index.contains("<name>gone<") && !index.contains("<name>wiped<")
    });
    assert_eq!(decision(&farm, "gone-1-1")["decision"], "retracted");
    assert!(farm.files_of(&nvr("gone")).contains(&"gone-1-1.noarch.rpm".to_owned()));
    farm.wait_until("the RPMs to be deleted", SOON, |farm| {
        !farm.files_of(&nvr("wiped")).iter().any(|name| name.ends_with(".rpm"))
    });
    let left = farm.files_of(&nvr("wiped"));
    assert!(
        left.contains(&"result.json".to_owned()) && left.iter().any(|name| name.contains(".log")),
        "{left:?}"
    );
    assert!(farm.install(&["kept"]).expect("dnf installs").has("/usr/share/kept/data"));
    for name in ["gone", "wiped"] {
        let refused = farm.install(&[name]).expect_err("dnf does not see it");
        assert!(refused.contains(name), "{refused}");
    }
    assert!(no(&farm, &["retract", "gone-1-1"]).contains("gone-1-1"), "it is retracted already");
    assert!(no(&farm, &["retract", "kept-2-1"]).contains("kept-2-1"), "there is no such result");
    // Built again it gets a folder of its own.
    restart_hub(&mut farm);
    ok(&farm, &["retry", "wiped"]);
    farm.wait_until("it to be built again", SOON, |farm| indexed(farm).contains("wiped-1-1@2/"));
    let index = indexed(&farm);
    assert!(!index.contains("<name>gone<") && !index.contains("\"wiped-1-1/"), "{index}");
    let shown = object(&farm, &["show", "wiped"]);
    assert_eq!(shown["package"]["place"], "wiped-1-1@2", "{shown}");
    let files = shown["attempts"][1]["files"].to_string();
    assert!(files.contains("wiped-1-1@2/wiped-1-1.noarch.rpm"), "{shown}");
}
