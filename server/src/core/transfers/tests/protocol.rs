//! Who may say what when; fetching, logs, the floor.

use super::*;

fn fetch(offset: u64, length: u32) -> FromBuilder {
    FromBuilder::Fetch { lease: lease(1), offset, length }
}

fn data(file: u32, offset: u64, len: usize) -> FromBuilder {
    FromBuilder::Data { lease: lease(1), file, offset, bytes: Bytes(vec![1; len]) }
}

fn results(files: u32, evidence: u16) -> FromBuilder {
    FromBuilder::Results {
        lease: lease(1),
        exit: Exit::Code(1),
        phase: Phase::Build,
        backend: Backend::Mock,
        seconds: 1,
        oom_kills: 0,
        silence_s: 0,
        peak_memory_mib: 0,
        peak_disk_mib: 0,
        files,
        evidence,
    }
}

fn file(size: u64) -> FromBuilder {
    FromBuilder::File { lease: lease(1), name: name("build.log"), size, digest: Digest::of(b"x") }
}

fn evidence() -> FromBuilder {
    FromBuilder::Evidence { lease: lease(1), which: Which::Root, line: Line::lossy("x") }
}

fn log(offset: u64, bytes: &[u8]) -> FromBuilder {
    FromBuilder::Log { lease: lease(1), which: Which::Build, offset, bytes: Bytes(bytes.to_vec()) }
}

#[test]
fn job_names_what_the_hub_read_and_comes_before_its_options() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    let (size, digest) = (built.source.1.len() as u64, Digest::of(&built.source.1));
    let srpm = name("hello-1.0-1.src.rpm");
    let job = ToBuilder::Job {
        lease: lease(1),
        srpm,
        size,
        digest,
        limits: LIMITS,
        place: Line::default(),
        options: 1,
    };
    let option = ToBuilder::JobOption { lease: lease(1), word: Line::lossy("--nocheck") };
    assert_eq!(hub.take_sent(), [job, option]);
}

#[test]
fn srpm_that_is_none_or_gone_or_another_is_unfit() {
    let built = build("hello", "1.0");
    for (bytes, adopt) in
        [(Some(&b"hello"[..]), false), (None, false), (None, true), (Some(&[1; 9][..]), true)]
    {
        let mut hub = Hub::new();
        if let Some(bytes) = bytes {
            fs::write(hub.folders.working.join(&built.source.0), bytes).unwrap();
        }
        if adopt {
            hub.adopt(lease(1), S1, &built);
        } else {
            let srpm = name(&built.source.0);
            hub.tell(Msg::Open {
                lease: lease(1),
                session: S1,
                builder: info(),
                srpm,
                options: Vec::new(),
                limits: LIMITS,
            });
            hub.work();
        }
        assert!(matches!(hub.leases[..], [leases::Msg::Unfit { .. }]), "{:?}", hub.leases);
        hub.tell(Msg::Close { lease: lease(1), why: "unfit".into() });
        hub.work();
        // Who is back hears it once; who would have got the job never hears of it.
        let gone = ToBuilder::Gone { lease: lease(1) };
        assert_eq!(hub.take_sent(), if adopt { vec![gone] } else { Vec::new() });
        assert!(hub.ops.is_empty());
    }
    let mut hub = Hub::new();
    let other = build("other", "2.0");
    hub.srpm(&built);
    fs::write(hub.folders.working.join(&built.source.0), &other.source.1).unwrap();
    hub.adopt(lease(1), S1, &built);
    assert!(matches!(hub.leases[..], [leases::Msg::Unfit { .. }]), "{:?}", hub.leases);
}

