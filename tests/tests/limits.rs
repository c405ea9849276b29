//! Builds that stand still or never end: their builder ends them, wherever its client is meanwhile, with all that
//! they started; another builder tries once more, and then they have failed.
//!
//! Owns the scenarios around `--max-silence` and `--max-build`. Real builds, with limits of seconds: what is slow in
//! a busy machine's set-up of a chroot must stay below them.

use std::fs;
use std::path::Path;

use moji_tests::{Farm, SOON, simple_spec, srpm_from_spec};
use serde_json::Value;

/// `--max-silence` and `--max-build` of these tests.
const LIMIT: &str = "12";
/// A command that is silent for as long as anybody waits.
const SLEEP: &str = "sleep 86400";
/// Behind the time that it was silent, which is a second more on a busy machine.
const SILENT: &str = " s (limit 12 s), last line: + sleep 86400";

/// Drops a package in whose `%build` is this; returns its file name.
fn drop_in(farm: &Farm, name: &str, build: &str) -> String {
    let spec = simple_spec(name, "1", "").replace("%files", &format!("%build\n{build}\n%files"));
    farm.drop_file(&srpm_from_spec(farm.path(), &spec));
    format!("{name}-1-1.src.rpm")
}

/// How many processes in chroots of the farm are silent.
fn sleepers(farm: &Farm) -> usize {
    let all = farm.processes();
    all.iter().filter(|process| process.in_chroot && process.command == SLEEP).count()
}

/// Which signals they block, as the kernel says it.
fn blocked_signals(farm: &Farm) -> Vec<String> {
    let all = farm.processes().into_iter().filter(|process| process.in_chroot && process.command == SLEEP);
    let status = |pid| fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = |status: String| Some(status.split_once("SigBlk:\t")?.1.get(..16)?.to_owned());
    all.filter_map(|process| blocked(status(process.pid))).collect()
}

fn chroots(farm: &Farm) -> Vec<String> {
    let entries = fs::read_dir(farm.path().join("mock")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
}

fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    serde_json::from_slice(&bytes).expect("it is JSON")
}

/// What is known of attempts that were no results.
fn attempts(farm: &Farm) -> Vec<Value> {
    let entries = fs::read_dir(farm.state().join("attempts")).into_iter().flatten().flatten();
    let whole = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    whole.map(|entry| json(&entry.path().join("result.json"))).collect()
}

/// Whether a file of this name is in the folder of a job of the builder.
fn has_spool_entry(farm: &Farm, builder: usize, name: &str) -> bool {
    let jobs = fs::read_dir(farm.builder_state(builder).join("jobs")).into_iter().flatten().flatten();
    jobs.into_iter().any(|job| job.path().join(name).exists())
}

#[test]
fn a_silent_build_is_ended_on_two_builders_with_all_its_children_and_a_noisy_one_as_long_is_not() {
    let mut farm = Farm::plan().builders(2).hub_args(["--max-silence", LIMIT]).start();
    let silent = drop_in(&farm, "silent", &format!("({SLEEP} &)\necho linking a giant\n{SLEEP}"));
    let noisy = drop_in(&farm, "noisy", "for second in $(seq 20); do echo $second; sleep 1; done");
    farm.wait_until("it to be silent", SOON, |farm| sleepers(farm) == 2);
    farm.wait_finished(&silent);
    farm.wait_finished(&noisy);

    let tried = attempts(&farm);
    assert_eq!(tried.len(), 1, "{tried:?}");
    assert_eq!(tried[0]["verdict"], "timeout");
    let reason = tried[0]["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("silent for 1") && reason.ends_with(SILENT), "{reason}");
    assert_eq!(tried[0]["exit"], format!("silent for {LIMIT} s"));
    let result = farm.result_json("silent-1-1");
    assert_eq!(result["verdict"], "failed");
    let both = result["reason"].as_str().expect("a reason");
    assert!(both.starts_with("silent for 1") && both.contains(SILENT), "{both}");
    assert!(both.ends_with(&format!("; before that: {reason}")), "{both}");
    assert_ne!(result["builder_key"], tried[0]["builder_key"], "another builder tried it once more");
    assert!(result["silence_s"].as_u64().is_some_and(|seconds| seconds >= 12), "{result}");
    assert!(farm.files_of("silent-1-1").contains(&"build.log".to_owned()), "its logs are kept");
    assert_eq!(farm.hub().log_count("quarantined"), 0);
    let shown = farm.moji(&["show", "silent"]);
    assert!(
        shown.stdout.contains("timeout on ") && shown.stdout.contains("(limit 12 s)"),
        "{}",
        shown.stdout
    );

    let result = farm.result_json("noisy-1-1");
    assert_eq!(result["verdict"], "success", "{result}");
    assert!(result["seconds"].as_u64().is_some_and(|seconds| seconds >= 20), "{result}");

    farm.wait_until("nothing of it to run", SOON, |farm| sleepers(farm) == 0);
    farm.wait_until("its chroots to be gone", SOON, |farm| chroots(farm).is_empty());
}

#[test]
fn a_build_that_takes_too_long_is_ended_however_much_it_says() {
    let mut farm = Farm::plan().hub_args(["--max-build", LIMIT]).start();
    let endless = drop_in(&farm, "endless", "while :; do echo round and round; sleep 0.2; done");
    farm.wait_finished(&endless);
    let result = farm.result_json("endless-1-1");
    assert_eq!((&result["verdict"], &result["exit"]), (&"failed".into(), &"longer than 12 s".into()));
    let reason = result["reason"].as_str().expect("a reason");
    assert!(reason.starts_with("took longer than 12 s, last line: "), "{reason}");
    // Nobody else may have it, and the builder goes on with something else.
    assert_eq!(attempts(&farm), Vec::<Value>::new());
    farm.drop_srpm("hello");
    farm.wait_finished("hello");
    assert_eq!(farm.result_json("hello-1.0-1")["verdict"], "success");
    assert_eq!(farm.hub().log_count("quarantined"), 0);
}

#[test]
fn a_silent_build_is_ended_while_its_client_is_restarted_and_away() {
    let mut farm = Farm::plan().hub_args(["--max-silence", LIMIT]).start();
    let silent = drop_in(&farm, "silent", SLEEP);
    farm.wait_until("it to be silent", SOON, |farm| sleepers(farm) == 1);
    assert_eq!(blocked_signals(&farm), ["0000000000000000"], "what builds inherits nothing of whoever waits");
    farm.builder(0).kill9();
    farm.start_builder(0);
    farm.wait_hub_says("adopted: its builder is back");
    farm.builder(0).kill9();
    farm.wait_until("the end", SOON, |farm| has_spool_entry(farm, 0, "status"));
    assert_eq!(sleepers(&farm), 0);
    farm.start_builder(0);
    farm.wait_finished(&silent);
    let result = farm.result_json("silent-1-1");
    assert_eq!((&result["verdict"], &result["exit"]), (&"failed".into(), &"silent for 12 s".into()));
    farm.wait_until("its chroot to be gone", SOON, |farm| chroots(farm).is_empty());
    farm.wait_until("its spool to be gone", SOON, |farm| !has_spool_entry(farm, 0, "job"));
}
