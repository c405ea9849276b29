//! Builders that lie: what the hub does not believe of those it has let in, and of those it has not.
//!
//! Owns results that must not be published and peers that break the protocol. In each case the
//! verdict is DESIGN's, nothing is published, nobody else is disturbed, and the hub lives.

mod quick;
mod rogue;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use moji_proto::message::{FromBuilder, Message, Phase, RejectedWhy, ReleaseWhy, ToBuilder, Verdict, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId};
use moji_tests::{
    Damage, Farm, Outcome, SOON, damaged, rpms_from_spec, run_to_end, simple_spec, srpm_from_spec,
};
use quick::quick;
use rogue::{End, Rogue, Upload, register, results};

/// What all generations of the full index name, as text.
fn indexed(farm: &Farm) -> String {
    let mut zcat = Command::new("sh");
    zcat.args(["-c", "zcat \"$0\"/repodata/*primary.xml*"]).arg(farm.repo());
    let ended = run_to_end(zcat, SOON);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    ended.stdout
}

/// The hub goes on: an honest builder builds something new.
fn honest_builder_goes_on(farm: &mut Farm, pid: u32) {
    let package = quick(farm, "honest", "1");
    farm.drop_file(&package.srpm);
    farm.add_builder();
    farm.wait_finished(&package.file);
    assert_eq!(farm.result_json("honest-1-1")["verdict"], "success");
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>honest</name>"));
    assert!(farm.hub().is_running());
    assert_eq!(farm.hub().pid(), pid);
    let text = farm.hub().log_text();
    assert!(!text.contains("panicked"), "{text}");
}

fn no_rpm_of(farm: &Farm, nvr: &str) {
    for folder in farm.results(nvr) {
        let files = farm.files_of(&folder);
        assert!(files.iter().all(|name| !name.ends_with(".rpm")), "{folder}: {files:?}");
    }
}

// --- results ---

#[test]
fn a_result_that_is_not_what_was_leased_is_rejected_and_nothing_of_it_is_published() {
    let mut farm = Farm::plan().builders(0).start();
    let pid = farm.hub().pid();
    let made = tempfile::tempdir().expect("a folder");
    let spec = simple_spec("evil", "1", "");
    let evil = rpms_from_spec(made.path(), &spec).remove(0);
    let evil_srpm = srpm_from_spec(made.path(), &spec);
    let other = |name: &str, version: &str| {
        let folder = made.path().join(format!("{name}-{version}"));
        fs::create_dir(&folder).expect("a folder");
        srpm_from_spec(&folder, &simple_spec(name, version, ""))
    };
    // A package with the leased one's name, but built from another source package.
    let disguise = |name: &str| {
        let folder = made.path().join(format!("disguise-{name}"));
        fs::create_dir(&folder).expect("a folder");
        let sub = format!("%package -n {name}\nSummary: x\n%description -n {name}\nx\n%files -n {name}\n");
        let spec = simple_spec("evil2", "1", "").replace("%install", &format!("{sub}%install"));
        let rpms = rpms_from_spec(&folder, &spec);
        let own = format!("{name}-1-1.noarch.rpm");
        rpms.into_iter().find(|path| path.ends_with(&own)).expect("the disguised one")
    };
    type Make<'a> = Box<dyn Fn(&str, Upload, Upload) -> Vec<Upload> + 'a>;
    let mut cases: Vec<(String, RejectedWhy, Make<'_>)> = vec![
        ("another".into(), RejectedWhy::Foreign, Box::new(|_, s, r| vec![s, r, Upload::of(&evil)])),
        ("source".into(), RejectedWhy::Foreign, Box::new(|_, _, r| vec![Upload::of(&evil_srpm), r])),
        ("nosrpm".into(), RejectedWhy::Foreign, Box::new(|_, _, r| vec![r])),
        ("version".into(), RejectedWhy::Foreign, Box::new(|n, _, r| vec![Upload::of(&other(n, "2")), r])),
        ("disguise".into(), RejectedWhy::Foreign, Box::new(|n, s, _| vec![s, Upload::of(&disguise(n))])),
        (
            "sources".into(),
            RejectedWhy::Duplicate,
            Box::new(|n, s, r| vec![s, r, Upload::of(&other(n, "3"))]),
        ),
        (
            "twice".into(),
            RejectedWhy::Duplicate,
            Box::new(|_, s, r| {
                let again = Upload { name: FileName::new("again.rpm").expect("safe"), ..r.clone() };
                vec![s, r, again]
            }),
        ),
        ("srpms".into(), RejectedWhy::Duplicate, Box::new(|_, s, r| vec![s.clone(), s, r])),
        (
            "text".into(),
            RejectedWhy::BadRpm,
            Box::new(|_, s, r| vec![s, r, Upload::new("trick-1-1.noarch.rpm", b"#!/bin/sh\n".to_vec())]),
        ),
        (
            "cut".into(),
            RejectedWhy::BadRpm,
            Box::new(|_, s, r| vec![s, Upload::new("cut.rpm", r.bytes[..r.bytes.len() - 9].to_vec())]),
        ),
    ];
    for damage in Damage::ALL {
        let folder = made.path();
        cases.push((
            format!("{damage:?}").to_lowercase(),
            RejectedWhy::BadRpm,
            Box::new(move |n, s, r| {
                let good = folder.join(format!("{n}-good.rpm"));
                fs::write(&good, &r.bytes).expect("a file");
                let bad = tempfile::tempdir_in(folder).expect("a folder");
                vec![s, Upload::of(&damaged(&good, bad.path(), damage))]
            }),
        ));
    }
    let mut rogue = Rogue::ready(&farm, 1);
    for (case, why, make) in &cases {
        let name = format!("bad-{case}");
        let package = quick(&farm, &name, "1");
        let (source, binary) = (Upload::of(&package.srpm), Upload::of(&package.rpm));
        let files = make(&name, source, binary);
        farm.drop_file(&package.srpm);
        let lease = rogue.job();
        let said = rogue.upload(lease, &files);
        assert_eq!(said, ToBuilder::Rejected { lease, why: *why }, "{case}\n{}", farm.hub().log_text());
        farm.wait_finished(&package.file);
        no_rpm_of(&farm, &format!("{name}-1-1"));
        rogue.send(&FromBuilder::Ready);
    }
    assert!(rogue.is_alive());
    for (case, ..) in &cases {
        let package = format!("pkg=bad-{case}-1-1.src.rpm");
        farm.wait_until(&format!("the log to say why {case} was rejected"), SOON, |farm| {
            let text = fs::read_to_string(farm.path().join("hub.log")).unwrap_or_default();
            text.lines().any(|line| line.contains(&package) && line.contains("rejected: "))
        });
    }
    drop(rogue);
    honest_builder_goes_on(&mut farm, pid);
    let index = indexed(&farm);
    assert!(!index.contains("<name>bad-") && !index.contains("<name>evil"), "{index}");
}