#[test]
fn builder_that_is_back_hears_once_that_its_lease_ended_meanwhile() {
    // Simulation, seeds 45937, 932779 and 982527: somebody took the SRPM out of working/ while it was read. Nobody
    // answered the builder, which waited for that in a session that lived, and took no job for hours.
    let built = build("hello", "1.0");
    let close = || Msg::Close { lease: lease(1), why: "the SRPM was taken out of the working folder".into() };
    let adopt = |session| Msg::Adopt {
        lease: lease(1),
        session,
        builder: info(),
        srpm: name(&built.source.0),
        digest: Digest::of(&built.source.1),
        phase: Phase::Build,
        options: Vec::new(),
    };
    let detach = || Msg::Detach { lease: lease(1) };
    let gone = |session| vec![(session, ToBuilder::Gone { lease: lease(1) })];
    for (msgs, want) in [
        (vec![adopt(S1), close()], gone(S1)),
        (vec![adopt(S1), detach(), adopt(S2), close()], gone(S2)),
        (vec![adopt(S1), detach(), close()], Vec::new()),
        // The stage is still being dropped.
        (vec![adopt(S1), detach(), close(), adopt(S2), close()], gone(S2)),
        (vec![adopt(S1), detach(), close(), adopt(S2), detach(), close()], Vec::new()),
    ] {
        let mut hub = Hub::new();
        hub.srpm(&built);
        let what = format!("{msgs:?}");
        msgs.into_iter().for_each(|msg| hub.tell(msg));
        hub.work();
        assert_eq!(hub.sent, want, "{what}");
        assert!(hub.leases.is_empty() && hub.closed.is_empty(), "{what}");
    }
    let mut hub = Hub::new();
    hub.srpm(&built);
    hub.adopt(lease(1), S1, &built);
    assert!(matches!(hub.take_sent()[..], [ToBuilder::Adopted { .. }]));
    hub.tell(close());
    hub.work();
    assert_eq!(hub.take_sent(), []);
}

#[test]
fn job_whose_srpm_turns_out_unreadable_is_cancelled_and_leases_hear_that_its_builder_had_it() {
    // Simulation, seed 2753.
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.take_sent();
    fs::remove_file(hub.folders.working.join(&built.source.0)).unwrap();
    hub.hear(S1, fetch(0, 1));
    hub.work();
    assert_eq!(hub.take_sent(), [ToBuilder::Cancel { lease: lease(1) }]);
    let last = hub.leases.last();
    assert!(matches!(last, Some(leases::Msg::Unfit { has_job: true, .. })), "{last:?}");
}

#[test]
fn srpm_is_sent_in_pieces_from_any_offset() {
    let built = build("hello", "1.0");
    let bytes = &built.source.1;
    let size = bytes.len() as u64;
    for (offset, length) in [(0, size as u32), (0, 1), (size - 1, 1), (100, 262_144)] {
        let mut hub = Hub::new();
        hub.open(lease(1), S1, &built);
        hub.take_sent();
        hub.hear(S1, fetch(offset, length));
        hub.work();
        let mut got = Vec::new();
        for msg in hub.take_sent() {
            let ToBuilder::Data { offset: at, bytes, .. } = msg else { panic!("{msg:?}") };
            assert_eq!(at, offset + got.len() as u64);
            got.extend(bytes.0);
        }
        let end = size.min(offset + u64::from(length));
        assert_eq!(got, bytes[offset as usize..end as usize]);
    }
}

#[test]
fn what_was_fetched_on_a_broken_connection_is_not_sent_on_the_next() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.take_sent();
    hub.hear(S1, fetch(0, 100));
    hub.hear(S1, fetch(100, 100));
    assert_eq!(hub.ops.len(), 1);
    hub.tell(Msg::Detach { lease: lease(1) });
    hub.tell(Msg::Adopt {
        lease: lease(1),
        session: S2,
        builder: info(),
        srpm: name(&built.source.0),
        digest: Digest::of(&built.source.1),
        phase: Phase::Fetch,
        options: Vec::new(),
    });
    hub.hear(S2, fetch(50, 7));
    hub.work();
    let sent = hub.take_sent();
    let [ToBuilder::Adopted { .. }, ToBuilder::Data { offset: 50, bytes, .. }] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(bytes.0.len(), 7);
}

#[test]
fn fetching_more_than_may_be_outstanding_is_refused() {
    let built = build("hello", "1.0");
    let size = built.source.1.len() as u64;
    for (messages, code) in [
        (vec![fetch(0, 0)], RejectCode::Limit),
        (vec![fetch(0, 262_145)], RejectCode::Limit),
        (vec![fetch(size, 1)], RejectCode::Limit),
        (vec![fetch(u64::MAX, 1)], RejectCode::Limit),
        ((0..400).map(|_| fetch(0, 1_000)).collect(), RejectCode::Limit),
    ] {
        let mut hub = Hub::new();
        hub.open(lease(1), S1, &built);
        for msg in messages {
            hub.hear(S1, msg);
        }
        assert_eq!(hub.closed.first(), Some(&(S1, code)));
    }
}

