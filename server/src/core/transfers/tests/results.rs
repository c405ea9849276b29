//! From `Results` to the durable end.

use super::*;

/// A result with real RPMs and some logs.
fn result(built: &Built) -> Vec<(String, Vec<u8>)> {
    let mut files = built.all();
    files.push(("build.log".into(), b"+ exit 0\n".to_vec()));
    files.push(("root.log".into(), Vec::new()));
    files.push(("state.log".into(), vec![b'x'; 700_000]));
    files
}

fn uploaded(hub: &mut Hub, built: &Built, files: Vec<(String, Vec<u8>)>) -> Builder {
    hub.open(lease(1), S1, built);
    hub.take_sent();
    let mut builder = Builder::new(lease(1), S1, files);
    builder.announce(hub);
    builder.upload(hub);
    builder
}

#[test]
fn pieces_that_came_while_a_worker_was_busy_are_written_as_one() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.take_sent();
    let log: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    let mut builder = Builder::new(lease(1), S1, vec![("state.log".into(), log.clone())]);
    builder.announce(&mut hub);
    while builder.step(&mut hub) {}
    assert_eq!(hub.ops.len(), 1, "one operation of a lease at a time");
    hub.work_once();
    let [(_, Op::Write { file: 0, offset, bytes })] = hub.ops.make_contiguous() else {
        panic!("{:?}", hub.ops)
    };
    assert_eq!((*offset, &bytes.0[..]), (CHUNK_BYTES_MAX as u64, &log[CHUNK_BYTES_MAX..]));
    hub.work();
    // All credit is back, and the digest of the whole file was right.
    hub.assert_even();
    assert_eq!(hub.report().files.len(), 1);
}

#[test]
fn result_of_real_rpms_is_committed_before_the_builder_hears_of_it() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = uploaded(&mut hub, &built, result(&built));
    let report = hub.report();
    assert_eq!(report.defect, None);
    assert_eq!(report.source.nvr(), "hello-1.0-1");
    assert_eq!(report.evidence.len(), 1);
    let rpms = report.files.iter().filter_map(|file| file.rpm.as_ref());
    let sources: Vec<_> = rpms.map(|rpm| rpm.source_rpm.as_deref()).collect();
    assert_eq!(sources, [None, Some("hello-1.0-1.src.rpm"), Some("hello-1.0-1.src.rpm")]);
    assert!(builder.heard.is_empty());

    hub.tell(Msg::Ruling { lease: lease(1), ruling: publish() });
    assert!(hub.sent.is_empty() && hub.published.is_empty(), "promised before it was durable");
    hub.work();
    builder.upload(&mut hub);
    assert_eq!(builder.heard, [ToBuilder::Accepted { lease: lease(1), verdict: Verdict::Success }]);
    let folder = "hello-1.0-1".to_owned();
    assert_eq!(hub.outcome(), Outcome::Committed { folder: folder.clone(), verdict: Verdict::Success });
    let rpms = ["hello-1.0-1.src.rpm", "hello-1.0-1.noarch.rpm", "hello-lib-1.0-1.noarch.rpm"];
    assert_eq!(hub.published, [repo::Published { folder, rpms: rpms.map(name).to_vec() }]);
    assert_eq!(
        hub.list("repo/hello-1.0-1"),
        [
            ".repodata",
            "build.log",
            "hello-1.0-1.noarch.rpm",
            "hello-1.0-1.src.rpm",
            "hello-lib-1.0-1.noarch.rpm",
            "result.json",
            "root.log",
            "state.log"
        ]
    );
    let json = hub.json("hello-1.0-1");
    assert_eq!((json.lease.as_str(), json.verdict.as_str()), ("1764000000-1", "success"));
    assert_eq!(json.options, ["--nocheck"]);
    assert_eq!(json.evidence, ["build.log: it went well"]);
    for file in json.files {
        let bytes = fs::read(hub.folders.repo.join("hello-1.0-1").join(&file.name)).unwrap();
        assert_eq!((bytes.len() as u64, Digest::of(&bytes).to_string()), (file.size, file.digest));
        let is_rpm = file.name.ends_with(".rpm");
        assert_eq!(file.sha256, is_rpm.then(|| Sha256::of(&bytes).to_string()));
        assert_eq!(file.nevra, file.name.strip_suffix(".rpm").map(str::to_owned));
    }
    assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
    assert!(hub.owed_max <= UPLOAD_WINDOW_BYTES as i64);
    hub.assert_even();
}

