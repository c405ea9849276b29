//! Builders that break the protocol: each ends its own session and nothing else.
//!
//! Owns single offences of a builder that holds a lease of its own; the order of all messages is `order`'s.

use std::fs;

use moji_proto::message::{FromBuilder, Message, Phase, ReleaseWhy, ToBuilder, Verdict, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId};
use moji_tests::{Farm, Outcome, SOON};

use crate::honest_builder_goes_on;
use crate::quick::quick;
use crate::rogue::{End, Rogue, Upload, register, results};

/// A `File` whose name is `name`, checked by nobody.
pub(crate) fn file_named(lease: LeaseId, name: &[u8]) -> Vec<u8> {
    let stand_in = "N".repeat(name.len().clamp(1, 255));
    let honest = FromBuilder::File {
        lease,
        name: FileName::new(stand_in.clone()).expect("safe"),
        size: 1,
        digest: Digest::of(b""),
    };
    let mut bytes = Vec::new();
    honest.encode(&mut bytes);
    let at = bytes.windows(stand_in.len()).position(|w| w == stand_in.as_bytes()).expect("the name");
    let prefix = if stand_in.len() < 128 { 1 } else { 2 };
    let mut length = vec![name.len() as u8];
    if name.len() > 127 {
        length = vec![(name.len() & 127) as u8 | 128, (name.len() >> 7) as u8];
    }
    length.extend_from_slice(name);
    bytes.splice(at - prefix..at + stand_in.len(), length);
    bytes
}

/// What a builder with a lease of its own says, and how the hub ends it.
type Offence = (&'static str, RejectCode, fn(&mut Rogue, LeaseId, LeaseId));

const OFFENCES: [Offence; 24] = [
    ("an unknown message", RejectCode::Unknown, |r, _, _| r.send_raw(&[99])),
    ("an endless number", RejectCode::Malformed, |r, _, _| r.send_raw(&[0xff; 40])),
    ("bytes behind a message", RejectCode::Malformed, |r, _, _| r.send_raw(&[2, 0])),
    ("half a message", RejectCode::Malformed, |r, _, _| r.send_raw(&[0, 5, b'a'])),
    ("a name with a path", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, b"../../x"))),
    ("an absolute name", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, b"/etc/x"))),
    ("a hidden name", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, b".stage-1-1"))),
    ("a NUL", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, b"a\0b"))),
    ("no UTF-8", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, b"a\xff\xfe"))),
    ("an empty name", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, b""))),
    ("a long name", RejectCode::Malformed, |r, own, _| r.send_raw(&file_named(own, &[b'x'; 256]))),
    ("a second greeting", RejectCode::Order, |r, _, _| r.send(&register(9, 0))),
    ("a held lease too late", RejectCode::Order, |r, own, _| r.send(&held(own))),
    ("a file unannounced", RejectCode::Order, |r, own, _| r.send_raw(&file_named(own, b"a.log"))),
    ("data unwanted", RejectCode::Order, |r, own, _| r.send(&data(own, 0, 0, 5))),
    ("another's results", RejectCode::NotYours, |r, _, other| r.send(&results(other, 0))),
    ("another's phase", RejectCode::NotYours, |r, _, lease| {
        r.send(&FromBuilder::Phase { lease, phase: Phase::Build });
    }),
    ("another's SRPM", RejectCode::NotYours, |r, _, lease| {
        r.send(&FromBuilder::Fetch { lease, offset: 0, length: 1 });
    }),
    ("another's log", RejectCode::NotYours, |r, _, lease| r.send(&log(lease, 0, 5))),
    ("another's release", RejectCode::NotYours, |r, _, lease| {
        r.send(&FromBuilder::Release { lease, why: ReleaseWhy::Stopped });
    }),
    ("too many files", RejectCode::Limit, |r, own, _| r.send(&results(own, 1_000_000))),
    ("a fetch of nothing", RejectCode::Limit, |r, lease, _| {
        r.send(&FromBuilder::Fetch { lease, offset: 0, length: 0 });
    }),
    ("a fetch behind the end", RejectCode::Limit, |r, lease, _| {
        r.send(&FromBuilder::Fetch { lease, offset: 1 << 60, length: 1 });
    }),
    ("more data than announced", RejectCode::Limit, |r, own, _| {
        r.announce(own, &[Upload::new("build.log", vec![b'x'; 100])]);
        r.until("the file to be wanted", Rogue::wants);
        r.send(&data(own, 0, 0, 101));
    }),
];

