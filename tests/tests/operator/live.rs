//! What happens, as it happens: `wait`, `events`, and the hub's `--hook`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use moji_tests::{Farm, SOON};
use serde_json::Value;

use crate::quick::quick;
use crate::{drop_planned, file, lacks_ghost, objects, ok, own_error, restart_hub, wait_state};

/// A command that goes on, its stdout in a file.
struct Running {
    child: Child,
    out: PathBuf,
}

impl Running {
    fn start(farm: &Farm, name: &str, words: &[&str]) -> Running {
        let out = farm.path().join(name);
        let mut command = farm.moji_with(words);
        let errors = fs::File::create(farm.path().join(format!("{name}.log"))).expect("a file");
        command.stdin(Stdio::null()).stdout(fs::File::create(&out).expect("a file")).stderr(errors);
        Running { child: command.spawn().expect("it starts"), out }
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    fn code(&mut self, farm: &Farm) -> Option<i32> {
        let mut status = None;
        farm.wait_until("the command to end", SOON, |_| {
            status = self.child.try_wait().ok().flatten();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn wait_ends_with_the_last_of_its_packages_and_says_whether_all_went_well() {
    let mut farm = Farm::plan().start();
    farm.drop_file(&quick(&farm, "done", "1").srpm);
    ok(&farm, &["wait", "--idle"]);
    wait_state(&farm, "done", "success");
    farm.builder(0).term(SOON);
    farm.drop_file(&quick(&farm, "good", "1").srpm);
    drop_planned(&farm, "bad", own_error());
    wait_state(&farm, "bad", "waiting");
    wait_state(&farm, "good", "waiting");
    // Nobody builds: it runs out of time.
    let ended = farm.moji(&["wait", "good", "--timeout", "1s"]);
    assert_eq!(ended.code, 1, "{ended:?}");
    assert!(ended.stderr.starts_with("moji: ") && ended.stderr.contains("good-1-1"), "{ended:?}");
    assert_eq!(farm.moji(&["wait", "--idle", "--timeout", "1s"]).code, 1);
    // What is done already shows that they wait for the rest.
    let mut one = Running::start(&farm, "one", &["wait", "done", "good"]);
    let mut both = Running::start(&farm, "both", &["wait", "done", "good", "bad"]);
    farm.wait_until("both to wait", SOON, |_| one.text().contains("done") && both.text().contains("done"));
    restart_hub(&mut farm);
    let mut idle = Running::start(&farm, "idle", &["wait", "--idle"]);
    for number in 0.. {
        let name = format!("sign{number}");
        drop_planned(&farm, &name, own_error());
        wait_state(&farm, &name, "waiting");
        ok(&farm, &["cancel", &name]);
        if idle.text().contains("sign") {
            break;
        }
    }
    farm.start_builder(0);
    assert_eq!(one.code(&farm), Some(0), "{}\n{}", one.text(), farm.diagnosis());
    assert_eq!(both.code(&farm), Some(1), "{}\n{}", both.text(), farm.diagnosis());
    assert_eq!(idle.code(&farm), Some(1), "not all went well: {}\n{}", idle.text(), farm.diagnosis());
    wait_state(&farm, "good", "success");
    wait_state(&farm, "bad", "failed");
    // What is over already is not waited for.
    ok(&farm, &["wait", "good"]);
    assert_eq!(farm.moji(&["wait", "bad"]).code, 1);
    ok(&farm, &["wait", "--idle"]);
    let ended = farm.moji(&["wait", "gpod"]);
    assert!(ended.code == 1 && ended.stderr.contains("good"), "{ended:?}");
}

#[test]
fn events_come_as_they_happen_and_can_be_had_from_any_number_on_without_a_gap() {
    let mut farm = Farm::plan().start();
    let live = Running::start(&farm, "live", &["--json", "events"]);
    let mut text = Running::start(&farm, "text", &["events", "one"]);
    // They listen once something of theirs arrives.
    farm.wait_until("them to listen", SOON, |farm| {
        let number = farm.results("probe-1-1").len();
        if number == 0 && farm.places(&file("probe")).is_empty() {
            drop_planned(farm, "probe", own_error());
        }
        live.text().contains("probe-1-1")
    });
    wait_state(&farm, "probe", "failed");
    drop_planned(&farm, "one", own_error());
    wait_state(&farm, "one", "failed");
    farm.wait_until("its end to be told", SOON, |_| {
        live.text().lines().any(|line| line.contains("one-1-1") && line.contains("\"ended\""))
    });
    let rows: Vec<Value> =
        live.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let kinds = |rows: &[Value]| -> Vec<String> {
        let about = rows.iter().filter(|row| row["srpm"] == file("one").as_str());
        about.map(|row| row["kind"].as_str().unwrap_or("?").to_owned()).collect()
    };
    let of_one = kinds(&rows);
    for kind in ["waiting", "leased", "phase", "ended"] {
        assert!(of_one.iter().any(|k| k == kind), "{kind} in {of_one:?}");
    }
    assert_eq!(
        (of_one.first().map(String::as_str), of_one.last().map(String::as_str)),
        (Some("waiting"), Some("ended"))
    );
    let ended = rows.iter().rfind(|row| row["kind"] == "ended").expect("its end");
    assert_eq!((&ended["verdict"], &ended["state"]), (&"failed".into(), &"failed".into()), "{ended}");
    let iso = ended["time"].as_str().expect("a time");
    assert!(iso.len() >= 20 && iso.as_bytes()[10] == b'T' && iso.ends_with('Z'), "{iso}");
    farm.wait_until("the text", SOON, |_| text.text().contains("failed"));
    assert!(
        text.text().lines().all(|line| line.contains("one")),
        "only what was asked for:\n{}",
        text.text()
    );
    assert!(!text.text().contains('\x1b'));
    // Again from the second on, across a restart, with what is new behind it.
    drop(live);
    drop(std::mem::replace(&mut text, Running::start(&farm, "text2", &["events", "one"])));
    restart_hub(&mut farm);
    let lasting: Vec<&Value> = rows.iter().filter(|row| row["kind"] != "phase").collect();
    let after = lasting[1]["seq"].as_u64().expect("a number");
    let mut replay = Running::start(&farm, "replay", &["--json", "events", "--after", &after.to_string()]);
    drop_planned(&farm, "two", own_error());
    farm.wait_until("the new to follow the old", SOON, |_| {
        replay.text().lines().any(|line| line.contains("two-1-1") && line.contains("\"ended\""))
    });
    let again: Vec<Value> =
        replay.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let seq = |rows: &[Value]| rows.iter().filter_map(|row| row["seq"].as_u64()).collect::<Vec<u64>>();
    assert!(seq(&again).is_sorted_by(|a, b| a < b), "{:?}", seq(&again));
    assert!(seq(&again)[0] > after);
    let old: Vec<&Value> = again.iter().take(lasting.len() - 2).collect();
    assert_eq!(old, lasting[2..], "what was live before is the same from the history");
    // A follower that was there when the hub went away hears what comes later, and nothing twice.
    drop_planned(&farm, "one2", own_error());
    farm.wait_until("the replay to go on", SOON, |_| replay.text().contains("one2-1-1"));
    assert!(replay.child.try_wait().is_ok_and(|ended| ended.is_none()));
    drop(replay);
    assert_eq!(
        objects(&farm, &["history", "one"]).len(),
        kinds(&rows).iter().filter(|k| *k != "phase").count()
    );
}

fn script(path: &Path, text: &str) -> String {
    fs::write(path, format!("#!/bin/sh\n{text}\n")).expect("a script");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it may be run");
    path.display().to_string()
}

#[test]
fn a_hook_is_told_what_happens() {
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("told");
    let good = script(&folder.path().join("good"), &format!("cat >> {}", told.display()));
    let farm = Farm::plan().hub_args(["--hook", &good]).start();
    drop_planned(&farm, "one", own_error());
    drop_planned(&farm, "wants", lacks_ghost());
    wait_state(&farm, "one", "failed");
    let rows = || -> Vec<Value> {
        let text = fs::read_to_string(&told).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    farm.wait_until("the hook to be told", SOON, |_| {
        rows().iter().any(|row| row["kind"] == "ended" && row["srpm"] == file("one").as_str())
    });
    let ended = rows().into_iter().find(|row| row["kind"] == "ended").expect("it was waited for");
    assert!(ended["verdict"].is_string() && ended["seq"].is_u64(), "{ended}");
}

#[test]
fn hooks_that_fail_are_logged_and_those_that_hang_hold_nothing_up_and_end_with_the_hub() {
    let folder = tempfile::tempdir().expect("a folder");
    let pids = folder.path().join("pids");
    let text = format!(
        "mkdir \"$0.once\" 2> /dev/null && {{ echo 'no such list' >&2; exit 7; }}\n\
         echo $$ >> {}; exec sleep 4711",
        pids.display()
    );
    let bad = script(&folder.path().join("bad"), &text);
    let mut farm = Farm::plan().hub_args(["--hook", &bad]).start();
    // A hook's environment does not name the farm, so they say themselves who they are.
    let hangs = || {
        let text = fs::read_to_string(&pids).unwrap_or_default();
        let words = |pid: &str| fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        text.lines().filter(|pid| words(pid).starts_with(b"sleep\x004711")).count()
    };
    farm.wait_until("the failure to be logged", SOON, |farm| {
        let log = fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default();
        log.lines().any(|line| line.contains("hook") && line.contains('7')) && log.contains("no such list")
    });
    // Each of these has more events than hooks may run at once.
    for name in ["one", "two", "three"] {
        drop_planned(&farm, name, own_error());
        wait_state(&farm, name, "failed");
    }
    farm.wait_until("hooks to hang", SOON, |_| hangs() > 1);
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    farm.wait_until("no hook to be left", SOON, |_| hangs() == 0);
}
