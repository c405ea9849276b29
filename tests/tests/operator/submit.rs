//! `submit`: source RPMs come into `source/` whole, once, and over a bad line.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use moji_tests::{
    Damage, Direction, Farm, Finished, Pty, SOON, damaged, foreign, rpms_from_spec, run_to_end, simple_spec,
    srpm_from_spec, truncated,
};
use serde_json::json;

use crate::{assert_plain_error, file, make, object, own_error, restart_hub, wait_state};

/// Bytes of noise in a large SRPM: many windows of an upload.
const LARGE_BYTES: usize = 6 << 20;

fn submit(farm: &Farm, path: &Path, more: &[&str]) -> Finished {
    let path = path.display().to_string();
    farm.moji(&[&["submit", &path], more].concat())
}

/// What is in `source/`, lists and hidden files included.
fn in_source(farm: &Farm) -> Vec<String> {
    let entries = fs::read_dir(farm.source()).expect("it is there").flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn only_whole_source_rpms_come_in_and_each_of_them_once() {
    let mut farm = Farm::plan().builders(0).start();
    let good = make(&farm, "good");
    let ended = submit(&farm, &good, &[]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("good-1-1"), "{ended:?}");
    let same =
        fs::read(farm.source().join(file("good"))).expect("it is there") == fs::read(&good).expect("so");
    assert!(same, "it arrived as it was");
    wait_state(&farm, "good", "waiting");
    let again = submit(&farm, &good, &[]);
    assert_eq!(again.code, 0, "{again:?}");
    assert!(again.stdout.contains("already"), "{again:?}");
    // Other content under the same name is no reason to lose the first.
    let other = farm.path().join("other");
    fs::create_dir(&other).expect("a folder");
    let other = srpm_from_spec(&other, &simple_spec("good", "1", "Provides: more\n"));
    assert_eq!(submit(&farm, &other, &[]).code, 1);
    // What is no whole SRPM.
    let bad = farm.path().join("bad");
    fs::create_dir(&bad).expect("a folder");
    let second = make(&farm, "second");
    let binary = rpms_from_spec(&bad, &simple_spec("binary", "1", "")).remove(0);
    let renamed = bad.join("renamed-2-1.src.rpm");
    fs::copy(&second, &renamed).expect("copied");
    let keep = fs::metadata(&second).expect("there").len() - 1;
    // What can be seen at once is a mistake of the command line, the rest is the hub's to say.
    for (what, path, code) in [
        ("no RPM", foreign(&bad, "foreign-1-1.src.rpm"), 2),
        ("a binary RPM", binary.clone(), 2),
        ("a binary RPM in disguise", disguised(&binary), 2),
        ("not there", bad.join("nowhere-1-1.src.rpm"), 2),
        ("a folder", bad.clone(), 2),
        ("cut off", truncated(&second, &bad, keep), 1),
        ("damaged", damaged(&second, &bad, Damage::PayloadBit), 1),
        ("another name than its header's", renamed, 1),
    ] {
        let ended = submit(&farm, &path, &[]);
        assert_eq!(ended.code, code, "{what}: {ended:?}");
        assert_plain_error(&ended);
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let nvr = name.trim_end_matches(".src.rpm");
        assert!(ended.stderr.contains(nvr), "{what} is named: {ended:?}");
    }
    // With a mistake on the command line nothing is sent; what the hub refuses keeps no other out.
    let both = |first: &str| {
        let paths = [&bad.join(first), &second].map(|path| path.display().to_string());
        farm.moji(&["submit", &paths[0], &paths[1]])
    };
    assert_eq!(both("foreign-1-1.src.rpm").code, 2);
    assert!(!in_source(&farm).contains(&file("second")));
    let ended = both("renamed-2-1.src.rpm");
    assert_eq!(ended.code, 1, "{ended:?}");
    wait_state(&farm, "second", "waiting");
    // First in line, with options of its own.
    let third = make(&farm, "third");
    let ended = submit(&farm, &third, &["--first", "--options", "--nocheck --define 'mydef some value'"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    wait_state(&farm, "third", "waiting");
    let row = object(&farm, &["show", "third"]);
    assert_eq!(row["package"]["priority"], 1, "{row}");
    assert_eq!(row["options"], json!(["--nocheck", "--define", "mydef some value"]), "{row}");
    // Several go first in the order in which they are named, one that is there already among them.
    let paths = [&second, &third].map(|path| path.display().to_string());
    assert_eq!(farm.moji(&["submit", "--first", &paths[0], &paths[1]]).code, 0);
    let priority = |name: &str| object(&farm, &["list", name])["priority"].clone();
    farm.wait_until("the queue to know", SOON, |_| {
        (priority("second"), priority("third")) == (json!(1), json!(2))
    });
    let bad_words = submit(&farm, &make(&farm, "fourth"), &["--options", "--resultdir=/etc"]);
    assert_eq!(bad_words.code, 1, "{bad_words:?}");
    assert!(bad_words.stderr.contains("--resultdir"), "{bad_words:?}");
    assert_eq!(
        in_source(&farm),
        [&file("good"), "options.txt", "priority.txt", &file("second"), &file("third")].map(str::to_owned),
        "and nothing is left of what was refused"
    );
    // What came in is built as any other.
    farm.outcome(&file("third"), own_error());
    farm.add_builder();
    wait_state(&farm, "third", "failed");
    assert_eq!(crate::leased(&mut farm)[..2], ["second", "third"]);
}

/// A copy that is called like a source RPM.
fn disguised(binary: &Path) -> PathBuf {
    let path = binary.with_file_name("disguised-1-1.src.rpm");
    fs::copy(binary, &path).expect("copied");
    path
}

/// An SRPM of several megabytes that no compression makes smaller.
fn large(farm: &Farm) -> PathBuf {
    let folder = farm.path().join("large");
    fs::create_dir_all(&folder).expect("a folder");
    let noise =
        format!("mkdir -p %{{_sourcedir}}; head -c {LARGE_BYTES} /dev/urandom > %{{_sourcedir}}/noise");
    let spec = format!("%{{expand:%(%{{noise}})}}\n{}", simple_spec("large", "1", "Source: noise\n"));
    srpm_from_spec(&folder, &format!("%define noise {noise}\n{spec}"))
}

/// `submit` with the hub behind the proxy.
fn submit_through_proxy(farm: &Farm, path: &Path) -> Command {
    let mut command = farm.moji_command();
    command.arg("--hub").arg(farm.hub_addr().to_string());
    command.arg("--password-file").arg(farm.state().join("operator.secret"));
    command.arg("submit").arg(path);
    command
}

#[test]
fn a_submit_goes_on_where_it_was_after_a_cut_and_after_a_restart_of_the_hub() {
    let mut farm = Farm::plan().builders(0).through_proxy().start();
    let path = large(&farm);
    let length = fs::metadata(&path).expect("there").len();
    assert!(length > LARGE_BYTES as u64, "noise stays as large as it is: {length}");
    farm.proxy().cut_after(Direction::ToHub, length * 2 / 3);
    let before = farm.proxy().bytes(Direction::ToHub);
    let ended = run_to_end(submit_through_proxy(&farm, &path), SOON);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(farm.proxy().trips(), 1, "it was cut");
    let sent = farm.proxy().bytes(Direction::ToHub) - before;
    assert!(sent < length * 3 / 2, "only the rest is sent again: {sent} of {length}");
    wait_state(&farm, "large", "waiting");
    let good = |farm: &Farm| {
        fs::read(farm.source().join(file("large"))).is_ok_and(|b| Ok(b) == fs::read(&path).map_err(drop))
    };
    assert!(good(&farm));
    // Once more, with a hub that goes in the middle of it; on a terminal, where its progress is seen.
    fs::remove_file(farm.source().join(file("large"))).expect("taken away");
    farm.wait_until("the hub to miss it", SOON, |farm| {
        farm.moji(&["--json", "list", "waiting"]).stdout.is_empty()
    });
    farm.proxy().delay(std::time::Duration::from_millis(5));
    let before = farm.proxy().bytes(Direction::ToHub);
    let mut pty = Pty::spawn(&submit_through_proxy(&farm, &path));
    farm.wait_until("half of it", SOON, |farm| farm.proxy().bytes(Direction::ToHub) > before + length / 2);
    restart_hub(&mut farm);
    farm.proxy().delay(std::time::Duration::ZERO);
    assert_eq!(pty.wait_exit(SOON), 0, "{}", pty.text());
    assert_eq!(pty.wrapped(), Vec::<String>::new(), "{}", pty.text());
    assert!(pty.text().contains("large-1-1"), "{}", pty.text());
    let sent = farm.proxy().bytes(Direction::ToHub) - before;
    assert!(sent < length * 3 / 2, "only the rest is sent again: {sent} of {length}");
    assert!(good(&farm));
    assert_eq!(in_source(&farm), [file("large")]);
}
