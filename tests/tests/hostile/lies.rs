//! A builder that holds the secret and lies: about files, sizes, digests, packages, leases and numbers.
//!
//! Owns some eighty lies, each a case. What each must come to is DESIGN's; the order of messages is `order`'s.

use std::fs;

use moji_proto::message::{FromBuilder, Message, Phase, RejectedWhy, ReleaseWhy, ToBuilder, Verdict, Which};
use moji_proto::refusal::RejectCode;
use moji_proto::{Bytes, Digest, FileName, LeaseId, Line};
use moji_tests::faults::Tally;
use moji_tests::{Damage, SOON, damaged, rpms_from_spec, simple_spec, srpm_from_spec};

use crate::rogue::{End, Rogue, Upload, register, results};
use crate::scene::{Lines, Scene};

/// Most files in a result, told to the hub.
const FILES_MAX: usize = 200;

/// Packages to lie with.
struct Bag {
    source: Upload,
    binary: Upload,
    /// Of another source package.
    evil: Upload,
    evil_source: Upload,
    /// Called as the prey's own binary, and built from another source package.
    disguise: Upload,
    /// The prey's source in another version.
    version: Upload,
    damaged: Vec<(Damage, Upload)>,
}

impl Bag {
    fn of(scene: &Scene) -> Bag {
        let made = scene.farm.path().join("bag");
        let folder = |name: &str| {
            let path = made.join(name);
            fs::create_dir_all(&path).expect("a folder");
            path
        };
        let evil = simple_spec("evil", "1", "");
        let sub = "%package -n prey\nSummary: x\n%description -n prey\nx\n%files -n prey\n";
        let disguise = simple_spec("evil", "1", "").replace("%install", &format!("{sub}%install"));
        let all = rpms_from_spec(&folder("disguise"), &disguise);
        let is_prey = |path: &&std::path::PathBuf| path.ends_with("prey-1-1.noarch.rpm");
        let damage = |damage: Damage| {
            let bad = damaged(&scene.prey.rpm, &folder(&format!("{damage:?}")), damage);
            (damage, Upload::of(&bad))
        };
        Bag {
            source: Upload::of(&scene.prey.srpm),
            binary: Upload::of(&scene.prey.rpm),
            evil: Upload::of(&rpms_from_spec(&folder("evil"), &evil)[0]),
            evil_source: Upload::of(&srpm_from_spec(&folder("evil"), &evil)),
            disguise: Upload::of(all.iter().find(is_prey).expect("the disguised one")),
            version: Upload::of(&srpm_from_spec(&folder("version"), &simple_spec("prey", "2", ""))),
            damaged: Damage::ALL.into_iter().map(damage).collect(),
        }
    }
}

fn named(name: &str, upload: &Upload) -> Upload {
    Upload { name: FileName::new(name).expect("safe"), ..upload.clone() }
}

fn sized(name: &str, size: u64) -> Upload {
    Upload { name: FileName::new(name).expect("safe"), size, digest: Digest::of(b""), bytes: Vec::new() }
}

fn cut(upload: &Upload, len: usize) -> Upload {
    let bytes = upload.bytes[..len].to_vec();
    Upload { size: len as u64, digest: Digest::of(&bytes), bytes, ..upload.clone() }
}

/// What is announced and sent, and why it is refused.
type FileLie = (String, RejectedWhy, Vec<Upload>);