#[test]
fn message_about_a_lease_of_somebody_else_closes_the_session_that_sent_it() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    for msg in [fetch(0, 1), data(0, 0, 9), log(0, b"x"), results(0, 0), file(1), evidence()] {
        for session in [S2, SessionId(99)] {
            hub.hear(session, msg.clone());
            assert_eq!(hub.closed.pop(), Some((session, RejectCode::NotYours)), "{msg:?}");
        }
    }
    hub.tell(Msg::Detach { lease: lease(1) });
    hub.hear(S1, fetch(0, 1));
    assert_eq!(hub.closed.pop(), Some((S1, RejectCode::NotYours)));
    assert!(hub.ops.is_empty());
    hub.assert_even();
}

/// Every kind of message in every state of a lease: what is not listed closes the session.
#[test]
fn message_that_does_not_fit_the_state_closes_the_session() {
    let built = build("hello", "1.0");
    let (order, limit) = (Some(RejectCode::Order), Some(RejectCode::Limit));
    let ok = None;
    // What was said before, then what becomes of: Fetch, Results, File, Evidence, Data.
    type Row = (&'static str, Vec<FromBuilder>, [Option<RejectCode>; 5]);
    let rows: [Row; 6] = [
        ("building", vec![], [ok, ok, order, order, order]),
        ("gathering files", vec![results(1, 1)], [order, order, ok, order, order]),
        ("gathering evidence", vec![results(0, 1)], [order, order, order, ok, order]),
        ("uploading", vec![results(1, 0), file(100)], [order, order, order, order, ok]),
        ("all arrived", vec![results(1, 0), file(9), data(0, 0, 9)], [order, order, order, order, order]),
        ("sealed", vec![results(0, 0)], [order, order, order, order, order]),
    ];
    for (state, before, want) in rows {
        let messages = [fetch(0, 1), results(1, 1), file(1), evidence(), data(0, 0, 9)];
        for (msg, want) in messages.into_iter().zip(want) {
            let mut hub = Hub::new();
            hub.open(lease(1), S1, &built);
            for msg in &before {
                hub.hear(S1, msg.clone());
                if state != "all arrived" || !matches!(msg, FromBuilder::Data { .. }) {
                    hub.work();
                }
            }
            assert!(hub.closed.is_empty(), "{state}: {:?}", hub.closed);
            hub.hear(S1, msg.clone());
            assert_eq!(hub.closed.first().map(|(_, code)| *code), want, "{state}: {msg:?}");
            hub.work();
            hub.assert_even();
        }
    }
    for (msg, want) in [
        (data(1, 0, 9), order),
        (data(0, 1, 9), order),
        (data(0, 0, 0), order),
        (data(0, u64::MAX, 9), order),
        (data(0, 0, 101), limit),
    ] {
        let mut hub = Hub::new();
        hub.open(lease(1), S1, &built);
        hub.hear(S1, results(1, 0));
        hub.hear(S1, file(100));
        hub.work();
        hub.hear(S1, msg.clone());
        assert_eq!(hub.closed.first().map(|(_, code)| *code), want, "{msg:?}");
        hub.assert_even();
    }
    let too_much = [(S1, RejectCode::Limit)];
    for (msg, want) in [
        (results(16_385, 0), &too_much[..]),
        (results(0, 65), &too_much),
        (results(16_384, 0), &[]),
        (results(0, 64), &[]),
    ] {
        let mut hub = Hub::new();
        hub.open(lease(1), S1, &built);
        hub.hear(S1, msg);
        assert_eq!(hub.closed, want);
    }
}

#[test]
fn upload_beyond_the_window_closes_the_session() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.hear(S1, results(1, 0));
    hub.hear(S1, file(1 << 30));
    hub.work();
    // The worker does nothing, so nothing is acknowledged.
    let mut offset = 0;
    while hub.closed.is_empty() {
        let len = 32_000.min(UPLOAD_WINDOW_BYTES - offset + 1) as usize;
        hub.hear(S1, data(0, offset, len));
        offset += len as u64;
    }
    assert_eq!(hub.closed, [(S1, RejectCode::Limit)]);
    assert_eq!(offset, UPLOAD_WINDOW_BYTES + 1);
    hub.work();
    hub.assert_even();
}