#[test]
fn a_package_for_another_architecture_is_rejected() {
    let mut farm = Farm::plan().builders(0).hub_args(["--target", "armv7hl"]).start();
    let package = quick(&farm, "arched", "1");
    let folder = farm.path().join("made");
    let spec = simple_spec("arched", "1", "").replace("BuildArch: noarch\n", "");
    let native = rpms_from_spec(&folder, &spec).remove(0);
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready_for(&farm, 1, "armv7hl");
    let lease = rogue.job();
    let said = rogue.upload(lease, &[Upload::of(&package.srpm), Upload::of(&native)]);
    assert_eq!(said, ToBuilder::Rejected { lease, why: RejectedWhy::Arch });
    farm.wait_finished(&package.file);
    no_rpm_of(&farm, "arched-1-1");
    farm.wait_hub_says("is not for armv7hl");
    assert!(farm.hub().is_running());
}

#[test]
fn a_success_without_packages_counts_as_failed() {
    let mut farm = Farm::plan().builders(0).start();
    let mut rogue = Rogue::ready(&farm, 1);
    for (name, files) in [
        ("nothing", vec![]),
        ("onlylog", vec![Upload::new("build.log", b"done\n".to_vec())]),
        ("onlysrpm", vec![]),
    ] {
        let package = quick(&farm, name, "1");
        let files = if name == "onlysrpm" { vec![Upload::of(&package.srpm)] } else { files };
        farm.drop_file(&package.srpm);
        let lease = rogue.job();
        let said = rogue.upload(lease, &files);
        assert_eq!(said, ToBuilder::Accepted { lease, verdict: Verdict::Failed }, "{name}");
        farm.wait_finished(&package.file);
        assert_eq!(farm.result_json(&format!("{name}-1-1"))["verdict"], "failed");
        rogue.send(&FromBuilder::Ready);
    }
    assert!(!indexed(&farm).contains("<name>onlysrpm"));
    assert!(farm.hub().is_running());
}