fn file_lies(bag: &Bag) -> Vec<FileLie> {
    use RejectedWhy::{BadRpm, Damaged, Duplicate, Foreign, TooLarge};
    let (s, r) = (|| bag.source.clone(), || bag.binary.clone());
    let log = |bytes: &[u8]| Upload::new("build.log", bytes.to_vec());
    let len = bag.binary.bytes.len();
    let mut longer = bag.binary.bytes.clone();
    longer.push(b'!');
    let with_digest = |digest: Digest, upload: Upload| Upload { digest, ..upload };
    let other = Digest::of(b"other");
    let text = |name: &str, text: &str| Upload::new(name, text.as_bytes().to_vec());
    let mut lies: Vec<(&str, RejectedWhy, Vec<Upload>)> = vec![
        ("one byte less than was hashed", Damaged, vec![s(), with_digest(r().digest, cut(&r(), len - 1))]),
        (
            "one byte more than was hashed",
            Damaged,
            vec![s(), with_digest(r().digest, Upload::new("r.rpm", longer))],
        ),
        ("half an RPM, hashed as it is", BadRpm, vec![s(), cut(&r(), len / 2)]),
        ("an RPM cut in its header", BadRpm, vec![s(), cut(&r(), 300)]),
        ("an RPM cut in its lead", BadRpm, vec![s(), cut(&r(), 50)]),
        ("an RPM of one byte", BadRpm, vec![s(), cut(&r(), 1)]),
        ("an RPM of no bytes", BadRpm, vec![s(), cut(&r(), 0)]),
        ("an SRPM of no bytes", BadRpm, vec![cut(&s(), 0), r()]),
        ("half the SRPM", BadRpm, vec![cut(&s(), 200), r()]),
        ("no bytes that were hashed to something", Damaged, vec![s(), with_digest(other, cut(&r(), 0))]),
        ("a size over the limit", TooLarge, vec![s(), r(), sized("big.log", (8 << 30) + 1)]),
        ("the greatest size", TooLarge, vec![s(), sized("r.rpm", u64::MAX)]),
        (
            "two greatest sizes, whose sum overflows",
            TooLarge,
            vec![sized("a.log", u64::MAX), sized("b.log", u64::MAX)],
        ),
        (
            "sizes that are too much together",
            TooLarge,
            (0..5).map(|n| sized(&format!("{n}.log"), 8 << 30)).collect(),
        ),
        (
            "a file more than the limit",
            TooLarge,
            (0..=FILES_MAX).map(|n| sized(&format!("{n}.log"), 0)).collect(),
        ),
        ("another digest of the RPM", Damaged, vec![s(), with_digest(other, r())]),
        ("another digest of the SRPM", Damaged, vec![with_digest(other, s()), r()]),
        ("another digest of a log", Damaged, vec![s(), r(), with_digest(other, log(b"done\n"))]),
        (
            "the digest of the other file",
            Damaged,
            vec![with_digest(r().digest, s()), with_digest(s().digest, r())],
        ),
        ("the same RPM twice", Duplicate, vec![s(), r(), r()]),
        ("the same RPM under two names", Duplicate, vec![s(), r(), named("again.rpm", &r())]),
        ("the SRPM twice", Duplicate, vec![s(), s(), r()]),
        ("the SRPM under two names", Duplicate, vec![s(), named("b.src.rpm", &s()), r()]),
        ("two versions of the SRPM", Duplicate, vec![s(), bag.version.clone(), r()]),
        ("another version of the SRPM", Foreign, vec![bag.version.clone(), r()]),
        ("no SRPM", Foreign, vec![r()]),
        ("no SRPM but a log", Foreign, vec![r(), log(b"done\n")]),
        ("another SRPM", Foreign, vec![bag.evil_source.clone(), r()]),
        (
            "another SRPM under the right name",
            Foreign,
            vec![named("prey-1-1.src.rpm", &bag.evil_source), r()],
        ),
        ("another package beside its own", Foreign, vec![s(), r(), bag.evil.clone()]),
        ("another package instead of its own", Foreign, vec![s(), bag.evil.clone()]),
        ("another package under the right name", Foreign, vec![s(), named("prey-1-1.noarch.rpm", &bag.evil)]),
        ("another package called as its own in its header", Foreign, vec![s(), bag.disguise.clone()]),
        ("a script called an RPM", BadRpm, vec![s(), r(), text("x-1-1.noarch.rpm", "#!/bin/sh\nreboot\n")]),
        ("a page called an RPM", BadRpm, vec![s(), text("prey-1-1.noarch.rpm", "<html>404</html>")]),
        ("zeros called an RPM", BadRpm, vec![s(), r(), Upload::new("z.rpm", vec![0; 20_000])]),
    ];
    let mut all: Vec<FileLie> =
        lies.drain(..).map(|(what, why, files)| (what.to_owned(), why, files)).collect();
    for (damage, bad) in &bag.damaged {
        all.push((format!("a header bomb or damage: {damage:?}"), BadRpm, vec![s(), bad.clone()]));
    }
    all
}

