//! What the history remembers, and what it survives.

use crossbeam_channel::{bounded, unbounded};
use std::sync::Arc;

use moji_proto::message::{AttemptRow, Backend, EventKind, EventRow};
use moji_proto::{Digest, LeaseId, Line, PublicKey};

use super::rebuild::target_of;
use super::*;
use crate::clock;
use crate::disk::{Folders, Real};
use crate::recovery::RepoResult;
use crate::result_json::{ResultFile, ResultJson};

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
    Note::Ended {
        srpm: srpm(name),
        lease: lease(counter),
        verdict,
        reason,
        charged,
        seconds: Some(9),
        silent_s: Some(4),
        peak: Peak::default(),
        is_last: true,
        folder: None,
    }
}

/// What is recalled, one word each.
fn recalled(history: &History) -> Vec<String> {
    let word = |msg| match msg {
        Msg::Target { arch } => arch,
        Msg::Charged { srpm, attempts } => {
            let attempts: Vec<String> = attempts.iter().map(|(v, why)| format!("{v} {why}")).collect();
            format!("{srpm}: {}", attempts.join(", "))
        }
        Msg::Took { source, builder, seconds, silent_s } => {
            format!("{source} {seconds} s on {}, silent {silent_s} s", builder.0[0])
        }
        Msg::Needed { source, peak } => format!("{source} {}+{} MiB", peak.memory_mib, peak.disk_mib),
        Msg::Tried { srpm, builder, verdict, is_open, memory_mib } => {
            let open = if is_open { " open" } else { "" };
            format!("{srpm} {verdict} on {} with {memory_mib} MiB{open}", builder.0[0])
        }
        other => panic!("{other:?}"),
    };
    history.recall(1_764_000_100).unwrap().into_iter().map(word).collect()
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

fn result(verdict: Verdict, files: &[(&str, bool)]) -> RepoResult {
    let result = result_json(verdict, files);
    RepoResult { folder: "a-1-1".to_owned(), result, decision: None }
}

fn result_json(verdict: Verdict, files: &[(&str, bool)]) -> ResultJson {
    let file = |(name, is_source): &(&str, bool)| ResultFile {
        name: (*name).to_owned(),
        size: 1,
        package: name.ends_with(".rpm").then(|| "a".to_owned()),
        is_source: *is_source,
        ..ResultFile::default()
    };
    ResultJson {
        lease: lease(1).to_string(),
        srpm: srpm("a").to_string(),
        source: "a".to_owned(),
        nvr: "a-1-1".to_owned(),
        verdict: verdict.as_str().to_owned(),
        builder: "b1".to_owned(),
        arch: "armv7l".to_owned(),
        backend: "mock".to_owned(),
        exit: "exit 0".to_owned(),
        seconds: 3,
        committed_unix_s: 1_764_000_000,
        files: files.iter().map(file).collect(),
        ..ResultJson::default()
    }
}

#[test]
fn how_long_successes_took_is_recalled_by_source_package_and_builder_oldest_first() {
    let state = tempfile::tempdir().unwrap();
    let both = |name: &str, counter, verdict| [began(name, counter), ended(name, counter, verdict, false)];
    let notes = [
        both("b-c", 1, Verdict::Success),
        both("a", 2, Verdict::Failed),
        both("a", 3, Verdict::Deps),
        both("a", 4, Verdict::Success),
    ];
    write(state.path(), notes.concat());
    let history = History::open(state.path()).unwrap();
    // What failed on a builder, and what it and others built since, tells which boards fail what others pass.
    let tried = ["b-c-1-1.src.rpm success", "a-1-1.src.rpm failed", "a-1-1.src.rpm success"];
    let tried = tried.map(|text| format!("{text} on 1 with 0 MiB"));
    let took = ["b-c 9 s on 1, silent 4 s", "a 9 s on 1, silent 4 s"].map(str::to_owned);
    assert_eq!(recalled(&history), [&took[..], &tried[..]].concat());
}

#[test]
fn what_builds_took_is_recalled_and_what_waits_for_a_bigger_board_or_for_one_to_agree() {
    let state = tempfile::tempdir().unwrap();
    let with = |note, memory_mib, disk_mib, last| match note {
        Note::Ended { srpm, lease, verdict, reason, charged, seconds, silent_s, folder, .. } => {
            let peak = Peak { memory_mib, disk_mib };
            Note::Ended {
                srpm,
                lease,
                verdict,
                reason,
                charged,
                seconds,
                silent_s,
                peak,
                is_last: last,
                folder,
            }
        }
        other => other,
    };
    let notes = vec![
        Note::Builder(builder_info(1)),
        began("a", 1),
        with(ended("a", 1, Verdict::Success, false), 70, 900, true),
        began("a", 2),
        with(ended("a", 2, Verdict::Success, false), 80, 0, true),
        began("b", 3),
        with(ended("b", 3, Verdict::Failed, false), 0, 0, false),
        began("c", 4),
        with(ended("c", 4, Verdict::Memory, true), 120, 0, true),
        began("d", 5),
        with(ended("d", 5, Verdict::Failed, false), 0, 0, false),
        Note::Afresh { srpm: srpm("d") },
    ];
    write(state.path(), notes);
    let memory_mib = builder_info(1).memory_mib;
    let want = [
        "c-1-1.src.rpm: memory reason 4".to_owned(),
        "a 70+900 MiB".to_owned(),
        "a 9 s on 1, silent 4 s".to_owned(),
        "a 80+0 MiB".to_owned(),
        "a 9 s on 1, silent 4 s".to_owned(),
        format!("a-1-1.src.rpm success on 1 with {memory_mib} MiB"),
        format!("a-1-1.src.rpm success on 1 with {memory_mib} MiB"),
        format!("b-1-1.src.rpm failed on 1 with {memory_mib} MiB open"),
        format!("c-1-1.src.rpm memory on 1 with {memory_mib} MiB open"),
        format!("d-1-1.src.rpm failed on 1 with {memory_mib} MiB"),
    ];
    assert_eq!(recalled(&History::open(state.path()).unwrap()), want);
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
    let info = |memory_mib| BuilderInfo { memory_mib, ..builder_info(2) };
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
fn attempts_and_builders_come_back_as_their_results_tell_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut history = History::open(dir.path()).unwrap();
    let made = |lease: LeaseId, committed_unix_s: u64, version: &str| ResultJson {
        lease: lease.to_string(),
        builder_key: PublicKey([2; 32]).to_string(),
        builder_version: version.to_owned(),
        silence_s: Some(2),
        leased_unix_s: Some(committed_unix_s - 100),
        committed_unix_s,
        ..result_json(Verdict::Success, &[])
    };
    let results = [
        RepoResult { folder: "a-1-1".into(), result: made(lease(9), 9_000, "0.9"), decision: None },
        RepoResult { folder: "a-1-1@2".into(), result: made(lease(8), 8_000, "0.8"), decision: None },
    ];
    let memory = ResultJson { verdict: "memory".into(), reason: "-9".into(), ..made(lease(3), 3_000, "0.3") };
    let gone = ResultJson {
        verdict: "ended".into(),
        reason: "the builder did not come back within the grace".into(),
        seconds: 0,
        leased_unix_s: None,
        ..made(lease(4), 4_000, "0.4")
    };
    for _ in 0..2 {
        history.rebuild(&results).unwrap();
        history.rebuild_rest(&results, &[memory.clone(), gone.clone()]).unwrap();
    }
    let rows = reader(dir.path()).attempts(&srpm("a")).unwrap();
    let told = |row: &AttemptRow| {
        let verdict = row.verdict.map_or("", Verdict::as_str);
        let at = (row.began_unix_s, row.ended_unix_s, row.seconds);
        format!("{} {} {verdict}:{} {at:?} {}", row.lease, row.builder, row.reason, row.charged)
    };
    let want = [
        "5-3 b1 memory:-9 (2900, 3000, 3) true",
        "5-4 b1 :the builder did not come back within the grace (0, 4000, 0) false",
        "5-8 b1 success: (7900, 8000, 3) false",
        "5-9 b1 success: (8900, 9000, 3) false",
    ];
    assert_eq!(rows.iter().map(told).collect::<Vec<_>>(), want);
    let builder = "SELECT name || version || first_unix_s || last_unix_s FROM builders";
    let builder: String = history.db.query_row(builder, [], |row| row.get(0)).unwrap();
    assert_eq!(builder, "b10.929009000");
    let events = reader(dir.path()).newest_events(100).unwrap();
    let event = |row: &EventRow| {
        let verdict = row.verdict.map_or("", Verdict::as_str);
        format!("{} {} {verdict}:{}", row.unix_ms / 1_000, row.kind, row.text)
    };
    let want = [
        "2900 leased :leased to b1",
        "3000 ended memory:-9",
        "4000 ended :the builder did not come back within the grace",
        "7900 leased :leased to b1",
        "8000 ended success:",
        "8900 leased :leased to b1",
        "9000 ended success:",
    ];
    assert_eq!(events.iter().map(event).collect::<Vec<_>>(), want);
    assert!(events.is_sorted_by(|a, b| a.seq < b.seq));
    // None of it counts against --attempts.
    assert_eq!(recalled(&history), ["a 3 s on 2, silent 2 s"; 2]);
}

#[test]
fn leases_that_have_not_ended_are_known_with_their_beginning() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), vec![began("a", 1), began("b", 2), ended("b", 2, Verdict::Lost, true)]);
    let leases: Vec<LeaseId> = History::open(dir.path()).unwrap().began().unwrap().into_keys().collect();
    assert_eq!(leases, [lease(1)]);
}