#[test]
fn live_logs_are_recorded_without_overlap_and_survive_both_sides() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    for (offset, bytes) in
        [(0, &b"abc"[..]), (1, b"bcdef"), (0, b"abc"), (99, b"gap"), (6, b"g"), (u64::MAX, b"x")]
    {
        hub.hear(S1, log(offset, bytes));
    }
    hub.work();
    hub.assert_even();
    let live = crate::stage::live_dir(&hub.folders, lease(1));
    assert_eq!(fs::read(live.join("build.log")).unwrap(), b"abcdefg");
    let adopted = ToBuilder::Adopted { lease: lease(1), logs: [7, 0, 0, 0] };
    hub.tell(Msg::Detach { lease: lease(1) });
    hub.take_sent();
    hub.adopt(lease(1), S2, &built);
    assert_eq!(hub.take_sent(), std::slice::from_ref(&adopted));
    hub.restart();
    hub.adopt(lease(1), S1, &built);
    assert_eq!(hub.take_sent(), [adopted]);
    hub.hear(S1, log(7, b"h"));
    hub.work();
    assert_eq!(fs::read(live.join("build.log")).unwrap(), b"abcdefgh");
}

#[test]
fn upload_below_the_floor_closes_the_session_and_a_slow_hub_does_not() {
    let built = build("hello", "1.0");
    for (bytes_a_minute, too_slow) in [(61_440usize, false), (61_439, true), (0, true)] {
        let mut hub = Hub::new();
        hub.open(lease(1), S1, &built);
        hub.hear(S1, results(1, 0));
        hub.hear(S1, file(1 << 30));
        hub.work();
        let mut offset = 0;
        for _ in 0..5 {
            for len in [bytes_a_minute / 2, bytes_a_minute - bytes_a_minute / 2] {
                if len > 0 {
                    hub.hear(S1, data(0, offset, len));
                    offset += len as u64;
                    hub.work();
                }
            }
            hub.wait();
        }
        assert_eq!(!hub.closed.is_empty(), too_slow, "{bytes_a_minute}");
        assert!(hub.closed.iter().all(|closed| *closed == (S1, RejectCode::TooSlow)));
    }
    // All credit is used up and the disk is the slow one: there is no deadline at all.
    let mut hub = Hub::new();
    hub.open(lease(1), S1, &built);
    hub.hear(S1, results(1, 0));
    hub.hear(S1, file(1 << 30));
    hub.work();
    for number in 0..8 {
        hub.hear(S1, data(0, number * 32_768, 32_768));
    }
    assert_eq!(hub.core.deadline(), None);
    hub.work();
    assert_eq!(hub.core.deadline(), Some(hub.now.plus_ms(60_000)));
}

#[test]
fn leases_of_one_session_upload_one_after_the_other() {
    let built = build("hello", "1.0");
    let mut hub = Hub::new();
    let log = |bytes: &[u8]| vec![("build.log".to_owned(), bytes.to_vec())];
    let mut builders = Vec::new();
    for counter in 1..=3 {
        hub.open(lease(counter), S1, &built);
        builders.push(Builder::new(lease(counter), S1, log(&[b'x'; 100])));
    }
    hub.take_sent();
    for builder in &mut builders {
        builder.announce(&mut hub);
    }
    for builder in &mut builders {
        let wants: Vec<_> = hub.sent.iter().map(|(_, msg)| msg.clone()).collect();
        assert_eq!(wants, [ToBuilder::Want { lease: builder.lease, file: 0, offset: 0 }]);
        builder.step(&mut hub);
        hub.work();
        hub.sent.retain(|(_, msg)| matches!(msg, ToBuilder::Want { .. }));
        assert!(
            matches!(hub.leases.last(), Some(leases::Msg::Sealing { lease, .. }) if *lease == builder.lease)
        );
    }
}