#[test]
fn eighty_lies_of_a_builder_that_holds_the_secret() {
    let mut tally = Tally::new(
        5,
        "hostile-lies",
        "a builder that holds the secret lies about files, sizes, digests, packages, leases, names and numbers",
        "nothing published changes, the lie is refused and leaves one line in the log, nobody else is disturbed",
        "cargo test -p moji-tests --test hostile lies",
    );
    let mut scene = Scene::start(&["--max-files", "200"]);
    let bag = Bag::of(&scene);
    for (what, why, files) in file_lies(&bag) {
        scene.bait();
        scene.case(&mut tally, &what, Lines::One, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let lease = rogue.job();
            let said = rogue.upload(lease, &files);
            let want = ToBuilder::Rejected { lease, why };
            if said == want && rogue.is_alive() { Ok(()) } else { Err(format!("{said:?} and not {want:?}")) }
        });
    }
    for (what, want, offend) in OFFENCES {
        scene.bait();
        scene.case(&mut tally, what, Lines::One, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let own = rogue.job();
            offend(&mut rogue, own, scene.other);
            let end = rogue.ended();
            if end == want { Ok(()) } else { Err(format!("{end:?} and not {want:?}")) }
        });
    }
    for (what, odd) in ODDITIES {
        scene.bait();
        scene.case(&mut tally, what, Lines::None, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let own = rogue.job();
            odd(&mut rogue, own, scene.other);
            if rogue.is_alive() { Ok(()) } else { Err(format!("the session ended: {:?}", rogue.ended())) }
        });
    }
    crate::logs::endless(&mut scene, &mut tally);
    leases(&mut scene, &mut tally);
    scene.bait();
    scene.end();
    tally.end();
}

/// What a builder with a lease of its own says, and how the hub ends it.
type Offence = (&'static str, End, fn(&mut Rogue, LeaseId, LeaseId));

const MALFORMED: End = End::Rejected(RejectCode::Malformed);
const ORDER: End = End::Rejected(RejectCode::Order);
const LIMIT: End = End::Rejected(RejectCode::Limit);
const NOT_YOURS: End = End::Rejected(RejectCode::NotYours);

const OFFENCES: [Offence; 40] = [
    ("a name that goes up", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"../../../etc/cron.d/x"))),
    ("a name that is the folder above", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b".."))),
    ("a name that is the folder itself", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"."))),
    ("an absolute name", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"/etc/passwd"))),
    ("a name in a folder", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"repodata/repomd.xml"))),
    ("a name that is a folder", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"repodata/"))),
    ("a hidden name", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b".stage-1-1"))),
    ("a name with a NUL", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"a.log\0.rpm"))),
    ("a name with a line's end", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"a\nb.log"))),
    ("a name with an escape", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"\x1b[31ma.log"))),
    ("a name that is no UTF-8", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"a\xff\xfe"))),
    ("an overlong slash", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b"..\xc0\xafx"))),
    ("an empty name", MALFORMED, |r, own, _| r.send_raw(&file_named(own, b""))),
    ("a name of 256 bytes", MALFORMED, |r, own, _| r.send_raw(&file_named(own, &[b'x'; 256]))),
    ("a piece that claims 4 GiB", MALFORMED, |r, own, _| {
        let mut bytes = Vec::new();
        data(own, 0, 0, 1).encode(&mut bytes);
        bytes.truncate(bytes.len() - 2);
        bytes.extend_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f, b'x']);
        r.send_raw(&bytes);
    }),
    ("an unknown message", End::Rejected(RejectCode::Unknown), |r, _, _| r.send_raw(&[99])),
    ("an endless number", MALFORMED, |r, _, _| r.send_raw(&[0xff; 40])),
    ("bytes behind a message", MALFORMED, |r, _, _| r.send_raw(&[2, 0])),
    ("a record that is replayed", End::Closed, |r, own, _| {
        r.replay(&FromBuilder::Phase { lease: own, phase: Phase::Build });
    }),
    ("a record of no bytes", End::Closed, |r, _, _| r.send_wire(&[0; 64])),
    ("a record of the greatest length", End::Closed, |r, _, _| r.send_wire(&[0xff; 64])),
    ("a record that does not decrypt", End::Closed, |r, _, _| {
        r.send_wire(&[[0, 32].as_slice(), &[7; 32]].concat())
    }),
    ("Register twice", ORDER, |r, _, _| r.send(&register(9, 0))),
    ("Ready twice", ORDER, |r, _, _| {
        r.send(&FromBuilder::Ready);
        r.send(&FromBuilder::Ready);
    }),
    ("fewer files than announced, then data", ORDER, |r, own, _| {
        r.send(&results(own, 2));
        r.send_raw(&file_named(own, b"a.log"));
        r.send(&data(own, 0, 0, 1));
    }),
    ("more files than announced", ORDER, |r, own, _| {
        r.send(&results(own, 1));
        r.send_raw(&file_named(own, b"a.log"));
        r.send_raw(&file_named(own, b"b.log"));
    }),
    ("evidence that was not announced, in floods", ORDER, |r, own, _| {
        r.send(&results(own, 1));
        let line = Line::lossy(&"x".repeat(1_000));
        (0..200).for_each(|_| {
            r.send(&FromBuilder::Evidence { lease: own, which: Which::Build, line: line.clone() })
        });
    }),
    ("files over what the wire allows", LIMIT, |r, own, _| r.send(&results(own, 16_385))),
    ("the greatest number of files", LIMIT, |r, own, _| r.send(&results(own, u32::MAX))),
    ("data beyond the size", LIMIT, |r, own, _| {
        wanted(r, own);
        r.send(&data(own, 0, 0, 101));
    }),
    ("data that overlaps", ORDER, |r, own, _| {
        wanted(r, own);
        r.send(&data(own, 0, 0, 50));
        r.send(&data(own, 0, 25, 50));
    }),
    ("data with a gap", ORDER, |r, own, _| {
        wanted(r, own);
        r.send(&data(own, 0, 10, 50));
    }),
    ("data at the greatest offset", ORDER, |r, own, _| {
        wanted(r, own);
        r.send(&data(own, 0, u64::MAX, 50));
    }),
    ("data of no bytes", ORDER, |r, own, _| {
        wanted(r, own);
        r.send(&data(own, 0, 0, 0));
    }),
    ("data of a file that is not asked for", ORDER, |r, own, _| {
        wanted(r, own);
        r.send(&data(own, 1, 0, 50));
    }),
    ("a fetch behind the end", LIMIT, |r, lease, _| {
        r.send(&FromBuilder::Fetch { lease, offset: u64::MAX, length: 1 });
    }),
    ("a fetch of more than a piece", LIMIT, |r, lease, _| {
        r.send(&FromBuilder::Fetch { lease, offset: 0, length: u32::MAX });
    }),
    ("a fetch of another's SRPM", NOT_YOURS, |r, _, lease| {
        r.send(&FromBuilder::Fetch { lease, offset: 0, length: 1 });
    }),
    ("a release of another's lease", NOT_YOURS, |r, _, lease| {
        r.send(&FromBuilder::Release { lease, why: ReleaseWhy::Disk });
    }),
    ("a result of another's lease", NOT_YOURS, |r, _, other| r.send(&results(other, 0))),
];

