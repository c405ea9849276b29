//! Damage, full disks, failing syncs, leases that end at a bad moment.

use super::*;

fn files(built: &Built) -> Vec<(String, Vec<u8>)> {
    let mut files = built.all();
    files.push(("build.log".into(), vec![b'x'; 600_000]));
    files
}

fn begun(hub: &mut Hub, built: &Built) -> Builder {
    hub.open(lease(1), S1, built);
    hub.take_sent();
    Builder::new(lease(1), S1, files(built))
}

#[test]
fn damaged_file_is_asked_for_again() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    let good = builder.files.clone();
    builder.announce(&mut hub);
    builder.files[1].1[10] ^= 1;
    let mut asked = 0;
    loop {
        if hub.sent.iter().any(|(_, msg)| matches!(msg, ToBuilder::Want { file: 1, offset: 0, .. })) {
            asked += 1;
            if asked == 2 {
                builder.files.clone_from(&good);
            }
        }
        if !builder.step(&mut hub) {
            break;
        }
        hub.work();
    }
    assert_eq!(asked, 2);
    assert_eq!(hub.report().defect, None);
}

#[test]
fn file_that_is_damaged_three_times_ends_as_a_rejection() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.digests[2] = Digest::of(b"something else");
    builder.announce(&mut hub);
    builder.upload(&mut hub);
    let once: u64 = builder.files[..2].iter().map(|(_, bytes)| bytes.len() as u64).sum();
    assert_eq!(builder.sent, once + 3 * builder.files[2].1.len() as u64);
    let report = hub.report();
    assert_eq!(report.files.len(), 2);
    let (why, reason) = report.defect.unwrap();
    assert_eq!(why, RejectedWhy::Damaged);
    hub.rule(lease(1), Ruling::Reject { why, reason });
    builder.upload(&mut hub);
    assert_eq!(builder.heard, [ToBuilder::Rejected { lease: lease(1), why }]);
    assert_eq!(hub.list("repo/hello-1.0-1"), ["result.json"]);
}

#[test]
fn stage_that_a_power_cut_damaged_is_not_the_builders_fault() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.srpm(&built);
    let stage = crate::stage::stage_dir(&hub.folders, lease(1));
    fs::create_dir(&stage).unwrap();
    let all = files(&built);
    for (number, (_, bytes)) in all.iter().enumerate() {
        fs::write(stage.join(format!("f{number}")), vec![0; bytes.len() + usize::from(number == 0)]).unwrap();
    }
    hub.adopt(lease(1), S1, &built);
    hub.take_sent();
    let mut builder = Builder::new(lease(1), S1, all);
    builder.announce(&mut hub);
    builder.upload(&mut hub);
    assert_eq!(hub.report().defect, None);
    assert_eq!(builder.sent, builder.files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
}

#[test]
fn each_file_is_acknowledged_to_its_end_once_it_is_whole_and_not_if_nothing_of_it_was_sent() {
    let built = build("hello", "1.0");
    for there in [&b""[..], b"1234", b"12345678"] {
        let mut hub = Hub::new();
        hub.srpm(&built);
        let stage = crate::stage::stage_dir(&hub.folders, lease(1));
        fs::create_dir(&stage).unwrap();
        fs::write(stage.join("f0"), there).unwrap();
        hub.adopt(lease(1), S1, &built);
        hub.take_sent();
        let mut builder = Builder::new(lease(1), S1, vec![("build.log".into(), b"12345678".to_vec())]);
        builder.announce(&mut hub);
        let sends = builder.step(&mut hub);
        assert_eq!(sends, there.len() < 8);
        assert!(hub.sent.is_empty());
        hub.work();
        let ack = ToBuilder::Ack { lease: lease(1), file: 0, offset: 8 };
        assert_eq!(hub.take_sent(), if sends { vec![ack] } else { vec![] });
        assert_eq!(hub.report().files.len(), 1);
    }
}

#[test]
fn damage_in_the_stage_does_not_count_towards_the_three_times() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.srpm(&built);
    let stage = crate::stage::stage_dir(&hub.folders, lease(1));
    fs::create_dir(&stage).unwrap();
    fs::write(stage.join("f0"), b"xxxx").unwrap();
    hub.adopt(lease(1), S1, &built);
    hub.take_sent();
    let mut builder = Builder::new(lease(1), S1, vec![("build.log".into(), b"12345678".to_vec())]);
    builder.announce(&mut hub);
    // Once with the stage's bytes, twice damaged on the way, then whole.
    builder.files[0].1[7] ^= 1;
    for _ in 0..3 {
        assert!(builder.step(&mut hub));
        hub.work();
    }
    builder.files[0].1[7] ^= 1;
    builder.upload(&mut hub);
    assert_eq!(hub.report().defect, None);
    assert_eq!(builder.sent, 4 + 8 + 8 + 8);
}

