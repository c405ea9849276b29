//! Changing what is built: `retry`, `cancel`, `prio`, `options`.

use std::fs;

use moji_tests::{Farm, SOON};
use serde_json::{Value, json};

use crate::quick::quick;
use crate::{
    drop_planned, file, lacks_ghost, leased, no, nvr, object, objects, ok, own_error, restart_hub, state,
    wait_state,
};

#[test]
fn a_retry_gives_every_package_its_fresh_start_and_refuses_what_is_built() {
    let farm = Farm::plan().start();
    drop_planned(&farm, "bad", own_error());
    drop_planned(&farm, "worse", own_error());
    drop_planned(&farm, "wants", lacks_ghost());
    for (name, word) in [("bad", "failed"), ("worse", "failed"), ("wants", "deps")] {
        wait_state(&farm, name, word);
    }
    // Finished: moved back and built once more.
    assert!(ok(&farm, &["retry", "bad"]).contains(&nvr("bad")));
    farm.wait_until("its second result", SOON, |farm| farm.results(&nvr("bad")).len() == 2);
    wait_state(&farm, "bad", "failed");
    // Held: leased at once, although nothing that it wants was published.
    let attempts = |name: &str| object(&farm, &["show", name])["attempts"].as_array().map_or(0, Vec::len);
    assert_eq!(attempts("wants"), 1);
    drop_planned(&farm, "held", own_error().gate(&farm.gate("go")));
    wait_state(&farm, "held", "building");
    ok(&farm, &["retry", "wants"]);
    assert_eq!(state(&farm, "wants"), "waiting");
    let refusal = no(&farm, &["retry", "held"]);
    assert!(refusal.contains(&nvr("held")), "{refusal}");
    // By their verdict, while nothing else is touched.
    let said = ok(&farm, &["retry", "--failed"]);
    assert!(said.contains(&nvr("bad")) && said.contains(&nvr("worse")), "{said}");
    assert!(!said.contains(&nvr("wants")) && !said.contains(&nvr("held")), "{said}");
    assert!(no(&farm, &["retry", "--verdict", "memory"]).contains("memory"));
    assert!(no(&farm, &["retry", "no-such-package"]).contains("no-such-package"));
    farm.open_gate("go");
    for (name, word) in [("held", "failed"), ("bad", "failed"), ("worse", "failed"), ("wants", "deps")] {
        wait_state(&farm, name, word);
    }
    assert_eq!((attempts("wants"), attempts("bad"), attempts("worse")), (2, 3, 2));
    // What waits because of a verdict.
    let said = ok(&farm, &["retry", "--verdict", "deps"]);
    assert!(said.contains(&nvr("wants")) && !said.contains(&nvr("bad")), "{said}");
    farm.wait_until("the third attempt", SOON, |_| attempts("wants") == 3);
    // One thing that can be done and one that cannot: the first is done, and the answer is no.
    let ended = farm.moji(&["retry", "worse", "no-such-package"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stdout.contains(&nvr("worse")) && ended.stderr.contains("no-such-package"), "{ended:?}");
}

#[test]
fn a_cancelled_package_is_built_by_nobody_until_its_retry_not_even_after_a_restart() {
    let mut farm = Farm::plan().start();
    farm.drop_srpm("slow");
    farm.wait_until("the build to tick", SOON, |farm| {
        farm.processes().iter().any(|process| process.in_chroot && process.command.starts_with("sleep "))
    });
    drop_planned(&farm, "later", own_error());
    wait_state(&farm, "later", "waiting");
    ok(&farm, &["cancel", "later"]);
    assert_eq!((state(&farm, "later"), farm.places(&file("later"))), ("cancelled".into(), vec!["finished"]));
    let said = ok(&farm, &["cancel", "slow"]);
    assert!(said.contains("slow-1.0-1"), "{said}");
    farm.wait_until("the build to stop", SOON, |farm| {
        farm.mocks().is_empty() && !farm.processes().iter().any(|process| process.in_chroot)
    });
    assert_eq!(farm.mounts(), Vec::<std::path::PathBuf>::new());
    farm.assert_one_place("slow");
    assert!(no(&farm, &["cancel", "slow"]).contains("slow-1.0-1"), "it is final already");
    restart_hub(&mut farm);
    let cancelled = objects(&farm, &["list", "cancelled"]);
    let names: Vec<&Value> = cancelled.iter().map(|row| &row["srpm"]).collect();
    assert_eq!(names, [&json!(file("later")), &json!("slow-1.0-1.src.rpm")]);
    ok(&farm, &["retry", "later"]);
    wait_state(&farm, "later", "failed");
    assert_eq!(farm.results("slow-1.0-1"), Vec::<String>::new());
}

#[test]
fn priority_is_changed_in_the_list_that_people_write_and_leases_follow_it() {
    let mut farm = Farm::plan().start();
    let list = farm.source().join("priority.txt");
    fs::write(&list, "# the boss's\np3-1-1.src.rpm\nnot here yet\n").expect("written");
    farm.wait_hub_says("priority.txt: ");
    drop_planned(&farm, "held", own_error().gate(&farm.gate("go")));
    wait_state(&farm, "held", "building");
    for name in ["p1", "p2", "p3", "p4", "p5"] {
        drop_planned(&farm, name, own_error());
    }
    for name in ["p1", "p2", "p3", "p4", "p5"] {
        wait_state(&farm, name, "waiting");
    }
    ok(&farm, &["prio", "p5", "--first"]);
    ok(&farm, &["prio", "p2", "--last"]);
    // Names where they belong, and all that people wrote beside them.
    let lines = || {
        let text = fs::read_to_string(&list).expect("it is there");
        let (notes, names): (Vec<String>, Vec<String>) =
            text.lines().map(str::to_owned).partition(|line| line.starts_with('#'));
        assert_eq!(notes, ["# the boss's"], "{text}");
        names
    };
    assert_eq!(lines(), ["p5-1-1.src.rpm", "p3-1-1.src.rpm", "not here yet", "p2-1-1.src.rpm"]);
    assert!(ok(&farm, &["prio", "p5"]).contains("p5-1-1"));
    ok(&farm, &["prio", "p3", "p4", "--first"]);
    assert_eq!(
        lines(),
        ["p3-1-1.src.rpm", "p4-1-1.src.rpm", "p5-1-1.src.rpm", "not here yet", "p2-1-1.src.rpm"],
        "in the order in which they were named"
    );
    ok(&farm, &["prio", "p3", "p4", "--clear"]);
    assert_eq!(lines(), ["p5-1-1.src.rpm", "not here yet", "p2-1-1.src.rpm"]);
    let row = |name: &str| object(&farm, &["list", name]);
    farm.wait_until("the queue to know", SOON, |_| row("p5")["priority"] == 1 && row("p3")["priority"] == 0);
    farm.open_gate("go");
    for name in ["p1", "p2", "p3", "p4", "p5"] {
        wait_state(&farm, name, "failed");
    }
    let order = leased(&mut farm);
    // The others by their sizes, which are almost the same.
    assert_eq!((&order[..3], order.len()), (&["held", "p5", "p2"].map(str::to_owned)[..], 6), "{order:?}");
}

#[test]
fn options_reach_the_build_and_bad_ones_are_refused_before_anything_is_written() {
    let mut farm = Farm::plan().builders(0).start();
    let opted = quick(&farm, "opted", "1");
    let list = farm.source().join("options.txt");
    fs::write(&list, "# kept\nother-* --nocheck\n").expect("written");
    farm.wait_hub_says("options.txt: ");
    farm.drop_file(&opted.srpm);
    wait_state(&farm, "opted", "waiting");
    let refusal = no(&farm, &["options", "opted", "--resultdir=/etc"]);
    assert!(refusal.contains("--resultdir"), "{refusal}");
    assert_eq!(fs::read_to_string(&list).expect("there"), "# kept\nother-* --nocheck\n");
    ok(&farm, &["options", "opted", "--nocheck", "--define", "mydef some value"]);
    let shown = object(&farm, &["show", "opted"]);
    assert_eq!(shown["options"], json!(["--nocheck", "--define", "mydef some value"]), "{shown}");
    assert!(ok(&farm, &["options", "opted"]).contains("mydef some value"));
    farm.add_builder();
    wait_state(&farm, "opted", "success");
    let result = farm.result_json("opted-1-1");
    assert_eq!(result["options"], json!(["--nocheck", "--define", "mydef some value"]), "{result}");
    let text = fs::read_to_string(&list).expect("there");
    assert!(text.starts_with("# kept\nother-* --nocheck\n"), "{text}");
    ok(&farm, &["options", "opted", "--clear"]);
    assert_eq!(fs::read_to_string(&list).expect("there"), "# kept\nother-* --nocheck\n");
    ok(&farm, &["retry", "opted"]);
    farm.wait_until("its second result", SOON, |farm| farm.results("opted-1-1").len() == 2);
    assert_eq!(farm.result_json("opted-1-1@2")["options"], json!([]));
    // A glob is written as it is.
    ok(&farm, &["options", "opt*", "--nocheck"]);
    assert!(fs::read_to_string(&list).expect("there").contains("opt* --nocheck"));
}
