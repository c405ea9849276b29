//! What the history remembers, and what it survives.

use crossbeam_channel::{bounded, unbounded};
use moji_proto::message::Backend;
use moji_proto::{Digest, LeaseId, Line, PublicKey};

use super::*;
use crate::clock;
use crate::result_json::ResultFile;

fn srpm(name: &str) -> FileName {
    FileName::new(format!("{name}-1-1.src.rpm")).unwrap()
}

fn lease(counter: u32) -> LeaseId {
    LeaseId { incarnation: 5, counter }
}

fn began(name: &str, counter: u32) -> Note {
    Note::Began { srpm: srpm(name), lease: lease(counter), builder: PublicKey([1; 32]) }
}

fn ended(name: &str, counter: u32, verdict: Verdict, charged: bool) -> Note {
    let reason = format!("reason {counter}");
    Note::Ended { srpm: srpm(name), lease: lease(counter), verdict, reason, charged, seconds: Some(9) }
}

/// What is recalled, one word each.
fn recalled(history: &History) -> Vec<String> {
    let word = |msg| match msg {
        Msg::Target { arch } => arch,
        Msg::Charged { srpm, attempts } => {
            let attempts: Vec<String> = attempts.iter().map(|(v, why)| format!("{v} {why}")).collect();
            format!("{srpm}: {}", attempts.join(", "))
        }
        other => panic!("{other:?}"),
    };
    history.recall().unwrap().into_iter().map(word).collect()
}

/// Opens, has the thread write these, and ends it.
fn write(state: &Path, notes: Vec<Note>) {
    let (sender, inbox) = unbounded();
    let (stop, stopped) = bounded(0);
    let thread = History::open(state).unwrap().start(inbox, stopped, clock::Real::default());
    notes.into_iter().for_each(|note| sender.send(note).unwrap());
    drop(stop);
    thread.join().unwrap();
}

fn result(verdict: Verdict, files: &[(&str, bool)]) -> ResultJson {
    let file = |(name, is_source): &(&str, bool)| ResultFile {
        name: (*name).to_owned(),
        size: 1,
        digest: String::new(),
        package: name.ends_with(".rpm").then(|| "a".to_owned()),
        is_source: *is_source,
    };
    ResultJson {
        lease: lease(1).to_string(),
        srpm: srpm("a").to_string(),
        srpm_digest: String::new(),
        source: "a".to_owned(),
        nvr: "a-1-1".to_owned(),
        verdict: verdict.as_str().to_owned(),
        reason: String::new(),
        held: None,
        builder: "b1".to_owned(),
        builder_key: String::new(),
        arch: "armv7l".to_owned(),
        backend: "mock".to_owned(),
        cfg: String::new(),
        options: Vec::new(),
        exit: "exit 0".to_owned(),
        seconds: 3,
        committed_unix_s: 1_764_000_000,
        files: files.iter().map(file).collect(),
        evidence: Vec::new(),
    }
}

#[test]
fn charged_attempts_are_recalled_until_the_package_is_done_or_starts_afresh() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        vec![
            began("a", 1),
            ended("a", 1, Verdict::Lost, true),
            ended("a", 2, Verdict::Infra, false),
            ended("a", 3, Verdict::Memory, true),
            ended("b", 4, Verdict::Lost, true),
            ended("b", 5, Verdict::Success, false),
            ended("c", 6, Verdict::Lost, true),
            Note::Afresh { srpm: srpm("c") },
            ended("c", 7, Verdict::Lost, true),
            began("d", 8),
            Note::Target { arch: "armv5tel".to_owned() },
        ],
    );
    let history = History::open(dir.path()).unwrap();
    let want = ["armv5tel", "a-1-1.src.rpm: lost reason 1, memory reason 3", "c-1-1.src.rpm: lost reason 7"];
    assert_eq!(recalled(&history), want);
    let timed: i64 = history
        .db
        .query_row("SELECT count(*) FROM attempts WHERE began_unix_s > 0 AND seconds = 9", [], |row| {
            row.get(0)
        })
        .unwrap();
    assert_eq!(timed, 1);
}

#[test]
fn builders_are_remembered_as_they_were_last() {
    let dir = tempfile::tempdir().unwrap();
    let info = |memory_mib| BuilderInfo {
        id: PublicKey([2; 32]),
        name: FileName::new("b2").unwrap(),
        instance: 1,
        arch: FileName::new("armv5tel").unwrap(),
        version: FileName::new("0").unwrap(),
        cfg: Line::lossy("cfg"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Rpmbuild,
        cpus: 1,
        memory_mib,
        disk_free_mib: 1,
        clock_unix_s: 0,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    write(dir.path(), vec![Note::Builder(info(128)), Note::Builder(info(256))]);
    let history = History::open(dir.path()).unwrap();
    let rows: Vec<(String, i64)> = history
        .db
        .prepare("SELECT backend, memory_mib FROM builders")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(rows, [("rpmbuild".to_owned(), 256)]);
}

#[test]
fn a_deleted_history_is_rebuilt_from_results() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), vec![ended("a", 1, Verdict::Lost, true)]);
    assert!(!History::open(dir.path()).unwrap().is_empty().unwrap());
    fs::remove_file(dir.path().join(FILE_NAME)).unwrap();
    let mut history = History::open(dir.path()).unwrap();
    assert!(history.is_empty().unwrap());
    let files =
        [("build.log", false), ("a.src.rpm", true), ("a-doc.noarch.rpm", false), ("a.armv7hl.rpm", false)];
    let results = [result(Verdict::Success, &files)];
    history.rebuild(&results).unwrap();
    history.rebuild(&results).unwrap();
    assert!(!history.is_empty().unwrap());
    assert_eq!(recalled(&history), ["armv7hl"]);
}

#[test]
fn what_was_not_published_fixes_no_target() {
    let arm = [("a.armv7hl.rpm", false)];
    assert_eq!(target_of(&result(Verdict::Success, &arm)), Some("armv7hl"));
    assert_eq!(target_of(&result(Verdict::Failed, &arm)), None);
    assert_eq!(target_of(&ResultJson { held: Some(String::new()), ..result(Verdict::Success, &arm) }), None);
    assert_eq!(target_of(&result(Verdict::Success, &[("a.noarch.rpm", false), ("a.src.rpm", true)])), None);
}

#[test]
fn a_damaged_history_is_set_aside_and_made_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(FILE_NAME);
    let aside = dir.path().join("history.db.damaged");
    let notes = || (1..500).map(|n| ended("a", n, Verdict::Lost, true)).collect();
    let whole = {
        write(dir.path(), notes());
        fs::read(&path).unwrap()
    };
    assert!(whole.len() > 3 * 4096);
    let mut torn = whole.clone();
    torn[4096..8192].fill(0xaa);
    for (what, bytes) in [("text", b"this is not a database, not at all".to_vec()), ("torn", torn)] {
        fs::write(&path, &bytes).unwrap();
        let history = History::open(dir.path()).unwrap();
        assert!(history.is_empty().unwrap(), "{what}");
        assert_eq!(fs::read(&aside).unwrap(), bytes, "{what}");
        drop(history);
        fs::remove_file(&aside).unwrap();
    }
    let other = Connection::open(&path).unwrap();
    other.pragma_update(None, "user_version", LAYOUT + 1).unwrap();
    drop(other);
    assert!(History::open(dir.path()).unwrap().is_empty().unwrap());
    assert!(aside.exists());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    assert!(History::open(&dir.path().join("missing")).is_err());
}