#[test]
fn what_was_not_published_fixes_no_target() {
    let arm = [("a.armv7hl.rpm", false)];
    assert_eq!(target_of(&result(Verdict::Success, &arm)), Some("armv7hl"));
    assert_eq!(target_of(&result(Verdict::Failed, &arm)), None);
    let mut held = result(Verdict::Success, &arm);
    held.result.held = Some(String::new());
    assert_eq!(target_of(&held), None);
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
    other.pragma_update(None, "user_version", layout::LAYOUT + 1).unwrap();
    drop(other);
    assert!(History::open(dir.path()).unwrap().is_empty().unwrap());
    assert!(aside.exists());
}

#[test]
fn a_folder_that_is_not_there_is_an_error_and_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    assert!(History::open(&dir.path().join("missing")).is_err());
}

#[test]
fn a_history_of_the_first_layout_is_brought_up_and_keeps_what_it_knows() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    layout::first(&old);
    old.execute_batch(
        "INSERT INTO attempts (lease, srpm, builder, verdict, reason, charged, open)
            VALUES ('5-1', 'a-1-1.src.rpm', '', 'lost', 'why', 1, 1);
        INSERT INTO facts VALUES ('target', 'armv5tel');",
    )
    .unwrap();
    drop(old);
    let history = History::open(dir.path()).unwrap();
    assert!(!dir.path().join("history.db.damaged").exists());
    assert_eq!(recalled(&history), ["armv5tel", "a-1-1.src.rpm: lost why"]);
    drop(history);
    write(dir.path(), vec![Note::Event(event(1, EventKind::Leased))]);
    assert_eq!(reader(dir.path()).events(0, 9).unwrap().len(), 1);
}