#[test]
fn builder_that_comes_back_with_another_result_starts_over() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    while builder.sent < 100_000 {
        assert!(builder.step(&mut hub));
        hub.work();
    }
    hub.tell(Msg::Detach { lease: lease(1) });
    hub.sent.clear();
    hub.adopt(lease(1), S2, &built);
    hub.take_sent();
    let mut other = files(&built);
    other.reverse();
    let mut back = Builder::new(lease(1), S2, other.clone());
    back.announce(&mut hub);
    back.upload(&mut hub);
    let report = hub.report();
    assert_eq!(report.defect, None);
    let digests: Vec<_> = report.files.iter().map(|file| file.digest).collect();
    assert_eq!(digests, other.iter().map(|(_, bytes)| Digest::of(bytes)).collect::<Vec<_>>());
}

#[test]
fn lease_ends_at_once_while_the_disk_is_full() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    hub.faults.full.store(true, Ordering::Relaxed);
    builder.upload(&mut hub);
    assert!(hub.owed[&S1] > 0);
    assert!(hub.short.is_some());
    hub.open(lease(2), S2, &built);
    assert!(hub.short.is_some(), "what writes nothing says nothing about the disk");
    hub.tell(Msg::Close { lease: lease(1), why: "cancelled".into() });
    hub.work();
    assert_eq!(hub.short, None, "nothing waits any more");
    hub.assert_even();
    assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
    assert_eq!(hub.core.deadline(), None);
}

#[test]
fn full_disk_stops_the_credit_and_loses_nothing() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    while builder.sent < 100_000 {
        assert!(builder.step(&mut hub));
        hub.work();
    }
    let before = builder.sent;
    hub.faults.full.store(true, Ordering::Relaxed);
    builder.upload(&mut hub);
    assert!(builder.sent - before <= UPLOAD_WINDOW_BYTES, "it got credit for what could not be written");
    for _ in 0..30 {
        hub.wait();
        hub.work();
        builder.upload(&mut hub);
    }
    assert!(hub.short.as_ref().is_some_and(|why| why.ends_with("; free some space")), "{:?}", hub.short);
    // The session is still read: what it may have in memory is less than what stops the reactor.
    assert!(hub.owed_max < i64::from(crate::net::SESSION_BACKLOG_BYTES));
    assert!(hub.closed.is_empty(), "{:?}", hub.closed);
    hub.faults.full.store(false, Ordering::Relaxed);
    hub.wait();
    hub.work();
    builder.upload(&mut hub);
    assert_eq!(hub.short, None);
    assert_eq!(hub.report().defect, None);
    assert_eq!(builder.sent, builder.files.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
    hub.rule(lease(1), publish());
    assert_eq!(hub.published.len(), 1);
    hub.assert_even();
}

#[test]
fn time_for_which_the_disk_was_full_is_not_held_against_the_builder() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.take_sent();
    let mut builder = Builder::new(lease(1), S1, vec![("build.log".into(), vec![b'x'; 200_000])]);
    builder.announce(&mut hub);
    hub.faults.full.store(true, Ordering::Relaxed);
    assert!(builder.step(&mut hub));
    hub.work();
    for _ in 0..30 {
        hub.wait();
        hub.work();
    }
    assert!(hub.short.is_some());
    assert!(hub.closed.is_empty(), "{:?}", hub.closed);
}

#[test]
fn logs_do_not_pile_up_while_the_disk_is_full() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.faults.full.store(true, Ordering::Relaxed);
    for number in 0..100u64 {
        let bytes = Bytes(vec![b'x'; CHUNK_BYTES_MAX]);
        let offset = number * CHUNK_BYTES_MAX as u64;
        hub.hear(S1, FromBuilder::Log { lease: lease(1), which: Which::Build, offset, bytes });
        hub.work();
    }
    assert!(hub.owed[&S1] < i64::from(crate::net::SESSION_BACKLOG_BYTES) / 2);
    hub.faults.full.store(false, Ordering::Relaxed);
    hub.wait();
    hub.work();
    hub.assert_even();
}

