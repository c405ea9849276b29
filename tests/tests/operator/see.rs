//! Looking: `status`, `list`, `show`, `builders`, `history`, in a pipe, as JSON, and on a terminal.

use moji_tests::{Farm, Pty, SOON, poll_until};
use serde_json::Value;

use crate::quick::quick;
use crate::{
    drop_planned, file, lacks_ghost, no, nvr, object, objects, ok, own_error, restart_hub, wait_state,
};

/// A farm in which `good` was built, `bad` failed, `wants` waits for `ghost(api)` and `held` is built by
/// builder 0 until the gate `go` opens.
fn busy_farm() -> Farm {
    let farm = Farm::plan().start();
    farm.drop_file(&quick(&farm, "good", "1").srpm);
    drop_planned(&farm, "bad", own_error());
    wait_state(&farm, "good", "success");
    wait_state(&farm, "bad", "failed");
    drop_planned(&farm, "wants", lacks_ghost());
    wait_state(&farm, "wants", "deps");
    drop_planned(&farm, "held", own_error().gate(&farm.gate("go")));
    wait_state(&farm, "held", "building");
    farm
}

fn words(rows: &[Value], key: &str) -> Vec<String> {
    rows.iter().map(|row| row[key].as_str().unwrap_or("?").to_owned()).collect()
}

/// Runs a command on a terminal to its end: its screen, on which nothing may be too wide.
fn shown(farm: &Farm, command: &[&str], code: i32) -> Pty {
    let mut pty = farm.moji_pty(command);
    assert_eq!(pty.wait_exit(SOON), code, "{command:?}\n{}", pty.text());
    assert_eq!(pty.wrapped(), Vec::<String>::new(), "moji {command:?} is wider than the terminal");
    assert!(pty.is_restored());
    pty
}

#[test]
fn a_person_sees_the_farm_its_packages_and_its_builders() {
    let mut farm = busy_farm();
    status(&farm);
    lists(&farm);
    one_package(&farm);
    builders(&farm);
    terminal(&farm);
    watch(&mut farm);
}

fn status(farm: &Farm) {
    let all = object(farm, &["status"]);
    assert_eq!(words(all["packages"].as_array().expect("rows"), "srpm"), [file("held")], "{all}");
    assert_eq!(all["packages"][0]["builder"], object(farm, &["builders"])["name"], "{all}");
    let counts = &all["farm"]["packages"];
    for (word, count) in [("success", 1), ("failed", 1), ("deps", 1), ("building", 1), ("waiting", 0)] {
        assert_eq!(counts[word], count, "{word} of {all}");
    }
    assert_eq!(all["farm"]["builders"]["busy"], 1, "{all}");
    let text = ok(farm, &["status"]);
    assert!(!text.contains('\x1b'), "no colours in a pipe: {text:?}");
    for part in ["held-1-1", "building", "failed", "deps"] {
        assert!(text.contains(part), "'{part}' in:\n{text}");
    }
}

fn lists(farm: &Farm) {
    let srpms = |command: &[&str]| words(&objects(farm, command), "srpm");
    let all = [file("bad"), file("good"), file("held"), file("wants")];
    assert_eq!(srpms(&["list"]), all);
    assert_eq!(srpms(&["list", "failed"]), [file("bad")]);
    assert_eq!(srpms(&["list", "*d-1-1"]), [file("bad"), file("good"), file("held")]);
    assert_eq!(srpms(&["list", "success", "g*"]), [file("good")]);
    assert_eq!(srpms(&["list", "wants"]), [file("wants")]);
    let text = ok(farm, &["list", "failed"]);
    assert!(text.contains("bad-1-1") && !text.contains("good-1-1"), "{text}");
    assert!(no(farm, &["list", "nothing-like-it"]).contains("nothing-like-it"));
    // Nothing is in that state: that is an answer.
    assert_eq!(objects(farm, &["list", "review"]), Vec::<Value>::new());
}

fn one_package(farm: &Farm) {
    let bad = object(farm, &["show", "bad"]);
    assert_eq!(bad["package"]["state"], "failed", "{bad}");
    assert_eq!(bad["package"]["place"], nvr("bad"), "{bad}");
    let attempts = bad["attempts"].as_array().expect("rows");
    assert_eq!(attempts.len(), 1, "{bad}");
    assert_eq!((&attempts[0]["number"], &attempts[0]["verdict"]), (&1.into(), &"failed".into()), "{bad}");
    let text = ok(farm, &["show", "bad"]);
    for part in [&file("bad"), "failed", "build.log", "Bad exit status", &nvr("bad")] {
        assert!(text.contains(part), "'{part}' in:\n{text}");
    }
    let good = object(farm, &["show", "good-1-1"]);
    let files = good["attempts"][0]["files"].to_string();
    assert!(files.contains("good-1-1/good-1-1.noarch.rpm"), "{good}");
    let wants = object(farm, &["show", &file("wants")]);
    assert_eq!((&wants["package"]["state"], &wants["wants"][0]), (&"deps".into(), &"ghost(api)".into()));
    assert!(ok(farm, &["show", "wants"]).contains("ghost(api)"));
    let held = object(farm, &["show", "held"]);
    assert_eq!(held["attempts"][0]["ended"], Value::Null, "{held}");
    // Built again, it has two attempts with their own evidence.
    ok(farm, &["retry", "bad"]);
    ok(farm, &["prio", "bad", "--first"]);
}