#[test]
fn names_a_builder_gives_never_reach_the_repository() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "named", "1");
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready(&farm, 1);
    let lease = rogue.job();
    let named = |name: &str, upload: Upload| Upload { name: FileName::new(name).expect("safe"), ..upload };
    let lie = br#"{"verdict":"success","lease":"1-1"}"#.to_vec();
    let long = format!("{}.log", "x".repeat(251));
    let files = [
        named("repomd.xml", Upload::of(&package.rpm)),
        named("result.json", Upload::of(&package.srpm)),
        Upload::new("f0", lie.clone()),
        Upload::new("repodata", lie.clone()),
        Upload::new("result.json", lie),
        Upload::new("-.log", b"dash".to_vec()),
        Upload::new(&long, b"long".to_vec()),
        Upload::new("%{evil} $(x) <b>.log", b"signs".to_vec()),
    ]
    .into_iter()
    .collect::<Vec<_>>();
    let said = rogue.upload(lease, &files);
    assert_eq!(said, ToBuilder::Accepted { lease, verdict: Verdict::Success });
    farm.wait_finished(&package.file);
    let json = farm.result_json("named-1-1");
    assert_eq!((&json["verdict"], &json["lease"]), (&"success".into(), &lease.to_string().into()));
    let mut found = farm.files_of("named-1-1");
    for want in ["named-1-1.noarch.rpm", "named-1-1.src.rpm", "result.json"] {
        assert!(found.iter().any(|name| name == want), "{found:?}");
    }
    // The hub's own.
    found.retain(|name| name != ".repodata");
    let plain = |name: &String| name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b));
    assert!(found.iter().all(plain), "{found:?}");
    assert!(found.iter().all(|name| !name.contains("repo") && name != "f0"), "{found:?}");
    assert!(farm.hub().is_running());
}

#[test]
fn a_file_that_arrives_damaged_three_times_ends_the_result() {
    let mut farm = Farm::plan().builders(0).start();
    let package = quick(&farm, "mangled", "1");
    farm.drop_file(&package.srpm);
    let mut rogue = Rogue::ready(&farm, 1);
    let lease = rogue.job();
    let mut bad = Upload::of(&package.rpm);
    bad.digest = Digest::of(b"something else");
    let said = rogue.upload(lease, &[Upload::of(&package.srpm), bad]);
    assert_eq!(said, ToBuilder::Rejected { lease, why: RejectedWhy::Damaged });
    assert_eq!(farm.hub().log_count("arrived damaged, asking for it again"), 2);
    farm.wait_finished(&package.file);
    no_rpm_of(&farm, "mangled-1-1");
}

#[test]
fn a_result_over_the_hubs_limits_is_rejected_before_a_byte_is_sent() {
    let limits = ["--max-files", "4", "--max-file-size", "100k", "--max-result-size", "150k"];
    let mut farm = Farm::plan().builders(0).hub_args(limits).start();
    let mut rogue = Rogue::ready(&farm, 1);
    let log = |n: usize, size: u64| {
        let name = FileName::new(format!("{n}.log")).expect("safe");
        Upload { name, size, digest: Digest::of(b""), bytes: Vec::new() }
    };
    for (name, files, word) in [
        ("many", (0..5).map(|n| log(n, 1)).collect::<Vec<_>>(), "5 files"),
        ("large", vec![log(0, 100 * 1024 + 1)], "0.log has 102401 bytes"),
        ("endless", vec![log(0, u64::MAX), log(1, u64::MAX)], "0.log has 18446744073709551615 bytes"),
        ("sum", vec![log(0, 90_000), log(1, 90_000)], "180000 bytes in all files"),
    ] {
        let package = quick(&farm, name, "1");
        farm.drop_file(&package.srpm);
        let lease = rogue.job();
        rogue.announce(lease, &files);
        let why = RejectedWhy::TooLarge;
        assert_eq!(rogue.serve(lease, &[]), ToBuilder::Rejected { lease, why }, "{name}");
        farm.wait_finished(&package.file);
        farm.wait_hub_says(word);
        rogue.send(&FromBuilder::Ready);
    }
    assert!(farm.hub().is_running());
}