#[test]
fn commit_survives_a_disk_that_fills_up_at_any_of_its_steps() {
    commit_survives_a_full_disk(None);
}

#[test]
fn commit_that_signs_survives_a_disk_that_fills_up_at_any_of_its_steps() {
    commit_survives_a_full_disk(Some(test_signer()));
}

fn commit_survives_a_full_disk(signer: Option<Arc<Signer>>) {
    let built = build("hello", "1.0");
    for step in 0.. {
        for ruling in [publish(), Ruling::Return { verdict: Verdict::Deps, reason: String::new() }] {
            let mut hub = Hub::signing(signer.clone());
            let mut builder = begun(&mut hub, &built);
            let bytes = Bytes(b"followed".to_vec());
            hub.hear(S1, FromBuilder::Log { lease: lease(1), which: Which::Mock, offset: 0, bytes });
            builder.announce(&mut hub);
            builder.upload(&mut hub);
            hub.faults.full_after.store(step, Ordering::Relaxed);
            hub.rule(lease(1), ruling.clone());
            let failed = !matches!(hub.leases.last(), Some(leases::Msg::Settled { .. }));
            hub.faults.full_after.store(u64::MAX, Ordering::Relaxed);
            if failed {
                assert!(hub.sent.is_empty());
                hub.wait();
                hub.work();
            }
            if ruling == publish() {
                let want = [".repodata", "build.log", "hello-1.0-1.noarch.rpm", "hello-1.0-1.src.rpm"];
                let want = want.into_iter().chain(["hello-lib-1.0-1.noarch.rpm", "mock.log", "result.json"]);
                assert_eq!(hub.list("repo/hello-1.0-1"), want.collect::<Vec<_>>());
                assert_eq!(hub.json("hello-1.0-1").files.len(), 5);
                assert_eq!(hub.described("hello-1.0-1").len(), 3);
                assert_published(&hub, &built);
            } else {
                let folder = "finished/.moji/attempts/1764000000-1";
                assert_eq!(hub.list(folder), ["build.log.gz", "mock.log.gz", "result.json"]);
                assert_eq!(hub.list("finished/.moji/attempts").len(), 1);
            }
            assert!(matches!(hub.outcome(), Outcome::Committed { .. } | Outcome::Kept { .. }));
            hub.assert_even();
            if !failed && ruling != publish() {
                assert!(step > 5, "the fault was never met");
                return;
            }
        }
    }
}

#[test]
fn upload_and_check_survive_a_disk_that_fills_up_at_any_of_their_steps() {
    let built = build("hello", "1.0");
    for step in 0.. {
        let mut hub = Hub::new();
        let mut builder = begun(&mut hub, &built);
        hub.faults.full_after.store(step, Ordering::Relaxed);
        builder.announce(&mut hub);
        builder.upload(&mut hub);
        let failed = hub.leases.is_empty();
        hub.faults.full_after.store(u64::MAX, Ordering::Relaxed);
        if failed {
            hub.wait();
            hub.work();
            builder.upload(&mut hub);
        }
        assert_eq!(hub.report().defect, None);
        assert_eq!(hub.report().files.len(), 4);
        assert!(hub.closed.is_empty(), "{:?}", hub.closed);
        hub.assert_even();
        if !failed {
            assert!(step > 10, "the fault was never met");
            return;
        }
    }
}

#[test]
fn hub_that_dies_at_any_step_of_a_commit_publishes_the_result_once_and_whole() {
    publishes_once_and_whole(None);
}

#[test]
fn hub_that_dies_at_any_step_of_a_commit_that_signs_publishes_the_result_once_and_whole() {
    publishes_once_and_whole(Some(test_signer()));
}

/// Each file is there as `result.json` tells, and signed if the hub signs.
fn assert_published(hub: &Hub, built: &Built) {
    let unsigned: Vec<Vec<u8>> = built.all().into_iter().map(|(_, bytes)| bytes).collect();
    for file in hub.json("hello-1.0-1").files {
        let bytes = fs::read(hub.folders.repo.join("hello-1.0-1").join(&file.name)).unwrap();
        assert_eq!(Digest::of(&bytes).to_string(), file.digest);
        assert_eq!(bytes.len() as u64, file.size);
        if file.name.ends_with(".rpm") {
            assert_eq!(unsigned.contains(&bytes), hub.signer.is_none(), "{}", file.name);
            crate::rpmfile::verify_digests(&bytes[..]).unwrap();
        }
    }
}