#[test]
fn result_tells_who_made_it_of_what_with_what_and_when() {
    let built = build("hello", "1.0");
    for restart in [false, true] {
        let mut hub = Hub::new();
        let began = hub.unix_s.load(Ordering::Relaxed);
        hub.open(lease(1), S1, &built);
        hub.take_sent();
        hub.unix_s.fetch_add(100, Ordering::Relaxed);
        if restart {
            hub.restart();
            hub.adopt(lease(1), S1, &built);
            hub.take_sent();
        }
        let mut builder = Builder::new(lease(1), S1, built.all());
        builder.announce(&mut hub);
        builder.upload(&mut hub);
        hub.rule(lease(1), publish());
        let json = hub.json("hello-1.0-1");
        let who = info();
        for file in &json.files {
            assert_eq!(file.is_source, file.name.ends_with(".src.rpm"), "{}", file.name);
        }
        assert_eq!(json.srpm_digest, Digest::of(&built.source.1).to_string());
        assert_eq!(json.srpm_sha256, Sha256::of(&built.source.1).to_string());
        assert_eq!((json.builder, json.builder_key), ("board1".to_owned(), who.id.to_string()));
        assert_eq!(json.builder_fingerprint, "0707070707070707");
        assert_eq!((json.builder_version.as_str(), json.hub_version.as_str()), ("0.1.0", "0.1.0"));
        assert_eq!((json.builder_cpus, json.builder_memory_mib), (1, 128));
        assert_eq!((json.cfg.as_str(), json.cfg_digest), ("fedora-arm", who.cfg_digest.to_string()));
        assert_eq!((json.peak_memory_mib, json.silence_s), (Some(120), Some(30)));
        assert_eq!(json.peak_disk_mib, Some(900));
        // What the hub forgets with its process it does not invent.
        assert_eq!(json.leased_unix_s, (!restart).then_some(began));
        assert_eq!(json.committed_unix_s, began + 100);
    }
}

#[test]
fn rebuild_takes_a_folder_of_its_own() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    for (counter, folder) in [(1, "hello-1.0-1"), (2, "hello-1.0-1@2"), (3, "hello-1.0-1@3")] {
        hub.open(lease(counter), S1, &built);
        hub.take_sent();
        let mut builder = Builder::new(lease(counter), S1, built.all());
        builder.announce(&mut hub);
        builder.upload(&mut hub);
        hub.rule(lease(counter), publish());
        hub.take_sent();
        assert_eq!(hub.published.last().unwrap().folder, folder);
    }
    assert_eq!(hub.list("repo"), ["hello-1.0-1", "hello-1.0-1@2", "hello-1.0-1@3"]);
}

