//! What the end-to-end tests of the core (in `core/transfers/tests`) do not reach.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use moji_proto::message::{Phase, RejectedWhy, Which};
use moji_proto::{Digest, FileName, LeaseId, Time};

use super::testdisk::{Faults, TestDisk, folders};
use super::testrpm::{build, endless, with_signature_tags};
use super::verify::{copy, log_name};
use super::{Worker, live_dir, stage_dir};
use crate::clock::Clock;
use crate::core::transfers::{About, Done, Entry, Op};
use crate::core::types::Sha256;
use crate::disk::{Disk as _, Folders};
use crate::repodata::PIECE_NAME;

struct Still;

impl Clock for Still {
    fn now(&self) -> Time {
        Time(0)
    }

    fn unix_s(&self) -> u64 {
        1_764_000_123
    }
}

fn worker(folders: &Folders) -> Worker {
    Worker::new(Arc::new(TestDisk(Faults::none())), Arc::new(Still), folders.clone())
}

fn verify(files: Vec<(u32, Entry)>) -> Op {
    Op::Verify { nvr: "hello-1.0-1".into(), files }
}

fn lease(counter: u32) -> LeaseId {
    LeaseId { incarnation: 5, counter }
}

#[test]
fn only_what_ends_like_a_log_is_a_log_and_its_name_is_made_safe() {
    for (said, kept) in [
        ("build.log", Some("build.log")),
        ("hw_info.log", Some("hw_info.log")),
        ("build.log.gz", Some("build.log.gz")),
        ("a b\u{e9}'.log", Some("a_b__.log")),
        (".log", None),
        ("..log", None),
        (".x.log", None),
        ("log", None),
        ("x.tar", None),
        ("x.log.exe", None),
        ("result.json", None),
    ] {
        assert_eq!(log_name(said).as_deref(), kept, "{said}");
    }
    assert_eq!(log_name(&("x".repeat(250) + ".log")).unwrap().len(), 100);
}

#[test]
fn log_over_the_limit_loses_its_middle_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let stage = stage_dir(&folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let limit = 64 << 20;
    for (size, cut) in [(limit, false), (limit + 1_000, true)] {
        let file = fs::File::create(stage.join("f0")).unwrap();
        file.set_len(size).unwrap();
        let write =
            |text: &str, at: u64| std::os::unix::fs::FileExt::write_all_at(&file, text.as_bytes(), at);
        write("first", 0).unwrap();
        write("last", size - 4).unwrap();
        let entry = Entry { name: FileName::new("build.log").unwrap(), size, digest: Digest::of(b"") };
        let done = worker(&folders).run(lease(1), verify(vec![(0, entry)]));
        let Done::Verified { placed, defect: None, .. } = done else { panic!("{done:?}") };
        assert_eq!(placed[0].from, if cut { "c0" } else { "f0" });
        if cut {
            let bytes = fs::read(stage.join("c0")).unwrap();
            assert_eq!(placed[0].file.size, bytes.len() as u64);
            assert_eq!(placed[0].file.digest, Digest::of(&bytes));
            assert!(bytes.starts_with(b"first") && bytes.ends_with(b"last"));
            let middle = &bytes[32 << 20..][..60];
            assert!(String::from_utf8_lossy(middle).contains("[moji: 1000 bytes were cut here]"));
        }
    }
}

#[test]
fn copy_takes_so_many_bytes_and_no_more() {
    let disk = TestDisk(Faults::none());
    let dir = tempfile::tempdir().unwrap();
    let [from, to] = ["from", "to"].map(|name| disk.create(&dir.path().join(name)).unwrap());
    from.write_at(b"0123456789", 0).unwrap();
    to.write_at(b"----------", 0).unwrap();
    copy(&*from, 3, &*to, 1, 4).unwrap();
    assert_eq!(fs::read(dir.path().join("to")).unwrap(), b"-3456-----");
    assert!(copy(&*from, 8, &*to, 0, 3).is_err(), "it is too short");
}