fn builders(farm: &Farm) {
    let row = object(farm, &["builders"]);
    assert_eq!((&row["state"], &row["srpm"]), (&"busy".into(), &file("held").into()), "{row}");
    assert_eq!((&row["arch"], &row["backend"]), (&"x86_64".into(), &"mock".into()), "{row}");
    let name = row["name"].as_str().expect("a name");
    let text = ok(farm, &["builders", name]);
    assert!(text.contains(name) && text.contains("busy") && text.contains("held-1-1"), "{text}");
    assert!(no(farm, &["builders", "no-such-board"]).contains("no-such-board"));
}

fn terminal(farm: &Farm) {
    for command in [
        &["status"][..],
        &["list"],
        &["show", "bad"],
        &["show", "wants"],
        &["show", "good"],
        &["builders"],
        &["history"],
    ] {
        let mut pty = shown(farm, command, 0);
        assert!(pty.raw().contains('\x1b'), "moji {command:?} has no colours:\n{}", pty.text());
        let plain = [&["--no-color"], command].concat();
        assert!(!shown(farm, &plain, 0).raw().contains('\x1b'), "{plain:?}");
    }
    let mut command = farm.moji_with(&["status"]);
    command.env("NO_COLOR", "1");
    let mut pty = Pty::spawn(&command);
    assert_eq!(pty.wait_exit(SOON), 0);
    assert!(!pty.raw().contains('\x1b'), "NO_COLOR is obeyed: {:?}", pty.raw());
    // On a narrow one as well.
    let mut pty = Pty::sized(&farm.moji_with(&["list"]), 24, 50);
    assert_eq!((pty.wait_exit(SOON), pty.wrapped()), (0, Vec::new()), "{}", pty.text());
    assert!(shown(farm, &["show", "wantz"], 1).text().contains("wants"), "a near miss is named");
}

fn watch(farm: &mut Farm) {
    let mut pty = farm.moji_pty(&["status", "--watch"]);
    pty.wait_until("the farm", SOON, |text| text.contains("held-1-1"));
    assert!(!pty.is_restored(), "it takes keys without Enter");
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    pty.wait_until("the hub to be missed", SOON, |text| text.contains("hub away since"));
    assert!(pty.text().contains("held-1-1"), "what was known last stays:\n{}", pty.text());
    farm.start_hub();
    pty.wait_until("the hub to be back", SOON, |text| {
        !text.contains("hub away") && text.contains("held-1-1")
    });
    for (rows, columns) in [(40, 120), (10, 60), (24, 80)] {
        pty.resize(rows, columns);
        // What was drawn before stays until it is drawn again.
        let fits = poll_until(SOON, || pty.wrapped().is_empty() && pty.text().contains("held-1-1"));
        assert!(fits, "{rows} rows, {columns} columns, too wide: {:?}\n{}", pty.wrapped(), pty.text());
    }
    // What happens is seen without a key.
    farm.open_gate("go");
    pty.wait_until("the end of the build", SOON, |text| !text.contains("held-1-1"));
    pty.keys("q");
    assert_eq!(pty.wait_exit(SOON), 0);
    assert!(pty.is_restored(), "{:?}", pty.raw());
    let mut pty = farm.moji_pty(&["status", "--watch"]);
    pty.wait_until("the farm", SOON, |text| text.contains("failed"));
    pty.keys("\x03");
    pty.wait_exit(SOON);
    assert!(pty.is_restored(), "{:?}", pty.raw());
    // The second attempt of what was retried.
    wait_state(farm, "bad", "failed");
    let bad = object(farm, &["show", "bad"]);
    let places: Vec<&Value> = bad["attempts"].as_array().expect("rows").iter().map(|a| &a["place"]).collect();
    assert_eq!(places.len(), 2, "{bad}");
    assert_ne!(places[0], places[1], "{bad}");
    for attempt in bad["attempts"].as_array().expect("rows") {
        assert!(attempt["evidence"].to_string().contains("Bad exit status"), "{bad}");
    }
}

#[test]
fn history_tells_what_happened_and_who_did_it_also_after_a_restart() {
    let mut farm = Farm::plan().builders(0).start();
    drop_planned(&farm, "one", own_error());
    wait_state(&farm, "one", "waiting");
    ok(&farm, &["cancel", "one"]);
    ok(&farm, &["retry", "one"]);
    farm.add_builder();
    wait_state(&farm, "one", "failed");
    restart_hub(&mut farm);
    let rows = objects(&farm, &["history", "one"]);
    let kinds = words(&rows, "kind");
    let at = |kind: &str| kinds.iter().position(|k| k == kind).unwrap_or_else(|| panic!("{kind}: {rows:?}"));
    assert!(at("waiting") < at("ordered") && at("ordered") < at("leased") && at("leased") < at("ended"));
    let ordered: Vec<&Value> = rows.iter().filter(|row| row["kind"] == "ordered").collect();
    assert_eq!(ordered.len(), 2, "{rows:?}");
    for row in ordered {
        let who = row["who"].as_str().expect("who");
        assert!(who.contains('@') && who.ends_with("(127.0.0.1)"), "{row}");
    }
    assert_eq!(rows.iter().find(|row| row["kind"] == "ended").expect("its end")["verdict"], "failed");
    let newest = objects(&farm, &["history", "one", "-n", "2"]);
    assert_eq!(newest[..], rows[rows.len() - 2..], "the newest two, oldest first");
    let text = ok(&farm, &["history", "one"]);
    assert!(text.contains("(127.0.0.1)") && text.contains("failed"), "{text}");
    let seq: Vec<u64> = rows.iter().filter_map(|row| row["seq"].as_u64()).collect();
    assert!(seq.is_sorted() && seq.len() == rows.len(), "{seq:?}");
}