#[test]
fn each_ruling_leaves_what_it_says() {
    let built = build("hello", "1.0");
    let reason = || "because".to_owned();
    let (accepted, failed) = (|verdict| ToBuilder::Accepted { lease: lease(1), verdict }, Verdict::Failed);
    for (ruling, answer, verdict, rpms, published) in [
        (Ruling::Publish { held: Some(reason()) }, accepted(Verdict::Success), "success", 3, 0),
        (Ruling::Keep { verdict: failed, reason: reason() }, accepted(failed), "failed", 0, 0),
        (
            Ruling::Reject { why: RejectedWhy::Foreign, reason: reason() },
            ToBuilder::Rejected { lease: lease(1), why: RejectedWhy::Foreign },
            "failed",
            0,
            0,
        ),
    ] {
        let mut hub = Hub::new();
        let mut builder = uploaded(&mut hub, &built, result(&built));
        hub.rule(lease(1), ruling.clone());
        builder.upload(&mut hub);
        assert_eq!(builder.heard, [answer]);
        assert_eq!(hub.published.len(), published);
        let json = hub.json("hello-1.0-1");
        assert_eq!(json.verdict, verdict);
        assert_eq!(json.held.is_some(), matches!(ruling, Ruling::Publish { .. }));
        let files = hub.list("repo/hello-1.0-1");
        assert_eq!(files.iter().filter(|file| file.ends_with(".rpm")).count(), rpms, "{files:?}");
        assert_eq!(files.iter().filter(|file| file.ends_with(".log")).count(), 3, "{files:?}");
        assert_eq!(files.iter().any(|file| file == PIECE_NAME), rpms > 0);
        assert_eq!(json.files.len() + 1 + usize::from(rpms > 0), files.len());
    }
}

#[test]
fn returned_result_keeps_its_logs_compressed_as_an_attempt() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = uploaded(&mut hub, &built, result(&built));
    hub.rule(lease(1), Ruling::Return { verdict: Verdict::Infra, reason: "disk".into() });
    builder.upload(&mut hub);
    assert_eq!(builder.heard, [ToBuilder::Returned { lease: lease(1), verdict: Verdict::Infra }]);
    assert_eq!(hub.outcome(), Outcome::Kept { verdict: Verdict::Infra });
    let folder = "finished/.moji/attempts/1764000000-1";
    assert_eq!(hub.list(folder), ["build.log.gz", "result.json", "root.log.gz", "state.log.gz"]);
    let packed = fs::File::open(hub.dir.path().join(folder).join("build.log.gz")).unwrap();
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(packed), &mut text).unwrap();
    assert_eq!(text, "+ exit 0\n");
    assert!(hub.list("repo").is_empty());
    assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
}

#[test]
fn result_without_files_is_sealed_and_committed() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    uploaded(&mut hub, &built, Vec::new());
    assert!(hub.report().files.is_empty());
    hub.rule(lease(1), Ruling::Keep { verdict: Verdict::Failed, reason: String::new() });
    assert_eq!(hub.list("repo/hello-1.0-1"), ["result.json"]);
}

#[test]
fn log_that_was_followed_and_not_uploaded_becomes_part_of_the_result() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    for which in Which::ALL {
        let bytes = Bytes(b"followed\n".to_vec());
        hub.hear(S1, FromBuilder::Log { lease: lease(1), which, offset: 0, bytes });
    }
    hub.take_sent();
    let mut builder = Builder::new(lease(1), S1, result(&built));
    builder.announce(&mut hub);
    builder.upload(&mut hub);
    hub.rule(lease(1), publish());
    let log = |log: &str| fs::read_to_string(hub.folders.repo.join("hello-1.0-1").join(log)).unwrap();
    assert_eq!((log("mock.log").as_str(), log("build.log").as_str()), ("followed\n", "+ exit 0\n"));
    assert_eq!(hub.json("hello-1.0-1").files.len(), 7);
    hub.assert_even();
}

#[test]
fn names_never_come_from_the_builder() {
    let built = build("hello", "1.0");
    let rpm = built.binaries[0].1.clone();
    let mut hub = Hub::new();
    let files = vec![
        ("evil.log".to_owned(), rpm),
        ("result.json".to_owned(), b"{}".to_vec()),
        ("f7".to_owned(), b"x".to_vec()),
        ("a b$(c).log".to_owned(), b"x".to_vec()),
        ("chroot_scan.tar.gz".to_owned(), b"x".to_vec()),
        ("build.log.xz".to_owned(), b"x".to_vec()),
    ];
    uploaded(&mut hub, &built, files);
    assert_eq!(hub.report().defect, None);
    hub.rule(lease(1), publish());
    let there = hub.list("repo/hello-1.0-1");
    assert_eq!(there, [".repodata", "a_b__c_.log", "build.log.xz", "hello-1.0-1.noarch.rpm", "result.json"]);
    let json = hub.json("hello-1.0-1");
    assert_eq!(json.evidence.len(), 4, "{:?}", json.evidence);
    assert!(json.evidence[3].starts_with("chroot_scan.tar.gz: neither"), "{:?}", json.evidence);
    // A slash or a leading dot does not even decode.
    for path in ["../x", "/etc/passwd", ".leases", "a/b.log"] {
        assert!(FileName::new(path).is_err(), "{path}");
    }
}