#[test]
fn srpm_that_became_shorter_is_not_sent_with_made_up_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    fs::write(folders.working.join("a.src.rpm"), b"12345").unwrap();
    let read = |offset, length| {
        let srpm = FileName::new("a.src.rpm").unwrap();
        worker(&folders).run(lease(1), Op::Read { srpm, offset, length })
    };
    assert!(matches!(read(1, 4), Done::Read { offset: 1, bytes } if bytes.0 == b"2345"));
    assert!(matches!(read(1, 5), Done::Failed(_)));
    assert!(matches!(read(5, 1), Done::Failed(_)));
}

#[test]
fn stage_whose_check_ended_the_hub_twice_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let stage = stage_dir(&folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let rpm = [0xed, 0xab, 0xee, 0xdb];
    fs::write(stage.join("f0"), rpm).unwrap();
    let entry = Entry { name: FileName::new("x.rpm").unwrap(), size: 4, digest: Digest::of(&rpm) };
    let faults = Faults::none();
    let hub = Worker::new(Arc::new(TestDisk(faults.clone())), Arc::new(Still), folders.clone());
    // What is in the marks, and what comes of it. Real power cuts left the last ones of a good package in the
    // simulation (seeds 520 and 533 of a faster stage): also a check that ended may leave its mark.
    faults.power_cuts.store(3, Ordering::Relaxed);
    for (marks, text) in [
        (&[][..], "truncated"),
        (&["3"], "truncated"),
        (&["3", "3"], "ended the hub twice"),
        (&["2", "2"], "truncated"),
        (&["2", "3"], "truncated"),
        (&["3", "2"], "truncated"),
        (&["3", ""], "truncated"),
        (&["33", "33"], "truncated"),
    ] {
        for (number, boot) in (1..).zip(marks) {
            fs::write(stage.join(format!(".try-{number}")), boot).unwrap();
        }
        let done = hub.run(lease(1), verify(vec![(0, entry.clone())]));
        let Done::Verified { defect: Some((RejectedWhy::BadRpm, why)), .. } = done else {
            panic!("{done:?}")
        };
        assert!(why.contains(text), "{marks:?}: {why}");
        assert!(!stage.join(".try-1").exists() && !stage.join(".try-2").exists());
    }
}

#[test]
fn checks_that_fail_for_another_reason_do_not_count_as_crashes() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let stage = stage_dir(&folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let entry = Entry { name: FileName::new("build.log").unwrap(), size: 1, digest: Digest::of(b"x") };
    let check = || worker(&folders).run(lease(1), verify(vec![(0, entry.clone())]));
    for _ in 0..3 {
        // The file cannot be opened.
        assert!(!matches!(check(), Done::Verified { .. }));
        assert!(!stage.join(".try-1").exists());
    }
    fs::write(stage.join("f0"), b"x").unwrap();
    assert!(matches!(check(), Done::Verified { defect: None, .. }));
}

#[test]
fn newest_five_attempts_of_each_package_are_kept_also_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let mut hub = worker(&folders);
    for counter in 1..=18 {
        if counter == 9 {
            hub = worker(&folders);
        }
        let live = live_dir(&folders, lease(counter));
        fs::create_dir_all(&live).unwrap();
        fs::write(live.join("build.log"), b"words").unwrap();
        let srpm = if counter % 3 == 0 { "b-1-1.src.rpm" } else { "a-1-1.src.rpm" };
        let about = About { srpm: FileName::new(srpm).ok(), phase: Some(Phase::Build), ..About::default() };
        let op = Op::Discard { about: Box::new(about), why: "lost".into() };
        assert!(matches!(hub.run(lease(counter), op), Done::Gone));
    }
    let mut kept: Vec<u32> = fs::read_dir(folders.state.join("attempts"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap().parse::<LeaseId>().unwrap().counter)
        .collect();
    kept.sort_unstable();
    assert_eq!(kept, [6, 9, 11, 12, 13, 14, 15, 16, 17, 18]);
    assert_eq!(fs::read_dir(&folders.working).unwrap().count(), 0);
}

