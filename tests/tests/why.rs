//! `moji why` and `moji blocked` on a real farm: what is missing, who would provide it, chains, and a cycle that an
//! import breaks.
//!
//! Owns that what is said is so: what is said to end a wait ends it. The words of every state are the hub's own tests',
//! the screens `client/src/operator/print`'s.

#[allow(dead_code, reason = "not every file of tests builds so")]
mod quick;

use std::fs;
use std::path::PathBuf;

use moji_tests::{Farm, Outcome, SOON, rpms_from_spec, simple_spec, srpm_from_spec};
use serde_json::Value;

use quick::quick;

fn file(name: &str) -> String {
    format!("{name}-1-1.src.rpm")
}

/// Makes an SRPM with these lines in its preamble, plans what becomes of it, and drops it into `source/`.
fn drop_with(farm: &Farm, name: &str, extra: &str, outcome: Outcome) {
    let folder = farm.path().join("made");
    fs::create_dir_all(&folder).expect("a folder");
    let srpm = srpm_from_spec(&folder, &simple_spec(name, "1", extra));
    farm.outcome(&file(name), outcome);
    farm.drop_file(&srpm);
}

fn lacks(capability: &str) -> Outcome {
    Outcome::exit(30).log("root.log", &format!("No matching package to install: '{capability}'\n"))
}

fn own_error() -> Outcome {
    Outcome::exit(1).log("build.log", "error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n")
}

/// The binary RPM of a package of that name that provides this besides itself.
fn providing(farm: &Farm, name: &str, capability: &str) -> PathBuf {
    let folder = farm.path().join("made").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    rpms_from_spec(&folder, &simple_spec(name, "1", &format!("Provides: {capability}\n"))).remove(0)
}

fn ok(farm: &Farm, words: &[&str]) -> String {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "moji {words:?}: {}{}\n{}", ended.stdout, ended.stderr, farm.diagnosis());
    ended.stdout
}