/// What is odd, and no reason to end a session.
type Oddity = (&'static str, fn(&mut Rogue, LeaseId, LeaseId));

const ODDITIES: [Oddity; 8] = [
    ("twenty thousand pings at once", |r, _, _| {
        (0..20_000).for_each(|n| {
            r.send(&FromBuilder::Ping { health: Default::default() });
            // The hub does not keep answers for those who do not read.
            if n % 500 == 0 {
                r.end_now();
            }
        });
    }),
    ("a log with gaps and giant offsets", |r, own, _| {
        for offset in [10, 1 << 40, u64::MAX, u64::MAX - 3, 0, 5] {
            let bytes = Bytes(vec![b'x'; 32_000]);
            r.send(&FromBuilder::Log { lease: own, which: Which::Root, offset, bytes });
        }
    }),
    ("phases that go round in circles", |r, own, _| {
        for _ in 0..200 {
            for phase in [Phase::Upload, Phase::Fetch, Phase::Build, Phase::Init] {
                r.send(&FromBuilder::Phase { lease: own, phase });
            }
        }
    }),
    ("the release of a lease that was never granted", |r, own, _| {
        let lease = LeaseId { counter: 1 << 30, ..own };
        r.send(&FromBuilder::Release { lease, why: ReleaseWhy::ShimDied });
    }),
    ("its own lease released twice, then built on", |r, lease, _| {
        for _ in 0..2 {
            r.send(&FromBuilder::Release { lease, why: ReleaseWhy::Stopped });
        }
        r.send(&FromBuilder::Phase { lease, phase: Phase::Build });
    }),
    ("health that is nonsense", |r, _, _| {
        let health = moji_proto::message::Health {
            disk_free_mib: u32::MAX,
            memory_free_mib: 0,
            load_centi: u32::MAX,
            celsius: Some(255),
            clock_off_s: i32::MIN,
            trouble: None,
        };
        assert!(r.is_alive_with(health));
    }),
    ("a success without a file", |r, own, _| {
        let said = r.upload(own, &[]);
        assert_eq!(said, ToBuilder::Accepted { lease: own, verdict: Verdict::Failed });
    }),
    ("a success with a log alone", |r, own, _| {
        let said = r.upload(own, &[Upload::new("build.log", b"done\n".to_vec())]);
        assert_eq!(said, ToBuilder::Accepted { lease: own, verdict: Verdict::Failed });
    }),
];

/// A `File` whose name is `name`, checked by nobody.
fn file_named(lease: LeaseId, name: &[u8]) -> Vec<u8> {
    crate::protocol::file_named(lease, name)
}

/// Has the hub ask for a file of 100 bytes.
fn wanted(rogue: &mut Rogue, own: LeaseId) {
    rogue.announce(own, &[Upload::new("build.log", vec![b'x'; 100])]);
    rogue.until("the file to be wanted", Rogue::wants);
}

fn data(lease: LeaseId, file: u32, offset: u64, len: usize) -> FromBuilder {
    FromBuilder::Data { lease, file, offset, bytes: Bytes(vec![b'x'; len]) }
}

/// Leases that are over, that never were, and that are somebody else's.
fn leases(scene: &mut Scene, tally: &mut Tally) {
    let ended = |rogue: &mut Rogue, want: End| {
        let end = rogue.ended();
        if end == want { Ok(()) } else { Err(format!("{end:?} and not {want:?}")) }
    };
    scene.no_bait();
    type Say = fn(LeaseId) -> FromBuilder;
    let says: [(&str, Say); 4] = [
        ("a result", |lease| results(lease, 0)),
        ("a phase", |lease| FromBuilder::Phase { lease, phase: Phase::Build }),
        ("a piece of a log", |lease| FromBuilder::Log {
            lease,
            which: Which::Build,
            offset: 0,
            bytes: Bytes(vec![b'x'; 9]),
        }),
        ("data", |lease| data(lease, 0, 0, 9)),
    ];
    for (what, say) in says {
        let other = scene.other;
        for (whose, lease) in [
            ("a lease that was never granted", LeaseId { counter: 1 << 30, ..other }),
            ("a lease of another run of the hub", LeaseId { incarnation: 1, ..other }),
            ("the lease of nothing", LeaseId { incarnation: 0, counter: 0 }),
            ("another's lease", other),
        ] {
            scene.case(tally, &format!("{what} of {whose}"), Lines::One, |scene, key| {
                let mut rogue = Rogue::ready(&scene.farm, key);
                rogue.send(&say(lease));
                ended(&mut rogue, NOT_YOURS)
            });
        }
    }
    for (what, lease, digest) in [
        ("another's lease, held", scene.other, Digest::of(b"")),
        ("a lease held that never was", LeaseId { counter: 1 << 30, ..scene.other }, Digest::of(b"x")),
    ] {
        scene.case(tally, what, Lines::None, |scene, key| {
            let mut rogue = Rogue::connect(&scene.farm, key);
            rogue.send(&register(key, 1));
            let srpm = FileName::new("calm-1-1.src.rpm").expect("safe");
            rogue.send(&FromBuilder::Held { lease, srpm, digest, phase: Phase::Upload });
            rogue.until("an answer", |rogue| rogue.heard(|said| *said == ToBuilder::Gone { lease }));
            if rogue.is_alive() { Ok(()) } else { Err("the session ended".to_owned()) }
        });
    }
    scene.case(tally, "more leases held than a builder may hold", Lines::One, |scene, key| {
        let mut rogue = Rogue::connect(&scene.farm, key);
        rogue.send(&register(key, 17));
        ended(&mut rogue, LIMIT)
    });
    for (what, late) in
        [("a late result, its lease expired", false), ("a late result, its package taken away", true)]
    {
        let bait = scene.prey.file.clone();
        scene.bait();
        scene.case(tally, what, Lines::One, |scene, key| {
            let mut rogue = Rogue::ready(&scene.farm, key);
            let lease = rogue.job();
            drop(rogue);
            scene.farm.wait_until("the lease to expire", SOON, |farm| farm.is_in("source", &bait));
            if late {
                scene.no_bait();
            }
            let mut rogue = Rogue::connect(&scene.farm, key);
            rogue.send(&register(key, 0));
            rogue.send(&results(lease, 0));
            ended(&mut rogue, NOT_YOURS)
        });
    }
}