fn publishes_once_and_whole(signer: Option<Arc<Signer>>) {
    let built = build("hello", "1.0");
    for step in 0.. {
        let mut hub = Hub::signing(signer.clone());
        let mut builder = begun(&mut hub, &built);
        builder.announce(&mut hub);
        builder.upload(&mut hub);
        // Nothing that changes the disk happens from here on: that is what death looks like to it.
        hub.faults.full_after.store(step, Ordering::Relaxed);
        hub.rule(lease(1), publish());
        hub.faults.full_after.store(u64::MAX, Ordering::Relaxed);
        hub.restart();
        let committed = !hub.list("repo").is_empty();
        if !committed {
            hub.adopt(lease(1), S2, &built);
            hub.take_sent();
            let mut back = Builder::new(lease(1), S2, files(&built));
            back.announce(&mut hub);
            back.upload(&mut hub);
            hub.rule(lease(1), publish());
        }
        assert_eq!(hub.list("repo"), ["hello-1.0-1"], "step {step}");
        assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
        let json = hub.json("hello-1.0-1");
        assert_eq!((json.lease.as_str(), json.files.len()), ("1764000000-1", 4));
        assert_eq!(hub.list("repo/hello-1.0-1").len(), 6);
        assert_eq!(hub.described("hello-1.0-1").len(), 3);
        assert_published(&hub, &built);
        if committed {
            assert!(step > 4, "the fault was never met");
            return;
        }
    }
}

#[test]
fn failed_write_or_sync_drops_the_stage_keeps_the_lease_and_stops_everything_until_a_restart() {
    let built = build("hello", "1.0");
    for at_commit in [false, true] {
        let mut hub = Hub::new();
        let mut builder = begun(&mut hub, &built);
        hub.open(lease(2), S2, &built);
        hub.take_sent();
        builder.announce(&mut hub);
        if at_commit {
            builder.upload(&mut hub);
        }
        let fault = if at_commit { &hub.faults.sync } else { &hub.faults.write };
        fault.store(true, Ordering::Relaxed);
        builder.upload(&mut hub);
        hub.rule(lease(1), publish());
        assert_eq!(hub.stopped, 1);
        let unsealed = hub.leases.iter().any(|msg| matches!(msg, leases::Msg::Unsealed { .. }));
        assert!(!unsealed, "what may be in repo/ for good must not expire before the restart tells");
        assert!(!hub.leases.iter().any(|msg| matches!(msg, leases::Msg::Settled { .. })));
        assert!(hub.list("repo").is_empty());
        assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
        assert!(builder.heard.is_empty() && hub.closed.is_empty());
        // Another lease's result is heard and not taken.
        hub.faults.sync.store(false, Ordering::Relaxed);
        hub.faults.write.store(false, Ordering::Relaxed);
        let mut other = Builder::new(lease(2), S2, files(&built));
        other.announce(&mut hub);
        other.upload(&mut hub);
        assert_eq!((other.sent, hub.closed.len()), (0, 0));
        hub.assert_even();

        hub.restart();
        hub.adopt(lease(1), S1, &built);
        hub.take_sent();
        let mut back = Builder::new(lease(1), S1, files(&built));
        back.announce(&mut hub);
        back.upload(&mut hub);
        hub.rule(lease(1), publish());
        assert_eq!(hub.published.len(), 1);
    }
}

#[test]
fn failed_write_does_not_pass_the_turn_to_another_lease_of_the_session() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    hub.open(lease(2), S1, &built);
    hub.take_sent();
    builder.announce(&mut hub);
    let wants = hub.take_sent();
    Builder::new(lease(2), S1, files(&built)).announce(&mut hub);
    hub.faults.write.store(true, Ordering::Relaxed);
    hub.sent.extend(wants.into_iter().map(|want| (S1, want)));
    builder.upload(&mut hub);
    assert_eq!(hub.stopped, 1);
    assert!(builder.heard.is_empty() && hub.sent.is_empty(), "{:?}", hub.sent);
    assert_eq!(builder.sent, builder.files[0].1.len() as u64);
    hub.assert_even();
}

#[test]
fn stale_result_is_dropped_and_the_builder_told() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    builder.upload(&mut hub);
    hub.report();
    hub.tell(Msg::Stale { lease: lease(1) });
    hub.work();
    builder.upload(&mut hub);
    assert_eq!(builder.heard, [ToBuilder::Gone { lease: lease(1) }]);
    assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
    // A ruling that was on its way changes nothing.
    hub.rule(lease(1), publish());
    assert!(hub.list("repo").is_empty());
}