fn held(lease: LeaseId) -> FromBuilder {
    let srpm = FileName::new("prey-1-1.src.rpm").expect("safe");
    FromBuilder::Held { lease, srpm, digest: Digest::of(b""), phase: Phase::Build }
}

fn data(lease: LeaseId, file: u32, offset: u64, len: usize) -> FromBuilder {
    FromBuilder::Data { lease, file, offset, bytes: Bytes(vec![b'x'; len]) }
}

fn log(lease: LeaseId, offset: u64, len: usize) -> FromBuilder {
    FromBuilder::Log { lease, which: Which::Build, offset, bytes: Bytes(vec![b'x'; len]) }
}

#[test]
fn each_offence_ends_its_own_session_and_disturbs_nobody() {
    let mut farm = Farm::plan().builders(0).hub_args(["--lease-grace", "0"]).start();
    let pid = farm.hub().pid();
    // An honest builder is in the middle of a build all the while.
    let calm = quick(&farm, "calm", "1");
    let gate = farm.gate("calm");
    let outcome = Outcome::exit(0)
        .gate(&gate)
        .file("calm-1-1.src.rpm", &calm.srpm)
        .file("calm-1-1.noarch.rpm", &calm.rpm);
    farm.outcome(&calm.file, outcome);
    farm.drop_file(&calm.srpm);
    let mut neighbour = Rogue::ready(&farm, 200);
    let other = neighbour.job();
    let prey = quick(&farm, "prey", "1");
    farm.drop_file(&prey.srpm);
    for (number, (what, code, offend)) in (1..).zip(OFFENCES) {
        let mut rogue = Rogue::ready(&farm, number);
        let own = rogue.job();
        offend(&mut rogue, own, other);
        assert_eq!(rogue.ended(), End::Rejected(code), "{what}\n{}", farm.hub().log_text());
        farm.wait_until("the prey to be back", SOON, |farm| farm.is_in("source", &prey.file));
    }
    assert!(neighbour.is_alive(), "the neighbour was disturbed");
    let files = [Upload::of(&calm.srpm), Upload::of(&calm.rpm)];
    let said = neighbour.upload(other, &files);
    assert_eq!(said, ToBuilder::Accepted { lease: other, verdict: Verdict::Success });
    farm.wait_finished(&calm.file);
    drop(neighbour);
    honest_builder_goes_on(&mut farm, pid);
    farm.wait_finished(&prey.file);
    assert_eq!(farm.result_json("prey-1-1")["verdict"], "success");
}

#[test]
fn a_builder_must_greet_first_and_records_must_be_whole() {
    let mut farm = Farm::plan().builders(0).start();
    let pid = farm.hub().pid();
    for (key, first) in
        (1..).zip([FromBuilder::Ready, FromBuilder::Draining, held(LeaseId { incarnation: 1, counter: 1 })])
    {
        let mut rogue = Rogue::connect(&farm, key);
        rogue.send(&first);
        assert_eq!(rogue.ended(), End::Rejected(RejectCode::Order), "{first:?}");
    }
    let mut rogue = Rogue::connect(&farm, 10);
    rogue.send(&register(10, 200));
    assert_eq!(rogue.ended(), End::Rejected(RejectCode::Limit));
    for (key, wire) in (20..).zip([&[0xff, 0xff, 1, 2, 3][..], &[0, 5, 1, 2, 3, 4, 5], &[0, 40, 0, 0]]) {
        let mut rogue = Rogue::ready(&farm, key);
        let mut wire = wire.to_vec();
        wire.resize(64, 7);
        rogue.send_wire(&wire);
        rogue.ended();
    }
    honest_builder_goes_on(&mut farm, pid);
}

#[test]
fn logs_with_gaps_and_huge_offsets_cost_nothing() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "logged", "1");
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready(&farm, 1);
    let lease = rogue.job();
    for (offset, len) in
        [(0, 10), (100, 10), (1 << 30, 10), (u64::MAX, 10), (5, 10), (0, 0), (u64::MAX - 5, 32_000)]
    {
        rogue.send(&log(lease, offset, len));
    }
    assert!(rogue.is_alive(), "a log is never worth a session");
    let files = [Upload::of(&package.srpm), Upload::of(&package.rpm)];
    let said = rogue.upload(lease, &files);
    assert_eq!(said, ToBuilder::Accepted { lease, verdict: Verdict::Success });
    farm.wait_finished(&package.file);
    let log = fs::read(farm.repo().join("logged-1-1/build.log")).expect("the live log is kept");
    assert_eq!(log, [b'x'; 15], "what overlapped was cut, what left a gap was dropped");
    assert!(farm.hub().is_running());
}