fn event(seq: u64, kind: EventKind) -> EventRow {
    EventRow {
        seq,
        unix_ms: 1_764_000_000_123,
        kind,
        srpm: Some(srpm(if seq.is_multiple_of(2) { "a" } else { "b" })),
        lease: Some(lease(3)),
        builder: Some(FileName::new(format!("b{}", seq % 3)).unwrap()),
        verdict: Some(Verdict::Failed),
        phase: None,
        state: Some(PackageState::Failed),
        who: Line::lossy("ann@desk (10.0.0.7)"),
        text: Line::lossy("text"),
    }
}

fn reader(dir: &Path) -> Reader {
    let folders = Folders {
        source: dir.join("source"),
        working: dir.join("working"),
        finished: dir.join("finished"),
        repo: dir.join("repo"),
        state: dir.to_owned(),
    };
    Reader::open(Arc::new(Real), folders).unwrap()
}

fn builder_info(builder: u8) -> BuilderInfo {
    BuilderInfo {
        id: PublicKey([builder; 32]),
        name: FileName::new(format!("b{builder}")).unwrap(),
        instance: 1,
        arch: FileName::new("armv5tel").unwrap(),
        version: FileName::new("0").unwrap(),
        cfg: Line::lossy("cfg"),
        cfg_digest: Digest::of(b""),
        backend: Backend::Rpmbuild,
        cpus: 1,
        memory_mib: 128,
        disk_free_mib: 1,
        clock_unix_s: 0,
        setup: Line::default(),
        weak: false,
        peer: std::net::Ipv4Addr::LOCALHOST.into(),
    }
}