#[test]
fn first_attempt_of_a_run_leaves_another_one_alone_that_is_just_being_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let attempts = folders.state.join("attempts");
    let faults = Faults::none();
    let hub = Worker::new(Arc::new(TestDisk(faults.clone())), Arc::new(Still), folders.clone());
    let discard = |counter, log| {
        let live = live_dir(&folders, lease(counter));
        fs::create_dir_all(&live).unwrap();
        fs::write(live.join(log), b"words").unwrap();
        let about = About { srpm: FileName::new("a-1-1.src.rpm").ok(), ..About::default() };
        hub.run(lease(counter), Op::Discard { about: Box::new(about), why: "lost".into() })
    };
    std::thread::scope(|scope| {
        let gate = faults.gate.lock().unwrap();
        let first = scope.spawn(|| discard(1, "root.log"));
        while !attempts.join(format!(".making-{}", lease(1))).exists() {
            std::thread::yield_now();
        }
        assert!(matches!(discard(2, "build.log"), Done::Gone));
        drop(gate);
        assert!(matches!(first.join().unwrap(), Done::Gone));
    });
    for counter in [1, 2] {
        assert!(attempts.join(lease(counter).to_string()).join("result.json").exists(), "{counter}");
    }
}

#[test]
fn link_in_a_stage_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let stage = stage_dir(&folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, b"precious").unwrap();
    std::os::unix::fs::symlink(&victim, stage.join("f0")).unwrap();
    let piece = |offset| Op::Write { file: 0, offset, bytes: moji_proto::Bytes(b"evil".to_vec()) };
    assert!(matches!(worker(&folders).run(lease(1), piece(4)), Done::Broken(_)));
    assert!(matches!(worker(&folders).run(lease(1), piece(0)), Done::Written { offset: 4, .. }));
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn digest_is_that_of_all_bytes_however_the_upload_went() {
    let bytes = b"one two three".to_vec();
    // Pieces as they arrive, with a restart of the hub where there is none.
    for (pieces, want) in [
        (&[Some(0..4), Some(4..13)][..], true),
        (&[Some(0..4), None, Some(4..13)], true),
        (&[Some(0..4), Some(4..8), None, Some(8..13)], true),
        (&[Some(0..13), None], true),
        (&[Some(0..4), Some(4..8), Some(0..4), Some(4..13)], true),
        (&[Some(0..13), Some(0..4)], false),
        (&[Some(0..4), Some(4..8)], false),
        (&[None], false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let mut hub = worker(&folders);
        for piece in pieces {
            let Some(range) = piece.clone() else {
                hub = worker(&folders);
                continue;
            };
            let offset = range.start as u64;
            let op = Op::Write { file: 3, offset, bytes: moji_proto::Bytes(bytes[range].to_vec()) };
            assert!(matches!(hub.run(lease(1), op), Done::Written { file: 3, .. }));
        }
        let finish = |digest| match hub.run(lease(1), Op::Finish { file: 3, size: 13, digest }) {
            Done::Finished { whole, .. } => whole,
            done => panic!("{done:?}"),
        };
        assert!(!finish(Digest::of(b"one two thrEe")), "{pieces:?}");
        assert_eq!(finish(Digest::of(&bytes)), want, "{pieces:?}");
    }
}

#[test]
fn log_is_followed_whether_the_stage_is_there_or_not() {
    for has_stage in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        if has_stage {
            fs::create_dir(stage_dir(&folders, lease(1))).unwrap();
        }
        let op = Op::Log { which: Which::Mock, offset: 0, bytes: moji_proto::Bytes(b"followed".to_vec()) };
        let done = worker(&folders).run(lease(1), op);
        assert!(matches!(done, Done::Logged { bytes: 8, .. }), "{done:?}");
        assert_eq!(fs::read(live_dir(&folders, lease(1)).join("mock.log")).unwrap(), b"followed");
    }
}

#[test]
fn file_that_arrived_in_order_is_not_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let hub = worker(&folders);
    let piece =
        |offset, bytes: &[u8]| Op::Write { file: 0, offset, bytes: moji_proto::Bytes(bytes.to_vec()) };
    assert!(matches!(hub.run(lease(1), piece(0, b"abc")), Done::Written { .. }));
    assert!(matches!(hub.run(lease(1), piece(3, b"def")), Done::Written { .. }));
    // What somebody else wrote meanwhile is what a second reading would see.
    fs::write(stage_dir(&folders, lease(1)).join("f0"), b"ABCDEF").unwrap();
    let op = || Op::Finish { file: 0, size: 6, digest: Digest::of(b"abcdef") };
    assert!(matches!(hub.run(lease(1), op()), Done::Finished { whole: true, .. }));
    assert!(matches!(worker(&folders).run(lease(1), op()), Done::Finished { whole: false, .. }));
}