#[test]
fn files_that_are_wrong_in_themselves_are_named_as_defects() {
    let built = build("hello", "1.0");
    let rpm = &built.binaries[0];
    let mut flipped = rpm.clone();
    *flipped.1.last_mut().unwrap() ^= 1;
    let cut = (rpm.0.clone(), rpm.1[..rpm.1.len() - 1].to_vec());
    let text = (rpm.0.clone(), b"hello".to_vec());
    let again = ("other.rpm".to_owned(), rpm.1.clone());
    let log = ("build.log".to_owned(), b"x".to_vec());
    for (files, why) in [
        (vec![flipped], RejectedWhy::BadRpm),
        (vec![cut], RejectedWhy::BadRpm),
        (vec![text], RejectedWhy::BadRpm),
        (vec![rpm.clone(), again], RejectedWhy::Duplicate),
        (vec![log.clone(), log], RejectedWhy::Duplicate),
    ] {
        let mut hub = Hub::new();
        uploaded(&mut hub, &built, files);
        let (found, text) = hub.report().defect.unwrap();
        assert_eq!(found, why, "{text}");
        hub.rule(lease(1), Ruling::Reject { why, reason: text });
        assert!(hub.list("repo/hello-1.0-1").iter().all(|file| !file.ends_with(".rpm")));
    }
}

#[test]
fn results_over_the_limits_are_refused_before_a_byte_is_sent() {
    let built = build("hello", "1.0");
    let file = |size: usize| ("build.log".to_owned(), vec![0; size]);
    for files in [vec![file(1); 4], vec![file(101)], vec![file(100), file(100), file(51)]] {
        let mut hub = Hub::with(Limits { files_max: 3, file_bytes_max: 100, build_bytes_max: 250 });
        let builder = uploaded(&mut hub, &built, files);
        assert_eq!(builder.sent, 0);
        assert_eq!(hub.report().defect.unwrap().0, RejectedWhy::TooLarge);
        assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
    }
    let mut hub = Hub::with(Limits { files_max: 3, file_bytes_max: 100, build_bytes_max: 250 });
    uploaded(
        &mut hub,
        &built,
        vec![file(100), ("root.log".into(), vec![0; 100]), ("mock.log".into(), vec![0; 50])],
    );
    assert_eq!(hub.report().defect, None);
}

#[test]
fn upload_goes_on_in_the_middle_of_a_file_after_a_broken_connection() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.take_sent();
    let files = result(&built);
    let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut builder = Builder::new(lease(1), S1, files.clone());
    builder.announce(&mut hub);
    while builder.sent < total - 400_000 {
        assert!(builder.step(&mut hub));
        hub.work();
    }
    // One piece more is on its way to the disk when the connection breaks.
    assert!(builder.step(&mut hub));
    hub.tell(Msg::Detach { lease: lease(1) });
    hub.sent.clear();
    hub.adopt(lease(1), S2, &built);
    assert!(matches!(hub.take_sent()[..], [ToBuilder::Adopted { .. }]));
    let mut back = Builder::new(lease(1), S2, files);
    back.announce(&mut hub);
    back.upload(&mut hub);
    assert_eq!(builder.sent + back.sent, total);
    assert_eq!(hub.report().defect, None);
    assert!(hub.closed.is_empty(), "{:?}", hub.closed);
    hub.assert_even();
}