#[test]
fn events_are_read_back_as_they_were_but_phases() {
    let dir = tempfile::tempdir().unwrap();
    let kinds = EventKind::ALL;
    let rows: Vec<EventRow> = (1..).zip(kinds).map(|(seq, kind)| event(seq, kind)).collect();
    let notes = (0..3).map(|builder| Note::Builder(builder_info(builder)));
    write(dir.path(), notes.chain(rows.iter().cloned().map(Note::Event)).collect());
    let reader = reader(dir.path());
    let kept: Vec<EventRow> = rows.into_iter().filter(|row| row.kind != EventKind::Phase).collect();
    assert_eq!(reader.events(0, 100).unwrap(), kept);
    assert_eq!(reader.events(kept[2].seq, 2).unwrap(), kept[3..5]);
    assert_eq!(reader.newest_events(3).unwrap(), kept[kept.len() - 3..]);
    let of =
        |want: &dyn Fn(&EventRow) -> bool| kept.iter().filter(|row| want(row)).cloned().collect::<Vec<_>>();
    let about = |packages: &[FileName], builders: &[&str], newest| {
        let builders: Vec<String> = builders.iter().map(|name| (*name).to_owned()).collect();
        reader.events_about(packages, &builders, newest).unwrap()
    };
    let is_a = |row: &EventRow| row.srpm == Some(srpm("a"));
    let is_b2 = |row: &EventRow| row.builder.as_ref().is_some_and(|name| name.as_str() == "b2");
    assert_eq!(about(&[srpm("a")], &[], 100), of(&is_a));
    assert_eq!(about(&[], &["[x2]*", "b2"], 100).len(), of(&is_b2).len());
    assert_eq!(about(&[], &["?2"], 100), of(&is_b2));
    let either = of(&|row| is_a(row) || is_b2(row));
    assert_eq!(about(&[srpm("a")], &["b2"], 100), either);
    assert_eq!(about(&[srpm("a")], &["b2"], 2), either[either.len() - 2..]);
    assert_eq!(about(&[], &["c*"], 100), []);
}

#[test]
fn only_the_newest_events_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), (1..=20).map(|seq| Note::Event(event(seq, EventKind::Leased))).collect());
    let history = History::open(dir.path()).unwrap();
    assert_eq!(events::prune(&history.db, 30).unwrap(), 0);
    assert_eq!(events::prune(&history.db, 5).unwrap(), 15);
    let left: Vec<u64> = reader(dir.path()).events(0, 100).unwrap().iter().map(|row| row.seq).collect();
    assert_eq!(left, [16, 17, 18, 19, 20]);
}