fn objects(farm: &Farm, words: &[&str]) -> Vec<Value> {
    let text = ok(farm, &[&["--json"], words].concat());
    text.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn wait_state(farm: &Farm, name: &str, wanted: &str) {
    farm.wait_until(&format!("{name} to be {wanted}"), SOON, |farm| {
        let ended = farm.moji(&["--json", "list", &file(name)]);
        ended.code == 0 && ended.stdout.contains(&format!("\"state\":\"{wanted}\""))
    });
}

/// Everything that a screen must hold; line breaks and indentation do not count.
#[track_caller]
fn says(screen: &str, parts: &[&str]) {
    let words = screen.split_whitespace().collect::<Vec<_>>().join(" ");
    for part in parts {
        assert!(words.contains(part), "'{part}' in\n{screen}");
    }
}

#[test]
fn what_is_missing_is_named_with_who_would_provide_it() {
    let farm = Farm::plan().start();
    drop_with(&farm, "libx", "", own_error());
    wait_state(&farm, "libx", "failed");
    drop_with(&farm, "wants", "", lacks("ghost(api) >= 2"));
    drop_with(&farm, "usex", "", lacks("libx-devel"));
    drop_with(&farm, "usey", "", lacks("libx-devel"));
    ["wants", "usex", "usey"].iter().for_each(|name| wait_state(&farm, name, "deps"));

    let wants = ok(&farm, &["why", "wants"]);
    says(&wants, &["ghost(api) >= 2: nothing known would provide it", "1: deps on", "moji retry wants-1-1"]);
    let usex = ok(&farm, &["why", "usex-1-1"]);
    says(
        &usex,
        &[
            "libx-devel: perhaps from libx-1-1, which failed",
            "(moji why libx-1-1); 1 other waits for it, too",
        ],
    );
    let libx = ok(&farm, &["why", "libx"]);
    says(
        &libx,
        &[
            "it failed: ",
            "%build failed",
            "1: failed on",
            "repo/libx-1-1",
            "moji retry libx-1-1 builds it again",
        ],
    );
    let json = objects(&farm, &["why", "usex"]);
    let lack = &json[0]["lacks"][0];
    assert_eq!((&lack["from"], &lack["state"]), (&file("libx").into(), &"failed".into()), "{json:?}");
    assert_eq!(json[0]["attempts"][0]["verdict"], "deps", "{json:?}");

    let blocked = objects(&farm, &["blocked"]);
    assert_eq!((&blocked[0]["packages"], &blocked[0]["capabilities"]), (&3.into(), &2.into()), "{blocked:?}");
    let of = |name: &str| {
        blocked.iter().find(|row| row["capability"] == name).unwrap_or(&Value::Null)["holds"].clone()
    };
    assert_eq!((of("libx-devel"), of("ghost(api) >= 2")), (2.into(), 1.into()), "{blocked:?}");
    assert_eq!(objects(&farm, &["blocked", "-n", "1"]).len(), 2);
    says(
        &ok(&farm, &["blocked"]),
        &["3 packages wait for 2 capabilities", "libx-devel", "libx-1-1", "failed"],
    );
    says(&ok(&farm, &["status"]), &["3 deps", "moji blocked lists what is missing"]);

    // No package, and several.
    let none = farm.moji(&["why", "wantz"]);
    assert_eq!((none.code, none.stdout.as_str()), (1, ""));
    says(&none.stderr, &["there is no package wantz", "wants"]);
    let several = farm.moji(&["why", "use*"]);
    assert_eq!(several.code, 1);
    says(&several.stderr, &["2 have that name", &file("usex"), &file("usey")]);
}

#[test]
fn what_waits_its_turn_knows_its_chain_and_who_is_at_work() {
    let farm = Farm::plan().start();
    drop_with(&farm, "held", "", own_error().gate(&farm.gate("go")));
    wait_state(&farm, "held", "building");
    says(
        &ok(&farm, &["why", "held"]),
        &["being built on", "builds it, lease", "moji log -f held-1-1", "1: runs on"],
    );
    for (name, extra) in
        [("base", ""), ("mid", "BuildRequires: base-devel\n"), ("top", "BuildRequires: pkgconfig(mid)\n")]
    {
        drop_with(&farm, name, extra, own_error());
        wait_state(&farm, name, "waiting");
    }
    let base = ok(&farm, &["why", "base"]);
    says(
        &base,
        &[
            "number 1 of 3: a chain of 3 packages (longest: base-1-1 → mid-1-1 → top-1-1)",
            "1 builder is at work that may have it",
        ],
    );
    let mid = ok(&farm, &["why", "mid"]);
    says(
        &mid,
        &[
            "number 2 of 3: behind what looks as if it must be built first: base-1-1",
            "moji prio mid-1-1 puts it first",
        ],
    );
    ok(&farm, &["prio", "top"]);
    farm.wait_until("top to be first", SOON, |farm| {
        farm.moji(&["why", "top"]).stdout.contains("number 1 of 3: line 1 of priority.txt")
    });
    assert_eq!(ok(&farm, &["blocked"]), "no package waits for a capability\n");
    farm.open_gate("go");
}

#[test]
fn a_cycle_is_named_and_ends_when_what_is_said_is_imported() {
    let farm = Farm::plan().start();
    drop_with(&farm, "egg", "", lacks("hen-devel"));
    drop_with(&farm, "hen", "", lacks("egg-devel"));
    drop_with(&farm, "chick", "", lacks("egg-libs"));
    ["egg", "hen", "chick"].iter().for_each(|name| wait_state(&farm, name, "deps"));
    let cycles = |farm: &Farm| -> Vec<Value> {
        objects(farm, &["blocked"]).into_iter().filter(|row| row["cycle"].is_array()).collect()
    };
    let found = cycles(&farm);
    let want = r#"{"cycle":["egg-1-1","hen-1-1"],"import":["egg-1-1"],"members":2,"imports":1,"exact":true,"sure":true}"#;
    assert_eq!(found, [serde_json::from_str::<Value>(want).expect("JSON")], "{}", farm.diagnosis());
    says(
        &ok(&farm, &["blocked"]),
        &["cycle of 2 packages: each lacks another", "members egg-1-1, hen-1-1", "import egg-1-1"],
    );
    says(
        &ok(&farm, &["why", "hen"]),
        &[
            "egg-devel: perhaps from egg-1-1, which waits for capabilities itself",
            "is on a cycle of 2 packages, each of which lacks another: egg-1-1, hen-1-1",
            "a build of egg-1-1 from elsewhere in repo/ would break the cycle",
        ],
    );

    // A build of egg from elsewhere: hen is built with it, and egg with hen.
    let made = quick(&farm, "hen", "1");
    let rpm = providing(&farm, "hen", "hen-devel");
    let name = rpm.file_name().expect("a name").to_string_lossy().into_owned();
    let built = Outcome::exit(0).file(&file("hen"), &made.srpm).file(&name, &rpm);
    farm.outcome(&file("hen"), built.log("build.log", "built\n"));
    drop(quick(&farm, "egg", "1"));
    let import = providing(&farm, "egg-from-elsewhere", "egg-devel");
    fs::copy(&import, farm.repo().join(import.file_name().expect("a name"))).expect("it can be copied");
    wait_state(&farm, "hen", "success");
    wait_state(&farm, "egg", "success");
    assert!(cycles(&farm).is_empty());
    says(&ok(&farm, &["why", "chick"]), &["egg-libs: perhaps from egg-1-1, which is published without it"]);
    says(&ok(&farm, &["why", "egg"]), &["it is built and published", "1: deps on", "2: success on"]);
}