#[test]
fn lease_closed_in_the_middle_of_an_operation_ends_with_its_logs_kept() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    let bytes = Bytes(b"some words\n".to_vec());
    hub.hear(S1, FromBuilder::Log { lease: lease(1), which: Which::Build, offset: 0, bytes });
    builder.files.reverse();
    builder.digests.reverse();
    builder.announce(&mut hub);
    for _ in 0..4 {
        assert!(builder.step(&mut hub));
    }
    assert_eq!(hub.ops.len(), 1, "one operation at a time");
    hub.tell(Msg::Close { lease: lease(1), why: "lease expired".into() });
    // What the builder said before it heard of the end is not held against it.
    let bytes = Bytes(vec![1; 100]);
    hub.hear(S1, FromBuilder::Log { lease: lease(1), which: Which::Build, offset: 11, bytes });
    hub.work();
    let bytes = Bytes(vec![1; 100]);
    hub.hear(S1, FromBuilder::Data { lease: lease(1), file: 0, offset: 0, bytes });
    assert!(hub.closed.is_empty(), "{:?}", hub.closed);
    hub.assert_even();
    assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
    let folder = "finished/.moji/attempts/1764000000-1";
    assert_eq!(hub.list(folder), ["build.log.gz", "result.json"]);
    let json = fs::read_to_string(hub.dir.path().join(folder).join("result.json")).unwrap();
    assert!(json.contains("lease expired") && json.contains("build.log.gz"), "{json}");
    assert_eq!(hub.core.deadline(), None);
}

#[test]
fn failed_write_of_a_lease_that_was_closed_meanwhile_stops_everything_and_its_stage_goes() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    assert!(builder.step(&mut hub));
    assert_eq!(hub.ops.len(), 1, "a write is under way");
    hub.tell(Msg::Close { lease: lease(1), why: "lease expired".into() });
    hub.faults.write.store(true, Ordering::Relaxed);
    hub.work();
    assert_eq!(hub.stopped, 1);
    assert_eq!(hub.list("working"), ["hello-1.0-1.src.rpm"]);
    assert_eq!(hub.core.deadline(), None);
    hub.assert_even();
}

#[test]
fn close_of_a_lease_that_is_being_committed_changes_nothing() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    builder.upload(&mut hub);
    hub.tell(Msg::Ruling { lease: lease(1), ruling: publish() });
    assert_eq!(hub.ops.len(), 1, "the commit is under way");
    hub.tell(Msg::Close { lease: lease(1), why: "lease expired".into() });
    hub.work();
    assert!(matches!(hub.outcome(), Outcome::Committed { .. }));
    assert_eq!(hub.published.len(), 1);
    assert_published(&hub, &built);
    assert_eq!(hub.take_sent(), [ToBuilder::Accepted { lease: lease(1), verdict: Verdict::Success }]);
}

#[test]
fn failed_write_of_one_lease_unseals_another_that_was_not_ruled_on() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let mut builder = begun(&mut hub, &built);
    builder.announce(&mut hub);
    builder.upload(&mut hub);
    hub.report();
    hub.open(lease(2), S2, &built);
    hub.take_sent();
    hub.faults.write.store(true, Ordering::Relaxed);
    let bytes = Bytes(b"followed".to_vec());
    hub.hear(S2, FromBuilder::Log { lease: lease(2), which: Which::Mock, offset: 0, bytes });
    assert!(hub.work_once());
    assert_eq!(hub.stopped, 1, "at once");
    assert!(matches!(hub.leases.last(), Some(leases::Msg::Unsealed { lease: id }) if *id == lease(1)));
    // The ruling was on its way.
    hub.rule(lease(1), publish());
    assert!(hub.list("repo").is_empty() && hub.sent.is_empty());
    assert_eq!(hub.stopped, 1, "once");
}

#[test]
fn failed_write_of_one_lease_ends_the_upload_of_another_without_a_word() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.open(lease(2), S2, &built);
    hub.take_sent();
    let mut other = Builder::new(lease(2), S2, files(&built));
    other.announce(&mut hub);
    assert!(other.step(&mut hub));
    hub.work();
    hub.faults.write.store(true, Ordering::Relaxed);
    let bytes = Bytes(b"followed".to_vec());
    hub.hear(S1, FromBuilder::Log { lease: lease(1), which: Which::Mock, offset: 0, bytes });
    hub.work();
    hub.faults.write.store(false, Ordering::Relaxed);
    other.upload(&mut hub);
    assert_eq!(hub.stopped, 1);
    assert!(hub.leases.is_empty(), "its result is taken after the restart: {:?}", hub.leases);
    assert!(other.heard.is_empty() && hub.closed.is_empty());
    hub.assert_even();
}

