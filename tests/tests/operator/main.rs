//! The operator's command against a live hub with live builders: what a person types, sees and gets done.
//!
//! Owns what the scenarios have in common: packages whose builds are planned, and answers as text and JSON.
//! What a row looks like in every detail is the business of `client/src/operator/print`; here it is enough
//! that the words are there, that nothing is wider than the terminal, and that the farm did what was said.

mod board;
mod change;
mod find;
mod live;
mod log;
mod lost;
#[path = "../quick/mod.rs"]
mod quick;
mod review;
mod see;
mod submit;
mod top;

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use moji_tests::{Farm, Finished, Outcome, SOON, run_to_end, simple_spec, srpm_from_spec};
use serde_json::Value;

/// The file name of a package of this file's making.
fn file(name: &str) -> String {
    format!("{name}-1-1.src.rpm")
}

/// Its NVR.
fn nvr(name: &str) -> String {
    format!("{name}-1-1")
}

/// Makes the SRPM of a trivial package beside the farm's folders.
fn make(farm: &Farm, name: &str) -> PathBuf {
    let folder = farm.path().join("made");
    fs::create_dir_all(&folder).expect("a folder");
    srpm_from_spec(&folder, &simple_spec(name, "1", ""))
}

/// Makes it, plans what becomes of it, and drops it into `source/`.
fn drop_planned(farm: &Farm, name: &str, outcome: Outcome) {
    let srpm = make(farm, name);
    farm.outcome(&file(name), outcome);
    farm.drop_file(&srpm);
}

/// A build that fails by its package's own fault, with a line that says so.
fn own_error() -> Outcome {
    Outcome::exit(1).log(
        "build.log",
        "checking for things\nmain.c:3:1: error: unknown type name 'itn'\n\
         error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n",
    )
}

/// A build that lacks the capability `ghost(api)`.
fn lacks_ghost() -> Outcome {
    Outcome::exit(30).log("root.log", "DEBUG util.py:  dnf\nNo matching package to install: 'ghost(api)'\n")
}

/// What a command that must go well wrote.
fn ok(farm: &Farm, words: &[&str]) -> String {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 0, "moji {words:?}: {}{}\n{}", ended.stdout, ended.stderr, farm.diagnosis());
    ended.stdout
}

/// What a command wrote whose answer must be no: exit code 1, and why on stderr.
fn no(farm: &Farm, words: &[&str]) -> String {
    let ended = farm.moji(words);
    assert_eq!(ended.code, 1, "moji {words:?}: {}{}\n{}", ended.stdout, ended.stderr, farm.diagnosis());
    assert_plain_error(&ended);
    ended.stderr
}

/// The first line of an error names the program; nothing of it is a panic or a colour.
fn assert_plain_error(ended: &Finished) {
    assert!(ended.stderr.starts_with("moji: "), "{:?}", ended.stderr);
    assert!(!ended.stderr.contains("panicked") && !ended.stderr.contains('\x1b'), "{:?}", ended.stderr);
}

/// The JSON objects that a command wrote, one a line.
fn objects(farm: &Farm, words: &[&str]) -> Vec<Value> {
    let text = ok(farm, &[&["--json"], words].concat());
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
    text.lines().map(object).collect()
}

/// The one JSON object that a command wrote.
fn object(farm: &Farm, words: &[&str]) -> Value {
    let mut all = objects(farm, words);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// The state of a package, as its row says.
fn state(farm: &Farm, name: &str) -> String {
    object(farm, &["list", &file(name)])["state"].as_str().unwrap_or("?").to_owned()
}

/// Waits until a package is in that state.
fn wait_state(farm: &Farm, name: &str, wanted: &str) {
    let known = |farm: &Farm| {
        let ended = farm.moji(&["--json", "list", &file(name)]);
        ended.code == 0 && ended.stdout.contains(&format!("\"state\":\"{wanted}\""))
    };
    farm.wait_until(&format!("{name} to be {wanted}"), SOON, known);
}

/// Names of packages that were leased, in the order in which they were, since the hub started.
fn leased(farm: &mut Farm) -> Vec<String> {
    let log = farm.hub().log_text();
    let lines = log.lines().filter(|line| line.ends_with(" leased"));
    let names = lines.filter_map(|line| line.split_once("pkg=")?.1.split_once("-1-1.src.rpm "));
    names.map(|(name, _)| name.to_owned()).collect()
}

/// Ends the hub as an init script does and starts it again.
fn restart_hub(farm: &mut Farm) {
    assert_eq!(farm.hub().term(SOON).code(), Some(0));
    farm.start_hub();
}

/// What the index that is live now names, as text.
fn indexed(farm: &Farm) -> String {
    let folder = farm.repo().join("repodata");
    let index = fs::read_to_string(folder.join("repomd.xml")).unwrap_or_default();
    let mut names = index.split("href=\"repodata/").skip(1).filter_map(|rest| rest.split('"').next());
    let Some(name) = names.find(|name| name.contains("primary.xml")) else { return String::new() };
    let mut gzip = Command::new("gzip");
    gzip.arg("-dc").arg(folder.join(name));
    run_to_end(gzip, SOON).stdout
}

/// Runs a script of bash; `"$@"` in it is the operator's command with these words.
fn shell(farm: &Farm, script: &str, words: &[&str]) -> Finished {
    let moji = farm.moji_with(words);
    let mut bash = Command::new("bash");
    for (name, value) in moji.get_envs() {
        match value {
            Some(value) => bash.env(name, value),
            None => bash.env_remove(name),
        };
    }
    bash.args(["-c", script, "bash"]).arg(moji.get_program()).args(moji.get_args());
    run_to_end(bash, SOON)
}