#[test]
fn sha256_of_an_rpm_is_the_same_whether_it_was_seen_to_arrive_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let built = build("hello", "1.0");
    let (name, bytes) = built.binaries[0].clone();
    let (size, digest) = (bytes.len() as u64, Digest::of(&bytes));
    let files = vec![(0, Entry { name: FileName::new(name).unwrap(), size, digest })];
    let check = |hub: &Worker, expect: Sha256| {
        let done = hub.run(lease(1), verify(files.clone()));
        let Done::Verified { placed, defect: None, .. } = done else { panic!("{done:?}") };
        assert_eq!(placed[0].file.sha256, Some(expect));
    };
    let hub = worker(&folders);
    let (front, rest) = bytes.split_at(100);
    for (offset, piece) in [(0, front), (100, rest)] {
        let op = Op::Write { file: 0, offset, bytes: moji_proto::Bytes(piece.to_vec()) };
        assert!(matches!(hub.run(lease(1), op), Done::Written { .. }));
    }
    let finish = || Op::Finish { file: 0, size, digest };
    assert!(matches!(hub.run(lease(1), finish()), Done::Finished { whole: true, .. }));
    check(&hub, Sha256::of(&bytes));
    let restarted = worker(&folders);
    assert!(matches!(restarted.run(lease(1), finish()), Done::Finished { whole: true, .. }));
    check(&restarted, Sha256::of(&bytes));
    // What was seen to arrive is not computed again.
    let wrong = Sha256([7; 32]);
    restarted.arriving.keep_sha256(lease(1), 0, wrong);
    check(&restarted, wrong);
}

#[test]
fn rpm_that_cannot_be_described_is_a_defect_and_leaves_no_piece() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let stage = stage_dir(&folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let good = build("hello", "1.0").binaries[0].1.clone();
    let hub = worker(&folders);
    for (second, defect) in [(endless(), true), (build("world", "1.0").binaries[0].1.clone(), false)] {
        let files = [(0, &good), (1, &second)].map(|(number, bytes)| {
            fs::write(stage.join(format!("f{number}")), bytes).unwrap();
            let (name, size) = (FileName::new("x.rpm").unwrap(), bytes.len() as u64);
            (number, Entry { name, size, digest: Digest::of(bytes) })
        });
        let Done::Verified { placed, defect: found, .. } = hub.run(lease(1), verify(files.to_vec())) else {
            panic!("it is not checked")
        };
        assert_eq!(placed.len(), 2);
        assert_eq!(stage.join(PIECE_NAME).exists(), !defect);
        assert_eq!(found.as_ref().map(|(why, _)| *why), defect.then_some(RejectedWhy::TooLarge));
        assert!(found.is_none_or(|(_, text)| text.starts_with("endless-1.0-1.noarch.rpm: too large: ")));
        // It is no crash.
        assert!(!stage.join(".try-1").exists());
    }
}

#[test]
fn rpm_that_rpm_could_not_read_once_signed_is_a_defect() {
    let dir = tempfile::tempdir().unwrap();
    let folders = folders(dir.path());
    let stage = stage_dir(&folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let good = build("hello", "1.0").binaries[0].1.clone();
    // As many tags as are read, and with a signature one more.
    let tags = u32::from_be_bytes(good[104..108].try_into().unwrap());
    let full = with_signature_tags(&good, 32 - tags);
    for (signer, defect) in [(None, None), (Some(crate::signing::test_signer()), Some(RejectedWhy::BadRpm))] {
        let hub = worker(&folders).signed_by(signer);
        fs::write(stage.join("f0"), &full).unwrap();
        let (name, size) = (FileName::new("x.rpm").unwrap(), full.len() as u64);
        let files = vec![(0, Entry { name, size, digest: Digest::of(&full) })];
        let Done::Verified { defect: found, .. } = hub.run(lease(1), verify(files)) else {
            panic!("it is not checked")
        };
        assert_eq!(found.as_ref().map(|(why, _)| *why), defect, "{found:?}");
        assert!(found.is_none_or(|(_, text)| text.ends_with("has too many tags to be signed")));
    }
}