#[test]
fn survey_for_a_broken_connection_does_not_count_for_the_next() {
    // Simulation, seed 221116: a file waited behind a slow survey when the connection broke. The next one was asked
    // for it before it was written, and closed for sending it.
    let built = build("hello", "1.0");
    for waits in [false, true] {
        let mut hub = Hub::new();
        hub.open(lease(1), S1, &built);
        hub.take_sent();
        let finish = |hub: &mut Hub, (lease, op): (LeaseId, Op)| {
            let done = hub.worker.run(lease, op);
            hub.tell(Msg::Done { lease, done });
        };
        let bytes = Bytes(vec![b'x']);
        hub.hear(S1, FromBuilder::Log { lease: lease(1), which: Which::Build, offset: 0, bytes });
        let mut busy = hub.ops.pop_front().unwrap();
        Builder::new(lease(1), S1, result(&built)).announce(&mut hub);
        if !waits {
            finish(&mut hub, busy);
            busy = hub.ops.pop_front().unwrap();
            assert!(matches!(busy.1, Op::Survey), "{busy:?}");
        }
        hub.tell(Msg::Detach { lease: lease(1) });
        hub.adopt(lease(1), S2, &built);
        assert!(matches!(hub.take_sent()[..], [ToBuilder::Adopted { .. }]));
        let mut back = Builder::new(lease(1), S2, result(&built));
        back.announce(&mut hub);
        finish(&mut hub, busy);
        assert_eq!(hub.take_sent(), []);
        let own = hub.ops.pop_front().unwrap();
        assert!(matches!(own.1, Op::Survey), "{own:?}");
        finish(&mut hub, own);
        assert!(hub.ops.is_empty(), "{:?}", hub.ops);
        back.upload(&mut hub);
        assert!(hub.closed.is_empty(), "{:?}", hub.closed);
        assert_eq!(hub.report().defect, None);
        hub.assert_even();
    }
}

#[test]
fn upload_goes_on_in_the_middle_of_a_file_after_the_hub_restarts() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.take_sent();
    let files = result(&built);
    let total: u64 = files.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    let mut builder = Builder::new(lease(1), S1, files.clone());
    builder.announce(&mut hub);
    while builder.sent < total - 400_000 {
        assert!(builder.step(&mut hub));
        hub.work();
    }
    hub.restart();
    hub.adopt(lease(1), S2, &built);
    hub.take_sent();
    let mut back = Builder::new(lease(1), S2, files);
    back.announce(&mut hub);
    back.upload(&mut hub);
    assert_eq!(builder.sent + back.sent, total);
    hub.rule(lease(1), publish());
    assert_eq!(hub.published.len(), 1);
}

#[test]
fn result_announced_again_while_it_is_sealed_or_committed_is_not_sent_again() {
    let built = build("hello", "1.0");
    for rule_first in [false, true] {
        let mut hub = Hub::new();
        uploaded(&mut hub, &built, result(&built));
        hub.take_sent();
        hub.tell(Msg::Detach { lease: lease(1) });
        if rule_first {
            hub.tell(Msg::Ruling { lease: lease(1), ruling: publish() });
        }
        // The commit, if any, is under way while the builder is back.
        let ops = std::mem::take(&mut hub.ops);
        hub.adopt(lease(1), S2, &built);
        let mut back = Builder::new(lease(1), S2, result(&built));
        back.announce(&mut hub);
        back.upload(&mut hub);
        assert_eq!(back.sent, 0);
        assert!(matches!(back.heard[..], [ToBuilder::Adopted { .. }]));
        hub.ops.extend(ops);
        if rule_first {
            hub.work();
        } else {
            hub.rule(lease(1), publish());
        }
        back.upload(&mut hub);
        assert_eq!(back.heard[1..], [ToBuilder::Accepted { lease: lease(1), verdict: Verdict::Success }]);
        assert!(hub.closed.is_empty(), "{:?}", hub.closed);
    }
}
