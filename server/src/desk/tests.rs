//! The desk's work on real files.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::write::GzEncoder;
use moji_proto::message::{EventKind, ToOperator, Topic, Which};
use moji_proto::{Bytes, Digest, LeaseId};

use super::*;
use crate::core::desk::{LogOf, Parcel, Verdictable};
use crate::core::view::Decision;
use crate::result_json::{ResultFile, ResultJson};
use crate::stage::testdisk::{Faults, TestDisk, folders};
use crate::stage::testrpm;

const RUN: Run = Run(1);
const LEASE: LeaseId = LeaseId { incarnation: 1, counter: 1 };

/// A history of events 1 to 5,000, every tenth about `a`.
struct Events;

impl Events {
    fn row(seq: u64) -> EventRow {
        EventRow {
            seq,
            unix_ms: 0,
            kind: EventKind::Waiting,
            srpm: FileName::new(if seq.is_multiple_of(10) { "a-1-1.src.rpm" } else { "b-1-1.src.rpm" }).ok(),
            lease: None,
            builder: None,
            verdict: None,
            phase: None,
            state: None,
            who: Line::default(),
            text: Line::default(),
        }
    }
}

impl Past for Events {
    fn attempts(&self, _: &FileName) -> Result<Vec<AttemptRow>, String> {
        Err("no".to_owned())
    }

    fn events(&self, after: u64, limit: usize) -> Result<Vec<EventRow>, String> {
        Ok((after + 1..=5_000).take(limit).map(Events::row).collect())
    }

    fn newest(&self, limit: usize) -> Result<Vec<EventRow>, String> {
        Ok((1..=5_000).skip(5_000usize.saturating_sub(limit)).map(Events::row).collect())
    }

    fn counts(&self) -> Result<BTreeMap<PublicKey, (u32, u32)>, String> {
        Ok(BTreeMap::new())
    }
}