#[test]
fn attempts_are_numbered_from_the_oldest_and_say_where_their_logs_are() {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["repo/a-1-1", "attempts/5-2"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let done = |counter, verdict, folder: Option<&str>| Note::Ended {
        srpm: srpm("a"),
        lease: lease(counter),
        verdict,
        reason: "why".to_owned(),
        charged: verdict == Verdict::Lost,
        seconds: Some(9),
        silent_s: None,
        peak: Peak::default(),
        is_last: true,
        folder: folder.map(str::to_owned),
    };
    write(
        dir.path(),
        vec![
            Note::Builder(builder_info(1)),
            began("a", 10),
            began("a", 2),
            done(2, Verdict::Lost, None),
            done(3, Verdict::Failed, Some("a-1-1")),
            done(4, Verdict::Failed, Some("a-1-1@2")),
            began("b", 5),
        ],
    );
    let rows = reader(dir.path()).attempts(&srpm("a")).unwrap();
    let got: Vec<_> = rows
        .iter()
        .map(|row| {
            let verdict = row.verdict.map_or("runs", Verdict::as_str);
            format!(
                "{} {} {:?} {verdict} {} {}",
                row.number,
                row.lease,
                row.builder.as_str(),
                row.charged,
                row.place
            )
        })
        .collect();
    let want = [
        "1 5-2 \"b1\" lost true attempts/5-2",
        "2 5-3 \"\" failed false repo/a-1-1",
        "3 5-4 \"\" failed false ",
        "4 5-10 \"b1\" runs false ",
    ];
    assert_eq!(got, want);
    assert!(rows[0].began_unix_s > 0 && rows[0].ended_unix_s > 0 && rows[0].seconds == 9);
    assert!(rows[3].began_unix_s > 0 && rows[3].ended_unix_s == 0);
}

#[test]
fn builders_are_counted_by_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let verdicts = [Verdict::Success, Verdict::Success, Verdict::Failed, Verdict::Infra];
    let notes = (1..).zip(verdicts).flat_map(|(n, verdict)| [began("a", n), ended("a", n, verdict, false)]);
    write(dir.path(), notes.collect());
    let counts = reader(dir.path()).counts_by_builder().unwrap();
    assert_eq!(counts.get(&PublicKey([1; 32])), Some(&Counts { built: 2, failed: 1 }));
}

#[test]
fn reasons_are_counted_by_what_they_have_in_common() {
    let dir = tempfile::tempdir().unwrap();
    let notes = [
        ("a", Verdict::Failed, "%build failed: a.c:1: error: x"),
        ("a", Verdict::Failed, "%build failed: a.c:2: error: y"),
        ("b", Verdict::Failed, "failed on one, two: %build failed: b.c:1: error: z"),
        ("c", Verdict::Failed, "%build failed"),
        ("d", Verdict::Failed, "%check failed: make: *** [check] Error 2"),
        ("e", Verdict::Infra, "%build failed"),
        ("f", Verdict::Success, ""),
    ];
    let notes = (1..).zip(notes).flat_map(|(number, (name, verdict, why))| {
        let mut end = ended(name, number, verdict, false);
        if let Note::Ended { reason, .. } = &mut end {
            *reason = why.to_owned();
        }
        [began(name, number), end]
    });
    write(dir.path(), notes.collect());
    let reasons = reader(dir.path()).numbers(0).unwrap().reasons;
    let told = reasons.iter().map(|one| (one.verdict.as_str(), &*one.reason, one.attempts, one.packages));
    let want = [
        ("failed", "%build failed", 4, 3),
        ("infra", "%build failed", 1, 1),
        ("failed", "%check failed", 1, 1),
    ];
    assert_eq!(told.collect::<Vec<_>>(), want);
}

#[test]
fn what_operators_did_is_recalled_until_it_is_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let told = |builder: u8, told| Note::Told { builder: PublicKey([builder; 32]), told };
    let ending =
        |name| Note::EndedAs { srpm: srpm(name), state: PackageState::Cancelled, text: "t".to_owned() };
    let all = Told { drained: true, exit: Some(u64::MAX), quarantined: true };
    write(
        dir.path(),
        vec![
            Note::Builder(builder_info(1)),
            Note::Builder(builder_info(2)),
            told(1, all),
            told(2, all),
            told(2, Told::default()),
            // Registering again changes nothing about it.
            Note::Builder(builder_info(1)),
            ending("a"),
            ending("b"),
            ending("c"),
            Note::Afresh { srpm: srpm("b") },
            began("c", 1),
        ],
    );
    let msgs = History::open(dir.path()).unwrap().recall(u64::MAX).unwrap();
    assert!(
        matches!(&msgs[..], [
            Msg::EndedAs { srpm: name, state: PackageState::Cancelled, .. },
            Msg::Told { builder: PublicKey([1, ..]), told, .. },
        ] if *name == srpm("a") && *told == all),
        "{msgs:?}"
    );
}