#[test]
fn lease_that_is_taken_up_again_while_it_ends_begins_afresh() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    begun(&mut hub, &built);
    hub.tell(Msg::Detach { lease: lease(1) });
    hub.tell(Msg::Close { lease: lease(1), why: "expired".into() });
    hub.adopt(lease(1), S2, &built);
    let sent = hub.take_sent();
    assert_eq!(sent, [ToBuilder::Adopted { lease: lease(1), logs: [0; 4] }]);
    let mut back = Builder::new(lease(1), S2, files(&built));
    back.announce(&mut hub);
    back.upload(&mut hub);
    assert_eq!(hub.report().defect, None);
}

#[test]
fn stage_of_an_unknown_lease_is_dropped_on_close() {
    let hub = &mut Hub::new();
    let stage = crate::stage::stage_dir(&hub.folders, lease(9));
    fs::create_dir(&stage).unwrap();
    fs::write(stage.join("f0"), b"x").unwrap();
    hub.tell(Msg::Close { lease: lease(9), why: "not taken up again".into() });
    hub.work();
    assert!(hub.list("working").is_empty());
    assert!(hub.list("finished/.moji").is_empty());
}

#[test]
fn builder_that_comes_back_just_as_its_result_is_settled_is_answered() {
    // Simulation, seed 1779: leases asked for the adoption before they heard that it was settled, and
    // nobody answered the builder.
    let built = build("hello", "1.0");
    let back_to_source = Ruling::Return { verdict: Verdict::Infra, reason: "x".into() };
    for (ruling, want) in [
        (publish(), ToBuilder::Done { lease: lease(1) }),
        (back_to_source, ToBuilder::Gone { lease: lease(1) }),
    ] {
        let mut hub = Hub::new();
        let mut builder = begun(&mut hub, &built);
        builder.announce(&mut hub);
        builder.upload(&mut hub);
        hub.rule(lease(1), ruling);
        hub.take_sent();
        hub.adopt(lease(1), S2, &built);
        assert_eq!(hub.take_sent(), [want]);
        // What it still says of the lease is not held against it.
        hub.hear(S2, FromBuilder::Phase { lease: lease(1), phase: Phase::Upload });
        assert_eq!(hub.closed, []);
    }
}

#[test]
fn stage_that_cannot_be_removed_is_removed_as_soon_as_it_can() {
    // Simulation, seeds 3077, 7951 and 8029: it stayed until the next restart.
    let built = build("hello", "1.0");
    for returned in [false, true] {
        let mut hub = Hub::new();
        let mut builder = begun(&mut hub, &built);
        builder.announce(&mut hub);
        builder.upload(&mut hub);
        hub.faults.remove.store(true, Ordering::Relaxed);
        if returned {
            hub.rule(lease(1), Ruling::Return { verdict: Verdict::Infra, reason: "x".into() });
        } else {
            hub.tell(Msg::Close { lease: lease(1), why: "expired".into() });
        }
        hub.work();
        for _ in 0..2 {
            assert_eq!(hub.list("working").len(), 2, "{:?}", hub.list("working"));
            hub.wait();
            hub.work();
        }
        hub.faults.remove.store(false, Ordering::Relaxed);
        hub.wait();
        hub.work();
        assert_eq!(hub.list("working"), [built.source.0.as_str()]);
        assert_eq!(hub.core.deadline(), None);
    }
}

#[test]
fn builder_that_comes_back_does_not_wait_for_a_stage_that_cannot_be_removed() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    begun(&mut hub, &built);
    hub.hear(
        S1,
        FromBuilder::Log { lease: lease(1), which: Which::Build, offset: 0, bytes: Bytes(vec![b'x']) },
    );
    hub.work();
    hub.faults.remove.store(true, Ordering::Relaxed);
    hub.tell(Msg::Close { lease: lease(1), why: "expired".into() });
    hub.work();
    hub.take_sent();
    hub.adopt(lease(1), S2, &built);
    assert!(matches!(hub.take_sent()[..], [ToBuilder::Adopted { .. }]));
}