struct Bench {
    worker: Worker,
    folders: Folders,
    faults: Arc<Faults>,
    _dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let (folders, faults) = (folders(dir.path()), Faults::none());
        let worker = Worker::new(Setup {
            disk: Arc::new(TestDisk(faults.clone())),
            clock: Arc::new(crate::clock::Real::default()),
            folders: folders.clone(),
            min_free: Some(1 << 30),
            builders: None,
            reload: Box::new(|| Ok(())),
            past: Box::new(Events),
        });
        Bench { worker, folders, faults, _dir: dir }
    }

    fn read(&self, of: &LogOf, offset: u64, pieces: usize) -> (String, bool) {
        match self.worker.run(RUN, Job::ReadLog { of: of.clone(), offset, pieces }) {
            Done::LogRead { pieces, end } => {
                let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.0).collect();
                (String::from_utf8(bytes).unwrap(), end)
            }
            other => panic!("{other:?}"),
        }
    }

    fn source(&self, name: &str) -> String {
        fs::read_to_string(self.folders.source.join(name)).unwrap()
    }

    fn result(&self, folder: &str, change: impl FnOnce(&mut ResultJson)) {
        let rpm = ResultFile {
            name: "a-1-1.noarch.rpm".to_owned(),
            size: 1,
            package: Some("a".to_owned()),
            ..ResultFile::default()
        };
        let mut json = ResultJson {
            lease: LEASE.to_string(),
            srpm: "a-1-1.src.rpm".to_owned(),
            source: "a".to_owned(),
            nvr: "a-1-1".to_owned(),
            verdict: "success".to_owned(),
            files: vec![rpm],
            evidence: vec!["build.log: error: x".to_owned()],
            ..ResultJson::default()
        };
        change(&mut json);
        let path = self.folders.repo.join(folder);
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join("result.json"), serde_json::to_vec(&json).unwrap()).unwrap();
        fs::write(path.join("a-1-1.noarch.rpm"), "x").unwrap();
    }

    /// Sends a file from where the hub wants it on; what it says in the end.
    fn submit(&self, name: &str, bytes: &[u8], digest: Digest) -> Reply {
        let parcel = Parcel { name: FileName::new(name).unwrap(), size: bytes.len() as u64, digest };
        let offset = match self.worker.run(RUN, Job::Open(parcel.clone())) {
            Done::Opened(offset) => offset,
            Done::Replies(mut replies) => return replies.remove(0),
            other => panic!("{other:?}"),
        };
        let rest = Bytes(bytes[usize::try_from(offset).unwrap()..].to_vec());
        assert!(
            rest.0.is_empty()
                || matches!(self.worker.run(RUN, Job::Write { offset, bytes: rest }), Done::Written(_))
        );
        let options = vec![Line::lossy("--nocheck")];
        match self.worker.run(RUN, Job::Deliver { parcel, first: true, options }) {
            Done::Changed(mut replies) => replies.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

fn log_of(live: bool, place: &str) -> LogOf {
    let srpm = FileName::new("a-1-1.src.rpm").unwrap();
    LogOf { srpm, lease: LEASE, which: Which::Build, place: Line::lossy(place), live }
}

fn gz(path: &Path, text: &str) {
    let mut encoder = GzEncoder::new(fs::File::create(path).unwrap(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap();
}

#[test]
fn a_log_is_found_wherever_it_is_and_read_from_any_byte() {
    let bench = Bench::new();
    let live = crate::stage::live_dir(&bench.folders, LEASE);
    assert_eq!(bench.read(&log_of(true, ""), 0, 8), (String::new(), true));
    fs::create_dir_all(&live).unwrap();
    fs::write(live.join("build.log"), "one\n\ntwo\n \n").unwrap();
    assert_eq!(bench.read(&log_of(true, ""), 4, 8), ("\ntwo\n \n".to_owned(), true));
    fs::OpenOptions::new().append(true).open(live.join("build.log")).unwrap().write_all(b"three").unwrap();
    assert_eq!(bench.read(&log_of(true, ""), 11, 8), ("three".to_owned(), true));
    let tails = bench.worker.tails(&[(LEASE, Which::Build), (LEASE, Which::Root)]);
    assert_eq!(tails, [(LEASE, Line::lossy("three"))]);
    // The lease ended, and its log is not filed yet.
    assert_eq!(bench.read(&log_of(false, ""), 11, 8), ("three".to_owned(), true));
    let text: String = (0..20_000).map(|n| format!("line {n}\n")).collect();
    let attempt = bench.folders.state.join("attempts").join(LEASE.to_string());
    fs::create_dir_all(&attempt).unwrap();
    gz(&attempt.join("build.log.gz"), &text);
    let mut read = String::new();
    while {
        let (piece, end) = bench.read(&log_of(false, ""), read.len() as u64, 2);
        read.push_str(&piece);
        !end
    } {}
    assert!(read == text);
    assert_eq!(bench.read(&log_of(false, "attempts/1-1"), 188_880, 8).0, text[188_880..]);
    assert_eq!(bench.read(&log_of(false, ""), 1 << 40, 8), (String::new(), true));
    // A result is found by its lease among rebuilds.
    fs::remove_dir_all(&attempt).unwrap();
    bench.result("a-1-1", |json| json.lease = "9-9".to_owned());
    bench.result("a-1-1@2", |_| {});
    fs::write(bench.folders.repo.join("a-1-1/build.log"), "wrong").unwrap();
    fs::write(bench.folders.repo.join("a-1-1@2/build.log"), "right").unwrap();
    assert_eq!(bench.read(&log_of(false, ""), 0, 8), ("right".to_owned(), true));
    assert_eq!(bench.read(&log_of(false, "../../etc"), 0, 8).0, "right");
}

#[test]
fn details_are_those_of_result_json() {
    let bench = Bench::new();
    bench.result("a-1-1", |_| {});
    let text = |topic, line: &str| ToOperator::Text { topic, line: Line::lossy(line) };
    let want = [text(Topic::Evidence, "build.log: error: x"), text(Topic::File, "a-1-1/a-1-1.noarch.rpm")];
    assert_eq!(bench.worker.details(&Line::lossy("repo/a-1-1")), want);
    assert_eq!(bench.worker.details(&Line::lossy("a-1-1")), want);
    assert!(bench.worker.details(&Line::lossy("repo/../x")).is_empty());
    for (cfg, peak_memory_mib, line) in [
        ("fedora-arm", Some(112), "b7 (07ab), mock fedora-arm, largest process 112 MiB"),
        ("", None, "b7 (07ab), mock"),
    ] {
        bench.result("a-1-1", |json| {
            json.builder = "b7".to_owned();
            json.builder_fingerprint = "07ab".to_owned();
            json.backend = "mock".to_owned();
            json.cfg = cfg.to_owned();
            json.peak_memory_mib = peak_memory_mib;
        });
        let got = bench.worker.details(&Line::lossy("repo/a-1-1"));
        assert_eq!(got, [&[text(Topic::Provenance, line)], &want[..]].concat());
    }
}

#[test]
fn a_whole_sound_srpm_gets_into_source_and_nothing_else_does() {
    let bench = Bench::new();
    let built = testrpm::build("a", "1");
    let (name, bytes) = &built.source;
    let digest = Digest::of(bytes);
    let said = |reply: &Reply| match reply {
        Reply::Changed { text, .. } => format!("changed {text}"),
        Reply::No { code, text, .. } => format!("{code:?} {text}"),
    };
    for (name, bytes, digest, want) in [
        (name.as_str(), &bytes[..], Digest::of(b""), "BadInput did not arrive"),
        (name, &bytes[..bytes.len() - 1], Digest::of(&bytes[..bytes.len() - 1]), "BadInput is no sound"),
        (name, b"", Digest::of(b""), "BadInput is empty"),
        ("b-1-1.src.rpm", &bytes[..], digest, "BadInput holds a-1-1.src.rpm"),
        (name, &built.binaries[0].1[..], Digest::of(&built.binaries[0].1), "BadInput is a binary"),
    ] {
        let reply = said(&bench.submit(name, bytes, digest));
        assert!(reply.starts_with(want), "{reply}");
        assert_eq!(fs::read_dir(&bench.folders.source).unwrap().count(), 0, "{want}");
    }
    // What a broken connection left is gone on from.
    let parcel = Parcel { name: FileName::new(name.as_str()).unwrap(), size: bytes.len() as u64, digest };
    assert!(matches!(bench.worker.run(RUN, Job::Open(parcel.clone())), Done::Opened(0)));
    let piece = Job::Write { offset: 0, bytes: Bytes(bytes[..100].to_vec()) };
    assert!(matches!(bench.worker.run(RUN, piece), Done::Written(100)));
    assert!(matches!(bench.worker.run(RUN, Job::Close(RUN)), Done::Closed));
    assert!(matches!(bench.worker.run(RUN, Job::Open(parcel)), Done::Opened(100)));
    assert!(matches!(bench.worker.run(RUN, Job::Sweep), Done::Closed));
    assert_eq!(said(&bench.submit(name, bytes, digest)), "changed waits, and goes first");
    assert_eq!(&fs::read(bench.folders.source.join(name)).unwrap(), bytes);
    assert_eq!(bench.source("priority.txt"), format!("{name}\n"));
    assert_eq!(bench.source("options.txt"), format!("{name} --nocheck\n"));
    assert_eq!(said(&bench.submit(name, bytes, digest)), "changed is there already");
    let other = said(&bench.submit(name, b"other", Digest::of(b"other")));
    assert!(other.starts_with("Refused the hub has another file"), "{other}");
    assert_eq!(fs::read_dir(&bench.folders.source).unwrap().count(), 3);
}

#[test]
fn a_submit_for_which_there_is_no_room_comes_later_and_a_stale_part_is_removed() {
    let bench = Bench::new();
    let name = FileName::new("a-1-1.src.rpm").unwrap();
    let parcel = |size| Parcel { name: name.clone(), size, digest: Digest::of(b"") };
    let done = bench.worker.run(RUN, Job::Open(parcel(1 << 40)));
    assert!(
        matches!(&done, Done::Replies(replies) if matches!(replies[0], Reply::No { code: NoCode::Later, .. }))
    );
    assert!(matches!(bench.worker.run(RUN, Job::Open(parcel(1 << 30))), Done::Opened(0)));
    let staged = fs::read_dir(&bench.folders.source).unwrap().next().unwrap().unwrap().path();
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(86_401);
    fs::File::options().write(true).open(&staged).unwrap().set_modified(old).unwrap();
    assert!(matches!(bench.worker.run(RUN, Job::Sweep), Done::Closed));
    assert!(!staged.exists());
}

#[test]
fn a_list_that_cannot_be_written_stays_as_it_was() {
    let bench = Bench::new();
    let path = bench.folders.source.join("priority.txt");
    fs::write(&path, "# mine\nb\n").unwrap();
    let names = vec![FileName::new("a-1-1.src.rpm").unwrap()];
    let first = Job::Prioritise { order: Order::First, names };
    bench.faults.full.store(true, Ordering::Relaxed);
    let done = bench.worker.run(RUN, first.clone());
    assert!(
        matches!(&done, Done::Changed(replies) if matches!(replies[0], Reply::No { code: NoCode::Failed, .. }))
    );
    assert_eq!(bench.source("priority.txt"), "# mine\nb\n");
    bench.faults.full.store(false, Ordering::Relaxed);
    assert!(matches!(bench.worker.run(RUN, first.clone()), Done::Changed(_)));
    assert_eq!(bench.source("priority.txt"), "# mine\na-1-1.src.rpm\nb\n");
    fs::write(&path, b"\xff\n").unwrap();
    let done = bench.worker.run(RUN, first);
    assert!(matches!(&done, Done::Changed(replies) if matches!(replies[0], Reply::No { .. })));
    assert_eq!(fs::read(&path).unwrap(), b"\xff\n");
}

/// How many were decided, and how the others were answered.
fn decided(done: Done) -> (usize, Vec<NoCode>) {
    let Done::Decided(decided, replies) = done else { panic!("{done:?}") };
    let codes = replies.iter().map(|reply| match reply {
        Reply::No { code, .. } => *code,
        Reply::Changed { .. } => panic!("{reply:?}"),
    });
    (decided.len(), codes.collect())
}

#[test]
fn results_are_decided_once_and_only_as_they_may_be() {
    let bench = Bench::new();
    bench.result("a-1-1", |json| json.held = Some("needs a look".to_owned()));
    bench.result("a-1-1@2", |_| {});
    bench.result("b-1-1", |json| json.verdict = "failed".to_owned());
    let decide = |folder: &str, decision| {
        let results = vec![Verdictable { target: "a".to_owned(), folder: folder.to_owned() }];
        decided(bench.worker.run(RUN, Job::Decide { results, decision, who: "ann".to_owned() }))
    };
    let retract = |target: &str| {
        let job = Job::Retract { target: target.to_owned(), delete: false, who: String::new() };
        decided(bench.worker.run(RUN, job))
    };
    assert_eq!(decide("a-1-1@2", Decision::Accepted), (0, vec![NoCode::Refused]));
    assert_eq!(decide("b-1-1", Decision::Refused), (0, vec![NoCode::Refused]));
    assert_eq!(decide("nope", Decision::Refused), (0, vec![NoCode::NotFound]));
    assert_eq!(decide("", Decision::Refused), (0, vec![NoCode::NotFound]));
    assert_eq!(retract("a-1-1"), (0, vec![NoCode::Refused]));
    assert_eq!(decide("a-1-1", Decision::Accepted), (1, vec![]));
    assert_eq!(decide("a-1-1", Decision::Refused), (0, vec![NoCode::Refused]));
    let json: serde_json::Value =
        serde_json::from_slice(&fs::read(bench.folders.repo.join("a-1-1/decision.json")).unwrap()).unwrap();
    assert_eq!((&json["decision"], &json["who"]), (&"accepted".into(), &"ann".into()));
    assert_eq!(retract("a"), (0, vec![NoCode::Ambiguous]));
    assert_eq!(retract("x*"), (0, vec![NoCode::NotFound]));
    assert_eq!(retract("a-1*"), (2, vec![]));
    assert_eq!(retract("a-1-1"), (0, vec![NoCode::Refused]));
    assert_eq!(retract("b-1-1"), (0, vec![NoCode::Refused]));
}

#[test]
fn retracted_rpms_are_deleted_and_nothing_else() {
    let bench = Bench::new();
    bench.result("a-1-1", |_| {});
    let rpms = ["a-1-1.noarch.rpm", "gone.rpm"].map(|name| FileName::new(name).unwrap()).to_vec();
    let done = bench.worker.run(RUN, Job::Delete { folder: "a-1-1".to_owned(), rpms });
    assert!(matches!(done, Done::Deleted), "{done:?}");
    assert!(!bench.folders.repo.join("a-1-1/a-1-1.noarch.rpm").exists());
    assert!(bench.folders.repo.join("a-1-1/result.json").exists());
}

#[test]
fn newest_events_are_found_however_far_back_they_are() {
    let bench = Bench::new();
    for (pattern, rows, before, want) in [
        ("", 2, 5_001, 4_998),
        ("a", 2, 5_001, 4_989),
        ("a", 2, 4_000, 3_979),
        ("a", 300, 5_001, 2_009),
        ("a", 9_999, 5_001, 9),
        ("none", 1, 77, 76),
    ] {
        let job = Job::Newest { pattern: Line::lossy(pattern), rows, before };
        let done = bench.worker.run(RUN, job);
        assert!(matches!(done, Done::Newest(after) if after == want), "{pattern} {rows}: {done:?}");
    }
    assert!(matches!(bench.worker.run(RUN, Job::Attempts(FileName::new("a").unwrap())), Done::Failed(_)));
}