#[test]
fn a_binary_name_of_another_source_package_is_held_unindexed() {
    let mut farm = Farm::plan().builders(0).start();
    let pid = farm.hub().pid();
    let make = |name: &str| {
        let folder = farm.path().join("made").join(name);
        fs::create_dir_all(&folder).expect("a folder");
        let sub = "%package -n shared\nSummary: x\n%description -n shared\nx\n%files -n shared\n";
        let spec = simple_spec(name, "1", "").replace("%install", &format!("{sub}%install"));
        let mut files = rpms_from_spec(&folder, &spec);
        let srpm = srpm_from_spec(&folder, &spec);
        files.push(srpm.clone());
        let mut outcome = Outcome::exit(0).log("build.log", "x\n");
        for path in &files {
            outcome = outcome.file(&path.file_name().expect("a name").to_string_lossy(), path);
        }
        let file = format!("{name}-1-1.src.rpm");
        farm.outcome(&file, outcome);
        (file, srpm)
    };
    let (first, first_srpm) = make("aaa");
    let (second, second_srpm) = make("bbb");
    farm.drop_file(&first_srpm);
    farm.add_builder();
    farm.wait_finished(&first);
    farm.wait_until("the first to be indexed", SOON, |farm| indexed(farm).contains("<name>aaa<"));
    farm.drop_file(&second_srpm);
    farm.wait_finished(&second);
    let held = "the repository has shared from aaa, this one is from bbb";
    let json = farm.result_json("bbb-1-1");
    assert_eq!(json["held"], held, "{json}");
    assert!(farm.files_of("bbb-1-1").iter().any(|name| name == "shared-1-1.noarch.rpm"));
    farm.wait_hub_says(held);
    honest_builder_goes_on(&mut farm, pid);
    assert!(!indexed(&farm).contains("<name>bbb<"), "a held result is not indexed");
    // Nor after a restart, when the index is derived from the folders.
    farm.hub().term(SOON);
    farm.start_hub();
    let last = quick(&farm, "last", "1");
    farm.drop_file(&last.srpm);
    farm.wait_finished(&last.file);
    farm.wait_until("it to be indexed", SOON, |farm| indexed(farm).contains("<name>last<"));
    assert!(!indexed(&farm).contains("<name>bbb<"), "a held result is not indexed");
}

// --- the protocol ---

/// A `File` whose name is `name`, checked by nobody.
fn file_named(lease: LeaseId, name: &[u8]) -> Vec<u8> {
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

// --- strangers ---

#[test]
fn two_hundred_strangers_do_not_keep_a_build_from_its_end() {
    let mut farm = Farm::plan().start();
    let pid = farm.hub().pid();
    let package = quick(&farm, "quiet", "1");
    let gate = farm.gate("quiet");
    let outcome = Outcome::exit(0)
        .gate(&gate)
        .file("quiet-1-1.src.rpm", &package.srpm)
        .file("quiet-1-1.noarch.rpm", &package.rpm);
    farm.outcome(&package.file, outcome);
    farm.drop_file(&package.srpm);
    farm.wait_until("the build to run", SOON, |farm| farm.is_in("working", &package.file));
    let before = descriptors(pid);
    let hello = b"moji\0\x01\0\x02\0\x02\0\0\0\0\0\0";
    let strangers: Vec<TcpStream> = (0..200u32)
        .map(|number| {
            let mut stream = TcpStream::connect(farm.hub_addr()).expect("the hub accepts");
            let junk: Vec<u8> = (0..2000u32).map(|i| (i * 31 + number * 7) as u8).collect();
            let words: &[u8] = match number % 5 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\nHost: hub\r\n\r\n",
                2 => &junk,
                3 => &hello[..7],
                _ => hello,
            };
            // The hub may have hung up on us in the middle.
            let _ = stream.write_all(words);
            if number % 5 == 4 {
                let _ = stream.write_all(&junk[..48]);
            }
            stream
        })
        .collect();
    farm.open_gate("quiet");
    farm.wait_finished(&package.file);
    assert_eq!(farm.result_json("quiet-1-1")["verdict"], "success");
    honest_builder_goes_on(&mut farm, pid);
    for (number, mut stream) in strangers.into_iter().enumerate() {
        if matches!(number % 5, 1 | 2) {
            stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
            let mut rest = Vec::new();
            // A reset is an end as well.
            let _ = stream.read_to_end(&mut rest);
            assert!(rest.is_empty() || rest.starts_with(&[0, 0]), "garbage gets a refusal at most");
        }
    }
    farm.wait_until("the hub to let go of them", SOON, |_| descriptors(pid) <= before + 8);
    let lines = farm.hub().log_text().lines().filter(|line| line.contains(" addr=")).count();
    assert!(lines < 20, "strangers fill the log: {}", farm.hub().log_text());
    assert_eq!(farm.builder(0).log_count("next attempt"), 0, "the builder was cut off");
}

fn descriptors(pid: u32) -> usize {
    let folder = Path::new("/proc").join(pid.to_string()).join("fd");
    fs::read_dir(folder).expect("the hub runs").count()
}
